//! Three nodes over real sockets, and what an outsider achieves with them.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Instant;

use actix::{Actor, ActorContext as _, Addr, Handler};
use callboard_actors::clock::{SharedClock, SystemClock};
use callboard_actors::cluster_listener::{self, ClusterListener, GetCluster, PeersKnown};
use callboard_actors::event_bus::EventBus;
use callboard_actors::gossip::{self, Advertised, Gossip, LeaveCluster, SetStatus};
use callboard_actors::metrics::Metrics;
use callboard_actors::runtime::{Registry, Spec, ask, start};
use callboard_protocol::member::NodeId;
use callboard_protocol::membership_view::{ProtocolRange, Status};

use super::*;
use crate::peer::key::{ClusterKey, ClusterKeys};
use crate::peer::seeds::SeedNames;

const DEADLINE: Duration = Duration::from_secs(30);

/// Where nobody listens to.
struct Nobody;

impl Actor for Nobody {
    type Context = actix::Context<Self>;
}

impl Handler<PeersKnown> for Nobody {
    type Result = ();

    fn handle(&mut self, _: PeersKnown, _: &mut Self::Context) {}
}

struct TestNode {
    address: SocketAddr,
    gossip: Addr<Gossip>,
    listener: Addr<ClusterListener>,
    receiving: actix_rt::task::JoinHandle<io::Result<()>>,
    metrics: Metrics,
}

fn sealing(secret: u8) -> Sealing {
    Sealing::new(&ClusterKeys::single(ClusterKey::of([secret; 32])), "test")
}

impl TestNode {
    fn start(name: &str, seeds: &[SocketAddr]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let (registry, metrics) = (Registry::new(), Metrics::default());
        let (outlet, receiver) = split(socket, sealing(1), metrics.gossip.clone()).unwrap();
        let clock: SharedClock = Arc::new(SystemClock);
        let node = NodeId(name.into());
        let arguments = gossip::Arguments {
            advertised: Advertised {
                node: node.clone(),
                peer: address,
                http: address,
                grpc: None,
                session: None,
                protocols: ProtocolRange { min: 1, max: 1 },
                version: env!("CARGO_PKG_VERSION").into(),
            },
            outlet: Arc::new(outlet),
            seeds: Arc::new(SeedNames::new(seeds.iter().map(SocketAddr::to_string).collect())),
            clock: clock.clone(),
            metrics: metrics.gossip.clone(),
        };
        let gossip = start(&Spec::new(&registry, "gossip").capacity(256), Gossip::factory(arguments));
        let receiving = actix_rt::spawn(receiver.run(gossip.clone().recipient()));
        let counts = metrics.push.clone();
        let bus = start(&Spec::new(&registry, "event_bus"), move |_| EventBus::new(counts.clone()));
        let arguments = cluster_listener::Arguments {
            node,
            gossip: Some(gossip.clone()),
            bus,
            peers: Some(Nobody.start().recipient()),
            deps: None,
            clock,
            metrics: metrics.gossip.clone(),
        };
        let listener =
            start(&Spec::new(&registry, "cluster_listener"), move |_| ClusterListener::new(arguments.clone()));
        Self { address, gossip, listener, receiving, metrics }
    }

    async fn states(&self) -> BTreeMap<String, &'static str> {
        let view = ask(&self.listener, GetCluster, DEADLINE).await.unwrap();
        view.nodes.into_iter().map(|node| (node.id.to_string(), node.state.as_str())).collect()
    }

    fn refused(&self) -> u64 {
        self.metrics.gossip.refused.get_or_create(&RefusalLabel { reason: "sealed" }).get()
    }
}

async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) -> Duration {
    let begin = Instant::now();
    while !holds().await {
        assert!(begin.elapsed() < DEADLINE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    begin.elapsed()
}

async fn all_see(nodes: &[TestNode], states: [(&str, &'static str); 3]) {
    let states: BTreeMap<String, &str> = states.map(|(name, state)| (name.to_owned(), state)).into();
    until(&format!("{states:?}"), || async {
        for node in nodes {
            if node.states().await != states {
                return false;
            }
        }
        true
    })
    .await;
}

#[actix_rt::test]
async fn three_nodes_find_each_other_and_see_one_leave_and_one_go_deaf() {
    let mut nodes = vec![TestNode::start("a", &[])];
    let seeds = [nodes[0].address];
    nodes.push(TestNode::start("b", &seeds));
    nodes.push(TestNode::start("c", &seeds));
    for node in &nodes {
        ask(&node.gossip, SetStatus(Status::Up), DEADLINE).await.unwrap();
    }
    all_see(&nodes, [("a", "up"), ("b", "up"), ("c", "up")]).await;

    let leaving = nodes.pop().unwrap();
    ask(&leaving.gossip, LeaveCluster, DEADLINE).await.unwrap();
    all_see(&nodes, [("a", "up"), ("b", "up"), ("c", "removed")]).await;

    // It still speaks.
    let deaf = nodes.pop().unwrap();
    deaf.receiving.abort();
    all_see(&nodes, [("a", "up"), ("b", "down"), ("c", "removed")]).await;
}

#[actix_rt::test]
async fn an_outsider_is_counted_and_not_answered() {
    let node = TestNode::start("a", &[]);
    let outsider = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (wrong, _) = split(outsider.try_clone().unwrap(), sealing(2), GossipMetrics::default()).unwrap();
    wrong.send(node.address, b"hello");
    outsider.send_to(b"hello", node.address).unwrap();
    outsider.send_to(&[0; 60_000], node.address).unwrap();
    outsider.send_to(&[], node.address).unwrap();
    until("all are refused", || async { node.refused() == 4 }).await;
    let error = outsider.recv_from(&mut [0; 100]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "nothing is answered");
    assert_eq!(node.states().await.len(), 1);
}

/// Ends with the first datagram.
struct Tired;

impl Actor for Tired {
    type Context = actix::Context<Self>;
}

impl Handler<Datagram> for Tired {
    type Result = ();

    fn handle(&mut self, _: Datagram, context: &mut Self::Context) {
        context.stop();
    }
}

#[actix_rt::test]
async fn the_receiver_ends_with_the_actor() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let (sender, receiver) = split(socket, sealing(1), GossipMetrics::default()).unwrap();
    let receiving = actix_rt::spawn(receiver.run(Tired.start().recipient()));
    until("it ends", || async {
        sender.send(address, b"hello");
        receiving.is_finished()
    })
    .await;
    receiving.await.unwrap().unwrap();
}
