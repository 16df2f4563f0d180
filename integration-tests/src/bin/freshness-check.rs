//! `freshness-check`: reads and publishes a few keys as fast as it can against a tiny cache, and exits 1 if any read
//! was stale or any subscriber misled.

use std::time::Duration;

use callboard_integration_tests::binary;
use callboard_integration_tests::freshness::{Plan, run};
use clap::Parser;

/// Reads and publishes 8 hot keys of a node whose cache is far too small for them, while subscribers listen, and checks
/// the whole recording.
#[derive(Debug, Parser)]
struct Arguments {
    /// How long.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How many publish at the same time.
    #[arg(long, default_value_t = 4)]
    publishers: usize,
    /// How many read at the same time.
    #[arg(long, default_value_t = 8)]
    readers: usize,
    /// Repeats the choices of a former run.
    #[arg(long)]
    seed: Option<u64>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..));
    println!(
        "{} s, {} publishers, {} readers, seed {seed}",
        arguments.seconds, arguments.publishers, arguments.readers
    );
    println!("node: {}", binary::up_to_date()?.display());
    let plan = Plan {
        duration: Duration::from_secs(arguments.seconds),
        publishers: arguments.publishers,
        readers: arguments.readers,
        seed,
        setup: Plan::tiny_cache(),
    };
    let report = run(&plan).await?;
    print!("{report}");
    if !report.violations.is_empty() {
        std::process::exit(1);
    }
    Ok(())
}
