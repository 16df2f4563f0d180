//! The door for all writes: queues publishes, packs them into batches and drives each through notify, ack and commit.
//!
//! Owns the publisher machine (`callboard_protocol::publish`), the reply channels of those who wait, and nothing else:
//! when a batch may commit, what it writes and how it is answered is decided in the protocol crate.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Handler, Message, SpawnHandle};
use callboard_protocol::commit::BatchId;
use callboard_protocol::member::Ack;
use callboard_protocol::publish::{
    CallerId, CommitResult, Effect, Event, Membership, Options, PublishOutcome, Publisher, Resolution,
};
use callboard_protocol::time::Mono;
use callboard_protocol::unit::{Unit, UnitOutcome};
use serde_json::json;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::clock::SharedClock;
use crate::cluster_notify::{self, ClusterNotify, Confirm, Notify, Resolve, Withdraw};
use crate::lease_keeper::{self, LeaseKeeper, MembershipChanged, Rejoin};
use crate::metrics::{OutcomeLabel, PublishMetrics, StageLabel};
use crate::monitored;
use crate::runtime::{Context, Observable};
use crate::store::CommitError;
use crate::store_writer::{Commit, StoreWriter};

/// Publishes a unit. Sent with `do_send`: it is never skipped because its caller stopped waiting. When the reply
/// channel is dropped without a reply, the outcome is unknown.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Publish {
    /// What to publish.
    pub unit: Arc<Unit>,
    /// Whom to answer.
    pub reply: oneshot::Sender<PublishOutcome>,
}

/// A node has marked a batch.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Acked {
    /// Which batch.
    pub batch: BatchId,
    /// Its acknowledgement.
    pub ack: Ack,
}

/// Asks how many publishes are queued or under way.
#[derive(Debug, Message)]
#[rtype(result = "usize")]
pub struct CountOpen;

/// The actors below.
#[derive(Debug, Clone)]
pub struct Down {
    /// Carries events between nodes.
    pub cluster_notify: Addr<ClusterNotify>,
    /// Every transaction.
    pub writer: Addr<StoreWriter>,
    /// The membership.
    pub lease_keeper: Addr<LeaseKeeper>,
}

struct Caller {
    reply: oneshot::Sender<PublishOutcome>,
    since: Mono,
}

/// The door for writes.
pub struct ConfManager {
    publisher: Publisher,
    down: Down,
    clock: SharedClock,
    metrics: PublishMetrics,
    callers: HashMap<CallerId, Caller>,
    next_caller: u64,
    /// When each batch was notified, for the figures.
    notified: HashMap<BatchId, Mono>,
    wakeup: Option<(Mono, SpawnHandle)>,
}
