//! `crash-check`: kills a node amid publishers, again and again, or lets its storage fail, and exits 1 if it ever
//! forgot what it said.

use std::path::PathBuf;

use callboard_integration_tests::crash::{Plan, Round, prove};
use callboard_integration_tests::database_server::{Engine, can_start};
use callboard_integration_tests::failing_storage::{self, Kind, Row};
use callboard_integration_tests::{binary, node};
use clap::{Parser, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

/// Kills a node with SIGKILL amid concurrent publishers, starts it again and checks that it remembers exactly what it
/// acknowledged. With `--failing-storage`, lets calls to its storage, or to its database server's, fail instead.
#[derive(Debug, Parser)]
struct Arguments {
    /// How often to kill the node.
    #[arg(long, default_value_t = 50)]
    rounds: u32,
    /// How many publish at the same time: 64, or 6 while the storage fails.
    #[arg(long)]
    publishers: Option<u32>,
    /// Repeats the choices of a former run.
    #[arg(long)]
    seed: Option<u64>,
    /// Lets the storage fail: writes, syncs and sizes, with every error that a disk knows, at every call in turn.
    #[arg(long)]
    failing_storage: bool,
    /// With --failing-storage: how often, on each database. 1,000 on SQLite, 250 on a server, which recovers each time.
    #[arg(long)]
    injections: Option<usize>,
    /// With --failing-storage: whose storage; all are those of the database servers that are installed, and SQLite's.
    #[arg(long, value_enum, default_value = "all")]
    database: Databases,
    /// With --failing-storage: only the kinds whose names contain this, such as EIO, sync or volume.
    #[arg(long, default_value = "")]
    only: String,
    /// With --failing-storage: a directory for the logs and a journal of what failed when.
    #[arg(long)]
    keep: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Databases {
    Sqlite,
    Postgres,
    Mariadb,
    All,
}

impl Databases {
    fn servers(self) -> Vec<Option<Engine>> {
        match self {
            Self::Sqlite => vec![None],
            Self::Postgres => vec![Some(Engine::Postgres)],
            Self::Mariadb => vec![Some(Engine::MariaDb)],
            Self::All => vec![None, Some(Engine::Postgres), Some(Engine::MariaDb)],
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..));
    let violations = tokio::select! {
        violations = run(arguments, seed) => violations?,
        // Everything that was started ends as it is dropped, and volumes are unmounted.
        told = told_to_end() => {
            told?;
            anyhow::bail!("told to end; seed {seed}")
        }
    };
    if violations > 0 {
        std::process::exit(1);
    }
    Ok(())
}

/// Waits for SIGINT or SIGTERM.
async fn told_to_end() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    Ok(())
}

async fn run(arguments: Arguments, seed: u64) -> anyhow::Result<usize> {
    if arguments.failing_storage { let_storage_fail(arguments, seed).await } else { kill(arguments, seed).await }
}

/// Tells how many violations there were.
async fn kill(arguments: Arguments, seed: u64) -> anyhow::Result<usize> {
    let publishers = arguments.publishers.unwrap_or(64);
    println!("{} rounds, {publishers} publishers, seed {seed}", arguments.rounds);
    println!("node: {}", binary::up_to_date()?.display());
    let plan = Plan { rounds: arguments.rounds, publishers, seed, setup: node::NodeOptions::new() };
    println!("{}", Round::HEAD);
    let rounds = prove(&plan, |round| println!("{round}")).await?;
    let violations: usize = rounds.iter().map(|round| round.violations.len()).sum();
    println!("{violations} violations (the last line checks all rounds once more)");
    Ok(violations)
}

/// Tells how many violations there were.
async fn let_storage_fail(arguments: Arguments, seed: u64) -> anyhow::Result<usize> {
    let publishers = arguments.publishers.unwrap_or(6);
    println!("{publishers} publishers, seed {seed}");
    println!("node: {}", binary::up_to_date()?.display());
    println!("{}", Row::HEAD);
    let mut rows = Vec::new();
    for server in arguments.database.servers() {
        if let Some(engine) = server
            && !can_start(engine)?
        {
            continue;
        }
        let mut kinds = Kind::all(server);
        kinds.retain(|kind| kind.to_string().contains(&arguments.only));
        let injections = arguments.injections.unwrap_or(if server.is_none() { 1_000 } else { 250 });
        let plan = failing_storage::Plan { server, kinds, injections, publishers, seed, keep: arguments.keep.clone() };
        rows.extend(failing_storage::prove(&plan, |row| println!("{row}")).await?);
    }
    for row in rows.iter().filter(|row| !row.violations.is_empty()) {
        println!("{row}");
        row.violations.iter().take(20).for_each(|violation| println!("    {violation}"));
    }
    let injections: usize = rows.iter().map(|row| row.injections).sum();
    let violations: usize = rows.iter().map(|row| row.violations.len()).sum();
    println!("{injections} injections, {violations} violations, seed {seed}");
    Ok(violations)
}
