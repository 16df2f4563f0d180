//! A MariaDB primary and its replica, which change roles as planned: the former primary lives on, read-only and with
//! its connections. Owns both servers; the nodes know them by a list of hosts.

use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;

use super::replicated_database::{DATABASE, ReplicatedDatabase, Struck};
use crate::cluster::Cluster;
use crate::database_server::{DatabaseServer, Engine, Options, USER};
use crate::poll;

const SCHEMA: &str = "mysql";

/// The pair.
#[derive(Debug)]
pub(super) struct Pair {
    servers: [DatabaseServer; 2],
    /// Which one is the primary.
    primary: usize,
    /// How far the former primary had come when it gave up its role.
    left_at: Option<String>,
}

impl Pair {
    /// Starts both.
    pub(super) async fn start() -> anyhow::Result<Self> {
        let primary = start_one(1, None).await?;
        let replica = start_one(2, Some(&primary)).await?;
        primary.create_database(DATABASE).await?;
        // Whoever may write to a server that is read-only is not stopped by a switchover.
        primary.query(SCHEMA, &format!("REVOKE READ ONLY ADMIN ON *.* FROM {USER}@'%'")).await?;
        let pair = Self { servers: [primary, replica], primary: 0, left_at: None };
        let place = pair.place().await?;
        pair.catches_up(&place).await?;
        Ok(pair)
    }

    fn roles(&self) -> anyhow::Result<(&DatabaseServer, &DatabaseServer)> {
        let [first, second] = &self.servers;
        Ok(if self.primary == 0 { (first, second) } else { (second, first) })
    }

    async fn place(&self) -> anyhow::Result<String> {
        let (primary, _) = self.roles()?;
        Ok(primary.query(SCHEMA, "SELECT @@gtid_binlog_pos").await?.trim().to_owned())
    }

    async fn catches_up(&self, place: &str) -> anyhow::Result<()> {
        let (_, replica) = self.roles()?;
        let waited = replica.query(SCHEMA, &format!("SELECT MASTER_GTID_WAIT('{place}', 20)")).await?;
        if waited.trim() != "0" {
            let status = replica.query(SCHEMA, "SHOW SLAVE STATUS").await?;
            anyhow::bail!("the replica does not catch up: {status}");
        }
        Ok(())
    }
}

async fn start_one(number: u8, follows: Option<&DatabaseServer>) -> anyhow::Result<DatabaseServer> {
    let arguments = vec![
        "--log-bin=log".to_owned(),
        "--log-slave-updates".to_owned(),
        "--sync-binlog=1".to_owned(),
        "--binlog-format=ROW".to_owned(),
        format!("--server-id={number}"),
    ];
    let follows = follows.map(DatabaseServer::address);
    DatabaseServer::start_with(Engine::MariaDb, Options { arguments, follows, ..Options::default() }).await
}

impl ReplicatedDatabase for Pair {
    fn engine(&self) -> Engine {
        Engine::MariaDb
    }

    fn urls(&self) -> Vec<String> {
        let [first, second] = &self.servers;
        let hosts = format!("{},{}", first.address(), second.address());
        vec![first.url(DATABASE).replace(&first.address().to_string(), &hosts)]
    }

    async fn strike(&mut self, _round: u32, _cluster: &Cluster) -> anyhow::Result<Struck> {
        let (primary, replica) = self.roles()?;
        primary.query(SCHEMA, "SET GLOBAL read_only = ON").await?;
        let place = self.place().await?;
        self.catches_up(&place).await?;
        replica.query(SCHEMA, "STOP SLAVE; RESET SLAVE ALL; SET GLOBAL read_only = OFF").await?;
        let writable = Instant::now();
        let detail = format!("the primary is {} now", replica.address());
        self.left_at = Some(place);
        self.primary = 1 - self.primary;
        Ok(Struck { writable, detail })
    }

    async fn mend(&mut self) -> anyhow::Result<()> {
        let left_at = self.left_at.take().context("the roles were changed")?;
        let (primary, former) = self.roles()?;
        let follow = format!(
            "SET GLOBAL gtid_slave_pos = '{left_at}'; CHANGE MASTER TO MASTER_HOST='{}', MASTER_PORT={}, MASTER_USER='{USER}', \
             MASTER_PASSWORD='{USER}', MASTER_USE_GTID=slave_pos; START SLAVE",
            primary.address().ip(),
            primary.address().port()
        );
        former.query(SCHEMA, &follow).await?;
        poll::until("the former primary follows", poll::SOON, async || {
            let place = self.place().await?;
            Ok(self.catches_up(&place).await.is_ok().then_some(()))
        })
        .await
    }

    fn keep_logs(&self, directory: &Path) -> anyhow::Result<()> {
        for (server, number) in self.servers.iter().zip(1..) {
            std::fs::copy(server.log(), directory.join(format!("mariadb-{number}.log")))?;
        }
        Ok(())
    }
}
