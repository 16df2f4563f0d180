//! Subscribers: what is selected, what is queued, and a random walk in which no subscriber may miss, repeat or go
//! back.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::config::ConfigState;
use crate::content::Content;

mod random_walk;

fn key(data_id: &str) -> ConfigKey {
    ConfigKey::new("public", "g", data_id).unwrap()
}

fn state(data_id: &str, version: u64) -> SharedState {
    Arc::new(ConfigState {
        formal: Some(Content::new(Bytes::from(version.to_string())).unwrap()),
        ..ConfigState::absent(key(data_id), Version(version))
    })
}

/// What may be sent now: data id, version, and whether the version is closed.
fn drain(outbox: &mut Outbox) -> Vec<(String, u64, bool)> {
    std::iter::from_fn(|| outbox.next())
        .map(|out| (out.state.key.data_id().to_owned(), out.state.version.0, out.last_of_version))
        .collect()
}

fn sent(items: &[(&str, u64, bool)]) -> Vec<(String, u64, bool)> {
    items.iter().map(|(data_id, version, last)| ((*data_id).to_owned(), *version, *last)).collect()
}

fn released(revision: u64) -> Outbox {
    let mut outbox = Outbox::new(Version::ZERO, 100);
    assert!(!outbox.end_read(Version(revision)));
    outbox
}

#[test]
fn a_selector_checks_its_names() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert!(Selector::exact("public", "g", names(&["a", "b", "a"])).is_ok());
    assert_eq!(Selector::exact("public", "g", names(&[])), Err(SelectorError::NoDataId));
    for (namespace, group, data_id) in
        [("a.b", "g", "a"), ("n", "", "a"), ("n", "g", ""), ("n", "g", "a b"), ("n", ".", "a"), ("n", "g", "..")]
    {
        assert!(matches!(Selector::exact(namespace, group, names(&[data_id])), Err(SelectorError::Name(_))));
    }
    assert!(Selector::prefix("public", None, "").is_ok());
    assert!(Selector::prefix("public", Some(""), "").is_err());
    assert!(Selector::prefix("public", None, "a/").is_err());
    assert!(Selector::prefix("a.b", None, "").is_err());
    assert!(Selector::prefix("n", None, ".").is_ok());
    assert_eq!(Selector::prefix("NULL", None, ""), Selector::prefix("public", None, ""));
}

#[test]
fn a_selector_selects() {
    let key = |namespace, group, data_id| ConfigKey::new(namespace, group, data_id).unwrap();
    let exact = Selector::exact("n", "g", ["a".to_owned(), "b".to_owned()]).unwrap();
    assert!(exact.matches(&key("n", "g", "b")));
    for other in [key("m", "g", "b"), key("n", "h", "b"), key("n", "g", "bc"), key("n", "g", "c")] {
        assert!(!exact.matches(&other), "{other}");
    }
    let prefix = Selector::prefix("n", None, "app-").unwrap();
    assert!(prefix.matches(&key("n", "any", "app-1")));
    assert!(!prefix.matches(&key("n", "any", "ap")));
    assert!(!prefix.matches(&key("m", "any", "app-1")));
    assert!(!Selector::prefix("n", Some("g"), "app-").unwrap().matches(&key("n", "any", "app-1")));
    assert!(Selector::prefix("n", None, "").unwrap().matches(&key("n", "any", "x")));
}

#[test]
fn nothing_leaves_before_the_read_is_complete() {
    let mut outbox = Outbox::new(Version(3), 100);
    assert!(outbox.offer(state("a", 7)));
    outbox.advance(Version(7));
    assert!(!outbox.offer(state("b", 3)), "known to the subscriber");
    assert!(outbox.offer(state("b", 5)));
    assert!(!outbox.offer(state("a", 4)), "the live change is newer than the row");
    assert_eq!(outbox.next(), None);
    assert_eq!(outbox.cursor(), Version(3));
    assert!(!outbox.end_read(Version(6)));
    assert_eq!(outbox.cursor(), Version(4));
    assert_eq!(drain(&mut outbox), sent(&[("b", 5, true), ("a", 7, true)]));
    assert_eq!(outbox.cursor(), Version(7));
}

