//! The actors around the cache on paused time: a keeper that marks and commits, a reader that answers, and a database
//! that is a desk.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use callboard_protocol::cache::CommittedKey;
use callboard_protocol::commit::BatchId;
use callboard_protocol::config::{SharedState, Version};
use callboard_protocol::content::Md5;
use callboard_protocol::member::{Incarnation, LeaseEnd, ReadLease, Timeline};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::fill::LOAD_DEADLINE;
use super::reader::{CacheReader, Get, GetMany, GetStale};
use super::writer::{
    Abort, CacheWriter, Commit, EndEarlier, Extend, Follow, ListHeld, Mark, NoteVersions, Reload, SetReadLease, Stored,
};
use super::{Cache, CacheOptions, ReadFailure, reading};
use crate::clock::SharedClock;
use crate::metrics::{CacheMetrics, Metrics};
use crate::runtime::{Observe, Registry, Spec, start};
use crate::store::Filled;
use crate::store_reader::Fill;
use crate::testbed::{DEADLINE, Desk, Questions, advance, clock, key, query, rebuild, run, settle, state, text};

const MARK_WAIT: Duration = Duration::from_millis(50);
const TIMELINE: Timeline = Timeline(1);
const BATCH: BatchId = BatchId(Uuid::from_u128(7));

struct Testbed {
    keeper: Addr<CacheWriter>,
    reader: Addr<CacheReader>,
    loads: Questions<Fill>,
    metrics: CacheMetrics,
    clock: SharedClock,
}

impl Testbed {
    /// A cache that may not answer from memory.
    fn start() -> Self {
        let (registry, metrics, clock) = (Registry::new(), Metrics::default().cache, clock());
        let (store, loads) = Desk::open();
        let cache = Cache::new(CacheOptions { max_bytes: 1 << 20 }, clock.clone(), metrics.clone());
        let (kept, by) = (cache.clone(), store.clone());
        let keeper = start(&Spec::new(&registry, "cache"), move |_| CacheWriter::new(kept.clone(), by.clone()));
        let reader =
            start(&Spec::new(&registry, "reader"), move |_| CacheReader::new(cache.clone(), store.clone(), MARK_WAIT));
        Self { keeper, reader, loads, metrics, clock }
    }

    /// A cache that may answer from memory for ever and holds "a" at version 1.
    async fn with_an_entry() -> Self {
        let mut testbed = Self::start();
        testbed.grant(LeaseEnd::Never).await;
        testbed.load("a", filled(1, &[state("a", 1, "old")])).await;
        testbed
    }

    async fn grant(&self, ends: LeaseEnd) {
        query(&self.keeper, SetReadLease { grant: Some(leave(ends)), timeline: TIMELINE, revision: Version::ZERO })
            .await;
    }

    /// Reads a key that memory does not answer, from what the database has.
    async fn load(&mut self, data_id: &str, answer: Filled) -> SharedState {
        let reading = self.reader.send(get(data_id));
        self.loads.answer(|_| Ok(answer)).await;
        reading.await.unwrap().unwrap()
    }

    /// Reads a key that memory answers.
    async fn hit(&mut self, data_id: &str) -> SharedState {
        let read = query(&self.reader, get(data_id)).await.unwrap();
        self.loads.none().await;
        read
    }

    async fn mark(&self, data_id: &str) {
        let (marked, done) = oneshot::channel();
        self.keeper.do_send(Mark { batch: BATCH, keys: Arc::from([key(data_id)]), marked });
        done.await.unwrap();
    }

    async fn commit(&self, state: &SharedState) {
        let change = CommittedKey { key: state.key.clone(), version: state.version, state: Some(Arc::clone(state)) };
        query(&self.keeper, Commit { batch: BATCH, changes: Arc::from([change]) }).await;
    }

    async fn held(&self) -> Vec<(String, u64)> {
        let held = query(&self.keeper, ListHeld { shard: 0 }).await.unwrap();
        held.into_iter().map(|(key, version, _)| (key.data_id().to_owned(), version.0)).collect()
    }
}

fn leave(ends: LeaseEnd) -> ReadLease {
    ReadLease { incarnation: Incarnation(Uuid::from_u128(1)), ends }
}

