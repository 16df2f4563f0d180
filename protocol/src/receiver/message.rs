//! What nodes tell each other about a batch, and what the receiver is told and says. Words only; decides nothing.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::cache::CommittedKey;
use crate::commit::{BatchId, ChangeRow, Operation};
use crate::config::{SharedState, Version};
use crate::extent::{Extent, Fingerprint};
use crate::feed::Span;
use crate::key::ConfigKey;
use crate::member::{Ack, AckNo, Incarnation, NodeId, Timeline};
use crate::write_request::RequestId;

/// Publisher to member: these keys are about to change. Answered by ack 1, [`Ack`], once all are marked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotifyEvent {
    /// The timeline the publisher is on.
    pub timeline: Timeline,
    /// The batch.
    pub batch: BatchId,
    /// Who publishes.
    pub publisher: NodeId,
    /// In which life.
    pub publisher_incarnation: Incarnation,
    /// The keys, each with the request that changes it; a key may stand twice.
    pub items: Vec<(ConfigKey, RequestId)>,
    /// The database that the publisher asks.
    pub database: Fingerprint,
}

impl NotifyEvent {
    /// The notification of a batch by `publisher`, in this life and on this timeline of this database. Nothing rests on
    /// the life of a publisher without a row: it has none.
    #[must_use]
    pub fn new(
        (batch, items): (BatchId, Vec<(ConfigKey, RequestId)>),
        (publisher, incarnation): (NodeId, Option<Incarnation>),
        (timeline, database): (Timeline, Fingerprint),
    ) -> Self {
        let publisher_incarnation = incarnation.unwrap_or(Incarnation(Uuid::nil()));
        Self { timeline, batch, publisher, publisher_incarnation, items, database }
    }
}

/// Publisher to member: the batch is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotifyCommitEvent {
    /// The timeline it was committed on.
    pub timeline: Timeline,
    /// The batch.
    pub batch: BatchId,
    /// The revision after it.
    pub revision: Version,
    /// What it changed, in order; may be nothing.
    pub changes: Vec<CommittedChange>,
    /// The database in which it is committed.
    pub database: Fingerprint,
}

impl NotifyCommitEvent {
    /// How far the database goes that it tells of.
    #[must_use]
    pub fn extent(&self) -> Extent {
        Extent::new(self.timeline, self.revision)
    }

    /// The same when it is of this timeline and this database; `None` when it was committed elsewhere.
    #[must_use]
    pub fn extent_in(&self, timeline: Timeline, database: Fingerprint) -> Option<Extent> {
        (self.timeline == timeline && !self.database.differs_from(database)).then(|| self.extent())
    }

    /// The stretch of revisions that it tells of; `None` when it does not bring every state along.
    #[must_use]
    pub fn span(&self) -> Option<Span> {
        let first = self.changes.iter().map(|change| change.version).min()?;
        let states = self.changes.iter().map(|change| change.state.clone()).collect::<Option<Vec<_>>>()?;
        Some(Span { after: first.previous(), through: self.revision, states })
    }
}

/// Publisher to member: the batch can never commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotifyAbortEvent {
    /// The batch.
    pub batch: BatchId,
}

/// Member to publisher: the commit event has arrived. Its absence is of interest to people only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack2 {
    /// The batch.
    pub batch: BatchId,
    /// Who has heard of the commit.
    pub node: NodeId,
}

/// A key that a committed batch changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedChange {
    /// The key.
    pub key: ConfigKey,
    /// Its new version.
    pub version: Version,
    /// What happened.
    pub operation: Operation,
    /// Its new state; `None` when the content was too large to send along.
    pub state: Option<SharedState>,
}

impl CommittedChange {
    /// What the publisher tells of a change it has committed.
    #[must_use]
    pub fn of(row: &ChangeRow) -> Self {
        Self { operation: row.operation, ..Self::found(row.state.clone()) }
    }

    /// A change of which only the present state is known: whether it created the key can't be told.
    #[must_use]
    pub fn found(state: SharedState) -> Self {
        let operation = if state.is_absent() { Operation::Remove } else { Operation::Update };
        Self { key: state.key.clone(), version: state.version, operation, state: Some(state) }
    }

    /// The same for the cache.
    #[must_use]
    pub fn for_cache(&self) -> CommittedKey {
        CommittedKey { key: self.key.clone(), version: self.version, state: self.state.clone() }
    }
}

/// What the database says of request ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Those that are there.
    pub landed: Vec<RequestId>,
    /// The present state of every key asked for that has ever existed, read no earlier than the request ids.
    pub states: Vec<SharedState>,
}

