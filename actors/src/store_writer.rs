//! The writing side of the store as an actor: every transaction of a node passes here.
//!
//! Owns the writer connection. A commit runs to its end whether or not anybody still waits for it; what it writes is
//! decided by `callboard_protocol::commit`, not here. It knows whether commits go through (`health`), says so in the
//! log when that changes, and has the log of SQLite copied in time.

mod health;

use std::sync::Arc;
use std::time::Instant;

use actix::fut::wrap_future;
use actix::{Actor, ActorFutureExt as _, AsyncContext as _, Handler, Message, ResponseActFuture};
use callboard_protocol::access::audit::{Event, Who};
use callboard_protocol::access::change::Change;
use callboard_protocol::commit::{Decision, Standing};
use callboard_protocol::commit_health::End;
use callboard_protocol::config::Version;
use callboard_protocol::log_growth::LogGrowth;
use callboard_protocol::member::{Ack, AckNo, Incarnation, NodeId, Timeline};
use callboard_protocol::time::WallMillis;
use callboard_protocol::write_request::{RequestId, WriteRequest};
use serde_json::json;

use health::Health;
pub use health::ProveWritable;

use crate::clock::SharedClock;
use crate::metrics::{FailureLabel, StoreMetrics};
use crate::monitored;
use crate::runtime::{Context, Observable};
use crate::store::{CommitError, CommitRequest, Landed, Namespace, WriteError, Writer};

/// Commits a batch in one durable transaction.
#[derive(Debug, Message)]
#[rtype(result = "Result<Decision, CommitError>")]
pub struct WriteBatch {
    /// The units, in order.
    pub units: Vec<Arc<WriteRequest>>,
    /// The timeline the publisher is on.
    pub timeline: Timeline,
    /// Whether the publisher is a member.
    pub standing: Standing,
    /// Who has marked the batch.
    pub acks: Vec<Ack>,
    /// The publisher's wall clock.
    pub at: WallMillis,
}

/// Takes back every ack of the node up to a number, and looks which requests have been done. `None`: the row is gone.
#[derive(Debug, Message)]
#[rtype(result = "Result<Option<Landed>, WriteError>")]
pub struct RaiseFloor {
    /// Whose row.
    pub node: NodeId,
    /// The life that owns it.
    pub incarnation: Incarnation,
    /// Acks up to this number count no more.
    pub above: AckNo,
    /// Which requests to look for.
    pub request_ids: Vec<RequestId>,
}

/// Looks which requests have been done, after every transaction that is under way.
#[derive(Debug, Message)]
#[rtype(result = "Result<Landed, WriteError>")]
pub struct FindRequestsLocked {
    /// Which requests.
    pub request_ids: Vec<RequestId>,
}

/// Creates a namespace.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), WriteError>")]
pub struct CreateNamespace {
    /// The namespace.
    pub namespace: Namespace,
    /// The wall clock.
    pub at: WallMillis,
    /// Who asks for it.
    pub by: Who,
}

/// Changes what people see of a namespace.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), WriteError>")]
pub struct EditNamespace {
    /// The namespace.
    pub namespace: Namespace,
    /// The wall clock.
    pub at: WallMillis,
    /// Who asks for it.
    pub by: Who,
}

/// Deletes a namespace that holds no configuration.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), WriteError>")]
pub struct DeleteNamespace {
    /// Its id.
    pub id: String,
    /// The wall clock.
    pub at: WallMillis,
    /// Who asks for it.
    pub by: Who,
}

/// Changes users, roles, tokens or keys; answers how many changes there were then.
#[derive(Debug, Message)]
#[rtype(result = "Result<u64, WriteError>")]
pub struct WriteAccess {
    /// The change.
    pub change: Change,
    /// The wall clock.
    pub at: WallMillis,
    /// Who asks for it.
    pub by: Who,
}

/// Deletes old history and request ids; answers how many rows of history went.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<u64, WriteError>")]
pub struct Prune {
    /// Rows older than this go, except the newest of each key.
    pub before: WallMillis,
    /// The wall clock, for the age of request ids.
    pub now: WallMillis,
    /// Request ids of later revisions stay, whatever their age is said to be.
    pub requests_through: Version,
    /// How many rows at most.
    pub at_most: u64,
}

