//! Whole nodes on paused time, each with gossip, listener and bus, over datagrams that are handed over in the process.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use actix::System;
use actix::fut::wrap_future;
use callboard_protocol::extent::{Extent, Fingerprint};
use callboard_protocol::lease::LeaseObservation;
use callboard_protocol::lease::{Announcement, CommitGate};
use callboard_protocol::member::{AckNo, Incarnation, MemberRow, Timeline};
use callboard_protocol::membership_view::{Addresses, ProtocolRange, Status};
use callboard_protocol::time::{Mono, WallMillis};
use tokio::time::Instant;
use uuid::Uuid;

use super::*;
use crate::clock::Clock;
use crate::event_bus::{MemberNews, SubscribeMembers};
use crate::gossip::{self, Advertised, Datagram, LeaveCluster, NameResolution, Outlet, Seeds, SetStatus};
use crate::lease_keeper::MembershipChanged;
use crate::metrics::{DirectionLabel, Metrics};
use crate::runtime::{Panic, Registry, Spec, ask, start};

const DEADLINE: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(10);

#[derive(Debug)]
struct TestClock(Instant);

impl Clock for TestClock {
    fn mono(&self) -> Mono {
        Mono(self.0.elapsed())
    }

    fn wall(&self) -> WallMillis {
        WallMillis(1_700_000_000_000 + i64::try_from(self.0.elapsed().as_millis()).unwrap())
    }
}

/// Hands datagrams to the node of their address, unless it or the sender is cut off.
#[derive(Debug, Clone, Default)]
struct Hub(Arc<Mutex<HashMap<SocketAddr, Recipient<Datagram>>>>);

#[derive(Debug)]
struct Port {
    hub: Hub,
    from: SocketAddr,
}

impl Outlet for Port {
    fn send(&self, to: SocketAddr, datagram: &[u8]) {
        let nodes = self.hub.0.lock().unwrap();
        if let (Some(_), Some(node)) = (nodes.get(&self.from), nodes.get(&to)) {
            node.do_send(Datagram(datagram.to_vec()));
        }
    }
}

#[derive(Debug)]
struct Fixed(Vec<SocketAddr>);

impl Seeds for Fixed {
    fn resolve(&self) -> NameResolution {
        let seeds = self.0.clone();
        Box::pin(async move { seeds })
    }
}

/// Writes down what it is told.
#[derive(Default, Clone)]
struct Witness {
    news: Rc<RefCell<Vec<String>>>,
    peers: Rc<RefCell<Vec<BTreeMap<NodeId, SocketAddr>>>>,
}

impl Actor for Witness {
    type Context = actix::Context<Self>;
}

impl Handler<PeersKnown> for Witness {
    type Result = ();

    fn handle(&mut self, PeersKnown(peers): PeersKnown, _: &mut Self::Context) {
        self.peers.borrow_mut().push(peers);
    }
}

impl Handler<MemberNews> for Witness {
    type Result = ();

    fn handle(&mut self, news: MemberNews, _: &mut Self::Context) {
        self.news.borrow_mut().push(match news {
            MemberNews::Happened(event) => format!("{} {}", event.as_str(), event.node()),
            MemberNews::Recheck => "recheck".to_owned(),
        });
    }
}

struct TestNode {
    address: SocketAddr,
    gossip: Option<Addr<Gossip>>,
    listener: Addr<ClusterListener>,
    bus: Addr<EventBus>,
    witness: Witness,
    metrics: Metrics,
}

fn address(index: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, index], 8851))
}

fn id(index: u8) -> NodeId {
    NodeId(format!("node-{index}").into())
}

fn row(index: u8) -> RowObservation {
    RowObservation {
        node: id(index),
        incarnation: Incarnation(Uuid::from_u128(u128::from(index))),
        lease: LeaseObservation::Held,
        peer: Some(address(index)),
        http: None,
    }
}

impl TestNode {
    async fn start(hub: Option<&Hub>, index: u8, seeds: &[u8]) -> Self {
        Self::start_under_id_of(hub, index, index, seeds).await
    }

