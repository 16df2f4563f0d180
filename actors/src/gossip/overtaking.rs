//! How far a node's word of itself has to leap to be later than another word under the same id: its own from before its
//! clock was set back, or that of a second process. Owns the counting; changes no identity.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use callboard_protocol::time::Mono;

/// Renewals of the identity that follow each other within this time mean that a later one of this node is known, from
/// before its clock was set back.
const RENEWALS_WITHIN: Duration = Duration::from_secs(10);
/// How many of them are ordinary.
const ORDINARY_RENEWALS: u32 = 2;
/// A second process that was not heard for so long is told of anew when it is.
const QUIET_AFTER: Duration = Duration::from_secs(60);
/// Addresses of second processes that are remembered.
const MOST_NAMESAKES: usize = 16;

/// How often the identity was renewed of late.
#[derive(Debug, Default)]
pub(super) struct Renewals {
    last: Option<Mono>,
    count: u32,
}

impl Renewals {
    /// Counts one; returns how far the generation has to leap to overtake the one that is known.
    pub(super) fn count(&mut self, now: Mono) -> u64 {
        if self.last.is_none_or(|last| now.since(last) >= RENEWALS_WITHIN) {
            self.count = 0;
        }
        (self.last, self.count) = (Some(now), self.count.saturating_add(1));
        match self.count.checked_sub(ORDINARY_RENEWALS + 1) {
            None => 0,
            Some(beyond) => 1_000_u64 << beyond.min(40),
        }
    }
}

/// Processes with the id of this node that were heard themselves, which only the living can be.
#[derive(Debug, Default)]
pub(super) struct Namesakes {
    heard: BTreeMap<SocketAddr, Mono>,
}

impl Namesakes {
    /// One was heard. True when that is news.
    pub(super) fn observe(&mut self, now: Mono, address: SocketAddr) -> bool {
        self.heard.retain(|_, heard| now.since(*heard) < QUIET_AFTER);
        let is_news = !self.heard.contains_key(&address);
        if !is_news || self.heard.len() < MOST_NAMESAKES {
            self.heard.insert(address, now);
        }
        is_news
    }
}
