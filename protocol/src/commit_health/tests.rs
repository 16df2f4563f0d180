//! Outages as stories in virtual time.

use std::time::Duration;

use super::*;

fn at(millis: u64) -> Mono {
    Mono(Duration::from_millis(millis))
}

fn machine() -> CommitHealth {
    CommitHealth::new(Options::default())
}

fn failed() -> End {
    End::Failed("full".to_owned())
}

fn began() -> Option<Note> {
    Some(Note::Began { reason: "full".to_owned() })
}

#[test]
fn an_outage_is_one_line_at_its_begin_and_one_at_its_end() {
    let mut health = machine();
    for commit in 0..540 {
        let ticket = health.begun(at(commit));
        let step = health.ended(at(commit), ticket, failed());
        assert_eq!(step.note, if commit == 0 { began() } else { None });
    }
    assert_eq!(health.trouble(), Some(("full", at(0))));
    let ticket = health.begun(at(1_000));
    let over = Note::Over { lasted: Duration::from_secs(1), failed: 540 };
    assert_eq!(health.ended(at(1_000), ticket, End::Durable).note, Some(over));
    assert_eq!((health.trouble(), health.next_wakeup()), (None, None));
}

#[test]
fn a_commit_without_an_answer_is_an_outage_until_it_has_one() {
    let mut health = machine();
    let ticket = health.begun(at(0));
    assert_eq!(health.next_wakeup(), Some(at(3_000)));
    assert_eq!(health.tick(at(2_999)), Step::default());
    let Some(Note::Began { reason }) = health.tick(at(3_000)).note else { panic!("nothing was said") };
    assert_eq!(reason, "a commit has had no answer for 3s");
    assert_eq!((health.tick(at(9_000)), health.next_wakeup()), (Step::default(), None));
    let over = Note::Over { lasted: Duration::from_secs(24), failed: 0 };
    assert_eq!(health.ended(at(27_000), ticket, End::Durable).note, Some(over));
}

#[test]
fn an_outage_without_publishes_is_over_by_a_try_of_its_own() {
    let mut health = machine();
    let ticket = health.begun(at(0));
    assert_eq!(health.ended(at(10), ticket, failed()).note, began());
    assert_eq!(health.next_wakeup(), Some(at(1_010)));
    assert!(health.tick(at(1_010)).probe);
    let probe = health.begun(at(1_010));
    assert!(!health.tick(at(2_500)).probe, "one at a time");
    assert_eq!(health.ended(at(2_600), probe, failed()), Step::default());
    assert_eq!(health.next_wakeup(), Some(at(3_600)));
    assert!(health.tick(at(3_600)).probe);
    let probe = health.begun(at(3_600));
    assert!(matches!(health.ended(at(3_601), probe, End::Durable).note, Some(Note::Over { failed: 2, .. })));
}

#[test]
fn what_is_the_fault_of_the_request_is_no_outage_and_ends_none() {
    let mut health = machine();
    let ticket = health.begun(at(0));
    assert_eq!(health.ended(at(0), ticket, End::Neutral), Step::default());
    assert_eq!((health.trouble(), health.is_proven(at(0))), (None, false));
    let ticket = health.begun(at(0));
    assert_eq!(health.ended(at(0), ticket, failed()).note, began());
    let ticket = health.begun(at(1));
    assert_eq!(health.ended(at(1), ticket, End::Neutral), Step::default());
    assert!(health.trouble().is_some());
}

#[test]
fn a_commit_that_went_through_proves_it_for_a_while() {
    let mut health = machine();
    let ticket = health.begun(at(0));
    assert_eq!(health.ended(at(0), ticket, End::Durable), Step::default());
    assert!(health.is_proven(at(4_999)) && !health.is_proven(at(5_000)));
    let ticket = health.begun(at(100));
    assert_eq!(health.ended(at(100), ticket, failed()).note, began());
    assert!(!health.is_proven(at(101)));
}
