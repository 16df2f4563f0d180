//! The histogram: nearness of what it says, ends of its range, merging.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::time::Duration;

use proptest::prelude::*;

use super::{BUCKETS, Histogram, bucket, middle};

#[test]
fn nothing_counted_has_no_quantiles() {
    assert_eq!(Histogram::default().quantile(0.5), None);
}

#[test]
fn quantiles_of_a_thousand_values() {
    let mut histogram = Histogram::default();
    for micros in 1..=1000 {
        histogram.record(Duration::from_micros(micros));
    }
    for (share, micros) in [(0.0, 1.0), (0.5, 500.0), (0.99, 990.0), (0.999, 999.0), (1.0, 1000.0)] {
        let found = histogram.quantile(share).unwrap().as_secs_f64() * 1e6;
        assert!((found / micros - 1.0).abs() < 0.008, "{share}: {found} µs");
    }
}

#[test]
fn merging_adds_counts() {
    let (mut one, mut other) = (Histogram::default(), Histogram::default());
    one.record(Duration::from_nanos(3));
    other.record(Duration::from_nanos(5));
    other.record(Duration::from_nanos(7));
    one.merge(&other);
    assert_eq!((one.total(), one.quantile(0.5)), (3, Some(Duration::from_nanos(5))));
}

proptest! {
    #[test]
    fn every_value_has_a_bucket_whose_middle_is_near(value in any::<u64>(), shift in 0_u32..64) {
        let value = value >> shift;
        let index = bucket(value);
        prop_assert!(index < BUCKETS);
        prop_assert!(middle(index).abs_diff(value) <= value >> 8);
    }
}
