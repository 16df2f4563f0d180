//! How connections live and end: silence, clients that read nothing, limits, and a node that stops.

use std::time::{Duration, Instant};

use anyhow::Result;
use callboard_integration_tests::grpc::{Connection, GROUP, Sdk};
use callboard_integration_tests::nacos;
use callboard_integration_tests::node::{Node, NodeOptions};
use callboard_integration_tests::poll;
use reqwest::Method;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn who_is_silent_is_asked_and_who_stays_silent_is_gone() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut answering = Connection::of(Sdk::Go, node.grpc_address()).await?;
    let mut silent = Connection::of(Sdk::Go, node.grpc_address()).await?;
    let began = Instant::now();
    let detection = answering.within(Duration::from_secs(23)).await?.expect("it is asked");
    assert_eq!(detection.class, "ClientDetectionRequest");
    assert!(began.elapsed() > Duration::from_secs(18), "{:?}", began.elapsed());
    answering.acknowledge(&detection, "ClientDetectionResponse").await?;
    assert_eq!(silent.next().await?.class, "ClientDetectionRequest");
    silent.ended(Duration::from_secs(8)).await?;
    assert!(answering.ask("HealthCheckRequest", &json!({})).await?.is_good());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_nothing_is_dropped_and_delays_nobody() -> Result<()> {
    let node = Node::start(NodeOptions::new().flag("session-write-timeout", "1s")).await?;
    let mut stalled = Connection::of(Sdk::Go, node.grpc_address()).await?;
    let names: Vec<String> = (0..2_000).map(|number| format!("{number:0>200}")).collect();
    let held: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    // A tenant is repeated as it was written: notices are long, and fill what the connection takes unread.
    stalled.listen(&held, &json!(" ".repeat(3_000))).await?;
    let mut other = Connection::of(Sdk::Go, node.grpc_address()).await?;
    other.listen(&held, &json!("")).await?;
    let client = node.client();
    let dropped = async {
        poll::until("the one that reads nothing is dropped", poll::SOON * 3, async || {
            let metrics = client.get_path("/metrics").send().await?.expect(200)?;
            Ok(metrics.text().contains("callboard_grpc_ended_total{reason=\"stalled\"} 1").then_some(()))
        })
        .await
    };
    let published = async {
        for name in &names {
            nacos::publish(&client, name, "x").await?;
            let notice = other.next().await?;
            anyhow::ensure!(notice.body["dataId"] == name.as_str(), "{notice:?}");
            other.acknowledge(&notice, "NotifySubscriberResponse").await?;
            // Or it would be told again.
            other.query(name).await?;
        }
        anyhow::Ok(())
    };
    let (published, dropped) = tokio::join!(published, dropped);
    published?;
    dropped?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_completes_the_streams_at_once_and_says_nothing() -> Result<()> {
    let mut node = Node::start(NodeOptions::new()).await?;
    let mut connections = Vec::new();
    for sdk in Sdk::ALL {
        let mut connection = Connection::of(sdk, node.grpc_address()).await?;
        connection.listen(&[("none", "")], &json!("")).await?;
        connections.push(connection);
    }
    let mut unknown = Connection::open(node.grpc_address()).await?;
    unknown.check().await?;
    let began = Instant::now();
    let streams = async {
        for connection in &mut connections {
            connection.completed(Duration::from_secs(5)).await?;
        }
        anyhow::Ok(began.elapsed())
    };
    let (stopped, streams) = tokio::join!(node.terminate(), streams);
    stopped?;
    let streams = streams?;
    // Nobody is waited for: each of them keeps its side of the stream open.
    assert!(streams < Duration::from_secs(2), "the streams went on: {streams:?}");
    assert!(began.elapsed() < Duration::from_millis(2_500), "it waits for those who stay: {:?}", began.elapsed());
    node.start_again().await?;
    let mut again = Connection::of(Sdk::Java, node.grpc_address()).await?;
    assert_eq!(again.query("none").await?.refusal()?, 300);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_leaves_its_cluster_completes_the_streams_and_says_nothing() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut connection = Connection::of(Sdk::Go, node.grpc_address()).await?;
    connection.listen(&[("none", "")], &json!("")).await?;
    let client = node.client();
    let drain = client.request(Method::POST, "/api/v1/cluster/drain");
    let (drained, completed) = tokio::join!(drain.send(), connection.completed(Duration::from_secs(5)));
    completed?;
    let drained: serde_json::Value = drained?.expect(200)?.json()?;
    assert_eq!(drained["released"], 1, "{drained}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_as_many_connections_as_the_settings_say() -> Result<()> {
    let node = Node::start(NodeOptions::new().flag("session-max-sessions", "2")).await?;
    let one = Connection::of(Sdk::Go, node.grpc_address()).await?;
    let _other = Connection::of(Sdk::Go, node.grpc_address()).await?;
    assert!(Connection::of(Sdk::Go, node.grpc_address()).await.is_err(), "there is no place");
    drop(one);
    poll::until("a place is free", poll::SOON, async || {
        Ok(Connection::of(Sdk::Go, node.grpc_address()).await.ok().map(|_| ()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn other_machines_are_not_let_in_by_default() -> Result<()> {
    let started = Node::start(NodeOptions::new().grpc_on("0.0.0.0:0".parse()?)).await;
    let refused = format!("{:#}", started.expect_err("it must not start"));
    assert!(refused.contains("grpc.addr") && refused.contains("insecure"), "{refused}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_connections_that_come_and_go_leave_nothing_behind() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    for number in 0..100 {
        let mut connection = Connection::of(Sdk::Rust, node.grpc_address()).await?;
        connection.listen(&[("coming", "")], &json!("")).await?;
        connection.publish("coming", &number.to_string()).await?;
    }
    let client = node.client();
    poll::until("all are gone", poll::SOON, async || {
        let found: serde_json::Value =
            client.get_path("/api/v1/clients?kind=grpc").send().await?.expect(200)?.json()?;
        Ok(found["items"].as_array().is_some_and(Vec::is_empty).then_some(()))
    })
    .await?;
    let path = format!("/api/v1/namespaces/public/groups/{GROUP}/configs/coming");
    assert_eq!(client.get_path(&path).send().await?.expect(200)?.text(), "99");
    Ok(())
}
