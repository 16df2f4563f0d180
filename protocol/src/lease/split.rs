//! Which linked nodes have their lease in another database than this one: two primaries after a fail-over that left the
//! former one alive, or nodes that were given two addresses. Owns the rule that tells such a node from one that is
//! about to follow; knows the database by what it says of itself and by its rows alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::message::{Announcement, CommitGate, Observation, Split};
use crate::extent::{Extent, Fingerprint};
use crate::member::{MemberRow, NodeId};
use crate::time::Mono;

/// A peer, as it last said.
#[derive(Debug)]
struct Peer {
    said: Announcement,
    at: Mono,
    /// The number of its row when it was first seen to be in another database than the present own one.
    apart_since: Option<u64>,
    /// Its lease was renewed there since.
    stays: bool,
}

/// The peers.
#[derive(Debug)]
pub(super) struct Peers {
    /// How long a lease that was announced can last.
    lasts: Duration,
    own: Fingerprint,
    extent: Extent,
    peers: BTreeMap<NodeId, Peer>,
}

impl Peers {
    pub(super) fn new(lasts: Duration) -> Self {
        Self { lasts, own: Fingerprint::UNKNOWN, extent: Extent::default(), peers: BTreeMap::new() }
    }

    /// The database that this node asks.
    pub(super) fn database(&self) -> Fingerprint {
        self.own
    }

    /// A peer says where it has its lease.
    pub(super) fn note(&mut self, now: Mono, said: Announcement) {
        let before = self.peers.remove(&said.node);
        let mut peer = Peer { said, at: now, apart_since: None, stays: false };
        let is_elsewhere = peer.said.database.differs_from(self.own);
        if let Some(before) = before
            && peer.said.incarnation.is_some()
            && before.said.incarnation == peer.said.incarnation
            && before.said.database.differs_from(self.own) == is_elsewhere
        {
            (peer.apart_since, peer.stays) = (before.apart_since, before.stays);
        }
        if is_elsewhere {
            peer.is_apart();
        }
        self.peers.insert(peer.said.node.clone(), peer);
    }

    /// Takes what the database said to a question that was sent at `asked`.
    pub(super) fn see(&mut self, asked: Mono, observation: &Observation) {
        let own = observation.identity.fingerprint();
        self.extent = observation.extent();
        if own != self.own {
            self.own = own;
            for peer in self.peers.values_mut() {
                (peer.apart_since, peer.stays) = (None, false);
            }
        }
        for (node, peer) in &mut self.peers {
            if peer.said.database.differs_from(own) {
                peer.is_apart();
            } else if peer.at < asked {
                let shows = |row: &&MemberRow| row.node == *node && Some(row.incarnation) == peer.said.incarnation;
                let row = observation.rows.iter().find(shows);
                // Servers that name themselves alike may be two all the same: what was renewed there is not here.
                if row.is_some_and(|row| row.renew_seq >= peer.said.renew_seq) || peer.said.incarnation.is_none() {
                    (peer.apart_since, peer.stays) = (None, false);
                } else {
                    peer.is_apart();
                }
            }
        }
    }

    /// Whether anything may be committed beside these `linked` nodes.
    pub(super) fn gate(&self, now: Mono, linked: &BTreeSet<NodeId>) -> CommitGate {
        let leased = |peer: &&Peer| {
            let is_linked = linked.contains(&peer.said.node);
            is_linked && peer.said.incarnation.is_some() && now.since(peer.at) < self.lasts
        };
        let apart = self.peers.values().filter(leased).filter(|peer| peer.apart_since.is_some());
        let mut gate = CommitGate::Open;
        for peer in apart {
            if peer.stays {
                let (node, theirs) = (peer.said.node.clone(), peer.said.extent);
                return CommitGate::Split(Split { node, theirs, ours: self.extent });
            }
            if peer.said.database.differs_from(self.own) {
                gate = CommitGate::Waiting;
            }
        }
        gate
    }

    /// When the gate changes by time alone.
    pub(super) fn next_change(&self) -> Option<Mono> {
        let apart = self.peers.values().filter(|peer| peer.apart_since.is_some());
        apart.map(|peer| peer.at.after(self.lasts)).min()
    }

    /// Forgets what is too old to count.
    pub(super) fn forget(&mut self, now: Mono) {
        self.peers.retain(|_, peer| now.since(peer.at) < self.lasts);
    }
}

impl Peer {
    fn is_apart(&mut self) {
        let renewed = self.said.renew_seq;
        self.stays |= self.apart_since.is_some_and(|since| renewed > since);
        self.apart_since.get_or_insert(renewed);
    }
}
