//! The schedule on paused time; both ends of the store are desks.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callboard_protocol::member::Timeline;

use super::*;
use crate::cache::ReadFailure;
use crate::runtime::{Observe, Registry, Spec, start};
use crate::store::{Cause, CommitError, Feed};
use crate::testbed::{Desk, Questions, advance, clock, query, run};

const KEEP: Duration = Duration::from_secs(3_600);

struct Testbed {
    retention: actix::Addr<Retention>,
    pruned: Questions<Prune>,
    looked: Questions<GetFeed>,
    clock: SharedClock,
}

impl Testbed {
    fn start() -> Self {
        let ((writer, pruned), (reader, looked)) = (Desk::open(), Desk::open());
        let clock = clock();
        let time = clock.clone();
        let retention = start(&Spec::new(&Registry::new(), "retention"), move |_| {
            Retention::new((writer.clone(), reader.clone()), time.clone(), KEEP, None)
        });
        Self { retention, pruned, looked, clock }
    }

    async fn seen(&mut self, revision: u64) {
        self.looked.answer(|_| Ok(end(revision))).await;
    }

    async fn deleted(&self) -> u64 {
        query(&self.retention, Observe).await["deleted"].as_u64().unwrap()
    }
}

fn end(revision: u64) -> Feed {
    Feed {
        floor: Version::ZERO,
        revision: Version(revision),
        timeline: Timeline(1),
        changes: Vec::new(),
        complete: true,
    }
}

#[test]
fn a_round_deletes_in_small_parts_until_nothing_is_left_and_the_next_one_waits() {
    run(async || {
        let mut testbed = Testbed::start();
        testbed.seen(9).await;
        for rows in [CHUNK, CHUNK, 7] {
            let part = testbed.pruned.answer(|_| Ok(rows)).await;
            assert_eq!(part.at_most, CHUNK);
            assert_eq!(part.before.0, testbed.clock.wall().0 - 3_600_000, "what is younger stays");
        }
        testbed.pruned.none().await;
        assert_eq!(testbed.deleted().await, 2 * CHUNK + 7);
        advance(INTERVAL - Duration::from_millis(1)).await;
        testbed.looked.none().await;
        advance(Duration::from_millis(1)).await;
        testbed.seen(9).await;
        testbed.pruned.answer(|_| Ok(0)).await;
        assert_eq!(testbed.deleted().await, 2 * CHUNK + 7);
    });
}

#[test]
fn request_ids_are_forgotten_only_when_this_process_has_seen_them_for_their_whole_time() {
    run(async || {
        let mut testbed = Testbed::start();
        testbed.seen(9).await;
        let first = testbed.pruned.answer(|_| Ok(0)).await;
        assert_eq!(first.requests_through, Version::ZERO, "whatever the clocks of others say");
        advance(REQUESTS_KEPT - INTERVAL).await;
        testbed.seen(20).await;
        let early = testbed.pruned.answer(|_| Ok(0)).await;
        assert_eq!(early.requests_through, Version::ZERO);
        advance(INTERVAL).await;
        testbed.seen(30).await;
        let late = testbed.pruned.answer(|_| Ok(0)).await;
        assert_eq!(late.requests_through, Version(9), "what was there a day ago, and nothing later");
    });
}

#[test]
fn a_part_that_fails_ends_the_round_and_not_the_schedule() {
    run(async || {
        let mut testbed = Testbed::start();
        testbed.seen(9).await;
        testbed.pruned.answer(|_| Ok(CHUNK)).await;
        let failure = CommitError::Aborted { cause: Cause::Slow, reason: "a test".into() };
        testbed.pruned.answer(|_| Err(failure.into())).await;
        testbed.pruned.none().await;
        advance(INTERVAL).await;
        testbed.looked.answer(|_| Err(ReadFailure::TimedOut)).await;
        testbed.pruned.answer(|_| Ok(3)).await;
        testbed.pruned.none().await;
        assert_eq!(testbed.deleted().await, CHUNK + 3, "history goes even when the revision can't be read");
    });
}
