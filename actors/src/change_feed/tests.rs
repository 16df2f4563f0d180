//! The feed on paused time: the database is a desk, the bus is real, a witness listens to it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callboard_protocol::commit::Operation;
use callboard_protocol::config::SharedState;
use callboard_protocol::member::Timeline;
use callboard_protocol::time::WallMillis;
use callboard_protocol::write_request::{Origin, RequestId, Source};

use super::*;
use crate::cache::{Cache, CacheOptions, ReadFailure};
use crate::event_bus::Subscribe;
use crate::metrics::Metrics;
use crate::runtime::{Registry, Spec, start};
use crate::store::Change;
use crate::store_reader::Fill;
use crate::subscription::Subscription;
use crate::testbed::{Desk, Questions, Received, Witness, advance, clock, query, run, settle, state};

const TIMELINE: Timeline = Timeline(1);
const POLL: Duration = Duration::from_secs(1);
const GAP_GRACE: Duration = Duration::from_millis(20);

struct Testbed {
    feed: Addr<ChangeFeed>,
    asked: Questions<GetFeed>,
    told: Received<ConfigEvent>,
    /// How often the membership was told to look.
    refreshed: Received<RefreshMembership>,
    _subscription: Subscription,
}

impl Testbed {
    /// A feed that waits for its first answer.
    async fn start() -> Self {
        let (registry, metrics) = (Registry::new(), Metrics::default());
        let (store, asked) = Desk::open();
        let (loads, _) = Desk::<Fill>::open();
        let cache = Cache::new(CacheOptions { max_bytes: 1 << 20 }, clock(), metrics.cache.clone());
        let keeper = start(&Spec::new(&registry, "cache"), move |_| CacheWriter::new(cache.clone(), loads.clone()));
        let counts = metrics.push.clone();
        let bus = start(&Spec::new(&registry, "event_bus"), move |_| EventBus::new(counts.clone()));
        let (listener, told) = Witness::start();
        let subscription = query(&bus, Subscribe(listener)).await;
        let (membership, refreshed) = Witness::start();
        let (deps, clock) = (Deps { store, cache: keeper, bus, membership }, clock());
        let feed = start(&Spec::new(&registry, "change_feed"), move |_| {
            ChangeFeed::new(deps.clone(), clock.clone(), metrics.push.clone())
        });
        Self { feed, asked, told, refreshed, _subscription: subscription }
    }

    /// A feed that has begun at this revision.
    async fn begun_at(revision: u64) -> Self {
        let mut testbed = Self::start().await;
        testbed.asked.answer(|_| Ok(page(revision, &[]))).await;
        assert!(matches!(testbed.told.next().await, ConfigEvent::Recheck));
        testbed
    }

    fn receive(&self, after: u64, states: &[u64]) {
        let states: Vec<_> = states.iter().map(|version| made(*version)).collect();
        let through = states.last().map_or(Version(after), |state| state.version);
        self.feed.do_send(CommittedSpan(Span { after: Version(after), through, states }));
    }

    /// The versions that were told, or what else was.
    async fn next_told(&self) -> Result<Vec<u64>, ConfigEvent> {
        match self.told.next().await {
            ConfigEvent::Changed(states) => Ok(states.iter().map(|state| state.version.0).collect()),
            recheck @ ConfigEvent::Recheck => Err(recheck),
        }
    }

    async fn cursor(&self) -> Option<u64> {
        query(&self.feed, GetCursor).await.map(|cursor| cursor.0)
    }
}

fn made(version: u64) -> SharedState {
    state("a", version, &version.to_string())
}

/// A page of the feed that ends at `revision` and holds these changes.
fn page(revision: u64, versions: &[u64]) -> Feed {
    let origin = Origin { channel: Source::System, operator: None, source_address: None, client_id: None, note: None };
    let change = |version: &u64| Change {
        operation: Operation::Update,
        state: made(*version),
        origin: origin.clone(),
        request_id: RequestId::new("r").unwrap(),
        at: WallMillis::default(),
    };
    Feed {
        floor: Version::ZERO,
        revision: Version(revision),
        timeline: TIMELINE,
        changes: versions.iter().map(change).collect(),
        complete: true,
    }
}

#[test]
fn before_the_database_has_said_where_it_stands_nothing_is_told_and_then_everybody_looks() {
    run(async || {
        let mut testbed = Testbed::start().await;
        testbed.receive(10, &[11]);
        settle().await;
        assert_eq!(testbed.cursor().await, None);
        assert!(testbed.told.take().is_empty());
        let question = testbed.asked.answer(|_| Ok(page(11, &[]))).await;
        assert!(question.after > Version(1 << 40), "only the end of the feed is wanted");
        assert!(testbed.next_told().await.is_err());
        assert_eq!(testbed.cursor().await, Some(11));
    });
}

