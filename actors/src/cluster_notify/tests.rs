//! The actor between a cache, a database and a lease keeper that are real and a peer "n2" that the test plays, on
//! paused time.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use callboard_protocol::commit::{Decision, Operation, Standing};
use callboard_protocol::config::SharedState;
use callboard_protocol::extent::Extent;
use callboard_protocol::member::AckNo;
use callboard_protocol::time::WallMillis;
use callboard_protocol::write_request::WriteRequest;

use super::*;
use crate::event_bus::ConfigEvent;
use crate::runtime::Observe;
use crate::store::CommitRequest;
use crate::testbed::node::{Node, me};
use crate::testbed::{Received, Witness, advance, key, put, query, rebuild, run, settle, state, text, until};

const TIMELINE: Timeline = Timeline(1);
const BATCH: BatchId = BatchId(Uuid::from_u128(7));
const PENDING: Duration = Duration::from_secs(2);

struct Testbed {
    node: Node,
    life: Incarnation,
    acks: Received<Acked>,
    nacks: Received<Nacked>,
    _publisher: Subscription,
}

impl Testbed {
    /// A member, whose own publisher listens.
    async fn start() -> Self {
        let options =
            Options { pending_timeout: PENDING, jitter: Duration::from_millis(10), retry: Duration::from_millis(100) };
        let node = Node::start(options).await;
        let life = node.leases.joined(None).await;
        let ((acked, acks), (nacked, nacks)) = (Witness::start(), Witness::start());
        let publisher = query(&node.cluster_notify, Subscribe { acks: acked, nacks: nacked }).await;
        until("the feed's first look", || node.told.take().pop()).await;
        while query(&node.cluster_notify, Observe).await["incarnation"].is_null() {}
        Self { node, life, acks, nacks, _publisher: publisher }
    }

    /// The peer notifies of a unit, and gets the ack.
    async fn acked(&self, unit: &WriteRequest) -> Ack {
        self.node.receive(notify(unit));
        self.node.said(ack_to_peer).await
    }

    async fn marks(&self) -> u64 {
        query(&self.node.leases.keeper, Observe).await["held"]["marks"].as_u64().unwrap()
    }

    async fn pending(&self) -> u64 {
        query(&self.node.cluster_notify, Observe).await["pending"].as_u64().unwrap()
    }

    async fn until_settled(&self) {
        while self.pending().await > 0 || self.marks().await > 0 {
            tokio::task::yield_now().await;
        }
    }

    /// What the peer's transaction comes to, on this ack.
    async fn commit(&self, unit: &Arc<WriteRequest>, ack: &Ack) -> Decision {
        let request = CommitRequest {
            units: vec![Arc::clone(unit)],
            timeline: TIMELINE,
            standing: Standing::Direct,
            acks: vec![ack.clone()],
            at: WallMillis(1),
        };
        self.node.leases.database.writer.commit(request).await.unwrap()
    }

    async fn next_changed(&self) -> Vec<SharedState> {
        match self.node.told.next().await {
            ConfigEvent::Changed(states) => states.to_vec(),
            ConfigEvent::Recheck => panic!("everybody is told to look"),
        }
    }

    /// Has a commit of this node looked for.
    fn resolve(&self, unit: &WriteRequest, ack: Option<Ack>) -> oneshot::Receiver<Outcome> {
        let (reply, found) = oneshot::channel();
        self.node.cluster_notify.do_send(FindOutcome { request_ids: vec![unit.request_id.clone()], ack, reply });
        found
    }
}

fn peer() -> NodeId {
    NodeId("n2".into())
}

fn notify(unit: &WriteRequest) -> PeerMessage {
    PeerMessage::Notify(NotifyEvent {
        timeline: TIMELINE,
        batch: BATCH,
        publisher: peer(),
        publisher_incarnation: Incarnation(Uuid::from_u128(2)),
        items: unit.items.iter().map(|item| (item.key.clone(), unit.request_id.clone())).collect(),
        database: Fingerprint::UNKNOWN,
    })
}

fn committed(state: &SharedState) -> PeerMessage {
    let (key, version) = (state.key.clone(), state.version);
    let change = CommittedChange { key, version, operation: Operation::Update, state: Some(Arc::clone(state)) };
    PeerMessage::Commit(NotifyCommitEvent {
        timeline: TIMELINE,
        batch: BATCH,
        revision: version,
        changes: vec![change],
        database: Fingerprint::UNKNOWN,
    })
}

fn ack_to_peer(to: &Option<NodeId>, message: &PeerMessage) -> Option<Ack> {
    match message {
        PeerMessage::Ack { ack, .. } if *to == Some(peer()) => Some(ack.clone()),
        _ => None,
    }
}

