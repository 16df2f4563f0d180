//! Who takes part: node ids, incarnations, acknowledgement numbers, and the grant under which a node may answer from
//! memory. Owns these words and the lease arithmetic; reads no clock.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::extent::Extent;
use crate::time::Mono;

/// The name of a node. Stays the same over restarts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub Arc<str>);

impl fmt::Display for NodeId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// One life of a node's membership: made anew at each join. An ack of another incarnation counts for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub Uuid);

/// Numbers a node's acknowledgements, rising with each batch it marks. A node that raises the `ack_floor` of its row
/// above a number takes back every ack below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AckNo(pub u64);

/// The timeline the database is on; another number means that acknowledged commits may have been lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timeline(pub u64);

/// A row of the membership table, as a commit reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRow {
    /// Whose row.
    pub node: NodeId,
    /// The incarnation that owns it.
    pub incarnation: Incarnation,
    /// The lowest acknowledgement number that still counts.
    pub ack_floor: AckNo,
}

/// A row of the membership table as a lease keeper sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRow {
    /// Whose row.
    pub node: NodeId,
    /// The incarnation that owns it.
    pub incarnation: Incarnation,
    /// Rises with each renewal; one that stands still is how a dead node shows.
    pub renew_seq: u64,
    /// The lowest acknowledgement number that still counts.
    pub ack_floor: AckNo,
    /// True when a publisher took the right to renew away.
    pub revoked: bool,
    /// Where the node is reached, in the node's own words.
    pub address: String,
    /// The member of the database by which the row was written last; empty where only one takes writes.
    pub database_member: String,
}

/// A node that reaches another member of the database than this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elsewhere {
    /// The other node.
    pub node: NodeId,
    /// The member that it reaches.
    pub theirs: String,
    /// The member that this node reaches.
    pub ours: String,
}

impl MemberRow {
    /// What a publisher needs of it.
    #[must_use]
    pub fn for_publisher(&self) -> NodeRow {
        NodeRow { node: self.node.clone(), incarnation: self.incarnation, ack_floor: self.ack_floor }
    }
}

/// Ack 1: node `node`, in its life `incarnation`, has marked the batch under number `number`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Who acknowledges.
    pub node: NodeId,
    /// In which life.
    pub incarnation: Incarnation,
    /// Under which number.
    pub number: AckNo,
    /// The furthest commit that it knew of when it marked the batch: a database that ends before it has lost commits.
    pub known: Extent,
}

impl Ack {
    /// True when this ack satisfies `row`: same node, same life, not taken back.
    #[must_use]
    pub fn satisfies(&self, row: &NodeRow) -> bool {
        self.node == row.node && self.incarnation == row.incarnation && self.number >= row.ack_floor
    }
}

/// How long a grant is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseEnd {
    /// For ever: a single node that holds the lock of its data directory.
    Never,
    /// Until this point of the node's own clock.
    At(Mono),
}

/// Leave to answer from memory: the node's row exists, and this is its life and the end of its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLease {
    /// The life of the row.
    pub incarnation: Incarnation,
    /// When the leave ends.
    pub ends: LeaseEnd,
}

impl ReadLease {
    /// True while the lease lasts.
    #[must_use]
    pub fn is_valid(&self, now: Mono) -> bool {
        match self.ends {
            LeaseEnd::Never => true,
            LeaseEnd::At(end) => now < end,
        }
    }
}
