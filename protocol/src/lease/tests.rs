//! The machine step by step, as scripts of events and the effects they must have.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use super::*;
use crate::config::Version;
use crate::extent::DatabaseIdentity;
use crate::member::{AckNo, Timeline};

mod ending;
mod history;
mod splitting;
mod watching;

/// Lives count up from here.
const FIRST: u128 = 1 << 40;

fn node(name: &str) -> NodeId {
    NodeId(name.into())
}

fn life(number: u128) -> Incarnation {
    Incarnation(Uuid::from_u128(number))
}

/// The own life with this number, counted from zero.
fn own(number: u128) -> Incarnation {
    life(FIRST + number)
}

fn row(name: &str, incarnation: Incarnation, renew_seq: u64) -> MemberRow {
    MemberRow {
        node: node(name),
        incarnation,
        renew_seq,
        ack_floor: AckNo::default(),
        revoked: false,
        address: String::new(),
        database_member: String::new(),
    }
}

fn revoked(row: MemberRow) -> MemberRow {
    MemberRow { revoked: true, ..row }
}

fn seen(revision: u64, rows: &[MemberRow]) -> Observation {
    let identity = DatabaseIdentity::default();
    Observation { revision: Version(revision), timeline: Timeline(1), rows: rows.to_vec(), identity }
}

/// A commit on the first timeline.
fn extent(revision: u64) -> Extent {
    Extent::new(Timeline(1), Version(revision))
}

/// A machine of node `a` with a clock in milliseconds, and one line for each effect.
struct Script {
    machine: Lease,
    now: u64,
    /// What was kept last.
    kept: Option<(LastKnown, bool)>,
}

impl Script {
    fn new(terms: LeaseMode) -> Self {
        let back_off = [Duration::from_secs(1), Duration::from_secs(60)];
        // Scripts skip looks that bring nothing new.
        let longest_gap = Duration::from_secs(3_600);
        let options = Options { terms, back_off, longest_gap, ..Options::default() };
        let first = Uuid::from_u128(FIRST << 1);
        Self { machine: Lease::new(options, node("a"), first, Mono::default()), now: 0, kept: None }
    }

    /// A member in its first life whose join was sent at zero, beside these rows.
    fn member(others: &[MemberRow]) -> Self {
        let mut script = Self::new(LeaseMode::Renewed);
        assert_eq!(script.linked(&["b", "c"]), ["observe"]);
        assert_eq!(script.observed(&seen(0, &[])), ["tell - r0 []", "join 0"]);
        script.joined(0, &script.rows(0, 1, others));
        assert!(script.step(Event::Admitted)[0].starts_with("tell 0"));
        script
    }

    /// The rows with the own one, in this life and with this number, in front.
    fn rows(&self, number: u128, renew_seq: u64, others: &[MemberRow]) -> Observation {
        let mut rows = vec![row("a", own(number), renew_seq)];
        rows.extend_from_slice(others);
        seen(0, &rows)
    }

    fn step(&mut self, event: Event) -> Vec<String> {
        let mut out = Vec::new();
        self.machine.step(Mono(Duration::from_millis(self.now)), event, &mut out);
        out.retain(|effect| {
            if let Effect::Remember { known, is_durable } = effect {
                self.kept = Some((known.clone(), *is_durable));
            }
            !matches!(effect, Effect::Remember { .. })
        });
        out.iter().map(told).collect()
    }

    fn tick(&mut self) -> Vec<String> {
        self.step(Event::Tick)
    }

    fn at(&mut self, millis: u64) -> Vec<String> {
        self.now = millis;
        self.tick()
    }

    fn linked(&mut self, names: &[&str]) -> Vec<String> {
        self.step(Event::Linked(names.iter().map(|name| node(name)).collect()))
    }

    fn observed(&mut self, observation: &Observation) -> Vec<String> {
        self.step(Event::Observed(Some(observation.clone())))
    }

    fn joined(&mut self, number: u128, observation: &Observation) -> Vec<String> {
        let result = JoinResult::Joined(observation.clone());
        self.step(Event::Joined { incarnation: own(number), result })
    }

