//! Whether the other end of a session lives: it is pinged when nothing came for a part of the idle time (a third, if
//! nobody says otherwise), and given up when nothing came for the whole of it. Decides; never sends.

use std::time::Duration;

use crate::time::Mono;

/// What to do about a connection now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// Nothing, for so long.
    Rest(Duration),
    /// Send the ping of this number, and look again after so long.
    Ping(u64, Duration),
    /// Close it.
    Idle,
}

/// The silence of one connection.
#[derive(Debug, Clone, Copy)]
pub struct Liveness {
    idle: Duration,
    /// The silence after which it is pinged.
    ping_after: Duration,
    heard: Mono,
    pinged: Mono,
    number: u64,
}

impl Liveness {
    /// A connection that was heard `now`, and may be silent for `idle`.
    #[must_use]
    pub fn new(idle: Duration, now: Mono) -> Self {
        Self::pinged_after(idle / 3, idle, now)
    }

    /// As [`Self::new`], and is pinged after each `ping_after` of silence.
    #[must_use]
    pub fn pinged_after(ping_after: Duration, idle: Duration, now: Mono) -> Self {
        Self { idle, ping_after, heard: now, pinged: now, number: 0 }
    }

    /// A frame came.
    pub fn heard(&mut self, now: Mono) {
        self.heard = now;
    }

    /// When the last frame came.
    #[must_use]
    pub fn last_heard(&self) -> Mono {
        self.heard
    }

    /// What to do now.
    pub fn beat(&mut self, now: Mono) -> Beat {
        let (silent, part) = (now.since(self.heard), self.ping_after);
        if silent >= self.idle {
            return Beat::Idle;
        }
        let since_sign = silent.min(now.since(self.pinged));
        if since_sign < part {
            // Rounded up, so that the look is not a moment too early.
            return Beat::Rest((part - since_sign).min(self.idle - silent) + Duration::from_millis(1));
        }
        self.number = self.number.wrapping_add(1);
        self.pinged = now;
        Beat::Ping(self.number, part.min(self.idle - silent) + Duration::from_millis(1))
    }
}

#[cfg(test)]
mod tests {
    //! Silence is noticed in time, and traffic is left alone.

    use std::time::Duration;

    use super::{Beat, Liveness};
    use crate::time::Mono;

    const IDLE: Duration = Duration::from_secs(30);

    fn at(seconds: u64) -> Mono {
        Mono(Duration::from_secs(seconds))
    }

    #[test]
    fn silence_is_pinged_at_each_third_and_ended_after_the_whole() {
        let mut liveness = Liveness::new(IDLE, at(0));
        assert_eq!(liveness.beat(at(0)), Beat::Rest(Duration::from_millis(10_001)));
        assert_eq!(liveness.beat(at(10)), Beat::Ping(1, Duration::from_millis(10_001)));
        assert!(matches!(liveness.beat(at(15)), Beat::Rest(_)), "the ping has not had its time");
        assert!(matches!(liveness.beat(at(20)), Beat::Ping(2, _)));
        assert_eq!(liveness.beat(at(30)), Beat::Idle);
    }

    #[test]
    fn traffic_needs_no_pings() {
        let mut liveness = Liveness::new(IDLE, at(0));
        for second in 1..200 {
            liveness.heard(at(second));
            assert!(matches!(liveness.beat(at(second)), Beat::Rest(_)), "{second}");
        }
    }

    #[test]
    fn looking_when_told_to_is_enough() {
        let (mut liveness, mut now, mut pings) = (Liveness::new(IDLE, at(0)), at(0), 0);
        loop {
            match liveness.beat(now) {
                Beat::Rest(wait) => now = now.after(wait),
                Beat::Ping(_, wait) => {
                    pings += 1;
                    now = now.after(wait);
                }
                Beat::Idle => break,
            }
        }
        assert_eq!(pings, 2);
        assert!(now.since(at(30)) < Duration::from_millis(50), "{now:?}");
    }
}
