//! The machine step by step, as scripts of events and the effects they must have; random walks are in [`soup`].
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::config::{MetadataEdit, Version};
use crate::content::{Content, Md5};
use crate::extent::Extent;
use crate::key::ConfigKey;
use crate::lease::Split;
use crate::member::{AckNo, Incarnation, NodeId};
use crate::write_request::{
    Change, Condition, Fingerprint, KeyWrite, Origin, Recorded, Refusal, RequestId, Source, WriteOutcome,
};

mod cluster;
mod random_walk;

pub(super) const FIRST: u128 = 1_000;

pub(super) fn node(name: &str) -> NodeId {
    NodeId(name.into())
}

pub(super) fn row(name: &str, life: u128, floor: u64) -> NodeRow {
    NodeRow { node: node(name), incarnation: Incarnation(Uuid::from_u128(life)), ack_floor: AckNo(floor) }
}

pub(super) fn ack(name: &str, life: u128, number: u64) -> Ack {
    Ack {
        node: node(name),
        incarnation: Incarnation(Uuid::from_u128(life)),
        number: AckNo(number),
        known: Extent::default(),
    }
}

pub(super) fn key(name: &str) -> ConfigKey {
    ConfigKey::new("public", "g", name).unwrap()
}

pub(super) fn unit(id: u64, keys: &[&str], bytes: usize) -> Arc<WriteRequest> {
    let put = || Change::Put {
        content: Content::new(Bytes::from(format!("{id:0>bytes$}"))).unwrap(),
        edit: Box::new(MetadataEdit::default()),
    };
    let item = |name: &&str| KeyWrite { key: key(name), condition: Condition::None, change: put() };
    Arc::new(WriteRequest {
        request_id: RequestId::new(&format!("r{id}")).unwrap(),
        repeatable: true,
        fingerprint: Fingerprint(Md5::of(&id.to_le_bytes())),
        items: keys.iter().map(item).collect(),
        origin: Origin { channel: Source::Rest, operator: None, source_address: None, client_id: None, note: None },
    })
}

fn batch(number: u128) -> BatchId {
    BatchId(Uuid::from_u128(FIRST + number))
}

fn done() -> WriteOutcome {
    WriteOutcome::Done { items: Vec::new(), replayed: false }
}

fn written(units: usize) -> CommitResult {
    CommitResult::Decided(Decision::Write(Writes {
        revision: Version(7),
        at: crate::time::WallMillis(0),
        states: Vec::new(),
        changes: Vec::new(),
        requests: Vec::new(),
        outcomes: vec![done(); units],
    }))
}

/// A machine with a clock, and one line for each effect.
struct Script {
    machine: Publisher,
    now: Duration,
}

impl Script {
    fn new(standing: Standing, rows: &[NodeRow]) -> Self {
        Self::with(Options::default(), standing, rows)
    }

    fn with(options: Options, standing: Standing, rows: &[NodeRow]) -> Self {
        let mut script = Self { machine: Publisher::new(options, Uuid::from_u128(FIRST)), now: Duration::ZERO };
        assert!(script.observe(standing, rows).is_empty());
        script
    }

    fn member(rows: &[NodeRow]) -> Self {
        Self::new(Standing::Member(node("a")), rows)
    }

    fn step(&mut self, event: Event) -> Vec<String> {
        let mut out = Vec::new();
        self.machine.step(Mono(self.now), event, &mut out);
        out.iter().map(told).collect()
    }

    fn at(&mut self, millis: u64) -> Vec<String> {
        self.now = Duration::from_millis(millis);
        self.step(Event::Tick)
    }

