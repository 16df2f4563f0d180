//! How fast a client may send: so many frames and bytes a second, with one second's worth saved up. One that sends
//! faster is read more slowly; nothing is lost. Decides; never waits.

use std::time::Duration;

use crate::time::Mono;

/// What a session may send in a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Frames.
    pub frames: u32,
    /// Their bytes.
    pub bytes: u64,
}

/// The pace of one session.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    allowance: Allowance,
    /// When what was sent so far is paid for, at the allowed rate.
    frames_paid: Mono,
    bytes_paid: Mono,
}

/// What may be saved up.
const SAVED: Duration = Duration::from_secs(1);

impl Pace {
    /// A session that has sent nothing.
    #[must_use]
    pub fn new(allowance: Allowance) -> Self {
        Self { allowance, frames_paid: Mono::default(), bytes_paid: Mono::default() }
    }

    /// A frame of so many bytes was read: how long to wait before the next is.
    pub fn read(&mut self, now: Mono, bytes: usize) -> Duration {
        let frame = Duration::from_secs(1) / self.allowance.frames.max(1);
        let bytes = Duration::from_secs_f64(bytes as f64 / self.allowance.bytes.max(1) as f64);
        self.frames_paid = self.frames_paid.max(Mono(now.0.saturating_sub(SAVED))).after(frame);
        self.bytes_paid = self.bytes_paid.max(Mono(now.0.saturating_sub(SAVED))).after(bytes);
        self.frames_paid.max(self.bytes_paid).since(now)
    }
}

#[cfg(test)]
mod tests {
    //! A burst goes through, a flood is slowed down to the allowed rate.

    use std::time::Duration;

    use super::{Allowance, Pace};
    use crate::time::Mono;

    const ALLOWANCE: Allowance = Allowance { frames: 100, bytes: 1_000_000 };

    #[test]
    fn a_second_s_worth_goes_through_at_once() {
        let (mut pace, now) = (Pace::new(ALLOWANCE), Mono(Duration::from_secs(9)));
        for frame in 0..100 {
            assert_eq!(pace.read(now, 10), Duration::ZERO, "frame {frame}");
        }
        assert_eq!(pace.read(now, 10), Duration::from_millis(10));
    }

    #[test]
    fn a_flood_is_read_at_the_allowed_rate() {
        let (mut pace, begin) = (Pace::new(ALLOWANCE), Mono(Duration::from_secs(9)));
        let mut now = begin;
        for _ in 0..1_100 {
            now = now.after(pace.read(now, 10));
        }
        assert!((9.9..10.1).contains(&now.since(begin).as_secs_f64()), "{:?}", now.since(begin));
    }

    #[test]
    fn bytes_count_as_well_as_frames() {
        let (mut pace, now) = (Pace::new(ALLOWANCE), Mono(Duration::from_secs(9)));
        assert_eq!(pace.read(now, 3_000_000), Duration::from_secs(2));
    }
}
