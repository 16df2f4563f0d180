//! Timers pass at their tick, cancelled ones never; nothing is left behind.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn at(milliseconds: u64) -> Mono {
    Mono(Duration::from_millis(milliseconds))
}

fn passed(wheel: &mut Wheel, now: Mono) -> Vec<u32> {
    let mut all = Vec::new();
    wheel.advance(now, |carried| all.push(carried), |_| {});
    all.sort_unstable();
    all
}

#[test]
fn a_timer_is_never_early_and_at_most_a_tick_late() {
    let mut wheel = Wheel::new();
    for (carried, due) in [0, 1, 49, 50, 51, 29_500, 60_000].into_iter().enumerate() {
        wheel.set(at(0), at(due), carried as u32);
    }
    assert_eq!(passed(&mut wheel, at(49)), []);
    assert_eq!(passed(&mut wheel, at(50)), [0, 1, 2, 3]);
    assert_eq!(passed(&mut wheel, at(100)), [4]);
    assert_eq!(passed(&mut wheel, at(29_499)), []);
    assert_eq!(passed(&mut wheel, at(29_500)), [5]);
    assert_eq!(passed(&mut wheel, at(1_000_000)), [6]);
    assert_eq!(wheel.len(), 0);
}

#[test]
fn a_timer_of_more_than_a_turn_waits_for_its_own() {
    let mut wheel = Wheel::new();
    wheel.set(at(0), at(600_000), 1);
    for second in 1..600 {
        assert_eq!(passed(&mut wheel, at(second * 1_000)), []);
    }
    assert_eq!(passed(&mut wheel, at(600_000)), [1]);
}

#[test]
fn an_idle_wheel_does_not_lag_behind() {
    let mut wheel = Wheel::new();
    wheel.set(at(10_000_000), at(10_000_100), 1);
    assert_eq!(passed(&mut wheel, at(10_000_050)), []);
    assert_eq!(passed(&mut wheel, at(10_000_100)), [1]);
}

#[test]
fn what_a_peak_needed_is_given_back() {
    let mut wheel = Wheel::new();
    for carried in 0..100_000 {
        wheel.set(at(0), at(u64::from(carried) % 60_000), carried);
    }
    assert!(wheel.capacity() >= 100_000);
    passed(&mut wheel, at(60_000));
    assert_eq!((wheel.len(), wheel.capacity()), (0, 0));
}

#[derive(Debug, Clone)]
enum Step {
    Set(u64),
    Cancel(usize),
    Advance(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        // Few distinct times, so that timers share buckets, and some a turn apart.
        4 => prop_oneof![0..400_u64, 102_300..102_500_u64].prop_map(Step::Set),
        2 => any::<usize>().prop_map(Step::Cancel),
        2 => prop_oneof![9 => 0..200_u64, 1 => 0..300_000_u64].prop_map(Step::Advance),
    ]
}

proptest! {
    /// The wheel against a plain map of due times.
    #[test]
    fn the_wheel_does_what_a_list_would(steps in prop::collection::vec(step(), 1..200)) {
        let (mut wheel, mut now, mut next) = (Wheel::new(), 0, 0);
        let mut set: BTreeMap<u32, (u64, Place)> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Set(after) => {
                    let place = wheel.set(at(now), at(now + after), next);
                    set.insert(next, (now + after, place));
                    next += 1;
                }
                Step::Cancel(which) => {
                    let Some(carried) = set.keys().copied().nth(which % set.len().max(1)) else { continue };
                    let (_, place) = set.remove(&carried).unwrap();
                    if let Some(moved) = wheel.cancel(place) {
                        set.get_mut(&moved.carried).unwrap().1 = moved.place;
                    }
                }
                Step::Advance(by) => {
                    now += by;
                    let (mut passed, mut moves) = (Vec::new(), Vec::new());
                    wheel.advance(at(now), |carried| passed.push(carried), |moved| moves.push(moved));
                    for carried in passed {
                        let (due, _) = set.remove(&carried).unwrap();
                        prop_assert!(due <= now, "early");
                    }
                    for moved in moves {
                        // One that moved may pass in the same call.
                        if let Some(timer) = set.get_mut(&moved.carried) {
                            timer.1 = moved.place;
                        }
                    }
                    prop_assert!(set.values().all(|(due, _)| due + 50 > now), "late");
                }
            }
            prop_assert_eq!(wheel.len(), set.len());
        }
    }
}
