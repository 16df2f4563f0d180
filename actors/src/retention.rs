//! The end of old history: deletes rows of the feed past their time, request ids past theirs, and records of what
//! happened past theirs.
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
use crate::store_writer::{Prune, PruneAudit};

const INTERVAL: Duration = Duration::from_secs(600);
const DEADLINE: Duration = Duration::from_secs(30);
/// Rows deleted in one transaction: publishes wait behind it.
const CHUNK: u64 = 500;
/// The same of records of what happened, which are small and lie in a row.
const AUDIT_CHUNK: u64 = 2_000;

/// Who removes old records of what happened, and how long they are kept.
#[derive(Debug, Clone)]
pub struct AuditRetention {
    /// Who removes them.
    pub writer: Recipient<PruneAudit>,
    /// For how long they are kept.
    pub keep: Duration,
}

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
    /// `None` where nothing is written down, or all of it is kept.
    audit: Option<AuditRetention>,
    seen: SeenRevisions,
    deleted: u64,
}

impl Retention {
    /// Keeps history for `keep`, and what happened as `audit` says.
    #[must_use]
    pub fn new(
        (writer, reader): (Recipient<Prune>, Recipient<GetFeed>),
        clock: SharedClock,
        keep: Duration,
        audit: Option<AuditRetention>,
    ) -> Self {
        Self { writer, reader, clock, keep, audit, seen: SeenRevisions::new(), deleted: 0 }
    }

    fn prune(&mut self, context: &mut Context<Self>) {
        let (mono, now) = (self.clock.mono(), self.clock.wall());
        let since =
            |keep: Duration| WallMillis(now.0.saturating_sub(i64::try_from(keep.as_millis()).unwrap_or(i64::MAX)));
        let requests_through = self.seen.older_than(mono, REQUESTS_KEPT);
        let round = Prune { before: since(self.keep), now, requests_through, at_most: CHUNK };
        let audit = self.audit.clone().map(|AuditRetention { writer, keep }| {
            (writer, PruneAudit { before: since(keep), now, at_most: AUDIT_CHUNK })
        });
        let writer = self.writer.clone();
        let pruning = wrap_future(async move {
            let deleted = prune(writer, round).await;
            if let Some((writer, round)) = audit {
                prune_audit(writer, round).await;
            }
            deleted
        });
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

/// The same for records of what happened, until none is old.
async fn prune_audit(writer: Recipient<PruneAudit>, round: PruneAudit) {
    loop {
        match ask(&writer, round, DEADLINE).await {
            Ok(Ok(0)) => return,
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "old records of what happened could not be deleted");
                return;
            }
            Err(error) => {
                tracing::debug!(%error, "old records of what happened could not be deleted");
                return;
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
