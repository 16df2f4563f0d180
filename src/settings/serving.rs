//! Sections `cache`, `publish`, `watch` and `history`: limits and times of the actors. Starts nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::bounds::{self, DAY, HOUR, SHORTEST};
use super::byte_size::ByteSize;
use super::error::Invalid;

/// What is kept in memory. The manual, `config/default.toml`, says more about each value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheOptions {
    /// Memory for cached entries.
    pub max_bytes: ByteSize,
    /// Time between two comparisons with the database.
    #[serde(with = "humantime_serde")]
    pub refresh_interval: Duration,
    /// Time a read waits for a publish of its key to finish.
    #[serde(with = "humantime_serde")]
    pub mark_wait: Duration,
    /// Answer with the cached value, marked, when nothing better can be had.
    pub serve_stale: bool,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self {
            max_bytes: ByteSize::mebibytes(64),
            refresh_interval: Duration::from_secs(30),
            mark_wait: Duration::from_millis(5),
            serve_stale: false,
        }
    }
}

impl CacheOptions {
    /// Checks the ranges that the manual names.
    ///
    /// # Errors
    /// The first value out of range.
    pub fn validate(&self) -> Result<(), Invalid> {
        not_empty("cache.max_bytes", self.max_bytes)?;
        bounds::duration("cache.refresh_interval", self.refresh_interval, SHORTEST..=DAY)?;
        bounds::duration("cache.mark_wait", self.mark_wait, Duration::ZERO..=Duration::from_secs(1))
    }
}

/// How publishes are queued and batched. The manual, `config/default.toml`, says more about each value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishOptions {
    /// Publishes waiting to be written.
    pub max_queued: usize,
    /// Their content.
    pub max_queued_bytes: ByteSize,
    /// Publishes in one transaction.
    pub max_batch_items: usize,
    /// Content in one transaction; a larger publish is a batch of its own.
    pub max_batch_bytes: ByteSize,
    /// Time until a publish is answered.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
}

impl Default for PublishOptions {
    fn default() -> Self {
        Self {
            max_queued: 10_000,
            max_queued_bytes: ByteSize::mebibytes(64),
            max_batch_items: 256,
            max_batch_bytes: ByteSize::mebibytes(1),
            timeout: Duration::from_secs(15),
        }
    }
}

/// How long a publish may take longer than the node itself allows, until its outcome counts as unknown.
const PUBLISH_GRACE: Duration = Duration::from_secs(5);

impl PublishOptions {
    /// How long an answer is waited for, after which the outcome counts as unknown.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.timeout + PUBLISH_GRACE
    }

    /// Checks the ranges that the manual names.
    ///
    /// # Errors
    /// The first value out of range.
    pub fn validate(&self) -> Result<(), Invalid> {
        bounds::count("publish.max_queued", self.max_queued, 1..=1_000_000)?;
        not_empty("publish.max_queued_bytes", self.max_queued_bytes)?;
        bounds::count("publish.max_batch_items", self.max_batch_items, 1..=10_000)?;
        not_empty("publish.max_batch_bytes", self.max_batch_bytes)?;
        bounds::duration("publish.timeout", self.timeout, SHORTEST..=HOUR)
    }
}

/// How changes are streamed. The manual, `config/default.toml`, says more about each value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchOptions {
    /// Time between two comments on a silent stream.
    #[serde(with = "humantime_serde")]
    pub heartbeat: Duration,
    /// Keys that one request may name.
    pub max_keys: usize,
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self { heartbeat: Duration::from_secs(15), max_keys: 10_000 }
    }
}

impl WatchOptions {
    /// Checks the ranges that the manual names.
    ///
    /// # Errors
    /// The first value out of range.
    pub fn validate(&self) -> Result<(), Invalid> {
        bounds::duration("watch.heartbeat", self.heartbeat, SHORTEST..=HOUR)?;
        bounds::count("watch.max_keys", self.max_keys, 1..=1_000_000)
    }
}

/// How long former versions are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryOptions {
    /// Age up to which former versions can be read.
    #[serde(with = "humantime_serde")]
    pub retention: Duration,
}

impl Default for HistoryOptions {
    fn default() -> Self {
        Self { retention: 30 * DAY }
    }
}

impl HistoryOptions {
    /// Checks the range that the manual names.
    ///
    /// # Errors
    /// A time out of range.
    pub fn validate(&self) -> Result<(), Invalid> {
        bounds::duration("history.retention", self.retention, Duration::from_secs(1)..=36_500 * DAY)
    }
}

fn not_empty(key: &'static str, size: ByteSize) -> Result<(), Invalid> {
    if size.bytes() == 0 {
        return Err(Invalid::new(key, "must be at least 1B"));
    }
    Ok(())
}
