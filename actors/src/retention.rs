//! The end of old history: deletes rows of the feed past their time, and request ids past theirs.
//!
//! Owns the schedule, and what this process has seen of the database since it began: a request id is forgotten no
//! sooner than its time is over by the node's own clock. The newest row of each key always stays; that rule is the
//! store's.

use std::time::Duration;

use actix::fut::wrap_future;
use actix::{Actor, ActorFutureExt, AsyncContext, Handler, Message, Recipient};
use callboard_protocol::config::Version;
use callboard_protocol::retention::SeenRevisions;
use callboard_protocol::time::WallMillis;
use serde_json::json;

use crate::clock::SharedClock;
use crate::monitored;
use crate::runtime::{Context, Observable, ask};
use crate::store::REQUESTS_KEPT;
use crate::store_reader::GetFeed;
use crate::store_writer::Prune;

const INTERVAL: Duration = Duration::from_secs(600);
const DEADLINE: Duration = Duration::from_secs(30);
/// Rows deleted in one transaction: publishes wait behind it.
const CHUNK: u64 = 500;

/// Time to delete.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct PruneTick;

/// Deletes what is past its time.
#[derive(Debug)]
pub struct Retention {
    writer: Recipient<Prune>,
    reader: Recipient<GetFeed>,
    clock: SharedClock,
    keep: Duration,
    seen: SeenRevisions,
    deleted: u64,
}

impl Retention {
    /// Keeps history for `keep`.
    #[must_use]
    pub fn new(writer: Recipient<Prune>, reader: Recipient<GetFeed>, clock: SharedClock, keep: Duration) -> Self {
        Self { writer, reader, clock, keep, seen: SeenRevisions::new(), deleted: 0 }
    }

    fn prune(&mut self, context: &mut Context<Self>) {
        let (mono, now) = (self.clock.mono(), self.clock.wall());
        let keep = i64::try_from(self.keep.as_millis()).unwrap_or(i64::MAX);
        let requests_through = self.seen.older_than(mono, REQUESTS_KEPT);
        let round = Prune { before: WallMillis(now.0.saturating_sub(keep)), now, requests_through, at_most: CHUNK };
        let pruning = wrap_future(prune(self.writer.clone(), round));
        context.spawn(pruning.map(|deleted, retention: &mut Self, context: &mut Context<Self>| {
            retention.deleted += deleted;
            context.notify_later(PruneTick, INTERVAL);
        }));
    }
}

/// Deletes in small transactions until nothing is left to delete. What fails is tried again in the next round.
async fn prune(writer: Recipient<Prune>, round: Prune) -> u64 {
    let mut deleted = 0;
    loop {
        match ask(&writer, round, DEADLINE).await {
            Ok(Ok(rows)) => {
                deleted += rows;
                if rows < CHUNK {
                    return deleted;
                }
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "old history could not be deleted");
                return deleted;
            }
            Err(error) => {
                tracing::debug!(%error, "old history could not be deleted");
                return deleted;
            }
        }
    }
}

impl Actor for Retention {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.notify(PruneTick);
    }
}

monitored!(Retention, "retention");

impl Observable for Retention {
    fn observe(&self) -> serde_json::Value {
        json!({ "deleted": self.deleted })
    }
}

impl Handler<PruneTick> for Retention {
    type Result = ();

    fn handle(&mut self, PruneTick: PruneTick, context: &mut Context<Self>) {
        let reader = self.reader.clone();
        // Only the end of the feed is wanted.
        let question = GetFeed { after: Version(i64::MAX as u64), selector: None, limit: 1 };
        let looking = async move { ask(&reader, question, DEADLINE).await };
        context.spawn(wrap_future(looking).map(|answer, retention: &mut Self, context| {
            match answer {
                Ok(Ok(feed)) => retention.seen.note(retention.clock.mono(), feed.timeline, feed.revision),
                // What was seen before still holds.
                Ok(Err(failure)) => tracing::debug!(error = %failure, "the revision could not be read"),
                Err(error) => tracing::debug!(%error, "the revision could not be read"),
            }
            retention.prune(context);
        }));
    }
}

#[cfg(test)]
mod tests;
