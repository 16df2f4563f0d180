//! When a node announces itself, and to whom. Owns the addresses to try and the times of the rounds; sends nothing.
//!
//! An announcement is what finds other nodes: one that is lost is never repeated by foca, and a cluster that was split
//! in two halves, each of which takes the other for dead, is healed by nothing else soon enough.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use callboard_protocol::time::Mono;
use rand::RngExt;

/// Addresses that are kept of each kind, and that one round goes to.
const MOST: usize = 256;
/// Between rounds of a node whose present identity nobody is known to know.
const WHILE_ALONE: Duration = Duration::from_secs(1);
/// Between rounds of a node that has others: each goes to one address.
const WITH_OTHERS: Duration = Duration::from_secs(10);
/// Before the round that follows a new identity.
const WHEN_URGENT: Duration = Duration::from_millis(250);

/// The rounds of a node.
#[derive(Debug, Default)]
pub(super) struct Announcement {
    /// From the settings.
    seeds: Vec<SocketAddr>,
    /// From the membership rows.
    peers: Vec<SocketAddr>,
    last: Option<Mono>,
    is_urgent: bool,
}

impl Announcement {
    /// Replaces the seeds; returns those that are new.
    pub(super) fn set_seeds(&mut self, mut seeds: Vec<SocketAddr>) -> Vec<SocketAddr> {
        seeds.truncate(MOST);
        let new = seeds.iter().filter(|seed| !self.seeds.contains(seed)).copied().collect();
        self.seeds = seeds;
        new
    }

    /// Replaces the addresses from rows; returns those that are new.
    pub(super) fn set_peers(&mut self, mut peers: Vec<SocketAddr>) -> Vec<SocketAddr> {
        peers.truncate(MOST);
        let new = peers.iter().filter(|peer| !self.peers.contains(peer)).copied().collect();
        self.peers = peers;
        new
    }

    /// The present identity is new to everybody.
    pub(super) fn hurry(&mut self) {
        self.is_urgent = true;
    }

    pub(super) fn is_due(&self, now: Mono, is_alone: bool) -> bool {
        let pause = match (self.is_urgent, is_alone) {
            (true, _) => WHEN_URGENT,
            (false, true) => WHILE_ALONE,
            (false, false) => WITH_OTHERS,
        };
        self.last.is_none_or(|last| now.since(last) >= pause)
    }

    /// Begins a round; returns whom it goes to: every known address of a node that is alone or has a new identity, and
    /// those of the members as well; else one address by chance, of a node that is no member if there is one.
    pub(super) fn begin(
        &mut self,
        now: Mono,
        is_alone: bool,
        members: &BTreeSet<SocketAddr>,
        me: SocketAddr,
        chance: &mut impl RngExt,
    ) -> Vec<SocketAddr> {
        let to_all = is_alone || self.is_urgent;
        (self.last, self.is_urgent) = (Some(now), false);
        let mut known: BTreeSet<SocketAddr> = self.seeds.iter().chain(&self.peers).copied().collect();
        known.remove(&me);
        if to_all {
            return known.union(members).take(MOST).copied().collect();
        }
        let strangers: Vec<SocketAddr> = known.difference(members).copied().collect();
        let choice = if strangers.is_empty() { known.into_iter().collect() } else { strangers };
        if choice.is_empty() {
            return Vec::new();
        }
        choice.get(chance.random_range(0..choice.len())).copied().into_iter().collect()
    }
}
