//! Histories that the checker must refuse, each next to one that it must accept: a checker that never refused a
//! wrong history proves nothing.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::time::Duration;

use callboard_protocol::content::Md5;
use callboard_protocol::key::ConfigKey;
use proptest::prelude::*;

use uuid::Uuid;

use super::{Rule, check};
use crate::history::{History, Outcome, Record, Stored, What};

fn key() -> ConfigKey {
    ConfigKey::new("public", "g", "d").unwrap()
}

fn digest(version: u64) -> Md5 {
    Md5::of(&version.to_be_bytes())
}

fn at(begin: u64, end: u64, what: What) -> Record {
    Record { key: key(), begin: Duration::from_millis(begin), end: Duration::from_millis(end), what }
}

/// The attempt to publish the content of `version`.
fn attempt(begin: u64, end: u64, version: u64, outcome: Outcome) -> Record {
    let request = Uuid::from_u128(version.into());
    at(begin, end, What::Publish { request, md5: Some(digest(version)), outcome })
}

fn publish(begin: u64, end: u64, version: u64) -> Record {
    attempt(begin, end, version, Outcome::Acknowledged(version))
}

fn removal(begin: u64, end: u64, request: u128, outcome: Outcome) -> Record {
    at(begin, end, What::Publish { request: Uuid::from_u128(request), md5: None, outcome })
}

fn stale(begin: u64, end: u64, version: u64) -> Record {
    at(begin, end, What::StaleRead { version, md5: Some(digest(version)) })
}

fn read(begin: u64, end: u64, version: u64) -> Record {
    let md5 = (version > 0).then(|| digest(version));
    at(begin, end, What::Read { version, md5 })
}

fn event(moment: u64, subscriber: usize, version: u64) -> Record {
    at(moment, moment, What::Event { subscriber, version, md5: Some(digest(version)) })
}

fn history(records: impl Into<Vec<Record>>, versions: impl IntoIterator<Item = u64>) -> History {
    let row = |version| Stored { key: key(), version, md5: Some(digest(version)) };
    History { records: records.into(), stored: versions.into_iter().map(row).collect(), ..History::default() }
}

#[track_caller]
fn accepts(history: &History) {
    assert_eq!(check(history), []);
}

#[track_caller]
fn refuses(history: &History, rule: Rule) {
    let broken: Vec<Rule> = check(history).into_iter().map(|violation| violation.rule).collect();
    assert!(broken.contains(&rule), "{rule:?} should be among {broken:?}");
}

#[test]
fn a_read_may_see_either_side_of_a_publish_that_overlaps_it() {
    let before = [publish(0, 1, 1), publish(10, 20, 2)];
    for seen in [1, 2] {
        accepts(&history([before[0].clone(), before[1].clone(), read(12, 18, seen)], [1, 2]));
    }
}

#[test]
fn a_read_older_than_an_acknowledged_publish_is_stale() {
    refuses(&history([publish(0, 1, 1), publish(10, 20, 2), read(21, 25, 1)], [1, 2]), Rule::Fresh);
}

#[test]
fn a_read_older_than_an_earlier_read_or_event_is_stale() {
    let writes = [publish(0, 1, 1), publish(10, 90, 2)];
    let after_read = [writes[0].clone(), writes[1].clone(), read(11, 12, 2), read(13, 14, 1)];
    refuses(&history(after_read, [1, 2]), Rule::Fresh);
    let after_event = [writes[0].clone(), writes[1].clone(), event(12, 0, 2), read(13, 14, 1)];
    refuses(&history(after_event, [1, 2]), Rule::Fresh);
    let together = [writes[0].clone(), writes[1].clone(), read(11, 14, 2), read(13, 15, 1)];
    accepts(&history(together, [1, 2]));
}

#[test]
fn a_read_of_nothing_is_version_zero_and_stale_after_the_first_publish() {
    accepts(&history([read(0, 1, 0), publish(2, 3, 1)], [1]));
    refuses(&history([publish(2, 3, 1), read(4, 5, 0)], [1]), Rule::Fresh);
}

#[test]
fn nobody_reads_what_is_published_later() {
    refuses(&history([read(0, 1, 1), publish(2, 3, 1)], [1]), Rule::Fresh);
    refuses(&history([event(1, 0, 1), publish(2, 3, 1)], [1]), Rule::Fresh);
}

#[test]
fn a_publish_gets_a_newer_version_than_anything_known_before_it() {
    refuses(&history([publish(0, 1, 2), publish(2, 3, 1)], [1, 2]), Rule::Ordered);
    accepts(&history([publish(0, 5, 2), publish(2, 3, 1)], [1, 2]));
    refuses(&history([publish(0, 9, 2), read(1, 2, 2), publish(3, 4, 1)], [1, 2]), Rule::Ordered);
}