    /// Goes from timer to timer until `millis`; each effect with its time.
    fn until(&mut self, millis: u64) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(Mono(next)) = self.machine.next_wakeup().filter(|next| next.0 <= Duration::from_millis(millis)) {
            let millis = u64::try_from(next.as_millis()).unwrap();
            all.extend(self.at(millis).iter().map(|effect| format!("{millis}: {effect}")));
        }
        self.now = Duration::from_millis(millis);
        all
    }

    fn publish(&mut self, id: u64, keys: &[&str]) -> Vec<String> {
        self.step(Event::Publish { unit: unit(id, keys, 1), caller: CallerId(id) })
    }

    fn acked(&mut self, number: u128, ack: Ack) -> Vec<String> {
        self.step(Event::Acked { batch: batch(number), ack })
    }

    fn committed(&mut self, number: u128, result: CommitResult) -> Vec<String> {
        self.step(Event::Committed { batch: batch(number), result })
    }

    fn resolved(&mut self, number: u128, result: Outcome) -> Vec<String> {
        self.step(Event::Resolved { batch: batch(number), result })
    }

    fn observe(&mut self, standing: Standing, rows: &[NodeRow]) -> Vec<String> {
        self.gate(standing, rows, CommitGate::Open)
    }

    fn gate(&mut self, standing: Standing, rows: &[NodeRow], gate: CommitGate) -> Vec<String> {
        self.step(Event::Membership(Membership { standing, timeline: Timeline(1), nodes: rows.to_vec(), gate }))
    }
}

fn told(effect: &Effect) -> String {
    let number = |batch: &BatchId| batch.0.as_u128() - FIRST;
    let names = |rows: &[NodeRow]| rows.iter().map(|row| row.node.to_string()).collect::<Vec<_>>().join("");
    let ids = |ids: &[RequestId]| ids.iter().map(RequestId::as_str).collect::<Vec<_>>().join(" ");
    match effect {
        Effect::Notify { batch, keys, to } => {
            let keys: Vec<String> = keys.iter().map(|(key, id)| format!("{}/{id}", key.data_id())).collect();
            format!("notify {} [{}] to {}", number(batch), keys.join(" "), names(to))
        }
        Effect::WriteBatch { batch, units, acks, .. } => {
            let units: Vec<RequestId> = units.iter().map(|unit| unit.request_id.clone()).collect();
            let acks: Vec<String> = acks.iter().map(|ack| format!("{}{}", ack.node, ack.number.0)).collect();
            format!("commit {} [{}] by {}", number(batch), ids(&units), acks.join(" "))
        }
        Effect::FindOutcome { batch, request_ids, ack } => {
            let ack = ack.as_ref().map_or_else(|| "none".to_owned(), |ack| ack.number.0.to_string());
            format!("resolve {} [{}] own {ack}", number(batch), ids(request_ids))
        }
        Effect::Reply { caller, outcome } => {
            let outcome = match outcome {
                PublishOutcome::Settled(WriteOutcome::Done { .. }) => "done",
                PublishOutcome::Settled(WriteOutcome::Refused(Refusal::RequestIdReused { .. })) => "reused",
                PublishOutcome::Settled(WriteOutcome::Refused(_)) => "refused",
                PublishOutcome::Rejected { .. } => "rejected",
                PublishOutcome::Busy => "busy",
                PublishOutcome::Failed { .. } => "failed",
                PublishOutcome::Unknown { .. } => "unknown",
            };
            format!("reply {} {outcome}", caller.0)
        }
        Effect::Commit { batch, .. } => format!("confirm {}", number(batch)),
        Effect::Abort { batch } => format!("abort {}", number(batch)),
        Effect::Revoke { rows } => format!("revoke {}", names(rows)),
        Effect::Rejoin => "rejoin".to_owned(),
        Effect::CommitObserved(extent) => format!("known {}", extent.revision),
    }
}

fn unknown() -> CommitResult {
    CommitResult::Unknown { reason: "connection lost".into() }
}

fn recorded(id: u64) -> (RequestId, Recorded) {
    let unit = unit(id, &["x"], 1);
    (unit.request_id.clone(), Recorded { fingerprint: unit.fingerprint, items: Vec::new() })
}

#[test]
fn one_node_notifies_itself_commits_and_confirms() {
    let mut script = Script::member(&[row("a", 1, 0)]);
    assert_eq!(script.publish(1, &["x"]), ["notify 0 [x/r1] to a"]);
    assert_eq!(script.acked(0, ack("a", 1, 1)), ["commit 0 [r1] by a1"]);
    assert_eq!(script.committed(0, written(1)), ["reply 1 done", "confirm 0"]);
    assert_eq!((script.machine.queued(), script.machine.in_flight(), script.machine.next_wakeup()), (0, 0, None));
}

