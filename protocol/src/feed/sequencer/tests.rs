//! The order of changes: nothing twice, nothing lost, nothing out of turn.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::config::ConfigState;
use crate::key::ConfigKey;

fn state(version: u64) -> SharedState {
    let key = ConfigKey::new("public", "g", &format!("k{}", version % 3)).unwrap();
    Arc::new(ConfigState::absent(key, Version(version)))
}

fn span(after: u64, through: u64) -> Span {
    Span { after: Version(after), through: Version(through), states: (after + 1..=through).map(state).collect() }
}

fn versions(states: &[SharedState]) -> Vec<u64> {
    states.iter().map(|state| state.version.0).collect()
}

#[test]
fn a_gap_holds_later_changes_back_until_it_is_filled() {
    let mut order = Sequencer::new(Version(4));
    assert_eq!(versions(&order.receive(span(6, 7))), Vec::<u64>::new());
    assert!(order.has_gap());
    assert_eq!(versions(&order.receive(span(4, 6))), [5, 6, 7]);
    assert!(!order.has_gap());
    assert_eq!(order.cursor(), Version(7));
}

#[test]
fn overlapping_spans_deliver_each_change_once() {
    let mut order = Sequencer::new(Version(0));
    assert_eq!(versions(&order.receive(span(0, 3))), [1, 2, 3]);
    assert_eq!(versions(&order.receive(span(1, 5))), [4, 5]);
    assert_eq!(versions(&order.receive(span(0, 5))), Vec::<u64>::new());
}

proptest! {
    #[test]
    fn invariant_delivered_once_in_order(
        cuts in proptest::collection::vec((0_u64..30, 1_u64..6), 1..40),
    ) {
        let mut order = Sequencer::new(Version(0));
        let mut delivered = Vec::new();
        for (after, length) in cuts {
            delivered.extend(versions(&order.receive(span(after, after + length))));
        }
        delivered.extend(versions(&order.receive(span(order.cursor().0, 40))));
        prop_assert_eq!(delivered, (1..=40).collect::<Vec<_>>());
    }
}
