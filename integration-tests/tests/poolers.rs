//! A pooler between the nodes and PostgreSQL: one that keeps sessions serves, one that does not is refused before
//! anything is touched.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use anyhow::Result;
use callboard_integration_tests::database_server::{DatabaseServer, Engine, PoolMode, Pooler, for_test};
use callboard_integration_tests::node::{Node, NodeOptions, run_to_end};
use callboard_protocol::key::ConfigKey;

async fn server() -> Result<Option<DatabaseServer>> {
    if !Pooler::can_start()? {
        return Ok(None);
    }
    let Some(server) = for_test(Engine::Postgres).await? else { return Ok(None) };
    server.create_database("d").await?;
    Ok(Some(server))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_keeps_sessions_serves() -> Result<()> {
    let Some(server) = server().await? else { return Ok(()) };
    let pooler = Pooler::start(&server, PoolMode::Session).await?;
    let key = ConfigKey::new("public", "shop", "prices.yaml").unwrap();
    let mut node = Node::start(NodeOptions::new().variable("CALLBOARD_DATABASE_URL", &pooler.url("d"))).await?;
    for turn in 0..20 {
        assert!(node.client().put(&key, format!("apple: {turn}")).send().await?.status < 300);
    }
    node.terminate().await?;
    node.start_again().await?;
    assert_eq!(node.client().get(&key).send().await?.expect(200)?.text(), "apple: 19");
    Ok(())
}

async fn is_refused(mode: PoolMode) -> Result<()> {
    let Some(server) = server().await? else { return Ok(()) };
    let pooler = Pooler::start(&server, mode).await?;
    let any = "127.0.0.1:0";
    for command in [&["migrate"][..], &["serve", "--http-addr", any, "--tcp-addr", any, "--grpc-addr", any]] {
        let ended = run_to_end(command, &[("CALLBOARD_DATABASE_URL", &pooler.url("d"))]).await?;
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(ended.status.code() == Some(1) && said.contains("pool_mode = session"), "{command:?}: {said}");
    }
    assert_eq!(server.query("d", "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").await?, "0\n");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_of_transactions_is_refused() -> Result<()> {
    is_refused(PoolMode::Transaction).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_of_statements_is_refused() -> Result<()> {
    is_refused(PoolMode::Statement).await
}
