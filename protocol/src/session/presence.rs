//! Whether the client at the other end is there, and how fast it may send: what a connection is told of silence and of
//! speed, in one place. Owns the moment at which a client counts as silent; sends nothing and never waits.

use std::time::Duration;

use super::liveness::{Beat, Liveness};
use super::pace::{Allowance, Pace};
use crate::time::Mono;

/// What follows from a message that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// How long to wait before the next is read: the client sends faster than it may.
    pub pause: Duration,
    /// The client counted as silent until now.
    pub is_back: bool,
}

/// What to do about a silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// Look again after so long.
    Rest(Duration),
    /// Ask whether the client is there, and look again after so long.
    Ping {
        /// The number of the ping.
        number: u64,
        /// When to look again.
        wait: Duration,
        /// The client counts as silent from now on.
        is_new: bool,
    },
    /// The client is gone.
    Gone,
}

/// The signs of life of one client.
#[derive(Debug, Clone, Copy)]
pub struct Presence {
    liveness: Liveness,
    pace: Pace,
    is_silent: bool,
}

impl Presence {
    /// A client that has sent nothing yet.
    #[must_use]
    pub fn new(liveness: Liveness, allowance: Allowance) -> Self {
        Self { liveness, pace: Pace::new(allowance), is_silent: false }
    }

    /// So many bytes came, which ask for so much work.
    pub fn heard(&mut self, now: Mono, bytes: usize, work: u32) -> Arrival {
        self.liveness.heard(now);
        Arrival { pause: self.pace.read(now, bytes, work), is_back: std::mem::take(&mut self.is_silent) }
    }

    /// How long nothing has come.
    #[must_use]
    pub fn silent_for(&self, now: Mono) -> Duration {
        now.since(self.liveness.last_heard())
    }

    /// What to do now. A client that has not said who it is `may_be_asked` nothing.
    pub fn beat(&mut self, now: Mono, may_be_asked: bool) -> Silence {
        match self.liveness.beat(now) {
            Beat::Rest(wait) => Silence::Rest(wait),
            Beat::Ping(_, wait) if !may_be_asked => Silence::Rest(wait),
            Beat::Ping(number, wait) => {
                Silence::Ping { number, wait, is_new: !std::mem::replace(&mut self.is_silent, true) }
            }
            Beat::Idle => Silence::Gone,
        }
    }
}

#[cfg(test)]
mod tests {
    //! A client falls silent once, and comes back once.

    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono(Duration::from_secs(seconds))
    }

    fn presence() -> Presence {
        Presence::new(
            Liveness::new(Duration::from_secs(30), at(0)),
            Allowance { frames: 100, bytes: 1_000, work: 1_000 },
        )
    }

    #[test]
    fn a_client_falls_silent_and_comes_back_once_each() {
        let mut presence = presence();
        assert!(matches!(presence.beat(at(10), true), Silence::Ping { number: 1, is_new: true, .. }));
        assert!(matches!(presence.beat(at(20), true), Silence::Ping { number: 2, is_new: false, .. }));
        assert!(presence.heard(at(21), 0, 1).is_back);
        assert!(!presence.heard(at(21), 0, 1).is_back);
        assert_eq!(presence.silent_for(at(25)), Duration::from_secs(4));
        assert!(matches!(presence.beat(at(31), true), Silence::Ping { is_new: true, .. }));
        assert_eq!(presence.beat(at(51), true), Silence::Gone);
    }

    #[test]
    fn who_has_not_said_who_it_is_is_asked_nothing() {
        let mut presence = presence();
        assert!(matches!(presence.beat(at(10), false), Silence::Rest(_)));
        assert!(!presence.heard(at(11), 0, 1).is_back);
        assert_eq!(presence.beat(at(41), false), Silence::Gone);
    }

    #[test]
    fn who_sends_too_fast_is_read_more_slowly() {
        assert_eq!(presence().heard(at(1), 3_000, 1).pause, Duration::from_secs(2));
    }
}
