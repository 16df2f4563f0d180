//! A database across the network: over TLS, with several hosts of which some are dead, frozen or take no writes, and
//! what is said of URLs that can't be used.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::time::Duration;

use anyhow::Result;
use callboard_integration_tests::database_server::{DatabaseServer, Engine, Options, Reach, can_start, free_port};
use callboard_integration_tests::node::{Node, NodeOptions, run_to_end};
use callboard_integration_tests::poll;
use callboard_integration_tests::proxy::{Network, Run, Wire};
use callboard_protocol::key::ConfigKey;

fn key() -> ConfigKey {
    ConfigKey::new("public", "shop", "prices.yaml").unwrap()
}

fn on(url: &str) -> NodeOptions {
    NodeOptions::new().variable("CALLBOARD_DATABASE_URL", url)
}

async fn serves(node: &Node) -> Result<()> {
    let client = node.client();
    let published = client.put(&key(), "apple: 3").send().await?;
    assert!(published.status < 300, "{}", published.text());
    assert_eq!(client.get(&key()).send().await?.expect(200)?.text(), "apple: 3");
    Ok(())
}

async fn is_reached_over_tls(engine: Engine) -> Result<()> {
    if !can_start(engine)? || !DatabaseServer::can_have_tls() {
        return Ok(());
    }
    let server = DatabaseServer::start_with(engine, Options { tls: true, ..Options::default() }).await?;
    server.create_database("d").await?;
    if engine == Engine::MariaDb {
        server.query("mysql", "ALTER USER callboard@'%' REQUIRE SSL").await?;
    }
    let mut node = Node::start(on(&server.url_by(Reach::Tls, "d"))).await?;
    serves(&node).await?;
    if engine == Engine::Postgres {
        let question = "SELECT bool_and(s.ssl), count(*) > 1 FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) \
                        WHERE a.application_name = 'callboard'";
        assert_eq!(server.query("d", question).await?, "t\tt\n");
    }
    node.terminate().await?;
    // The name in the certificate is that of the host, whatever way the driver takes to it.
    let mode =
        if engine == Engine::Postgres { "sslmode=verify-full&sslrootcert" } else { "sslmode=verify_identity&sslca" };
    let authority = server.certificate().display().to_string();
    let verified =
        |place: &str| server.url("d").replace(&server.address().to_string(), place) + &format!("?{mode}={authority}");
    serves(&Node::start(on(&verified(&format!("localhost:{}", server.address().port())))).await?).await?;
    let (run, mut network) = (Run::claim()?, Network::new(server.address()));
    network.add(&run, 1).await?;
    let misnamed = verified(&run.database(1).to_string());
    let migrated = run_to_end(&["migrate"], &[("CALLBOARD_DATABASE_URL", &misnamed)]).await?;
    let said = String::from_utf8_lossy(&migrated.stderr).into_owned();
    assert!(migrated.status.code() == Some(1) && said.contains("certificate"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_is_reached_over_tls() -> Result<()> {
    is_reached_over_tls(Engine::Postgres).await
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_is_reached_over_tls() -> Result<()> {
    is_reached_over_tls(Engine::MariaDb).await
}

/// `url`, with `host` before its own.
fn after(host: &str, server: &DatabaseServer) -> String {
    let address = server.address().to_string();
    server.url("d").replace(&address, &format!("{host},{address}"))
}

async fn hosts_that_can_not_be_used_are_passed_over(engine: Engine) -> Result<()> {
    if !can_start(engine)? {
        return Ok(());
    }
    let (other, server) = tokio::try_join!(DatabaseServer::start(engine), DatabaseServer::start(engine))?;
    server.create_database("d").await?;
    let dead = format!("127.0.0.1:{}", free_port()?);
    let mut node = Node::start(on(&after(&dead, &server))).await?;
    serves(&node).await?;
    node.terminate().await?;
    other.create_database("d").await?;
    match engine {
        Engine::Postgres => {
            other.query("postgres", "ALTER SYSTEM SET default_transaction_read_only = on").await?;
            other.query("postgres", "SELECT pg_reload_conf()").await?;
        }
        Engine::MariaDb => other.query("mysql", "SET GLOBAL read_only = 1").await.map(drop)?,
    }
    let node = Node::start(on(&after(&format!("{dead},{}", other.address()), &server))).await?;
    serves(&node).await?;
    let read_only = run_to_end(&["migrate"], &[("CALLBOARD_DATABASE_URL", &after(&dead, &other))]).await?;
    let said = String::from_utf8_lossy(&read_only.stderr).into_owned();
    assert!(!read_only.status.success() && said.contains(&other.address().to_string()), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_of_postgresql_that_can_not_be_used_are_passed_over() -> Result<()> {
    hosts_that_can_not_be_used_are_passed_over(Engine::Postgres).await
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_of_mariadb_that_can_not_be_used_are_passed_over() -> Result<()> {
    hosts_that_can_not_be_used_are_passed_over(Engine::MariaDb).await
}

/// Two hosts lead to one server. The one in use freezes: it takes connections and says nothing.
async fn goes_to_the_other_host(engine: Engine) -> Result<()> {
    if !can_start(engine)? {
        return Ok(());
    }
    let server = DatabaseServer::start(engine).await?;
    server.create_database("d").await?;
    let (run, mut network) = (Run::claim()?, Network::new(server.address()));
    network.add(&run, 1).await?;
    network.add(&run, 2).await?;
    let hosts = format!("{},{}", run.database(1), run.database(2));
    let url = server.url("d").replace(&server.address().to_string(), &hosts);
    let node = Node::start(on(&url)).await?;
    serves(&node).await?;
    network.cut(Wire::ToDatabase(1));
    network.reset(Wire::ToDatabase(1));
    let client = node.client();
    poll::until("publishes go on over the other host", Duration::from_secs(20), async || {
        let published = client.put(&key(), "apple: 4").send().await?;
        Ok((published.status < 300).then_some(()))
    })
    .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_on_postgresql_goes_to_the_other_host() -> Result<()> {
    goes_to_the_other_host(Engine::Postgres).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_on_mariadb_goes_to_the_other_host() -> Result<()> {
    goes_to_the_other_host(Engine::MariaDb).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_can_not_be_used_is_refused_with_the_reason() -> Result<()> {
    for (url, code, reason) in [
        ("postgres://ann:S3CRET@db/cc?connect_timeout=3", 2, "database.connect_timeout"),
        ("mysql://ann:S3CRET@h1,h2:0/cc", 2, "host 2 is not"),
        ("postgres://ann:S3CRET@h1,h2/cc?sslmode=verify-full", 2, "verify-ca"),
        ("postgres://ann:S3CRET@127.0.0.1:1,127.0.0.1:2/cc", 1, "127.0.0.1:2: Connection refused"),
        ("mysql://ann:S3CRET@127.0.0.1:1/cc", 1, "127.0.0.1:1: Connection refused"),
    ] {
        let ended = run_to_end(&["migrate"], &[("CALLBOARD_DATABASE_URL", url)]).await?;
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(code), "{url}: {said}");
        assert!(said.contains(reason) && !said.contains("S3CRET"), "{url}: {said}");
    }
    Ok(())
}
