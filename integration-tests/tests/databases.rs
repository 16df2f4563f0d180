//! The same server on PostgreSQL and MariaDB. Each test makes a database of its own on the server that
//! `CALLBOARD_TEST_POSTGRES_URL` or `CALLBOARD_TEST_MYSQL_URL` names, and drops it again. Without the variable a test
//! says so and passes; with `CALLBOARD_TEST_REQUIRE_DATABASES=1` it fails.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use anyhow::{Context as _, Result};
use callboard_integration_tests::client::Event;
use callboard_integration_tests::crash;
use callboard_integration_tests::node::{Node, NodeOptions};
use callboard_protocol::key::ConfigKey;
use sea_orm::{ConnectionTrait as _, Database};

const POSTGRES: &str = "CALLBOARD_TEST_POSTGRES_URL";
const MYSQL: &str = "CALLBOARD_TEST_MYSQL_URL";

/// Runs `test` with the URL of a new, empty database.
async fn with_database(variable: &str, test: impl AsyncFnOnce(String) -> Result<()>) -> Result<()> {
    let Ok(server) = std::env::var(variable) else {
        assert_ne!(std::env::var("CALLBOARD_TEST_REQUIRE_DATABASES").as_deref(), Ok("1"), "{variable} is not set");
        println!("not run: {variable} is not set");
        return Ok(());
    };
    let name = format!("callboard_test_{}", uuid::Uuid::new_v4().simple());
    let administration = Database::connect(&server).await.with_context(|| format!("connect by {variable}"))?;
    administration.execute_unprepared(&format!("CREATE DATABASE {name}")).await?;
    let result = test(url_of(&server, &name)?).await;
    let force = if variable == POSTGRES { " WITH (FORCE)" } else { "" };
    administration.execute_unprepared(&format!("DROP DATABASE {name}{force}")).await?;
    result
}

/// `server`, a URL with any database in it or none, with `name` as its database.
fn url_of(server: &str, name: &str) -> Result<String> {
    let (scheme, rest) = server.split_once("://").context("a database URL has a scheme")?;
    let (rest, options) =
        rest.split_once('?').map_or((rest, String::new()), |(rest, query)| (rest, format!("?{query}")));
    let host = rest.split('/').next().unwrap_or_default();
    Ok(format!("{scheme}://{host}/{name}{options}"))
}

#[test]
fn a_database_takes_the_place_of_the_one_in_the_url() {
    assert_eq!(url_of("postgres://u:p@h:5/x?a=b", "n").unwrap(), "postgres://u:p@h:5/n?a=b");
    assert_eq!(url_of("mysql://u@h", "n").unwrap(), "mysql://u@h/n");
}

/// Publishes, reads, hears and restarts.
async fn serves(url: String) -> Result<()> {
    // By environment: a flag would show a password to everybody on the machine.
    let mut node = Node::start(NodeOptions::new().variable("CALLBOARD_DATABASE_URL", &url)).await?;
    let client = node.client();
    let key = ConfigKey::new("public", "app", "a")?;
    let mut watch = client.watch("group=app&dataId=a", None).await?;
    let content = "\u{00e4}\u{1f600} 'quoted' \\ \"x\"\r\n";
    let created = client.put(&key, content).query("description", "\u{1f600}").send().await?.expect(201)?;
    let Event::Config { version, content: heard, .. } = watch.expect().await? else { anyhow::bail!("no config event") };
    assert_eq!((Some(version), heard.as_str()), (created.version(), content));
    let upper = ConfigKey::new("public", "app", "A")?;
    client.get(&upper).send().await?.expect(404)?;
    client.put(&upper, "another key").send().await?.expect(201)?;
    assert_eq!(client.get(&key).send().await?.expect(200)?.body, content.as_bytes());

    let stale = client.put(&key, "x").header("If-Match", "\"v1000000\"").send().await?.expect(412)?;
    assert_eq!(stale.json()?["version"].as_u64(), created.version());
    let waiting = tokio::spawn(client.wait(&key, version, 30).send());
    let updated = client.put(&key, "two").header("Idempotency-Key", "k").send().await?.expect(200)?;
    assert_eq!(waiting.await??.expect(200)?.version(), updated.version());
    let long = "x".repeat(10 * 1024 * 1024);
    let longest = ConfigKey::new("public", &"g".repeat(128), &"d".repeat(256))?;
    client.put(&longest, long.clone()).send().await?.expect(201)?;

    assert_eq!(node.terminate().await?.code(), Some(0));
    node.start_again().await?;
    let client = node.client();
    assert_eq!(client.get(&key).send().await?.expect(200)?.version(), updated.version());
    assert_eq!(client.get(&longest).send().await?.expect(200)?.body, long.as_bytes());
    let again = client.put(&key, "two").header("Idempotency-Key", "k").send().await?.json()?;
    assert_eq!((again["version"].as_u64(), again["replayed"].as_bool()), (updated.version(), Some(true)));
    let removed = client.delete(&key).send().await?.expect(200)?;
    assert_eq!(client.get(&key).send().await?.expect(404)?.version(), removed.version());
    let operations: Vec<_> = client.whole_history(&key).await?.iter().map(|row| row["operation"].clone()).collect();
    assert_eq!(operations, ["remove", "update", "create"]);
    Ok(())
}

/// One round of the crash check.
async fn survives(url: String) -> Result<()> {
    let seed = fastrand::u64(..);
    let setup = NodeOptions::new().variable("CALLBOARD_DATABASE_URL", &url);
    let rounds =
        crash::prove(&crash::Plan { rounds: 1, publishers: 16, seed, setup }, |round| println!("{round}")).await?;
    let violations: Vec<&String> = rounds.iter().flat_map(|round| &round.violations).collect();
    assert!(violations.is_empty(), "seed {seed}: {violations:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_serves_and_keeps() -> Result<()> {
    with_database(POSTGRES, serves).await
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_serves_and_keeps() -> Result<()> {
    with_database(MYSQL, serves).await
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_survives_a_kill() -> Result<()> {
    with_database(POSTGRES, survives).await
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_survives_a_kill() -> Result<()> {
    with_database(MYSQL, survives).await
}
