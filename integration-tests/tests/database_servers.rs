//! The tests' own database servers do what the faults need: they restart on the same port, keep what was committed, can
//! be paused, and their clocks can be stepped. And a node serves on a server whose settings are not the usual ones.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::time::Duration;

use anyhow::Result;
use callboard_integration_tests::database_server::{DatabaseServer, Engine, Options, can_start};
use callboard_integration_tests::node::{Node, NodeOptions};
use callboard_integration_tests::poll;
use callboard_protocol::key::ConfigKey;

const HOUR: i64 = 3600;

async fn restarts(engine: Engine) -> Result<()> {
    if !can_start(engine)? {
        return Ok(());
    }
    let mut server = DatabaseServer::start(engine).await?;
    server.create_database("d").await?;
    server.query("d", "CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (7)").await?;
    let address = server.address();
    server.restart_immediately().await?;
    server.query("d", "INSERT INTO t VALUES (8)").await?;
    server.stop().await?;
    assert!(server.query("d", "SELECT n FROM t").await.is_err(), "a stopped server answers");
    server.start_again().await?;
    assert_eq!(server.address(), address);
    assert_eq!(server.query("d", "SELECT n FROM t ORDER BY n").await?, "7\n8\n");
    server.pause()?;
    let asked = tokio::time::timeout(Duration::from_millis(300), server.query("d", "SELECT n FROM t")).await;
    server.resume()?;
    assert!(asked.is_err(), "a paused server answers");
    // The kernel counts in hundredths of a second, and a quick server may not have needed one yet.
    poll::until("its work shows in its CPU time", poll::SOON, async || {
        assert_eq!(server.query("d", "SELECT count(*) FROM t").await?, "2\n");
        Ok((server.cpu_time()? > Duration::ZERO).then_some(()))
    })
    .await
}

async fn steps_its_clock(engine: Engine) -> Result<()> {
    if !can_start(engine)? {
        return Ok(());
    }
    if !DatabaseServer::clock_can_step() {
        println!("not run: libfaketime is not installed");
        return Ok(());
    }
    let server = DatabaseServer::start_with(engine, Options { clock_can_step: true, ..Options::default() }).await?;
    let now = match engine {
        Engine::Postgres => "SELECT extract(epoch FROM clock_timestamp())::bigint",
        Engine::MariaDb => "SELECT unix_timestamp()",
    };
    let clock = async || anyhow::Ok(server.query(engine_database(engine), now).await?.trim().parse::<i64>()?);
    let before = clock().await?;
    for step in [HOUR, -HOUR, 0] {
        server.step_clock(step)?;
        poll::until("the clock has stepped", poll::SOON, async || {
            let off = clock().await? - before - step;
            Ok((0..HOUR / 2).contains(&off).then_some(()))
        })
        .await?;
    }
    Ok(())
}