#[test]
fn one_version_is_one_content() {
    let mut other = read(2, 3, 1);
    other.what = What::Read { version: 1, md5: Some(digest(9)) };
    refuses(&history([publish(0, 1, 1), other], [1]), Rule::OneContent);
    let mut gone = read(2, 3, 1);
    gone.what = What::Read { version: 1, md5: None };
    refuses(&history([publish(0, 1, 1), gone], [1]), Rule::OneContent);
}

#[test]
fn what_was_acknowledged_is_kept_once_under_its_version() {
    accepts(&history([publish(0, 1, 1)], [1]));
    refuses(&history([publish(0, 1, 1)], []), Rule::Kept);
    let mut twice = history([publish(0, 1, 1)], [1]);
    twice.stored.push(Stored { key: key(), version: 2, md5: Some(digest(1)) });
    refuses(&twice, Rule::Kept);
}

#[test]
fn what_was_refused_is_not_kept_and_what_is_open_may_be() {
    let with = |outcome| attempt(0, 1, 1, outcome);
    accepts(&history([with(Outcome::Failed)], []));
    refuses(&history([with(Outcome::Failed)], [1]), Rule::Kept);
    accepts(&history([with(Outcome::Unknown)], []));
    accepts(&history([with(Outcome::Unknown)], [1]));
}

#[test]
fn nothing_comes_from_nowhere() {
    refuses(&history([], [1]), Rule::Kept);
    refuses(&history([publish(0, 1, 1), read(2, 3, 7)], [1]), Rule::Kept);
}

#[test]
fn removals_are_kept_by_their_version() {
    let removal = removal(2, 3, 100, Outcome::Acknowledged(2));
    let absent = at(4, 5, What::Read { version: 2, md5: None });
    let mut whole = history([publish(0, 1, 1), removal, absent], [1]);
    refuses(&whole, Rule::Kept);
    whole.stored.push(Stored { key: key(), version: 2, md5: None });
    accepts(&whole);
    whole.stored.push(Stored { key: key(), version: 3, md5: None });
    refuses(&whole, Rule::Kept);
}

#[test]
fn a_subscriber_never_hears_a_version_twice_or_an_older_one() {
    let writes = [publish(0, 1, 1), publish(2, 3, 2)];
    let told = |versions: [u64; 2]| {
        let events = versions.map(|version| event(9, 4, version));
        history([writes.as_slice(), &events].concat(), [1, 2])
    };
    accepts(&told([1, 2]));
    refuses(&told([2, 2]), Rule::Rising);
    refuses(&told([2, 1]), Rule::Rising);
    accepts(&history([writes.as_slice(), &[event(9, 4, 2), event(9, 5, 1)]].concat(), [1, 2]));
}

#[test]
fn every_subscriber_ends_on_the_newest_state() {
    let mut seen = history([publish(0, 1, 1), publish(2, 3, 2), event(4, 0, 1)], [1, 2]);
    accepts(&seen);
    seen.subscriptions.push((0, key()));
    refuses(&seen, Rule::Converged);
    seen.records.push(event(5, 0, 2));
    accepts(&seen);
    seen.subscriptions.push((1, key()));
    refuses(&seen, Rule::Converged);
}

#[test]
fn a_repeated_request_gets_the_version_of_the_attempt_that_landed() {
    use Outcome::{Acknowledged, Failed, Unknown};
    let [open, other] = [attempt(0, 5, 1, Unknown), publish(6, 7, 2)];
    let repeated = |outcome| history([open.clone(), other.clone(), attempt(8, 9, 1, outcome)], [1, 2]);
    accepts(&repeated(Acknowledged(1)));
    accepts(&repeated(Unknown));
    accepts(&repeated(Failed));
    refuses(&repeated(Acknowledged(3)), Rule::Kept);
    let again = [publish(0, 5, 1), other.clone(), attempt(8, 9, 1, Acknowledged(3))];
    refuses(&history(again, [1, 2]), Rule::Kept);
    let refused_first =
        |version| [attempt(0, 5, version, Failed), publish(6, 7, 2), attempt(8, 9, version, Acknowledged(version))];
    accepts(&history(refused_first(3), [2, 3]));
    refuses(&history(refused_first(1), [1, 2]), Rule::Ordered);
    refuses(&history([attempt(0, 5, 1, Failed), attempt(6, 7, 1, Failed)], [1]), Rule::Kept);
}

