//! What the roster says: the state of each node, for people and for metrics, and what happened to it.

use std::sync::Arc;

use super::observation::{Addresses, ProtocolRange, Status};
use crate::lease::LeaseObservation;
use crate::member::{Incarnation, NodeId};

named! {
    /// Where a node stands.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum NodeState {
        /// It has started and does not take part yet.
        Joining = "joining",
        /// It takes part.
        Up = "up",
        /// It did not answer; it may be down, or slow, or cut off.
        Suspect = "suspect",
        /// It is about to stop.
        Leaving = "leaving",
        /// It does not answer, or was never heard of.
        Down = "down",
        /// It has left, or is down and no member any more.
        Removed = "removed",
    }
}

impl From<Status> for NodeState {
    fn from(status: Status) -> Self {
        match status {
            Status::Joining => Self::Joining,
            Status::Up => Self::Up,
            Status::Leaving => Self::Leaving,
        }
    }
}

impl NodeState {
    /// True when clients may be sent to a node that stands so.
    #[must_use]
    pub fn takes_clients(self) -> bool {
        matches!(self, Self::Up | Self::Suspect)
    }
}

/// What happened to a node, as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberEvent {
    /// It takes part: for the first time, again, or a suspicion proved wrong.
    MemberUp(NodeId),
    /// It did not answer.
    MemberSuspect(NodeId),
    /// It is taken for dead.
    MemberDown(NodeId),
    /// It said that it is about to stop.
    MemberLeaving(NodeId),
    /// It is no part of the cluster any more.
    MemberRemoved(NodeId),
}

impl MemberEvent {
    /// The event that tells of a node's entry into `state`; nobody is told of a node that joins before it is up.
    #[must_use]
    pub fn entering(state: NodeState, node: NodeId) -> Option<Self> {
        match state {
            NodeState::Joining => None,
            NodeState::Up => Some(Self::MemberUp(node)),
            NodeState::Suspect => Some(Self::MemberSuspect(node)),
            NodeState::Leaving => Some(Self::MemberLeaving(node)),
            NodeState::Down => Some(Self::MemberDown(node)),
            NodeState::Removed => Some(Self::MemberRemoved(node)),
        }
    }

    /// Whom it happened to.
    #[must_use]
    pub fn node(&self) -> &NodeId {
        match self {
            Self::MemberUp(node)
            | Self::MemberSuspect(node)
            | Self::MemberDown(node)
            | Self::MemberLeaving(node)
            | Self::MemberRemoved(node) => node,
        }
    }

    /// Its name, in lower case.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::MemberUp(_) => "up",
            Self::MemberSuspect(_) => "suspect",
            Self::MemberDown(_) => "down",
            Self::MemberLeaving(_) => "leaving",
            Self::MemberRemoved(_) => "removed",
        }
    }
}

/// What an operator sees of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeView {
    /// Which node.
    pub id: NodeId,
    /// Where it stands.
    pub state: NodeState,
    /// Its latest word of itself; `None` when it was never heard of.
    pub generation: Option<u64>,
    /// The life of its membership row; `None` without a row.
    pub incarnation: Option<Incarnation>,
    /// Where it is reached, as far as known.
    pub addresses: Addresses,
    /// The lease of its row; `None` without a row.
    pub lease: Option<LeaseObservation>,
    /// Who suspects it, as far as this node knows: a suspicion does not tell whose it was first, so this is the local
    /// node or nobody.
    pub suspected_by: Vec<NodeId>,
    /// The version of its program; `None` when it was never heard of.
    pub version: Option<Arc<str>>,
    /// The protocol it speaks; `None` when it was never heard of.
    pub protocols: Option<ProtocolRange>,
}

/// The other nodes that clients of `me` can be sent to.
pub fn elsewhere<'a>(nodes: &'a [NodeView], me: &NodeId) -> impl Iterator<Item = &'a NodeView> {
    nodes.iter().filter(move |seen| seen.id != *me && seen.state.takes_clients())
}
