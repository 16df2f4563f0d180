//! `crash-proof`: kills a node amid publishers, again and again, and exits 1 if it ever forgot what it said.

use callboard_integration_tests::crash::{Plan, Round, prove};
use callboard_integration_tests::{binary, node};
use clap::Parser;

/// Kills a node with SIGKILL amid concurrent publishers, starts it again and checks that it remembers exactly what it
/// acknowledged.
#[derive(Debug, Parser)]
struct Arguments {
    /// How often to kill the node.
    #[arg(long, default_value_t = 50)]
    rounds: u32,
    /// How many publish at the same time.
    #[arg(long, default_value_t = 64)]
    publishers: u32,
    /// Repeats the choices of a former run.
    #[arg(long)]
    seed: Option<u64>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..));
    println!("{} rounds, {} publishers, seed {seed}", arguments.rounds, arguments.publishers);
    println!("node: {}", binary::up_to_date()?.display());
    let plan = Plan { rounds: arguments.rounds, publishers: arguments.publishers, seed, setup: node::Setup::new() };
    println!("{}", Round::HEAD);
    let rounds = prove(&plan, |round| println!("{round}")).await?;
    let violations: usize = rounds.iter().map(|round| round.violations.len()).sum();
    println!("{violations} violations (the last line checks all rounds once more)");
    if violations > 0 {
        std::process::exit(1);
    }
    Ok(())
}
