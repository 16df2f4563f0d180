//! The chaos proof: publishers on all nodes of a cluster, readers that read every node the moment a publish returns, and
//! subscribers that connect to another node again and again, while one thing after another goes wrong. After each fault
//! has healed, the whole recording of its round must keep the rules of [`crate::checker`], and publishing must have gone
//! on within the fault's bound. Owns the rounds; the faults, the clients and the figures stand in modules of their own.

mod faults;
mod publishers;
mod round;
mod stage;
mod subscribers;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use callboard_protocol::key::ConfigKey;
use fastrand::Rng;
use tokio::task::JoinSet;

pub use self::faults::{Fault, Lengths};
use self::faults::{NODES, Scene};
pub use self::round::{Round, table};
use self::stage::{Director, Recording, Stage};
use crate::checker::{self, Violation};
use crate::cluster::{Cluster, Wiring};
use crate::database_server::{DatabaseServer, Engine, Options};
use crate::history::{History, Record, Stored, What};
use crate::metrics::{CacheReads, Tally};
use crate::node::Setup;
use crate::poll;

/// Keys of a round: one is hot, four are warm.
const KEYS: usize = 40;
/// Publishers on each node.
const PUBLISHERS: usize = 2;
const READERS: usize = 3;
/// Subscribers: streams over all keys, and waits for one of the first keys each.
const STREAMS: usize = 4;
const WAITS: usize = 5;
/// Traffic before a fault and after its end.
const CALM: Duration = Duration::from_millis(1_500);

/// What to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The database.
    pub engine: Engine,
    /// What is to go wrong.
    pub faults: Vec<Fault>,
    /// Goes on in rounds over all faults, in an order that chance chooses, until this time is over. Without it each fault
    /// happens once, in the order given.
    pub duration: Option<Duration>,
    /// How long the longest faults last.
    pub lengths: Lengths,
    /// How much later than promised publishing may go on: this machine is busy with other things as well.
    pub margin: Duration,
    /// Chooses victims, keys, contents and pauses. What the machine chooses differs between runs all the same.
    pub seed: u64,
    /// Where logs and recordings of rounds with violations are kept.
    pub keep: Option<PathBuf>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Proof {
    /// One for each injection.
    pub rounds: Vec<Round>,
    /// What the nodes went through meanwhile, by their own count.
    pub tally: Tally,
}

/// The nodes of the proof: their caches are too small for all contents.
fn setup() -> Setup {
    Setup::new().flag("cache-max-bytes", "512KiB").flag("log-filter", "info")
}

/// Runs the proof. Tells `progress` each round as it ends.
///
/// # Errors
/// A server does not start or does not come back. Broken promises are no errors: they stand in the rounds.
pub async fn prove(plan: &Plan, mut progress: impl FnMut(&Round)) -> anyhow::Result<Proof> {
    let begin = Instant::now();
    let mut rng = Rng::with_seed(plan.seed);
    let mut server = if plan.faults.contains(&Fault::ClockStep) {
        DatabaseServer::start_with(plan.engine, Options { clock_can_step: true, ..Options::default() }).await?
    } else {
        DatabaseServer::start(plan.engine).await?
    };
    let mut cluster = Cluster::start(&server, NODES, Wiring::Proxied, setup()).await?;
    let (mut proof, mut last_revision) = (Proof::default(), 0);
    loop {
        let mut faults = plan.faults.clone();
        if plan.duration.is_some() {
            rng.shuffle(&mut faults);
        }
        for fault in faults {
            if plan.duration.is_some_and(|duration| begin.elapsed() >= duration) {
                return Ok(proof);
            }
            let number = proof.rounds.len() + 1;
            let tallied = (&mut last_revision, &mut proof.tally);
            let run = run(plan, number, fault, (&mut cluster, &mut server), tallied, &mut rng).await;
            let round = match run {
                Ok(round) => round,
                Err(error) => {
                    keep(plan, number, &cluster, &format!("{error:#}\n"))?;
                    return Err(error.context(format!("round {number}, {fault}, seed {}", plan.seed)));
                }
            };
            progress(&round);
            proof.rounds.push(round);
        }
        if plan.duration.is_none() {
            return Ok(proof);
        }
    }
}

