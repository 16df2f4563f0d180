//! Cases that once had to be thought of, one by one.

use std::collections::VecDeque;
use std::time::{Duration, UNIX_EPOCH};

use callboard_proto::session as wire;
use std::task::{Context, Poll, Waker};

use crate::config::{Cached, Config, Freshness};
use crate::error::Error;
use crate::held::Fetched;
use crate::key::{ConfigKey, Prefix, Selection, Target};
use crate::registry::{MAX_HELLO, Outgoing, Recall, Registry};

fn key(data_id: &str) -> ConfigKey {
    ConfigKey::public("shop", data_id)
}

fn push(data_id: &str, version: u64) -> wire::Push {
    let content = Some(version.to_string());
    wire::Push { key: Some(key(data_id).to_wire()), version, content, ..wire::Push::default() }
}

fn config(data_id: &str, version: u64) -> Config {
    Config { version, content: Some(version.to_string().into()), ..Config::missing(key(data_id), 0) }
}

fn connected() -> Registry {
    let mut registry = Registry::new();
    registry.compose_hello();
    registry.connected();
    registry
}

/// Says that everything is watched that was asked for; gives back what was asked.
fn confirm(registry: &mut Registry) -> Vec<Vec<Target>> {
    let outgoing = registry.take_outgoing();
    let watches = outgoing.into_iter().filter_map(|outgoing| match outgoing {
        Outgoing::Watch { targets, number } => Some((targets, number)),
        _ => None,
    });
    let watches: Vec<_> = watches.collect();
    for (targets, number) in &watches {
        registry.watching(targets, *number);
    }
    watches.into_iter().map(|(targets, _)| targets).collect()
}

fn next(registry: &mut Registry, watch: u64) -> Option<Cached> {
    match registry.poll_watch(watch, &mut Context::from_waker(Waker::noop())) {
        Poll::Ready(state) => state,
        Poll::Pending => None,
    }
}

fn versions(registry: &mut Registry, watch: u64) -> Vec<u64> {
    std::iter::from_fn(|| next(registry, watch)).map(|state| state.config.version).collect()
}

#[test]
fn what_is_watched_is_asked_for_anew_in_each_session_in_batches() {
    let mut registry = Registry::new();
    registry.add_watch(&(0..1_200).map(|number| key(&number.to_string())).collect::<Selection>());
    assert!(!registry.has_outgoing());
    for _ in 0..2 {
        registry.compose_hello();
        registry.connected();
        let batches: Vec<usize> = confirm(&mut registry).iter().map(Vec::len).collect();
        assert_eq!(batches, [500, 500, 200]);
        registry.disconnected(UNIX_EPOCH);
    }
}

#[test]
fn an_answer_to_a_watch_that_was_taken_back_says_nothing_about_a_later_one() {
    let mut registry = connected();
    let first = registry.add_watch(&key("a").into());
    let Some(Outgoing::Watch { targets, number }) = registry.take_outgoing().pop_front() else { panic!("no watch") };
    registry.remove_watch(first);
    let second = registry.add_watch(&key("a").into());
    registry.watching(&targets, number);
    assert_eq!(versions(&mut registry, second), [0_u64; 0]);
    registry.pushed(push("a", 5));
    confirm(&mut registry);
    assert_eq!(versions(&mut registry, second), [5]);
}

#[test]
fn what_is_held_outlasts_its_watch_for_as_long_as_the_session() {
    let mut registry = connected();
    let first = registry.add_watch(&key("a").into());
    registry.pushed(push("a", 5));
    confirm(&mut registry);
    registry.remove_watch(first);
    // The node knows that the client holds it, and pushes nothing.
    let second = registry.add_watch(&key("a").into());
    confirm(&mut registry);
    assert_eq!(versions(&mut registry, second), [5]);
    registry.remove_watch(second);
    registry.disconnected(UNIX_EPOCH);
    assert_eq!(registry.compose_hello(), []);
    // It is known still, should no node be reached.
    assert_eq!(registry.recall_any(&key("a")).map(|cached| cached.config.version), Some(5));
}

#[test]
fn the_snapshot_is_told_in_a_hello_or_not_used_at_all() {
    let mut registry = Registry::new();
    registry.restore(vec![(config("a", 5), UNIX_EPOCH), (config("b", 6), UNIX_EPOCH)]);
    let watch = registry.add_watch(&key("a").into());
    let held = registry.compose_hello();
    assert_eq!(held.iter().map(|held| held.version).collect::<Vec<_>>(), [5]);
    registry.connected();
    confirm(&mut registry);
    assert_eq!(versions(&mut registry, watch), [5]);
    // The node was not told of it: what it pushes is taken, and nothing means that nothing exists.
    let other = registry.add_watch(&key("b").into());
    registry.pushed(push("b", 2));
    confirm(&mut registry);
    assert_eq!(versions(&mut registry, other), [2]);
}

