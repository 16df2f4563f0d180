//! Five seconds of the freshness check; `freshness-check` runs longer.

use std::time::Duration;

use anyhow::Result;
use callboard_integration_tests::freshness::{Plan, run};

#[tokio::test(flavor = "multi_thread")]
async fn no_read_is_stale_and_no_subscriber_misled_under_a_tiny_cache() -> Result<()> {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let duration = Duration::from_secs(5);
    let plan = Plan { duration, publishers: 3, readers: 4, seed, setup: Plan::tiny_cache() };
    let report = run(&plan).await?;
    println!("{report}");
    assert!(report.reads > 100 && report.publishes > 100 && report.events > 100, "seed {seed}: too little happened");
    assert!(report.violations.is_empty(), "seed {seed}: {report}");
    Ok(())
}
