//! Clients that went: the end of their input ends what is held for them, on every door.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::time::Duration;

use anyhow::Result;
use callboard_integration_tests::client::Client;
use callboard_integration_tests::grpc::{Connection as Grpc, Sdk};
use callboard_integration_tests::metrics::{sum, until_held};
use callboard_integration_tests::nacos::{CONFIGS, LISTENER, form, publish, record};
use callboard_integration_tests::node::{Node, NodeOptions};
use callboard_integration_tests::poll;
use callboard_integration_tests::raw::Connection;
use callboard_integration_tests::session::{Session, watch};
use callboard_protocol::content::Md5;
use serde_json::Value;

/// How long what is held may outlive its client; what it waits for takes far longer.
const GOOD_TIME: Duration = Duration::from_secs(10);

fn poll_of(data_id: &str, content: &str) -> Vec<u8> {
    let records = record(data_id, "G", &Md5::of(content.as_bytes()).hex(), None);
    let body = form(&[("Listening-Configs", &records)]);
    let head = "Host: h\r\nLong-Pulling-Timeout: 60000\r\nContent-Type: application/x-www-form-urlencoded";
    format!("POST {LISTENER} HTTP/1.1\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn wait_for(data_id: &str) -> Vec<u8> {
    let path = format!("/api/v1/namespaces/public/groups/G/configs/{data_id}?wait=60s");
    format!("GET {path} HTTP/1.1\r\nHost: h\r\nIf-None-Match: \"v1\"\r\n\r\n").into_bytes()
}

fn stream_of(data_id: &str) -> Vec<u8> {
    format!("GET /api/v1/watch?group=G&dataId={data_id} HTTP/1.1\r\nHost: h\r\n\r\n").into_bytes()
}

/// Waits until the node holds nothing and knows nobody.
async fn until_nobody(client: &Client) -> Result<()> {
    poll::until("all are gone", GOOD_TIME, async || {
        let figures = client.get_path("/metrics").send().await?.expect(200)?.text();
        let clients: Value = client.get_path("/api/v1/clients").send().await?.expect(200)?.json()?;
        Ok((sum(&figures, "callboard_held_requests") == 0.0 && clients["total"] == 0).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_input_ends_polls_waits_and_streams_and_frees_their_places() -> Result<()> {
    let node = Node::start(NodeOptions::new().flag("http-max-held", "16").flag("http-workers", "1")).await?;
    let client = node.client();
    publish(&client, "a", "one").await?;
    for (request, answered) in [(poll_of("a", "one"), false), (wait_for("a"), false), (stream_of("a"), true)] {
        // Twice as many as there are places.
        for _ in 0..2 {
            let mut connections = Vec::new();
            for _ in 0..16 {
                let mut connection = Connection::open(node.address()).await?;
                connection.send(&request).await?;
                if answered {
                    assert_eq!(connection.status().await?, 200);
                }
                connections.push(connection);
            }
            until_held(&client, 16).await?;
            for connection in &mut connections {
                connection.finish_sending().await?;
            }
            until_nobody(&client).await?;
            for connection in &mut connections {
                let rest = connection.rest().await?;
                assert!(answered || rest.is_empty(), "an answer to nobody: {rest}");
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_gone_before_it_is_held_is_not_held() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    publish(&client, "a", "one").await?;
    for request in [poll_of("a", "one"), wait_for("a"), stream_of("a")] {
        let mut connection = Connection::open(node.address()).await?;
        connection.send(&request).await?;
        connection.finish_sending().await?;
        connection.rest().await?;
    }
    until_nobody(&client).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_held_is_answered_to_a_client_that_sends_nothing_more() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    publish(&node.client(), "a", "one").await?;
    let mut connection = Connection::open(node.address()).await?;
    let request = format!("GET {CONFIGS}?dataId=a&group=G HTTP/1.1\r\nHost: h\r\n\r\n");
    connection.send(request.as_bytes()).await?;
    connection.finish_sending().await?;
    let answer = connection.rest().await?;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\none"), "{answer}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_input_ends_sessions_of_every_kind() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    let mut session = Session::open(node.session_address(), "tcp").await?;
    session.watch(watch(&["a"])).await?;
    let mut socket = Connection::open(node.address()).await?;
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    socket.send(format!("GET /api/v1/session HTTP/1.1\r\nHost: h\r\n{upgrade}\r\n{key}\r\n\r\n").as_bytes()).await?;
    assert_eq!(socket.status().await?, 101);
    // A text in one frame, masked with nothing.
    let hello = r#"{"id":1,"hello":{"clientId":"socket","maxVersion":1}}"#;
    let mut frame = vec![0x81, 0x80 | u8::try_from(hello.len())?, 0, 0, 0, 0];
    frame.extend(hello.as_bytes());
    socket.send(&frame).await?;
    let mut grpc = Grpc::of(Sdk::Go, node.grpc_address()).await?;
    grpc.listen(&[("a", "")], &serde_json::json!("")).await?;
    poll::until("all are there", poll::SOON, async || {
        let clients: Value = client.get_path("/api/v1/clients").send().await?.expect(200)?.json()?;
        Ok((clients["total"] == 3).then_some(()))
    })
    .await?;
    session.finish_sending().await?;
    socket.finish_sending().await?;
    drop(grpc);
    until_nobody(&client).await
}
