//! Carries NotifyEvent, ack 1, NotifyCommitEvent and ack 2 between nodes, the local one included.
//!
//! Owns the receiver machine (`callboard_protocol::receiver`) with its pending deque, and the way to the peers. The
//! node is a peer of itself: what it notifies and commits reaches it on the same path as what comes from others.
//! Decides nothing: when a mark may go, and what a time-out means, is decided in the protocol crate.

mod effects;
mod in_doubt;

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use actix::{Actor, Addr, Handler, Message, MessageResult, Recipient};
use callboard_protocol::commit::{BatchId, ChangeRow};
use callboard_protocol::config::Version;
use callboard_protocol::extent::Fingerprint;
use callboard_protocol::key::ConfigKey;
use callboard_protocol::lease::{Announcement, LeaseObservation};
use callboard_protocol::member::{Ack, Incarnation, MemberRow, NodeId, NodeRow, Timeline};
use callboard_protocol::publish::Outcome;
use callboard_protocol::receiver::{
    Ack2, CommittedChange, Event, NotifyAbortEvent, NotifyCommitEvent, NotifyEvent, Options, Receiver,
};
use callboard_protocol::time::Mono;
use callboard_protocol::write_request::RequestId;
use serde_json::json;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::cache::writer::{CacheWriter, Follow};
use crate::change_feed::{self, ChangeFeed, CommittedSpan};
use crate::clock::SharedClock;
use crate::lease_keeper::{self, LeaseKeeper, MembershipChanged, Rejoin};
use crate::metrics::{LeaseMetrics, NodeLabel};
use crate::monitored;
use crate::peer_links::{PeerLinks, ReachChanged, SubscribeReach};
use crate::runtime::{Alarm, Context, Observable};
use crate::store::KnownExtent;
use crate::store_reader::FindRequests;
use crate::store_writer::StoreWriter;
use crate::subscription::{Subscription, SubscriptionGuard, keep_subscribed, keep_subscribed_or, subscription};
use crate::transport::{FromPeer, PeerMessage, Transport};

/// How long the database may take to answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// A publisher's word to every member: these keys are about to change.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Notify {
    /// The batch.
    pub batch: BatchId,
    /// Its keys, each with the request that changes it.
    pub items: Vec<(ConfigKey, RequestId)>,
    /// To whom, the local node among them.
    pub to: Vec<NodeRow>,
}

/// A publisher's word to every member: the batch is committed.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Commit {
    /// The batch.
    pub batch: BatchId,
    /// The timeline.
    pub timeline: Timeline,
    /// What it changed, in revision order.
    pub changes: Vec<ChangeRow>,
    /// The revision after it.
    pub revision: Version,
}

/// A publisher's word to every member: the batch can never commit.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Abort {
    /// The batch.
    pub batch: BatchId,
}

/// Asks what became of a batch whose commit had no known outcome.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct FindOutcome {
    /// The request ids of the batch.
    pub request_ids: Vec<RequestId>,
    /// The own ack the commit stood on; `None` without a row.
    pub ack: Option<Ack>,
    /// Told what was found; dropped when nothing can be found any more.
    pub reply: oneshot::Sender<Outcome>,
}

/// A node has marked a batch.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Acked {
    /// Which batch.
    pub batch: BatchId,
    /// Its acknowledgement.
    pub ack: Ack,
}

/// A node would not mark a batch.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Nacked {
    /// Which batch.
    pub batch: BatchId,
}

/// Subscribes to what becomes of the notifications of local batches. The answer tells when the subscriber was
/// forgotten.
#[derive(Debug, Message)]
#[rtype(result = "Subscription")]
pub struct Subscribe {
    /// Told of each ack.
    pub acks: Recipient<Acked>,
    /// Told of each node that would not mark a batch.
    pub nacks: Recipient<Nacked>,
}

/// The actors below.
#[derive(Debug, Clone)]
pub struct Deps {
    /// Holds marks and entries.
    pub cache: Addr<CacheWriter>,
    /// Brings changes into order.
    pub feed: Addr<ChangeFeed>,
    /// Looks.
    pub reader: Recipient<FindRequests>,
    /// Raises the floor.
    pub writer: Addr<StoreWriter>,
    /// The membership.
    pub lease_keeper: Addr<LeaseKeeper>,
    /// The way to the peers; `None` for a node that has none.
    pub links: Option<Addr<PeerLinks>>,
}

/// Carries events between nodes.
pub struct ClusterNotify {
    node: NodeId,
    incarnation: Option<Incarnation>,
    timeline: Timeline,
    /// The database, as it last said.
    database: Fingerprint,
    /// What was said last of where this node has its lease.
    announcement: Option<Announcement>,
    known: KnownExtent,
    receiver: Receiver,
    deps: Deps,
    transport: Rc<dyn Transport>,
    clock: SharedClock,
    metrics: LeaseMetrics,
    /// A state before this one was lost to a panic, and with it the pending deque.
    is_rebuilt: bool,
    /// Who is told of the acks of local batches.
    publisher: Option<(Subscribe, SubscriptionGuard)>,
    /// The nodes that have rows, as last told; no others are counted by name.
    members: BTreeSet<NodeId>,
    alarm: Alarm<Mono>,
}

