//! Where the lease machine stands. Words only; decides nothing.

use crate::extent::Extent;
use crate::member::{Incarnation, Timeline};
use crate::time::Mono;

/// Where the node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Without a row; joins at this time, if at all.
    Direct { join_at: Option<Mono> },
    /// A join was sent. On its way out, the node waits for the answer, so that no row is left behind.
    Joining { incarnation: Incarnation, asked: Asked, leaving: bool },
    /// The row is there; the cache is being given the leave.
    Admitting { incarnation: Incarnation, sent: Mono },
    /// A member. The lease, if it ends, ends by itself.
    Member { incarnation: Incarnation },
    /// The cache is being emptied.
    Flushing { incarnation: Option<Incarnation>, then: Then },
    /// The row is being given back.
    Releasing { then: Then },
    /// The database has lost commits; a new timeline is being begun.
    Beginning,
    /// The node has left.
    Left,
}

/// What follows when the cache is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// Give the row back if it is there, and join at this time.
    JoinAt(Mono),
    /// Begin a new timeline.
    Begin { lost: Timeline, known: Extent, because: Because },
    /// Give the row back and end.
    Leave,
}

/// A question to the database that is not answered yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) sent: Mono,
    /// The furthest commit known when it was sent: an answer that ends before it means that commits were lost.
    pub(super) known: Extent,
}

/// What tells of a loss; the row is kept beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Because {
    Behind,
    Foreign,
    Row,
}
