//! The rules one by one; the rest of the promise is tested against a model of the database in [`database`].
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::*;
use crate::config::ConfigState;

mod database;

/// Entries in a map; nothing is dropped but by [`Map::evict`].
#[derive(Default)]
pub(super) struct Map {
    entries: HashMap<ConfigKey, (SharedState, bool)>,
}

impl Map {
    /// What the real store does when it is full.
    pub(super) fn evict(&mut self, key: &ConfigKey) {
        if self.entries.get(key).is_some_and(|(_, pinned)| !pinned) {
            self.entries.remove(key);
        }
    }
}

impl Entries for Map {
    fn get(&mut self, key: &ConfigKey) -> Option<SharedState> {
        self.peek(key)
    }
    fn peek(&self, key: &ConfigKey) -> Option<SharedState> {
        self.entries.get(key).map(|(state, _)| Arc::clone(state))
    }
    fn put(&mut self, state: SharedState, pinned: bool) {
        self.entries.insert(state.key.clone(), (state, pinned));
    }
    fn remove(&mut self, key: &ConfigKey) {
        self.entries.remove(key);
    }
    fn set_pinned(&mut self, key: &ConfigKey, pinned: bool) {
        if let Some((_, pin)) = self.entries.get_mut(key) {
            *pin = pinned;
        }
    }
    fn clear(&mut self) {
        self.entries.clear();
    }
}

type Tested = Shard<Map, u32>;

const BATCH: BatchId = BatchId(Uuid::from_u128(1));
const OTHER: BatchId = BatchId(Uuid::from_u128(2));
const NOW: Mono = Mono(Duration::from_secs(1));

pub(super) fn key(name: &str) -> ConfigKey {
    ConfigKey::new("public", "g", name).unwrap()
}

pub(super) fn state(key: &ConfigKey, version: u64) -> SharedState {
    Arc::new(ConfigState::absent(key.clone(), Version(version)))
}

pub(super) fn committed(key: &ConfigKey, version: u64) -> CommittedKey {
    CommittedKey { key: key.clone(), version: Version(version), state: Some(state(key, version)) }
}

fn grant(life: u128, ends: u64) -> ReadLease {
    ReadLease { incarnation: Incarnation(Uuid::from_u128(life)), ends: LeaseEnd::At(Mono(Duration::from_secs(ends))) }
}

fn loaded(key: &ConfigKey, version: u64, revision: u64) -> Loaded {
    Loaded { revision: Version(revision), timeline: Timeline(0), state: state(key, version) }
}

fn member() -> Tested {
    let mut shard = Shard::new(Map::default());
    assert_eq!(shard.grant(Some(grant(1, 10))), Vec::<u32>::new());
    shard
}

fn lead(shard: &mut Tested, key: &ConfigKey, waiter: u32) -> Token {
    match shard.begin(key, NOW, waiter) {
        Begin::Lead(token) => token,
        Begin::Joined => panic!("a load of {key} runs already"),
    }
}

/// A shard of a member that holds `key` at `version`.
fn holding(key: &ConfigKey, version: u64) -> Tested {
    let mut shard = member();
    let token = lead(&mut shard, key, 0);
    assert!(shard.finish(token, Some(&loaded(key, version, version))).stored);
    shard
}

fn version(shard: &mut Tested, key: &ConfigKey) -> Option<u64> {
    match shard.lookup(key, || NOW) {
        Lookup::Hit(state) => Some(state.version.0),
        Lookup::Marked | Lookup::Miss | Lookup::Untrusted => None,
    }
}

#[test]
fn a_load_becomes_the_entry_and_answers_who_waited() {
    let (a, mut shard) = (key("a"), member());
    assert_eq!(shard.lookup(&a, || NOW), Lookup::Miss);
    let token = lead(&mut shard, &a, 1);
    assert_eq!(token.key(), &a);
    assert_eq!(shard.begin(&a, NOW, 2), Begin::Joined);
    let finished = shard.finish(token, Some(&loaded(&a, 3, 7)));
    assert_eq!(finished, Finished { answered: vec![1, 2], next: None, stored: true });
    assert_eq!(version(&mut shard, &a), Some(3));
    assert_eq!(shard.fills(), 0);
}

#[test]
fn a_failed_load_answers_and_leaves_nothing() {
    let (a, mut shard) = (key("a"), member());
    let token = lead(&mut shard, &a, 1);
    assert_eq!(shard.finish(token, None), Finished { answered: vec![1], next: None, stored: false });
    assert_eq!((shard.fills(), shard.lookup(&a, || NOW)), (0, Lookup::Miss));
}

