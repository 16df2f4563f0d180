//! What operators do to a cluster: take a node out of it by draining, and take away the row of a dead node that no
//! other node is left to fence; and what tools of Nacos are told of a cluster. On real nodes and a PostgreSQL and a
//! MariaDB of their own.

use std::time::Duration;

use anyhow::Result;
use callboard_integration_tests::cluster::{Cluster, Wiring, id};
use callboard_integration_tests::database_server::{Engine, for_test};
use callboard_integration_tests::metrics;
use callboard_integration_tests::node::{NodeOptions, run_to_end};
use callboard_protocol::key::ConfigKey;
use reqwest::Method;

/// Runs `callboard node rm` on the database of a cluster; gives its exit code and everything it said.
async fn remove(url: &str, node: &str) -> Result<(Option<i32>, String)> {
    let output = run_to_end(&["node", "rm", node], &[("CALLBOARD_DATABASE_URL", url)]).await?;
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.code(), String::from_utf8_lossy(&said).into_owned()))
}

async fn a_dead_node_is_removed_and_a_living_one_is_not(engine: Engine) -> Result<()> {
    let Some(server) = for_test(engine).await? else { return Ok(()) };
    let mut cluster = Cluster::start(&server, 1, Wiring::Direct, NodeOptions::new()).await?;
    let url = server.socket_url(cluster.database());
    let (code, said) = remove(&url, &id(1)).await?;
    assert!(code == Some(1) && said.contains("alive"), "{code:?} {said}");
    let (code, said) = remove(&url, "nobody").await?;
    assert!(code == Some(1) && said.contains("no row"), "{code:?} {said}");
    cluster.member_mut(1)?.node.kill()?;
    let (code, said) = remove(&url, &id(1)).await?;
    assert!(code == Some(0) && said.contains("removed"), "{code:?} {said}");
    let (code, said) = remove(&url, &id(1)).await?;
    assert!(code == Some(1) && said.contains("no row"), "{code:?} {said}");
    Ok(())
}

async fn a_drained_node_is_waited_for_by_nobody(engine: Engine) -> Result<()> {
    let Some(server) = for_test(engine).await? else { return Ok(()) };
    let cluster = Cluster::start(&server, 2, Wiring::Direct, NodeOptions::new()).await?;
    let key = ConfigKey::new("public", "app", "a")?;
    let clients = cluster.clients();
    let (stays, goes) = (&clients[0], &clients[1]);
    let first = stays.put(&key, "1").send().await?.expect(201)?.version().unwrap_or_default();
    let waiting = tokio::spawn(goes.wait(&key, first, 30).send());
    metrics::until_held(goes, 1).await?;
    let answer = goes.request(Method::POST, "/api/v1/cluster/drain").send().await?.expect(200)?.json()?;
    assert_eq!((answer["node"].as_str(), answer["released"].as_u64()), (Some(id(2).as_str()), Some(1)));
    // Whatever it held is answered, it is not ready, and nobody waits for it; what it still answers is right.
    waiting.await??.expect(304)?;
    assert_eq!(goes.get_path("/readyz").send().await?.status, 503);
    cluster.seen_as(2, &["removed"], Duration::from_secs(3)).await?;
    let began = std::time::Instant::now();
    stays.put(&key, "2").send().await?.expect(200)?;
    assert!(began.elapsed() < Duration::from_secs(2), "a publish waited {:?} for a drained node", began.elapsed());
    assert_eq!(goes.get(&key).send().await?.expect(200)?.text(), "2");
    // What it could not finish it does not begin.
    let began = std::time::Instant::now();
    let refused = goes.put(&key, "3").send().await?.expect(503)?;
    assert_eq!((refused.code().as_str(), refused.header("Retry-After")), ("shutting_down", "1"));
    assert!(began.elapsed() < Duration::from_millis(900), "a drained node waited {:?}", began.elapsed());
    goes.request(Method::POST, "/api/v1/cluster/drain").send().await?.expect(200)?;
    Ok(())
}

async fn nacos_clients_are_told_of_every_node(engine: Engine) -> Result<()> {
    let Some(server) = for_test(engine).await? else { return Ok(()) };
    let cluster = Cluster::start(&server, 2, Wiring::Direct, NodeOptions::new()).await?;
    let mut addresses: Vec<String> = cluster.members().map(|member| member.node.address().to_string()).collect();
    addresses.sort_unstable();
    for member in cluster.members() {
        let get = async |path: &str| member.client.get_path(path).send().await?.expect(200)?.json();
        assert_eq!(get("/nacos/v1/console/server/state").await?["startup_mode"], "cluster");
        let own = get("/nacos/v1/core/cluster/self").await?;
        let address = member.node.address().to_string();
        assert_eq!((own["data"]["address"].as_str(), own["data"]["state"].as_str()), (Some(&*address), Some("UP")));
        let named = get("/nacos/v1/core/cluster/simple/nodes").await?;
        let mut named: Vec<String> = serde_json::from_value(named["data"].clone())?;
        named.sort_unstable();
        assert_eq!(named, addresses);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_rows_of_dead_nodes() -> Result<()> {
    a_dead_node_is_removed_and_a_living_one_is_not(Engine::Postgres).await
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_rows_of_dead_nodes() -> Result<()> {
    a_dead_node_is_removed_and_a_living_one_is_not(Engine::MariaDb).await
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_draining() -> Result<()> {
    a_drained_node_is_waited_for_by_nobody(Engine::Postgres).await
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_what_nacos_clients_are_told() -> Result<()> {
    nacos_clients_are_told_of_every_node(Engine::Postgres).await
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_for_databases_that_several_nodes_share() -> Result<()> {
    let (code, said) = remove("", "n1").await?;
    assert!(code == Some(1) && said.contains("shared database"), "{code:?} {said}");
    assert!(said.contains("On SQLite a start takes the rows of other nodes away by itself"), "{said}");
    Ok(())
}
