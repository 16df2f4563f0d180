//! Tests of the pauses between lives.

use super::*;

#[test]
fn failures_in_a_row_pause_longer_up_to_a_second() {
    let mut backoff = Backoff::default();
    let pauses: Vec<_> = (0..10).map(|_| backoff.after(Duration::ZERO).map_or(0, |d| d.as_millis())).collect();
    assert_eq!(pauses, [0, 10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
}

#[test]
fn a_settled_life_ends_the_series() {
    let mut backoff = Backoff { failures: 9 };
    assert_eq!(backoff.after(SETTLED), None);
    assert_eq!(backoff.after(Duration::ZERO), Some(FIRST_PAUSE));
}
