//! Two whole nodes on one database, with a transport that is not links: whatever it loses, repeats or brings late, no
//! node serves an old value after a publish has returned.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{Recipient, System};
use callboard_protocol::commit::BatchId;
use callboard_protocol::extent::Extent;
use callboard_protocol::lease::{self, LeaseMode};
use callboard_protocol::member::{Ack, AckNo, Incarnation, NodeId};
use callboard_protocol::publish::PublishOutcome;
use callboard_protocol::receiver;
use callboard_protocol::write_request::WriteOutcome;

use uuid::Uuid;

use super::testbed::{Testbed, text};
use crate::lease_keeper::ReleaseMembership;
use crate::metrics::NodeLabel;
use crate::runtime::ask;
use crate::transport::{FromPeer, PeerMessage, Subscribing, Transport};
use crate::wiring::Way;

/// How often a message arrives.
type Fate = fn(&PeerMessage, u64) -> usize;

/// The wires between the nodes of one test.
#[derive(Clone)]
struct Hub {
    nodes: Arc<Mutex<HashMap<NodeId, Recipient<FromPeer>>>>,
    fate: Arc<Mutex<Fate>>,
    sent: Arc<Mutex<u64>>,
}

impl Hub {
    fn new(fate: Fate) -> Self {
        Self { nodes: Arc::default(), fate: Arc::new(Mutex::new(fate)), sent: Arc::default() }
    }

    fn carry(&self, to: &Recipient<FromPeer>, message: &PeerMessage) {
        // They come by the clock: counted with the others, they would decide by chance which of those are lost.
        if matches!(message, PeerMessage::Announcement(_)) {
            return to.do_send(FromPeer(message.clone()));
        }
        let number = {
            let mut sent = self.sent.lock().unwrap();
            *sent += 1;
            *sent
        };
        let times = self.fate.lock().unwrap()(message, number);
        (0..times).for_each(|_| to.do_send(FromPeer(message.clone())));
    }

    fn change(&self, fate: Fate) {
        *self.fate.lock().unwrap() = fate;
    }
}

/// One node's end of the wires.
struct Wire {
    hub: Hub,
    me: NodeId,
}

impl Transport for Wire {
    fn send(&self, to: &NodeId, message: PeerMessage) {
        let to = self.hub.nodes.lock().unwrap().get(to).cloned();
        if let Some(to) = to {
            self.hub.carry(&to, &message);
        }
    }

    fn broadcast(&self, message: PeerMessage) {
        let nodes = self.hub.nodes.lock().unwrap().clone();
        nodes.iter().filter(|(node, _)| **node != self.me).for_each(|(_, to)| self.hub.carry(to, &message));
    }

    fn listen(&self, listener: Recipient<FromPeer>) -> Subscribing {
        self.hub.nodes.lock().unwrap().insert(self.me.clone(), listener);
        Box::pin(std::future::pending())
    }
}

async fn two_nodes(hub: &Hub) -> [Testbed; 2] {
    let directory = Rc::new(tempfile::tempdir().unwrap());
    // Short, so that what has to be waited for is waited for quickly.
    let lease = lease::Options {
        terms: LeaseMode::Renewed,
        lease: Duration::from_millis(900),
        renew_every: Duration::from_millis(150),
        margin: Duration::from_millis(100),
        join_patience: Duration::ZERO,
        ..lease::Options::default()
    };
    // Longer than it takes to give a silent member up, as it is by default.
    let pending = receiver::Options { pending_timeout: Duration::from_secs(2), ..receiver::Options::default() };
    let mut testbeds = Vec::new();
    for name in ["a", "b"] {
        let wire = {
            let (hub, me) = (hub.clone(), NodeId(name.into()));
            move || -> Box<dyn Transport> { Box::new(Wire { hub: hub.clone(), me: me.clone() }) }
        };
        let testbed =
            Testbed::start_on(Rc::clone(&directory), name, (lease.clone(), pending.clone()), Way::By(Box::new(wire)))
                .await;
        testbeds.push(testbed);
    }
    testbeds.try_into().ok().unwrap()
}

