//! The feed against a database that pages, prunes and loses: nothing is missed unless everybody is told to look.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::config::ConfigState;

const TIMELINE: Timeline = Timeline(1);
const POLL: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_millis(20);

fn at(millis: u64) -> Mono {
    Mono(Duration::from_millis(millis))
}

fn states(versions: impl IntoIterator<Item = u64>) -> Vec<SharedState> {
    let state = |version: u64| {
        let key = ConfigKey::new("public", "g", &format!("k{}", version % 3)).unwrap();
        Arc::new(ConfigState::absent(key, Version(version)))
    };
    versions.into_iter().map(state).collect()
}

fn page(revision: u64, versions: &[u64]) -> Page {
    let states = states(versions.iter().copied());
    Page { floor: Version::ZERO, revision: Version(revision), timeline: TIMELINE, states, complete: true }
}

fn span(after: u64, through: u64) -> Event {
    Event::Committed(Span { after: Version(after), through: Version(through), states: states(after + 1..=through) })
}

fn step(feed: &mut ChangeFeed, now: Mono, event: Event) -> Vec<Effect> {
    let mut out = Vec::new();
    feed.step(now, event, &mut out);
    out
}

fn read(after: u64) -> Effect {
    Effect::Read { after: Some(Version(after)) }
}

/// What is told, leaving out what only the cache and the figures hear.
fn told(effects: &[Effect]) -> Vec<u64> {
    let versions = |effect: &Effect| match effect {
        Effect::Changed(states) => states.iter().map(|state| state.version.0).collect(),
        _ => Vec::new(),
    };
    effects.iter().flat_map(versions).collect()
}

/// A feed that has begun at this revision, with no read under way.
fn begun_at(revision: u64) -> ChangeFeed {
    let mut feed = ChangeFeed::new(Options::default(), at(0));
    assert_eq!(step(&mut feed, at(0), Event::Tick), [Effect::Read { after: None }]);
    assert_eq!(step(&mut feed, at(0), Event::PageRead(page(revision, &[]))), [Effect::Recheck]);
    feed
}

#[test]
fn a_feed_that_has_read_nothing_tells_nothing_and_reads_at_once() {
    let mut feed = ChangeFeed::new(Options::default(), at(7));
    assert_eq!(feed.next_wakeup(), at(7));
    assert_eq!(step(&mut feed, at(7), span(3, 4)), []);
    assert_eq!(feed.cursor(), None);
}

#[test]
fn a_gap_is_read_once_its_grace_is_over_and_not_when_it_has_closed() {
    let mut feed = begun_at(10);
    assert_eq!(told(&step(&mut feed, at(100), span(11, 12))), [] as [u64; 0]);
    assert_eq!(feed.next_wakeup(), at(100).after(GRACE));
    assert_eq!(step(&mut feed, at(119), Event::Tick), []);
    assert_eq!(step(&mut feed, at(120), Event::Tick), [read(10)]);
    assert_eq!(told(&step(&mut feed, at(121), span(10, 11))), [11, 12]);
    step(&mut feed, at(122), Event::PageRead(page(12, &[11, 12])));
    step(&mut feed, at(130), span(13, 14));
    step(&mut feed, at(131), span(12, 13));
    assert_eq!(feed.next_wakeup(), at(0).after(POLL), "the gap has closed");
}

#[test]
fn a_read_that_is_asked_for_during_another_one_follows_it() {
    let mut feed = begun_at(10);
    assert_eq!(step(&mut feed, at(1), Event::Poll), [read(10)]);
    assert_eq!(step(&mut feed, at(2), Event::Poll), []);
    assert_eq!(step(&mut feed, at(3), Event::PageRead(page(10, &[]))).last(), Some(&read(10)));
    assert!(!step(&mut feed, at(4), Event::PageRead(page(10, &[]))).contains(&read(10)));
}

#[test]
fn a_read_that_fails_is_made_again_by_the_next_poll() {
    let mut feed = begun_at(10);
    assert_eq!(step(&mut feed, at(1_000), Event::Tick), [read(10)]);
    assert_eq!(step(&mut feed, at(1_500), Event::ReadFailed), []);
    assert_eq!(feed.next_wakeup(), at(2_000));
    assert_eq!(step(&mut feed, at(2_000), Event::Tick), [read(10)]);
}

#[test]
fn pages_follow_each_other_until_one_is_complete() {
    let mut feed = begun_at(10);
    step(&mut feed, at(1), Event::Poll);
    let first = step(&mut feed, at(2), Event::PageRead(Page { complete: false, ..page(14, &[11, 12]) }));
    assert_eq!((told(&first), first.last()), (vec![11, 12], Some(&read(12))));
    let second = step(&mut feed, at(3), Event::PageRead(page(14, &[13, 14])));
    assert_eq!(told(&second), [13, 14]);
    assert!(!second.iter().any(|effect| matches!(effect, Effect::Read { .. })));
    assert!(second.contains(&Effect::Measured { lag: 2, fetched: 2 }));
}

