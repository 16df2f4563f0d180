//! What a session is pushed, move by move, and under chance against a database that also loses commits.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod random_walk;

use std::sync::Arc;

use bytes::Bytes;

use super::{Answered, Mark, Pushes, Reaction, Read};
use crate::config::{ConfigState, SharedState, Version};
use crate::content::Content;
use crate::gray::ClientIdentity;
use crate::key::ConfigKey;
use crate::session::client::{Client, ClientId, ClientKind};
use crate::watch::Selector;

fn client() -> Arc<Client> {
    let (id, identity) = (ClientId("c".into()), ClientIdentity::default());
    Arc::new(Client { id, kind: ClientKind::Tcp, identity, software: String::new() })
}

fn pushes() -> Pushes {
    Pushes::new(client(), 100)
}

fn key(name: &str) -> ConfigKey {
    ConfigKey::new("public", "g", name).unwrap()
}

/// A state whose content tells its version and its timeline.
fn state_of(name: &str, version: u64, line: u64) -> SharedState {
    let content = Content::new(Bytes::from(format!("{name} {version} {line}"))).unwrap();
    let mut state = ConfigState::absent(key(name), Version(version));
    state.formal = Some(content);
    Arc::new(state)
}

fn state(name: &str, version: u64) -> SharedState {
    state_of(name, version, 0)
}

fn absent(name: &str, version: u64) -> SharedState {
    Arc::new(ConfigState::absent(key(name), Version(version)))
}

fn mark(state: &SharedState) -> Mark {
    Mark { version: state.version, md5: state.formal.as_ref().map(Content::md5) }
}

fn exact(name: &str) -> Selector {
    Selector::of_key(&key(name))
}

fn prefix(text: &str) -> Selector {
    Selector::prefix("public", Some("g"), text).unwrap()
}

/// Name, version, and whether it is to be taken although it is not newer.
fn sent(pushes: &mut Pushes) -> Vec<(String, u64, bool)> {
    std::iter::from_fn(|| pushes.next())
        .map(|outgoing| (outgoing.state.key.data_id().to_owned(), outgoing.state.version.0, outgoing.reset))
        .collect()
}

fn pushed(name: &str, version: u64) -> (String, u64, bool) {
    (name.to_owned(), version, false)
}

#[test]
fn a_watch_is_complete_when_what_is_new_was_sent() {
    let mut pushes = pushes();
    pushes.watch(1, &[exact("a"), exact("b")], true);
    assert_eq!(pushes.next_read(), Some(Read::Keys(vec![key("a"), key("b")])));
    assert_eq!(pushes.next_read(), None, "one read at a time");
    assert!(pushes.take_watching().is_empty());
    pushes.read_keys(&[state("a", 3), absent("b", 0)]);
    assert!(pushes.take_watching().is_empty(), "a is not sent yet");
    assert_eq!(sent(&mut pushes), [pushed("a", 3)]);
    assert_eq!((pushes.take_watching(), pushes.take_watching()), (vec![1], vec![]));
}

#[test]
fn what_was_told_since_counts_more_than_what_the_client_says_it_holds() {
    let mut pushes = pushes();
    pushes.watch(1, &[exact("a"), exact("b")], true);
    pushes.next_read();
    pushes.read_keys(&[state("a", 3), state("b", 4)]);
    // One is on its way, the other still waits.
    assert!(pushes.next().is_some());
    pushes.hold(key("a"), mark(&state("a", 2)));
    pushes.hold(key("b"), mark(&state("b", 4)));
    pushes.recheck();
    pushes.next_read();
    pushes.read_keys(&[state("a", 3), state("b", 4)]);
    assert_eq!(sent(&mut pushes), [pushed("b", 4)]);
}

#[test]
fn what_the_client_holds_is_not_sent_again() {
    let mut pushes = pushes();
    pushes.hold(key("a"), mark(&state("a", 3)));
    pushes.hold(key("b"), mark(&state("b", 2)));
    pushes.hold(key("c"), mark(&state("c", 4)));
    pushes.watch(1, &[exact("a"), exact("b"), exact("c")], true);
    pushes.next_read();
    pushes.read_keys(&[state("a", 3), state("b", 9), absent("c", 8)]);
    assert_eq!(sent(&mut pushes), [pushed("c", 8), pushed("b", 9)]);
}