/// What a [`ClusterNotify`] is built with.
pub struct Arguments {
    /// The node.
    pub node: NodeId,
    /// The receiver's time-outs.
    pub options: Options,
    /// The actors below.
    pub deps: Deps,
    /// The way to the peers.
    pub transport: Box<dyn Transport>,
    /// The node's clock.
    pub clock: SharedClock,
    /// How far the database is known to go.
    pub known: KnownExtent,
    /// Counts acks and floors.
    pub metrics: LeaseMetrics,
    /// True when this takes the place of one that panicked.
    pub is_rebuilt: bool,
}

impl ClusterNotify {
    /// A node's end of the way between nodes.
    #[must_use]
    pub fn new(arguments: Arguments) -> Self {
        let Arguments { node, options, deps, transport, clock, known, metrics, is_rebuilt } = arguments;
        Self {
            node,
            incarnation: None,
            timeline: Timeline::default(),
            database: Fingerprint::UNKNOWN,
            announcement: None,
            known,
            receiver: Receiver::new(options),
            deps,
            transport: transport.into(),
            clock,
            metrics,
            is_rebuilt,
            publisher: None,
            members: BTreeSet::new(),
            alarm: Alarm::default(),
        }
    }

    /// Takes a message, of a peer or of the local node, on the one path there is.
    fn receive(&mut self, message: PeerMessage, context: &mut Context<Self>) {
        match message {
            PeerMessage::Notify(event) => {
                let chance = Uuid::new_v4().as_u64_pair().1;
                self.step(Event::Notify { event, chance, known: self.known.get() }, context);
            }
            PeerMessage::Ack { batch, ack } => {
                self.count_ack(&ack.node);
                if let Some((publisher, _)) = &self.publisher {
                    // Loss is repaired: the publisher notifies again until every ack is in.
                    publisher.acks.do_send(Acked { batch, ack });
                }
            }
            PeerMessage::Nack { batch, reason } => {
                self.metrics.nacks.inc();
                tracing::debug!(batch.id = %batch.0, reason, "a batch was not marked");
                // A node is joining or leaving: its row is about to come or go. Loss costs a moment, no more.
                self.deps.lease_keeper.do_send(lease_keeper::RefreshMembership);
                if let Some((publisher, _)) = &self.publisher {
                    publisher.nacks.do_send(Nacked { batch });
                }
            }
            PeerMessage::Commit(event) => self.committed(event, context),
            PeerMessage::Abort(batch) => self.step(Event::Abort(NotifyAbortEvent { batch }), context),
            PeerMessage::Ack2(Ack2 { batch, node }) => {
                tracing::trace!(batch.id = %batch.0, node.id = %node, "a commit event has arrived");
            }
            // Loss is repaired: it is said again with each renewal.
            PeerMessage::Announcement(said) => self.deps.lease_keeper.do_send(lease_keeper::PeerAnnouncement(said)),
        }
    }

    /// Whoever holds the key of the cluster can claim any name; one without a row is not worth a series.
    fn count_ack(&self, node: &NodeId) {
        if self.members.contains(node) {
            self.metrics.acks.get_or_create(&NodeLabel { node: node.to_string() }).inc();
        }
    }

    /// Takes note of who has a row; the acks of others are counted no longer.
    fn know_members(&mut self, rows: &[(MemberRow, LeaseObservation)]) {
        let members: BTreeSet<NodeId> = rows.iter().map(|(row, _)| row.node.clone()).collect();
        for gone in self.members.difference(&members) {
            self.metrics.acks.remove(&NodeLabel { node: gone.to_string() });
        }
        self.members = members;
    }

    fn committed(&mut self, event: NotifyCommitEvent, context: &mut Context<Self>) {
        let extent = event.extent_in(self.timeline, self.database);
        if let Some(extent) = extent {
            // Loss is repaired: the next commit says more.
            self.deps.lease_keeper.do_send(lease_keeper::CommitObserved(extent));
        }
        match event.span().filter(|_| extent.is_some()) {
            // Loss is repaired: the feed sees the gap, or finds the end of the feed ahead of it.
            Some(span) => self.deps.feed.do_send(CommittedSpan(span)),
            None => self.deps.feed.do_send(change_feed::Poll),
        }
        self.step(Event::Commit(event), context);
    }

    /// Gives the machine an event and does what it says.
    fn step(&mut self, event: Event, context: &mut Context<Self>) {
        let now = self.clock.mono();
        let heard = matches!(event, Event::Commit(_));
        let mut effects = Vec::new();
        self.receiver.step(now, event, &mut effects);
        for effect in effects {
            self.perform(effect, heard, context);
        }
        let next = self.receiver.next_wakeup();
        self.alarm.set(next, |at| at.since(now), context, |notify, context| notify.step(Event::Tick, context));
    }