async fn run(
    plan: &Plan,
    number: usize,
    fault: Fault,
    (cluster, server): (&mut Cluster, &mut DatabaseServer),
    (last_revision, tally): (&mut u64, &mut Tally),
    rng: &mut Rng,
) -> anyhow::Result<Round> {
    let group = format!("round-{number}");
    let keys = (0..KEYS).map(|n| ConfigKey::new("public", &group, &format!("k{n}")));
    let (director, stage) = Director::open(cluster, &group, keys.collect::<Result<Vec<_>, _>>()?);
    let mut seen = first_contents(&stage).await?;
    for key in stage.keys.iter() {
        for node in stage.nodes().iter() {
            stage.read(node, key, &mut seen).await;
        }
    }
    let memory = CacheReads::of(&cluster.clients()).await?;
    let mut history = History::default();
    let (mut clients, mut subscribers) = start_clients(&stage, rng, &mut history);
    tokio::time::sleep(CALM).await;
    let memory = CacheReads::of(&cluster.clients()).await?.since(&memory);
    tally.look(cluster).await?;
    let (lengths, stage_seen) = (plan.lengths, &stage);
    let mut injected =
        Scene { cluster, server, stage: stage_seen, director: &director, lengths, rng }.inject(fault).await?;
    tally.look(cluster).await?;
    tokio::time::sleep(CALM).await;
    director.stop();
    while let Some(recording) = clients.join_next().await {
        seen.add(recording?);
    }
    director.tell_newest(read_last(cluster, &stage, &mut seen, &mut history).await?);
    while let Some(recording) = subscribers.join_next().await {
        seen.add(recording?);
    }
    seen.add(std::mem::take(&mut injected.recording));
    history.stored = stored(cluster, &stage).await?;
    history.revisions = revisions(cluster, server, last_revision).await?;
    let mut round = Round::count(number, plan.engine, fault, &injected, &seen);
    round.from_memory = (memory.hits, memory.hits + memory.misses + memory.untrusted);
    history.records = seen.records;
    let violations = checker::check(&history);
    round.judge(&violations, plan.margin);
    if !round.violations.is_empty() {
        keep(plan, number, cluster, &transcript(&round, &injected, &violations, &history))?;
    }
    Ok(round)
}

/// Publishes every key once.
async fn first_contents(stage: &Stage) -> anyhow::Result<Recording> {
    let mut recording = Recording::default();
    let nodes = stage.nodes();
    for (key, node) in stage.keys.iter().zip(nodes.iter().cycle()) {
        let request = uuid::Uuid::new_v4();
        let content = Some(format!("{request} first").into());
        let publish = stage::Publish { request, key: key.clone(), content };
        let attempt = stage.attempt(node, &publish, &mut recording).await;
        let answered = recording.records.last();
        anyhow::ensure!(attempt == stage::Attempt::Done, "without any fault: {answered:?} {:?}", recording.odd);
        recording.published += 1;
    }
    Ok(recording)
}

type Clients = JoinSet<Recording>;

/// Starts publishers and readers, and subscribers, and notes who must end on the newest state of what.
fn start_clients(stage: &Stage, rng: &mut Rng, history: &mut History) -> (Clients, Clients) {
    let (mut clients, mut subscribers) = (JoinSet::new(), JoinSet::new());
    for place in 0..PUBLISHERS * usize::from(NODES) {
        clients.spawn(publishers::keep_publishing(stage.clone(), place, rng.fork()));
    }
    for _ in 0..READERS {
        clients.spawn(publishers::keep_reading(stage.clone(), rng.fork()));
    }
    for subscriber in 0..STREAMS {
        history.subscriptions.extend(stage.keys.iter().map(|key| (subscriber, key.clone())));
        subscribers.spawn(subscribers::keep_listening(stage.clone(), subscriber, rng.fork()));
    }
    for (subscriber, key) in (STREAMS..STREAMS + WAITS).zip(stage.keys.iter()) {
        history.subscriptions.push((subscriber, key.clone()));
        subscribers.spawn(subscribers::keep_waiting(stage.clone(), subscriber, key.clone(), rng.fork()));
    }
    (clients, subscribers)
}

