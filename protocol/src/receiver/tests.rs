//! The machine step by step, as scripts of events and the effects they must have; random walks are in [`soup`].
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use uuid::Uuid;

use super::*;
use crate::commit::Operation;
use crate::config::{ConfigState, SharedState, Version};
use crate::key::ConfigKey;
use crate::write_request::RequestId;

mod random_walk;

pub(super) fn node(name: &str) -> NodeId {
    NodeId(name.into())
}

pub(super) fn life(number: u128) -> Incarnation {
    Incarnation(Uuid::from_u128(number))
}

pub(super) fn batch(number: u128) -> BatchId {
    BatchId(Uuid::from_u128(number))
}

pub(super) fn key(name: &str) -> ConfigKey {
    ConfigKey::new("public", "g", name).unwrap()
}

pub(super) fn request(name: &str) -> RequestId {
    RequestId::new(name).unwrap()
}

pub(super) fn state(name: &str, version: u64) -> SharedState {
    Arc::new(ConfigState::absent(key(name), Version(version)))
}

/// The database of everybody, as it says itself.
const DATABASE: Fingerprint = Fingerprint(7);

/// A notification of batch `number`; the items as `key/request`.
pub(super) fn notification(number: u128, timeline: u64, items: &[&str]) -> NotifyEvent {
    let item = |item: &&str| {
        let (name, id) = item.split_once('/').unwrap();
        (key(name), request(id))
    };
    NotifyEvent {
        timeline: Timeline(timeline),
        batch: batch(number),
        publisher: node("p"),
        publisher_incarnation: life(9),
        items: items.iter().map(item).collect(),
        database: DATABASE,
    }
}

/// A machine with a clock, and one line for each effect.
struct Script {
    machine: Receiver,
    now: u64,
    /// Asked of the cache and not answered.
    marks: Vec<(BatchId, MarkNo)>,
}

impl Script {
    fn new() -> Self {
        Self { machine: Receiver::new(Options::default()), now: 0, marks: Vec::new() }
    }

    fn member() -> Self {
        let mut script = Self::new();
        assert!(script.joined(1).is_empty());
        script
    }

    fn step(&mut self, event: Event) -> Vec<String> {
        let mut out = Vec::new();
        self.machine.step(Mono(Duration::from_millis(self.now)), event, &mut out);
        self.marks.extend(out.iter().filter_map(|effect| match effect {
            Effect::Mark { batch, mark, .. } => Some((*batch, *mark)),
            _ => None,
        }));
        out.iter().map(told).collect()
    }

    fn at(&mut self, millis: u64) -> Vec<String> {
        self.now = millis;
        self.step(Event::Tick)
    }

    fn joined(&mut self, number: u128) -> Vec<String> {
        let (node, timeline) = (node("n"), Timeline(1));
        self.step(Event::Joined { node, incarnation: life(number), timeline, database: DATABASE })
    }

    fn notify(&mut self, number: u128, items: &[&str]) -> Vec<String> {
        self.notified(notification(number, 1, items))
    }

    fn notified(&mut self, event: NotifyEvent) -> Vec<String> {
        self.step(Event::Notify { event, chance: 0, known: Extent::default() })
    }

    /// The cache answers the first mark of a batch that it has not answered.
    fn marked(&mut self, number: u128) -> Vec<String> {
        let at = self.marks.iter().position(|(marked, _)| *marked == batch(number)).unwrap();
        let (batch, mark) = self.marks.remove(at);
        self.step(Event::Marked { batch, mark })
    }

    /// Notified and marked.
    fn hold(&mut self, number: u128, items: &[&str]) {
        self.notify(number, items);
        assert!(self.marked(number)[0].starts_with("ack"));
    }

    fn commit(&mut self, number: u128, states: &[(&str, u64)]) -> Vec<String> {
        let change = |(name, version): &(&str, u64)| CommittedChange::found(state(name, *version));
        let changes = states.iter().map(change).collect();
        let (batch, timeline, revision) = (batch(number), Timeline(1), Version(99));
        let event = NotifyCommitEvent { timeline, batch, revision, changes, database: DATABASE };
        self.step(Event::Commit(event))
    }

