//! Two rounds of the crash check, and some tens of injections of the one with a storage that fails; `crash-check` runs
//! many.

use anyhow::Result;
use callboard_integration_tests::crash::{Plan, prove};
use callboard_integration_tests::failing_storage::{self, Calls, Error, Kind};
use callboard_integration_tests::node::NodeOptions;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_remembers_exactly_what_it_said() -> Result<()> {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let plan = Plan { rounds: 2, publishers: 16, seed, setup: NodeOptions::new() };
    let rounds = prove(&plan, |round| println!("{round}")).await?;
    assert!(rounds.iter().any(|round| round.acknowledged > 0), "seed {seed}: nothing was published");
    let violations: Vec<&String> = rounds.iter().flat_map(|round| &round.violations).collect();
    assert!(violations.is_empty(), "seed {seed}: {violations:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_fails_loses_nothing() -> Result<()> {
    let seed = fastrand::u64(..);
    println!("seed {seed}\n{}", failing_storage::Row::HEAD);
    let kinds = vec![
        Kind::Amid(Error::NoSpace, Calls::Write),
        Kind::Amid(Error::NoSpace, Calls::WritePartly),
        Kind::Amid(Error::InputOutput, Calls::Sync),
        Kind::Amid(Error::ReadOnly, Calls::Any),
        Kind::Restart(Error::Quota),
        Kind::SizeLimit,
        Kind::FullVolume,
    ];
    let plan = failing_storage::Plan { server: None, kinds, injections: 48, publishers: 4, seed, keep: None };
    let rows = failing_storage::prove(&plan, |row| println!("{row}")).await?;
    assert!(rows.iter().map(|row| row.injections).sum::<usize>() >= 30, "seed {seed}: little has failed");
    assert!(rows.iter().any(|row| row.refused + row.unknown > 0), "seed {seed}: nobody noticed");
    let violations: Vec<_> = rows.iter().flat_map(|row| row.violations.iter().take(20)).collect();
    assert!(violations.is_empty(), "seed {seed}: {violations:#?}");
    Ok(())
}
