//! What every highly available database of the proof can do: be broken, and be made whole. Owns the trait; breaks
//! nothing itself.

use std::path::Path;
use std::time::Instant;

use crate::cluster::Cluster;
use crate::database_server::Engine;

/// The database that all nodes of the proof are on.
pub(super) const DATABASE: &str = "callboard_ha";

/// A database of several servers.
pub(super) trait ReplicatedDatabase {
    /// Its kind.
    fn engine(&self) -> Engine;

    /// By which URLs the nodes reach [`DATABASE`]: one for all, or one for each.
    fn urls(&self) -> Vec<String>;

    /// Breaks it, or moves it, and gives the moment from which on it took writes again, seen from outside the nodes.
    async fn strike(&mut self, round: u32, cluster: &Cluster) -> anyhow::Result<Struck>;

    /// Brings back what [`ReplicatedDatabase::strike`] left broken, amid the load.
    async fn mend(&mut self) -> anyhow::Result<()>;

    /// Copies the servers' logs into a directory.
    fn keep_logs(&self, directory: &Path) -> anyhow::Result<()>;
}

/// What was done.
#[derive(Debug, Clone)]
pub(super) struct Struck {
    /// When the database took writes again.
    pub(super) writable: Instant,
    /// What was done, for people.
    pub(super) detail: String,
}