#[test]
fn versions_rise_and_the_newest_takes_the_place_of_what_waits() {
    let mut pushes = pushes();
    pushes.watch(1, &[exact("a")], true);
    pushes.next_read();
    pushes.read_keys(&[state("a", 3)]);
    pushes.offer(&state("a", 5));
    pushes.offer(&state("a", 4));
    assert_eq!(sent(&mut pushes), [pushed("a", 5)]);
    pushes.offer(&state("a", 5));
    pushes.offer(&state("a", 2));
    assert!(pushes.is_empty());
}

#[test]
fn a_read_that_a_change_overtook_does_not_go_back() {
    let mut pushes = pushes();
    pushes.watch(1, &[exact("a")], true);
    pushes.next_read();
    pushes.offer(&state("a", 5));
    assert_eq!(sent(&mut pushes), [pushed("a", 5)]);
    pushes.read_keys(&[state("a", 4)]);
    assert!(pushes.is_empty());
    assert_eq!(pushes.next_read(), Some(Read::Keys(vec![key("a")])), "it says nothing, and is done again");
    pushes.read_keys(&[state("a", 5)]);
    assert_eq!((sent(&mut pushes), pushes.take_watching()), (vec![], vec![1]));
}

#[test]
fn a_database_that_lost_commits_takes_the_client_back() {
    let mut pushes = pushes();
    pushes.watch(1, &[exact("a"), exact("b")], true);
    pushes.next_read();
    pushes.read_keys(&[state("a", 9), state("b", 8)]);
    sent(&mut pushes);
    pushes.recheck();
    pushes.next_read();
    pushes.read_keys(&[state("a", 4), state_of("b", 8, 1)]);
    assert_eq!(sent(&mut pushes), [("a".to_owned(), 4, true), ("b".to_owned(), 8, true)]);
    pushes.offer(&state("a", 6));
    assert_eq!(sent(&mut pushes), [pushed("a", 6)], "the next change counts from there");
}

#[test]
fn a_change_over_a_reset_that_waits_is_a_reset_itself() {
    let mut pushes = pushes();
    pushes.watch(1, &[exact("a")], true);
    pushes.next_read();
    pushes.read_keys(&[state("a", 9)]);
    sent(&mut pushes);
    pushes.recheck();
    pushes.next_read();
    pushes.read_keys(&[state("a", 4)]);
    pushes.offer(&state("a", 6));
    assert_eq!(sent(&mut pushes), [("a".to_owned(), 6, true)]);
}

#[test]
fn a_recheck_during_a_read_makes_it_count_for_nothing() {
    let mut pushes = pushes();
    pushes.watch(1, &[exact("a")], true);
    pushes.next_read();
    pushes.recheck();
    pushes.read_keys(&[state("a", 4)]);
    assert!(pushes.is_empty());
    assert_eq!(pushes.next_read(), Some(Read::Keys(vec![key("a")])));
    pushes.read_failed();
    assert_eq!(pushes.next_read(), Some(Read::Keys(vec![key("a")])));
}

#[test]
fn a_prefix_tells_of_what_came_and_of_what_is_gone() {
    let mut pushes = pushes();
    pushes.hold(key("ab"), mark(&state("ab", 2)));
    pushes.hold(key("b"), mark(&state("b", 2)));
    pushes.watch(1, &[prefix("a")], true);
    assert_eq!(pushes.next_read(), Some(Read::Prefix(prefix("a"))));
    pushes.read_prefix(Version(7), &[state("aa", 5)]);
    assert_eq!(sent(&mut pushes), [pushed("aa", 5), pushed("ab", 7)]);
    assert_eq!(pushes.take_watching(), [1]);
    pushes.offer(&state("ac", 9));
    pushes.offer(&state("b", 9));
    assert_eq!(sent(&mut pushes), [pushed("ac", 9)]);
}

#[test]
fn nothing_is_said_of_what_came_and_went_before_it_was_sent() {
    let mut pushes = pushes();
    pushes.watch(1, &[exact("a")], true);
    pushes.next_read();
    pushes.read_keys(&[absent("a", 0)]);
    pushes.offer(&state("a", 4));
    pushes.offer(&absent("a", 5));
    assert!(sent(&mut pushes).is_empty());
    pushes.offer(&state("a", 6));
    assert_eq!(sent(&mut pushes), [pushed("a", 6)]);
}