#[test]
fn a_batch_is_acknowledged_only_after_the_cache_has_marked_its_keys() {
    run(async || {
        let testbed = Testbed::start().await;
        let free = testbed.node.leases.keep_cache_busy();
        testbed.node.receive(notify(&put("a", "x")));
        settle().await;
        assert_eq!(testbed.pending().await, 1);
        let said = testbed.node.unread();
        let is_an_ack = said.iter().any(|(_, message)| matches!(message, PeerMessage::Ack { .. }));
        assert!(!is_an_ack, "the cache has not marked anything yet");
        drop(free);
        let ack = testbed.node.said(ack_to_peer).await;
        assert_eq!((&ack.node, ack.incarnation), (&me(), testbed.life));
        assert_eq!(testbed.marks().await, 1);
    });
}

#[test]
fn a_commit_event_ends_the_marks_is_told_to_subscribers_and_acknowledged_in_turn() {
    run(async || {
        let testbed = Testbed::start().await;
        testbed.acked(&put("a", "x")).await;
        testbed.node.receive(committed(&state("a", 1, "x")));
        let changed = testbed.next_changed().await;
        assert_eq!(changed.iter().map(|state| text(state)).collect::<Vec<_>>(), ["x"]);
        let ack2 = |_: &Option<NodeId>, message: &PeerMessage| match message {
            PeerMessage::Ack2(ack2) => Some(ack2.clone()),
            _ => None,
        };
        assert_eq!(testbed.node.said(ack2).await, Ack2 { batch: BATCH, node: me() });
        testbed.until_settled().await;
    });
}

#[test]
fn a_batch_that_is_withdrawn_gives_its_keys_back_and_nobody_is_told() {
    run(async || {
        let testbed = Testbed::start().await;
        testbed.acked(&put("a", "x")).await;
        testbed.node.receive(PeerMessage::Abort(BATCH));
        testbed.until_settled().await;
        settle().await;
        assert!(testbed.node.told.take().is_empty());
    });
}

#[test]
fn a_commit_event_that_was_lost_is_made_up_for_from_the_database_after_a_time_out() {
    run(async || {
        let testbed = Testbed::start().await;
        let unit = put("a", "x");
        let ack = testbed.acked(&unit).await;
        let decided = testbed.commit(&unit, &ack).await;
        assert!(matches!(decided, Decision::Write(_)), "{decided:?}");
        advance(PENDING - Duration::from_millis(1)).await;
        assert_eq!(testbed.pending().await, 1, "it may still come");
        advance(Duration::from_millis(11)).await;
        testbed.until_settled().await;
        let changed = testbed.next_changed().await;
        assert_eq!(changed.iter().map(|state| text(state)).collect::<Vec<_>>(), ["x"]);
    });
}

#[test]
fn a_batch_whose_end_nobody_told_is_given_up_and_its_ack_counts_no_more() {
    run(async || {
        let testbed = Testbed::start().await;
        let unit = put("a", "x");
        let ack = testbed.acked(&unit).await;
        while testbed.pending().await > 0 {
            advance(Duration::from_millis(100)).await;
        }
        testbed.until_settled().await;
        let decided = testbed.commit(&unit, &ack).await;
        assert!(matches!(decided, Decision::NeedAcks(_)), "a commit on an ack taken back: {decided:?}");
        let again = testbed.acked(&unit).await;
        assert!(again.number > ack.number);
        assert!(matches!(testbed.commit(&unit, &again).await, Decision::Write(_)));
    });
}

#[test]
fn a_batch_of_the_node_itself_goes_to_the_peers_and_is_acknowledged_on_the_same_path() {
    run(async || {
        let testbed = Testbed::start().await;
        let row = |node| NodeRow { node, incarnation: testbed.life, ack_floor: AckNo(0) };
        let items = vec![(key("a"), put("a", "x").request_id.clone())];
        testbed.node.cluster_notify.do_send(Notify { batch: BATCH, items, to: vec![row(me()), row(peer())] });
        let own = testbed.acks.next().await;
        assert_eq!((own.batch, own.ack.node, own.ack.incarnation), (BATCH, me(), testbed.life));
        assert_eq!(testbed.marks().await, 1);
        let to = |to: &Option<NodeId>, message: &PeerMessage| match message {
            PeerMessage::Notify(event) if event.publisher == me() => to.clone(),
            _ => None,
        };
        assert_eq!(testbed.node.said(to).await, peer());
        testbed.node.cluster_notify.do_send(Abort { batch: BATCH });
        testbed.until_settled().await;
        let to_all = |to: &Option<NodeId>, message: &PeerMessage| match message {
            PeerMessage::Abort(batch) => to.is_none().then_some(*batch),
            _ => None,
        };
        assert_eq!(testbed.node.said(to_all).await, BATCH);
    });
}

