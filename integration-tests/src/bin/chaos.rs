//! `chaos`: lets everything go wrong that a cluster must survive, again and again, and exits 1 if it ever broke its
//! promise.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use callboard_integration_tests::binary;
use callboard_integration_tests::chaos::{Fault, Lengths, Plan, Round, prove, table};
use callboard_integration_tests::database_server::{DatabaseServer, Engine};
use clap::{Parser, ValueEnum};

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Databases {
    Postgres,
    Mariadb,
    Both,
}

/// Runs publishers, readers and subscribers on a cluster of three nodes, on PostgreSQL and MariaDB servers of its own,
/// and injects one fault after another.
#[derive(Debug, Parser)]
struct Arguments {
    /// How long, such as 90s, 30m or 2h; shared by the databases.
    #[arg(long, default_value = "30m", value_parser = duration)]
    duration: Duration,
    /// The database.
    #[arg(long, value_enum, default_value = "both")]
    database: Databases,
    /// Repeats the choices of a former run.
    #[arg(long)]
    seed: Option<u64>,
    /// The faults, separated by commas; all when left out.
    #[arg(long, value_delimiter = ',')]
    faults: Vec<Fault>,
    /// File for the table of results.
    #[arg(long)]
    output: Option<PathBuf>,
    /// Directory for the logs and recordings of rounds with violations.
    #[arg(long, default_value = "target/chaos")]
    keep: PathBuf,
    /// How much later than promised publishing may go on, in seconds.
    #[arg(long, default_value_t = 3)]
    margin: u64,
}

fn duration(text: &str) -> anyhow::Result<Duration> {
    let split = text.find(|letter: char| !letter.is_ascii_digit()).context("a duration has a unit: s, m or h")?;
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => anyhow::bail!("{unit:?} is none of s, m and h"),
    };
    let number: u64 = number.parse().context("a duration begins with a number")?;
    Ok(Duration::from_secs(number.checked_mul(seconds).context("that is too long")?))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..));
    let mut faults = if arguments.faults.is_empty() { Fault::ALL.to_vec() } else { arguments.faults };
    if !DatabaseServer::clock_can_step() && faults.contains(&Fault::ClockStep) {
        println!("not run: {}: libfaketime is not installed", Fault::ClockStep);
        faults.retain(|fault| *fault != Fault::ClockStep);
    }
    let engines = match arguments.database {
        Databases::Postgres => vec![Engine::Postgres],
        Databases::Mariadb => vec![Engine::MariaDb],
        Databases::Both => vec![Engine::Postgres, Engine::MariaDb],
    };
    println!(
        "seed {seed}, {:?}, faults: {}",
        arguments.duration,
        faults.iter().map(|fault| fault.name()).collect::<Vec<_>>().join(",")
    );
    println!("node: {}", binary::up_to_date()?.display());
    println!("{}", Round::HEAD);
    let each = arguments.duration / u32::try_from(engines.len())?;
    let mut rounds = Vec::new();
    for engine in engines {
        let plan = Plan {
            engine,
            faults: faults.clone(),
            duration: Some(each),
            lengths: Lengths { pause: Duration::from_secs(20), database_stop: Duration::from_secs(30) },
            margin: Duration::from_secs(arguments.margin),
            seed,
            keep: Some(arguments.keep.clone()),
        };
        let proof = prove(&plan, |round| println!("{round}")).await?;
        println!("the nodes on {engine} counted:");
        proof.tally.counts().for_each(|(series, count)| println!("  {series} {count}"));
        rounds.extend(proof.rounds);
    }
    let violations: usize = rounds.iter().map(|round| round.violations.len()).sum();
    let table = table(&rounds);
    println!("\n{table}\n{} injections, {violations} violations, seed {seed}", rounds.len());
    if let Some(output) = arguments.output {
        std::fs::write(&output, &table).with_context(|| format!("write {}", output.display()))?;
    }
    if violations > 0 {
        std::process::exit(1);
    }
    Ok(())
}
