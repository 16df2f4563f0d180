//! What the publisher is told and what it says: options, events, effects, outcomes. Words only; decides nothing.

use std::sync::Arc;
use std::time::Duration;

use crate::commit::{BatchId, ChangeRow, Decision, Standing};
use crate::config::Version;
use crate::extent::Extent;
use crate::key::ConfigKey;
use crate::lease::{CommitGate, LeaseObservation};
use crate::member::{Ack, Incarnation, MemberRow, NodeId, NodeRow, Timeline};
use crate::write_request::{Recorded, RequestId, WriteOutcome, WriteRequest};

/// How much may wait, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Most units that wait for a batch; more are turned away.
    pub max_queued: usize,
    /// Most bytes of content of the units that wait for a batch; a unit that would exceed them is turned away, unless
    /// none waits.
    pub max_queued_bytes: usize,
    /// Most keys of a batch; a unit with more is a batch of its own.
    pub max_batch_items: usize,
    /// Most bytes of content in a batch; a unit with more is a batch of its own.
    pub max_batch_bytes: usize,
    /// Most batches at once, one of them in its commit. Without other members it is always one: there is no round trip
    /// to hide, and what waits makes the next batch larger.
    pub in_flight: usize,
    /// How long members may take to acknowledge before the batch is parked and they lose their rows.
    pub ack_timeout: Duration,
    /// When those that have not acknowledged are notified again, counted from the first time.
    pub resend: [Duration; 2],
    /// How often everybody is notified again after that, so that no member gives up the batch; also the first pause of
    /// a parked batch, doubled each time.
    pub notify_repeat: Duration,
    /// How long a unit may take until its commit is sent.
    pub deadline: Duration,
    /// How often a commit that the database undid is tried again.
    pub commit_retries: u32,
    /// How long, after a large batch, the next one may wait for the callers just answered to come back: under load they
    /// do so at once, and two half batches become one whole. The least and the most; between them it is an eighth of
    /// what the commit took, waiting for its turn included: the further the database is away, the more a whole batch is
    /// worth, and the longer callers may take to come back. Zero for never.
    pub linger: [Duration; 2],
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_queued: 4_096,
            max_queued_bytes: 64 * 1024 * 1024,
            max_batch_items: 256,
            max_batch_bytes: 1024 * 1024,
            in_flight: 2,
            ack_timeout: Duration::from_secs(1),
            resend: [Duration::from_millis(250), Duration::from_millis(500)],
            notify_repeat: Duration::from_secs(1),
            deadline: Duration::from_secs(15),
            commit_retries: 3,
            linger: [Duration::from_millis(1), Duration::from_millis(50)],
        }
    }
}

/// Names one who waits for an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallerId(pub u64);

/// The cluster as this node last saw it in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Whether this node is a member.
    pub standing: Standing,
    /// The timeline.
    pub timeline: Timeline,
    /// Every row, the own one included when there is one.
    pub nodes: Vec<NodeRow>,
    /// Whether anything may be committed.
    pub gate: CommitGate,
}

impl Membership {
    /// The membership of `node` for its publisher: a member by its present life, or somebody without a row.
    #[must_use]
    pub fn of(
        node: &NodeId,
        incarnation: Option<Incarnation>,
        timeline: Timeline,
        (rows, gate): (&[(MemberRow, LeaseObservation)], CommitGate),
    ) -> Self {
        let standing = incarnation.map_or(Standing::Direct, |_| Standing::Member(node.clone()));
        Self { standing, timeline, nodes: rows.iter().map(|(row, _)| row.for_publisher()).collect(), gate }
    }
}

/// What the machine is told.
#[derive(Debug)]
pub enum Event {
    /// A unit to publish.
    Publish {
        /// What to publish.
        unit: Arc<WriteRequest>,
        /// Who gets the outcome, once.
        caller: CallerId,
    },
    /// A member has marked every key of a batch.
    Acked {
        /// The batch id it was notified of.
        batch: BatchId,
        /// Its ack 1.
        ack: Ack,
    },
    /// A member would not mark a batch: it is just joining, or leaving.
    Nacked {
        /// The batch id it was notified of.
        batch: BatchId,
    },
    /// A commit ended.
    Committed {
        /// Which one.
        batch: BatchId,
        /// How.
        result: CommitResult,
    },
    /// A look after a commit of unknown outcome ended.
    Resolved {
        /// Which one.
        batch: BatchId,
        /// What it found.
        result: Outcome,
    },
    /// The cluster was observed, changed or not.
    Membership(Membership),
    /// Time has passed.
    Tick,
}

