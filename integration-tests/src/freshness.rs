//! The freshness check: readers and publishers use a few keys as fast as they can while the cache is far too small for
//! them and is compared with the database all the time; subscribers of every kind listen. Afterwards the whole
//! recording must keep the rules of [`crate::checker`]. Owns the plan, the testbed and the report; what each client
//! does stands in `freshness/clients.rs`.

mod clients;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use callboard_protocol::key::ConfigKey;
use fastrand::Rng;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::checker::{self, Rule, Violation};
use crate::client::Client;
use crate::heard::Newest;
use crate::history::{Clock, History, Record, Stored, What};
use crate::node::{Node, NodeOptions};

const GROUP: &str = "freshness";
const HOT_KEYS: usize = 8;
const COLD_KEYS: usize = 24;

/// What to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How long to publish and read.
    pub duration: Duration,
    /// How many publish at the same time.
    pub publishers: usize,
    /// How many read at the same time.
    pub readers: usize,
    /// Chooses keys and pauses.
    pub seed: u64,
    /// The node.
    pub setup: NodeOptions,
}

impl Plan {
    /// A node whose cache holds a fraction of the keys and is compared with the database twenty times a second.
    #[must_use]
    pub fn tiny_cache() -> NodeOptions {
        NodeOptions::new().flag("cache-max-bytes", "4KiB").flag("cache-refresh-interval", "50ms")
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    /// Answers to reads.
    pub reads: usize,
    /// Acknowledged publishes and removals.
    pub publishes: usize,
    /// Changes that subscribers were told.
    pub events: usize,
    /// Streams and waits that had to end on the newest state, counted by key.
    pub subscriptions: usize,
    /// Processor time of the node.
    pub cpu: Duration,
    /// How long publishers and readers were at it.
    pub duration: Duration,
    /// What the node's metrics say of its cache.
    pub cache: Vec<String>,
    /// What must not be.
    pub violations: Vec<Violation>,
}

impl Report {
    /// Reads that were older than what was known before they began.
    #[must_use]
    pub fn stale(&self) -> usize {
        self.violations.iter().filter(|violation| violation.rule == Rule::Fresh).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.duration.as_secs_f64();
        writeln!(out, "reads          {:10}  ({:.0}/s)", self.reads, self.reads as f64 / seconds)?;
        writeln!(out, "publishes      {:10}  ({:.0}/s)", self.publishes, self.publishes as f64 / seconds)?;
        writeln!(out, "events         {:10}", self.events)?;
        writeln!(out, "subscriptions  {:10}", self.subscriptions)?;
        writeln!(out, "stale          {:10}", self.stale())?;
        writeln!(out, "violations     {:10}", self.violations.len())?;
        writeln!(out, "node CPU       {:10.1} s in {seconds:.1} s", self.cpu.as_secs_f64())?;
        self.cache.iter().try_for_each(|line| writeln!(out, "  {line}"))?;
        self.violations.iter().take(20).try_for_each(|violation| writeln!(out, "  {violation}"))
    }
}

/// What all clients share.
#[derive(Clone)]
struct Testbed {
    client: Client,
    clock: Clock,
    hot: Arc<Vec<ConfigKey>>,
    cold: Arc<Vec<ConfigKey>>,
    stopped: Arc<AtomicBool>,
    newest: watch::Receiver<Newest>,
}

impl Testbed {
    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

/// Runs the proof.
///
/// # Errors
/// The node does not start, or answers what it should not. Broken rules are no errors: they stand in the report.
pub async fn run(plan: &Plan) -> anyhow::Result<Report> {
    let node = Node::start(plan.setup.clone()).await?;
    let report = run_on(&node, plan).await;
    report.with_context(|| node.log_tail())
}

async fn run_on(node: &Node, plan: &Plan) -> anyhow::Result<Report> {
    let (tell_newest, newest) = watch::channel(None);
    let named =
        |prefix: &str, count| (0..count).map(|n| ConfigKey::new("public", GROUP, &format!("{prefix}-{n}"))).collect();
    let testbed = Testbed {
        client: node.client(),
        clock: Clock::start(),
        hot: Arc::new(Result::from_iter::<Vec<_>>(named("hot", HOT_KEYS))?),
        cold: Arc::new(Result::from_iter::<Vec<_>>(named("cold", COLD_KEYS))?),
        stopped: Arc::default(),
        newest,
    };
    let mut history = History::default();
    for key in testbed.hot.iter().chain(testbed.cold.iter()) {
        history.records.push(clients::publish(&testbed, key, 200).await?);
    }
    let mut rng = Rng::with_seed(plan.seed);
    let mut subscribers = subscribers(&testbed, &mut rng, &mut history);
    let mut clients = JoinSet::new();
    for _ in 0..plan.publishers {
        clients.spawn(clients::keep_publishing(testbed.clone(), rng.fork()));
    }
    for _ in 0..plan.readers {
        clients.spawn(clients::keep_reading(testbed.clone(), rng.fork()));
    }
    tokio::time::sleep(plan.duration).await;
    testbed.stopped.store(true, Ordering::Relaxed);
    while let Some(records) = clients.join_next().await {
        history.records.extend(records??);
    }
    let cpu = node.cpu_time()?;
    tell_newest.send_replace(Some(Arc::new(newest_versions(&testbed, &mut history).await?)));
    while let Some(records) = subscribers.join_next().await {
        history.records.extend(records??);
    }
    history.stored = stored(&testbed).await?;
    let mut report = judge(&history);
    (report.cpu, report.duration, report.cache) = (cpu, plan.duration, cache_metrics(&testbed.client).await?);
    Ok(report)
}

/// Starts every kind of subscriber and notes who must end on the newest state of what.
fn subscribers(testbed: &Testbed, rng: &mut Rng, history: &mut History) -> JoinSet<anyhow::Result<Vec<Record>>> {
    let mut running = JoinSet::new();
    let mut next = 0;
    let mut number = |keys: &[ConfigKey]| {
        next += 1;
        history.subscriptions.extend(keys.iter().map(|key| (next, key.clone())));
        next
    };
    for key in testbed.hot.iter() {
        let one = vec![key.clone()];
        let query = format!("namespace=public&group={GROUP}&dataId={}", key.data_id());
        for reconnects in [None, Some(40)] {
            let stream =
                clients::Stream { subscriber: number(&one), keys: one.clone(), query: query.clone(), reconnects };
            running.spawn(stream.keep_listening(testbed.clone(), rng.fork()));
        }
        running.spawn(clients::keep_waiting(testbed.clone(), number(&one), key.clone()));
    }
    for (group, reconnects) in [("", None), ("&group=freshness", None), ("", Some(100)), ("&group=freshness", Some(20))]
    {
        let query = format!("namespace=public{group}&prefix=hot-");
        let stream =
            clients::Stream { subscriber: number(&testbed.hot), keys: testbed.hot.to_vec(), query, reconnects };
        running.spawn(stream.keep_listening(testbed.clone(), rng.fork()));
    }
    running
}

async fn newest_versions(testbed: &Testbed, history: &mut History) -> anyhow::Result<BTreeMap<ConfigKey, u64>> {
    let mut newest = BTreeMap::new();
    for key in testbed.hot.iter() {
        let record = clients::read(testbed, key).await?;
        if let What::Read { version, .. } = record.what {
            newest.insert(key.clone(), version);
        }
        history.records.push(record);
    }
    Ok(newest)
}

async fn stored(testbed: &Testbed) -> anyhow::Result<Vec<Stored>> {
    let mut stored = Vec::new();
    for key in testbed.hot.iter().chain(testbed.cold.iter()) {
        for row in testbed.client.whole_history(key).await? {
            stored.push(Stored::from_row(key, &row)?);
        }
    }
    Ok(stored)
}

fn judge(history: &History) -> Report {
    let mut report = Report { subscriptions: history.subscriptions.len(), ..Report::default() };
    for record in &history.records {
        match record.what {
            What::Publish { .. } => report.publishes += 1,
            What::Read { .. } | What::StaleRead { .. } => report.reads += 1,
            What::Event { .. } => report.events += 1,
        }
    }
    report.violations = checker::check(history);
    report
}

async fn cache_metrics(client: &Client) -> anyhow::Result<Vec<String>> {
    let metrics = client.get_path("/metrics").send().await?.expect(200)?.text();
    Ok(metrics.lines().filter(|line| line.starts_with("callboard_cache_")).map(str::to_owned).collect())
}