#[test]
fn the_clock_ends_trust_and_a_renewal_of_the_same_life_restores_it() {
    let a = key("a");
    let mut shard = holding(&a, 3);
    let late = Mono(Duration::from_secs(10));
    assert_eq!(shard.lookup(&a, || late), Lookup::Untrusted);
    assert!(shard.grant(Some(grant(1, 20))).is_empty());
    assert!(matches!(shard.lookup(&a, || late), Lookup::Hit(_)), "a lapse is not a flush");
}

#[test]
fn another_life_or_none_starts_with_nothing_and_wakes_who_waited() {
    for next in [Some(grant(2, 20)), None] {
        let a = key("a");
        let mut shard = holding(&a, 3);
        let token = lead(&mut shard, &key("b"), 5);
        shard.mark(BATCH, &a);
        assert_eq!(shard.wait_unmarked(&a, 9), Ok(()));
        assert_eq!(shard.grant(next), vec![9]);
        assert_eq!(shard.marks(), 0);
        assert!(shard.entries().peek(&a).is_none());
        let finished = shard.finish(token, Some(&loaded(&key("b"), 1, 9)));
        assert_eq!(finished, Finished { answered: vec![5], next: None, stored: false });
    }
}

#[test]
fn a_mark_hides_and_pins_the_entry_and_an_abort_shows_it_again() {
    let a = key("a");
    let mut shard = holding(&a, 3);
    shard.mark(BATCH, &a);
    shard.mark(BATCH, &a);
    shard.mark(OTHER, &a);
    assert_eq!(shard.lookup(&a, || NOW), Lookup::Marked);
    shard.entries.evict(&a);
    assert_eq!(shard.wait_unmarked(&a, 9), Ok(()));
    assert!(shard.abort(BATCH, &a).is_empty(), "the other batch still marks the key");
    assert_eq!(shard.abort(OTHER, &a), vec![9]);
    assert_eq!(shard.wait_unmarked(&a, 9), Err(9));
    assert_eq!(version(&mut shard, &a), Some(3));
    shard.entries.evict(&a);
    assert_eq!(version(&mut shard, &a), None, "no longer pinned");
}

#[test]
fn a_mark_at_any_time_of_a_load_keeps_it_out() {
    let a = key("a");
    for (before, ended) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut shard = member();
        if before {
            shard.mark(BATCH, &a);
        }
        let token = lead(&mut shard, &a, 1);
        if !before {
            shard.mark(BATCH, &a);
        }
        if ended {
            shard.commit(BATCH, &committed(&a, 5));
        }
        assert_eq!(shard.begin(&a, NOW, 2), Begin::Joined);
        let finished = shard.finish(token, Some(&loaded(&a, 3, 9)));
        assert_eq!((finished.answered, finished.stored), (vec![1], false));
        let next = shard.finish(finished.next.unwrap(), Some(&loaded(&a, 5, 9)));
        assert_eq!(
            (next.answered, next.stored),
            (vec![2], ended),
            "the next load begins after the mark, if it is gone"
        );
    }
}

#[test]
fn readers_do_not_join_without_a_valid_lease() {
    let (a, mut shard) = (key("a"), member());
    let token = lead(&mut shard, &a, 1);
    assert_eq!(shard.begin(&a, Mono(Duration::from_secs(11)), 2), Begin::Joined);
    let finished = shard.finish(token, None);
    assert_eq!(finished.answered, vec![1]);
    assert_eq!(shard.finish(finished.next.unwrap(), None).answered, vec![2]);
    assert_eq!(shard.fills(), 0);
}

#[test]
fn a_snapshot_that_is_too_old_or_of_another_history_is_not_stored() {
    let (a, b) = (key("a"), key("b"));
    let mut shard = member();
    shard.commit(BATCH, &committed(&b, 8));
    let token = lead(&mut shard, &a, 1);
    assert!(!shard.finish(token, Some(&loaded(&a, 3, 7))).stored, "the shard knows of revision 8");
    let token = lead(&mut shard, &a, 1);
    assert!(!shard.finish(token, Some(&Loaded { timeline: Timeline(1), ..loaded(&a, 3, 8) })).stored);
    let token = lead(&mut shard, &a, 1);
    assert!(!shard.finish(token, Some(&loaded(&b, 8, 8))).stored, "another key's state");
    shard.note_revision(Version(12));
    let token = lead(&mut shard, &a, 1);
    assert!(!shard.finish(token, Some(&loaded(&a, 3, 11))).stored);
    let token = lead(&mut shard, &a, 1);
    assert!(shard.finish(token, Some(&loaded(&a, 3, 12))).stored);
}

#[test]
fn another_timeline_drops_entries_and_what_is_being_loaded() {
    let (a, b) = (key("a"), key("b"));
    let mut shard = holding(&a, 3);
    let token = lead(&mut shard, &b, 1);
    shard.set_timeline(Timeline(1));
    assert_eq!(version(&mut shard, &a), None);
    assert!(!shard.finish(token, Some(&Loaded { timeline: Timeline(1), ..loaded(&b, 3, 9) })).stored);
}