/// Writes down what happened elsewhere than in a transaction, where anything is written down.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), WriteError>")]
pub struct WriteAudit {
    /// What happened.
    pub events: Vec<Event>,
    /// The wall clock.
    pub at: WallMillis,
    /// Whether the record says how far the chains of other nodes go.
    pub sees_others: bool,
}

/// Removes old records of what happened; answers how many went.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<u64, WriteError>")]
pub struct PruneAudit {
    /// Records older than this go, except the last of each chain.
    pub before: WallMillis,
    /// The wall clock.
    pub now: WallMillis,
    /// How many records of each chain at most.
    pub at_most: u64,
}

/// What a batch adds to the log.
#[derive(Debug, Clone, Copy)]
struct Size {
    units: usize,
    /// Of content.
    bytes: usize,
}

/// The writing side of the store.
pub struct StoreWriter {
    writer: Writer,
    metrics: StoreMetrics,
    clock: SharedClock,
    health: Health,
    log: LogGrowth,
}

impl StoreWriter {
    /// Writes through `writer`.
    #[must_use]
    pub fn new(writer: Writer, metrics: StoreMetrics, clock: SharedClock) -> Self {
        Self { writer, metrics, clock, health: Health::default(), log: LogGrowth::default() }
    }

    /// Copies the log into the file from time to time, so that no commit has to do it.
    fn copy_log(&mut self, context: &mut Context<Self>) {
        let Some(share) = self.log.due(self.clock.mono()) else { return };
        let writer = self.writer.clone();
        let copying = wrap_future(async move { writer.checkpoint().await });
        context.spawn(copying.map(move |result, store: &mut Self, _| match result {
            Ok(pages) => store.log.copied(share, pages.unwrap_or_default()),
            Err(error) => {
                store.log.failed(share);
                tracing::debug!(%error, "the log could not be copied; it is tried again");
            }
        }));
    }

    /// A commit ended.
    fn committed(&mut self, size: Size, result: &Result<Decision, CommitError>, context: &mut Context<Self>) -> End {
        match result {
            Ok(Decision::Write(writes)) if !writes.is_empty() => {
                self.log.committed(size.units, size.bytes);
                self.copy_log(context);
                End::Durable
            }
            Ok(_) => End::Neutral,
            Err(error) => {
                let kind = match error {
                    CommitError::Aborted { .. } => "aborted",
                    CommitError::Unknown { .. } => "unknown",
                };
                self.metrics.failures.get_or_create(&FailureLabel { kind }).inc();
                health::end_of(error)
            }
        }
    }

    fn write<T: 'static>(&self, action: impl AsyncFnOnce(&Writer) -> T + 'static) -> ResponseActFuture<Self, T> {
        let writer = self.writer.clone();
        Box::pin(wrap_future(async move { action(&writer).await }))
    }
}

impl Actor for StoreWriter {
    type Context = Context<Self>;
}

monitored!(StoreWriter, "store_writer");

impl Observable for StoreWriter {
    fn observe(&self) -> serde_json::Value {
        json!({ "backend": self.writer.backend().as_str(), "trouble": self.health.trouble() })
    }
}

impl Handler<WriteBatch> for StoreWriter {
    type Result = ResponseActFuture<Self, Result<Decision, CommitError>>;

    fn handle(&mut self, commit: WriteBatch, context: &mut Context<Self>) -> Self::Result {
        let metrics = self.metrics.clone();
        let units = commit.units.iter();
        let size = Size { units: units.len(), bytes: units.map(|unit| unit.content_bytes()).sum() };
        let alone = (size.units == 1).then(|| commit.units.first().map(Arc::clone)).flatten();
        metrics.batch_units.observe(size.units as f64);
        let ticket = self.begin_commit(context);
        let committing = self.write(async move |writer| {
            let begun = Instant::now();
            let WriteBatch { units, timeline, standing, acks, at } = commit;
            let result = writer.commit(CommitRequest { units, timeline, standing, acks, at }).await;
            metrics.commit_seconds.observe(begun.elapsed().as_secs_f64());
            result
        });
        Box::pin(committing.map(move |result, store, context| {
            let end = store.committed(size, &result, context);
            if let (Err(error), Some(unit)) = (&result, alone) {
                health::tell_of_refusal(&unit, error);
            }
            store.end_commit(ticket, end, result.as_ref().err(), context);
            result
        }))
    }
}