#[test]
fn what_a_peer_makes_of_a_batch_is_told_to_the_publisher_and_only_members_are_counted() {
    run(async || {
        let testbed = Testbed::start().await;
        let ack = Ack { node: peer(), incarnation: testbed.life, number: AckNo(3), known: Extent::default() };
        testbed.node.receive(PeerMessage::Ack { batch: BATCH, ack: ack.clone() });
        let acked = testbed.acks.next().await;
        assert_eq!((acked.batch, acked.ack), (BATCH, ack));
        testbed.node.receive(PeerMessage::Nack { batch: BATCH, reason: "a test".into() });
        assert_eq!(testbed.nacks.next().await.batch, BATCH);
        let metrics = &testbed.node.leases.metrics.lease;
        assert_eq!(metrics.nacks.get(), 1);
        assert!(metrics.acks.get(&NodeLabel { node: "n2".into() }).is_none(), "it has no row");
    });
}

#[test]
fn a_batch_of_another_line_of_history_is_not_marked() {
    run(async || {
        let testbed = Testbed::start().await;
        let PeerMessage::Notify(event) = notify(&put("a", "x")) else { panic!("a notification") };
        testbed.node.receive(PeerMessage::Notify(NotifyEvent { timeline: Timeline(9), ..event }));
        let refused = |_: &Option<NodeId>, message: &PeerMessage| match message {
            PeerMessage::Nack { batch, .. } => Some(*batch),
            _ => None,
        };
        assert_eq!(testbed.node.said(refused).await, BATCH);
        assert_eq!((testbed.marks().await, testbed.pending().await), (0, 0));
    });
}

#[test]
fn a_commit_of_unknown_outcome_is_found_when_it_is_there() {
    run(async || {
        let testbed = Testbed::start().await;
        let unit = put("a", "x");
        let ack = testbed.acked(&unit).await;
        testbed.commit(&unit, &ack).await;
        let Ok(Outcome::Landed(units)) = testbed.resolve(&unit, Some(ack)).await else { panic!("not found") };
        assert_eq!(units.iter().map(|(request_id, _)| request_id).collect::<Vec<_>>(), [&unit.request_id]);
    });
}

#[test]
fn a_commit_of_unknown_outcome_that_is_not_there_can_not_land_afterwards() {
    run(async || {
        let testbed = Testbed::start().await;
        let unit = put("a", "x");
        let ack = testbed.acked(&unit).await;
        assert_eq!(testbed.resolve(&unit, Some(ack.clone())).await.unwrap(), Outcome::Landed(Vec::new()));
        let decided = testbed.commit(&unit, &ack).await;
        assert!(matches!(decided, Decision::NeedAcks(_)), "{decided:?}");
    });
}

#[test]
fn without_a_row_of_its_own_a_commit_that_is_not_there_may_still_come() {
    run(async || {
        let testbed = Testbed::start().await;
        let found = testbed.resolve(&put("a", "x"), None).await.unwrap();
        assert_eq!(found, Outcome::LandedUncertain(Vec::new()));
    });
}

#[test]
fn a_database_that_does_not_answer_is_asked_for_three_seconds_and_not_for_ever() {
    run(async || {
        let testbed = Testbed::start().await;
        testbed.node.leases.database.writer.close().await;
        let mut found = testbed.resolve(&put("a", "x"), None);
        let begun = testbed.node.leases.clock.mono();
        let resolution = loop {
            advance(Duration::from_millis(50)).await;
            if let Ok(resolution) = found.try_recv() {
                break resolution;
            }
        };
        assert!(matches!(resolution, Outcome::Unresolved { .. }), "{resolution:?}");
        let took = testbed.node.leases.clock.mono().since(begun);
        assert!((Duration::from_secs(3)..Duration::from_secs(6)).contains(&took), "{took:?}");
    });
}

#[test]
fn a_cache_that_was_rebuilt_begins_a_new_life_in_which_earlier_acks_do_not_count() {
    run(async || {
        let testbed = Testbed::start().await;
        let unit = put("a", "x");
        let ack = testbed.acked(&unit).await;
        rebuild(&testbed.node.leases.keeper).await;
        testbed.node.leases.joined(Some(testbed.life)).await;
        let decided = testbed.commit(&unit, &ack).await;
        assert!(matches!(decided, Decision::NeedAcks(_)), "{decided:?}");
    });
}

#[test]
fn one_that_was_rebuilt_begins_a_new_life_and_its_publisher_learns_that_it_was_forgotten() {
    run(async || {
        let testbed = Testbed::start().await;
        let (acks, nacks) = (Witness::start().0, Witness::start().0);
        let held = query(&testbed.node.cluster_notify, Subscribe { acks, nacks }).await;
        rebuild(&testbed.node.cluster_notify).await;
        held.lost().await;
        testbed.node.leases.joined(Some(testbed.life)).await;
    });
}
