//! The writing side of the store as an actor: every transaction of a node passes here.
//!
//! Owns the writer connection. A commit runs to its end whether or not anybody still waits for it; what it writes is
//! decided by `callboard_protocol::commit`, not here.

use std::sync::Arc;
use std::time::Instant;

use actix::fut::wrap_future;
use actix::{Actor, ActorFutureExt as _, AsyncContext as _, Handler, Message, ResponseActFuture};
use callboard_protocol::commit::{Decision, Standing};
use callboard_protocol::config::Version;
use callboard_protocol::member::{Ack, AckNo, Incarnation, NodeId, Timeline};
use callboard_protocol::time::WallMillis;
use callboard_protocol::unit::{RequestId, Unit};
use serde_json::json;

use crate::metrics::{FailureLabel, StoreMetrics};
use crate::monitored;
use crate::runtime::{Context, Observable};
use crate::store::{CommitError, CommitRequest, Landed, Namespace, WriteError, Writer};

/// Commits a batch in one durable transaction.
#[derive(Debug, Message)]
#[rtype(result = "Result<Decision, CommitError>")]
pub struct Commit {
    /// The units, in order.
    pub units: Vec<Arc<Unit>>,
    /// The line of history the publisher is on.
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
pub struct LookLocked {
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
}

/// Changes what people see of a namespace.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), WriteError>")]
pub struct EditNamespace {
    /// The namespace.
    pub namespace: Namespace,
    /// The wall clock.
    pub at: WallMillis,
}

/// Deletes a namespace that holds no configuration.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), WriteError>")]
pub struct DeleteNamespace {
    /// Its id.
    pub id: String,
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

/// The writing side of the store.
#[derive(Debug)]
pub struct StoreWriter {
    writer: Writer,
    metrics: StoreMetrics,
    /// Units since the log was last copied into the file.
    since_checkpoint: usize,
    checkpointing: bool,
}

/// Units after which the log is copied into the file, beside the commits that follow.
const CHECKPOINT_AFTER: usize = 12_000;

impl StoreWriter {
    /// Writes through `writer`.
    #[must_use]
    pub fn new(writer: Writer, metrics: StoreMetrics) -> Self {
        Self { writer, metrics, since_checkpoint: 0, checkpointing: false }
    }

    /// Copies the log into the file from time to time, so that no commit has to do it.
    fn committed(&mut self, units: usize, context: &mut Context<Self>) {
        self.since_checkpoint += units;
        if self.since_checkpoint < CHECKPOINT_AFTER || self.checkpointing {
            return;
        }
        (self.since_checkpoint, self.checkpointing) = (0, true);
        let writer = self.writer.clone();
        let copying = wrap_future(async move { writer.checkpoint().await });
        context.spawn(copying.map(|result, store: &mut Self, _| {
            store.checkpointing = false;
            if let Err(error) = result {
                tracing::debug!(%error, "the log could not be copied; a commit will do it");
            }
        }));
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
        json!({ "backend": self.writer.backend().as_str() })
    }
}

impl Handler<Commit> for StoreWriter {
    type Result = ResponseActFuture<Self, Result<Decision, CommitError>>;

    fn handle(&mut self, commit: Commit, _: &mut Context<Self>) -> Self::Result {
        let (metrics, units) = (self.metrics.clone(), commit.units.len());
        metrics.batch_units.observe(units as f64);
        let committing = self.write(async move |writer| {
            let begun = Instant::now();
            let Commit { units, timeline, standing, acks, at } = commit;
            let result = writer.commit(CommitRequest { units, timeline, standing, acks, at }).await;
            metrics.commit_seconds.observe(begun.elapsed().as_secs_f64());
            if let Err(error) = &result {
                let kind = match error {
                    CommitError::Aborted { .. } => "aborted",
                    CommitError::Unknown { .. } => "unknown",
                };
                metrics.failures.get_or_create(&FailureLabel { kind }).inc();
            }
            result
        });
        Box::pin(committing.map(move |result, store, context| {
            store.committed(units, context);
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

impl Handler<LookLocked> for StoreWriter {
    type Result = ResponseActFuture<Self, Result<Landed, WriteError>>;

    fn handle(&mut self, LookLocked { request_ids }: LookLocked, _: &mut Context<Self>) -> Self::Result {
        self.write(async move |writer| writer.look_locked(&request_ids).await)
    }
}

impl Handler<CreateNamespace> for StoreWriter {
    type Result = ResponseActFuture<Self, Result<(), WriteError>>;

    fn handle(&mut self, CreateNamespace { namespace, at }: CreateNamespace, _: &mut Context<Self>) -> Self::Result {
        self.write(async move |writer| writer.create_namespace(&namespace, at).await)
    }
}

impl Handler<EditNamespace> for StoreWriter {
    type Result = ResponseActFuture<Self, Result<(), WriteError>>;

    fn handle(&mut self, EditNamespace { namespace, at }: EditNamespace, _: &mut Context<Self>) -> Self::Result {
        self.write(async move |writer| writer.edit_namespace(&namespace, at).await)
    }
}

impl Handler<DeleteNamespace> for StoreWriter {
    type Result = ResponseActFuture<Self, Result<(), WriteError>>;

    fn handle(&mut self, DeleteNamespace { id }: DeleteNamespace, _: &mut Context<Self>) -> Self::Result {
        self.write(async move |writer| writer.delete_namespace(&id).await)
    }
}

impl Handler<Prune> for StoreWriter {
    type Result = ResponseActFuture<Self, Result<u64, WriteError>>;

    fn handle(&mut self, prune: Prune, _: &mut Context<Self>) -> Self::Result {
        let Prune { before, now, requests_through, at_most } = prune;
        self.write(async move |writer| writer.prune(before, now, requests_through, at_most).await)
    }
}