    fn abort(&mut self, number: u128) -> Vec<String> {
        self.step(Event::Abort(NotifyAbortEvent { batch: batch(number) }))
    }

    fn looked(&mut self, number: u128, found: Found) -> Vec<String> {
        self.step(Event::Looked { batch: batch(number), result: FindResult::Found(found) })
    }

    fn floored(&mut self, above: u64, result: FloorResult) -> Vec<String> {
        self.step(Event::Floored { above: AckNo(above), result })
    }
}

fn found(landed: &[&str], states: &[(&str, u64)]) -> Found {
    Found {
        landed: landed.iter().map(|id| request(id)).collect(),
        states: states.iter().map(|(name, version)| state(name, *version)).collect(),
    }
}

fn told(effect: &Effect) -> String {
    let number = |batch: &BatchId| batch.0.as_u128();
    let names = |keys: &[ConfigKey]| keys.iter().map(ConfigKey::data_id).collect::<Vec<_>>().join("");
    let ids = |ids: &[RequestId]| ids.iter().map(RequestId::as_str).collect::<Vec<_>>().join(" ");
    match effect {
        Effect::Mark { batch, keys, .. } => format!("mark {} {}", number(batch), names(keys)),
        Effect::Ack { to, batch, ack } => {
            format!("ack {} as {} in {} to {to}", number(batch), ack.number.0, ack.incarnation.0.as_u128())
        }
        Effect::Nack { batch, reason, .. } => format!("nack {}: {reason}", number(batch)),
        Effect::Commit { batch, changes } => {
            let changes: Vec<String> =
                changes.iter().map(|change| format!("{}{}", change.key.data_id(), change.version)).collect();
            format!("apply {} {}", number(batch), changes.join(" "))
        }
        Effect::Abort { batch, keys } => format!("unmark {} {}", number(batch), names(keys)),
        Effect::FindRequests { batch, request_ids, keys } => {
            format!("look {} [{}] {}", number(batch), ids(request_ids), names(keys))
        }
        Effect::RaiseFloor { above, request_ids, keys } => {
            format!("raise above {} [{}] {}", above.0, ids(request_ids), names(keys))
        }
        Effect::Ack2 { to, batch } => format!("ack2 {} to {to}", number(batch)),
        Effect::RefreshMembership => "refresh".to_owned(),
        Effect::LeaveAndRejoin => "leave".to_owned(),
    }
}

#[test]
fn the_ack_leaves_after_the_marks_and_the_commit_ends_them() {
    let mut script = Script::member();
    assert_eq!(script.notify(7, &["x/r1", "y/r2", "x/r3"]), ["mark 7 xy"]);
    assert!(script.notify(7, &["x/r1", "y/r2", "x/r3"]).is_empty(), "not marked yet");
    assert_eq!(script.marked(7), ["ack 7 as 1 in 1 to p"]);
    assert_eq!(script.commit(7, &[("x", 5), ("x", 6)]), ["apply 7 x6", "unmark 7 y", "ack2 7 to p"]);
    assert_eq!((script.machine.pending(), script.machine.next_wakeup()), (0, None));
}

#[test]
fn a_repeated_notification_gets_the_same_number_and_more_time() {
    let mut script = Script::member();
    script.hold(7, &["x/r1"]);
    script.now = 2_900;
    assert_eq!(script.notify(7, &["x/r1"]), ["ack 7 as 1 in 1 to p"]);
    assert!(script.at(3_000).is_empty());
    assert_eq!(script.at(5_900), ["look 7 [r1] x"]);
}

