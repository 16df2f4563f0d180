//! How each SDK begins, and what happens to those who ask before.

use std::time::Duration;

use anyhow::Result;
use callboard_integration_tests::grpc::{Connection, Sdk, md5};
use callboard_integration_tests::node::{Node, NodeOptions};
use callboard_integration_tests::poll;
use serde_json::json;
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn every_sdk_begins_reads_publishes_and_hears_in_its_own_order() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    for sdk in Sdk::ALL {
        let mut connection = Connection::of(sdk, node.grpc_address()).await?;
        let data_id = format!("{sdk:?}");
        assert_eq!(connection.query(&data_id).await?.refusal()?, 300, "{sdk:?}");
        assert!(connection.listen(&[(&data_id, "")], &json!("")).await?.is_empty(), "{sdk:?}");
        connection.publish(&data_id, "one").await?;
        connection.noticed(sdk, &data_id).await?;
        assert_eq!(connection.query(&data_id).await?.body["content"], "one", "{sdk:?}");
        // Nobody is told twice, nor anything that its SDK could not bear.
        assert_eq!(connection.within(Duration::from_millis(200)).await?, None, "{sdk:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_before_the_setup_waits_for_it() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut connection = Connection::open(node.grpc_address()).await?;
    connection.open_stream().await?;
    let mut early = connection.sibling();
    let asking = tokio::spawn(async move { early.query("missing").await });
    let client = node.client();
    poll::until("the request is there", poll::SOON, async || {
        let metrics = client.get_path("/metrics").send().await?.expect(200)?;
        Ok(metrics.text().contains("callboard_grpc_requests_total{type=\"ConfigQueryRequest\"} 1").then_some(()))
    })
    .await?;
    connection.send("ConnectionSetupRequest", &Sdk::Go.setup()).await?;
    assert_eq!(asking.await??.refusal()?, 300);
    // Who never says who it is, is told so in time.
    let mut nobody = Connection::open(node.grpc_address()).await?;
    let refused = nobody.ask("ConfigQueryRequest", &json!({ "dataId": "a", "group": "G" })).await?;
    assert_eq!((refused.class.as_str(), refused.refusal()?), ("ErrorResponse", 301));
    assert_eq!(refused.body["message"], "Connection is unregistered.");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_message_is_taken_once_its_connection_is_set_up() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let publish = json!({ "dataId": "long", "group": "G", "content": "x".repeat(200_000) });
    let many = format!("{{\"configListenContexts\":[{}{{}}]}}", "{},".repeat(1_000_000));
    for is_gzip in [false, true] {
        let written = |connection: &Connection| if is_gzip { connection.compressed() } else { connection.sibling() };
        let mut stranger = written(&Connection::open(node.grpc_address()).await?);
        stranger.check().await?;
        for body in [publish.to_string(), many.clone()] {
            let refused = stranger.ask_bytes("ConfigBatchListenRequest", body.as_bytes()).await?.unwrap_err();
            assert_eq!(refused.code(), Code::ResourceExhausted, "gzip: {is_gzip}");
        }
        let connection = Connection::of(Sdk::CSharp, node.grpc_address()).await?;
        let mut known = written(&connection);
        assert!(known.ask("ConfigPublishRequest", &publish).await?.is_good());
        assert_eq!(known.query("long").await?.body["content"], publish["content"]);
        // It may be as long, and still not hold so much.
        let refused = known.ask_bytes("ConfigBatchListenRequest", many.as_bytes()).await?.unwrap();
        assert!(
            refused.body["message"].as_str().unwrap_or_default().contains("more than 100000 elements"),
            "{refused:?}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_never_good_before_the_setup() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut connection = Connection::open(node.grpc_address()).await?;
    for class in ["HealthCheckRequest", "ConfigPublishRequest", "ConfigBatchListenRequest", "ConfigFuzzyWatchRequest"] {
        let refused = connection.ask(class, &json!({})).await?;
        assert_eq!((refused.class.as_str(), refused.refusal()?), ("ErrorResponse", 301), "{class}");
    }
    connection.check().await?;
    connection.open_stream().await?;
    connection.send("ConnectionSetupRequest", &Sdk::Rust.setup()).await?;
    let health = connection.ask("HealthCheckRequest", &json!({})).await?;
    assert!(health.is_good() && health.class == "HealthCheckResponse", "{health:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_connections_of_one_address_are_two() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut one = Connection::of(Sdk::Go, node.grpc_address()).await?;
    let mut other = Connection::open(node.grpc_address()).await?;
    assert_ne!(one.check().await?, other.check().await?);
    // That one has set its connection up does not help the other.
    assert_eq!(other.ask("HealthCheckRequest", &json!({})).await?.refusal()?, 301);
    one.listen(&[("shared", "")], &json!("")).await?;
    let mut third = Connection::of(Sdk::Python, node.grpc_address()).await?;
    third.publish("shared", "x").await?;
    one.noticed(Sdk::Go, "shared").await?;
    assert_eq!(third.within(Duration::from_millis(200)).await?, None, "only who listens is told");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_ends_its_stream_has_to_begin_again() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut connection = Connection::of(Sdk::Go, node.grpc_address()).await?;
    connection.publish("again", "one").await?;
    connection.listen(&[("again", &md5("one"))], &json!("")).await?;
    connection.close_stream();
    poll::until("it is unknown", poll::SOON, async || {
        let health = connection.ask("HealthCheckRequest", &json!({})).await?;
        Ok((!health.is_good()).then_some(()))
    })
    .await?;
    connection.open_stream().await?;
    connection.send("ConnectionSetupRequest", &Sdk::Go.setup()).await?;
    connection.publish("again", "two").await?;
    assert_eq!(connection.within(Duration::from_millis(200)).await?, None, "it does not listen any more");
    assert_eq!(connection.listen(&[("again", &md5("one"))], &json!("")).await?.len(), 1);
    Ok(())
}