    /// At the address of `index`, under the id of `named`.
    async fn start_under_id_of(hub: Option<&Hub>, index: u8, named: u8, seeds: &[u8]) -> Self {
        let (registry, metrics, witness) = (Registry::new(), Metrics::default(), Witness::default());
        let clock: SharedClock = Arc::new(TestClock(Instant::now()));
        let gossip = hub.map(|hub| {
            let arguments = gossip::Arguments {
                advertised: Advertised {
                    node: id(named),
                    peer: address(index),
                    http: SocketAddr::from(([10, 0, 0, index], 8848)),
                    grpc: None,
                    session: None,
                    protocols: ProtocolRange { min: 1, max: 2 },
                    version: "0.1.0".into(),
                },
                outlet: Arc::new(Port { hub: hub.clone(), from: address(index) }),
                seeds: Arc::new(Fixed(seeds.iter().copied().map(address).collect())),
                clock: clock.clone(),
                metrics: metrics.gossip.clone(),
            };
            let gossip = start(&Spec::new(&registry, "gossip"), Gossip::factory(arguments));
            hub.0.lock().unwrap().insert(address(index), gossip.clone().recipient());
            gossip
        });
        let counts = metrics.push.clone();
        let bus = start(&Spec::new(&registry, "event_bus"), move |_| EventBus::new(counts.clone()));
        let addr = witness.clone().start();
        let held = bus.send(SubscribeMembers(addr.clone().recipient())).await.unwrap();
        actix_rt::spawn(held.lost());
        let arguments = Arguments {
            node: id(named),
            gossip: gossip.clone(),
            bus: bus.clone(),
            peers: Some(addr.recipient()),
            deps: None,
            clock,
            metrics: metrics.gossip.clone(),
        };
        let listener =
            start(&Spec::new(&registry, "cluster_listener"), move |_| ClusterListener::new(arguments.clone()));
        Self { address: address(index), gossip, listener, bus, witness, metrics }
    }

    fn gossip(&self) -> &Addr<Gossip> {
        self.gossip.as_ref().unwrap()
    }

    async fn set_up(&self) {
        ask(self.gossip(), SetStatus(Status::Up), DEADLINE).await.unwrap();
    }

    async fn states(&self) -> BTreeMap<String, &'static str> {
        let view = ask(&self.listener, GetCluster, DEADLINE).await.unwrap();
        view.nodes.into_iter().map(|node| (node.id.to_string(), node.state.as_str())).collect()
    }

    async fn sees(&self, index: u8) -> Option<&'static str> {
        self.states().await.remove(&id(index).to_string())
    }

    /// Waits until it sees the node so; returns how long that took.
    async fn until(&self, index: u8, state: &str) -> Duration {
        let begin = Instant::now();
        while self.sees(index).await != Some(state) {
            assert!(begin.elapsed() < Duration::from_secs(30), "never {state}: {:?}", self.states().await);
            tokio::time::sleep(STEP).await;
        }
        begin.elapsed()
    }

    fn news(&self) -> Vec<String> {
        self.witness.news.borrow_mut().drain(..).collect()
    }

    fn gauge(&self, state: &'static str) -> i64 {
        self.metrics.gossip.members.get_or_create(&MemberStateLabel { state }).get()
    }
}

fn run<F: Future<Output = ()>>(test: impl FnOnce(Hub) -> F) {
    System::new().block_on(async {
        tokio::time::pause();
        test(Hub::default()).await;
    });
}

async fn three(hub: &Hub) -> Vec<TestNode> {
    let mut nodes = Vec::new();
    for index in 1..=3 {
        nodes.push(TestNode::start(Some(hub), index, &[1]).await);
    }
    for node in &nodes {
        node.set_up().await;
    }
    for node in &nodes {
        for index in 1..=3 {
            let took = node.until(index, "up").await;
            assert!(took < Duration::from_secs(3), "{took:?}");
        }
        node.news();
    }
    nodes
}

