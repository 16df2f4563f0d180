//! Tests of the buckets, the quantiles and the labels.

use super::*;

#[test]
fn a_bucket_holds_times_up_to_its_bound() {
    assert_eq!(bucket_of(0), 0);
    assert_eq!(bucket_of(1_000), 0);
    assert_eq!(bucket_of(1_001), 1);
    assert_eq!(bucket_of(2_000), 1);
    assert_eq!(bucket_of(4_001), 3);
    assert_eq!(bucket_of(16_777_216_000), BUCKETS - 2);
    assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
}

#[test]
fn quantiles_never_exceed_the_maximum() {
    let histogram = Histogram::default();
    for _ in 0..99 {
        histogram.record(Duration::from_micros(3));
    }
    histogram.record(Duration::from_micros(700));
    let spread = Spread::read(&histogram);
    assert_eq!(spread.count(), 100);
    assert_eq!(spread.quantile_us(500), 4);
    assert_eq!(spread.quantile_us(990), 4);
    assert_eq!(spread.quantile_us(1_000), 700);
    assert_eq!(spread.max_us(), 700);
    assert_eq!(spread.sum_ns, 997_000);
}

#[test]
fn an_empty_spread_has_zero_quantiles() {
    assert_eq!(Spread::default().quantile_us(990), 0);
}

#[test]
fn a_label_is_the_bare_type_name() {
    assert_eq!(label_of("a::b::Publish"), "Publish");
    assert_eq!(label_of("a::Event<b::Change>"), "Event");
    assert_eq!(label_of("Plain"), "Plain");
}

#[test]
fn a_message_that_carries_another_one_has_the_label_of_that() {
    assert_eq!(label_of("a::Entered<b::Listen>"), "Listen");
    assert_eq!(label_of("a::Entered<a::Event<b::Change>>"), "Event");
}
