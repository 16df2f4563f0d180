//! Waiting for something to become true. Owns the one loop that looks again and again; every wait has a deadline.

use std::time::{Duration, Instant};

use anyhow::bail;

/// Long enough for anything that should happen at once, on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);

const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

/// Asks `look` until it gives a value.
///
/// # Errors
/// What `look` says as an error, or that `what` did not happen within `limit`.
pub async fn until<T>(
    what: &str,
    limit: Duration,
    mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = look().await? {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            bail!("{what}: not within {limit:?}");
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}
