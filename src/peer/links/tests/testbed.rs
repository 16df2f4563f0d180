//! Nodes that are nothing but their links, each on a thread of its own, over real sockets of the loopback device.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, Handler, Message, Recipient};
use actix_rt::Arbiter;
use callboard_actors::metrics::PeerMetrics;
use callboard_actors::peer_links::{
    LinkTransport, PEER_VERSIONS, PeerAsked, PeerLinks, ReachChanged, SetPeers, SubscribeMessages, SubscribeQueries,
    SubscribeReach,
};
use callboard_actors::runtime::{Observe, Registry, Spec, start_in};
use callboard_actors::subscription::Subscription;
use callboard_actors::transport::{FromPeer, PeerMessage, Transport as _};
use callboard_protocol::commit::BatchId;
use callboard_protocol::link::Versions;
use callboard_protocol::member::NodeId;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::peer::key::{ClusterKey, ClusterKeys};
use crate::peer::links::{Identity, LinkConfig, TcpDialer, listen};

/// Nothing that is to come takes longer.
pub(super) const DEADLINE: Duration = Duration::from_secs(20);

pub(super) fn node(id: &str) -> NodeId {
    NodeId(id.into())
}

pub(super) fn abort(number: u128) -> PeerMessage {
    PeerMessage::Abort(BatchId(Uuid::from_u128(number)))
}

/// The number of an [`abort`].
pub(super) fn number(message: &PeerMessage) -> Option<u128> {
    match message {
        PeerMessage::Abort(batch) => Some(batch.0.as_u128()),
        _ => None,
    }
}

pub(super) fn keys() -> ClusterKeys {
    ClusterKeys::single(ClusterKey::of([7; 32]))
}

/// A free port of this address.
pub(super) fn listener(ip: &str) -> TcpListener {
    TcpListener::bind((ip, 0)).unwrap()
}

/// A node that is to be.
pub(super) struct Plan {
    pub(super) id: &'static str,
    pub(super) cluster: &'static str,
    pub(super) keys: ClusterKeys,
    pub(super) versions: Versions,
}

impl Plan {
    pub(super) fn of(id: &'static str) -> Self {
        Self { id, cluster: "test", keys: keys(), versions: PEER_VERSIONS }
    }

    pub(super) async fn start(self) -> TestNode {
        self.start_at(listener("127.0.0.1")).await
    }

    pub(super) fn config(&self, bind: SocketAddr) -> LinkConfig {
        let identity = Identity {
            node: node(self.id),
            cluster: self.cluster.to_owned(),
            keys: self.keys.clone(),
            versions: self.versions,
            software: "0.1.0".to_owned(),
        };
        LinkConfig { identity, bind }
    }

    pub(super) async fn start_at(self, listener: TcpListener) -> TestNode {
        let address = listener.local_addr().unwrap();
        let config = Arc::new(self.config(address));
        let (arbiter, registry, metrics) = (Arbiter::new(), Registry::new(), PeerMetrics::default());
        let (dialer, counts, id) = (TcpDialer::new(Arc::clone(&config)), metrics.clone(), node(self.id));
        let links = start_in(&arbiter.handle(), &Spec::new(&registry, "peer_links").capacity(1_024), move |_| {
            PeerLinks::new(id.clone(), Box::new(dialer.clone()), counts.clone())
        });
        listen(&arbiter.handle(), listener, config, links.clone(), metrics.clone()).unwrap();
        let ((messages, heard), (changes, reach), (queries, asked)) = (inbox(), inbox(), inbox());
        let held = vec![
            links.send(SubscribeMessages(messages)).await.unwrap(),
            links.send(SubscribeReach(changes)).await.unwrap(),
            links.send(SubscribeQueries(queries)).await.unwrap(),
        ];
        let transport = LinkTransport::new(links.clone(), metrics.clone());
        TestNode { id: self.id, address, links, transport, metrics, heard, reach, asked, arbiter, _held: held }
    }
}

