//! Places are reused, the lowest first, and given back after a peak.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use super::*;

#[test]
fn the_lowest_empty_place_is_taken_first() {
    let mut slots = Slots::new();
    for n in 0..5 {
        assert_eq!(slots.insert(n), n);
    }
    assert_eq!((slots.remove(3), slots.remove(1), slots.remove(1)), (Some(3), Some(1), None));
    assert_eq!((slots.insert(10), slots.insert(30), slots.insert(50)), (1, 3, 5));
    assert_eq!((slots.get(1).copied(), slots.get(9), slots.len()), (Some(10), None, 6));
}

#[test]
fn a_number_that_was_cut_off_is_not_handed_out_twice() {
    let mut slots = Slots::new();
    for n in 0..4 {
        slots.insert(n);
    }
    for slot in [3, 2, 1] {
        slots.remove(slot);
    }
    assert_eq!(slots.places(), 1);
    let taken: Vec<u32> = (0..4).map(|n| slots.insert(n)).collect();
    assert_eq!(taken, [1, 2, 3, 4]);
}

#[test]
fn what_a_peak_needed_is_given_back() {
    let mut slots = Slots::new();
    for n in 0..100_000 {
        slots.insert(n);
    }
    let peak = slots.capacity();
    for slot in 100..100_000 {
        slots.remove(slot);
    }
    assert_eq!(slots.places(), 100);
    assert!(slots.capacity() < 1_000, "{} of {peak}", slots.capacity());
    for slot in 0..100 {
        slots.remove(slot);
    }
    assert_eq!(slots.capacity(), 0);
}