#[test]
fn numbers_rise_and_chance_spreads_the_time_outs() {
    let mut script = Script::member();
    let event = notification(1, 1, &["x/r1"]);
    script.step(Event::Notify { event, chance: u64::MAX, known: Extent::default() });
    assert_eq!(script.machine.next_wakeup(), Some(Mono(Duration::from_secs(4))));
    script.hold(2, &["x/r2"]);
    assert_eq!(script.machine.next_wakeup(), Some(Mono(Duration::from_secs(3))));
    assert_eq!(script.notify(2, &["x/r2"]), ["ack 2 as 2 in 1 to p"]);
    assert_eq!(script.at(3_000), ["look 2 [r2] x"], "found behind a head that is not late");
}

#[test]
fn who_cannot_acknowledge_says_so() {
    let mut script = Script::new();
    assert_eq!(script.notify(7, &["x/r1"]), ["nack 7: not a member"]);
    script.joined(1);
    let event = notification(7, 2, &["x/r1"]);
    let other = Event::Notify { event, chance: 0, known: Extent::default() };
    assert_eq!(script.step(other), ["nack 7: on another timeline"]);
    script.hold(7, &["x/r1"]);
    assert_eq!(script.notify(7, &["y/r1"]), ["nack 7: the batch had other keys before"]);
}

#[test]
fn commit_and_abort_end_their_own_batch_only() {
    let mut script = Script::member();
    script.hold(1, &["x/r1"]);
    script.hold(2, &["x/r2"]);
    assert_eq!(script.abort(1), ["unmark 1 x"]);
    assert!(script.abort(1).is_empty());
    assert_eq!(script.machine.pending(), 1);
    assert_eq!(script.commit(2, &[("x", 3)]), ["apply 2 x3", "ack2 2 to p"]);
}

#[test]
fn a_commit_without_its_notification_is_applied_even_by_a_node_that_is_no_member() {
    for mut script in [Script::member(), Script::new()] {
        assert_eq!(script.commit(1, &[("x", 3)]), ["apply 1 x3"]);
        assert!(script.commit(2, &[]).is_empty());
    }
}

#[test]
fn a_commit_of_another_timeline_is_left_to_the_look() {
    let mut script = Script::member();
    script.hold(1, &["x/r1"]);
    let event = NotifyCommitEvent {
        timeline: Timeline(2),
        batch: batch(1),
        revision: Version(1),
        changes: Vec::new(),
        database: DATABASE,
    };
    assert!(script.step(Event::Commit(event)).is_empty());
    assert_eq!(script.machine.pending(), 1);
}

#[test]
fn a_ghost_of_a_batch_that_is_over_ends_by_a_look() {
    let mut script = Script::member();
    script.hold(1, &["x/r1"]);
    script.commit(1, &[("x", 3)]);
    script.hold(1, &["x/r1"]);
    assert_eq!(script.at(3_000), ["look 1 [r1] x"]);
    assert_eq!(script.looked(1, found(&["r1"], &[("x", 4)])), ["apply 1 x4"]);
    assert_eq!(script.machine.pending(), 0);
}

#[test]
fn a_look_that_finds_a_part_proves_nothing_until_the_floor_is_raised() {
    let mut script = Script::member();
    script.hold(1, &["x/r1", "y/r2"]);
    script.at(3_000);
    assert_eq!(script.looked(1, found(&["r1"], &[("x", 4), ("y", 1)])), ["raise above 1 [r1 r2] xy"]);
    let raised = FloorResult::Raised(found(&["r1"], &[("x", 4), ("y", 1)]));
    assert_eq!(script.floored(1, raised), ["apply 1 x4", "unmark 1 y"]);
}