pub(super) struct TestNode {
    pub(super) id: &'static str,
    pub(super) address: SocketAddr,
    pub(super) links: Addr<PeerLinks>,
    pub(super) transport: LinkTransport,
    pub(super) metrics: PeerMetrics,
    pub(super) heard: mpsc::UnboundedReceiver<FromPeer>,
    pub(super) asked: mpsc::UnboundedReceiver<PeerAsked>,
    reach: mpsc::UnboundedReceiver<ReachChanged>,
    arbiter: Arbiter,
    _held: Vec<Subscription>,
}

impl TestNode {
    pub(super) fn set_peers(&self, peers: &[(&str, SocketAddr)]) {
        let peers: BTreeMap<_, _> = peers.iter().map(|(id, address)| (node(id), *address)).collect();
        self.links.do_send(SetPeers(peers));
    }

    /// Waits until exactly these can be reached.
    pub(super) async fn reaches(&mut self, ids: &[&str]) {
        let wanted: BTreeSet<_> = ids.iter().map(|id| node(id)).collect();
        let told = async { while self.reach.recv().await.unwrap().nodes != wanted {} };
        tokio::time::timeout(DEADLINE, told).await.unwrap_or_else(|_| panic!("{} does not reach {ids:?}", self.id));
    }

    pub(super) async fn next(&mut self) -> PeerMessage {
        let heard = tokio::time::timeout(DEADLINE, self.heard.recv()).await;
        heard.unwrap_or_else(|_| panic!("{} hears nothing", self.id)).unwrap().0
    }

    /// Waits until the dial of this peer has failed for such a reason.
    pub(super) async fn fails_to_link(&self, id: &str, reason: &str) {
        let failing = async {
            loop {
                let state = self.links.send(Observe).await.unwrap();
                if state["peers"][id]["failure"].as_str().unwrap_or_default().contains(reason) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(DEADLINE, failing).await.unwrap_or_else(|_| panic!("no failure with {reason:?}"));
    }

    /// As if the process were killed.
    pub(super) fn kill(self) {
        self.arbiter.stop();
        self.arbiter.join().unwrap();
    }
}

/// Links nodes with each other, and waits until each reaches all others.
pub(super) async fn link(nodes: &mut [TestNode]) {
    let all: Vec<(&str, SocketAddr)> = nodes.iter().map(|node| (node.id, node.address)).collect();
    nodes.iter().for_each(|node| node.set_peers(&all));
    for node in nodes {
        let others: Vec<&str> = all.iter().map(|(id, _)| *id).filter(|id| *id != node.id).collect();
        node.reaches(&others).await;
    }
}

/// Says something again and again, as publishers do, until the other hears it.
pub(super) async fn send_until_received(from: &TestNode, to: &mut TestNode, word: u128) {
    let mut pause = tokio::time::interval(Duration::from_millis(20));
    let sending = async {
        loop {
            tokio::select! {
                heard = to.heard.recv() => if number(&heard.unwrap().0) == Some(word) { return },
                _ = pause.tick() => from.transport.send(&node(to.id), abort(word)),
            }
        }
    };
    tokio::time::timeout(DEADLINE, sending).await.expect("it is not heard");
}

/// Passes on what it is told.
struct MessageReader<M>(mpsc::UnboundedSender<M>);

impl<M: Unpin + 'static> Actor for MessageReader<M> {
    type Context = actix::Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(1_024);
    }
}

impl<M: Message<Result = ()> + Unpin + 'static> Handler<M> for MessageReader<M> {
    type Result = ();

    fn handle(&mut self, message: M, _: &mut Self::Context) {
        drop(self.0.send(message));
    }
}

fn inbox<M>() -> (Recipient<M>, mpsc::UnboundedReceiver<M>)
where
    M: Message<Result = ()> + Send + Unpin + 'static,
{
    let (sender, heard) = mpsc::unbounded_channel();
    (MessageReader(sender).start().recipient(), heard)
}
