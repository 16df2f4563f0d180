//! What a node tells of itself in every datagram of gossip. Owns its form and its limits: it is sent twice or more in
//! each datagram of 1,400 bytes, so it stays near a hundred bytes.

use std::net::SocketAddr;
use std::sync::Arc;

use callboard_protocol::member::NodeId;
use callboard_protocol::membership_view::{Addresses, GossipObservation, Life, ProtocolRange, Status};
use serde::{Deserialize, Serialize};

/// Longest name of a node in gossip, in bytes.
pub const MAX_NODE_ID: usize = 128;
/// Longest version of a program, in bytes.
pub const MAX_VERSION: usize = 32;

/// A node, as it told of itself at one time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// Empty for [`Identity::whoever`].
    pub(super) node: NodeId,
    /// Milliseconds of its wall clock, or more: each word of a node is later than the one before.
    pub(super) generation: u64,
    pub(super) peer: SocketAddr,
    pub(super) http: SocketAddr,
    pub(super) grpc: Option<SocketAddr>,
    pub(super) session: Option<SocketAddr>,
    pub(super) status: Status,
    pub(super) protocols: ProtocolRange,
    pub(super) version: Arc<str>,
}

impl Identity {
    /// Stands for whichever node is reached at `address`: what is announced to a seed goes to one whose name nobody
    /// knows yet, and which may know itself under another address.
    pub(super) fn whoever(address: SocketAddr) -> Self {
        Self {
            node: NodeId("".into()),
            generation: 0,
            peer: address,
            http: address,
            grpc: None,
            session: None,
            status: Status::Joining,
            protocols: ProtocolRange { min: 0, max: 0 },
            version: "".into(),
        }
    }

    pub(super) fn is_whoever(&self) -> bool {
        self.node.0.is_empty()
    }

    /// True when it is within the limits of what a node may tell.
    pub(super) fn is_sound(&self) -> bool {
        self.node.0.len() <= MAX_NODE_ID
            && self.version.len() <= MAX_VERSION
            && self.version.bytes().all(|byte| byte.is_ascii_graphic())
            && !self.node.0.chars().any(char::is_control)
    }

    /// The same node with another status, in a later word.
    pub(super) fn with(&self, status: Status, generation: u64) -> Self {
        Self { status, generation, ..self.clone() }
    }

    pub(super) fn sighting(&self, life: Life) -> GossipObservation {
        GossipObservation {
            node: self.node.clone(),
            generation: self.generation,
            life,
            status: self.status,
            addresses: Addresses {
                peer: Some(self.peer),
                http: Some(self.http),
                grpc: self.grpc,
                session: self.session,
            },
            version: self.version.clone(),
            protocols: self.protocols,
        }
    }
}

/// Which node a datagram is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reach {
    At(SocketAddr),
    /// Whoever receives it.
    Whoever,
}

/// A datagram for whoever receives it is for each of them.
impl PartialEq for Reach {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::At(one), Self::At(other)) => one == other,
            (Self::Whoever, _) | (_, Self::Whoever) => true,
        }
    }
}

impl foca::Identity for Identity {
    type Addr = Reach;

    fn renew(&self) -> Option<Self> {
        Some(self.with(self.status, self.generation.saturating_add(1)))
    }

    fn addr(&self) -> Reach {
        if self.is_whoever() { Reach::Whoever } else { Reach::At(self.peer) }
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self.generation > adversary.generation
    }
}
