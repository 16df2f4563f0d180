//! Polls: who is answered what, and that nothing is left of those who were.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::content::Content;

mod random_walk;

fn key(data_id: &str) -> ConfigKey {
    ConfigKey::new("public", "g", data_id).unwrap()
}

/// A state with this content; an empty one stands for none.
fn state(data_id: &str, version: u64, content: &str) -> SharedState {
    Arc::new(ConfigState {
        formal: (!content.is_empty()).then(|| Content::new(Bytes::from(content.to_owned())).unwrap()),
        ..ConfigState::absent(key(data_id), Version(version))
    })
}

fn digest(content: &str) -> Option<Md5> {
    (!content.is_empty()).then(|| Md5::of(content.as_bytes()))
}

fn at(milliseconds: u64) -> Mono {
    Mono(Duration::from_millis(milliseconds))
}

fn poll(records: &[(&str, &str)], wait: u64) -> Poll {
    Poll {
        records: records
            .iter()
            .map(|(data_id, held)| Watched { key: key(data_id), held: digest(held).into() })
            .collect(),
        client: ClientIdentity::default(),
        wait: Some(Duration::from_millis(wait)),
    }
}

fn read(states: &[SharedState]) -> HashMap<ConfigKey, SharedState> {
    states.iter().map(|state| (state.key.clone(), Arc::clone(state))).collect()
}

/// Inserts a poll that has compared and hangs.
fn hang(polls: &mut Polls<u32>, waiter: u32, records: &[(&str, &str)], version: u64) -> PollId {
    let id = polls.insert(at(0), poll(records, 30_000), waiter);
    let states: Vec<_> = records.iter().map(|(data_id, held)| state(data_id, version, held)).collect();
    assert_eq!(polls.compare(id, &read(&states)), None);
    id
}

/// What is held and the room kept for it.
fn left(polls: &Polls<u32>) -> (Counts, usize) {
    (polls.counts(), polls.capacity())
}

fn ended(waiter: u32, changed: &[usize]) -> Ended<u32> {
    Ended { waiter, changed: Some(changed.to_vec()) }
}

#[test]
fn a_difference_is_answered_at_once_with_every_record_that_differs() {
    let mut polls = Polls::new();
    let id = polls.insert(at(0), poll(&[("a", "1"), ("b", "1"), ("c", ""), ("d", "1"), ("e", "")], 30_000), 7);
    let states = [state("a", 1, "2"), state("b", 2, "1"), state("c", 3, "1"), state("d", 4, ""), state("e", 0, "")];
    assert_eq!(polls.compare(id, &read(&states)), Some(ended(7, &[0, 2, 3])));
    assert_eq!(polls.compare(id, &read(&states)), None, "ended");
    assert_eq!(left(&polls), (Counts::default(), 0));
}

#[test]
fn a_change_costs_and_wakes_the_listeners_of_its_key_alone() {
    let mut polls = Polls::new();
    hang(&mut polls, 1, &[("a", "1"), ("b", "1")], 1);
    hang(&mut polls, 2, &[("b", "1")], 1);
    hang(&mut polls, 3, &[("c", "1")], 1);
    polls.changed(&state("b", 2, "2"));
    polls.changed(&state("z", 3, "2"));
    assert_eq!(polls.take_due(100), [ended(1, &[1]), ended(2, &[0])]);
    assert_eq!((polls.len(), polls.has_due(), polls.watches(&key("a"))), (1, false, false));
}

#[test]
fn a_change_that_leaves_the_digest_equal_keeps_it_hanging() {
    let mut polls = Polls::new();
    hang(&mut polls, 1, &[("a", "1"), ("b", "")], 4);
    polls.changed(&state("a", 5, "1"));
    polls.changed(&state("b", 6, ""));
    assert!(!polls.has_due());
    polls.changed(&state("b", 7, "x"));
    assert_eq!(polls.take_due(100), [ended(1, &[1])]);
}