#[test]
fn a_commit_updates_drops_or_leaves_but_never_creates() {
    let (a, b) = (key("a"), key("b"));
    let mut shard = holding(&a, 3);
    shard.commit(BATCH, &committed(&a, 5));
    assert_eq!(version(&mut shard, &a), Some(5));
    shard.commit(BATCH, &committed(&a, 4));
    assert_eq!(version(&mut shard, &a), Some(5), "events may come in any order");
    shard.commit(BATCH, &CommittedKey { state: None, ..committed(&a, 5) });
    assert_eq!(version(&mut shard, &a), Some(5));
    shard.commit(BATCH, &CommittedKey { state: None, ..committed(&a, 6) });
    assert_eq!(version(&mut shard, &a), None);
    shard.commit(BATCH, &committed(&b, 7));
    assert_eq!(version(&mut shard, &b), None);
}

#[test]
fn a_commit_ends_the_mark_of_its_own_batch_only() {
    let a = key("a");
    let mut shard = holding(&a, 3);
    shard.mark(BATCH, &a);
    shard.mark(OTHER, &a);
    assert!(shard.commit(BATCH, &committed(&a, 4)).is_empty());
    assert_eq!(shard.lookup(&a, || NOW), Lookup::Marked);
    shard.entries.evict(&a);
    assert_eq!(shard.entries().peek(&a).unwrap().version, Version(4), "updated, and still pinned");
    shard.commit(OTHER, &committed(&a, 5));
    assert_eq!(version(&mut shard, &a), Some(5));
}

#[test]
fn the_feed_drops_an_older_entry_and_writes_nothing() {
    let a = key("a");
    let mut shard = holding(&a, 3);
    shard.note_version(&a, Version(3));
    assert_eq!(version(&mut shard, &a), Some(3));
    shard.note_version(&a, Version(4));
    assert_eq!(shard.lookup(&a, || NOW), Lookup::Miss);
}

#[test]
fn a_refresh_is_a_guarded_load_that_repairs_an_equal_version() {
    let a = key("a");
    let mut shard = holding(&a, 3);
    let token = shard.begin_refresh(&a).unwrap();
    assert!(shard.begin_refresh(&a).is_none(), "one load at a time");
    let edited = Arc::new(ConfigState { modified_at: crate::time::WallMillis(9), ..(*state(&a, 3)).clone() });
    assert!(shard.finish(token, Some(&Loaded { state: edited.clone(), ..loaded(&a, 3, 3) })).stored);
    assert_eq!(shard.lookup(&a, || NOW), Lookup::Hit(edited));
    let token = shard.begin_refresh(&a).unwrap();
    assert!(!shard.finish(token, Some(&loaded(&a, 2, 9))).stored, "an older version replaces nothing");
    shard.mark(BATCH, &a);
    assert!(shard.begin_refresh(&a).is_none());
    shard.grant(None);
    assert!(shard.begin_refresh(&a).is_none());
}

#[test]
fn a_later_line_of_history_ends_the_leave_of_an_earlier_one_and_no_other() {
    let a = key("a");
    let mut shard = holding(&a, 5);
    assert_eq!(shard.end_earlier(Timeline(0)), Vec::<u32>::new());
    assert_eq!(version(&mut shard, &a), Some(5));
    shard.mark(BATCH, &a);
    assert_eq!(shard.wait_unmarked(&a, 7), Ok(()));
    assert_eq!(shard.end_earlier(Timeline(1)), [7]);
    assert_eq!(shard.lookup(&a, || NOW), Lookup::Untrusted);
    shard.extend(grant(1, 20));
    assert_eq!(shard.lookup(&a, || NOW), Lookup::Untrusted, "the leave of the earlier line is extended");
    shard.grant(Some(grant(2, 20)));
    assert_eq!(shard.end_earlier(Timeline(1)), Vec::<u32>::new());
    assert_eq!(shard.lookup(&a, || NOW), Lookup::Miss);
}

#[test]
fn an_entry_is_behind_when_it_is_older_or_of_another_content() {
    let outline = |version, digest: Option<u8>| (Version(version), digest.map(|byte| Md5([byte; 16])));
    let entry = outline(5, Some(1));
    for (row, compared) in [
        (outline(5, Some(1)), Compared::Same),
        (outline(5, Some(2)), Compared::Behind),
        (outline(5, None), Compared::Behind),
        (outline(6, Some(1)), Compared::Behind),
        (outline(4, Some(1)), Compared::Ahead),
        (outline(4, Some(2)), Compared::Ahead),
    ] {
        assert_eq!(compare(entry, row), compared, "{row:?}");
    }
    assert_eq!(compare(outline(0, None), outline(0, None)), Compared::Same, "neither is there");
}
