//! Leaving, from each state, and beginning a new life on demand.

use super::*;

#[test]
fn a_member_that_leaves_flushes_and_gives_its_row_back() {
    let mut script = Script::member(&[]);
    assert_eq!(script.step(Event::Leave), ["flush"]);
    assert_eq!(script.step(Event::Flushed), ["tell - r0 [a]", "release 0"]);
    assert_eq!(script.step(Event::Released), ["left"]);
    assert_eq!((script.next(), script.step(Event::Leave)), (None, vec![]));
}

#[test]
fn a_node_that_leaves_while_it_joins_gives_back_what_comes_of_it() {
    for result in [JoinResult::Joined(seen(0, &[row("a", own(0), 1)])), JoinResult::Failed] {
        let mut script = Script::new(LeaseMode::Renewed);
        script.tick();
        script.observed(&seen(0, &[]));
        assert!(script.step(Event::Leave).is_empty(), "the row could come after its release");
        assert_eq!(script.step(Event::Joined { incarnation: own(0), result }), ["release 0"]);
        assert_eq!(script.step(Event::Released), ["left"]);
    }
}

#[test]
fn a_node_that_leaves_while_it_is_admitted_flushes_first() {
    let mut script = Script::new(LeaseMode::Renewed);
    script.tick();
    script.observed(&seen(0, &[]));
    script.joined(0, &script.rows(0, 1, &[]));
    assert_eq!(script.step(Event::Leave), ["flush"]);
    assert!(script.step(Event::Admitted).is_empty());
    script.step(Event::Flushed);
    assert_eq!(script.step(Event::Released), ["left"]);
}

#[test]
fn a_node_that_leaves_on_its_way_to_a_new_life_does_not_begin_it() {
    let mut script = Script::member(&[]);
    script.step(Event::Rejoin);
    assert!(script.step(Event::Leave).is_empty());
    assert_eq!(script.step(Event::Flushed), ["tell - r0 [a]", "release 0"]);
    assert_eq!(script.step(Event::Released), ["left"]);
    let mut script = Script::member(&[]);
    script.step(Event::Rejoin);
    script.step(Event::Flushed);
    assert!(script.step(Event::Leave).is_empty());
    assert_eq!(script.step(Event::Released), ["left"]);
}

#[test]
fn a_node_without_a_row_leaves_at_once() {
    let mut script = Script::new(LeaseMode::Direct);
    assert_eq!(script.tick(), ["observe"]);
    assert_eq!(script.step(Event::Leave), ["left"]);
    assert!(script.observed(&seen(0, &[])).is_empty());
    assert_eq!(script.next(), None);
}

#[test]
fn a_node_that_leaves_while_it_begins_a_line_of_history_leaves_at_once() {
    let mut script = Script::member(&[]);
    script.step(Event::CommitObserved(extent(50)));
    script.at(1_500);
    script.renewed(0, &seen(1, &[row("a", own(0), 2)]));
    script.step(Event::Flushed);
    assert_eq!(script.step(Event::Leave), ["left"]);
    assert!(script.step(Event::TimelineBegun(BeginResult::Failed)).is_empty());
}

#[test]
fn whoever_lost_what_acks_rest_on_gets_a_new_life() {
    let mut script = Script::member(&[]);
    assert_eq!(script.step(Event::Rejoin), ["flush"]);
    assert!(script.step(Event::Rejoin).is_empty(), "one is enough");
    assert_eq!(script.step(Event::Flushed), ["tell - r0 [a]", "release 0"]);
    assert_eq!(script.step(Event::Released), ["join 1"]);
}

#[test]
fn a_renewal_of_a_life_that_is_over_gives_no_leave() {
    let mut script = Script::member(&[]);
    assert_eq!(script.at(1_500), ["renew 0"]);
    script.step(Event::Rejoin);
    script.step(Event::Flushed);
    assert!(script.step(Event::Released).is_empty(), "the renewal is still under way");
    assert_eq!(script.renewed(0, &script.rows(0, 2, &[])), ["join 1"]);
}

#[test]
fn a_demand_for_a_new_life_does_not_cut_a_pause_short() {
    let mut script = Script::member(&[]);
    script.at(1_500);
    script.refused(0, &seen(0, &[revoked(row("a", own(0), 1))]));
    script.step(Event::Flushed);
    script.step(Event::Released);
    script.observed(&seen(0, &[]));
    assert!(script.step(Event::Rejoin).is_empty());
    assert_eq!(script.next(), Some(2_500));
}

#[test]
fn a_node_that_leaves_gives_back_a_row_that_may_be_there() {
    let mut script = Script::new(LeaseMode::Renewed);
    script.linked(&["b"]);
    script.observed(&seen(0, &[]));
    script.step(Event::Joined { incarnation: own(0), result: JoinResult::Failed });
    assert_eq!(script.step(Event::Leave), ["release 0"]);
    assert_eq!(script.step(Event::Released), ["left"]);
}
