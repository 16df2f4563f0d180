//! Tests of what is newer.

use proptest::prelude::*;

use super::{Fetched, Held, Offer};
use crate::config::Config;
use crate::key::ConfigKey;

fn key() -> ConfigKey {
    ConfigKey::public("shop", "a")
}

fn config(version: u64) -> Config {
    Config { version, content: Some(version.to_string().into()), ..Config::missing(key(), 0) }
}

fn version(held: &Held) -> Option<u64> {
    held.get(&key()).map(|entry| entry.config.version)
}

#[test]
fn a_version_that_is_not_newer_is_refused() {
    let mut held = Held::new(10);
    assert_eq!(held.offer(config(5), false), Offer::Taken);
    assert_eq!(held.offer(config(5), false), Offer::Refused);
    assert_eq!(held.offer(config(4), false), Offer::Refused);
    assert_eq!(held.announce(&key(), 5, false), Offer::Refused);
    assert_eq!(version(&held), Some(5));
}

#[test]
fn a_reset_is_taken_although_it_is_older_and_later_versions_follow_it() {
    let mut held = Held::new(10);
    held.offer(config(9), false);
    assert_eq!(held.offer(config(3), true), Offer::Taken);
    assert_eq!(held.offer(config(4), false), Offer::Taken);
    assert_eq!(version(&held), Some(4));
}

#[test]
fn a_version_after_a_reset_without_content_is_measured_against_the_reset() {
    let mut held = Held::new(10);
    held.offer(config(9), false);
    let Offer::Fetch(first) = held.announce(&key(), 3, true) else { panic!("not fetched") };
    assert_eq!(held.offer(config(4), false), Offer::Taken);
    assert_eq!(held.fetched(first, config(3)), Fetched::Ignored);
    assert_eq!(version(&held), Some(4));
}

#[test]
fn a_fetch_takes_the_announced_version_or_a_newer_one() {
    let mut held = Held::new(10);
    let Offer::Fetch(number) = held.announce(&key(), 7, false) else { panic!("not fetched") };
    assert!(held.is_fetching(&key()));
    assert_eq!(held.fetched(number, config(6)), Fetched::TooOld);
    assert_eq!(held.fetched(number, config(8)), Fetched::Taken(false));
    assert_eq!(held.fetched(number, config(9)), Fetched::Ignored);
    assert_eq!(held.offer(config(8), false), Offer::Refused);
}

#[test]
fn keys_beyond_the_room_are_refused_and_known_ones_are_not() {
    let mut held = Held::new(1);
    held.offer(config(1), false);
    assert_eq!(held.offer(Config::missing(ConfigKey::public("shop", "b"), 2), false), Offer::Refused);
    assert_eq!(held.offer(config(2), false), Offer::Taken);
}

proptest! {
    /// Pushes with and without content, and late answers: without a reset, what is held only rises.
    #[test]
    fn invariant_versions_rise(steps in prop::collection::vec((0_u64..12, 0_u8..3), 0..60)) {
        let mut held = Held::new(10);
        let mut number = 0;
        let mut highest = None;
        for (offered, step) in steps {
            let before = version(&held);
            match step {
                0 => drop(held.offer(config(offered), false)),
                1 => if let Offer::Fetch(given) = held.announce(&key(), offered, false) { number = given },
                _ => drop(held.fetched(number, config(offered))),
            }
            let now = version(&held);
            prop_assert!(now >= before, "fell from {before:?} to {now:?}");
            highest = highest.max(now);
        }
        prop_assert_eq!(version(&held), highest);
    }
}