#[test]
fn what_queued_while_the_last_batch_ran_is_the_next_batch() {
    let mut script = Script::member(&[row("a", 1, 0)]);
    script.publish(1, &["x"]);
    assert!(script.publish(2, &["y"]).is_empty());
    assert!(script.publish(3, &["z", "x"]).is_empty());
    assert!(script.publish(4, &["y"]).is_empty());
    script.acked(0, ack("a", 1, 1));
    assert_eq!(
        script.committed(0, written(1)),
        ["reply 1 done", "confirm 0", "notify 1 [y/r2 z/r3 x/r3 y/r4] to a"],
        "one key may stand twice in a batch"
    );
    assert_eq!(script.acked(1, ack("a", 1, 2)), ["commit 1 [r2 r3 r4] by a2"]);
    assert_eq!(script.committed(1, written(3)), ["reply 2 done", "reply 3 done", "reply 4 done", "confirm 1"]);
}

#[test]
fn with_other_members_the_next_batch_is_notified_while_one_commits() {
    let mut script = Script::member(&[row("a", 1, 0), row("b", 2, 0)]);
    assert_eq!(script.publish(1, &["x"]), ["notify 0 [x/r1] to ab"]);
    assert_eq!(script.publish(2, &["y"]), ["notify 1 [y/r2] to ab"]);
    assert!(script.publish(3, &["z"]).is_empty(), "two are in flight");
    assert!(script.acked(0, ack("a", 1, 1)).is_empty());
    assert_eq!(script.acked(0, ack("b", 2, 5)), ["commit 0 [r1] by a1 b5"]);
    script.acked(1, ack("a", 1, 2));
    assert!(script.acked(1, ack("b", 2, 6)).is_empty(), "one commit at a time");
    assert_eq!(
        script.committed(0, written(1)),
        ["reply 1 done", "confirm 0", "notify 2 [z/r3] to ab", "commit 1 [r2] by a2 b6"]
    );
}

#[test]
fn a_key_in_flight_holds_back_its_successors_and_nobody_else() {
    let mut script = Script::member(&[row("a", 1, 0), row("b", 2, 0)]);
    script.publish(1, &["x"]);
    assert!(script.publish(2, &["x", "y"]).is_empty());
    assert!(script.publish(3, &["y"]).is_empty(), "it would overtake the second on y");
    assert_eq!(script.publish(4, &["z"]), ["notify 1 [z/r4] to ab"]);
}

#[test]
fn a_batch_ends_at_its_limits_and_a_large_unit_goes_alone() {
    let options = Options { max_batch_items: 3, max_batch_bytes: 100, ..Options::default() };
    let mut script = Script::with(options, Standing::Direct, &[]);
    let publish = |script: &mut Script, id, keys: &[&str], bytes| {
        script.step(Event::Publish { unit: unit(id, keys, bytes), caller: CallerId(id) })
    };
    assert_eq!(publish(&mut script, 1, &["a"], 1), ["commit 0 [r1] by "]);
    publish(&mut script, 2, &["b", "c"], 1);
    publish(&mut script, 3, &["d", "e"], 1);
    publish(&mut script, 4, &["f"], 500);
    publish(&mut script, 5, &["g"], 60);
    publish(&mut script, 6, &["h"], 60);
    for (number, units) in [(0, "r2"), (1, "r3"), (2, "r4"), (3, "r5"), (4, "r6")] {
        let next = format!("commit {} [{units}] by ", number + 1);
        assert_eq!(script.committed(number, written(1)).last(), Some(&next));
    }
}

#[test]
fn a_batch_is_repeated_while_it_waits_for_the_database() {
    let mut script = Script::member(&[row("a", 1, 0)]);
    script.publish(1, &["x"]);
    script.acked(0, ack("a", 1, 1));
    assert_eq!(script.until(2_500), ["1000: notify 0 [x/r1] to a", "2000: notify 0 [x/r1] to a"]);
    assert_eq!(script.until(20_000).len(), 18, "a commit under way has no deadline");
    assert_eq!(script.committed(0, written(1)), ["reply 1 done", "confirm 0"]);
}

#[test]
fn a_unit_whose_commit_was_never_sent_fails_at_its_deadline() {
    let mut script = Script::member(&[row("a", 1, 0)]);
    script.publish(1, &["x"]);
    script.publish(2, &["y"]);
    let told = script.until(15_000);
    assert_eq!(told.iter().filter(|effect| effect.contains("failed")).count(), 2);
    assert_eq!((script.machine.queued(), script.machine.in_flight()), (0, 0));
    assert!(script.acked(0, ack("a", 1, 1)).is_empty());
}

