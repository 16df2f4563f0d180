//! How fast foca works, and how hard it tries: chosen for clusters of two to nine nodes. Owns these figures.

use std::num::{NonZeroU8, NonZeroU32, NonZeroUsize};
use std::time::Duration;

use super::MAX_DATAGRAM;

pub(super) fn config() -> foca::Config {
    let mut config = foca::Config::new_lan(NonZeroU32::new(3).expect("three is not zero"));
    // The default would be two: too few for the suspected to hear of it in time, so that a short pause kills.
    config.max_transmissions = NonZeroU8::new(10).expect("ten is not zero");
    // Without it a node that was wrongly taken for dead never hears of it.
    config.notify_down_members = true;
    // A node that stops is down within eight seconds of it, in a cluster of nine too, where the chance that nobody
    // probes it for a while is larger; one that pauses for three seconds is not.
    config.probe_period = Duration::from_millis(750);
    config.probe_rtt = Duration::from_millis(350);
    config.suspect_to_down_after = Duration::from_millis(3_500);
    config.remove_down_after = Some(Duration::from_secs(3_600));
    config.max_packet_size = NonZeroUsize::new(MAX_DATAGRAM).expect("a datagram has room");
    config
}
