//! The cluster as this node sees it, for every interface that tells of it. Asks; decides nothing.

use std::time::Duration;

use callboard_actors::cluster_listener::{ClusterView, GetCluster};
use callboard_actors::runtime::ask;
use callboard_actors::wiring::Node;
use callboard_protocol::membership_view;

use super::error::ApiError;

/// How long the own actors may take.
const DEADLINE: Duration = Duration::from_secs(2);

/// What this node knows of every node.
///
/// # Errors
/// The actor did not answer.
pub(crate) async fn view(node: &Node) -> Result<ClusterView, ApiError> {
    Ok(ask(&node.cluster_listener, GetCluster, DEADLINE).await?)
}

/// How long a client may wait to be told where else to go.
const SOON: Duration = Duration::from_secs(1);

/// Where the other nodes of the cluster listen for native sessions.
pub(crate) async fn elsewhere(node: &Node) -> Vec<String> {
    let Ok(view) = ask(&node.cluster_listener, GetCluster, SOON).await else { return Vec::new() };
    let others = membership_view::elsewhere(&view.nodes, &view.node);
    others.filter_map(|seen| seen.addresses.session).map(|address| address.to_string()).collect()
}
