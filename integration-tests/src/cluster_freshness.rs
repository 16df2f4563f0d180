//! The freshness check of a cluster: publishers on distinct keys over all nodes, each publish followed at once by a
//! read of every node. A read that gives an older version than the one just acknowledged is stale. Owns the plan and
//! the counts; the comparison of speeds stands in [`measure`].

mod generator;
pub mod measure;
mod rnacos;
mod wrk;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use callboard_protocol::key::ConfigKey;
use futures_util::future::join_all;
use tokio::task::JoinSet;

pub use self::generator::Generator;
use crate::client::Client;
use crate::cluster::{Cluster, Wiring};
use crate::database_server::{DatabaseServer, Engine, Options, Reach};
use crate::metrics::CacheReads;
use crate::node::NodeOptions;

/// Nodes of every cluster here.
const NODES: u8 = 3;
/// Keys that nobody publishes while they are read.
const QUIET_KEYS: usize = 200;
const QUIET_READS: usize = 20;
const SIZE: usize = 1024;

/// What to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The database.
    pub engine: Engine,
    /// How the nodes reach it.
    pub reach: Reach,
    /// How long.
    pub duration: Duration,
    /// How many publish at the same time, each a key of its own.
    pub publishers: usize,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    /// Publishes acknowledged.
    pub publishes: usize,
    /// First reads after them, one of each node.
    pub reads: usize,
    /// First reads that gave an older version.
    pub stale: usize,
    /// Requests answered otherwise than with a version.
    pub failed: usize,
    /// How long it took.
    pub duration: Duration,
    /// Where the first reads were answered from.
    pub first_reads: CacheReads,
    /// Where reads of keys that nobody published were answered from, meanwhile.
    pub quiet_reads: CacheReads,
}

impl Report {
    fn add(&mut self, other: &Self) {
        self.publishes += other.publishes;
        self.reads += other.reads;
        self.stale += other.stale;
        self.failed += other.failed;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.duration.as_secs_f64();
        writeln!(out, "publishes      {:10}  ({:.0}/s)", self.publishes, self.publishes as f64 / seconds)?;
        writeln!(out, "first reads    {:10}  ({:.0}/s)", self.reads, self.reads as f64 / seconds)?;
        writeln!(out, "stale          {:10}", self.stale)?;
        writeln!(out, "failed         {:10}", self.failed)?;
        let CacheReads { hits, misses, marked, untrusted, .. } = self.first_reads;
        let all = (hits + misses + marked + untrusted).max(1.0);
        let share = |part: f64| 100.0 * part / all;
        writeln!(
            out,
            "first reads:   {:.2} % from memory, {:.2} % while their key was marked, {:.2} % not in memory, {:.2} % untrusted",
            share(hits),
            share(marked),
            share(misses),
            share(untrusted),
        )?;
        writeln!(
            out,
            "reads of keys that are not being published: {:.2} % from memory",
            100.0 * self.quiet_reads.share()
        )
    }
}

/// Runs the proof.
///
/// # Errors
/// The servers do not start.
pub async fn run(plan: &Plan) -> anyhow::Result<Report> {
    let options = Options { tls: plan.reach == Reach::Tls, ..Options::default() };
    let server = DatabaseServer::start_with(plan.engine, options).await?;
    let cluster =
        Cluster::start(&server, NODES, Wiring::DirectBy(plan.reach), NodeOptions::new().flag("log-filter", "warn"))
            .await?;
    let nodes = Arc::new(cluster.clients());
    let before = CacheReads::of(&nodes).await?;
    let begin = Instant::now();
    let stopped = Arc::new(AtomicBool::new(false));
    let mut publishers = JoinSet::new();
    for place in 0..plan.publishers {
        let key = ConfigKey::new("public", "freshness", &format!("k{place}"))?;
        publishers.spawn(publish_and_read(nodes.clone(), place, key, stopped.clone()));
    }
    tokio::time::sleep(plan.duration).await;
    stopped.store(true, Ordering::Relaxed);
    let mut report = Report::default();
    while let Some(one) = publishers.join_next().await {
        report.add(&one?);
    }
    report.duration = begin.elapsed();
    report.first_reads = CacheReads::of(&nodes).await?.since(&before);
    report.quiet_reads = read_quiet_keys(&nodes).await?;
    Ok(report)
}

async fn publish_and_read(nodes: Arc<Vec<Client>>, place: usize, key: ConfigKey, stopped: Arc<AtomicBool>) -> Report {
    let mut report = Report::default();
    let padding = "x".repeat(SIZE);
    for n in 0_u64.. {
        let Some(home) = nodes.get(place % nodes.len().max(1)) else { break };
        if stopped.load(Ordering::Relaxed) {
            break;
        }
        let published = home.put(&key, format!("{place} {n} {padding}")).send().await;
        let version = published.ok().filter(|answer| answer.status < 300).and_then(|answer| answer.version());
        let Some(version) = version else {
            report.failed += 1;
            continue;
        };
        report.publishes += 1;
        for read in join_all(nodes.iter().map(|node| node.get(&key).send())).await {
            match read.ok().filter(|answer| answer.status == 200).and_then(|answer| answer.version()) {
                Some(seen) => {
                    report.reads += 1;
                    report.stale += usize::from(seen < version);
                }
                None => report.failed += 1,
            }
        }
    }
    report
}

/// Publishes some keys, reads each once on every node so that it is in memory, then again and again.
async fn read_quiet_keys(nodes: &[Client]) -> anyhow::Result<CacheReads> {
    let keys: Vec<ConfigKey> =
        (0..QUIET_KEYS).map(|n| ConfigKey::new("public", "quiet", &format!("k{n}"))).collect::<Result<_, _>>()?;
    for (key, node) in keys.iter().zip(nodes.iter().cycle()) {
        node.put(key, "quiet").send().await?.expect(201)?;
    }
    let mut before = CacheReads::default();
    for round in 0..=QUIET_READS {
        if round == 1 {
            before = CacheReads::of(nodes).await?;
        }
        for key in &keys {
            for read in join_all(nodes.iter().map(|node| node.get(key).send())).await {
                read?.expect(200)?;
            }
        }
    }
    Ok(CacheReads::of(nodes).await?.since(&before))
}