#[test]
fn a_repeated_removal_is_one_removal() {
    use Outcome::{Acknowledged, Unknown};
    let attempts = |outcome| [publish(0, 1, 1), removal(2, 3, 9, Unknown), removal(4, 5, 9, outcome)];
    let kept = |versions: &[u64], attempts: [Record; 3]| {
        let mut whole = history(attempts, [1]);
        whole.stored.extend(versions.iter().map(|version| Stored { key: key(), version: *version, md5: None }));
        whole
    };
    accepts(&kept(&[2], attempts(Acknowledged(2))));
    accepts(&kept(&[2], attempts(Unknown)));
    accepts(&kept(&[], attempts(Unknown)));
    refuses(&kept(&[2, 3], attempts(Acknowledged(2))), Rule::Kept);
    refuses(&kept(&[2, 3], attempts(Unknown)), Rule::Kept);
    refuses(&kept(&[], attempts(Acknowledged(2))), Rule::Kept);
}

#[test]
fn what_is_seen_of_an_open_publish_was_published_before() {
    let open = attempt(10, 20, 1, Outcome::Unknown);
    accepts(&history([open.clone(), read(12, 13, 1)], [1]));
    refuses(&history([open, read(1, 2, 1)], [1]), Rule::Fresh);
}

#[test]
fn a_read_marked_as_old_may_be_old_but_not_wrong() {
    let writes = [publish(0, 1, 1), publish(2, 3, 2)];
    let with = |records: &[Record]| history([writes.as_slice(), records].concat(), [1, 2]);
    accepts(&with(&[stale(4, 5, 1)]));
    refuses(&with(&[stale(4, 5, 7)]), Rule::Kept);
    let mut wrong = stale(4, 5, 1);
    wrong.what = What::StaleRead { version: 1, md5: Some(digest(8)) };
    refuses(&with(&[wrong]), Rule::OneContent);
}

#[test]
fn a_read_marked_as_old_says_nothing_about_others() {
    let open = attempt(0, 100, 2, Outcome::Unknown);
    let reads = |first| history([publish(0, 1, 1), open.clone(), first, read(20, 21, 1)], [1, 2]);
    accepts(&reads(stale(10, 11, 2)));
    refuses(&reads(read(10, 11, 2)), Rule::Fresh);
}

#[test]
fn every_node_ends_on_the_newest_state() {
    let mut whole = history([publish(0, 1, 1), publish(2, 3, 2)], [1, 2]);
    whole.last_reads = vec![("n1".to_owned(), key(), 2), ("n2".to_owned(), key(), 2)];
    accepts(&whole);
    whole.last_reads.push(("n3".to_owned(), key(), 1));
    refuses(&whole, Rule::Converged);
}

#[test]
fn a_newest_state_that_nobody_was_told_is_missed_all_the_same() {
    let mut whole = history([publish(0, 1, 1), attempt(2, 3, 2, Outcome::Unknown), event(4, 0, 1)], [1, 2]);
    whole.subscriptions.push((0, key()));
    refuses(&whole, Rule::Converged);
    whole.records.push(event(5, 0, 2));
    accepts(&whole);
}

#[test]
fn revisions_have_no_gaps_and_no_repetitions() {
    let with = |revisions: &[u64]| History { revisions: revisions.to_vec(), ..History::default() };
    accepts(&with(&[]));
    accepts(&with(&[7, 8, 9]));
    refuses(&with(&[7, 9]), Rule::Gapless);
    refuses(&with(&[7, 7, 8]), Rule::Gapless);
}

/// A history of a register that really is one: every operation takes effect at one moment between begin and end.
fn real(operations: &[(u64, u64, bool)]) -> History {
    let mut moment = 0;
    let mut version = 0;
    let mut records = Vec::new();
    for (before, after, write) in operations {
        moment += 1;
        version += u64::from(*write);
        let (begin, end) = (moment * 100 - before, moment * 100 + after);
        records.push(if *write { publish(begin, end, version) } else { read(begin, end, version) });
    }
    history(records, 1..=version)
}

proptest! {
    #[test]
    fn every_real_history_is_accepted(operations in prop::collection::vec((0..1000_u64, 0..1000_u64, any::<bool>()), 1..60)) {
        let clipped: Vec<_> = operations.iter().enumerate()
            .map(|(index, (before, after, write))| ((*before).min(index as u64 * 100 + 100), *after, *write)).collect();
        prop_assert_eq!(check(&real(&clipped)), []);
    }

    #[test]
    fn a_read_made_older_than_a_finished_publish_is_always_found(
        operations in prop::collection::vec((0..40_u64, 0..40_u64, any::<bool>()), 2..60),
    ) {
        let mut whole = real(&operations);
        let last = whole.stored.len() as u64;
        prop_assume!(last > 0);
        whole.records.push(read(100_000, 100_001, last - 1));
        prop_assert!(check(&whole).iter().any(|violation| violation.rule == Rule::Fresh));
    }
}