fn get(data_id: &str) -> Get {
    Get { key: key(data_id) }
}

fn filled(revision: u64, states: &[SharedState]) -> Filled {
    Filled { revision: Version(revision), timeline: TIMELINE, states: states.to_vec() }
}

fn unavailable() -> ReadFailure {
    ReadFailure::Unavailable { reason: "a test".into() }
}

#[test]
fn without_a_leave_every_read_asks_the_database() {
    run(async || {
        let mut testbed = Testbed::start();
        for version in 1..=3 {
            let read = testbed.load("a", filled(version, &[state("a", version, "x")])).await;
            assert_eq!(read.version, Version(version));
        }
        assert_eq!((testbed.metrics.hits.get(), testbed.metrics.loads.get()), (0, 3));
    });
}

#[test]
fn with_a_leave_a_key_is_loaded_once_and_a_missing_one_too() {
    run(async || {
        let mut testbed = Testbed::with_an_entry().await;
        testbed.load("none", filled(1, &[state("none", 0, "")])).await;
        for _ in 0..3 {
            assert_eq!(text(&*testbed.hit("a").await), "old");
            assert!(testbed.hit("none").await.is_absent());
        }
        assert_eq!(testbed.metrics.loads.get(), 2);
    });
}

#[test]
fn all_who_wait_for_a_key_are_answered_by_one_load_even_when_the_first_went_away() {
    run(async || {
        let mut testbed = Testbed::start();
        testbed.grant(LeaseEnd::Never).await;
        let first = testbed.reader.send(get("a"));
        let (_, load) = testbed.loads.next().await;
        let others: Vec<_> = (0..3).map(|_| testbed.reader.send(get("a"))).collect();
        drop(first);
        testbed.loads.none().await;
        load.send(Ok(filled(1, &[state("a", 1, "x")]))).unwrap();
        for other in others {
            assert_eq!(text(&other.await.unwrap().unwrap()), "x");
        }
        testbed.loads.none().await;
    });
}

#[test]
fn a_load_that_fails_is_told_to_all_who_wait_and_the_next_read_tries_again() {
    run(async || {
        let mut testbed = Testbed::start();
        testbed.grant(LeaseEnd::Never).await;
        let readings = [testbed.reader.send(get("a")), testbed.reader.send(get("a"))];
        testbed.loads.answer(|_| Err(unavailable())).await;
        for reading in readings {
            assert_eq!(reading.await.unwrap(), Err(unavailable()));
        }
        assert_eq!(text(&*testbed.load("a", filled(1, &[state("a", 1, "x")])).await), "x");
    });
}

#[test]
fn a_load_without_an_answer_ends_in_time() {
    run(async || {
        let mut testbed = Testbed::start();
        let reading = testbed.reader.send(get("a"));
        let _unanswered = testbed.loads.next().await;
        advance(LOAD_DEADLINE).await;
        assert_eq!(reading.await.unwrap(), Err(ReadFailure::TimedOut));
    });
}

#[test]
fn many_keys_are_asked_for_by_one_statement_and_answered_in_order() {
    run(async || {
        let mut testbed = Testbed::with_an_entry().await;
        let reading = testbed.reader.send(GetMany { keys: ["c", "a", "b"].map(key).to_vec() });
        let answer = filled(3, &[state("c", 3, "3"), state("b", 2, "2")]);
        let question = testbed.loads.answer(|_| Ok(answer)).await;
        assert_eq!(question.keys, ["c", "b"].map(key), "what memory holds is not asked for");
        let states = reading.await.unwrap().unwrap();
        assert_eq!(states.iter().map(|state| text(state)).collect::<Vec<_>>(), ["3", "old", "2"]);
        testbed.loads.none().await;
    });
}

#[test]
fn a_marked_key_is_not_answered_from_memory_until_its_commit_came() {
    run(async || {
        let mut testbed = Testbed::with_an_entry().await;
        testbed.mark("a").await;
        let reading = testbed.reader.send(get("a"));
        testbed.loads.none().await;
        testbed.commit(&state("a", 2, "new")).await;
        assert_eq!(text(&reading.await.unwrap().unwrap()), "new");
        assert_eq!(testbed.hit("a").await.version, Version(2));
        assert_eq!(query(&testbed.keeper, Observe).await["held"]["marks"], 0);
    });
}