#[test]
fn a_condition_is_compared_with_the_version_and_the_digest_of_each_state() {
    let tags = |tags: &[Expected]| ReadCondition::OneOf(tags.to_vec());
    let md5 = |content: &str| Expected::Md5(Md5::of(content.as_bytes()));
    // What is held, what is there, and what comes that differs and that does not.
    let cases = [
        (tags(&[Expected::Version(Version(4))]), (4, "1"), Some((5, "1")), None),
        (tags(&[Expected::Version(Version(4))]), (4, ""), Some((5, "1")), None),
        (tags(&[md5("1"), md5("2")]), (4, "1"), Some((6, "")), Some((5, "2"))),
        (ReadCondition::Anything, (4, "1"), Some((6, "")), Some((5, "2"))),
        (ReadCondition::Nothing, (4, "1"), None, None),
    ];
    for (condition, (version, content), news, no_news) in cases {
        let mut polls = Polls::new();
        let records = vec![Watched { key: key("a"), held: condition.clone().into() }];
        let id = polls.insert(at(0), Poll { records, ..poll(&[], 30_000) }, 1);
        let compared = polls.compare(id, &read(&[state("a", version, content)]));
        assert_eq!(compared, news.is_none().then(|| ended(1, &[0])), "{condition:?}");
        if let Some((version, content)) = no_news {
            polls.changed(&state("a", version, content));
            assert!(!polls.has_due(), "{condition:?}");
        }
        if let Some((version, content)) = news {
            polls.changed(&state("a", version, content));
            assert_eq!(polls.take_due(100), [ended(1, &[0])], "{condition:?}");
        }
    }
}

#[test]
fn a_late_change_is_ignored() {
    let mut polls = Polls::new();
    hang(&mut polls, 1, &[("a", "new")], 9);
    polls.changed(&state("a", 8, "old"));
    assert!(!polls.has_due());
}

#[test]
fn an_older_state_counts_once_the_newer_one_may_be_lost() {
    let mut polls = Polls::new();
    hang(&mut polls, 1, &[("a", "1")], 105);
    polls.forget_versions();
    assert!(!polls.has_due(), "nothing is known to differ");
    polls.changed(&state("a", 101, "2"));
    assert_eq!(polls.take_due(100), [ended(1, &[0])]);
}

#[test]
fn a_change_before_the_comparison_is_judged_by_it() {
    let mut polls = Polls::new();
    let stale = polls.insert(at(0), poll(&[("a", "new")], 30_000), 1);
    let fresh = polls.insert(at(0), poll(&[("b", "old")], 30_000), 2);
    polls.changed(&state("a", 8, "old"));
    polls.changed(&state("b", 9, "new"));
    assert!(!polls.has_due());
    assert_eq!(polls.compare(stale, &read(&[state("a", 9, "new")])), None);
    // The read is older than the change that was heard meanwhile.
    assert_eq!(polls.compare(fresh, &read(&[state("b", 7, "old")])), Some(ended(2, &[0])));
}

#[test]
fn a_change_taken_back_before_the_answer_lets_it_hang() {
    let mut polls = Polls::new();
    hang(&mut polls, 1, &[("a", "1")], 1);
    polls.changed(&state("a", 2, "2"));
    polls.changed(&state("a", 3, "1"));
    assert_eq!((polls.take_due(100), polls.len()), (vec![], 1));
    polls.changed(&state("a", 4, "2"));
    assert_eq!(polls.take_due(100), [ended(1, &[0])]);
}

#[test]
fn a_poll_ends_quietly_when_its_time_is_over() {
    let mut polls = Polls::new();
    hang(&mut polls, 1, &[("a", "1")], 1);
    polls.advance(at(29_999));
    assert!(!polls.has_due());
    polls.advance(at(30_000));
    assert_eq!(polls.take_due(100), [ended(1, &[])]);
    assert_eq!(left(&polls), (Counts::default(), 0));
}

#[test]
fn a_poll_that_ends_before_its_comparison_does_not_say_that_nothing_differs() {
    let unknown = |waiter| Ended { waiter, changed: None };
    let mut polls = Polls::new();
    let late = polls.insert(at(0), poll(&[("a", "1")], 30_000), 1);
    polls.changed(&state("a", 2, "2"));
    polls.advance(at(30_000));
    assert_eq!(polls.take_due(100), [unknown(1)]);
    assert_eq!(polls.compare(late, &read(&[state("a", 2, "2")])), None, "ended");
    polls.insert(at(0), poll(&[("a", "1")], 30_000), 2);
    polls.insert(at(0), Poll { wait: None, ..poll(&[("a", "1")], 0) }, 3);
    hang(&mut polls, 4, &[("b", "1")], 1);
    hang(&mut polls, 5, &[("c", "1")], 1);
    polls.changed(&state("c", 2, "2"));
    assert_eq!(polls.drain(), [unknown(2), unknown(3), ended(4, &[]), ended(5, &[0])]);
    assert_eq!(left(&polls), (Counts::default(), 0));
}

