//! Tests of the pauses.

use std::time::Duration;

use proptest::prelude::*;

use super::{BackOff, Pauses};

#[test]
fn the_ceiling_doubles_up_to_the_bound() {
    let mut pauses = Pauses::new(BackOff { first: Duration::from_millis(50), most: Duration::from_millis(300) });
    let drawn: Vec<_> = (0..5).map(|_| pauses.next(1.0).as_millis()).collect();
    assert_eq!(drawn, [50, 100, 200, 300, 300]);
}

#[test]
fn a_session_that_lasts_begins_the_series_anew_and_a_short_one_does_not() {
    let mut pauses = Pauses::new(BackOff::default());
    for _ in 0..4 {
        pauses.next(0.0);
    }
    pauses.went_well(Duration::from_millis(800));
    assert_eq!(pauses.ceiling(), Duration::from_millis(800));
    pauses.went_well(Duration::from_millis(801));
    assert_eq!(pauses.ceiling(), Duration::from_millis(50));
}

proptest! {
    #[test]
    fn no_pause_is_longer_than_its_ceiling_or_the_bound(failures in 0_u32..100, chance in 0.0..1.0_f64) {
        let bounds = BackOff::default();
        let mut pauses = Pauses { bounds, failures };
        let ceiling = pauses.ceiling();
        prop_assert!(ceiling <= bounds.most);
        prop_assert!(pauses.next(chance) <= ceiling);
    }
}
