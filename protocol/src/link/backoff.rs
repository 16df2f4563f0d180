//! When to dial again. Decides the pause; never waits.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(2);
/// Doublings after which the pause has long reached [`LONGEST`].
const MOST_DOUBLINGS: u32 = 16;

/// Pauses that grow with each failure, spread so that nodes do not dial in step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause after one more failure: from half to the whole of 50 ms, doubled up to 2 s. `chance` is evenly random.
    pub fn pause(&mut self, chance: u64) -> Duration {
        let whole = FIRST.saturating_mul(2_u32.saturating_pow(self.failures)).min(LONGEST);
        self.failures = (self.failures + 1).min(MOST_DOUBLINGS);
        let half = whole / 2;
        let spread = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX);
        half + Duration::from_nanos(chance.checked_rem(spread).unwrap_or_default())
    }

    /// A link has proved itself: the next failure is a first one.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}
