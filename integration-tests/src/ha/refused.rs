//! A node that starts on another member of a Galera cluster than the living nodes ends with an error that says so. Owns
//! nothing that lasts; the members are another module's.

use std::time::Duration;

use super::Scenario;
use super::galera::Galera;
use super::replicated_database::DATABASE;
use super::round::Round;
use crate::cluster::Cluster;
use crate::database_server::Engine;
use crate::node::NodeOptions;

/// Longest time for a start to be refused: it may wait for its database first.
const LIMIT: Duration = Duration::from_secs(40);

/// Starts a cluster anew for a round.
pub(super) async fn run(galera: &Galera, number: u32, setup: NodeOptions) -> anyhow::Result<Round> {
    let urls = galera.urls_of_members();
    let mut cluster = Cluster::start_over(Engine::MariaDb, DATABASE, urls, 1, setup).await?;
    let (mut violations, mut said) = (Vec::new(), String::new());
    for place in [2, 3] {
        match cluster.refuses(place, LIMIT).await? {
            Some(reason) if reason.contains("member") => said = reason,
            Some(reason) => violations.push(format!("node {place} ended without naming the members: {reason}")),
            None => violations.push(format!("node {place} runs on another member than node 1")),
        }
    }
    cluster.remove(1).await?;
    Ok(Round::without_load(Scenario::GaleraSeveralMembers, number, said, violations))
}
