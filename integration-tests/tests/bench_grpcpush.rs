//! `callboard bench grpcpush` against a real node.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use anyhow::Result;
use callboard_integration_tests::node::{Node, NodeOptions, run_to_end};
use serde_json::Value;

async fn bench(node: &Node, arguments: &str) -> Result<std::process::Output> {
    let (http, grpc, pid) = (node.http(), node.grpc_address().to_string(), node.pid()?.to_string());
    let target = ["bench", "grpcpush", "--url", &http, "--grpc", &grpc, "--pid", &pid];
    let arguments: Vec<&str> = target.into_iter().chain(arguments.split_ascii_whitespace()).collect();
    run_to_end(&arguments, &[]).await
}

#[tokio::test]
async fn listeners_are_all_told_and_get_the_content() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    // The content is too long for the windows that nobody has widened, and so is what each listens to.
    let output = bench(&node, "--listeners 20 --rounds 2 --settle 50ms --size 100000 --keys 2000 --json").await?;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!((&report["missed"], &report["operations"]), (&Value::from(0), &Value::from(40)), "{report}");
    let figure = |name: &str| report[name].as_f64().unwrap_or_else(|| panic!("no {name} in {report}"));
    assert!(figure("first_ms") > 0.0 && figure("first_ms") <= figure("last_ms"), "{report}");
    assert!(figure("p50_ms") <= figure("content_p50_ms") && figure("content_p99_ms") > 0.0, "{report}");
    assert!(figure("listened_ms") > 0.0 && report["bytes_per_listener"].is_f64(), "{report}");
    Ok(())
}

#[tokio::test]
async fn connections_come_and_go() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let output = bench(&node, "--listeners 8 --settle 50ms --size 100 --churn 1s --json").await?;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout)?;
    assert!(report["operations"].as_u64().is_some_and(|lives| lives >= 8), "{report}");
    assert_eq!(report["errors"], 0, "{report}");
    Ok(())
}

#[tokio::test]
async fn a_node_without_room_for_them_is_exit_code_one() -> Result<()> {
    let node = Node::start(NodeOptions::new().flag("session-max-sessions", "5")).await?;
    let output = bench(&node, "--listeners 6 --rounds 1").await?;
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("a listener could not be opened"), "{message}");
    Ok(())
}