#[test]
fn a_poll_without_wait_is_answered_by_its_comparison() {
    let mut polls = Polls::new();
    let once = |held| Poll { wait: None, ..poll(&[("a", held)], 0) };
    let (same, other) = (polls.insert(at(0), once("1"), 1), polls.insert(at(0), once("2"), 2));
    polls.advance(at(1_000_000));
    assert!(!polls.has_due());
    let states = read(&[state("a", 1, "1")]);
    assert_eq!(polls.compare(same, &states), Some(ended(1, &[])));
    assert_eq!(polls.compare(other, &states), Some(ended(2, &[0])));
}

#[test]
fn many_who_wait_for_one_key_are_taken_in_slices() {
    let mut polls = Polls::new();
    for waiter in 0..1_000 {
        hang(&mut polls, waiter, &[("a", "1"), ("b", "1")], 1);
    }
    polls.changed(&state("a", 2, "2"));
    assert_eq!((polls.take_due(200).len(), polls.len()), (100, 900));
    polls.changed(&state("b", 3, "2"));
    let rest: Vec<_> = std::iter::from_fn(|| Some(polls.take_due(200)).filter(|taken| !taken.is_empty())).collect();
    assert_eq!(rest.iter().map(Vec::len).sum::<usize>(), 900);
    assert!(rest.iter().flatten().all(|ended| ended.changed.as_deref() == Some(&[0, 1])));
    assert_eq!(left(&polls), (Counts::default(), 0));
}

#[test]
fn a_key_named_twice_is_compared_twice() {
    let mut polls = Polls::new();
    let id = polls.insert(at(0), poll(&[("a", "1"), ("a", "2"), ("a", "1")], 30_000), 1);
    assert_eq!(polls.compare(id, &read(&[state("a", 1, "1")])), Some(ended(1, &[1])));
    assert_eq!(left(&polls), (Counts::default(), 0));
}

#[test]
fn the_gone_are_swept_within_one_round() {
    let mut polls = Polls::new();
    for waiter in 0..100 {
        hang(&mut polls, waiter, &[("a", "1")], 1);
    }
    let swept: usize = (0..10).map(|_| polls.sweep(10, |waiter| waiter % 3 == 0)).sum();
    assert_eq!((swept, polls.len()), (34, 66));
    assert_eq!(polls.drain().len(), 66);
    assert_eq!(left(&polls), (Counts::default(), 0));
}

/// Rounds of a million polls on quiet keys, some of their own and some shared, that end in every way: what is held
/// and the room kept for it are the same after every round.
#[test]
fn a_million_quiet_polls_leave_nothing_behind() {
    const POLLS: u32 = 250_000;
    let keys: Vec<ConfigKey> = (0..POLLS).map(|n| key(&format!("quiet-{n}"))).collect();
    let mut polls = Polls::new();
    for round in 0..4_u64 {
        let begin = round * 100_000;
        let ids: Vec<PollId> = (0..POLLS)
            .map(|waiter| {
                let own = Watched { key: keys[waiter as usize].clone(), held: None.into() };
                let shared = Watched { key: keys[waiter as usize % 100].clone(), held: None.into() };
                let wait = Some(Duration::from_millis(10_000 + u64::from(waiter) % 20_000));
                let poll = Poll { records: vec![own, shared], client: ClientIdentity::default(), wait };
                polls.insert(at(begin), poll, waiter)
            })
            .collect();
        assert_eq!((polls.len(), polls.counts().timers), (POLLS as usize, POLLS as usize));
        for id in ids.iter().step_by(7) {
            polls.remove(*id);
        }
        let mut ended = 0;
        for tick in 0..=600 {
            polls.advance(at(begin + tick * 50));
            while polls.has_due() {
                ended += polls.take_due(512).len();
            }
        }
        assert_eq!(ended, POLLS as usize - ids.iter().step_by(7).count());
        assert_eq!(left(&polls), (Counts::default(), 0));
    }
}
