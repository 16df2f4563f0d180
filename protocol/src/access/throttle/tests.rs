//! Who waits, how long, and that nobody waits for others.

use std::time::Duration;

use super::{FREE, LONGEST, MOST, Throttle};
use crate::time::Mono;

const NOW: Mono = Mono(Duration::from_secs(100));

fn fail(throttle: &mut Throttle, user: &str, address: &str, times: u32, now: Mono) {
    (0..times).for_each(|_| throttle.failed(user, address, now));
}

#[test]
fn some_failures_are_free_and_each_further_one_costs_twice_as_much() {
    let mut throttle = Throttle::default();
    fail(&mut throttle, "ann", "1", FREE, NOW);
    assert_eq!(throttle.wait("ann", "1", NOW), None);
    for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
        throttle.failed("ann", "1", NOW);
        assert_eq!(throttle.wait("ann", "1", NOW), Some(Duration::from_secs(seconds)));
    }
    assert_eq!(throttle.wait("ann", "1", NOW.after(LONGEST)), None);
    throttle.succeeded("ann", "1");
    assert_eq!(throttle.wait("ann", "1", NOW), None);
}

#[test]
fn strangers_elsewhere_keep_nobody_out() {
    let mut throttle = Throttle::default();
    fail(&mut throttle, "ann", "stranger", 100, NOW);
    assert!(throttle.wait("ann", "stranger", NOW).is_some());
    assert_eq!(throttle.wait("ann", "home", NOW), None);
}

#[test]
fn an_address_that_tries_many_users_waits() {
    let mut throttle = Throttle::default();
    (0..100).for_each(|user| throttle.failed(&user.to_string(), "stranger", NOW));
    assert!(throttle.wait("new", "stranger", NOW).is_some());
    assert_eq!(throttle.wait("new", "home", NOW), None);
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut throttle = Throttle::default();
    (0..2 * MOST as u64).for_each(|at| throttle.failed("ann", &at.to_string(), NOW.after(Duration::from_millis(at))));
    assert!(throttle.failures.len() <= MOST + 2);
}