#[test]
fn nodes_find_each_other_and_see_one_die_and_come_back() {
    run(|hub| async move {
        let nodes = three(&hub).await;
        let one = &nodes[0];
        assert_eq!(one.gauge("up"), 3);
        let others: BTreeMap<NodeId, SocketAddr> = [2, 3].map(|index| (id(index), address(index))).into();
        assert_eq!(one.witness.peers.borrow().last(), Some(&others));
        one.listener.do_send(RowsSeen([1, 2, 3].map(row).into()));
        let view = ask(&one.listener, GetCluster, DEADLINE).await.unwrap();
        assert_eq!(view.node, id(1));
        let three = view.nodes.into_iter().find(|node| node.id == id(3)).unwrap();
        assert_eq!((three.incarnation, three.lease), (Some(row(3).incarnation), Some(LeaseObservation::Held)));
        assert_eq!(three.version.as_deref(), Some("0.1.0"));

        let cut = hub.0.lock().unwrap().remove(&nodes[2].address).unwrap();
        assert!(one.until(3, "suspect").await < Duration::from_secs(5));
        assert!(one.until(3, "down").await < Duration::from_secs(5));
        one.listener.do_send(RowsSeen([1, 2].map(row).into()));
        one.until(3, "removed").await;
        assert_eq!(one.news(), ["suspect node-3", "down node-3", "removed node-3"]);
        assert_eq!(one.witness.peers.borrow().last().unwrap().len(), 1);

        hub.0.lock().unwrap().insert(nodes[2].address, cut);
        assert!(one.until(3, "up").await < Duration::from_secs(15));
        nodes[2].until(1, "up").await;
        assert_eq!(one.news(), ["up node-3"]);
        assert_eq!(one.metrics.gossip.transitions.get_or_create(&TransitionLabel { event: "down" }).get(), 1);
        assert!(one.metrics.gossip.datagrams.get_or_create(&DirectionLabel { direction: "in" }).get() > 10);
    });
}

#[test]
fn who_leaves_is_removed_at_once() {
    run(|hub| async move {
        let nodes = three(&hub).await;
        ask(nodes[2].gossip(), SetStatus(Status::Leaving), DEADLINE).await.unwrap();
        nodes[0].until(3, "leaving").await;
        ask(nodes[2].gossip(), LeaveCluster, DEADLINE).await.unwrap();
        assert!(nodes[0].until(3, "removed").await < Duration::from_secs(1));
        assert_eq!(nodes[0].news(), ["leaving node-3", "removed node-3"]);
        // Who is gone stays gone, whatever is asked of it.
        ask(nodes[2].gossip(), SetStatus(Status::Up), DEADLINE).await.unwrap();
        nodes[2].gossip().do_send(Panic);
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(nodes[0].sees(3).await, Some("removed"));
        assert_eq!(nodes[2].sees(3).await, Some("removed"));
    });
}

#[test]
fn gossip_that_is_rebuilt_is_the_same_node_and_nobody_dies_of_it() {
    run(|hub| async move {
        let nodes = three(&hub).await;
        let generation = |view: ClusterView| view.nodes.into_iter().find(|node| node.id == id(3)).unwrap().generation;
        let before = generation(ask(&nodes[0].listener, GetCluster, DEADLINE).await.unwrap());
        nodes[2].gossip().do_send(Panic);
        let begin = Instant::now();
        while generation(ask(&nodes[0].listener, GetCluster, DEADLINE).await.unwrap()) <= before {
            assert!(begin.elapsed() < DEADLINE, "the later life was never seen");
            tokio::time::sleep(STEP).await;
        }
        tokio::time::sleep(Duration::from_secs(15)).await;
        for node in &nodes {
            assert_eq!(node.news(), [""; 0]);
            assert_eq!(node.states().await.into_values().collect::<Vec<_>>(), ["up", "up", "up"]);
        }
    });
}

/// What the lease keeper of node 1 says: of rows of all three, and of another process.
fn membership(own_row: bool, namesake: Option<&str>) -> MembershipChanged {
    let member = |index: u8| MemberRow {
        node: id(index),
        incarnation: row(index).incarnation,
        renew_seq: 1,
        ack_floor: AckNo::default(),
        revoked: false,
        address: Addresses { peer: Some(address(index)), ..Addresses::default() }.to_text(),
        database_member: String::new(),
    };
    MembershipChanged {
        node: id(1),
        incarnation: own_row.then(|| row(1).incarnation),
        timeline: Timeline(1),
        rows: [1, 2, 3].map(|index| (member(index), LeaseObservation::Held)).into(),
        namesake: namesake.map(str::to_owned),
        elsewhere: None,
        database: Fingerprint::UNKNOWN,
        gate: CommitGate::Open,
        announcement: Announcement {
            node: id(1),
            incarnation: None,
            renew_seq: 0,
            database: Fingerprint::UNKNOWN,
            extent: Extent::default(),
        },
    }
}