impl Handler<RaiseFloor> for StoreWriter {
    type Result = ResponseActFuture<Self, Result<Option<Landed>, WriteError>>;

    fn handle(&mut self, raise: RaiseFloor, _: &mut Context<Self>) -> Self::Result {
        let RaiseFloor { node, incarnation, above, request_ids } = raise;
        self.write(async move |writer| writer.raise_floor(&node, incarnation, above, &request_ids).await)
    }
}

impl Handler<FindRequestsLocked> for StoreWriter {
    type Result = ResponseActFuture<Self, Result<Landed, WriteError>>;

    fn handle(
        &mut self,
        FindRequestsLocked { request_ids }: FindRequestsLocked,
        _: &mut Context<Self>,
    ) -> Self::Result {
        self.write(async move |writer| writer.look_locked(&request_ids).await)
    }
}

impl Handler<CreateNamespace> for StoreWriter {
    type Result = ResponseActFuture<Self, Result<(), WriteError>>;

    fn handle(&mut self, create: CreateNamespace, _: &mut Context<Self>) -> Self::Result {
        let CreateNamespace { namespace, at, by } = create;
        self.write(async move |writer| writer.create_namespace(&namespace, at, by).await)
    }
}

impl Handler<EditNamespace> for StoreWriter {
    type Result = ResponseActFuture<Self, Result<(), WriteError>>;

    fn handle(&mut self, edit: EditNamespace, _: &mut Context<Self>) -> Self::Result {
        let EditNamespace { namespace, at, by } = edit;
        self.write(async move |writer| writer.edit_namespace(&namespace, at, by).await)
    }
}

impl Handler<WriteAccess> for StoreWriter {
    type Result = ResponseActFuture<Self, Result<u64, WriteError>>;

    fn handle(&mut self, WriteAccess { change, at, by }: WriteAccess, _: &mut Context<Self>) -> Self::Result {
        self.write(async move |writer| writer.change_access(change, at, by).await)
    }
}

impl Handler<DeleteNamespace> for StoreWriter {
    type Result = ResponseActFuture<Self, Result<(), WriteError>>;

    fn handle(&mut self, DeleteNamespace { id, at, by }: DeleteNamespace, _: &mut Context<Self>) -> Self::Result {
        self.write(async move |writer| writer.delete_namespace(&id, at, by).await)
    }
}

impl Handler<Prune> for StoreWriter {
    type Result = ResponseActFuture<Self, Result<u64, WriteError>>;

    fn handle(&mut self, prune: Prune, _: &mut Context<Self>) -> Self::Result {
        let Prune { before, now, requests_through, at_most } = prune;
        self.write(async move |writer| writer.prune(before, now, requests_through, at_most).await)
    }
}

impl Handler<WriteAudit> for StoreWriter {
    type Result = ResponseActFuture<Self, Result<(), WriteError>>;

    fn handle(&mut self, audit: WriteAudit, _: &mut Context<Self>) -> Self::Result {
        let WriteAudit { events, at, sees_others } = audit;
        self.write(async move |writer| writer.write_down(&events, at, sees_others).await)
    }
}

impl Handler<PruneAudit> for StoreWriter {
    type Result = ResponseActFuture<Self, Result<u64, WriteError>>;

    fn handle(&mut self, PruneAudit { before, now, at_most }: PruneAudit, _: &mut Context<Self>) -> Self::Result {
        self.write(async move |writer| writer.prune_audit(before, now, at_most).await)
    }
}

#[cfg(test)]
mod tests;
