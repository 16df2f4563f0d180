//! `chaos-ha`: breaks and moves highly available databases under a cluster with load, and exits 1 if it ever broke its
//! promise.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use callboard_integration_tests::binary;
use callboard_integration_tests::ha::{Plan, Round, Scenario, prove, table};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

/// Runs publishers, readers and subscribers on three nodes over MariaDB with a replica, Galera, and PostgreSQL under
/// Patroni, all of its own, and breaks the database again and again.
#[derive(Debug, Parser)]
struct Arguments {
    /// How often each database is broken.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// The scenarios, separated by commas; all when left out.
    #[arg(long, value_delimiter = ',')]
    scenarios: Vec<Scenario>,
    /// Repeats the choices of a former run.
    #[arg(long)]
    seed: Option<u64>,
    /// File for the table of results.
    #[arg(long)]
    output: Option<PathBuf>,
    /// Directory for the logs of rounds with violations.
    #[arg(long, default_value = "target/chaos-ha")]
    keep: PathBuf,
    /// How much later than promised the nodes may be ready, in seconds.
    #[arg(long, default_value_t = 1)]
    margin: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let (mut interrupted, mut ended) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    // What runs is dropped, and ends its processes with it.
    let passed = tokio::select! {
        passed = run(arguments) => passed?,
        _ = interrupted.recv() => anyhow::bail!("interrupted"),
        _ = ended.recv() => anyhow::bail!("told to end"),
    };
    if !passed {
        std::process::exit(1);
    }
    Ok(())
}

/// Runs every scenario whose programs are there; false when a promise was broken.
async fn run(arguments: Arguments) -> anyhow::Result<bool> {
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..));
    let margin = Duration::from_secs(arguments.margin);
    let plan = Plan { rounds: arguments.rounds, margin, seed, keep: arguments.keep };
    let scenarios = if arguments.scenarios.is_empty() { Scenario::ALL.to_vec() } else { arguments.scenarios };
    println!("seed {seed}\nnode: {}", binary::up_to_date()?.display());
    println!("{}", Round::HEAD);
    let mut rounds = Vec::new();
    for scenario in scenarios {
        if is_there(scenario)? {
            let proved = prove(&plan, scenario, |round| println!("{round}")).await;
            rounds.extend(proved.with_context(|| scenario.name())?);
        }
    }
    let violations: usize = rounds.iter().map(|round| round.violations.len()).sum();
    let table = table(&rounds);
    println!("\n{table}\n{} rounds, {violations} violations, seed {seed}", rounds.len());
    if let Some(output) = arguments.output {
        std::fs::write(&output, &table).with_context(|| format!("write {}", output.display()))?;
    }
    Ok(violations == 0)
}

/// Whether a scenario's programs are installed; with `CALLBOARD_TEST_REQUIRE_DATABASES=1` they have to be.
fn is_there(scenario: Scenario) -> anyhow::Result<bool> {
    let Some(missing) = scenario.missing() else { return Ok(true) };
    let required = std::env::var("CALLBOARD_TEST_REQUIRE_DATABASES").is_ok_and(|value| value == "1");
    anyhow::ensure!(!required, "{}: {missing} is not installed", scenario.name());
    println!("not run: {}: {missing} is not installed", scenario.name());
    Ok(false)
}
