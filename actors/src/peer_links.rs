//! The links to the other nodes: whom to link with, what is queued for each, who can be reached.
//!
//! Each node dials every peer. A dialed link carries what this node says: messages about publishes, queries, pings; the
//! answers come back on it. So there are two links between two nodes, one each way. Whoever owns sockets dials and
//! accepts ([`Dialer`], [`Opened`]); this actor gives the frames their meaning. It opens no socket, promises no
//! delivery (loss is counted, and repaired by the publish protocol) and decides nothing about publishes.

mod answer;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod link_queue;
mod message;
mod peer;
mod reconnect;
mod transport;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use actix::fut::{ready, wrap_future};
use actix::{Actor, ActorFutureExt, AsyncContext, Handler, Message, MessageResult, Recipient, ResponseActFuture};
use callboard_protocol::member::NodeId;
use callboard_protocol::time::Mono;
use serde_json::json;
use tokio::time::Instant;

pub use link_queue::{
    Call, Closed, DialFailed, Dialer, Direction, Link, LinkQueue, LinkQueueReader, Opened, Queued, Received, pipe,
};
pub use message::{
    PeerAsked, PeerQuery, PeerReply, PeerStatus, Query, QueryError, ReachChanged, SetPeers, SubscribeMessages,
    SubscribeQueries, SubscribeReach,
};
pub use transport::LinkTransport;
pub use wire::{Hello, MAX_FRAME, MAX_HELLO, PEER_VERSIONS, WireError};

use self::answer::Accepted;
use self::message::{Audience, SendMessage};
use self::peer::{OutgoingMessage, Peer, State};
use crate::metrics::PeerMetrics;
use crate::monitored;
use crate::runtime::{Context, Observable};
use crate::subscription::{SubscriptionGuard, subscription};
use crate::transport::FromPeer;

/// How often the links are looked after.
const TICK: Duration = Duration::from_millis(250);

/// Looks after the links: pings them, drops dead ones, tells who can be reached.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Tick;

/// The links to the other nodes.
pub struct PeerLinks {
    node: NodeId,
    dialer: Box<dyn Dialer>,
    peers: BTreeMap<NodeId, Peer>,
    /// The newest link that each peer dialed; also of peers that this node does not know yet.
    accepted: BTreeMap<NodeId, Accepted>,
    subscribers: Subscribers,
    /// Whom the subscribers were last told of as reachable.
    reachable: BTreeSet<NodeId>,
    born: Instant,
    metrics: PeerMetrics,
}

/// Who hears of what, each with what its drop tells it.
#[derive(Debug, Default)]
struct Subscribers {
    messages: Option<(Recipient<FromPeer>, SubscriptionGuard)>,
    queries: Option<(Recipient<PeerAsked>, SubscriptionGuard)>,
    reach: Vec<(Recipient<ReachChanged>, SubscriptionGuard)>,
}

impl PeerLinks {
    /// The links of `node`, which knows no peer yet.
    #[must_use]
    pub fn new(node: NodeId, dialer: Box<dyn Dialer>, metrics: PeerMetrics) -> Self {
        metrics.linked.set(0);
        Self {
            node,
            dialer,
            peers: BTreeMap::new(),
            accepted: BTreeMap::new(),
            subscribers: Subscribers::default(),
            reachable: BTreeSet::new(),
            born: Instant::now(),
            metrics,
        }
    }

    fn now(&self) -> Mono {
        Mono(self.born.elapsed())
    }

    fn send_to(&mut self, node: &NodeId, outgoing: &mut OutgoingMessage, now: Mono) {
        match self.peers.get_mut(node) {
            Some(peer) => peer.send(outgoing, now, &self.metrics),
            None => {
                self.metrics.dropped.inc();
                tracing::debug!(peer.id = %node, "no way to this peer is known");
            }
        }
    }
}

impl Actor for PeerLinks {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.notify_later(Tick, TICK);
    }
}

monitored!(PeerLinks, "peer_links");

