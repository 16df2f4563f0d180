//! Tests of what is told about a version.

use super::Acknowledgements;
use crate::key::ConfigKey;

fn key() -> ConfigKey {
    ConfigKey::public("shop", "a")
}

#[test]
fn a_version_that_nobody_watches_is_applied_at_once() {
    let mut told = Acknowledgements::default();
    assert_eq!(told.begin(&key(), 5, &[]), Some(Ok(())));
    assert_eq!(told.begin(&key(), 0, &[]), None);
}

#[test]
fn the_node_is_told_when_all_watches_have_answered() {
    let mut told = Acknowledgements::default();
    assert_eq!(told.begin(&key(), 5, &[1, 2]), None);
    assert_eq!(told.answer(&key(), 5, 1, Ok(())), None);
    assert_eq!(told.answer(&key(), 5, 1, Ok(())), None);
    assert_eq!(told.answer(&key(), 5, 2, Ok(())), Some(Ok(())));
}

#[test]
fn one_rejection_rejects() {
    let mut told = Acknowledgements::default();
    told.begin(&key(), 5, &[1, 2]);
    assert_eq!(told.answer(&key(), 5, 1, Err("broken".into())), None);
    assert_eq!(told.answer(&key(), 5, 2, Ok(())), Some(Err("broken".into())));
}

#[test]
fn an_answer_about_a_superseded_version_says_nothing() {
    let mut told = Acknowledgements::default();
    told.begin(&key(), 5, &[1]);
    told.begin(&key(), 6, &[1]);
    assert_eq!(told.answer(&key(), 5, 1, Ok(())), None);
    assert_eq!(told.answer(&key(), 6, 1, Ok(())), Some(Ok(())));
}

#[test]
fn a_version_pushed_again_is_answered_again() {
    let mut told = Acknowledgements::default();
    told.begin(&key(), 5, &[1]);
    assert_eq!(told.repeat(&key(), 5), None);
    told.answer(&key(), 5, 1, Err("broken".into()));
    assert_eq!(told.repeat(&key(), 5), Some(Err("broken".into())));
}

#[test]
fn a_watch_that_ends_is_not_waited_for_and_answers_nothing_itself() {
    let mut told = Acknowledgements::default();
    told.begin(&key(), 5, &[1]);
    assert_eq!(told.leave(1), []);
    told.begin(&key(), 6, &[1, 2]);
    told.answer(&key(), 6, 2, Ok(()));
    assert_eq!(told.leave(1), [(key(), 6, Ok(()))]);
}

#[test]
fn a_watch_that_joins_later_answers_as_well() {
    let mut told = Acknowledgements::default();
    told.begin(&key(), 5, &[]);
    told.join(&key(), 5, 1);
    assert_eq!(told.answer(&key(), 5, 1, Err("broken".into())), Some(Err("broken".into())));
}
