//! The clocks of a node, injected so that tests can hold them: one that runs on through suspend and orders leases, and
//! the wall clock that is shown to people. Never used for anything that `tokio::time` can do.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use callboard_protocol::time::{Mono, WallMillis};

/// Where the time comes from.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time since the machine started, suspend included.
    fn mono(&self) -> Mono;
    /// The wall clock.
    fn wall(&self) -> WallMillis;
}

/// A clock that actors share.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's own clocks: `CLOCK_BOOTTIME` and the system time.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn mono(&self) -> Mono {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
        let nanos = u32::try_from(now.tv_nsec).unwrap_or_default();
        Mono(Duration::new(seconds, nanos))
    }

    fn wall(&self) -> WallMillis {
        // A clock before 1970 is shown as 1970: the time is for people only.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        WallMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}
