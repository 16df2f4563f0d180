//! `wrk` as the generator of the load: a client that is not ours, so that figures do not rest on our own. Owns how it
//! is called and how its contents are read back, of the form that `publish.lua` gives them; knows nothing of processor
//! time.
//!
//! wrk lets a script see answers, but not to which request. So the end of a run is checked instead of each publish: the
//! last publish to each key must be there, on every node the same, except those that may have been under way.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures_util::future::try_join_all;
use futures_util::{StreamExt as _, stream};
use reqwest::Method;
use serde::Deserialize;
use tokio::process::Command;

use super::generator::{Loaded, Share, run};
use crate::client::Client;
use crate::nacos::{self, CONFIGS};
use crate::poll;

const SCRIPT: &str = include_str!("publish.lua");
const PROGRAM: &str = "wrk";
/// Longest time of an answer.
const ANSWER_LIMIT: &str = "10s";
/// Bytes of a content.
const SIZE: usize = 1024;
/// Longest time for the nodes to agree, once the load is over. Publishes that were under way may arrive meanwhile.
const PATIENCE: Duration = Duration::from_secs(5);
/// Keys that are read at the same time.
const READERS: usize = 16;

/// The line that the script prints at the end.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Report {
    sent: u64,
    acknowledged: f64,
    wrong: f64,
    socket_errors: f64,
    timeouts: f64,
    duration_us: f64,
    p50_us: f64,
    p99_us: f64,
}

impl Report {
    /// How many publishes have no answer, but for those that may have been under way. wrk does not count it as an error
    /// when a node closes a connection instead of answering.
    fn unanswered(&self, connections: usize) -> f64 {
        let open = self.sent as f64 - self.acknowledged - self.wrong;
        (open - connections as f64).max(self.socket_errors)
    }
}

/// What it calls itself; none when it can't be started.
pub(super) fn version() -> Option<String> {
    // It says so and fails.
    let output = std::process::Command::new(PROGRAM).arg("-v").output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.split(" [").next().map(str::to_owned)
}

/// Loads each node by a process of its own.
pub(super) async fn load(shares: &[Share], duration: Duration, mark: &str) -> anyhow::Result<Vec<Loaded>> {
    let mut script = tempfile::Builder::new().suffix(".lua").tempfile()?;
    script.write_all(SCRIPT.as_bytes())?;
    let load_one = async |share: &Share| {
        let mut command = Command::new(PROGRAM);
        command.args(["-t", "1", "-c", &share.connections.to_string(), "-d", &duration.as_secs().to_string()]);
        command.args(["--timeout", ANSWER_LIMIT, "--latency", "-s"]).arg(script.path());
        command.args([&format!("http://{}", share.address), &share.group(), &share.keys.to_string(), mark]);
        let said = run(command).await?;
        let line = said.lines().last().unwrap_or_default();
        let report: Report = serde_json::from_str(line).with_context(|| format!("wrk said {said}"))?;
        Ok(Loaded {
            publishes: report.acknowledged,
            rate: report.acknowledged / (report.duration_us / 1e6),
            p50_ms: report.p50_us / 1e3,
            p99_ms: report.p99_us / 1e3,
            bad: report.wrong + report.timeouts + report.unanswered(share.connections),
            unread: Some(report.sent),
        })
    };
    try_join_all(shares.iter().map(load_one)).await
}

/// Counts the keys that do not hold what was last sent to them, on all nodes the same. As many as a node has
/// connections may be behind: their publishes may have been under way at the end.
pub(super) async fn lost(shares: &[Share], loads: &[Loaded], mark: &str) -> anyhow::Result<f64> {
    let nodes: Vec<Client> = shares.iter().map(|share| Client::new(format!("http://{}", share.address))).collect();
    let deadline = Instant::now() + PATIENCE;
    let mut lost = 0;
    for (share, sent) in shares.iter().zip(loads).filter_map(|(share, loaded)| Some((share, loaded.unread?))) {
        let keys = u64::try_from(share.keys)?.max(1);
        let last_of_each = sent.saturating_sub(keys) + 1..=sent;
        let reads = last_of_each.map(|number| {
            let agreed = agreed(&nodes, share, number % keys, mark, deadline);
            async move { (number, agreed.await) }
        });
        let read: Vec<(u64, anyhow::Result<u64>)> = stream::iter(reads).buffer_unordered(READERS).collect().await;
        let missing: Vec<&anyhow::Error> = read.iter().filter_map(|(_, held)| held.as_ref().err()).collect();
        if let Some(first) = missing.first() {
            eprintln!("the first of {} keys that do not read back: {first:#}", missing.len());
        }
        let behind = read.iter().filter(|(number, held)| held.as_ref().is_ok_and(|held| held != number)).count();
        lost += missing.len() + behind.saturating_sub(share.connections);
    }
    Ok(lost as f64)
}

/// The number of the publish that every node holds of this key.
async fn agreed(nodes: &[Client], share: &Share, key: u64, mark: &str, deadline: Instant) -> anyhow::Result<u64> {
    let (data_id, group) = (format!("publish-{key:06}"), share.group());
    let pairs = [("dataId", data_id.as_str()), ("group", group.as_str())];
    let mut text = String::new();
    let what = format!("the nodes agree about {data_id} of {group}");
    let left = deadline.saturating_duration_since(Instant::now());
    poll::until(&what, left, async || {
        let read = async |node: &Client| nacos::asked(node, Method::GET, CONFIGS, &pairs).send().await?.expect(200);
        let answers = try_join_all(nodes.iter().map(read)).await?;
        text = answers.first().context("there is a node")?.text();
        Ok(answers.windows(2).all(|two| two[0].body == two[1].body).then_some(()))
    })
    .await?;
    number(&text, &format!("{mark}.{group}.key-{key:06}.seq-"))
        .with_context(|| format!("{data_id} of {group} holds {text:?}"))
}

/// The number in a content that begins so, if it is of the form that the script gives it.
fn number(content: &str, beginning: &str) -> Option<u64> {
    let (number, padding) = content.strip_prefix(beginning)?.split_once('.')?;
    let whole = content.len() == SIZE && padding.bytes().all(|byte| byte.is_ascii_lowercase());
    number.parse().ok().filter(|_| whole)
}

#[cfg(test)]
mod tests;