#[test]
fn a_unit_whose_commit_was_refused_fails_at_its_deadline_too() {
    let mut script = Script::member(&[row("a", 1, 0)]);
    script.publish(1, &["x"]);
    script.acked(0, ack("a", 1, 1));
    script.now = Duration::from_secs(16);
    let need = CommitResult::Decided(Decision::NeedAcks(vec![row("b", 2, 0)]));
    assert_eq!(script.committed(0, need), ["notify 0 [x/r1] to b", "reply 1 failed", "abort 0"]);
}

#[test]
fn an_undone_commit_is_tried_again_a_few_times() {
    let mut script = Script::member(&[row("a", 1, 0)]);
    script.publish(1, &["x"]);
    script.acked(0, ack("a", 1, 1));
    for _ in 0..3 {
        assert_eq!(script.committed(0, undone(Again::MayHelp)), ["commit 0 [r1] by a1"]);
    }
    assert_eq!(script.committed(0, undone(Again::MayHelp)), ["reply 1 failed", "abort 0"]);
    script.publish(2, &["x"]);
    script.acked(1, ack("a", 1, 2));
    assert_eq!(script.committed(1, undone(Again::IsFutile)), ["reply 2 failed", "abort 1"]);
}

fn undone(again: Again) -> CommitResult {
    CommitResult::Aborted { reason: "lock timeout".into(), again }
}

#[test]
fn what_the_database_refuses_fails_alone_and_the_others_of_its_batch_go_through() {
    let mut script = Script::member(&[row("a", 1, 0)]);
    script.publish(1, &["x"]);
    // These wait for the first one, and make the next batch.
    (2..=6).for_each(|id| assert!(script.publish(id, &[&format!("k{id}")]).is_empty()));
    script.acked(0, ack("a", 1, 1));
    let next = script.committed(0, written(1));
    assert_eq!(next.last().unwrap(), "notify 1 [k2/r2 k3/r3 k4/r4 k5/r5 k6/r6] to a");
    script.acked(1, ack("a", 1, 2));
    let refused = || undone(Again::RefusesOne);
    assert_eq!(script.committed(1, refused()), ["abort 1", "notify 2 [k2/r2 k3/r3] to a"]);
    script.acked(2, ack("a", 1, 3));
    let next = script.committed(2, written(2));
    assert_eq!(next, ["reply 2 done", "reply 3 done", "confirm 2", "notify 3 [k4/r4 k5/r5] to a"]);
    script.acked(3, ack("a", 1, 4));
    assert_eq!(script.committed(3, refused()), ["abort 3", "notify 4 [k4/r4] to a"]);
    script.acked(4, ack("a", 1, 5));
    assert_eq!(script.committed(4, refused()), ["reply 4 rejected", "abort 4", "notify 5 [k5/r5] to a"]);
    script.acked(5, ack("a", 1, 6));
    let next = script.committed(5, written(1));
    assert_eq!(next, ["reply 5 done", "confirm 5", "notify 6 [k6/r6] to a"]);
}

#[test]
fn an_unknown_commit_is_looked_up_and_answered_by_what_is_found() {
    let ask = || {
        let mut script = Script::member(&[row("a", 1, 0)]);
        script.publish(9, &["w"]);
        script.publish(1, &["x"]);
        script.publish(2, &["y"]);
        script.acked(0, ack("a", 1, 3));
        script.committed(0, written(1));
        script.acked(1, ack("a", 1, 4));
        assert_eq!(script.committed(1, unknown()), ["resolve 1 [r1 r2] own 4"]);
        assert_eq!(script.machine.next_wakeup(), None);
        script
    };
    assert_eq!(ask().resolved(1, Outcome::Landed(vec![recorded(1)])), ["reply 1 done", "reply 2 failed"]);
    assert_eq!(ask().resolved(1, Outcome::Landed(vec![])), ["abort 1", "reply 1 failed", "reply 2 failed"]);
    let uncertain = Outcome::LandedUncertain(vec![recorded(2)]);
    assert_eq!(ask().resolved(1, uncertain), ["reply 1 unknown", "reply 2 done"]);
    let unresolved = Outcome::Unresolved { reason: "database down".into() };
    assert_eq!(ask().resolved(1, unresolved), ["reply 1 unknown", "reply 2 unknown"]);
    let other = (recorded(1).0, recorded(7).1);
    assert_eq!(ask().resolved(1, Outcome::Landed(vec![other]))[0], "reply 1 reused");
}

