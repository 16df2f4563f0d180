//! The proof that a storage which fails loses nothing: writes, syncs and sizes fail with every error that a disk knows,
//! at every call of a batch in turn, for one call or for a stretch of calls, and then work again; the node goes on
//! running. Nothing that was acknowledged is lost, nothing that was refused is there, and publishes succeed again as
//! soon as the storage works. Some of it amid kill -9, which also comes before each comparison.
//!
//! Calls fail by way of a library between the server and the C library (`shim.c`): in the node where SQLite is in it,
//! in the database server otherwise. Where root may mount a small volume, it is filled up as well. Owns the plan and
//! the table; the rules stand in [`crate::checker`].

mod burst;
mod kind;
mod round;
mod shim;
mod testbed;

use std::fmt;
use std::path::PathBuf;

use anyhow::Context as _;
use fastrand::Rng;

pub use self::kind::{Calls, Error, Kind};
use self::round::Run;
use self::testbed::Testbed;
use crate::crash::attempts::{Answers, judge, read_back, stored};
use crate::database_server::Engine;
use crate::history::Clock;
use crate::volume::Volume;

/// What to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The database server whose storage fails; none for the node's own, on SQLite.
    pub server: Option<Engine>,
    /// The kinds of failure, a round each.
    pub kinds: Vec<Kind>,
    /// How often the storage is to fail, all rounds together.
    pub injections: usize,
    /// How many publish at the same time.
    pub publishers: u32,
    /// Chooses calls, moments, keys and sizes. What the kernel chooses differs between runs all the same.
    pub seed: u64,
    /// A directory for the logs of the processes and a journal of what failed when.
    pub keep: Option<PathBuf>,
}

/// What came of one kind of failure.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// The database server; none for SQLite.
    pub server: Option<Engine>,
    /// The kind of failure; none for the comparison of everything at the end.
    pub kind: Option<Kind>,
    /// Injections that made something fail.
    pub injections: usize,
    /// Calls that failed, where they are counted.
    pub calls: u64,
    /// Injections amid which the node was killed.
    pub kills: usize,
    /// Publishes answered as done.
    pub acknowledged: usize,
    /// Publishes answered as refused.
    pub refused: usize,
    /// Publishes answered as open, or not at all.
    pub unknown: usize,
    /// What must not be.
    pub violations: Vec<String>,
}

impl Row {
    /// The head of the table that rows make.
    pub const HEAD: &str = "| database | what fails | injections | calls failed | kills | acknowledged | refused | unknown | violations |\n\
                            |---|---|---:|---:|---:|---:|---:|---:|---:|";
}

impl fmt::Display for Row {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = self.server.map_or_else(|| "SQLite".to_owned(), |engine| engine.to_string());
        let kind = self.kind.map_or_else(|| "all of it, compared once more".to_owned(), |kind| kind.to_string());
        let Self { injections, calls, kills, acknowledged, refused, unknown, violations, .. } = self;
        write!(
            out,
            "| {server} | {kind} | {injections} | {calls} | {kills} | {acknowledged} | {refused} | {unknown} "
        )?;
        write!(out, "| {} |", violations.len())
    }
}

/// Runs the proof. Tells `progress` each row as it is complete; the last one is the comparison of everything.
///
/// # Errors
/// A process does not start again on a storage that works, or does not answer as documented. Broken promises are no
/// errors: they stand in the rows.
pub async fn prove(plan: &Plan, mut progress: impl FnMut(&Row)) -> anyhow::Result<Vec<Row>> {
    let mut run = Run {
        testbed: Testbed::open(plan.server).await?,
        clock: Clock::start(),
        publishers: plan.publishers,
        stretch: 0,
        rng: Rng::with_seed(plan.seed),
        attempts: Vec::new(),
        reads: Vec::new(),
    };
    let rows = rounds(plan, &mut run, &mut progress).await;
    if let Some(directory) = &plan.keep {
        run.testbed.keep(directory, &plan.server.map_or_else(|| "SQLite".to_owned(), |engine| engine.to_string()))?;
    }
    rows
}

async fn rounds(plan: &Plan, run: &mut Run, progress: &mut impl FnMut(&Row)) -> anyhow::Result<Vec<Row>> {
    let mut kinds = plan.kinds.clone();
    if !Volume::can_mount() && kinds.contains(&Kind::FullVolume) {
        println!("not run: {}: only root may mount a volume, and not everywhere", Kind::FullVolume);
        kinds.retain(|kind| *kind != Kind::FullVolume);
    }
    let each = plan.injections.div_ceil(kinds.len().max(1));
    let mut rows = Vec::new();
    for kind in kinds {
        let row = run.round(kind, each).await.with_context(|| format!("{kind}; {}", run.testbed.node.log_tail()))?;
        let row = Row { server: plan.server, ..row };
        progress(&row);
        rows.push(row);
    }
    let client = run.testbed.client();
    let mut violations = judge(&run.attempts, &run.reads, stored(&client, &run.attempts).await?);
    violations.extend(read_back(&client, &run.attempts).await?);
    let Answers { acknowledged, refused, unknown } = Answers::of(&run.attempts);
    let last = Row { server: plan.server, acknowledged, refused, unknown, violations, ..Row::default() };
    progress(&last);
    rows.push(last);
    Ok(rows)
}
