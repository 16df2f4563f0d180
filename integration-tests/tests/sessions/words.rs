//! What several of these tests ask of a node besides its sessions: how others ended, and whether it is unharmed.

use anyhow::{Result, ensure};
use callboard_integration_tests::node::Node;
use callboard_integration_tests::poll;
use callboard_integration_tests::session::Session;

/// Waits until so many sessions at least have ended for this reason.
pub(super) async fn until_ended(node: &Node, reason: &str, count: u32) -> Result<()> {
    let series = format!("callboard_sessions_ended_total{{reason=\"{reason}\"}}");
    poll::until(&format!("{count} sessions ended as {reason}"), poll::SOON, async || {
        let text = node.client().get_path("/metrics").send().await?.expect(200)?.text();
        let value = text.lines().find_map(|line| line.strip_prefix(&series)?.trim().parse::<f64>().ok());
        Ok(value.is_some_and(|value| value >= f64::from(count)).then_some(()))
    })
    .await
}

/// Checks that the node serves a new client, and that nothing in it has panicked.
pub(super) async fn unharmed(node: &Node) -> Result<()> {
    let mut session = Session::open(node.session_address(), "afterwards").await?;
    let version = session.publish("afterwards", "still here").await?;
    ensure!(session.get("afterwards").await?.version >= version);
    let log = std::fs::read_to_string(node.log())?;
    ensure!(!log.contains("panicked"), "{}", node.log_tail());
    Ok(())
}
