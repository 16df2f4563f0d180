//! What operators are told about actors.
//!
//! Plain serialisable values, computed from read-outs; nothing here touches a live actor.

use std::time::Duration;

use serde::Serialize;

use super::meter::{MessageTally, Spread, Tally};

/// One registered actor, or all aggregated actors of one name.
#[derive(Clone, Debug, Serialize)]
pub struct ActorReport {
    /// The registered name, such as `reader-0`.
    pub name: String,
    /// The kind, such as `reader`.
    pub kind: &'static str,
    /// The label of the arbiter it runs on.
    pub arbiter: String,
    /// Instances behind this report: 1, or the running ones of an aggregate.
    pub live: u64,
    /// Time since the first start in milliseconds. A restart after a panic does not reset it.
    pub uptime_ms: u64,
    /// Messages that wait for actors of this *kind*, summed over all instances in the process.
    pub mailbox_depth: u64,
    /// The messages handled to their end, by type.
    pub messages: Vec<MessageReport>,
    /// Times the actor was rebuilt after a panic.
    pub restarts: u64,
    /// Panics caught.
    pub panics: u64,
    /// Messages skipped because their asker was gone.
    pub cancelled: u64,
}

/// The figures of one message type of an actor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MessageReport {
    /// The name of the message type.
    pub message: &'static str,
    /// Messages handled to their end.
    pub count: u64,
    /// Messages skipped because their asker was gone.
    pub cancelled: u64,
    /// Time between sending and handling.
    pub queue: Times,
    /// Time in the handler; of an asynchronous one, its synchronous part.
    pub handle: Times,
}

/// Percentiles in microseconds, each rounded up to a power of two but never above the maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Times {
    /// Half of the times are at most this long.
    pub p50_us: u64,
    /// 99 % of the times are at most this long.
    pub p99_us: u64,
    /// The longest time, exact to the microsecond.
    pub max_us: u64,
}

/// A report together with the actor's own snapshot.
#[derive(Clone, Debug, Serialize)]
pub struct Observation {
    /// The figures that the runtime measured.
    #[serde(flatten)]
    pub report: ActorReport,
    /// What the actor said about itself, if it answered.
    pub snapshot: Option<serde_json::Value>,
    /// Why there is no snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_missing: Option<String>,
}

impl ActorReport {
    /// Fills in the measured part; the registry knows the rest.
    pub(super) fn measured(self, tally: &Tally) -> Self {
        Self {
            messages: tally.messages.iter().map(|(label, tally)| MessageReport::new(label, tally)).collect(),
            restarts: tally.restarts,
            panics: tally.panics,
            cancelled: tally.messages.values().map(|each| each.cancelled).sum(),
            ..self
        }
    }
}

impl MessageReport {
    fn new(message: &'static str, tally: &MessageTally) -> Self {
        Self {
            message,
            count: tally.handle.count(),
            cancelled: tally.cancelled,
            queue: Times::new(&tally.queue),
            handle: Times::new(&tally.handle),
        }
    }
}

impl Times {
    fn new(spread: &Spread) -> Self {
        Self { p50_us: spread.quantile_us(500), p99_us: spread.quantile_us(990), max_us: spread.max_us() }
    }
}

/// Whole milliseconds of a duration.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
