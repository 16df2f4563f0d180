//! When a client that is waited for is too slow: with what it has begun to send, or with reading what it asked for.
//! Only the time counts in which nothing but the client was waited for. Decides; never waits.

use std::time::Duration;

use crate::time::Mono;

/// What a client may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Longest time in which nothing moves.
    pub silence: Duration,
    /// Longest time in all; [`Duration::MAX`] for one of any length.
    pub total: Duration,
}

/// The time after which a rate is asked for.
pub const GRACE: Duration = Duration::from_secs(10);
/// What has to move in a second then, on the average from the beginning, in bytes.
pub const LEAST_RATE: u32 = 1024;

/// How one thing goes on that a client shall do.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    patience: Patience,
    /// How long the client was waited for, up to when it moved last.
    waited: Duration,
    /// Since when it is waited for now.
    since: Option<Mono>,
    moved: u64,
}

impl Progress {
    /// It begins.
    #[must_use]
    pub fn new(patience: Patience) -> Self {
        Self { patience, waited: Duration::ZERO, since: None, moved: 0 }
    }

    /// The client is waited for. Returns until when, unless it moves.
    pub fn wait(&mut self, now: Mono) -> Mono {
        let since = *self.since.get_or_insert(now);
        let earned = GRACE.saturating_add(Duration::from_secs(self.moved / u64::from(LEAST_RATE)));
        let left = |limit: Duration| limit.saturating_sub(self.waited);
        since.after(self.patience.silence.min(left(self.patience.total)).min(left(earned)))
    }

    /// So many bytes moved.
    pub fn moved(&mut self, now: Mono, bytes: usize) {
        if let Some(since) = self.since.take() {
            self.waited = self.waited.saturating_add(now.since(since));
        }
        self.moved = self.moved.saturating_add(bytes as u64);
    }

    /// True when the client is waited for, and too slow.
    #[must_use]
    pub fn is_too_slow(&self, now: Mono) -> bool {
        let mut copy = *self;
        self.since.is_some() && copy.wait(now) <= now
    }
}

#[cfg(test)]
mod tests {
    //! Silence, a trickle and a long time end it; what others take does not count.

    use std::time::Duration;

    use super::{Patience, Progress};
    use crate::time::Mono;

    const PATIENCE: Patience = Patience { silence: Duration::from_secs(15), total: Duration::MAX };

    fn at(seconds: u64) -> Mono {
        Mono(Duration::from_secs(seconds))
    }

    #[test]
    fn who_is_silent_is_too_slow_after_the_silence_or_the_grace() {
        let mut progress = Progress::new(Patience { silence: Duration::from_secs(3), ..PATIENCE });
        assert_eq!(progress.wait(at(100)), at(103));
        assert!(!progress.is_too_slow(at(102)) && progress.is_too_slow(at(103)));
        progress.moved(at(102), 1);
        assert!(!progress.is_too_slow(at(103)), "nobody is waited for");
        assert_eq!(progress.wait(at(104)), at(107));
    }

    #[test]
    fn a_trickle_is_too_slow_after_the_grace() {
        let (mut progress, mut now) = (Progress::new(PATIENCE), 0);
        while progress.wait(at(now)) > at(now + 1) {
            now += 1;
            progress.moved(at(now), 100);
        }
        assert!((9..=11).contains(&now), "it ended after {now} s");
    }

    #[test]
    fn who_sends_fast_enough_may_take_as_long_as_it_takes() {
        let mut progress = Progress::new(PATIENCE);
        for second in 0..100_000 {
            assert!(progress.wait(at(second)) > at(second + 1));
            progress.moved(at(second + 1), 1100);
        }
    }

    #[test]
    fn time_in_which_nobody_is_waited_for_does_not_count() {
        let mut progress = Progress::new(PATIENCE);
        for second in (0..1000).step_by(100) {
            progress.wait(at(second));
            progress.moved(at(second), 1);
        }
        assert_eq!(progress.wait(at(2000)), at(2010));
    }

    #[test]
    fn the_whole_has_its_time_whatever_moves() {
        let mut progress = Progress::new(Patience { total: Duration::from_secs(4), ..PATIENCE });
        progress.wait(at(0));
        progress.moved(at(3), 1_000_000);
        assert_eq!(progress.wait(at(3)), at(4));
    }
}