    fn renewed(&mut self, number: u128, observation: &Observation) -> Vec<String> {
        let result = RenewResult::Renewed(Some(observation.clone()));
        self.step(Event::Renewed { incarnation: own(number), result })
    }

    fn refused(&mut self, number: u128, observation: &Observation) -> Vec<String> {
        let result = RenewResult::Refused(Some(observation.clone()));
        self.step(Event::Renewed { incarnation: own(number), result })
    }

    /// When the machine acts next, in milliseconds.
    fn next(&self) -> Option<u128> {
        self.machine.next_wakeup().map(|at| at.0.as_millis())
    }
}

fn told(effect: &Effect) -> String {
    let own = |life: &Incarnation| life.0.as_u128().wrapping_sub(FIRST);
    let grant = |grant: &ReadLease| match grant.ends {
        LeaseEnd::Never => format!("{} for ever", own(&grant.incarnation)),
        LeaseEnd::At(end) => format!("{} until {}", own(&grant.incarnation), end.0.as_millis()),
    };
    match effect {
        Effect::Join { incarnation, first_life } => {
            assert_eq!(own(first_life), 0);
            format!("join {}", own(incarnation))
        }
        Effect::Renew { incarnation } => format!("renew {}", own(incarnation)),
        Effect::Observe => "observe".to_owned(),
        Effect::Fence { node, incarnation, renew_seq } => {
            format!("fence {node}{} at {renew_seq}", incarnation.0.as_u128() % FIRST)
        }
        Effect::Release { incarnation } => format!("release {}", own(incarnation)),
        Effect::BeginTimeline { lost, known, evidence } => {
            let why = match evidence {
                Evidence::Behind => String::new(),
                Evidence::Foreign => " foreign".to_owned(),
                Evidence::Row(key, version) => format!(" {} {version}", key.data_id()),
            };
            format!("begin after {} at {}{why}", lost.0, known.revision)
        }
        Effect::Admit { grant: given, revision, .. } => format!("admit {} from r{revision}", grant(given)),
        Effect::Extend { grant: given } => format!("extend {}", grant(given)),
        Effect::Flush => "flush".to_owned(),
        Effect::Tell(membership) => {
            let life = membership.incarnation.as_ref().map_or_else(|| "-".to_owned(), |life| own(life).to_string());
            let sight = |sight: &LeaseObservation| match sight {
                LeaseObservation::Held => "",
                LeaseObservation::Lapsed => "~",
                LeaseObservation::Revoked => "!",
            };
            let rows: Vec<String> =
                membership.rows.iter().map(|(row, state)| format!("{}{}", row.node, sight(state))).collect();
            let beside = membership.namesake.as_ref().map(|address| format!(" beside {address}")).unwrap_or_default();
            let elsewhere = membership.elsewhere.as_ref();
            let elsewhere =
                elsewhere.map(|it| format!(" {} at {} not {}", it.node, it.theirs, it.ours)).unwrap_or_default();
            let gate = match &membership.gate {
                CommitGate::Open => String::new(),
                CommitGate::Waiting => " waits".to_owned(),
                CommitGate::Split(split) => format!(" split from {}", split.node),
            };
            format!("tell {life} r{} [{}]{beside}{elsewhere}{gate}", membership.revision, rows.join(" "))
        }
        Effect::Remember { known, .. } => format!("remember {}", known.extent),
        Effect::Left => "left".to_owned(),
    }
}

#[test]
fn a_node_looks_joins_is_admitted_and_renews() {
    let mut script = Script::new(LeaseMode::Renewed);
    assert_eq!(script.tick(), ["observe"]);
    script.now = 20;
    assert_eq!(script.observed(&seen(3, &[])), ["tell - r3 []", "join 0"]);
    script.now = 50;
    let joined = seen(4, &[row("a", own(0), 1)]);
    assert_eq!(script.joined(0, &joined), ["admit 0 until 5960 from r4"], "counted from before the join was sent");
    assert_eq!((script.machine.incarnation(), script.next()), (None, None));
    assert_eq!(script.step(Event::Admitted), ["tell 0 r4 [a]"]);
    assert_eq!((script.machine.incarnation(), script.next()), (Some(own(0)), Some(1_520)));
    assert_eq!(script.at(1_520), ["renew 0"]);
    script.now = 1_600;
    let renewed = seen(9, &[row("a", own(0), 2)]);
    assert_eq!(script.renewed(0, &renewed), ["extend 0 until 7460", "tell 0 r9 [a]"], "counted from the sending");
    assert_eq!(script.next(), Some(3_020));
}