#[test]
fn a_second_process_under_the_id_of_a_node_changes_nothing_for_the_others() {
    run(|hub| async move {
        let nodes = three(&hub).await;
        for node in &nodes {
            node.listener.do_send(RowsSeen([1, 2, 3].map(row).into()));
        }
        nodes[0].listener.do_send(membership(true, None));
        let second = TestNode::start_under_id_of(Some(&hub), 4, 1, &[1, 2, 3]).await;
        second.listener.do_send(membership(false, Some("peer=10.0.0.1:8851")));
        second.until(3, "up").await;
        assert_eq!(
            second.witness.peers.borrow().last().unwrap().len(),
            0,
            "its links would be taken for those of the node"
        );
        tokio::time::sleep(Duration::from_secs(10)).await;
        hub.0.lock().unwrap().remove(&second.address);
        tokio::time::sleep(Duration::from_secs(20)).await;
        for node in &nodes[1..] {
            assert_eq!(node.news(), [""; 0]);
            assert_eq!(node.sees(1).await, Some("up"));
            let ways = node.witness.peers.borrow();
            assert!(ways.iter().flat_map(|peers| peers.get(&id(1))).all(|way| *way == address(1)), "{ways:?}");
        }
        // When the other process is gone the second one is a node like any.
        second.listener.do_send(membership(false, None));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(second.witness.peers.borrow().last().unwrap().len(), 2);
    });
}

#[test]
fn rows_lead_to_nodes_that_no_seed_names() {
    run(|hub| async move {
        let nodes = [TestNode::start(Some(&hub), 1, &[]).await, TestNode::start(Some(&hub), 2, &[]).await];
        nodes[0].listener.do_send(RowsSeen([1, 2].map(row).into()));
        assert_eq!(nodes[0].sees(2).await, Some("down"), "it was not heard of yet");
        let peers = BTreeMap::from([(id(2), address(2))]);
        assert_eq!(nodes[0].witness.peers.borrow().last(), Some(&peers), "the row tells the way to it");
        nodes[0].until(2, "joining").await;
        nodes[1].until(1, "joining").await;
    });
}

#[test]
fn without_gossip_a_node_knows_of_rows_and_whoever_keeps_links_is_told_again() {
    run(|_| async move {
        let node = TestNode::start(None, 1, &[]).await;
        assert_eq!(node.states().await, BTreeMap::from([("node-1".to_owned(), "joining")]));
        node.listener.do_send(RowsSeen(vec![row(1)]));
        assert_eq!(node.states().await, BTreeMap::from([("node-1".to_owned(), "up")]));
        assert_eq!(node.news(), ["up node-1"]);
        assert_eq!(node.witness.peers.borrow().len(), 1);
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!(node.witness.peers.borrow().len(), 2);
        node.listener.do_send(Panic);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(node.states().await, BTreeMap::from([("node-1".to_owned(), "joining")]));
    });
}

/// Takes nothing that it is told.
struct Stuck;

impl Actor for Stuck {
    type Context = actix::Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.wait(wrap_future(std::future::pending::<()>()));
    }
}

impl Handler<MemberNews> for Stuck {
    type Result = ();

    fn handle(&mut self, _: MemberNews, _: &mut Self::Context) {}
}

#[test]
fn a_slow_subscriber_holds_nobody_up_and_is_told_to_look() {
    run(|_| async move {
        let node = TestNode::start(None, 1, &[]).await;
        let stuck = Stuck.start();
        let held = node.bus.send(SubscribeMembers(stuck.recipient())).await.unwrap();
        for index in 0..3_000_u32 {
            let name = NodeId(format!("node-{index}").into());
            node.bus.send(PublishMember(MemberEvent::MemberUp(name))).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert_eq!(node.news().len(), 3_000, "the others are told everything");
        assert!(node.metrics.push.lagged.get() > 0, "the slow one lost its queue");
        drop(held);
    });
}
