//! Whether a link lives: it is pinged every second, and each ping has to be answered within three. Black holes are
//! noticed by nothing else. Decides; never sends.

use std::time::Duration;

use crate::time::Mono;

/// The time between pings.
const INTERVAL: Duration = Duration::from_secs(1);
/// A ping that has no answer after this long says that the link is dead.
const ANSWER: Duration = Duration::from_secs(3);

/// What to do about a link now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// Nothing.
    Rest,
    /// Send the ping of this number.
    Ping(u64),
    /// Drop the link.
    Dead,
}

/// The pings of one link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pulse {
    /// Number and time of the last ping.
    last: Option<(u64, Mono)>,
    is_answered: bool,
}

impl Pulse {
    /// What to do now. A new link is pinged at once.
    pub fn beat(&mut self, now: Mono) -> Beat {
        let number = match self.last {
            None => 0,
            Some((_, sent)) if !self.is_answered => {
                return if now.since(sent) >= ANSWER { Beat::Dead } else { Beat::Rest };
            }
            Some((_, sent)) if now.since(sent) < INTERVAL => return Beat::Rest,
            Some((number, _)) => number.wrapping_add(1),
        };
        (self.last, self.is_answered) = (Some((number, now)), false);
        Beat::Ping(number)
    }

    /// The peer answered a ping; true when it is the one that was open.
    pub fn pong(&mut self, number: u64) -> bool {
        let is_open = !self.is_answered && self.last.is_some_and(|(last, _)| last == number);
        self.is_answered |= is_open;
        is_open
    }
}
