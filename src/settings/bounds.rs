//! Range checks shared by the sections. Knows no key; never changes a value.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::error::Invalid;

/// The shortest time that is sensible as a time-out or an interval.
pub(super) const SHORTEST: Duration = Duration::from_millis(10);
/// The longest time that is sensible as a time-out.
pub(super) const HOUR: Duration = Duration::from_secs(3600);
/// 24 hours.
pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);

pub(super) fn count(key: &'static str, value: usize, allowed: RangeInclusive<usize>) -> Result<(), Invalid> {
    if allowed.contains(&value) {
        return Ok(());
    }
    Err(Invalid::new(key, format!("must be from {} to {}", allowed.start(), allowed.end())))
}

pub(super) fn duration(key: &'static str, value: Duration, allowed: RangeInclusive<Duration>) -> Result<(), Invalid> {
    if allowed.contains(&value) {
        return Ok(());
    }
    let [least, most] = [allowed.start(), allowed.end()].map(|bound| humantime::format_duration(*bound));
    Err(Invalid::new(key, format!("must be from {least} to {most}")))
}
