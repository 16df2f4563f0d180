//! `callboard bench session` against a real node.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use anyhow::Result;
use callboard_integration_tests::node::{Node, NodeOptions, run_to_end};
use serde_json::Value;

async fn bench(arguments: &[&str]) -> Result<std::process::Output> {
    run_to_end(&[&["bench", "session"], arguments].concat(), &[]).await
}

#[tokio::test]
async fn sessions_all_hear_and_answer() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let (http, sessions, pid) = (node.http(), node.session_address().to_string(), node.pid()?.to_string());
    let output = bench(&[
        "--url",
        &http,
        "--session",
        &sessions,
        "--pid",
        &pid,
        "--listeners",
        "20",
        "--rounds",
        "2",
        "--settle",
        "50ms",
        "--size",
        "100",
        "--json",
    ])
    .await?;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!((&report["missed"], &report["operations"]), (&Value::from(0), &Value::from(40)), "{report}");
    let figure = |name: &str| report[name].as_f64().unwrap_or_else(|| panic!("no {name} in {report}"));
    assert!(figure("first_ms") > 0.0 && figure("first_ms") <= figure("last_ms"), "{report}");
    assert!(figure("p50_ms") <= figure("applied_p50_ms") && report["bytes_per_listener"].is_f64(), "{report}");
    Ok(())
}

#[tokio::test]
async fn a_node_without_room_for_them_is_exit_code_one() -> Result<()> {
    let node = Node::start(NodeOptions::new().flag("session-max-sessions", "5")).await?;
    let (http, sessions) = (node.http(), node.session_address().to_string());
    let output = bench(&["--url", &http, "--session", &sessions, "--listeners", "6", "--rounds", "1"]).await?;
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("a session could not be opened"), "{message}");
    Ok(())
}
