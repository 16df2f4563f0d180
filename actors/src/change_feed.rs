//! The change feed of a node: brings what was committed, here or elsewhere, into revision order and onto the event bus.
//!
//! Owns the feed's machine (`callboard_protocol::feed`) with the cursor of what this node has told its subscribers.
//! Reads the pages that the machine wants, and tells the bus, the cache and the membership what it says. Decides
//! nothing, and never writes the cache except to say which versions exist, and that the database has lost some.

use std::time::Duration;

use actix::fut::wrap_future;
use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Handler, Message, MessageResult, Recipient};
use callboard_protocol::config::Version;
use callboard_protocol::feed::{self, Effect, Event, Options, Page, Span};
use callboard_protocol::time::Mono;
use serde_json::json;

use crate::cache::writer::{CacheWriter, EndEarlier, NoteVersions};
use crate::clock::SharedClock;
use crate::event_bus::{ConfigEvent, EventBus, Publish};
use crate::lease_keeper::RefreshMembership;
use crate::metrics::PushMetrics;
use crate::monitored;
use crate::runtime::{Alarm, Context, Observable, ask};
use crate::store::Feed;
use crate::store_reader::GetFeed;

const READ_DEADLINE: Duration = Duration::from_secs(5);
const PAGE: u32 = 64;

/// A commit event brought these changes.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct CommittedSpan(pub Span);

/// Something was committed that no event described: look now.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Poll;

/// Asks up to which revision subscribers have been told; `None` before the database was first asked.
#[derive(Debug, Message)]
#[rtype(result = "Option<Version>")]
pub struct GetCursor;

/// The actors around the feed.
#[derive(Debug, Clone)]
pub struct Deps {
    /// Reads pages.
    pub store: Recipient<GetFeed>,
    /// Is told which versions exist.
    pub cache: Addr<CacheWriter>,
    /// Is told what changed.
    pub bus: Addr<EventBus>,
    /// Is told that the database has lost commits.
    pub membership: Recipient<RefreshMembership>,
}

/// The change feed.
pub struct ChangeFeed {
    feed: feed::ChangeFeed,
    deps: Deps,
    clock: SharedClock,
    metrics: PushMetrics,
    alarm: Alarm<Mono>,
}

impl ChangeFeed {
    /// A feed between `deps`, which begins at what the database says first.
    #[must_use]
    pub fn new(deps: Deps, clock: SharedClock, metrics: PushMetrics) -> Self {
        let feed = feed::ChangeFeed::new(Options::default(), clock.mono());
        Self { feed, deps, clock, metrics, alarm: Alarm::default() }
    }

    /// Gives the machine an event and does what it says.
    fn step(&mut self, event: Event, context: &mut Context<Self>) {
        let now = self.clock.mono();
        let mut effects = Vec::new();
        self.feed.step(now, event, &mut effects);
        for effect in effects {
            self.perform(effect, context);
        }
        let next = self.feed.next_wakeup();
        self.alarm.set(Some(next), |at| at.since(now), context, |feed, context| feed.step(Event::Tick, context));
    }

    fn perform(&mut self, effect: Effect, context: &mut Context<Self>) {
        match effect {
            Effect::Read { after } => self.read(after, context),
            // Loss is repaired: the membership notices by itself.
            Effect::EndEarlier(timeline) => self.deps.cache.do_send(EndEarlier(timeline)),
            Effect::HistoryLost { timeline, revision, cursor } => {
                tracing::warn!(
                    store.timeline = timeline.0,
                    store.revision = revision.0,
                    cursor = cursor.0,
                    "the database has lost commits: every subscriber looks again"
                );
                // Loss is repaired: the next renewal finds the same.
                self.deps.membership.do_send(RefreshMembership);
            }
            // Loss is repaired by the cache's refresh; the marks keep reads right meanwhile.
            Effect::NoteVersions(versions) => self.deps.cache.do_send(NoteVersions { versions }),
            Effect::Changed(states) => self.publish(ConfigEvent::Changed(states.into())),
            Effect::Recheck => self.publish(ConfigEvent::Recheck),
            Effect::Measured { lag, fetched } => {
                self.metrics.feed_lag.set(i64::try_from(lag).unwrap_or(i64::MAX));
                self.metrics.fetched.inc_by(fetched);
            }
        }
    }

    fn publish(&self, event: ConfigEvent) {
        // Loss is repaired: a bus that is rebuilt drops its subscribers, who then look for themselves.
        self.deps.bus.do_send(Publish(event));
    }

    fn read(&self, after: Option<Version>, context: &mut Context<Self>) {
        let store = self.deps.store.clone();
        // Nothing comes after the highest revision there can be: only where the feed ends is answered.
        let question = GetFeed { after: after.unwrap_or(Version(i64::MAX as u64)), selector: None, limit: PAGE };
        context.spawn(wrap_future(async move { ask(&store, question, READ_DEADLINE).await }).map(
            |answer, feed: &mut Self, context: &mut Context<Self>| {
                let event = match answer {
                    Ok(Ok(read)) => Event::PageRead(page(read)),
                    Ok(Err(error)) => {
                        tracing::debug!(%error, "the change feed could not be read");
                        Event::ReadFailed
                    }
                    Err(error) => {
                        tracing::debug!(%error, "the change feed could not be read");
                        Event::ReadFailed
                    }
                };
                feed.step(event, context);
            },
        ));
    }
}

fn page(read: Feed) -> Page {
    let Feed { floor, revision, timeline, changes, complete } = read;
    let states = changes.into_iter().map(|change| change.state).collect();
    Page { floor, revision, timeline, states, complete }
}

impl Actor for ChangeFeed {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.step(Event::Tick, context);
    }
}

monitored!(ChangeFeed, "change_feed");

impl Observable for ChangeFeed {
    fn observe(&self) -> serde_json::Value {
        json!({
            "cursor": self.feed.cursor().map(|cursor| cursor.0),
            "gap": self.feed.has_gap(),
        })
    }
}

impl Handler<CommittedSpan> for ChangeFeed {
    type Result = ();

    fn handle(&mut self, CommittedSpan(span): CommittedSpan, context: &mut Context<Self>) {
        self.step(Event::Committed(span), context);
    }
}

impl Handler<Poll> for ChangeFeed {
    type Result = ();

    fn handle(&mut self, Poll: Poll, context: &mut Context<Self>) {
        self.step(Event::Poll, context);
    }
}

impl Handler<GetCursor> for ChangeFeed {
    type Result = MessageResult<GetCursor>;

    fn handle(&mut self, GetCursor: GetCursor, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.feed.cursor())
    }
}

#[cfg(test)]
mod tests;