#[test]
fn a_change_waits_for_the_one_before_it() {
    let mut outbox = released(10);
    assert!(outbox.offer(state("b", 12)));
    assert_eq!(outbox.next(), None);
    assert_eq!(outbox.cursor(), Version(10));
    assert!(outbox.offer(state("a", 11)));
    outbox.advance(Version(12));
    assert_eq!(drain(&mut outbox), sent(&[("a", 11, true), ("b", 12, true)]));
    assert!(!outbox.offer(state("a", 11)), "a repetition");
}

#[test]
fn only_the_newest_of_a_key_is_kept() {
    let mut outbox = released(0);
    for version in 1..=50 {
        assert!(outbox.offer(state("a", version)));
        outbox.advance(Version(version));
    }
    assert!(outbox.offer(state("b", 51)));
    assert_eq!((outbox.len(), outbox.queued_bytes()), (2, state("a", 50).weight() + state("b", 51).weight()));
    outbox.advance(Version(51));
    assert_eq!(outbox.cursor(), Version(49));
    assert_eq!(drain(&mut outbox), sent(&[("a", 50, true), ("b", 51, true)]));
    assert_eq!((outbox.is_empty(), outbox.queued_bytes()), (true, 0));
}

#[test]
fn only_the_last_state_closes_a_version() {
    let mut outbox = released(0);
    for data_id in ["a", "b", "c"] {
        assert!(outbox.offer(state(data_id, 1)));
    }
    outbox.advance(Version(1));
    assert!(!outbox.next().unwrap().last_of_version);
    assert_eq!(outbox.cursor(), Version::ZERO);
    assert_eq!(drain(&mut outbox), sent(&[("b", 1, false), ("c", 1, true)]));
    assert_eq!(outbox.cursor(), Version(1));
}

#[test]
fn a_long_read_is_sent_page_by_page() {
    let mut outbox = Outbox::new(Version::ZERO, 100);
    outbox.offer(state("a", 9));
    outbox.advance(Version(9));
    outbox.offer(state("b", 2));
    outbox.page_read(Version(2));
    assert_eq!(drain(&mut outbox), sent(&[("b", 2, true)]));
    outbox.offer(state("c", 5));
    assert!(!outbox.end_read(Version(8)));
    assert_eq!(drain(&mut outbox), sent(&[("c", 5, true), ("a", 9, true)]));
}

#[test]
fn a_held_outbox_believes_the_live_changes_only_after_the_next_read() {
    let mut outbox = released(4);
    assert!(outbox.begin_read());
    outbox.offer(state("b", 8));
    outbox.advance(Version(8));
    assert_eq!((outbox.next(), outbox.cursor()), (None, Version(4)));
    outbox.offer(state("a", 6));
    assert!(!outbox.end_read(Version(7)));
    assert_eq!(drain(&mut outbox), sent(&[("a", 6, true), ("b", 8, true)]));
}

#[test]
fn a_read_begun_before_changes_were_lost_does_not_vouch_for_those_after_the_loss() {
    let mut outbox = Outbox::new(Version(11), 100);
    // The read sees revision 11, takes its time, and 12 and 13 are told to nobody meanwhile.
    assert!(outbox.begin_read());
    assert!(!outbox.begin_read(), "one is under way");
    outbox.offer(state("x", 14));
    outbox.advance(Version(14));
    assert!(outbox.end_read(Version(11)), "it began too early");
    assert_eq!((outbox.next(), outbox.cursor()), (None, Version(11)));
    outbox.offer(state("y", 12));
    assert!(!outbox.end_read(Version(13)));
    assert_eq!(drain(&mut outbox), sent(&[("y", 12, true), ("x", 14, true)]));
}

#[test]
fn an_overflow_gives_the_queue_up_and_keeps_the_cursor() {
    let mut outbox = Outbox::new(Version::ZERO, 2);
    assert!(!outbox.end_read(Version::ZERO));
    assert!(outbox.offer(state("a", 1)) && outbox.offer(state("b", 2)) && outbox.offer(state("a", 3)));
    outbox.advance(Version(3));
    assert!(!outbox.overflowed());
    assert!(!outbox.offer(state("c", 4)));
    assert!(outbox.overflowed() && outbox.is_empty());
    outbox.advance(Version(4));
    assert!(!outbox.offer(state("d", 5)));
    assert_eq!((outbox.next(), outbox.cursor(), outbox.queued_bytes()), (None, Version(1), 0));
}
