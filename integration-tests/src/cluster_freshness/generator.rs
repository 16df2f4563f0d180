//! The load: one generator process for each node, all at once. Owns how publishers and keys are shared out; what a
//! generator sends is the generator's: `wrk`, which is not ours, or `callboard bench`.

use std::fmt;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use futures_util::future::try_join_all;
use serde_json::Value;
use tokio::process::Command;

use super::wrk;
use crate::binary;

/// Who makes the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Generator {
    /// `wrk`, a client that is not ours, with a script.
    Wrk,
    /// `callboard bench`.
    Bench,
}

impl Generator {
    /// `wrk` where it is installed.
    #[must_use]
    pub fn installed() -> Self {
        if wrk::version().is_some() { Self::Wrk } else { Self::Bench }
    }
}

impl fmt::Display for Generator {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrk => write!(out, "{}", wrk::version().as_deref().unwrap_or("wrk")),
            Self::Bench => out.write_str("callboard bench"),
        }
    }
}

/// One node's share of the load.
#[derive(Debug)]
pub(super) struct Share {
    /// From 0.
    pub(super) place: usize,
    /// Where the node serves HTTP.
    pub(super) address: String,
    /// The node's process.
    pub(super) pid: u32,
    pub(super) connections: usize,
    pub(super) keys: usize,
}

impl Share {
    /// Parts the whole evenly. A node is its address and its process.
    pub(super) fn all(nodes: &[(String, u32)], connections: usize, keys: usize) -> Vec<Self> {
        let part = |whole: usize, place: usize| (whole + place) / nodes.len().max(1);
        let share = |(place, (address, pid)): (usize, &(String, u32))| Self {
            place,
            address: address.clone(),
            pid: *pid,
            connections: part(connections, place),
            keys: part(keys, place),
        };
        nodes.iter().enumerate().map(share).collect()
    }

    /// The group that nobody else publishes to.
    pub(super) fn group(&self) -> String {
        format!("bench-{}", self.place)
    }
}

/// What one generator reports.
#[derive(Debug)]
pub(super) struct Loaded {
    /// Publishes that were acknowledged.
    pub(super) publishes: f64,
    /// The same in a second.
    pub(super) rate: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    /// Answered otherwise, too late or not at all; with `callboard bench` also those that do not read back.
    pub(super) bad: f64,
    /// How many publishes were sent, when they are still to be read back.
    pub(super) unread: Option<u64>,
}

/// Loads all nodes at the same time. `mark` is a word for this run, to be found in the contents.
pub(super) async fn load(
    generator: Generator,
    shares: &[Share],
    duration: Duration,
    mark: &str,
) -> anyhow::Result<Vec<Loaded>> {
    match generator {
        Generator::Wrk => wrk::load(shares, duration, mark).await,
        Generator::Bench => try_join_all(shares.iter().map(|share| bench(share, duration))).await,
    }
}

async fn bench(share: &Share, duration: Duration) -> anyhow::Result<Loaded> {
    let mut command = Command::new(binary::path()?);
    command.args(["bench", "publish", "--json", "--warmup", "0", "--url", &format!("http://{}", share.address)]);
    command.args(["--conns", &share.connections.to_string(), "--keys", &share.keys.to_string()]);
    command.args(["--secs", &format!("{}ms", duration.as_millis()), "--group", &share.group()]);
    let report: Value = serde_json::from_str(&run(command).await?).context("bench reports in JSON")?;
    let figure = |name: &str| report[name].as_f64().unwrap_or_default();
    Ok(Loaded {
        publishes: figure("operations"),
        rate: figure("rate"),
        p50_ms: figure("p50_ms"),
        p99_ms: figure("p99_ms"),
        bad: figure("errors") + figure("lost"),
        unread: None,
    })
}

/// Runs a generator to its end. Gives what it printed, and shows what it complains about.
pub(super) async fn run(mut command: Command) -> anyhow::Result<String> {
    let output = command.kill_on_drop(true).output().await.context("start the load generator")?;
    let (said, complaints) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    anyhow::ensure!(output.status.success(), "the load generator ended with {}: {said}{complaints}", output.status);
    eprint!("{complaints}");
    Ok(said.into_owned())
}