/// Settings of servers and users that would change what our statements mean. Each of them is found in the field.
fn unusual_settings(engine: Engine) -> &'static [&'static str] {
    match engine {
        Engine::Postgres => &["ALTER ROLE callboard SET default_transaction_isolation = 'serializable';
             ALTER ROLE callboard SET default_transaction_deferrable = on;
             ALTER ROLE callboard SET standard_conforming_strings = off;
             ALTER ROLE callboard SET statement_timeout = '1ms';
             ALTER ROLE callboard SET datestyle = 'German, DMY';
             ALTER ROLE callboard SET timezone = 'Asia/Kathmandu';
             ALTER ROLE callboard SET client_encoding = 'LATIN1'"],
        Engine::MariaDb => &[
            "SET GLOBAL sql_mode = 'ORACLE', GLOBAL autocommit = 0, GLOBAL completion_type = 2",
            "SET GLOBAL sql_mode = 'ANSI,PAD_CHAR_TO_FULL_LENGTH,NO_BACKSLASH_ESCAPES,EMPTY_STRING_IS_NULL,\
             SIMULTANEOUS_ASSIGNMENT,HIGH_NOT_PRECEDENCE,NO_ZERO_DATE,NO_UNSIGNED_SUBTRACTION', \
             GLOBAL tx_isolation = 'SERIALIZABLE', GLOBAL tx_read_only = 1, GLOBAL sql_select_limit = 1, \
             GLOBAL sql_safe_updates = 1, GLOBAL sql_auto_is_null = 1, GLOBAL max_join_size = 1, \
             GLOBAL character_set_server = latin1, GLOBAL time_zone = '+05:45', GLOBAL default_storage_engine = MyISAM",
        ],
    }
}

/// A node makes its tables, publishes, and finds everything again after a restart.
async fn serves_whatever_is_set(engine: Engine) -> Result<()> {
    if !can_start(engine)? {
        return Ok(());
    }
    for settings in unusual_settings(engine) {
        let server = DatabaseServer::start(engine).await?;
        server.create_database("d").await?;
        server.query(engine_database(engine), settings).await?;
        let mut node = Node::start(NodeOptions::new().variable("CALLBOARD_DATABASE_URL", &server.url("d"))).await?;
        let keys = [ConfigKey::new("public", "G", "a")?, ConfigKey::new("public", "G", "b")?];
        let content = "\u{00e4}\u{1f600} 'quoted' \\ \"x\"\r\n";
        for key in &keys {
            node.client().put(key, content).query("description", "").send().await?.expect(201)?;
            node.client().put(key, format!("{content} ")).send().await?.expect(200)?;
        }
        assert_eq!(node.terminate().await?.code(), Some(0), "{settings}");
        node.start_again().await?;
        for key in &keys {
            assert_eq!(node.client().get(key).send().await?.expect(200)?.text(), format!("{content} "), "{settings}");
            assert_eq!(node.client().whole_history(key).await?.len(), 2, "{settings}");
        }
        node.client().delete(&keys[0]).send().await?.expect(200)?;
        node.client().get(&keys[0]).send().await?.expect(404)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_serves_on_a_postgresql_with_unusual_settings() -> Result<()> {
    serves_whatever_is_set(Engine::Postgres).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_serves_on_a_mariadb_with_unusual_settings() -> Result<()> {
    serves_whatever_is_set(Engine::MariaDb).await
}

fn engine_database(engine: Engine) -> &'static str {
    match engine {
        Engine::Postgres => "postgres",
        Engine::MariaDb => "mysql",
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_restarts_and_keeps() -> Result<()> {
    restarts(Engine::Postgres).await
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_restarts_and_keeps() -> Result<()> {
    restarts(Engine::MariaDb).await
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_steps_its_clock() -> Result<()> {
    steps_its_clock(Engine::Postgres).await
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_steps_its_clock() -> Result<()> {
    steps_its_clock(Engine::MariaDb).await
}

/// A standby that is promoted may lack what was acknowledged: who starts a node hears of it.
async fn warns_of_a_standby(
    server: &DatabaseServer,
    setting: &str,
    follow: impl AsyncFnOnce() -> Result<()>,
) -> Result<()> {
    server.create_database("d").await?;
    let mut node = Node::start(NodeOptions::new().variable("CALLBOARD_DATABASE_URL", &server.url("d"))).await?;
    let warnings = |node: &Node| anyhow::Ok(std::fs::read_to_string(node.log())?.matches(setting).count());
    assert_eq!(warnings(&node)?, 0, "nobody follows");
    node.terminate().await?;
    follow().await?;
    node.start_again().await?;
    assert_eq!(warnings(&node)?, 1);
    Ok(())
}

async fn one_follows(server: &DatabaseServer, question: &str) -> Result<()> {
    poll::until("the follower is there", poll::SOON, async || {
        Ok((server.query(engine_database(server.engine()), question).await? == "1\n").then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_of_postgresql_that_may_lag_is_told_of() -> Result<()> {
    if !can_start(Engine::Postgres)? {
        return Ok(());
    }
    let server = DatabaseServer::start(Engine::Postgres).await?;
    let written = tempfile::tempdir()?;
    let mut follower = None;
    warns_of_a_standby(&server, "synchronous_standby_names is empty", async || {
        let mut command = tokio::process::Command::new("pg_receivewal");
        command.args(["-h", "127.0.0.1", "-U", "callboard", "-p", &server.address().port().to_string(), "-D"]);
        follower = Some(command.arg(written.path()).kill_on_drop(true).spawn()?);
        one_follows(&server, "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'").await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_of_mariadb_that_may_lag_is_told_of() -> Result<()> {
    if !can_start(Engine::MariaDb)? {
        return Ok(());
    }
    let numbered = |number: u8| {
        let arguments = ["--log-bin=log".to_owned(), format!("--server-id={number}")];
        DatabaseServer::start_with(Engine::MariaDb, Options { arguments: arguments.to_vec(), ..Options::default() })
    };
    let (server, follower) = (numbered(1).await?, numbered(2).await?);
    warns_of_a_standby(&server, "rpl_semi_sync_master_enabled is off", async || {
        let primary = server.address();
        let follow = format!(
            "CHANGE MASTER TO MASTER_HOST='{}', MASTER_PORT={}, MASTER_USER='callboard', MASTER_PASSWORD='callboard', \
             MASTER_LOG_FILE='log.000001', MASTER_LOG_POS=4; START SLAVE IO_THREAD",
            primary.ip(),
            primary.port()
        );
        follower.query("mysql", &follow).await?;
        let question =
            "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'SLAVES_CONNECTED'";
        one_follows(&server, question).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_database_shows_in_the_figures_and_ends_there() -> Result<()> {
    if !can_start(Engine::Postgres)? {
        return Ok(());
    }
    let mut server = DatabaseServer::start(Engine::Postgres).await?;
    server.create_database("d").await?;
    let node = Node::start(NodeOptions::new().variable("CALLBOARD_DATABASE_URL", &server.url("d"))).await?;
    let absent = ConfigKey::new("public", "shop", "absent").unwrap();
    let readable = async || {
        let answer = node.client().get(&absent).send().await?.status;
        let figures = node.client().get_path("/metrics").send().await?.text();
        let figure = figures.lines().find_map(|line| line.strip_prefix("callboard_store_readable ")).map(str::to_owned);
        anyhow::Ok((answer, figure.unwrap_or_default()))
    };
    assert_eq!(readable().await?, (404, "1".to_owned()));
    server.crash().await?;
    poll::until(
        "the outage shows",
        poll::SOON,
        async || Ok((readable().await? == (503, "0".to_owned())).then_some(())),
    )
    .await?;
    server.start_again().await?;
    poll::until("the end of the outage shows", poll::SOON, async || {
        Ok((readable().await? == (404, "1".to_owned())).then_some(()))
    })
    .await
}