#[test]
fn the_floor_covers_every_batch_before_the_late_one() {
    let mut script = Script::member();
    script.hold(1, &["x/r1"]);
    script.hold(2, &["y/r2"]);
    script.hold(3, &["z/r3"]);
    script.now = 2_000;
    script.notify(1, &["x/r1"]);
    script.notify(3, &["z/r3"]);
    assert_eq!(script.at(3_000), ["look 2 [r2] y"]);
    assert_eq!(script.looked(2, found(&[], &[])), ["raise above 2 [r1 r2] xy"]);
    let raised = FloorResult::Raised(found(&["r1"], &[("x", 4)]));
    assert_eq!(script.floored(2, raised), ["apply 1 x4", "unmark 2 y"]);
    assert_eq!(script.notify(3, &["z/r3"]), ["ack 3 as 3 in 1 to p"]);
}

#[test]
fn a_notification_repeated_while_the_floor_rises_gets_a_new_number_and_survives() {
    let mut script = Script::member();
    script.hold(1, &["x/r1"]);
    script.at(3_000);
    script.looked(1, found(&[], &[]));
    assert_eq!(script.notify(1, &["x/r1"]), ["ack 1 as 2 in 1 to p"]);
    assert!(script.floored(1, FloorResult::Raised(found(&[], &[]))).is_empty());
    assert_eq!(script.machine.pending(), 1);
    assert_eq!(script.at(6_000), ["look 1 [r1] x"]);
}

#[test]
fn a_floor_that_the_publisher_raised_voids_the_numbers_below() {
    let mut script = Script::member();
    script.hold(1, &["x/r1"]);
    script.notify(2, &["y/r2"]);
    script.step(Event::Raised { above: AckNo(5) });
    assert!(script.marked(2).is_empty(), "that ack would not count");
    assert_eq!(script.notify(1, &["x/r1"]), ["ack 1 as 3 in 1 to p"], "still below");
}

#[test]
fn a_look_overtaken_by_a_notification_dooms_nothing() {
    let mut script = Script::member();
    script.hold(1, &["x/r1"]);
    script.at(3_000);
    assert_eq!(script.notify(1, &["x/r1"]), ["ack 1 as 1 in 1 to p"]);
    assert!(script.looked(1, found(&[], &[])).is_empty());
    assert_eq!(script.at(6_000), ["look 1 [r1] x"]);
}

#[test]
fn a_silent_database_is_asked_again_with_growing_pauses_and_the_marks_stay() {
    let mut script = Script::member();
    script.hold(1, &["x/r1"]);
    for time in [3_000, 4_000, 6_000, 10_000, 18_000, 26_000] {
        assert_eq!(script.machine.next_wakeup(), Some(Mono(Duration::from_millis(time))));
        assert_eq!(script.at(time), ["look 1 [r1] x"]);
        let failed = FindResult::Failed { reason: "down".into() };
        assert!(script.step(Event::Looked { batch: batch(1), result: failed }).is_empty());
    }
    script.at(34_000);
    script.looked(1, found(&[], &[]));
    assert!(script.floored(1, FloorResult::Failed { reason: "down".into() }).is_empty());
    assert_eq!((script.machine.pending(), script.at(35_000)), (1, vec!["look 1 [r1] x".to_owned()]));
}

#[test]
fn a_refused_floor_means_that_the_row_is_gone() {
    let mut script = Script::member();
    script.hold(1, &["x/r1"]);
    script.at(3_000);
    script.looked(1, found(&[], &[]));
    assert_eq!(script.floored(1, FloorResult::Refused), ["leave"]);
    assert_eq!(script.notify(2, &["y/r2"]), ["nack 2: not a member"]);
    assert_eq!(script.step(Event::Left), ["unmark 1 x"], "the cache has given up its entries by now");
    script.joined(2);
    script.notify(1, &["x/r1"]);
    assert_eq!(script.marked(1), ["ack 1 as 2 in 2 to p"]);
}

#[test]
fn an_ack_waits_for_the_marks_of_its_own_notification() {
    let mut script = Script::member();
    assert_eq!(script.notify(1, &["x/r1"]), ["mark 1 x"]);
    assert_eq!(script.abort(1), ["unmark 1 x"]);
    assert_eq!(script.notify(1, &["x/r1"]), ["mark 1 x"]);
    assert!(script.marked(1).is_empty(), "this is the answer to the first");
    assert_eq!(script.marked(1), ["ack 1 as 2 in 1 to p"]);
}