    fn send(&mut self, to: &NodeId, message: PeerMessage, context: &mut Context<Self>) {
        if *to == self.node {
            self.receive(message, context);
        } else {
            self.transport.send(to, message);
        }
    }

    /// Sends to every member, the local node included.
    fn tell_all(&mut self, message: PeerMessage, context: &mut Context<Self>) {
        self.transport.broadcast(message.clone());
        self.receive(message, context);
    }
}

impl Actor for ClusterNotify {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        if self.is_rebuilt {
            // The pending deque is lost: acks that were given must not count any more.
            self.deps.lease_keeper.do_send(Rejoin);
        }
        let Deps { lease_keeper, links, cache, .. } = self.deps.clone();
        keep_subscribed(context, async move |me| lease_keeper.send(lease_keeper::Subscribe(me.recipient())).await);
        if let Some(links) = links {
            keep_subscribed(context, async move |me| links.send(SubscribeReach(me.recipient())).await);
        }
        // A cache that was rebuilt may have lost marks or their ends: only a new life of the membership is sure.
        let lost = |notify: &mut Self| notify.deps.lease_keeper.do_send(Rejoin);
        keep_subscribed_or(context, async move |_| cache.send(Follow).await, lost);
        let transport = Rc::clone(&self.transport);
        keep_subscribed(context, async move |me| transport.listen(me.recipient()).await);
    }
}

monitored!(ClusterNotify, "cluster_notify");

impl Observable for ClusterNotify {
    fn observe(&self) -> serde_json::Value {
        json!({
            "node": self.node.to_string(),
            "incarnation": self.incarnation.map(|life| life.0.to_string()),
            "pending": self.receiver.pending(),
        })
    }
}

impl Handler<Notify> for ClusterNotify {
    type Result = ();

    fn handle(&mut self, Notify { batch, items, to }: Notify, context: &mut Context<Self>) {
        let (publisher, place) = ((self.node.clone(), self.incarnation), (self.timeline, self.database));
        let event = NotifyEvent::new((batch, items), publisher, place);
        let (own, peers): (Vec<_>, Vec<_>) = to.into_iter().map(|row| row.node).partition(|node| *node == self.node);
        self.transport.send_each(&peers, PeerMessage::Notify(event.clone()));
        if !own.is_empty() {
            self.receive(PeerMessage::Notify(event), context);
        }
    }
}

impl Handler<Commit> for ClusterNotify {
    type Result = ();

    fn handle(&mut self, confirm: Commit, context: &mut Context<Self>) {
        let Commit { batch, timeline, changes, revision } = confirm;
        let changes = changes.iter().map(CommittedChange::of).collect();
        let database = self.database;
        self.tell_all(PeerMessage::Commit(NotifyCommitEvent { timeline, batch, revision, changes, database }), context);
    }
}

impl Handler<Abort> for ClusterNotify {
    type Result = ();

    fn handle(&mut self, Abort { batch }: Abort, context: &mut Context<Self>) {
        self.tell_all(PeerMessage::Abort(batch), context);
    }
}

impl Handler<Subscribe> for ClusterNotify {
    type Result = MessageResult<Subscribe>;

    fn handle(&mut self, subscriber: Subscribe, _: &mut Context<Self>) -> Self::Result {
        let (holder, held) = subscription();
        self.publisher = Some((subscriber, holder));
        MessageResult(held)
    }
}

impl Handler<FromPeer> for ClusterNotify {
    type Result = ();

    fn handle(&mut self, FromPeer(message): FromPeer, context: &mut Context<Self>) {
        self.receive(message, context);
    }
}

impl Handler<MembershipChanged> for ClusterNotify {
    type Result = ();

    fn handle(&mut self, changed: MembershipChanged, context: &mut Context<Self>) {
        let MembershipChanged { node, incarnation, timeline, rows, database, announcement, .. } = changed;
        self.know_members(&rows);
        (self.incarnation, self.timeline, self.database) = (incarnation, timeline, database);
        self.transport.broadcast(PeerMessage::Announcement(announcement.clone()));
        self.announcement = Some(announcement);
        let event = Event::of_membership(node, incarnation, (timeline, database));
        self.step(event, context);
    }
}

impl Handler<ReachChanged> for ClusterNotify {
    type Result = ();

    /// Commit events may have been lost while a peer could not be reached.
    fn handle(&mut self, ReachChanged { .. }: ReachChanged, _: &mut Context<Self>) {
        // Loss is repaired: the feed looks by itself every second.
        self.deps.feed.do_send(change_feed::Poll);
        if let Some(announcement) = self.announcement.clone() {
            self.transport.broadcast(PeerMessage::Announcement(announcement));
        }
    }
}

#[cfg(test)]
mod tests;
