//! `siege`: attacks a node in every way that is known, beside good clients, and exits 1 if it took more memory than it
//! may, kept good clients waiting, or ended.

use std::path::PathBuf;
use std::time::Duration;

use callboard_integration_tests::binary;
use callboard_integration_tests::siege::report::{Ceilings, Row};
use callboard_integration_tests::siege::scenario::{ALL, Scenario};
use callboard_integration_tests::siege::{Plan, run};
use clap::Parser;

/// Attacks a node, one scenario after the other, each with a node of its own, and prints a table of what it cost.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only these scenarios, parted by commas.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Says which scenarios there are.
    #[arg(long)]
    list: bool,
    /// How long each attack takes.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// How long good clients have the node for themselves before.
    #[arg(long, default_value_t = 5)]
    quiet_seconds: u64,
    /// The node's program; one is built of the sources when none is named.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Callers have to be known, and TLS is required; every other attacker has credentials.
    #[arg(long)]
    auth_tls: bool,
    /// Bytes that the node's address space may grow to; 0 for as many as it likes.
    #[arg(long, default_value_t = 4 * 1024 * MIB)]
    limit_as: u64,
    /// Bytes that the node is judged by: its cache, which is `cache.max_bytes`.
    #[arg(long, default_value_t = 64 * MIB)]
    cache: u64,
    /// Bytes that the node is judged by: its budget for requests, which is `memory.requests`.
    #[arg(long, default_value_t = 128 * MIB)]
    memory_requests: u64,
    /// Bytes that the node is judged by: its budget for answers, which is `memory.answers`.
    #[arg(long, default_value_t = 128 * MIB)]
    memory_answers: u64,
    /// A setting of the node, such as `cache-max-bytes=32MiB`; may be repeated.
    #[arg(long = "set", value_parser = setting)]
    settings: Vec<(String, String)>,
    /// Most configurations that a scenario stores.
    #[arg(long, default_value_t = 90_000)]
    configurations: usize,
}

const MIB: u64 = 1024 * 1024;

fn setting(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').ok_or("a setting is NAME=VALUE")?;
    Ok((parts.0.to_owned(), parts.1.to_owned()))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if arguments.list {
        ALL.iter().for_each(|scenario| println!("{:20} {:3} {}", scenario.name, scenario.row, scenario.about));
        return Ok(());
    }
    let scenarios = chosen(&arguments.only)?;
    let binary = match &arguments.binary {
        Some(binary) => binary::named(binary)?,
        None => binary::up_to_date()?,
    };
    println!("node: {}", binary.display());
    let ceilings = Ceilings::of(arguments.cache, arguments.memory_requests, arguments.memory_answers);
    println!("resident memory may reach {} MiB", ceilings.memory / MIB);
    let plan = Plan {
        attack: Duration::from_secs(arguments.seconds),
        quiet: Duration::from_secs(arguments.quiet_seconds),
        guarded: arguments.auth_tls,
        address_space: Some(arguments.limit_as).filter(|bytes| *bytes > 0),
        settings: arguments.settings,
        configurations: arguments.configurations,
        ceilings,
    };
    println!("\n{}", Row::HEAD);
    let mut failed = 0;
    for scenario in &scenarios {
        let row = run(&plan, scenario).await?;
        println!("{row}");
        failed += usize::from(!row.faults.is_empty());
    }
    println!("\n{failed} of {} scenarios failed", scenarios.len());
    if failed > 0 {
        std::process::exit(1);
    }
    Ok(())
}

/// The scenarios of these names; all when none is named.
fn chosen(names: &[String]) -> anyhow::Result<Vec<&'static Scenario>> {
    if names.is_empty() {
        return Ok(ALL.iter().collect());
    }
    let find = |name: &String| {
        let found = ALL.iter().find(|scenario| scenario.name == name);
        found.ok_or_else(|| anyhow::anyhow!("there is no scenario {name}; --list says which there are"))
    };
    names.iter().map(find).collect()
}
