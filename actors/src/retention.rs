//! The end of old history: deletes rows of the feed past their time, and request ids past theirs.
//!
//! Owns the schedule. The newest row of each key always stays; that rule is the store's.

use std::time::Duration;

use actix::fut::wrap_future;
use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Handler, Message};
use callboard_protocol::time::WallMillis;
use serde_json::json;

use crate::clock::SharedClock;
use crate::monitored;
use crate::runtime::{Context, Observable, ask};
use crate::store_writer::{Prune, StoreWriter};

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
    writer: Addr<StoreWriter>,
    clock: SharedClock,
    keep: Duration,
    deleted: u64,
}

impl Retention {
    /// Keeps history for `keep`.
    #[must_use]
    pub fn new(writer: Addr<StoreWriter>, clock: SharedClock, keep: Duration) -> Self {
        Self { writer, clock, keep, deleted: 0 }
    }
}

/// Deletes in small transactions until nothing is left to delete. What fails is tried again in the next round.
async fn prune(writer: Addr<StoreWriter>, now: WallMillis, keep: Duration) -> u64 {
    let keep = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
    let before = WallMillis(now.0.saturating_sub(keep));
    let mut deleted = 0;
    loop {
        match ask(&writer, Prune { before, now, at_most: CHUNK }, DEADLINE).await {
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
        let pruning = wrap_future(prune(self.writer.clone(), self.clock.wall(), self.keep));
        context.spawn(pruning.map(|deleted, retention: &mut Self, context: &mut Context<Self>| {
            retention.deleted += deleted;
            context.notify_later(PruneTick, INTERVAL);
        }));
    }
}
