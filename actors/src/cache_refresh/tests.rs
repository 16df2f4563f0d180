//! The comparison on paused time, over a real cache and a database that is a desk.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callboard_protocol::config::SharedState;
use callboard_protocol::member::{Incarnation, LeaseEnd, ReadLease, Timeline};
use uuid::Uuid;

use super::*;
use crate::cache::reader::{CacheReader, Get};
use crate::cache::writer::SetReadLease;
use crate::cache::{Cache, CacheOptions, ReadFailure};
use crate::metrics::Metrics;
use crate::runtime::{Observe, Registry, Spec, start};
use crate::store::Filled;
use crate::store_reader::Fill;
use crate::testbed::{Desk, Questions, Received, Witness, advance, clock, key, query, run, settle, state};

const INTERVAL: Duration = Duration::from_secs(60);
const TIMELINE: Timeline = Timeline(1);

struct Testbed {
    refresh: Addr<CacheRefresh>,
    reader: Addr<CacheReader>,
    compared: Questions<GetVersions>,
    loads: Questions<Fill>,
    repairs: Counter,
    lost: Received<RowLost>,
}

impl Testbed {
    /// A cache that holds "a" at version 3, and a comparison every minute.
    async fn start() -> Self {
        let (registry, metrics) = (Registry::new(), Metrics::default());
        let ((store, compared), (fill, loads)) = (Desk::open(), Desk::open());
        let cache = Cache::new(CacheOptions { max_bytes: 1 << 20 }, clock(), metrics.cache.clone());
        let (kept, by) = (cache.clone(), fill.clone());
        let keeper = start(&Spec::new(&registry, "cache"), move |_| CacheWriter::new(kept.clone(), by.clone()));
        let grant = ReadLease { incarnation: Incarnation(Uuid::from_u128(1)), ends: LeaseEnd::Never };
        query(&keeper, SetReadLease { grant: Some(grant), timeline: TIMELINE, revision: Version::ZERO }).await;
        let reader = start(&Spec::new(&registry, "reader"), move |_| {
            CacheReader::new(cache.clone(), fill.clone(), Duration::from_millis(5))
        });
        let (told, lost) = Witness::start();
        let (repairs, counts) = (metrics.cache.repairs.clone(), metrics.cache.repairs.clone());
        let refresh = start(&Spec::new(&registry, "cache_refresh"), move |_| {
            let deps = Deps { cache: keeper.clone(), store: store.clone(), membership: told.clone() };
            CacheRefresh::new(deps, INTERVAL, counts.clone())
        });
        let mut testbed = Self { refresh, reader, compared, loads, repairs, lost };
        let reading = testbed.reader.send(Get { key: key("a") });
        testbed.loads.answer(|_| Ok(filled(3, state("a", 3, "x")))).await;
        assert_eq!(reading.await.unwrap().unwrap().version, Version(3));
        testbed
    }

    async fn rounds(&self) -> u64 {
        query(&self.refresh, Observe).await["rounds"].as_u64().unwrap()
    }
}

fn filled(revision: u64, state: SharedState) -> Filled {
    Filled { revision: Version(revision), timeline: TIMELINE, states: vec![state] }
}

fn stored(version: u64, text: &str) -> (ConfigKey, Version, Option<Md5>) {
    (key("a"), Version(version), Some(Md5::of(text.as_bytes())))
}

#[test]
fn what_agrees_is_left_alone_round_after_round() {
    run(async || {
        let mut testbed = Testbed::start().await;
        testbed.compared.none().await;
        for round in 1..=3 {
            advance(INTERVAL).await;
            let question = testbed.compared.answer(|_| Ok(vec![stored(3, "x")])).await;
            assert_eq!(question.keys, [key("a")]);
            testbed.loads.none().await;
            assert_eq!(testbed.rounds().await, round);
        }
        assert_eq!(testbed.repairs.get(), 0);
    });
}

#[test]
fn an_entry_that_the_database_is_past_is_loaded_anew_and_counted() {
    for (version, text, why) in [(5, "y", "a later version"), (3, "z", "the same version with another content")] {
        run(async || {
            let mut testbed = Testbed::start().await;
            advance(INTERVAL).await;
            testbed.compared.answer(|_| Ok(vec![stored(version, text)])).await;
            let question = testbed.loads.answer(|_| Ok(filled(version, state("a", version, text)))).await;
            assert_eq!(question.keys, [key("a")], "{why}");
            settle().await;
            assert_eq!(testbed.repairs.get(), 1, "{why}");
            let read = query(&testbed.reader, Get { key: key("a") }).await.unwrap();
            assert_eq!(read, state("a", version, text), "{why}");
            testbed.loads.none().await;
        });
    }
}

#[test]
fn a_comparison_that_finds_an_older_row_or_none_tells_the_membership_and_loads_nothing() {
    run(async || {
        let mut testbed = Testbed::start().await;
        for answer in [vec![stored(2, "w")], Vec::new()] {
            advance(INTERVAL).await;
            testbed.compared.answer(|_| Ok(answer)).await;
            let RowLost { key: lost, version } = testbed.lost.next().await;
            assert_eq!((lost, version), (key("a"), Version(3)));
            testbed.loads.none().await;
        }
        assert_eq!(testbed.repairs.get(), 0);
    });
}

#[test]
fn a_comparison_that_fails_is_made_again_in_the_next_round() {
    run(async || {
        let mut testbed = Testbed::start().await;
        advance(INTERVAL).await;
        testbed.compared.answer(|_| Err(ReadFailure::TimedOut)).await;
        testbed.compared.none().await;
        advance(INTERVAL).await;
        testbed.compared.answer(|_| Ok(vec![stored(3, "x")])).await;
        testbed.loads.none().await;
        assert_eq!(testbed.rounds().await, 2);
    });
}