impl Observable for PeerLinks {
    fn observe(&self) -> serde_json::Value {
        let peer = |(node, peer): (&NodeId, &Peer)| {
            let state = match &peer.state {
                State::Linked(dialed) => {
                    let (frames, bytes) = dialed.waiting();
                    json!({
                        "linked": true,
                        "version": dialed.version,
                        "software": dialed.software,
                        "frames_waiting": frames,
                        "bytes_waiting": bytes,
                    })
                }
                State::Down { backlog, .. } => json!({
                    "linked": false,
                    "messages_waiting": backlog.len(),
                    "bytes_waiting": backlog.bytes(),
                    "failure": peer.failure,
                }),
            };
            (node.to_string(), state)
        };
        json!({
            "peers": self.peers.iter().map(peer).collect::<serde_json::Map<_, _>>(),
            "accepted": self.accepted.keys().map(ToString::to_string).collect::<Vec<_>>(),
            "reachable": self.reachable.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    }
}

impl Handler<SendMessage> for PeerLinks {
    type Result = ();

    fn handle(&mut self, SendMessage { to, message }: SendMessage, _: &mut Context<Self>) {
        let (now, mut outgoing) = (self.now(), OutgoingMessage::new(Arc::new(message)));
        match to {
            Audience::One(node) => self.send_to(&node, &mut outgoing, now),
            Audience::Several(nodes) => nodes.iter().for_each(|node| self.send_to(node, &mut outgoing, now)),
            Audience::Everybody => {
                self.peers.values_mut().for_each(|peer| peer.send(&mut outgoing, now, &self.metrics));
            }
        }
    }
}

impl Handler<Query> for PeerLinks {
    type Result = ResponseActFuture<Self, Result<PeerReply, QueryError>>;

    fn handle(&mut self, Query { node, query, deadline }: Query, _: &mut Context<Self>) -> Self::Result {
        let Some(State::Linked(dialed)) = self.peers.get_mut(&node).map(|peer| &mut peer.state) else {
            return Box::pin(ready(Err(QueryError::NotLinked)));
        };
        let (id, answer) = match dialed.ask(query) {
            Ok(asked) => asked,
            Err(error) => return Box::pin(ready(Err(error))),
        };
        let link = dialed.link.clone();
        let waiting = wrap_future(tokio::time::timeout(deadline, answer));
        Box::pin(waiting.map(move |answer, links: &mut Self, _| match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(_link_is_gone)) => Err(QueryError::NotLinked),
            Err(_elapsed) => {
                if let Some(dialed) = links.peers.get_mut(&link.peer).and_then(|peer| peer.dialed(&link)) {
                    dialed.forget(id);
                }
                Err(QueryError::TimedOut)
            }
        }))
    }
}

impl Handler<SubscribeMessages> for PeerLinks {
    type Result = MessageResult<SubscribeMessages>;

    fn handle(&mut self, SubscribeMessages(recipient): SubscribeMessages, _: &mut Context<Self>) -> Self::Result {
        let (holder, held) = subscription();
        self.subscribers.messages = Some((recipient, holder));
        MessageResult(held)
    }
}

impl Handler<SubscribeQueries> for PeerLinks {
    type Result = MessageResult<SubscribeQueries>;

    fn handle(&mut self, SubscribeQueries(recipient): SubscribeQueries, _: &mut Context<Self>) -> Self::Result {
        let (holder, held) = subscription();
        self.subscribers.queries = Some((recipient, holder));
        MessageResult(held)
    }
}

impl Handler<SubscribeReach> for PeerLinks {
    type Result = MessageResult<SubscribeReach>;

    fn handle(&mut self, SubscribeReach(recipient): SubscribeReach, _: &mut Context<Self>) -> Self::Result {
        let (holder, held) = subscription();
        // A subscriber that is gone drops out at the next change.
        recipient.do_send(ReachChanged { nodes: self.reachable.clone() });
        self.subscribers.reach.push((recipient, holder));
        MessageResult(held)
    }
}

#[cfg(test)]
mod tests;