#[test]
fn a_mark_that_the_cache_never_answered_holds_no_later_life_up() {
    let mut script = Script::member();
    script.notify(1, &["x/r1"]);
    script.notify(2, &["y/r2"]);
    // The cache failed on the first; the node joins again with another.
    script.marks.remove(0);
    script.step(Event::Left);
    script.joined(2);
    script.notify(1, &["x/r1"]);
    script.notify(2, &["y/r2"]);
    assert_eq!(script.marked(1), ["ack 1 as 3 in 2 to p"]);
    assert!(script.marked(2).is_empty(), "this is the answer to the one in the former life");
    assert_eq!(script.marked(2), ["ack 2 as 4 in 2 to p"]);
}

#[test]
fn answers_that_come_too_late_change_nothing() {
    let mut script = Script::member();
    script.hold(1, &["x/r1"]);
    script.at(3_000);
    script.commit(1, &[("x", 2)]);
    assert!(script.looked(1, found(&[], &[])).is_empty());
    assert!(script.floored(1, FloorResult::Refused).is_empty());
}

#[test]
fn a_change_found_by_a_look_is_a_removal_or_an_update() {
    assert_eq!(CommittedChange::found(state("x", 1)).operation, Operation::Remove);
}

#[test]
fn nothing_of_another_database_is_acknowledged_or_applied() {
    let mut script = Script::member();
    let event = NotifyEvent { database: Fingerprint(8), ..notification(7, 1, &["x/r1"]) };
    assert_eq!(script.notified(event.clone()), ["nack 7: on another database", "refresh"]);
    let unsaid = NotifyEvent { database: Fingerprint::UNKNOWN, ..event };
    assert_eq!(script.notified(unsaid), ["mark 7 x"], "a database that does not say who it is");
    let changes = vec![CommittedChange::found(state("x", 5))];
    let (batch, timeline, revision) = (batch(7), Timeline(1), Version(5));
    let event = NotifyCommitEvent { timeline, batch, revision, changes, database: Fingerprint(8) };
    assert_eq!(script.step(Event::Commit(event)), ["refresh"]);
    assert_eq!(script.machine.pending(), 1);
}

#[test]
fn an_ack_says_how_far_the_database_is_known_to_go() {
    let mut script = Script::member();
    let known = |script: &mut Script, number, known: u64| {
        let known = Extent::new(Timeline(1), Version(known));
        script.step(Event::Notify { event: notification(number, 1, &["x/r1"]), chance: 0, known });
        let (batch, mark) = script.marks.pop().unwrap();
        let mut out = Vec::new();
        script.machine.step(Mono::default(), Event::Marked { batch, mark }, &mut out);
        match &out[..] {
            [Effect::Ack { ack, .. }] => ack.known.revision,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(known(&mut script, 1, 0), Version(0));
    assert_eq!(known(&mut script, 2, 5), Version(5));
    script.commit(1, &[("x", 99)]);
    assert_eq!(known(&mut script, 3, 5), Version(99), "of a commit that it was told of");
}

#[test]
fn a_commit_event_tells_of_a_stretch_of_revisions_when_every_state_came_along() {
    let change = |name, version| CommittedChange::found(state(name, version));
    let (timeline, revision, database) = (Timeline(1), Version(9), DATABASE);
    let event = |changes| NotifyCommitEvent { timeline, batch: batch(1), revision, changes, database };
    let span = event(vec![change("y", 7), change("x", 5)]).span().unwrap();
    assert_eq!((span.after, span.through, span.states.len()), (Version(4), Version(9), 2));
    let short = CommittedChange { state: None, ..change("y", 7) };
    assert_eq!(event(vec![change("x", 5), short]).span(), None);
    assert_eq!(event(Vec::new()).span(), None, "whatever the revision stands for came otherwise");
}
