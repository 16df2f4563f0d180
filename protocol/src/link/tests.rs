//! Tests of the rules of links.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::time::Duration;

use proptest::prelude::{any, proptest};

use super::{Backlog, Backoff, Beat, Pulse, Versions, is_heard};
use crate::time::Mono;

fn at(millis: u64) -> Mono {
    Mono(Duration::from_millis(millis))
}

#[test]
fn two_nodes_speak_the_highest_version_that_both_know() {
    let range = |min, max| Versions { min, max };
    assert_eq!(range(1, 2).common(range(1, 2)), Some(2));
    assert_eq!(range(1, 2).common(range(1, 1)), Some(1));
    assert_eq!(range(2, 4).common(range(1, 3)), Some(3));
    assert_eq!(range(1, 1).common(range(2, 3)), None);
    assert_eq!(range(3, 2).common(range(1, 9)), None);
    assert_eq!(range(1, 2).to_string(), "1 to 2");
}

proptest! {
    #[test]
    fn a_common_version_is_one_of_both(a in any::<(u16, u16)>(), b in any::<(u16, u16)>()) {
        let (a, b) = (Versions { min: a.0, max: a.1 }, Versions { min: b.0, max: b.1 });
        assert_eq!(a.common(b), b.common(a));
        if let Some(version) = a.common(b) {
            assert!((a.min..=a.max).contains(&version) && (b.min..=b.max).contains(&version));
        }
    }

    #[test]
    fn pauses_stay_between_their_bounds(chances in proptest::collection::vec(any::<u64>(), 1..40)) {
        let mut backoff = Backoff::default();
        for chance in chances {
            let pause = backoff.pause(chance);
            assert!((Duration::from_millis(25)..=Duration::from_secs(2)).contains(&pause), "{pause:?}");
        }
        backoff.reset();
        assert!(backoff.pause(u64::MAX) <= Duration::from_millis(50));
    }

    #[test]
    fn a_backlog_keeps_its_bounds_and_loses_none_uncounted(sizes in proptest::collection::vec(0_usize..1_500_000, 0..200)) {
        let mut backlog = Backlog::default();
        let mut dropped = 0;
        for (number, bytes) in sizes.iter().enumerate() {
            dropped += backlog.push(at(0), *bytes, number);
            assert!(backlog.len() <= 64 && backlog.bytes() <= 1024 * 1024);
        }
        let (kept, late) = backlog.take(at(1));
        assert_eq!((late, backlog.len(), backlog.bytes()), (0, 0, 0));
        assert_eq!(kept.len() as u64 + dropped, sizes.len() as u64);
        assert!(kept.is_sorted());
    }
}

#[test]
fn pauses_double_up_to_two_seconds() {
    let mut backoff = Backoff::default();
    let pauses: Vec<u128> = (0..8).map(|_| backoff.pause(0).as_millis()).collect();
    assert_eq!(pauses, [25, 50, 100, 200, 400, 800, 1_000, 1_000]);
}

#[test]
fn what_waited_too_long_is_not_sent() {
    let mut backlog = Backlog::default();
    backlog.push(at(0), 10, "old");
    backlog.push(at(1_500), 10, "new");
    assert_eq!(backlog.take(at(2_500)), (vec!["new"], 1));
}

#[test]
fn a_new_link_is_pinged_at_once_then_every_second() {
    let mut pulse = Pulse::default();
    assert_eq!(pulse.beat(at(0)), Beat::Ping(0));
    assert_eq!(pulse.beat(at(10)), Beat::Rest);
    assert!(pulse.pong(0));
    assert_eq!(pulse.beat(at(999)), Beat::Rest);
    assert_eq!(pulse.beat(at(1_000)), Beat::Ping(1));
}

#[test]
fn a_ping_without_its_answer_ends_the_link_after_three_seconds() {
    let mut pulse = Pulse::default();
    pulse.beat(at(0));
    assert!(pulse.pong(0));
    assert_eq!(pulse.beat(at(1_000)), Beat::Ping(1));
    assert!(!pulse.pong(0));
    assert_eq!(pulse.beat(at(3_999)), Beat::Rest);
    assert_eq!(pulse.beat(at(4_000)), Beat::Dead);
}

#[test]
fn a_pong_nobody_asked_for_answers_nothing() {
    let mut pulse = Pulse::default();
    assert!(!pulse.pong(0));
    pulse.beat(at(0));
    assert!(pulse.pong(0));
    assert!(!pulse.pong(0));
}

#[test]
fn a_peer_counts_as_heard_for_three_seconds() {
    assert!(!is_heard(None, at(0)));
    assert!(is_heard(Some(at(1_000)), at(4_000)));
    assert!(!is_heard(Some(at(1_000)), at(4_001)));
}
