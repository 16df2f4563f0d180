//! Tests of the heartbeat.

use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::{Beat, Heartbeat};

#[test]
fn a_silent_node_is_asked_twice_and_left_after_the_third_beat() {
    let start = Instant::now();
    let at = |milliseconds| start + Duration::from_millis(milliseconds);
    let mut heartbeat = Heartbeat::new(300, start);
    assert_eq!(heartbeat.beat(at(99)), Beat::Wait);
    assert_eq!(heartbeat.beat(at(100)), Beat::Ping(1));
    assert_eq!(heartbeat.beat(at(150)), Beat::Wait);
    assert_eq!(heartbeat.beat(at(200)), Beat::Ping(2));
    assert_eq!(heartbeat.due(), at(300));
    assert_eq!(heartbeat.beat(at(300)), Beat::Dead);
}

#[test]
fn any_frame_begins_the_count_anew() {
    let start = Instant::now();
    let at = |milliseconds| start + Duration::from_millis(milliseconds);
    let mut heartbeat = Heartbeat::new(300, start);
    assert_eq!(heartbeat.beat(at(100)), Beat::Ping(1));
    assert_eq!(heartbeat.beat(at(200)), Beat::Ping(2));
    heartbeat.heard(at(250));
    assert_eq!(heartbeat.beat(at(300)), Beat::Wait);
    assert_eq!(heartbeat.beat(at(350)), Beat::Ping(3));
}

#[test]
fn a_program_that_slept_asks_before_it_gives_up() {
    let start = Instant::now();
    let mut heartbeat = Heartbeat::new(300, start);
    let woken = start + Duration::from_secs(60);
    assert_eq!(heartbeat.beat(woken), Beat::Ping(1));
    assert_eq!(heartbeat.beat(woken), Beat::Wait);
    assert_eq!(heartbeat.due(), woken + Duration::from_millis(100));
}

proptest! {
    #[test]
    fn the_beat_is_bounded_whatever_the_node_says(idle in any::<u64>()) {
        let start = Instant::now();
        let beat = Heartbeat::new(idle, start).due() - start;
        prop_assert!(beat >= Duration::from_millis(10) && beat <= Duration::from_secs(1_200));
    }
}
