//! The two kinds of time the rules see: a monotonic one that orders timers and leases, and a wall clock that is shown
//! to people. Both are arguments; nothing here reads a clock, and a wall clock orders nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point on one node's monotonic clock: the time since an origin of that clock's own choosing.
///
/// Points of different nodes, or of different processes, can't be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mono(pub Duration);

impl Mono {
    /// The point `later` after this one; saturates at the end of time.
    #[must_use]
    pub fn after(self, later: Duration) -> Self {
        Self(self.0.saturating_add(later))
    }

    /// How long ago `earlier` was; zero when it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// Milliseconds since the Unix epoch by some node's wall clock. For people only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WallMillis(pub i64);
