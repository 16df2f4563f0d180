//! A waiting read never takes back what it has seen.

use std::sync::Arc;

use callboard_protocol::config::Version;
use callboard_protocol::key::ConfigKey;

use super::*;

fn reading(version: u64, age: Option<u64>) -> Reading {
    let key = ConfigKey::new("public", "g", "a").expect("it is a key");
    let state = ConfigState::absent(key, Version(version));
    Reading { state: Arc::new(state), age: age.map(Duration::from_secs) }
}

#[test]
fn what_may_be_old_does_not_follow_what_was_exact() {
    let seen = |reading: Reading| (reading.state.version.0, reading.age.map(|age| age.as_secs()));
    assert_eq!(seen(later(reading(5, None), reading(3, Some(9)))), (5, Some(9)));
    assert_eq!(seen(later(reading(5, None), reading(6, Some(9)))), (6, Some(9)));
    assert_eq!(seen(later(reading(5, None), reading(5, None))), (5, None));
    // A database that went back is told as it is now.
    assert_eq!(seen(later(reading(5, None), reading(3, None))), (3, None));
}
