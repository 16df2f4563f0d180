//! What was observed of one node or cluster: operations with their begin and end on one clock, and what the node
//! itself keeps as history. Owns the words of the checker; judges nothing.
//!
//! Contents are unique for each publish, so a digest tells which publish it came from.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use callboard_protocol::content::Md5;
use callboard_protocol::key::ConfigKey;
use serde_json::Value;
use uuid::Uuid;

/// The one clock of a recording. All records of one history come from copies of one clock.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start.
    #[must_use]
    pub fn now(self) -> Duration {
        self.0.elapsed()
    }
}

/// One operation on one key.
#[derive(Debug, Clone)]
pub struct Record {
    /// The key.
    pub key: ConfigKey,
    /// When it was sent.
    pub begin: Duration,
    /// When its answer was there.
    pub end: Duration,
    /// What it was and what came of it.
    pub what: What,
}

/// Kinds of operations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A publish, or a removal when there is no digest.
    Publish {
        /// The request. Attempts under one idempotency key share it, on whichever node they are made.
        request: Uuid,
        /// Digest of the content.
        md5: Option<Md5>,
        /// How it was answered.
        outcome: Outcome,
    },
    /// A read that was answered with this state; no digest when the key was absent.
    Read {
        /// The version answered.
        version: u64,
        /// The digest answered.
        md5: Option<Md5>,
    },
    /// A read whose answer says itself that it may be old. It tells nothing of time, but shows no state that never was.
    StaleRead {
        /// The version answered.
        version: u64,
        /// The digest answered.
        md5: Option<Md5>,
    },
    /// A change that a subscriber was told. `begin` and `end` are both its arrival.
    Event {
        /// Which subscriber; it keeps its number when it connects again.
        subscriber: usize,
        /// The version told.
        version: u64,
        /// The digest told; none for a removal.
        md5: Option<Md5>,
    },
}

/// How a publish was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Done, under this version.
    Acknowledged(u64),
    /// Refused: nothing was written.
    Failed,
    /// No answer, or one that leaves it open.
    Unknown,
}

impl Outcome {
    /// The outcome that an answer stands for. The contract leaves a 504 open; a 500 leaves it open as well.
    #[must_use]
    pub fn of(status: u16, version: Option<u64>) -> Self {
        match (status, version) {
            (200..=299, Some(version)) => Self::Acknowledged(version),
            (400..=499 | 503, _) => Self::Failed,
            _ => Self::Unknown,
        }
    }
}

/// One change as the node's own history tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The key.
    pub key: ConfigKey,
    /// The version of the change.
    pub version: u64,
    /// Digest of the content; none for a removal.
    pub md5: Option<Md5>,
}

impl Stored {
    /// Reads a row of the history as the REST interface gives it.
    ///
    /// # Errors
    /// The row is not as documented.
    pub fn from_row(key: &ConfigKey, row: &Value) -> anyhow::Result<Self> {
        let version = row["version"].as_u64().with_context(|| format!("no version in {row}"))?;
        let removal = row["operation"] == "remove";
        let md5 = if removal { None } else { row["md5"].as_str().and_then(Md5::parse) };
        anyhow::ensure!(removal || md5.is_some(), "no md5 in {row}");
        Ok(Self { key: key.clone(), version, md5 })
    }
}

/// A whole recording.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Everything that clients did and saw, in any order; the events of one subscriber in their order of arrival.
    pub records: Vec<Record>,
    /// Everything that the node keeps as history of these keys.
    pub stored: Vec<Stored>,
    /// Who must have seen the newest state of which key when the recording ended.
    pub subscriptions: Vec<(usize, ConfigKey)>,
    /// What a read of a key on a node gave when everything had come to rest: node, key, version.
    pub last_reads: Vec<(String, ConfigKey, u64)>,
    /// The revisions of a stretch of the database's table of changes, of all keys, each once and rising. Empty when
    /// nobody looked.
    pub revisions: Vec<u64>,
}