/// Reads every key on every node now that everything is at rest; gives the newest version of each.
async fn read_last(
    cluster: &Cluster,
    stage: &Stage,
    seen: &mut Recording,
    history: &mut History,
) -> anyhow::Result<BTreeMap<ConfigKey, u64>> {
    let mut newest: BTreeMap<ConfigKey, u64> = BTreeMap::new();
    for node in stage.nodes().iter() {
        for key in stage.keys.iter() {
            let what = format!("{} answers a read of {key}", node.name);
            let read = poll::until(&what, poll::SOON, async || {
                Ok(stage.read(node, key, seen).await.then(|| seen.records.last().cloned()).flatten())
            });
            let What::Read { version, .. } = read.await?.what else { continue };
            history.last_reads.push((node.name.clone(), key.clone(), version));
            let known = newest.entry(key.clone()).or_default();
            *known = version.max(*known);
        }
    }
    anyhow::ensure!(cluster.numbers().len() == stage.nodes().len(), "the clients know other nodes than there are");
    Ok(newest)
}

async fn stored(cluster: &Cluster, stage: &Stage) -> anyhow::Result<Vec<Stored>> {
    let client = &cluster.member(1)?.client;
    let mut stored = Vec::new();
    for key in stage.keys.iter() {
        for row in client.whole_history(key).await? {
            stored.push(Stored::from_row(key, &row)?);
        }
    }
    Ok(stored)
}

/// The revisions since the last round, and the last one before them.
async fn revisions(cluster: &Cluster, server: &DatabaseServer, last: &mut u64) -> anyhow::Result<Vec<u64>> {
    let query = format!("SELECT DISTINCT rev FROM cc_change WHERE rev >= {last} ORDER BY rev");
    let rows = server.query(cluster.database(), &query).await?;
    let revisions: Vec<u64> =
        rows.lines().map(str::parse).collect::<Result<_, _>>().context("revisions are numbers")?;
    *last = revisions.last().copied().unwrap_or(*last);
    Ok(revisions)
}

/// What is needed to understand a round with violations: everything about the keys concerned, or all publishes.
fn transcript(round: &Round, injected: &faults::Injected, violations: &[Violation], history: &History) -> String {
    let keys: BTreeSet<&ConfigKey> = violations.iter().filter_map(|violation| violation.key.as_ref()).collect();
    let told = |record: &&Record| match keys.is_empty() {
        true => matches!(record.what, What::Publish { .. }),
        false => keys.contains(&record.key),
    };
    let mut records: Vec<_> = history.records.iter().filter(told).collect();
    records.sort_by_key(|record| record.begin);
    let mut text = format!("{}\n{round}\nfrom {:?} to {:?}\n", Round::HEAD, injected.began, injected.healed);
    // Writing to a text can't fail.
    for record in records {
        writeln!(text, "{record:?}").unwrap_or_default();
    }
    for row in history.stored.iter().filter(|row| keys.contains(&row.key)) {
        writeln!(text, "{row:?}").unwrap_or_default();
    }
    text
}

fn keep(plan: &Plan, number: usize, cluster: &Cluster, text: &str) -> anyhow::Result<()> {
    let Some(keep) = &plan.keep else { return Ok(()) };
    let directory = keep.join(format!("{}-seed-{}-round-{number}", plan.engine, plan.seed));
    cluster.keep_logs(&directory)?;
    Ok(fs::write(directory.join("round.txt"), text)?)
}
