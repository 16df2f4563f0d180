//! What the lease machine is told and what it says. Words only; decides nothing.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use crate::config::Version;
use crate::extent::{DatabaseIdentity, Extent, Fingerprint, LastKnown};
use crate::key::ConfigKey;
use crate::member::{Elsewhere, Incarnation, MemberRow, NodeId, ReadLease, Timeline};

/// On what terms a node takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseMode {
    /// The only node on its database, proven by a lock: its lease never ends.
    Forever,
    /// A row that has to be renewed.
    Renewed,
    /// Without a row: nothing is answered from memory, and publishes are committed on the acks of the others.
    Direct,
}

/// How long leases last and how patient the node is. All nodes of a cluster must agree on `lease`, `drift` and
/// `margin`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// On what terms.
    pub terms: LeaseMode,
    /// How long a renewal is good for.
    pub lease: Duration,
    /// How often it is renewed.
    pub renew_every: Duration,
    /// By how many thousandths the clocks of two nodes may run apart.
    pub drift_permille: u32,
    /// What a janitor waits longer than a lease can last.
    pub margin: Duration,
    /// How soon the rows are looked at again when one is about to go.
    pub look_soon: Duration,
    /// The longest time between two looks at the rows after which one that stands still counts as watched all along:
    /// who could not look must not think that nobody renewed.
    pub longest_gap: Duration,
    /// The pause after the database did not answer.
    pub retry: Duration,
    /// The first and the longest pause before a node joins again whose row was taken away. The first is longer than it
    /// takes to notice that links are dead: before that a node that is cut off would come back and be in the way again.
    pub back_off: [Duration; 2],
    /// How long a starting node waits for links to the others before it joins without.
    pub join_patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            terms: LeaseMode::Renewed,
            lease: Duration::from_secs(6),
            renew_every: Duration::from_millis(1_500),
            drift_permille: 10,
            margin: Duration::from_millis(300),
            look_soon: Duration::from_millis(250),
            longest_gap: Duration::from_secs(3),
            retry: Duration::from_millis(250),
            back_off: [Duration::from_secs(4), Duration::from_secs(60)],
            join_patience: Duration::from_secs(2),
        }
    }
}

impl Options {
    /// How long a holder trusts a renewal, counted from before it was sent.
    #[must_use]
    pub fn trusted_for(&self) -> Duration {
        self.lease.saturating_sub(self.lease * self.drift_permille / 1_000)
    }

    /// How long a row must have stood still, counted from when that was first seen, until it may be fenced.
    #[must_use]
    pub fn fenced_after(&self) -> Duration {
        self.lease + self.lease * self.drift_permille / 1_000 + self.margin
    }
}

/// What the database said of the membership, in one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// The revision of the last commit.
    pub revision: Version,
    /// The timeline.
    pub timeline: Timeline,
    /// Every row.
    pub rows: Vec<MemberRow>,
    /// The database that was asked.
    pub identity: DatabaseIdentity,
}

impl Observation {
    /// How far the database goes.
    #[must_use]
    pub fn extent(&self) -> Extent {
        Extent::new(self.timeline, self.revision)
    }
}

/// What tells that a database has lost commits, or is another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// It ends before a commit that is known to have happened.
    Behind,
    /// It is not the database that this node knew, or was promoted while the node was down.
    Foreign,
    /// This version of this key is known to have been committed, and the row there is older.
    Row(ConfigKey, Version),
}

/// How the beginning of a new timeline ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BeginResult {
    /// It is begun by this node.
    Begun,
    /// The evidence does not hold any more: another node has begun one, or the answer was of another server.
    Missed,
    /// The database did not answer; it may be begun or not.
    Failed,
}

/// What a node says to those that it is linked to: in which database it has its lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// Who.
    pub node: NodeId,
    /// Its life as a member; `None` without a row.
    pub incarnation: Option<Incarnation>,
    /// The number of its row as it last saw it, zero without one.
    pub renew_seq: u64,
    /// The database.
    pub database: Fingerprint,
    /// How far that goes, as far as the node knows.
    pub extent: Extent,
}

/// A node that has its lease in another database than this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Who.
    pub node: NodeId,
    /// How far its database goes.
    pub theirs: Extent,
    /// How far the database of this node goes.
    pub ours: Extent,
}

impl fmt::Display for Split {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} has its lease in another database ({}) than this node ({}); give all nodes the same database and stop \
             the other one",
            self.node, self.theirs, self.ours
        )
    }
}

/// Whether publishes may be committed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CommitGate {
    /// They may.
    #[default]
    Open,
    /// A node that is linked to this one seems to have its lease in another database: it may be about to follow.
    Waiting,
    /// It stays there: neither of the two may acknowledge anything.
    Split(Split),
}

/// How a join ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinResult {
    /// The row is there. The rows are those of the same transaction, the own one among them.
    Joined(Observation),
    /// An older row of the node stands, and nothing proves that its process is dead.
    Held(Observation),
    /// Rows of other nodes name another member of the database than this node reaches.
    Elsewhere {
        /// The rows.
        observation: Observation,
        /// The member that this node reaches.
        ours: String,
    },
    /// A member speaks no version of the node-to-node protocol that this node speaks.
    Incompatible {
        /// Who.
        node: NodeId,
    },
    /// The database did not answer; the row may be there or not.
    Failed,
}

/// How a renewal ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RenewResult {
    /// It is durable; the rows were read after it, or could not be.
    Renewed(Option<Observation>),
    /// There is no such row any more, or it may not be renewed.
    Refused(Option<Observation>),
    /// The database did not answer; it may be renewed or not.
    Failed,
}