#[test]
fn a_mark_that_stays_sends_its_readers_to_the_database_and_what_they_find_is_not_kept() {
    run(async || {
        let mut testbed = Testbed::with_an_entry().await;
        testbed.mark("a").await;
        for version in 2..=3 {
            let reading = testbed.reader.send(get("a"));
            testbed.loads.none().await;
            advance(MARK_WAIT).await;
            testbed.loads.answer(|_| Ok(filled(version, &[state("a", version, "new")]))).await;
            assert_eq!(reading.await.unwrap().unwrap().version, Version(version));
        }
        assert_eq!(testbed.metrics.hits.get(), 0);
    });
}

#[test]
fn a_load_that_a_mark_overtook_answers_and_is_not_kept() {
    run(async || {
        let mut testbed = Testbed::start();
        testbed.grant(LeaseEnd::Never).await;
        let reading = testbed.reader.send(get("a"));
        let (_, load) = testbed.loads.next().await;
        testbed.mark("a").await;
        load.send(Ok(filled(1, &[state("a", 1, "old")]))).unwrap();
        assert_eq!(text(&reading.await.unwrap().unwrap()), "old");
        assert_eq!((testbed.held().await, testbed.metrics.poisoned.get()), (Vec::new(), 1));
    });
}

#[test]
fn a_batch_that_will_not_commit_gives_its_keys_back_to_memory() {
    run(async || {
        let mut testbed = Testbed::with_an_entry().await;
        testbed.mark("a").await;
        let reading = testbed.reader.send(get("a"));
        settle().await;
        query(&testbed.keeper, Abort { batch: BATCH, keys: Arc::from([key("a")]) }).await;
        assert_eq!(text(&reading.await.unwrap().unwrap()), "old");
        assert_eq!(text(&*testbed.hit("a").await), "old");
    });
}

#[test]
fn a_commit_takes_the_marks_of_its_own_batch_alone() {
    run(async || {
        let mut testbed = Testbed::with_an_entry().await;
        testbed.mark("a").await;
        let (marked, _done) = oneshot::channel();
        let another = BatchId(Uuid::from_u128(8));
        query(&testbed.keeper, Mark { batch: another, keys: Arc::from([key("a")]), marked }).await;
        testbed.commit(&state("a", 2, "new")).await;
        let reading = testbed.reader.send(get("a"));
        testbed.loads.none().await;
        query(&testbed.keeper, Abort { batch: another, keys: Arc::from([key("a")]) }).await;
        assert_eq!(text(&reading.await.unwrap().unwrap()), "new");
    });
}

#[test]
fn memory_answers_until_the_leave_ends_and_again_once_it_is_extended_in_time() {
    run(async || {
        let mut testbed = Testbed::start();
        let second = Duration::from_secs(1);
        testbed.grant(LeaseEnd::At(testbed.clock.mono().after(second * 2))).await;
        testbed.load("a", filled(1, &[state("a", 1, "x")])).await;
        advance(second).await;
        testbed.hit("a").await;
        query(&testbed.keeper, Extend { grant: leave(LeaseEnd::At(testbed.clock.mono().after(second * 2))) }).await;
        advance(second).await;
        testbed.hit("a").await;
        advance(second).await;
        testbed.load("a", filled(2, &[state("a", 2, "y")])).await;
        let another = ReadLease { incarnation: Incarnation(Uuid::from_u128(2)), ends: LeaseEnd::Never };
        query(&testbed.keeper, Extend { grant: another }).await;
        testbed.load("a", filled(3, &[state("a", 3, "z")])).await;
    });
}

#[test]
fn a_leave_of_another_life_or_none_empties_the_cache() {
    run(async || {
        let mut testbed = Testbed::with_an_entry().await;
        testbed.grant(LeaseEnd::Never).await;
        testbed.hit("a").await;
        let another = ReadLease { incarnation: Incarnation(Uuid::from_u128(2)), ends: LeaseEnd::Never };
        for grant in [Some(another), None] {
            query(&testbed.keeper, SetReadLease { grant, timeline: TIMELINE, revision: Version::ZERO }).await;
            assert_eq!(testbed.held().await, []);
            testbed.load("a", filled(1, &[state("a", 1, "x")])).await;
        }
    });
}

