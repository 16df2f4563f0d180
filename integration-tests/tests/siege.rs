//! Short forms of a siege: some of the attacks, for two seconds each. They ask how much memory the node takes, whether
//! it lives, and whether all doors answer at once; latencies are those of a busy machine here and judged by nobody.
//! `siege` runs all attacks, for longer.

use std::time::Duration;

use anyhow::{Context as _, Result};
use callboard_integration_tests::siege::report::{Ceilings, Row};
use callboard_integration_tests::siege::scenario::ALL;
use callboard_integration_tests::siege::{Plan, run};

const MIB: u64 = 1024 * 1024;

/// Whoever wants to answer can do so within this time while other tests run.
const SOON: Duration = Duration::from_secs(10);

/// All of a hundred: a test that is not optimised keeps everybody waiting.
const ANY: usize = 100;

/// One attack on a node that has the settings it has by default, beside which so many of a hundred who come anew may
/// find nobody within a second.
async fn withstands(name: &str, unanswered: usize) -> Result<()> {
    let scenario = ALL.iter().find(|scenario| scenario.name == name).context("there is such a scenario")?;
    let ceilings = Ceilings::of(64 * MIB, 128 * MIB, 128 * MIB);
    let plan = Plan {
        attack: Duration::from_secs(2),
        quiet: Duration::ZERO,
        guarded: false,
        address_space: Some(4 * 1024 * MIB),
        settings: Vec::new(),
        configurations: 1_000,
        ceilings: Ceilings { judges_latency: false, unanswered, recovery: SOON, ..ceilings },
    };
    let row = run(&plan, scenario).await?;
    println!("{}\n{row}", Row::HEAD);
    anyhow::ensure!(row.faults.is_empty(), "{name}: {}", row.faults.join("; "));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_very_many_elements_costs_no_more_than_its_share() -> Result<()> {
    withstands("grpc-elements", ANY).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hello_of_very_many_elements_costs_no_more_than_its_share() -> Result<()> {
    withstands("native-held", ANY).await
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_reads_cost_no_more_than_their_share() -> Result<()> {
    withstands("unread-http", ANY).await?;
    withstands("unread-grpc", ANY).await
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_never_end_cost_no_more_than_their_share() -> Result<()> {
    withstands("bodies-unfinished", ANY).await?;
    withstands("frames-before-hello", ANY).await
}

#[tokio::test(flavor = "multi_thread")]
async fn publishes_that_wait_cost_no_more_than_their_share() -> Result<()> {
    withstands("publishes-native", ANY).await
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_say_half_a_head_leave_room_for_others() -> Result<()> {
    withstands("half-heads", 50).await
}
