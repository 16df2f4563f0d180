//! A link to a peer: which version both ends speak, when to dial again, when a link counts as dead, and what waits for
//! a peer without one. Safety needs nothing of it: whatever is dropped here is repaired by the publish protocol.
//!
//! Owns these rules and their figures; opens nothing, reads no clock and draws no chance.

mod backlog;
mod backoff;
mod pulse;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use backlog::Backlog;
pub use backoff::Backoff;
pub use pulse::{Beat, Pulse};

use crate::time::Mono;

/// A peer that was heard no longer ago than this counts as heard. The peer pings every second.
pub const HEARD: Duration = Duration::from_secs(3);
/// A link on which the peer said nothing for so long is dead.
pub const SILENCE: Duration = Duration::from_secs(4);

/// The versions of what nodes say to each other that a program speaks: all from `min` to `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// The lowest.
    pub min: u16,
    /// The highest.
    pub max: u16,
}

impl Versions {
    /// The highest version that both speak; `None` when there is none.
    #[must_use]
    pub fn common(self, other: Self) -> Option<u16> {
        let highest = self.max.min(other.max);
        (highest >= self.min && highest >= other.min).then_some(highest)
    }
}

/// `1 to 2`, for logs and messages.
impl fmt::Display for Versions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} to {}", self.min, self.max)
    }
}

/// A peer that was heard on a link no longer ago than this has not given that link up: another one that says it is the
/// same peer is turned away. The peer pings every second.
pub const SPEAKS: Duration = Duration::from_millis(1_500);

/// True when the peer was heard a moment ago.
#[must_use]
pub fn is_heard(heard: Option<Mono>, now: Mono) -> bool {
    heard.is_some_and(|heard| now.since(heard) <= HEARD)
}

#[cfg(test)]
mod tests;
