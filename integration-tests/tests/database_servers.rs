//! The tests' own database servers do what the faults need: they restart on the same port, keep what was committed, can
//! be paused, and their clocks can be stepped.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::time::Duration;

use anyhow::Result;
use callboard_integration_tests::database_server::{DatabaseServer, Engine, Options, can_start};
use callboard_integration_tests::poll;

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
    assert_eq!(server.query("d", "SELECT count(*) FROM t").await?, "2\n");
    assert!(server.cpu_time()? > Duration::ZERO);
    Ok(())
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