/// How a fence ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FenceResult {
    /// The row is gone, by this fence.
    Fenced,
    /// There was no such row with this number any more: renewed, or gone already.
    Missed,
    /// The database did not answer.
    Failed,
}

/// What the machine is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A join ended.
    Joined {
        /// As it was asked.
        incarnation: Incarnation,
        /// How.
        result: JoinResult,
    },
    /// A renewal ended.
    Renewed {
        /// As it was asked.
        incarnation: Incarnation,
        /// How.
        result: RenewResult,
    },
    /// A look at the rows ended; `None` when the database did not answer.
    Observed(Option<Observation>),
    /// The cache has done what the last [`Effect::Flush`] said: it holds nothing and trusts nothing.
    Flushed,
    /// The cache has the leave of the last [`Effect::Admit`].
    Admitted,
    /// A fence ended.
    Fenced {
        /// Whose row.
        node: NodeId,
        /// How.
        result: FenceResult,
    },
    /// The own row was given back, or could not be: then it is fenced by somebody in time.
    Released,
    /// The beginning of a new timeline ended.
    TimelineBegun(BeginResult),
    /// These nodes are linked to this one.
    Linked(BTreeSet<NodeId>),
    /// This commit is known to have happened in the database that this node asks.
    CommitObserved(Extent),
    /// A committed version of a key is not in the database any more: the row is older.
    RowLost {
        /// Which key.
        key: ConfigKey,
        /// The version that is known.
        version: Version,
    },
    /// A node that is linked to this one says where it has its lease.
    PeerAnnouncement(Announcement),
    /// Somebody lost what acks rest on, or found the own row gone: begin a new life.
    Rejoin,
    /// Look at the rows soon: one of them is about to go.
    Refresh,
    /// The node is stopping: give the row back.
    Leave,
    /// Time has passed.
    Tick,
}

/// What the driver has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Run the join transaction; answered by [`Event::Joined`].
    Join {
        /// The life that begins with the row.
        incarnation: Incarnation,
        /// A row of a life from this one up to `incarnation` is a former one of this process, and may be replaced. A
        /// later one may not: it is that of a join that overtook this one.
        first_life: Incarnation,
    },
    /// Renew the row and look at all rows after it; answered by [`Event::Renewed`].
    Renew {
        /// The life that owns it.
        incarnation: Incarnation,
    },
    /// Look at all rows; answered by [`Event::Observed`].
    Observe,
    /// Delete a row if it still has this number; answered by [`Event::Fenced`].
    Fence {
        /// Whose row.
        node: NodeId,
        /// The life that owned it.
        incarnation: Incarnation,
        /// The number at which it stood still.
        renew_seq: u64,
    },
    /// Delete the own row; answered by [`Event::Released`].
    Release {
        /// The life that owned it.
        incarnation: Incarnation,
    },
    /// Begin a new timeline above all that is known, if the database is still on this one and the evidence still holds:
    /// it has lost commits. Answered by [`Event::TimelineBegun`].
    BeginTimeline {
        /// The timeline that lost some.
        lost: Timeline,
        /// The furthest commit that is known.
        known: Extent,
        /// What tells of the loss.
        evidence: Evidence,
    },
    /// Keep this, so that it outlives the process.
    Remember {
        /// What is known.
        known: LastKnown,
        /// It has to outlive the machine, too.
        is_durable: bool,
    },
    /// Give the cache, which is empty, the leave to answer; answered by [`Event::Admitted`].
    Admit {
        /// The leave.
        grant: ReadLease,
        /// The timeline.
        timeline: Timeline,
        /// Nothing read before this revision may be kept.
        revision: Version,
    },
    /// Move the end of the cache's leave.
    Extend {
        /// The leave; its life is the one the cache has.
        grant: ReadLease,
    },
    /// Take the leave from the cache and empty it; answered by [`Event::Flushed`].
    Flush,
    /// Tell everybody concerned how the membership stands.
    Tell(Membership),
    /// The node has left; nothing follows.
    Left,
}

/// How a row stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseObservation {
    /// It is being renewed.
    Held,
    /// It was not renewed for as long as a lease lasts.
    Lapsed,
    /// Its owner may not renew it.
    Revoked,
}

/// The membership as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The own life as a member; `None` without a row.
    pub incarnation: Option<Incarnation>,
    /// The timeline.
    pub timeline: Timeline,
    /// The highest revision known.
    pub revision: Version,
    /// Every row, the own one among them when there is one.
    pub rows: Vec<(MemberRow, LeaseObservation)>,
    /// Another process has the id of this node: where its row says that it is reached. It was seen to renew the row,
    /// which tells it from one that died and left the row behind.
    pub namesake: Option<String>,
    /// A living node reaches another member of the database than this one, and stays there.
    pub elsewhere: Option<Elsewhere>,
    /// The database that this node asks, as it last said.
    pub database: Fingerprint,
    /// Whether publishes may be committed.
    pub gate: CommitGate,
}

impl Membership {
    /// What `node` says to those that it is linked to.
    #[must_use]
    pub fn announcement(&self, node: &NodeId) -> Announcement {
        let own = self.rows.iter().map(|(row, _)| row).find(|row| Some(row.incarnation) == self.incarnation);
        Announcement {
            node: node.clone(),
            incarnation: self.incarnation,
            renew_seq: own.map_or(0, |row| row.renew_seq),
            database: self.database,
            extent: Extent::new(self.timeline, self.revision),
        }
    }
}
