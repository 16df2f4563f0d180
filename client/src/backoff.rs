//! How long to wait before the next node is tried: full jitter under a bound that doubles with each failure. Pure;
//! chance is an argument.

use std::time::Duration;

/// The bounds of the pause between two connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackOff {
    /// The first pause is at most this long.
    pub first: Duration,
    /// No pause is longer.
    pub most: Duration,
}

/// 50 ms at first, 5 s at most.
impl Default for BackOff {
    fn default() -> Self {
        Self { first: Duration::from_millis(50), most: Duration::from_secs(5) }
    }
}

/// The pauses of one series of tries.
#[derive(Debug, Clone)]
pub(crate) struct Pauses {
    bounds: BackOff,
    failures: u32,
}

impl Pauses {
    pub(crate) fn new(bounds: BackOff) -> Self {
        Self { bounds, failures: 0 }
    }

    /// The longest that the next pause can be.
    pub(crate) fn ceiling(&self) -> Duration {
        let factor = 2_u32.saturating_pow(self.failures);
        self.bounds.first.saturating_mul(factor).min(self.bounds.most)
    }

    /// The next pause; `chance` is evenly distributed between 0 and 1.
    pub(crate) fn next(&mut self, chance: f64) -> Duration {
        let pause = self.ceiling().mul_f64(chance.clamp(0.0, 1.0));
        self.failures = self.failures.saturating_add(1);
        pause
    }

    /// Something went well for so long. Begins again when that is longer than the next pause can be: what fails at
    /// once, over and over, is tried less and less.
    pub(crate) fn went_well(&mut self, lasted: Duration) {
        if lasted > self.ceiling() {
            self.failures = 0;
        }
    }
}

#[cfg(test)]
mod tests;
