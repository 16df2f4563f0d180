//! Two rounds of the crash proof; `crash-proof` runs many.

use anyhow::Result;
use callboard_integration_tests::crash::{Plan, prove};
use callboard_integration_tests::node::Setup;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_remembers_exactly_what_it_said() -> Result<()> {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let plan = Plan { rounds: 2, publishers: 16, seed, setup: Setup::new() };
    let rounds = prove(&plan, |round| println!("{round}")).await?;
    assert!(rounds.iter().any(|round| round.acknowledged > 0), "seed {seed}: nothing was published");
    let violations: Vec<&String> = rounds.iter().flat_map(|round| &round.violations).collect();
    assert!(violations.is_empty(), "seed {seed}: {violations:#?}");
    Ok(())
}