#[test]
fn a_node_that_is_no_member_commits_without_acks() {
    let mut script = Script::new(Standing::Direct, &[]);
    assert_eq!(script.publish(1, &["x"]), ["commit 0 [r1] by "]);
    assert_eq!(script.committed(0, unknown()), ["resolve 0 [r1] own none"]);
    let mut script = Script::new(Standing::Direct, &[row("b", 2, 0)]);
    assert_eq!(script.publish(1, &["x"]), ["notify 0 [x/r1] to b"]);
    assert_eq!(script.acked(0, ack("b", 2, 1)), ["commit 0 [r1] by b1"]);
}

#[test]
fn a_full_queue_turns_callers_away() {
    let mut script = Script::with(Options { max_queued: 1, ..Options::default() }, Standing::Direct, &[]);
    script.publish(1, &["x"]);
    assert!(script.publish(2, &["y"]).is_empty());
    assert_eq!(script.publish(3, &["z"]), ["reply 3 busy"]);
}

#[test]
fn what_waits_is_bounded_in_bytes_too_and_one_alone_always_fits() {
    let options = Options { max_queued_bytes: 100, ..Options::default() };
    let mut script = Script::with(options, Standing::Direct, &[]);
    let publish = |script: &mut Script, id, bytes| {
        script.step(Event::Publish { unit: unit(id, &["x"], bytes), caller: CallerId(id) })
    };
    script.publish(1, &["x"]);
    assert!(publish(&mut script, 2, 1_000).is_empty(), "nothing waits but this one");
    assert_eq!(publish(&mut script, 3, 1), ["reply 3 busy"]);
    assert_eq!(script.machine.queued_bytes(), 1_000);
    assert_eq!(script.committed(0, written(1)), ["reply 1 done", "confirm 0", "commit 1 [r2] by "]);
    assert_eq!(script.machine.queued_bytes(), 0);
    assert!(publish(&mut script, 4, 60).is_empty() && publish(&mut script, 5, 40).is_empty());
    assert_eq!(publish(&mut script, 6, 1), ["reply 6 busy"]);
    assert_eq!(script.at(20_000), ["reply 4 failed", "reply 5 failed"]);
    assert_eq!(script.machine.queued_bytes(), 0);
}

#[test]
fn the_same_request_twice_is_committed_twice_and_judged_there() {
    let mut script = Script::member(&[row("a", 1, 0)]);
    script.publish(9, &["w"]);
    script.publish(1, &["x"]);
    script.step(Event::Publish { unit: unit(1, &["x"], 1), caller: CallerId(2) });
    script.acked(0, ack("a", 1, 1));
    script.committed(0, written(1));
    assert_eq!(script.acked(1, ack("a", 1, 2)), ["commit 1 [r1 r1] by a2"]);
    assert_eq!(script.committed(1, unknown()), ["resolve 1 [r1] own 2"]);
    assert_eq!(script.resolved(1, Outcome::Landed(vec![recorded(1)])), ["reply 1 done", "reply 2 done"]);
}

#[test]
fn answers_for_batches_that_are_over_change_nothing() {
    let mut script = Script::member(&[row("a", 1, 0)]);
    script.publish(1, &["x"]);
    assert!(script.committed(0, written(1)).is_empty(), "no commit was sent");
    assert!(script.resolved(0, Outcome::Landed(vec![])).is_empty());
    script.acked(0, ack("a", 1, 1));
    script.committed(0, written(1));
    assert!(script.committed(0, written(1)).is_empty());
    assert!(script.resolved(0, Outcome::Landed(vec![])).is_empty());
}

#[test]
fn after_a_large_batch_the_next_one_waits_for_its_callers() {
    let rows = [row("a", 1, 0)];
    let mut script = Script::member(&rows);
    script.publish(0, &["k0"]);
    (1..=12).for_each(|id| drop(script.publish(id, &["k"])));
    script.acked(0, ack("a", 1, 1));
    // A batch of one is not worth waiting for.
    let told = script.committed(0, written(1));
    assert!(told.iter().any(|effect| effect.starts_with("notify 1")), "{told:?}");
    script.publish(13, &["x"]);
    script.acked(1, ack("a", 1, 2));
    let told = script.committed(1, written(12));
    assert!(!told.iter().any(|effect| effect.starts_with("notify")), "{told:?}");
    // Nine of twelve are back, beside the one that waited: enough.
    let waiting: Vec<String> = (14..=21).flat_map(|id| script.publish(id, &["x"])).collect();
    assert_eq!(waiting, Vec::<String>::new());
    let told = script.publish(22, &["x"]);
    assert!(told.iter().any(|effect| effect.starts_with("notify 2")), "{told:?}");
}