#[test]
fn the_only_node_has_a_lease_that_never_ends_and_asks_nothing() {
    let mut script = Script::new(LeaseMode::Forever);
    assert_eq!(script.tick(), ["join 0"]);
    assert_eq!(script.joined(0, &script.rows(0, 1, &[])), ["admit 0 for ever from r0"]);
    assert_eq!(script.step(Event::Admitted), ["tell 0 r0 [a]"]);
    assert_eq!(script.next(), None);
}

#[test]
fn a_node_without_a_row_only_looks() {
    let mut script = Script::new(LeaseMode::Direct);
    assert_eq!(script.tick(), ["observe"]);
    assert_eq!(script.observed(&seen(1, &[row("b", life(1), 1)])), ["tell - r1 [b]"]);
    assert_eq!(script.next(), Some(1_500));
    assert_eq!(script.at(1_500), ["observe"]);
}

#[test]
fn a_renewal_without_an_answer_is_sent_again_soon() {
    let mut script = Script::member(&[]);
    assert_eq!(script.at(1_500), ["renew 0"]);
    assert_eq!(script.at(9_000), [] as [&str; 0], "one question at a time");
    let failed = Event::Renewed { incarnation: own(0), result: RenewResult::Failed };
    assert!(script.step(failed).is_empty());
    assert_eq!(script.next(), Some(9_250));
}

#[test]
fn a_lapse_is_resumed_in_the_same_life_without_a_flush() {
    let mut script = Script::member(&[]);
    assert_eq!(script.at(1_500), ["renew 0"]);
    script.now = 20_000;
    script.step(Event::Renewed { incarnation: own(0), result: RenewResult::Failed });
    assert_eq!(script.at(20_250), ["renew 0"]);
    script.now = 20_300;
    assert_eq!(script.renewed(0, &script.rows(0, 2, &[])), ["extend 0 until 26190", "tell 0 r0 [a]"]);
    assert_eq!(script.machine.incarnation(), Some(own(0)));
}

#[test]
fn a_renewal_whose_rows_could_not_be_read_counts() {
    let mut script = Script::member(&[]);
    script.at(1_500);
    let result = RenewResult::Renewed(None);
    assert_eq!(script.step(Event::Renewed { incarnation: own(0), result }), ["extend 0 until 7440"]);
}

#[test]
fn a_fenced_node_flushes_and_joins_again_at_once() {
    let mut script = Script::member(&[]);
    script.at(1_500);
    assert_eq!(script.refused(0, &seen(0, &[])), ["flush"]);
    assert_eq!(script.machine.incarnation(), None);
    assert_eq!(script.step(Event::Flushed), ["tell - r0 []", "release 0"]);
    assert_eq!(script.step(Event::Released), ["join 1"]);
    assert_eq!(script.joined(1, &script.rows(1, 1, &[])), ["admit 1 until 7440 from r0"]);
}

#[test]
fn a_fenced_node_waits_a_while_for_its_links() {
    let mut script = Script::member(&[row("b", life(1), 1)]);
    script.linked(&[]);
    script.at(1_500);
    script.refused(0, &seen(0, &[row("b", life(1), 2)]));
    script.step(Event::Flushed);
    assert_eq!(script.step(Event::Released), ["observe"]);
    script.observed(&seen(0, &[row("b", life(1), 2)]));
    assert_eq!(script.at(3_499), ["observe"], "the look of every 1.5 s");
    script.observed(&seen(0, &[row("b", life(1), 3)]));
    assert_eq!(script.at(3_500), ["join 1"], "patience is over");
}

