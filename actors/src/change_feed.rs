//! The change feed of a node: brings what was committed, here or elsewhere, into revision order and onto the event bus.
//!
//! Owns the cursor of what this node has told its subscribers. Hears of commits as they happen; what it did not hear
//! of, it reads from the database, at once when a gap shows and once a second in any case. Never writes the cache
//! except to say which versions exist, and that the database has lost some.

use std::time::Duration;

use actix::fut::wrap_future;
use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Handler, Message, MessageResult, Recipient};
use callboard_protocol::config::Version;
use callboard_protocol::feed::{Sequencer, Span};
use callboard_protocol::member::Timeline;
use serde_json::json;

use crate::cache::ReadFailure;
use crate::cache::writer::{CacheWriter, EndEarlier, NoteVersions};
use crate::event_bus::{ConfigEvent, EventBus, Publish};
use crate::metrics::PushMetrics;
use crate::monitored;
use crate::runtime::{Context, Observable, ask};
use crate::store::Feed;
use crate::store_reader::GetFeed;

const POLL: Duration = Duration::from_secs(1);
/// How long an earlier event may still be under way before the database is asked.
const GAP_GRACE: Duration = Duration::from_millis(20);
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

/// Time to look into the database.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct PollTick;

/// Asks up to which revision subscribers have been told; `None` before the database was first asked.
#[derive(Debug, Message)]
#[rtype(result = "Option<Version>")]
pub struct GetCursor;

/// The change feed.
#[derive(Debug)]
pub struct ChangeFeed {
    store: Recipient<GetFeed>,
    cache: Addr<CacheWriter>,
    bus: Addr<EventBus>,
    metrics: PushMetrics,
    /// `None` until the database has said where the feed stands.
    order: Option<Sequencer>,
    /// The timeline of that order.
    timeline: Timeline,
    reading: bool,
    /// A look was asked for while one was under way.
    again: bool,
}

impl ChangeFeed {
    /// A feed that reads through `store` and tells `cache` and `bus`.
    #[must_use]
    pub fn new(store: Recipient<GetFeed>, cache: Addr<CacheWriter>, bus: Addr<EventBus>, metrics: PushMetrics) -> Self {
        let timeline = Timeline::default();
        Self { store, cache, bus, metrics, order: None, timeline, reading: false, again: false }
    }

    fn publish(&self, event: ConfigEvent) {
        // Loss is repaired: a bus that is rebuilt drops its subscribers, who then look for themselves.
        self.bus.do_send(Publish(event));
    }

    fn receive(&mut self, span: Span, context: &mut Context<Self>) {
        let Some(order) = &mut self.order else { return };
        let ready = order.receive(span);
        if order.has_gap() {
            context.notify_later(PollTick, GAP_GRACE);
        }
        if !ready.is_empty() {
            self.publish(ConfigEvent::Changed(ready.into()));
        }
    }

    fn look(&mut self, context: &mut Context<Self>) {
        if self.reading {
            self.again = true;
            return;
        }
        self.reading = true;
        let store = self.store.clone();
        let after = self.order.as_ref().map(Sequencer::cursor);
        // Before the first look only the end of the feed is wanted.
        let question = GetFeed { after: after.unwrap_or(Version(i64::MAX as u64)), selector: None, limit: PAGE };
        context.spawn(wrap_future(async move { ask(&store, question, READ_DEADLINE).await }).map(
            move |answer, feed: &mut Self, context: &mut Context<Self>| {
                feed.reading = false;
                match answer {
                    Ok(Ok(page)) => feed.read(after, page, context),
                    Ok(Err(failure)) => feed.failed(&failure),
                    Err(error) => tracing::debug!(%error, "the change feed could not be read"),
                }
            },
        ));
    }

    fn failed(&self, failure: &ReadFailure) {
        // The next poll tries again.
        tracing::debug!(error = %failure, "the change feed could not be read");
    }

    fn read(&mut self, after: Option<Version>, page: Feed, context: &mut Context<Self>) {
        let has_lost = after.is_some_and(|after| page.timeline != self.timeline || page.revision < after);
        if has_lost {
            tracing::warn!(
                store.timeline = page.timeline.0,
                store.revision = page.revision.0,
                cursor = after.map(|after| after.0),
                "the database has lost commits: every subscriber looks again"
            );
            // Before anybody looks. Loss is repaired: the membership notices by itself.
            self.cache.do_send(EndEarlier(page.timeline));
        }
        let is_whole = |after: &Version| !has_lost && (*after >= page.floor || page.floor == Version::ZERO);
        let Some(after) = after.filter(is_whole) else {
            // The first look, or what lay between is no longer in the feed, or was never what was told: everybody has
            // to look for himself.
            (self.order, self.timeline) = (Some(Sequencer::new(page.revision)), page.timeline);
            self.publish(ConfigEvent::Recheck);
            return;
        };
        let more = !page.complete || std::mem::take(&mut self.again);
        let cursor = self.order.as_ref().map_or(after, Sequencer::cursor);
        self.metrics.feed_lag.set(i64::try_from(page.revision.0.saturating_sub(cursor.0)).unwrap_or(i64::MAX));
        let span = page.span_after(after);
        self.metrics.fetched.inc_by(span.states.iter().filter(|state| state.version > cursor).count() as u64);
        let versions = span.states.iter().map(|state| (state.key.clone(), state.version)).collect();
        // Loss is repaired by the cache's refresh; the marks keep reads right meanwhile.
        self.cache.do_send(NoteVersions { versions });
        self.receive(span, context);
        if more {
            self.look(context);
        }
    }
}

impl Actor for ChangeFeed {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.notify(PollTick);
        context.run_interval(POLL, |feed, context| feed.look(context));
    }
}

monitored!(ChangeFeed, "change_feed");

impl Observable for ChangeFeed {
    fn observe(&self) -> serde_json::Value {
        json!({
            "cursor": self.order.as_ref().map(|order| order.cursor().0),
            "gap": self.order.as_ref().is_some_and(Sequencer::has_gap),
        })
    }
}

impl Handler<CommittedSpan> for ChangeFeed {
    type Result = ();

    fn handle(&mut self, CommittedSpan(span): CommittedSpan, context: &mut Context<Self>) {
        self.receive(span, context);
    }
}

impl Handler<Poll> for ChangeFeed {
    type Result = ();

    fn handle(&mut self, Poll: Poll, context: &mut Context<Self>) {
        self.look(context);
    }
}

impl Handler<GetCursor> for ChangeFeed {
    type Result = MessageResult<GetCursor>;

    fn handle(&mut self, GetCursor: GetCursor, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.order.as_ref().map(Sequencer::cursor))
    }
}

impl Handler<PollTick> for ChangeFeed {
    type Result = ();

    fn handle(&mut self, PollTick: PollTick, context: &mut Context<Self>) {
        if self.order.as_ref().is_none_or(Sequencer::has_gap) {
            self.look(context);
        }
    }
}

#[cfg(test)]
mod tests;