#[test]
fn what_has_no_room_in_a_hello_is_said_before_it_is_watched() {
    let mut registry = Registry::new();
    let states = (0..5_000).map(|number| (config(&format!("prices-{number}.yaml"), 5), UNIX_EPOCH));
    registry.restore(states.collect());
    registry.add_watch(&Prefix::new("", "shop", "prices").into());
    let named = registry.compose_hello();
    let hello = wire::Hello { held: named.clone(), ..wire::Hello::default() };
    let envelope = wire::Envelope { id: 1, kind: Some(wire::envelope::Kind::Hello(hello)) };
    let length = callboard_proto::frame::encode(&envelope).expect("it is short").len();
    assert!((MAX_HELLO / 2..callboard_proto::MAX_GREETING / 2 + 100).contains(&length), "{length} bytes");
    registry.connected();
    let outgoing = registry.take_outgoing();
    let is_watch = |outgoing: &&Outgoing| matches!(outgoing, Outgoing::Watch { .. });
    assert!(outgoing.back().filter(is_watch).is_some() && outgoing.iter().filter(is_watch).count() == 1);
    let unsaid = outgoing.iter().filter_map(|outgoing| match outgoing {
        Outgoing::Hold(held) => Some(held.clone()),
        _ => None,
    });
    let unsaid: Vec<_> = unsaid.inspect(|held| assert!(held.len() <= 500)).flatten().collect();
    let all: std::collections::HashSet<_> =
        named.iter().chain(&unsaid).filter_map(|held| held.key.as_ref()).map(|key| key.data_id.clone()).collect();
    assert_eq!((named.len() + unsaid.len(), all.len()), (5_000, 5_000));
}

#[test]
fn without_a_node_the_snapshot_is_given_once_and_says_so() {
    let mut registry = Registry::new();
    let saved_at = UNIX_EPOCH + Duration::from_secs(1);
    registry.restore(vec![(config("a", 5), saved_at)]);
    let early = registry.add_watch(&Prefix::new("", "shop", "").into());
    assert_eq!(registry.recall(&key("a")), Recall::Wait);
    assert_eq!(next(&mut registry, early), None);
    for _ in 0..2 {
        registry.disconnected(UNIX_EPOCH);
    }
    let known = Cached { config: config("a", 5), freshness: Freshness::Snapshot { saved_at } };
    assert_eq!(next(&mut registry, early), Some(known.clone()));
    assert_eq!(next(&mut registry, early), None);
    assert_eq!(registry.recall(&key("a")), Recall::Known(known.clone()));
    let late = registry.add_watch(&key("a").into());
    assert_eq!(next(&mut registry, late), Some(known));
}

#[test]
fn a_key_whose_content_is_on_its_way_is_not_missing() {
    let mut registry = connected();
    let watch = registry.add_watch(&key("a").into());
    assert_eq!(registry.recall(&key("a")), Recall::Wait);
    registry.pushed(wire::Push { content: None, ..push("a", 5) });
    let mut outgoing: VecDeque<Outgoing> = registry.take_outgoing();
    let Some(Outgoing::Fetch { number, .. }) = outgoing.pop_back() else { panic!("no fetch") };
    let Some(Outgoing::Watch { targets, number: asked }) = outgoing.pop_front() else { panic!("no watch") };
    registry.watching(&targets, asked);
    assert_eq!(registry.recall(&key("a")), Recall::Wait);
    assert_eq!(versions(&mut registry, watch), [0_u64; 0]);
    assert_eq!(registry.fetched(number, config("a", 5)), Fetched::Taken(false));
    assert_eq!(versions(&mut registry, watch), [5]);
    assert!(matches!(registry.recall(&key("a")), Recall::Known(_)));
}

#[test]
fn content_that_was_on_its_way_when_the_session_ended_is_not_held() {
    let mut registry = connected();
    registry.add_watch(&key("a").into());
    registry.pushed(wire::Push { content: None, ..push("a", 5) });
    registry.disconnected(UNIX_EPOCH);
    assert_eq!(registry.compose_hello(), []);
    registry.connected();
    registry.pushed(push("a", 5));
    assert_eq!(registry.recall_any(&key("a")).map(|cached| cached.config.version), Some(5));
}

#[test]
fn a_refused_key_is_told_to_cached_reads_and_asked_for_again_by_the_next_one() {
    let mut registry = connected();
    assert_eq!(registry.recall(&key("a")), Recall::Wait);
    let Some(Outgoing::Watch { targets, number }) = registry.take_outgoing().pop_front() else { panic!("no watch") };
    registry.watch_refused(&targets, number, &Error::NotFound);
    assert_eq!(registry.recall(&key("a")), Recall::Refused(Error::NotFound));
    assert_eq!(registry.recall(&key("a")), Recall::Wait);
    assert!(registry.has_outgoing());
}

#[test]
fn the_reason_of_a_rejection_is_cut_to_what_a_node_takes() {
    let mut registry = connected();
    let watch = registry.add_watch(&key("a").into());
    registry.pushed(push("a", 5));
    registry.take_outgoing();
    registry.acknowledge(watch, &key("a"), 5, Err("é".repeat(3_000)));
    let Some(Outgoing::Acknowledge { outcome: Err(reason), .. }) = registry.take_outgoing().pop_front() else {
        panic!("not rejected")
    };
    assert_eq!(reason.chars().count(), 1_024);
}

#[test]
fn what_changed_is_written_and_what_did_not_is_not() {
    let mut registry = connected();
    registry.add_watch(&key("a").into());
    registry.pushed(push("a", 5));
    assert_eq!(registry.take_dirty(), [config("a", 5)]);
    registry.pushed(push("a", 4));
    assert!(!registry.is_dirty());
}
