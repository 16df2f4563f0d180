//! The chaos proof: publishers on all nodes of a cluster, readers that read every node the moment a publish returns,
//! and subscribers that connect to another node again and again, while one thing after another goes wrong. After each
//! fault has healed, the whole recording of its round must keep the rules of [`crate::checker`], and publishing must
//! have gone on within the fault's bound. Owns the rounds; the faults, the clients and the figures stand in modules of
//! their own.

mod faults;
pub(crate) mod load;
mod publishers;
pub(crate) mod round;
mod subscribers;
pub(crate) mod testbed;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use callboard_protocol::key::ConfigKey;
use fastrand::Rng;

pub use self::faults::{Fault, Lengths};
use self::faults::{NODES, Scene};
use self::load::Load;
pub use self::round::{Round, table};
use crate::checker::{self, Violation};
use crate::cluster::{Cluster, Wiring};
use crate::database_server::{DatabaseServer, Engine, Options};
use crate::history::{History, Record, What};
use crate::metrics::{CacheReads, Tally};
use crate::node::NodeOptions;

/// Traffic before a fault and after its end.
const CALM: Duration = Duration::from_millis(1_500);

/// What to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The database.
    pub engine: Engine,
    /// What is to go wrong.
    pub faults: Vec<Fault>,
    /// Goes on in rounds over all faults, in an order that chance chooses, until this time is over. Without it each
    /// fault happens once, in the order given.
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
fn setup() -> NodeOptions {
    NodeOptions::new().flag("cache-max-bytes", "512KiB").flag("log-filter", "info")
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
    let mut load = Load::open(cluster, &format!("round-{number}")).await?;
    let memory = CacheReads::of(&cluster.clients()).await?;
    load.start(rng);
    tokio::time::sleep(CALM).await;
    let memory = CacheReads::of(&cluster.clients()).await?.since(&memory);
    tally.look(cluster).await?;
    let (testbed, controller, lengths) = (load.testbed(), load.controller(), plan.lengths);
    let mut injected = Scene { cluster, server, testbed, controller, lengths, rng }.inject(fault).await?;
    tally.look(cluster).await?;
    tokio::time::sleep(CALM).await;
    let (mut seen, mut history) = load.finish(cluster).await?;
    seen.add(std::mem::take(&mut injected.recording));
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
