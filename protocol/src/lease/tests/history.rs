//! The timeline: commits that the database has lost, and lines that others began.

use super::*;

#[test]
fn a_revision_below_what_was_known_begins_another_line_of_history() {
    let mut script = Script::member(&[]);
    script.step(Event::CommitObserved(extent(50)));
    script.at(1_500);
    assert_eq!(script.renewed(0, &seen(49, &[row("a", own(0), 2)])), ["extend 0 until 7440", "flush"]);
    assert_eq!(script.step(Event::Flushed), ["tell - r50 [a]", "begin after 1 at 50"]);
    assert_eq!(script.step(Event::TimelineBegun(BeginResult::Begun)), [] as [&str; 0]);
    assert_eq!(script.at(1_750), ["join 1"]);
    let begun = Observation { timeline: Timeline(2), ..seen(1_000_050, &[row("a", own(1), 1)]) };
    assert_eq!(script.joined(1, &begun), ["admit 1 until 7690 from r1000050"]);
    assert_eq!(script.step(Event::Admitted), ["tell 1 r1000050 [a]"]);
}

#[test]
fn what_is_heard_while_the_question_is_under_way_does_not_count() {
    let mut script = Script::member(&[]);
    script.at(1_500);
    script.step(Event::CommitObserved(extent(50)));
    let told = script.renewed(0, &seen(49, &[row("a", own(0), 2)]));
    assert_eq!(told, ["extend 0 until 7440", "tell 0 r50 [a]"]);
}

#[test]
fn a_join_that_finds_lost_history_is_not_admitted() {
    let mut script = Script::new(LeaseMode::Renewed);
    script.tick();
    script.step(Event::Observed(None));
    script.step(Event::CommitObserved(extent(50)));
    script.at(250);
    assert_eq!(script.observed(&seen(50, &[])), ["tell - r50 []", "join 0"]);
    assert_eq!(script.joined(0, &seen(20, &[row("a", own(0), 1)])), ["flush"]);
    assert_eq!(script.step(Event::Flushed), ["tell - r50 []", "begin after 1 at 50"]);
}

#[test]
fn a_line_of_history_that_could_not_be_begun_is_begun_later() {
    let mut script = Script::member(&[]);
    script.step(Event::CommitObserved(extent(50)));
    script.at(1_500);
    script.renewed(0, &seen(49, &[row("a", own(0), 2)]));
    script.step(Event::Flushed);
    script.step(Event::TimelineBegun(BeginResult::Failed));
    assert_eq!(script.at(1_750), ["join 1"]);
    assert_eq!(script.joined(1, &seen(49, &[row("a", own(1), 1)])), ["flush"], "still lost");
    assert_eq!(script.step(Event::Flushed)[1], "begin after 1 at 50");
}

#[test]
fn a_line_of_history_that_another_began_ends_the_life() {
    let mut script = Script::member(&[row("b", life(1), 1)]);
    script.step(Event::CommitObserved(extent(50)));
    script.at(1_500);
    let moved = Observation { timeline: Timeline(2), ..seen(7, &[]) };
    assert_eq!(script.renewed(0, &moved), ["extend 0 until 7440", "flush"], "lower, but another line");
    assert_eq!(script.step(Event::Flushed), ["tell - r7 []", "release 0"]);
    assert_eq!(script.step(Event::Released), ["join 1"]);
}

#[test]
fn a_node_without_a_row_finds_the_loss_too() {
    let mut script = Script::new(LeaseMode::Direct);
    script.tick();
    script.observed(&seen(9, &[]));
    script.at(1_500);
    assert_eq!(script.observed(&seen(8, &[])), ["flush"]);
    assert_eq!(script.step(Event::Flushed), ["tell - r9 []", "begin after 1 at 9"]);
    script.step(Event::TimelineBegun(BeginResult::Failed));
    assert_eq!(script.at(1_750), ["observe"]);
    let begun = Observation { timeline: Timeline(2), ..seen(1_000_009, &[]) };
    assert_eq!(script.observed(&begun), ["tell - r1000009 []"]);
}