#[test]
fn a_page_that_brings_nothing_on_is_not_read_for_ever() {
    let mut feed = begun_at(10);
    step(&mut feed, at(1), Event::Poll);
    let effects = step(&mut feed, at(2), Event::PageRead(Page { complete: false, ..page(14, &[]) }));
    assert!(!effects.contains(&read(10)));
    assert_eq!(feed.cursor(), Some(Version(10)));
}

#[test]
fn a_floor_above_the_cursor_makes_everybody_look() {
    for (floor, is_whole) in [(9, true), (10, true), (11, false)] {
        let mut feed = begun_at(10);
        step(&mut feed, at(1), Event::Poll);
        let effects = step(&mut feed, at(2), Event::PageRead(Page { floor: Version(floor), ..page(12, &[12]) }));
        assert_eq!(effects == [Effect::Recheck], !is_whole, "floor {floor}");
        assert_eq!(feed.cursor(), Some(Version(12)));
    }
}

#[test]
fn lost_commits_end_earlier_leases_and_are_said_before_anybody_looks() {
    let another = Page { timeline: Timeline(2), ..page(12, &[11, 12]) };
    for (timeline, revision, answer) in [(TIMELINE, 8, page(8, &[])), (Timeline(2), 12, another)] {
        let mut feed = begun_at(10);
        step(&mut feed, at(1), Event::Poll);
        step(&mut feed, at(2), span(12, 13));
        let lost = Effect::HistoryLost { timeline, revision: Version(revision), cursor: Version(10) };
        let effects = step(&mut feed, at(3), Event::PageRead(answer));
        assert_eq!(effects, [Effect::EndEarlier(timeline), lost, Effect::Recheck]);
        assert_eq!((feed.cursor(), feed.has_gap()), (Some(Version(revision)), false));
        let next = step(&mut feed, at(4), span(revision, revision + 1));
        assert_eq!(told(&next), [revision + 1], "the new timeline goes on from where it stands");
    }
}

/// What happens to the feed of [`invariant_every_change_is_told_once_in_order_or_everybody_looks`].
#[derive(Debug, Clone)]
enum Happening {
    /// So many revisions are committed; of each that is set, an event comes in.
    Commit(Vec<bool>),
    Poll,
    /// The read under way is answered from now, with so many changes at most; or fails.
    Answer(usize),
    Fail,
    /// The feed forgets all but so many revisions.
    Prune(u64),
    Wait(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        proptest::collection::vec(any::<bool>(), 1..6).prop_map(Happening::Commit),
        Just(Happening::Poll),
        (1_usize..4).prop_map(Happening::Answer),
        Just(Happening::Fail),
        (0_u64..4).prop_map(Happening::Prune),
        (1_u64..1_500).prop_map(Happening::Wait),
    ]
}

fn answer(after: Option<Version>, (floor, revision): (u64, u64), limit: usize) -> Page {
    let after = after.map_or(u64::MAX, |after| after.0);
    let first = after.saturating_add(1).max(floor + 1);
    let versions: Vec<u64> = (first..=revision).take(limit).collect();
    let complete = versions.last().is_none_or(|last| *last == revision);
    Page { floor: Version(floor), complete, ..page(revision, &versions) }
}

proptest! {
    #[test]
    fn invariant_every_change_is_told_once_in_order_or_everybody_looks(
        happenings in proptest::collection::vec(happening(), 1..80),
    ) {
        let (mut feed, mut now) = (begun_at(0), at(0));
        let (mut floor, mut revision, mut reached) = (0, 0, 0);
        let mut asked = None;
        let last = [Happening::Answer(4), Happening::Wait(1_500)].into_iter().cycle().take(200);
        for happening in happenings.into_iter().chain(last) {
            let mut events = Vec::new();
            match happening {
                Happening::Commit(heard) => {
                    for is_heard in heard {
                        events.extend(is_heard.then(|| span(revision, revision + 1)));
                        revision += 1;
                    }
                }
                Happening::Poll => events.push(Event::Poll),
                Happening::Answer(limit) => {
                    events.extend(asked.take().map(|after| Event::PageRead(answer(after, (floor, revision), limit))));
                }
                Happening::Fail => events.extend(asked.take().map(|_| Event::ReadFailed)),
                Happening::Prune(kept) => floor = floor.max(revision.saturating_sub(kept)),
                Happening::Wait(millis) => {
                    now = now.after(Duration::from_millis(millis));
                    if feed.next_wakeup() <= now {
                        events.push(Event::Tick);
                    }
                }
            }
            for effect in events.into_iter().flat_map(|event| step(&mut feed, now, event)).collect::<Vec<_>>() {
                match effect {
                    Effect::Read { after } => prop_assert!(asked.replace(after).is_none(), "two reads at once"),
                    Effect::Changed(states) => for state in states {
                        prop_assert_eq!(state.version.0, reached + 1);
                        reached = state.version.0;
                    },
                    Effect::Recheck => reached = feed.cursor().unwrap_or_default().0,
                    Effect::HistoryLost { .. } | Effect::EndEarlier(_) => prop_assert!(false, "nothing was lost"),
                    Effect::NoteVersions(_) | Effect::Measured { .. } => {}
                }
                prop_assert!(reached <= revision);
            }
        }
        prop_assert_eq!(reached, revision, "what was committed was told in the end");
    }
}
