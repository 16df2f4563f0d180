//! A standby takes over under a node that knows both servers: nothing acknowledged is lost, no read is stale, and
//! publishes go on by themselves.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use callboard_integration_tests::database_server::{DatabaseServer, Engine, Options, can_start};
use callboard_integration_tests::node::{Node, NodeOptions};
use callboard_integration_tests::poll;
use callboard_protocol::key::ConfigKey;

const DATABASE: &str = "d";
/// Publishes before the standby takes over, and after it.
const EACH: u64 = 100;

fn key() -> ConfigKey {
    ConfigKey::new("public", "shop", "counter").unwrap()
}

fn engine_database(engine: Engine) -> &'static str {
    if engine == Engine::Postgres { "postgres" } else { "mysql" }
}

/// What is seen while publishes go on.
#[derive(Debug, Default)]
struct Seen {
    acknowledged: AtomicU64,
    ends: AtomicBool,
}

/// Counts up, and reads what was acknowledged last after each publish: by another connection of the node, for its cache
/// has room for nothing.
async fn count(node: &Node, seen: &Seen) -> Result<()> {
    let client = node.client();
    let mut number = 0_u64;
    while !seen.ends.load(Ordering::Relaxed) {
        number += 1;
        // Not acknowledged is not known; it is not sent again.
        let Ok(answer) = client.put(&key(), number.to_string()).send().await else { continue };
        if answer.status >= 300 {
            continue;
        }
        seen.acknowledged.store(number, Ordering::Relaxed);
        let read = client.get(&key()).send().await?;
        if read.status == 200 {
            let found: u64 = read.text().parse()?;
            anyhow::ensure!(found >= number, "{found} is read after {number} was acknowledged");
        } else {
            assert_eq!(read.status, 503, "{}", read.text());
        }
    }
    Ok(())
}

async fn reaches(seen: &Seen, number: u64) -> Result<()> {
    poll::until("publishes go on", poll::SOON, async || {
        Ok((seen.acknowledged.load(Ordering::Relaxed) >= number).then_some(()))
    })
    .await
}

/// Lets `take_over` make the standby the primary, amid publishes.
async fn survives(
    primary: DatabaseServer,
    standby: &DatabaseServer,
    take_over: impl AsyncFnOnce(DatabaseServer) -> Result<Option<DatabaseServer>>,
) -> Result<()> {
    let hosts = format!("{},{}", primary.address(), standby.address());
    let url = primary.url(DATABASE).replace(&primary.address().to_string(), &hosts);
    let setup = NodeOptions::new().variable("CALLBOARD_DATABASE_URL", &url).flag("cache-max-bytes", "4KiB");
    let node = Node::start(setup).await?;
    let seen = Seen::default();
    let watched = async {
        reaches(&seen, EACH).await?;
        let former = take_over(primary).await?;
        let (begun, before) = (Instant::now(), seen.acknowledged.load(Ordering::Relaxed));
        reaches(&seen, before + 1).await?;
        println!("publishes went on {:?} after the standby had taken over", begun.elapsed());
        reaches(&seen, before + EACH).await?;
        seen.ends.store(true, Ordering::Relaxed);
        anyhow::Ok(former)
    };
    let (counted, former) = tokio::join!(count(&node, &seen), watched);
    counted.with_context(|| node.log_tail())?;
    let _former = former.with_context(|| node.log_tail())?;
    let content = match standby.engine() {
        Engine::Postgres => "convert_from(content, 'UTF8')",
        Engine::MariaDb => "CONVERT(content USING utf8mb4)",
    };
    let kept: u64 = standby.query(DATABASE, &format!("SELECT {content} FROM cc_config")).await?.trim().parse()?;
    let acknowledged = seen.acknowledged.load(Ordering::Relaxed);
    assert!(kept >= acknowledged, "{kept} is kept, {acknowledged} was acknowledged");
    Ok(())
}

async fn postgresql() -> Result<Option<(DatabaseServer, DatabaseServer)>> {
    if !can_start(Engine::Postgres)? {
        return Ok(None);
    }
    let primary = DatabaseServer::start(Engine::Postgres).await?;
    primary.create_database(DATABASE).await?;
    let follows = Some(primary.address());
    let standby = DatabaseServer::start_with(Engine::Postgres, Options { follows, ..Options::default() }).await?;
    primary.query("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'").await?;
    primary.query("postgres", "SELECT pg_reload_conf()").await?;
    poll::until("the standby is synchronous", poll::SOON, async || {
        let state = primary.query("postgres", "SELECT sync_state FROM pg_stat_replication").await?;
        Ok((state == "sync\n").then_some(()))
    })
    .await?;
    Ok(Some((primary, standby)))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_death_of_a_primary_of_postgresql() -> Result<()> {
    let Some((primary, standby)) = postgresql().await? else { return Ok(()) };
    survives(primary, &standby, async |mut primary| {
        primary.crash().await?;
        standby.query("postgres", "SELECT pg_promote()").await?;
        Ok(None)
    })
    .await
}

/// The former primary lives on, with its connections, and takes no writes.
#[tokio::test(flavor = "multi_thread")]
async fn a_switchover_of_mariadb_whose_former_primary_lives_on() -> Result<()> {
    if !can_start(Engine::MariaDb)? {
        return Ok(());
    }
    let numbered = |number: u8, follows| {
        let arguments = ["--log-bin=log".into(), format!("--server-id={number}")];
        DatabaseServer::start_with(
            Engine::MariaDb,
            Options { arguments: arguments.to_vec(), follows, ..Options::default() },
        )
    };
    let primary = numbered(1, None).await?;
    let standby = numbered(2, Some(primary.address())).await?;
    primary.create_database(DATABASE).await?;
    survives(primary, &standby, async |primary| {
        let schema = engine_database(Engine::MariaDb);
        primary.query(schema, "SET GLOBAL read_only = ON").await?;
        let place = primary.query(schema, "SELECT @@gtid_binlog_pos").await?;
        let wait = format!("SELECT MASTER_GTID_WAIT('{}', 20)", place.trim());
        anyhow::ensure!(standby.query(schema, &wait).await?.trim() == "0", "the standby does not catch up");
        standby.query(schema, "STOP SLAVE; SET GLOBAL read_only = OFF").await?;
        Ok(Some(primary))
    })
    .await
}

/// A primary that hangs keeps its connections and says nothing: they are given up in time.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_primary_of_postgresql() -> Result<()> {
    let Some((primary, standby)) = postgresql().await? else { return Ok(()) };
    let begun = Instant::now();
    survives(primary, &standby, async |primary| {
        primary.pause()?;
        standby.query("postgres", "SELECT pg_promote()").await?;
        Ok(Some(primary))
    })
    .await?;
    assert!(begun.elapsed() < Duration::from_secs(60));
    Ok(())
}
