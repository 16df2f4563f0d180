//! How fast a client may send: so many frames and bytes a second, and so much work that they ask for, with one second's
//! worth saved up. One that sends faster is read more slowly; nothing is lost. Decides; never waits.

use std::time::Duration;

use crate::time::Mono;

/// What a session may send in a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Frames.
    pub frames: u32,
    /// Their bytes.
    pub bytes: u64,
    /// The work that they ask for, in keys: what it costs to watch one, and to stop.
    pub work: u32,
}

/// What the least costs that a frame can ask for, and each key that it names.
pub const KEY: u32 = 1;
/// What it costs to read what a client describes instead of naming it: a page, all that has a prefix, or is like a
/// pattern.
pub const SEARCH: u32 = 100;
/// Of one frame no more than so many seconds' worth of work counts: a client may be read slowly, but not so slowly that
/// it takes the node for gone.
const MOST_OF_ONE: u32 = 2;

/// The pace of one session.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    allowance: Allowance,
    /// When what was sent so far is paid for, at the allowed rate.
    frames_paid: Mono,
    bytes_paid: Mono,
    work_paid: Mono,
}

/// What may be saved up.
const SAVED: Duration = Duration::from_secs(1);

impl Pace {
    /// A session that has sent nothing.
    #[must_use]
    pub fn new(allowance: Allowance) -> Self {
        let never = Mono::default();
        Self { allowance, frames_paid: never, bytes_paid: never, work_paid: never }
    }

    /// A frame of so many bytes was read, which asks for so much work: how long to wait before the next is.
    pub fn read(&mut self, now: Mono, bytes: usize, work: u32) -> Duration {
        let frame = Duration::from_secs(1) / self.allowance.frames.max(1);
        let bytes = Duration::from_secs_f64(bytes as f64 / self.allowance.bytes.max(1) as f64);
        let allowed = self.allowance.work.max(1);
        let work = Duration::from_secs(work.min(allowed.saturating_mul(MOST_OF_ONE)).into()) / allowed;
        let begun = Mono(now.0.saturating_sub(SAVED));
        for (paid, cost) in [(&mut self.frames_paid, frame), (&mut self.bytes_paid, bytes), (&mut self.work_paid, work)]
        {
            *paid = (*paid).max(begun).after(cost);
        }
        self.frames_paid.max(self.bytes_paid).max(self.work_paid).since(now)
    }
}

#[cfg(test)]
mod tests {
    //! A burst goes through, a flood is slowed down to the allowed rate.

    use std::time::Duration;

    use super::{Allowance, KEY, Pace};
    use crate::time::Mono;

    const ALLOWANCE: Allowance = Allowance { frames: 100, bytes: 1_000_000, work: 1_000 };

    #[test]
    fn a_second_s_worth_goes_through_at_once() {
        let (mut pace, now) = (Pace::new(ALLOWANCE), Mono(Duration::from_secs(9)));
        for frame in 0..100 {
            assert_eq!(pace.read(now, 10, KEY), Duration::ZERO, "frame {frame}");
        }
        assert_eq!(pace.read(now, 10, KEY), Duration::from_millis(10));
    }

    #[test]
    fn a_flood_is_read_at_the_allowed_rate() {
        let (mut pace, begin) = (Pace::new(ALLOWANCE), Mono(Duration::from_secs(9)));
        let mut now = begin;
        for _ in 0..1_100 {
            now = now.after(pace.read(now, 10, KEY));
        }
        assert!((9.9..10.1).contains(&now.since(begin).as_secs_f64()), "{:?}", now.since(begin));
    }

    #[test]
    fn bytes_count_as_well_as_frames() {
        let (mut pace, now) = (Pace::new(ALLOWANCE), Mono(Duration::from_secs(9)));
        assert_eq!(pace.read(now, 3_000_000, KEY), Duration::from_secs(2));
    }

    #[test]
    fn work_counts_as_well_as_frames_and_a_second_s_worth_is_saved_up() {
        let (mut pace, now) = (Pace::new(ALLOWANCE), Mono(Duration::from_secs(9)));
        assert_eq!(pace.read(now, 10, 1_000), Duration::ZERO, "all that is saved up");
        assert_eq!(pace.read(now, 10, 500), Duration::from_millis(500));
        assert_eq!(pace.read(now.after(Duration::from_secs(2)), 10, 500), Duration::ZERO);
    }

    #[test]
    fn however_much_work_one_frame_asks_for_the_client_is_heard_again_soon_and_many_such_frames_wait_for_each_other() {
        let (mut pace, now) = (Pace::new(ALLOWANCE), Mono(Duration::from_secs(9)));
        assert_eq!(pace.read(now, 10, u32::MAX), Duration::from_secs(1));
        assert_eq!(pace.read(now, 10, u32::MAX), Duration::from_secs(3));
    }
}
