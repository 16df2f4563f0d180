//! `?wait=`: how long a read may be held until something changes. Owns the form and the limit; waits for nothing.

use std::time::Duration;

/// The longest a read is held.
pub const MAX_WAIT: Duration = Duration::from_secs(60);

/// Why a waiting time was refused. Nothing was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WaitError {
    /// Not a number with a known unit.
    #[error("wait must be a whole number with the unit ms, s or m, such as 30s; without unit it means seconds")]
    Malformed,
    /// More than [`MAX_WAIT`].
    #[error("wait is at most {} s", MAX_WAIT.as_secs())]
    TooLong,
}

/// Reads a waiting time. Zero means not to wait.
///
/// # Errors
/// [`WaitError`] says what is allowed.
pub fn parse(text: &str) -> Result<Duration, WaitError> {
    let unit_at = text.find(|sign: char| !sign.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(unit_at).ok_or(WaitError::Malformed)?;
    let milliseconds_per_unit: u64 = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        _ => return Err(WaitError::Malformed),
    };
    if digits.is_empty() {
        return Err(WaitError::Malformed);
    }
    // Digits alone fail to parse only when the number is too large.
    let number: u64 = digits.parse().unwrap_or(u64::MAX);
    let wait = Duration::from_millis(number.saturating_mul(milliseconds_per_unit));
    if wait > MAX_WAIT { Err(WaitError::TooLong) } else { Ok(wait) }
}

#[cfg(test)]
mod tests;