/// How a plain look ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FindResult {
    /// The database answered.
    Found(Found),
    /// It did not.
    Failed {
        /// Why.
        reason: String,
    },
}

/// How raising the floor ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FloorResult {
    /// The floor is raised, and this is what was there under the same lock.
    Raised(Found),
    /// There is no row of this life any more.
    Refused,
    /// The database did not answer; the floor may be raised or not.
    Failed {
        /// Why.
        reason: String,
    },
}

/// Names one [`Effect::Mark`] of a receiver; never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarkNo(pub(super) u64);

/// What the receiver is told.
#[derive(Debug)]
pub enum Event {
    /// A notification came in.
    Notify {
        /// The notification.
        event: NotifyEvent,
        /// Evenly random; spreads the time-outs of the members.
        chance: u64,
        /// The furthest commit that anybody on this node knows of.
        known: Extent,
    },
    /// The cache holds the marks of one [`Effect::Mark`].
    Marked {
        /// The batch.
        batch: BatchId,
        /// As it was asked.
        mark: MarkNo,
    },
    /// A commit event came in.
    Commit(NotifyCommitEvent),
    /// An abort event came in.
    Abort(NotifyAbortEvent),
    /// A plain look ended.
    Looked {
        /// The batch.
        batch: BatchId,
        /// How.
        result: FindResult,
    },
    /// Raising the floor ended.
    Floored {
        /// As it was asked.
        above: AckNo,
        /// How.
        result: FloorResult,
    },
    /// Somebody else on this node, the publisher in a look of its own, raised the floor of the own row.
    Raised {
        /// The highest number that no longer counts.
        above: AckNo,
    },
    /// The node is a member now. The cache has the grant already.
    Joined {
        /// The node itself.
        node: NodeId,
        /// Its new life.
        incarnation: Incarnation,
        /// The timeline it joined on.
        timeline: Timeline,
        /// The database, as it last said.
        database: Fingerprint,
    },
    /// The node is no member any more. The cache has given up its grant already.
    Left,
    /// Time has passed.
    Tick,
}

impl Event {
    /// The own membership as it is now: that of `node` in this life, or none.
    #[must_use]
    pub fn of_membership(
        node: NodeId,
        incarnation: Option<Incarnation>,
        (timeline, database): (Timeline, Fingerprint),
    ) -> Self {
        match incarnation {
            Some(incarnation) => Self::Joined { node, incarnation, timeline, database },
            None => Self::Left,
        }
    }
}

/// What the driver has to do, in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Mark these keys in the cache, then say [`Event::Marked`].
    Mark {
        /// The batch.
        batch: BatchId,
        /// Tells its answer from those to other marks, of the batch too.
        mark: MarkNo,
        /// Its keys, each once.
        keys: Vec<ConfigKey>,
    },
    /// Send ack 1.
    Ack {
        /// To the publisher.
        to: NodeId,
        /// The batch.
        batch: BatchId,
        /// The ack.
        ack: Ack,
    },
    /// Say that there will be no ack.
    Nack {
        /// To the publisher.
        to: NodeId,
        /// The batch.
        batch: BatchId,
        /// Why.
        reason: &'static str,
    },
    /// Commit these changes to the cache, which ends the batch's marks on their keys, and push them.
    Commit {
        /// The batch.
        batch: BatchId,
        /// The newest change of each key.
        changes: Vec<CommittedChange>,
    },
    /// End the batch's marks on these keys: it did not change them and never will.
    Abort {
        /// The batch.
        batch: BatchId,
        /// The keys, each once.
        keys: Vec<ConfigKey>,
    },
    /// Look up request ids and states, without a lock; answered by [`Event::Looked`].
    FindRequests {
        /// The batch.
        batch: BatchId,
        /// Its request ids, each once.
        request_ids: Vec<RequestId>,
        /// Its keys, each once.
        keys: Vec<ConfigKey>,
    },
    /// Raise the floor of the own row above this number and look in the same transaction; answered by
    /// [`Event::Floored`].
    RaiseFloor {
        /// The highest number that shall no longer count.
        above: AckNo,
        /// The request ids of every batch up to that number, each once.
        request_ids: Vec<RequestId>,
        /// Their keys, each once.
        keys: Vec<ConfigKey>,
    },
    /// Send ack 2.
    Ack2 {
        /// To the publisher.
        to: NodeId,
        /// The batch.
        batch: BatchId,
    },
    /// Somebody asks another database than this node: look soon which one this node reaches now.
    RefreshMembership,
    /// The own row is gone: give up the grant (then [`Event::Left`]) and join again.
    LeaveAndRejoin,
}
