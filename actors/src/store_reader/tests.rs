//! The questions of the actor on a database of its own.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use callboard_protocol::commit::{Decision, Standing, Writes};
use callboard_protocol::member::Timeline;
use callboard_protocol::time::WallMillis;
use callboard_protocol::write_request::WriteRequest;
use futures_util::FutureExt as _;

use super::*;
use crate::metrics::Metrics;
use crate::runtime::{Registry, Spec, start};
use crate::store::CommitRequest;
use crate::testbed::{Database, advance, key, put, query, run, text};

struct Testbed {
    database: Database,
    reader: Addr<StoreReader>,
    metrics: StoreMetrics,
}

impl Testbed {
    async fn start() -> Self {
        let (database, metrics) = (Database::create().await, Metrics::default().store);
        let (reads, counts) = (database.reader.clone(), metrics.clone());
        let reader = start(&Spec::new(&Registry::new(), "store_reader"), move |_| {
            StoreReader::new(reads.clone(), counts.clone())
        });
        Self { database, reader, metrics }
    }

    async fn commit(&self, unit: Arc<WriteRequest>) -> Writes {
        let request = CommitRequest {
            units: vec![unit],
            timeline: Timeline(1),
            standing: Standing::Direct,
            acks: Vec::new(),
            at: WallMillis(1),
        };
        let Decision::Write(writes) = self.database.writer.commit(request).await.unwrap() else {
            panic!("not written")
        };
        writes
    }

    fn read_failures(&self) -> u64 {
        self.metrics.failures.get_or_create(&FailureLabel { kind: "read" }).get()
    }
}

#[test]
fn keys_are_filled_in_the_order_asked_and_one_that_does_not_exist_has_a_state_too() {
    run(async || {
        let testbed = Testbed::start().await;
        testbed.commit(put("a", "1")).await;
        testbed.commit(put("b", "2")).await;
        let filled = query(&testbed.reader, Fill { keys: ["b", "none", "a"].map(key).to_vec() }).await.unwrap();
        assert_eq!(filled.revision, Version(2));
        let states: Vec<_> = filled.states.iter().map(|state| (state.version.0, text(state))).collect();
        assert_eq!(states, [(2, "2"), (0, ""), (1, "1")]);
        let versions = query(&testbed.reader, GetVersions { keys: ["none", "a"].map(key).to_vec() }).await.unwrap();
        assert_eq!(versions, [(key("none"), Version::ZERO, None), (key("a"), Version(1), Some(Md5::of(b"1")))]);
    });
}

#[test]
fn a_look_finds_what_was_done_and_nothing_else() {
    run(async || {
        let testbed = Testbed::start().await;
        let (done, never) = (put("a", "1"), put("a", "2"));
        testbed.commit(Arc::clone(&done)).await;
        let request_ids = vec![never.request_id.clone(), done.request_id.clone()];
        let landed = query(&testbed.reader, FindRequests { request_ids }).await.unwrap();
        let found: Vec<_> = landed.units.iter().map(|(request_id, _)| request_id.clone()).collect();
        assert_eq!(found, std::slice::from_ref(&done.request_id));
        assert_eq!(landed.states.iter().map(|state| text(state)).collect::<Vec<_>>(), ["1"]);
    });
}

#[test]
fn the_feed_is_read_in_revision_order_and_says_when_there_is_more() {
    run(async || {
        let testbed = Testbed::start().await;
        for content in ["1", "2", "3"] {
            testbed.commit(put("a", content)).await;
        }
        let feed = |after, limit| GetFeed { after: Version(after), selector: None, limit };
        let first = query(&testbed.reader, feed(0, 2)).await.unwrap();
        let versions = |feed: &Feed| feed.changes.iter().map(|change| change.state.version.0).collect::<Vec<_>>();
        assert_eq!((versions(&first), first.complete, first.revision), (vec![1, 2], false, Version(3)));
        let rest = query(&testbed.reader, feed(2, 2)).await.unwrap();
        assert_eq!((versions(&rest), rest.complete), (vec![3], true));
    });
}

#[test]
fn a_database_that_can_not_be_asked_is_told_as_such_and_counted() {
    run(async || {
        let testbed = Testbed::start().await;
        assert_eq!(query(&testbed.reader, Probe).await, Ok(()));
        assert_eq!((testbed.metrics.readable.get(), testbed.read_failures()), (1, 0));
        testbed.database.reader.close().await;
        for failures in 1..=2 {
            let failure = query(&testbed.reader, Fill { keys: vec![key("a")] }).await.unwrap_err();
            assert!(matches!(failure, ReadFailure::Unavailable { .. }), "{failure:?}");
            assert_eq!((testbed.metrics.readable.get(), testbed.read_failures()), (0, failures));
        }
    });
}

#[test]
fn a_search_beyond_those_that_may_wait_is_refused_and_a_fill_and_the_probe_are_not() {
    run(async || {
        let testbed = Testbed::start().await;
        let mut turns = Vec::new();
        while let Some(turn) = testbed.database.reader.turn(Line::New).now_or_never() {
            turns.push(turn);
        }
        let filter = ListFilter { namespace: "public".to_owned(), ..ListFilter::default() };
        let list = || ListConfigs { filter: filter.clone(), after: None, limit: 10 };
        let waiting = testbed.reader.send(list());
        advance(Duration::from_millis(1)).await;
        assert_eq!(query(&testbed.reader, Probe).await, Ok(()));
        assert_eq!(query(&testbed.reader, Fill { keys: vec![key("a")] }).await.unwrap().states.len(), 1);
        advance(Duration::from_secs(3)).await;
        assert_eq!(waiting.await.unwrap(), Err(ReadFailure::TooManySearches));
        assert_eq!((testbed.metrics.searches_refused.get(), testbed.read_failures()), (1, 0));
        drop(turns);
        assert_eq!(query(&testbed.reader, list()).await, Ok(Vec::new()));
        assert_eq!(testbed.metrics.searches_running.get(), 0);
    });
}