#[test]
fn memory_of_an_earlier_line_of_history_is_not_trusted() {
    run(async || {
        let mut testbed = Testbed::with_an_entry().await;
        query(&testbed.keeper, EndEarlier(TIMELINE)).await;
        testbed.hit("a").await;
        query(&testbed.keeper, EndEarlier(Timeline(2))).await;
        testbed.load("a", Filled { timeline: Timeline(2), ..filled(0, &[state("a", 0, "")]) }).await;
    });
}

#[test]
fn an_entry_goes_when_a_later_version_is_known_to_exist() {
    run(async || {
        let mut testbed = Testbed::with_an_entry().await;
        query(&testbed.keeper, NoteVersions { versions: vec![(key("a"), Version(1)), (key("b"), Version(9))] }).await;
        testbed.hit("a").await;
        query(&testbed.keeper, NoteVersions { versions: vec![(key("a"), Version(2))] }).await;
        assert_eq!(testbed.held().await, []);
        testbed.load("a", filled(2, &[state("a", 2, "new")])).await;
    });
}

#[test]
fn only_entries_that_are_behind_and_unmarked_are_loaded_anew() {
    run(async || {
        let mut testbed = Testbed::with_an_entry().await;
        let stored = |data_id: &str, version, text: &str| Stored {
            key: key(data_id),
            version: Version(version),
            md5: Some(Md5::of(text.as_bytes())),
        };
        let same = Reload { behind: vec![stored("a", 1, "old"), stored("unknown", 5, "x")] };
        assert_eq!(query(&testbed.keeper, same).await, 0);
        assert_eq!(query(&testbed.keeper, Reload { behind: vec![stored("a", 2, "new")] }).await, 1);
        testbed.loads.answer(|_| Ok(filled(2, &[state("a", 2, "new")]))).await;
        settle().await;
        assert_eq!(testbed.held().await, [("a".to_owned(), 2)]);
        testbed.mark("a").await;
        assert_eq!(query(&testbed.keeper, Reload { behind: vec![stored("a", 3, "later")] }).await, 0);
        testbed.loads.none().await;
    });
}

#[test]
fn who_follows_the_keeper_learns_that_it_was_rebuilt() {
    run(async || {
        let testbed = Testbed::with_an_entry().await;
        let held = query(&testbed.keeper, Follow).await;
        rebuild(&testbed.keeper).await;
        held.lost().await;
        assert_eq!(testbed.held().await, [("a".to_owned(), 1)], "the entries are not the keeper's own");
    });
}

#[test]
fn an_old_value_is_served_with_its_age_only_when_that_is_allowed_and_nothing_newer_can_be_had() {
    run(async || {
        let mut testbed = Testbed::start();
        let second = Duration::from_secs(1);
        testbed.grant(LeaseEnd::At(testbed.clock.mono().after(second))).await;
        testbed.load("a", filled(1, &[state("a", 1, "old")])).await;
        testbed.load("none", filled(1, &[state("none", 0, "")])).await;
        advance(second * 3).await;
        let stale = query(&testbed.reader, GetStale { key: key("a") }).await.unwrap();
        assert_eq!((text(&stale.state), stale.age), ("old", second * 2));
        for (data_id, is_allowed, failure, served) in [
            ("a", true, unavailable(), Some("old")),
            ("a", false, unavailable(), None),
            ("a", true, ReadFailure::Broken { what: "a test".into() }, None),
            ("none", true, unavailable(), None),
        ] {
            let reader = testbed.reader.clone();
            let reading =
                actix_rt::spawn(
                    async move { reading::read((&reader, &reader), key(data_id), DEADLINE, is_allowed).await },
                );
            testbed.loads.answer(|_| Err(failure)).await;
            let read = reading.await.unwrap().ok();
            assert_eq!(read.as_ref().map(|read| text(&read.state)), served, "{data_id} {is_allowed}");
            assert!(read.is_none_or(|read| read.age == Some(second * 2)));
        }
    });
}