/// Publishes rising numbers on both nodes in turn, and reads both the moment each publish has returned.
async fn agree(testbeds: &[Testbed; 2], rounds: std::ops::Range<u32>) {
    for round in rounds {
        let number = round.to_string();
        testbeds[round as usize % 2].settle("k", &number).await;
        for testbed in testbeds {
            let state = testbed.get("k").await;
            let read: u32 = text(&state).unwrap().parse().unwrap();
            assert!(read >= round, "{read} was read after {round} had been published");
        }
    }
}

fn run<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    System::new().block_on(test());
}

#[test]
fn what_one_node_published_every_node_serves_from_memory() {
    run(async || {
        let testbeds = two_nodes(&Hub::new(|_, _| 1)).await;
        agree(&testbeds, 0..40).await;
        for testbed in &testbeds {
            assert!(testbed.node.metrics.cache.hits.get() > 0, "memory never answered");
        }
    });
}

#[test]
fn lost_repeated_and_missing_messages_change_nothing_but_the_speed() {
    run(async || {
        let hub = Hub::new(|_, number| [1, 0, 2][(number % 3) as usize]);
        let testbeds = two_nodes(&hub).await;
        agree(&testbeds, 0..12).await;
        // No commit event and no abort arrives: the marks end by the word of the database.
        hub.change(|message, _| usize::from(!matches!(message, PeerMessage::Commit(_) | PeerMessage::Abort(_))));
        agree(&testbeds, 12..20).await;
        let served = Cell::new(false);
        for _ in 0..200 {
            let before = testbeds[0].node.metrics.cache.hits.get();
            testbeds[0].get("k").await;
            served.set(served.get() || testbeds[0].node.metrics.cache.hits.get() > before);
            if served.get() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(served.get(), "the marks never went");
    });
}

#[test]
fn a_node_that_acknowledges_nothing_loses_its_row_and_serves_no_old_value() {
    run(async || {
        let hub = Hub::new(|_, _| 1);
        let testbeds = two_nodes(&hub).await;
        agree(&testbeds, 0..2).await;
        hub.change(|_, _| 0);
        let outcome = testbeds[0].put("k", "2").await;
        assert!(matches!(outcome, PublishOutcome::Settled(WriteOutcome::Done { .. })), "{outcome:?}");
        assert_eq!(
            text(&*testbeds[1].get("k").await).as_deref(),
            Some("2"),
            "the node that was cut off served an old value"
        );
        hub.change(|_, _| 1);
        agree(&testbeds, 3..8).await;
    });
}

#[test]
fn acks_are_counted_by_the_names_of_members_alone() {
    run(async || {
        let hub = Hub::new(|_, _| 1);
        let testbeds = two_nodes(&hub).await;
        let acks = &testbeds[0].node.metrics.lease.acks;
        let counts = |node: &str| acks.get(&NodeLabel { node: node.to_owned() }).is_some();
        let until = async |is_reached: &dyn Fn() -> bool| {
            let publishing = async {
                while !is_reached() {
                    testbeds[0].settle("k", "1").await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), publishing).await.unwrap();
        };
        // A commit tells of a new row before the membership does.
        until(&|| counts("a") && counts("b")).await;
        let listener = hub.nodes.lock().unwrap()[&NodeId("a".into())].clone();
        let batch = BatchId(Uuid::new_v4());
        for name in ["b", "stranger"] {
            let ack = Ack {
                node: NodeId(name.into()),
                incarnation: Incarnation(Uuid::nil()),
                number: AckNo(1),
                known: Extent::default(),
            };
            listener.send(FromPeer(PeerMessage::Ack { batch, ack })).await.unwrap();
        }
        assert!(counts("b") && !counts("stranger"));
        ask(&testbeds[1].node.lease_keeper, ReleaseMembership, Duration::from_secs(5)).await.unwrap();
        until(&|| !counts("b")).await;
        assert!(counts("a"));
    });
}

#[test]
fn a_node_that_leaves_delays_nobody() {
    run(async || {
        let testbeds = two_nodes(&Hub::new(|_, _| 1)).await;
        agree(&testbeds, 0..2).await;
        ask(&testbeds[1].node.lease_keeper, ReleaseMembership, Duration::from_secs(5)).await.unwrap();
        let began = std::time::Instant::now();
        testbeds[0].settle("k", "2").await;
        assert!(began.elapsed() < Duration::from_millis(900), "the publish waited for a node that had left");
        assert_eq!(text(&*testbeds[1].get("k").await).as_deref(), Some("2"));
    });
}