#[test]
fn a_revoked_node_pauses_and_is_barred_until_it_is_linked() {
    let mut script = Script::member(&[row("b", life(1), 1)]);
    script.linked(&[]);
    script.at(1_500);
    let rows = [revoked(row("a", own(0), 1)), row("b", life(1), 2)];
    assert_eq!(script.refused(0, &seen(0, &rows)), ["flush"]);
    assert_eq!(script.step(Event::Flushed), ["tell - r0 [a! b]", "release 0"]);
    assert_eq!(script.step(Event::Released), ["observe"]);
    script.observed(&seen(0, &rows[1..]));
    assert_eq!(script.at(60_000), ["fence b1 at 2", "observe"], "no join, however long it takes");
    script.observed(&seen(0, &[row("b", life(1), 9)]));
    script.step(Event::Fenced { node: node("b"), result: FenceResult::Missed });
    script.observed(&seen(0, &[row("b", life(1), 9)]));
    assert_eq!(script.linked(&["b"]), ["join 1"]);
}

#[test]
fn each_time_the_row_is_taken_away_the_pause_doubles() {
    let mut script = Script::member(&[]);
    for (number, pause) in [(0, 1_000), (1, 2_000), (2, 4_000)] {
        let at = script.now + 1_500;
        assert_eq!(script.at(at), [format!("renew {number}")]);
        script.refused(number, &seen(0, &[revoked(row("a", own(number), 1))]));
        script.step(Event::Flushed);
        assert_eq!(script.step(Event::Released), ["observe"]);
        script.observed(&seen(0, &[]));
        let join = script.now + pause;
        while script.next() < Some(u128::from(join)) {
            let next = u64::try_from(script.next().unwrap()).unwrap();
            assert_eq!(script.at(next), ["observe"]);
            script.observed(&seen(0, &[]));
        }
        assert_eq!(script.at(join), [format!("join {}", number + 1)]);
        script.joined(number + 1, &script.rows(number + 1, 1, &[]));
        script.step(Event::Admitted);
    }
}

#[test]
fn a_refusal_without_rows_is_taken_for_the_worse() {
    let mut script = Script::member(&[]);
    script.at(1_500);
    let refused = Event::Renewed { incarnation: own(0), result: RenewResult::Refused(None) };
    assert_eq!(script.step(refused), ["flush"]);
    script.step(Event::Flushed);
    assert_eq!(script.step(Event::Released), ["observe"]);
    script.observed(&seen(0, &[]));
    assert_eq!(script.next(), Some(2_500), "after the first pause");
}

#[test]
fn a_join_that_finds_an_unlinked_member_gives_its_row_back() {
    let mut script = Script::new(LeaseMode::Renewed);
    script.tick();
    assert_eq!(script.observed(&seen(0, &[])), ["tell - r0 []", "join 0"]);
    let joined = script.rows(0, 1, &[row("b", life(1), 1)]);
    assert_eq!(script.joined(0, &joined), ["release 0"], "never admitted");
    assert_eq!(script.step(Event::Released), ["observe"]);
    script.observed(&seen(0, &[row("b", life(1), 1)]));
    script.linked(&["b"]);
    assert_eq!(script.at(1_000), ["join 1"]);
}

#[test]
fn a_join_without_an_answer_is_followed_by_one_in_another_life() {
    let mut script = Script::new(LeaseMode::Renewed);
    script.tick();
    script.observed(&seen(0, &[]));
    assert!(script.step(Event::Joined { incarnation: own(0), result: JoinResult::Failed }).is_empty());
    assert_eq!(script.next(), Some(250));
    assert_eq!(script.at(250), ["join 1"]);
    assert!(script.joined(0, &script.rows(0, 1, &[])).is_empty(), "an answer that comes after all");
}

#[test]
fn a_node_that_nobody_understands_tries_again_later() {
    let mut script = Script::new(LeaseMode::Renewed);
    script.tick();
    script.observed(&seen(0, &[]));
    let result = JoinResult::Incompatible { node: node("b") };
    assert!(script.step(Event::Joined { incarnation: own(0), result }).is_empty());
    assert_eq!(script.next(), Some(1_000));
}
