//! What counts as old, and that nothing does on the word of another clock or of another timeline.

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

fn at(hours: u64) -> Mono {
    Mono(Duration::from_secs(hours * 3_600))
}

fn seen(revisions: &[(u64, u64)]) -> SeenRevisions {
    let mut seen = SeenRevisions::new();
    for (hours, revision) in revisions {
        seen.note(at(*hours), Timeline(1), Version(*revision));
    }
    seen
}

#[test]
fn nothing_is_old_before_the_process_has_seen_it_for_long_enough() {
    let mut seen = seen(&[(100, 7), (101, 9), (101, 9), (110, 20)]);
    assert_eq!(seen.older_than(at(123), DAY), Version::ZERO);
    assert_eq!(seen.older_than(at(124), DAY), Version(7));
    assert_eq!(seen.older_than(at(125), DAY), Version(9));
    assert_eq!(seen.older_than(at(133), DAY), Version(9));
    assert_eq!(seen.older_than(at(500), DAY), Version(20));
    assert_eq!(seen.seen.len(), 1, "what is of no use any more is kept");
}

#[test]
fn what_was_seen_of_a_lost_history_does_not_count() {
    let mut fell = seen(&[(1, 105), (2, 101)]);
    assert_eq!(fell.older_than(at(25), DAY), Version::ZERO);
    assert_eq!(fell.older_than(at(26), DAY), Version(101));
    let mut anew = seen(&[(1, 105)]);
    anew.note(at(2), Timeline(2), Version(1_000_105));
    assert_eq!(anew.older_than(at(25), DAY), Version::ZERO);
    assert_eq!(anew.older_than(at(26), DAY), Version(1_000_105));
}
