//! When to ask whether the node is there, and when to give it up. Pure; time is an argument.
//!
//! A beat is a third of the idle time. After each beat without a frame the node is asked; after the third it is given
//! up.

use std::time::Duration;

use tokio::time::Instant;

/// Idle time of a node that names none.
const DEFAULT_IDLE: Duration = Duration::from_secs(30);
/// Bounds of the idle time, whatever a node names.
const IDLE_BOUNDS: (Duration, Duration) = (Duration::from_millis(30), Duration::from_secs(3_600));
/// Beats without a frame after which a connection is dead.
const MISSES: u32 = 3;

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beat {
    /// Nothing yet.
    Wait,
    /// Ask, with this number.
    Ping(u64),
    /// Leave.
    Dead,
}

/// The heartbeat of one connection.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    beat: Duration,
    /// When the next beat is due.
    due: Instant,
    missed: u32,
    number: u64,
}

impl Heartbeat {
    /// Begins when a frame was heard at `now`; `idle_timeout_ms` is what the node said.
    pub(crate) fn new(idle_timeout_ms: u64, now: Instant) -> Self {
        let idle = match idle_timeout_ms {
            0 => DEFAULT_IDLE,
            told => Duration::from_millis(told).clamp(IDLE_BOUNDS.0, IDLE_BOUNDS.1),
        };
        Self { beat: idle / 3, due: now + idle / 3, missed: 0, number: 0 }
    }

    /// A frame came.
    pub(crate) fn heard(&mut self, now: Instant) {
        (self.due, self.missed) = (now + self.beat, 0);
    }

    /// When to look again.
    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    /// What is due at `now`. However late the call, it counts one beat.
    pub(crate) fn beat(&mut self, now: Instant) -> Beat {
        if now < self.due {
            return Beat::Wait;
        }
        // A program that slept through several beats still gives the node time to answer.
        self.due = now + self.beat;
        self.missed += 1;
        if self.missed >= MISSES {
            return Beat::Dead;
        }
        self.number += 1;
        Beat::Ping(self.number)
    }
}

#[cfg(test)]
mod tests;