#[test]
fn commits_that_are_heard_out_of_turn_are_told_in_turn() {
    run(async || {
        let mut testbed = Testbed::begun_at(10).await;
        testbed.receive(11, &[12]);
        settle().await;
        assert!(testbed.told.take().is_empty(), "an earlier one is missing");
        testbed.receive(10, &[11]);
        assert_eq!(testbed.next_told().await.unwrap(), [11, 12]);
        testbed.receive(10, &[11]);
        advance(GAP_GRACE).await;
        testbed.asked.none().await;
        assert!(testbed.told.take().is_empty(), "told twice");
    });
}

#[test]
fn a_gap_is_filled_from_the_database_once_its_grace_is_over() {
    run(async || {
        let mut testbed = Testbed::begun_at(10).await;
        testbed.receive(12, &[13]);
        advance(GAP_GRACE - Duration::from_millis(1)).await;
        testbed.asked.none().await;
        advance(Duration::from_millis(1)).await;
        let question = testbed.asked.answer(|_| Ok(page(13, &[11, 12, 13]))).await;
        assert_eq!(question.after, Version(10));
        assert_eq!(testbed.next_told().await.unwrap(), [11, 12, 13]);
        assert_eq!(testbed.cursor().await, Some(13));
    });
}

#[test]
fn a_commit_that_nobody_heard_of_is_found_within_a_second() {
    run(async || {
        let mut testbed = Testbed::begun_at(10).await;
        testbed.asked.none().await;
        advance(POLL).await;
        assert_eq!(testbed.asked.answer(|_| Ok(page(11, &[11]))).await.after, Version(10));
        assert_eq!(testbed.next_told().await.unwrap(), [11]);
    });
}

#[test]
fn a_long_way_behind_is_read_page_by_page_without_a_pause() {
    run(async || {
        let mut testbed = Testbed::begun_at(10).await;
        testbed.feed.do_send(Poll);
        testbed.asked.answer(|_| Ok(Feed { complete: false, ..page(14, &[11, 12]) })).await;
        assert_eq!(testbed.next_told().await.unwrap(), [11, 12]);
        assert_eq!(testbed.asked.answer(|_| Ok(page(14, &[13, 14]))).await.after, Version(12));
        assert_eq!(testbed.next_told().await.unwrap(), [13, 14]);
        testbed.asked.none().await;
    });
}

#[test]
fn a_look_that_is_asked_for_during_another_one_is_made_after_it() {
    run(async || {
        let mut testbed = Testbed::begun_at(10).await;
        testbed.feed.do_send(Poll);
        let (_, first) = testbed.asked.next().await;
        testbed.feed.do_send(Poll);
        testbed.feed.do_send(Poll);
        testbed.asked.none().await;
        first.send(Ok(page(10, &[]))).unwrap();
        testbed.asked.answer(|_| Ok(page(11, &[11]))).await;
        assert_eq!(testbed.next_told().await.unwrap(), [11]);
        testbed.asked.none().await;
    });
}

#[test]
fn a_read_that_fails_tells_nobody_and_is_tried_again() {
    run(async || {
        let mut testbed = Testbed::begun_at(10).await;
        testbed.receive(11, &[12]);
        advance(GAP_GRACE).await;
        testbed.asked.answer(|_| Err(ReadFailure::TimedOut)).await;
        settle().await;
        assert!(testbed.told.take().is_empty());
        advance(POLL).await;
        testbed.asked.answer(|_| Ok(page(12, &[11, 12]))).await;
        assert_eq!(testbed.next_told().await.unwrap(), [11, 12]);
    });
}

#[test]
fn when_the_database_has_lost_commits_everybody_looks_and_the_count_goes_back() {
    type Answer = fn() -> Feed;
    let lost: [(&str, bool, Answer); 3] = [
        ("a revision below the cursor", true, || page(8, &[])),
        ("another timeline", true, || Feed { timeline: Timeline(2), ..page(12, &[11, 12]) }),
        ("a feed that begins later", false, || Feed { floor: Version(11), ..page(12, &[12]) }),
    ];
    for (what, is_lost, answer) in lost {
        run(async || {
            let mut testbed = Testbed::begun_at(10).await;
            testbed.feed.do_send(Poll);
            let revision = answer().revision.0;
            testbed.asked.answer(|_| Ok(answer())).await;
            assert!(testbed.next_told().await.is_err(), "{what}");
            assert_eq!(testbed.cursor().await, Some(revision), "{what}");
            assert_eq!(testbed.refreshed.take().len(), usize::from(is_lost), "{what}: is the membership told");
            testbed.receive(revision, &[revision + 1]);
            assert_eq!(testbed.next_told().await.unwrap(), [revision + 1], "{what}");
        });
    }
}
