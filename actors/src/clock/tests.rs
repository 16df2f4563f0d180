//! The clock of leases beside a wall clock that jumps.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use callboard_protocol::time::{Mono, WallMillis};

use super::{Clock, LeaseClock};

/// Two clocks in milliseconds that are set by hand.
#[derive(Debug, Default)]
struct ByHand {
    mono: AtomicI64,
    wall: AtomicI64,
}

impl Clock for ByHand {
    fn mono(&self) -> Mono {
        Mono(Duration::from_millis(self.mono.load(Ordering::Relaxed).unsigned_abs()))
    }

    fn wall(&self) -> WallMillis {
        WallMillis(self.wall.load(Ordering::Relaxed))
    }
}

fn at(clock: &LeaseClock<ByHand>, mono: i64, wall: i64) -> u128 {
    clock.clocks.mono.store(mono, Ordering::Relaxed);
    clock.clocks.wall.store(wall, Ordering::Relaxed);
    clock.lease().0.as_millis()
}

#[test]
fn a_wall_clock_that_jumps_ahead_takes_the_lease_clock_along_and_never_back() {
    let clock = LeaseClock::new(ByHand::default());
    assert_eq!(at(&clock, 1_000, 500_000), 1_000);
    assert_eq!(at(&clock, 2_000, 501_000), 2_000);
    assert_eq!(at(&clock, 3_000, 512_000), 13_000, "ten seconds that the other clock did not see");
    assert_eq!(at(&clock, 4_000, 1_000), 14_000, "a wall clock set back gives nothing back");
    assert_eq!(at(&clock, 5_000, 504_000), 15_000);
}