/// How a commit ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitResult {
    /// The transaction ended as decided; for [`Decision::Write`] it is durable.
    Decided(Decision),
    /// The transaction is undone: nothing was written.
    Aborted {
        /// Why, as a sentence that callers may read.
        reason: String,
        /// What to expect of another try.
        again: Again,
    },
    /// Nobody knows: the transaction may have landed, or may still.
    Unknown {
        /// What happened.
        reason: String,
    },
}

/// What to expect when a transaction that was undone is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// It may go through as it is.
    MayHelp,
    /// The database refuses what one of the units holds; without that one it may go through.
    RefusesOne,
    /// The same will come of it: the database is not in order, perhaps only where one of the units touches it.
    IsFutile,
}

/// What a look after a commit of unknown outcome found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The own ack is taken back, so the commit can't land any more. These request ids are in the database; the others
    /// never will be by this commit.
    Landed(Vec<(RequestId, Recorded)>),
    /// Without an own row the commit can't be shut out. These request ids are in the database; the others may still
    /// come.
    LandedUncertain(Vec<(RequestId, Recorded)>),
    /// The database did not answer.
    Unresolved {
        /// Why.
        reason: String,
    },
}

/// What the driver has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send a `NotifyEvent` to these members, the own node among them.
    Notify {
        /// The batch.
        batch: BatchId,
        /// Its keys, each with the request that changes it; a key may stand twice.
        keys: Vec<(ConfigKey, RequestId)>,
        /// To whom.
        to: Vec<NodeRow>,
    },
    /// Run the commit transaction.
    WriteBatch {
        /// The batch.
        batch: BatchId,
        /// Its units, in order.
        units: Vec<Arc<WriteRequest>>,
        /// The timeline that must still be.
        timeline: Timeline,
        /// Whose own row has to be there.
        standing: Standing,
        /// The acks at hand.
        acks: Vec<Ack>,
    },
    /// Find out what became of a commit: with an own ack raise the own floor above its number and look in the same
    /// transaction; without one only look. The receiver is to be told of the raised floor.
    FindOutcome {
        /// The batch.
        batch: BatchId,
        /// Its request ids, each once.
        request_ids: Vec<RequestId>,
        /// The own ack that the commit stood on; `None` without an own row.
        ack: Option<Ack>,
    },
    /// Tell a caller how its unit came out.
    Reply {
        /// Who.
        caller: CallerId,
        /// How.
        outcome: PublishOutcome,
    },
    /// Send a `NotifyCommitEvent` to every member, the own node among them.
    Commit {
        /// The batch.
        batch: BatchId,
        /// The timeline it was committed on.
        timeline: Timeline,
        /// What it changed; may be nothing.
        changes: Vec<ChangeRow>,
        /// The revision after it.
        revision: Version,
    },
    /// Send a `NotifyAbortEvent` to every member: the batch can never commit.
    Abort {
        /// The batch.
        batch: BatchId,
    },
    /// Revoke the rows of members that do not answer.
    Revoke {
        /// Which rows.
        rows: Vec<NodeRow>,
    },
    /// The own row is gone, or stands on another timeline: join again.
    Rejoin,
    /// The database ends before this commit, which is known to have happened: the membership has to find out.
    CommitObserved(Extent),
}

/// What a caller hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublishOutcome {
    /// Done or refused, for good.
    Settled(WriteOutcome),
    /// The database refuses what the unit holds, and will again. Nothing was written.
    Rejected {
        /// Why.
        reason: String,
    },
    /// Turned away: too much waits already. Nothing was written.
    Busy,
    /// Given up. Nothing was written, nor will be.
    Failed {
        /// Why.
        reason: String,
    },
    /// It may have been written, or may yet be; a repetition with the same request id finds out.
    Unknown {
        /// Why.
        reason: String,
    },
}
