//! The figures of one measure, as JSON or as a table. Computes nothing.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;

/// The figures, as far as they apply to the measure (hence many fields, most of them optional).
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// What was measured.
    pub measure: &'static str,
    /// Connections, listeners included.
    pub connections: u64,
    /// Requests answered as they should be; for long polls, the listeners that heard, over all rounds.
    pub operations: u64,
    /// Operations a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Half of the operations took no longer; for long polls, from the beginning of the publish. Median of rounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50_ms: Option<f64>,
    /// 99 of 100 took no longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
    /// 999 of 1000 took no longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p999_ms: Option<f64>,
    /// Requests refused, answered wrongly or not at all.
    pub errors: u64,
    /// Keys that, when read back, hold something older than what was last acknowledged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
    /// Polls without an answer that names the change, over all rounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed: Option<u64>,
    /// From the beginning of the publish to the first listener's answer. Median of rounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_ms: Option<f64>,
    /// … to the last listener's answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_ms: Option<f64>,
    /// … to the publisher's own answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publisher_ms: Option<f64>,
    /// From the beginning of the publish until half of the sessions had answered that they use it. Median of rounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied_p50_ms: Option<f64>,
    /// … until 99 of 100 had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied_p99_ms: Option<f64>,
    /// From the beginning of the publish until half of the listeners had asked for the content, and got it. Median of
    /// rounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_p50_ms: Option<f64>,
    /// … until 99 of 100 had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_p99_ms: Option<f64>,
    /// … until the last one had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_last_ms: Option<f64>,
    /// The longest that a request to listen took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listened_ms: Option<f64>,
    /// Processor time of the server per operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_cpu_us_per_op: Option<f64>,
    /// Processor time of the generator per operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generator_cpu_us_per_op: Option<f64>,
    /// Processor time of the generator as a share of one core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generator_cpu_share: Option<f64>,
    /// Memory of the server per held poll, from what it had before they came to all of them held the first time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_listener: Option<f64>,
    /// Memory of the server before the measure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_bytes_before: Option<u64>,
    /// Memory of the server at the end of the measure; for long polls, all of them held for the last time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_bytes_after: Option<u64>,
}

impl Report {
    /// One JSON object on one line. Figures that do not apply are left out.
    ///
    /// # Errors
    /// Never in practice; the serialiser's own.
    pub fn to_json(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string(self).context("cannot write the report")? + "\n")
    }

    /// A table of two columns.
    #[must_use]
    pub fn to_table(&self) -> String {
        let count = |count: u64| Some(count.to_string());
        let tenths = |figure: Option<f64>| figure.map(|figure| format!("{figure:.1}"));
        let millis = |figure: Option<f64>| figure.map(|figure| format!("{figure:.2} ms"));
        let micros = |figure: Option<f64>| figure.map(|figure| format!("{figure:.1} µs"));
        let mib = |bytes: Option<u64>| bytes.map(|bytes| format!("{:.1} MiB", bytes as f64 / 1_048_576.0));
        let rows = [
            ("connections", count(self.connections)),
            ("operations", count(self.operations)),
            ("rate", self.rate.map(|rate| format!("{rate:.0} /s"))),
            ("first", millis(self.first_ms)),
            ("p50", millis(self.p50_ms)),
            ("p99", millis(self.p99_ms)),
            ("p99.9", millis(self.p999_ms)),
            ("last", millis(self.last_ms)),
            ("applied p50", millis(self.applied_p50_ms)),
            ("applied p99", millis(self.applied_p99_ms)),
            ("content p50", millis(self.content_p50_ms)),
            ("content p99", millis(self.content_p99_ms)),
            ("content last", millis(self.content_last_ms)),
            ("longest request to listen", millis(self.listened_ms)),
            ("publisher's answer", millis(self.publisher_ms)),
            ("errors", count(self.errors)),
            ("lost", self.lost.and_then(count)),
            ("missed", self.missed.and_then(count)),
            ("server processor per operation", micros(self.server_cpu_us_per_op)),
            ("generator processor per operation", micros(self.generator_cpu_us_per_op)),
            (
                "generator share of a core",
                tenths(self.generator_cpu_share.map(|share| share * 100.0)).map(|of| of + " %"),
            ),
            ("server memory per listener", tenths(self.bytes_per_listener).map(|bytes| bytes + " bytes")),
            ("server memory before", mib(self.server_bytes_before)),
            ("server memory after", mib(self.server_bytes_after)),
        ];
        let mut table = format!("{}\n", self.measure);
        for (name, figure) in rows.into_iter().filter_map(|(name, figure)| Some((name, figure?))) {
            writeln!(table, "  {name:34} {figure:>14}").expect("writing to a String never fails");
        }
        table
    }
}

/// Milliseconds.
pub(super) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// The median of times that rounds saw, in milliseconds; `None` when none saw it.
pub(super) fn median(times: impl Iterator<Item = Duration>) -> Option<f64> {
    let mut times: Vec<Duration> = times.collect();
    times.sort_unstable();
    times.get(times.len() / 2).copied().map(millis)
}

/// Microseconds per operation; `None` when there was none.
pub(super) fn micros_per(duration: Duration, operations: u64) -> Option<f64> {
    (operations > 0).then(|| duration.as_secs_f64() * 1e6 / operations as f64)
}
