//! What the roster is told of: how gossip sees a node, and what its membership row says. Plain facts; nothing here
//! judges them.

use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::lease::LeaseObservation;
use crate::member::{Incarnation, NodeId};

/// What a node says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Status {
    /// It has started and does not take part yet.
    Joining,
    /// It takes part.
    Up,
    /// It is about to stop.
    Leaving,
}

/// The versions of the protocol between nodes that a node speaks, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProtocolRange {
    /// The oldest.
    pub min: u16,
    /// The newest.
    pub max: u16,
}

/// Where a node is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Addresses {
    /// By other nodes.
    pub peer: Option<SocketAddr>,
    /// By clients over HTTP.
    pub http: Option<SocketAddr>,
    /// By clients over gRPC.
    pub grpc: Option<SocketAddr>,
    /// By clients that hold a session.
    pub session: Option<SocketAddr>,
}

impl Addresses {
    /// The addresses as the text of a membership row; those that are not there are left out.
    #[must_use]
    pub fn to_text(&self) -> String {
        let named = [("peer", self.peer), ("http", self.http), ("grpc", self.grpc), ("session", self.session)];
        let shown = named.iter().filter_map(|(name, address)| address.map(|address| format!("{name}={address}")));
        shown.collect::<Vec<_>>().join(" ")
    }

    /// The addresses that a text of [`Addresses::to_text`] holds. What it can't make sense of it leaves out: a newer
    /// node may have written more.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut addresses = Self::default();
        for (name, address) in text.split(' ').filter_map(|part| part.split_once('=')) {
            let slot = match name {
                "peer" => &mut addresses.peer,
                "http" => &mut addresses.http,
                "grpc" => &mut addresses.grpc,
                "session" => &mut addresses.session,
                _ => continue,
            };
            *slot = address.parse().ok();
        }
        addresses
    }

    /// These addresses, and those of `other` where there is none.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            peer: self.peer.or(other.peer),
            http: self.http.or(other.http),
            grpc: self.grpc.or(other.grpc),
            session: self.session.or(other.session),
        }
    }
}

/// Whether a node answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Life {
    /// It does.
    Alive,
    /// It did not when it was asked last, and has not objected yet.
    Suspect,
    /// It did not object to being suspected in time, or said that it leaves.
    Down,
}

/// How gossip sees one node at present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GossipObservation {
    /// Which node.
    pub node: NodeId,
    /// Its latest word of itself; larger is later.
    pub generation: u64,
    /// Whether it answers.
    pub life: Life,
    /// What it said of itself.
    pub status: Status,
    /// Where it is reached.
    pub addresses: Addresses,
    /// The version of its program.
    pub version: Arc<str>,
    /// The protocol it speaks.
    pub protocols: ProtocolRange,
}

/// The sighting that counts, of all those of one id: one that lives before one that does not, then the one at the
/// address of the membership row, then the latest. The row tells the node from a second process that was started
/// under its id. Only between two that answer: a node that moved has an old row until it joins.
#[must_use]
pub fn foremost(sightings: &[GossipObservation], row: Option<SocketAddr>) -> Option<&GossipObservation> {
    let life = |life| match life {
        Life::Alive => 2,
        Life::Suspect => 1,
        Life::Down => 0,
    };
    sightings.iter().max_by_key(|seen| {
        let has_row = row.is_some() && seen.addresses.peer == row;
        (life(seen.life), has_row, seen.generation)
    })
}

/// What the database says of one node at present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowObservation {
    /// Which node.
    pub node: NodeId,
    /// The life that owns the row.
    pub incarnation: Incarnation,
    /// Its lease.
    pub lease: LeaseObservation,
    /// Where the row says that other nodes reach it.
    pub peer: Option<SocketAddr>,
    /// Where the row says that clients reach it.
    pub http: Option<SocketAddr>,
}

impl RowObservation {
    /// The addresses that the row tells.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        Addresses { peer: self.peer, http: self.http, grpc: None, session: None }
    }
}
