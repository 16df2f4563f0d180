//! The clocks of a node, injected so that tests can hold them: one that runs on through suspend and orders leases, and
//! the wall clock that is shown to people. Never used for anything that `tokio::time` can do.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use callboard_protocol::time::{Mono, WallMillis};

/// Where the time comes from.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time since the machine started, suspend included.
    fn mono(&self) -> Mono;
    /// The clock of leases: it never runs slower than [`Clock::mono`], and jumps ahead when the wall clock does, which
    /// may end a lease early and never late.
    fn lease(&self) -> Mono {
        self.mono()
    }
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

/// The clocks of a node that holds a lease: as the two of `clocks`, of which the wall clock may end a lease early.
#[derive(Debug, Default)]
pub struct LeaseClock<C> {
    clocks: C,
    /// The furthest that the wall clock was ever seen ahead of where it would be had it run with the other one, in
    /// milliseconds.
    ahead: AtomicI64,
    /// How far it lay ahead at first, in milliseconds.
    origin: OnceLock<i64>,
}

impl<C: Clock> LeaseClock<C> {
    /// A clock over these two.
    #[must_use]
    pub fn new(clocks: C) -> Self {
        Self { clocks, ahead: AtomicI64::new(0), origin: OnceLock::new() }
    }
}

impl<C: Clock> Clock for LeaseClock<C> {
    fn mono(&self) -> Mono {
        self.clocks.mono()
    }

    fn lease(&self) -> Mono {
        let (mono, wall) = (self.clocks.mono(), self.clocks.wall());
        let offset = wall.0.saturating_sub(i64::try_from(mono.0.as_millis()).unwrap_or(i64::MAX));
        let jumped = offset.saturating_sub(*self.origin.get_or_init(|| offset));
        // The two are read one after the other: a millisecond says nothing.
        let ahead = if jumped > 1 {
            self.ahead.fetch_max(jumped, Ordering::Relaxed).max(jumped)
        } else {
            self.ahead.load(Ordering::Relaxed)
        };
        mono.after(Duration::from_millis(u64::try_from(ahead).unwrap_or_default()))
    }

    fn wall(&self) -> WallMillis {
        self.clocks.wall()
    }
}

#[cfg(test)]
mod tests;