#[test]
fn what_is_no_longer_watched_is_no_longer_sent() {
    let mut pushes = pushes();
    pushes.watch(1, &[exact("a"), prefix("")], true);
    pushes.offer(&state("a", 4));
    pushes.unwatch(&[exact("a")]);
    assert_eq!(sent(&mut pushes), [pushed("a", 4)], "the prefix selects it");
    pushes.offer(&state("a", 5));
    pushes.unwatch(&[prefix("")]);
    pushes.offer(&state("a", 6));
    assert!(sent(&mut pushes).is_empty());
    assert_eq!(pushes.take_watching(), [1], "nothing of it is awaited any longer");
}

#[test]
fn answers_count_for_the_version_that_was_pushed() {
    let mut pushes = pushes();
    pushes.watch(1, &[exact("a")], true);
    pushes.next_read();
    pushes.read_keys(&[state("a", 3)]);
    assert_eq!(pushes.answer(&key("a"), Version(3), Reaction::Applied), Answered::NotPushed, "it was not sent yet");
    pushes.next();
    assert_eq!(pushes.answer(&key("a"), Version(4), Reaction::Applied), Answered::NotPushed);
    assert_eq!(pushes.answer(&key("b"), Version(3), Reaction::Applied), Answered::NotPushed);
    pushes.offer(&state("a", 5));
    assert_eq!(pushes.next().unwrap().superseded, Some(Version(3)));
    assert_eq!(pushes.answer(&key("a"), Version(3), Reaction::Applied), Answered::Late);
    assert_eq!(pushes.answer(&key("a"), Version(5), Reaction::Rejected), Answered::Counts);
    assert_eq!(pushes.answer(&key("a"), Version(5), Reaction::Rejected), Answered::Late);
    pushes.offer(&state("a", 6));
    assert_eq!(pushes.next().unwrap().superseded, None, "it was answered");
}

#[test]
fn a_version_that_the_client_asked_for_may_be_answered_as_well() {
    let mut pushes = pushes();
    pushes.watch(1, &[exact("a")], true);
    pushes.next_read();
    pushes.read_keys(&[state("a", 3)]);
    sent(&mut pushes);
    pushes.give(&key("a"), Version(4));
    assert_eq!(pushes.answer(&key("a"), Version(4), Reaction::Applied), Answered::Counts);
    assert_eq!(pushes.position(&key("a")).unwrap().pushed.unwrap().version, Version(4));
}

#[test]
fn a_version_that_was_given_and_is_lost_is_taken_back() {
    let mut pushes = pushes();
    pushes.watch(1, &[exact("a")], true);
    pushes.next_read();
    pushes.read_keys(&[state("a", 5)]);
    sent(&mut pushes);
    pushes.recheck();
    pushes.next_read();
    pushes.give(&key("a"), Version(6));
    pushes.read_keys(&[state("a", 5)]);
    assert!(pushes.is_empty(), "it may have been read before");
    pushes.next_read();
    pushes.read_keys(&[state("a", 5)]);
    assert_eq!(sent(&mut pushes), [("a".to_owned(), 5, true)]);
    pushes.offer(&state("a", 6));
    assert_eq!(sent(&mut pushes), [pushed("a", 6)]);
}

#[test]
fn more_keys_than_there_is_room_for_end_the_session() {
    let mut pushes = Pushes::new(client(), 2);
    pushes.watch(1, &[prefix("")], true);
    pushes.offer(&state("a", 1));
    pushes.offer(&state("b", 2));
    sent(&mut pushes);
    pushes.offer(&absent("a", 3));
    sent(&mut pushes);
    pushes.offer(&state("c", 4));
    assert!(!pushes.overflowed(), "what is gone is forgotten first");
    pushes.offer(&state("d", 5));
    assert!(pushes.overflowed());
}

#[test]
fn a_watch_that_is_named_in_parts_is_complete_when_all_of_it_is() {
    let mut pushes = pushes();
    pushes.watch(1, &[exact("a")], false);
    assert!(pushes.next_read().is_some());
    pushes.read_keys(&[absent("a", 1)]);
    assert_eq!(pushes.take_watching(), [], "more of it is to come");
    pushes.watch(1, &[exact("b")], false);
    pushes.watch(1, &[], true);
    assert_eq!(pushes.take_watching(), [], "b was not read");
    assert!(pushes.next_read().is_some());
    pushes.read_keys(&[absent("b", 1)]);
    assert_eq!(pushes.take_watching(), [1]);
}