#[test]
fn callers_that_do_not_come_back_hold_nobody_up_for_long() {
    let rows = [row("a", 1, 0)];
    let mut script = Script::member(&rows);
    script.publish(0, &["k0"]);
    (1..=12).for_each(|id| drop(script.publish(id, &["k"])));
    script.acked(0, ack("a", 1, 1));
    script.committed(0, written(1));
    script.publish(13, &["x"]);
    script.acked(1, ack("a", 1, 2));
    script.committed(1, written(12));
    let told = script.until(1);
    assert_eq!(told, ["1: notify 2 [x/r13] to a"]);
}

#[test]
fn the_longer_a_commit_takes_the_longer_its_callers_may_take_to_come_back() {
    for (took, back_by) in [(4, 1), (160, 20), (2_000, 50)] {
        let rows = [row("a", 1, 0)];
        let mut script = Script::member(&rows);
        script.publish(0, &["k0"]);
        (1..=12).for_each(|id| drop(script.publish(id, &["k"])));
        script.acked(0, ack("a", 1, 1));
        script.committed(0, written(1));
        script.acked(1, ack("a", 1, 2));
        script.until(took);
        script.committed(1, written(12));
        assert_eq!(script.publish(13, &["x"]), [""; 0]);
        let end = took + back_by;
        assert_eq!(script.until(end), [format!("{end}: notify 2 [x/r13] to a")]);
    }
}

#[test]
fn a_database_that_lacks_what_an_acker_knows_is_not_written_to() {
    let mut script = Script::member(&[row("a", 1, 0)]);
    script.publish(1, &["x"]);
    script.acked(0, ack("a", 1, 1));
    let known = Extent::new(Timeline(1), Version(9));
    assert_eq!(script.committed(0, CommitResult::Decided(Decision::Behind(known))), ["abort 0", "known 9"]);
    let member = Standing::Member(node("a"));
    assert_eq!(script.observe(member, &[row("a", 2, 0)]), ["notify 1 [x/r1] to a"], "under an id that has no acks");
}

#[test]
fn nothing_is_committed_while_a_node_may_follow_and_nobody_is_taken_for_silent() {
    let (rows, member) = ([row("a", 1, 0), row("b", 1, 0)], Standing::Member(node("a")));
    let mut script = Script::member(&rows);
    script.publish(1, &["x"]);
    script.acked(0, ack("a", 1, 1));
    assert!(script.gate(member.clone(), &rows, CommitGate::Waiting).is_empty());
    let mut came = script.at(999);
    came.extend(script.at(5_000));
    assert!(came.iter().all(|effect| effect.starts_with("notify 0")), "{came:?}");
    assert!(script.machine.next_wakeup().is_some_and(|next| next > Mono(Duration::from_secs(5))));
    assert_eq!(script.acked(0, ack("b", 1, 1)), [] as [&str; 0], "all have acknowledged");
    let opened = script.observe(member, &rows);
    assert_eq!(opened, ["commit 0 [r1] by a1 b1"]);
}

#[test]
fn everything_fails_while_a_node_stays_in_another_database() {
    let (rows, member) = ([row("a", 1, 0)], Standing::Member(node("a")));
    let mut script = Script::member(&rows);
    script.publish(1, &["x"]);
    script.publish(2, &["y"]);
    let extent = |revision| Extent::new(Timeline(1), Version(revision));
    let split = CommitGate::Split(Split { node: node("b"), theirs: extent(9), ours: extent(5) });
    assert_eq!(script.gate(member.clone(), &rows, split), ["reply 2 failed", "reply 1 failed", "abort 0"]);
    assert_eq!(script.publish(3, &["x"]), ["reply 3 failed"]);
    assert!(script.observe(member, &rows).is_empty());
    assert_eq!(script.publish(4, &["x"]), ["notify 1 [x/r4] to a"]);
}
