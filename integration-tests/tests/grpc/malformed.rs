//! Bodies that can't be read, and streams that end in the middle: they are answered or skipped, and harm nothing else.

use anyhow::Result;
use callboard_integration_tests::grpc::{Connection, Sdk};
use callboard_integration_tests::node::{Node, NodeOptions};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_can_not_be_read_is_answered() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut connection = Connection::of(Sdk::Go, node.grpc_address()).await?;
    let deep = format!("{{\"dataId\":{}1{}}}", "[".repeat(5_000), "]".repeat(5_000));
    let bodies: [&[u8]; 9] = [
        b"{",
        b"no json",
        b"[1,2]",
        b"[\"r\"]",
        b"\xff\xfe",
        br#"{"dataId":{}}"#,
        br#"{"additionMap":[]}"#,
        br#"{"configListenContexts":{"a":1}}"#,
        deep.as_bytes(),
    ];
    for body in bodies {
        for class in ["ConfigQueryRequest", "ConfigPublishRequest", "ConfigBatchListenRequest", "HealthCheckRequest"] {
            let refused = connection.ask_bytes(class, body).await??;
            assert_eq!((refused.class.as_str(), refused.refusal()?), ("ErrorResponse", 502), "{class} {body:?}");
        }
    }
    // Nothing at all is as good as nothing said.
    assert!(connection.ask_bytes("HealthCheckRequest", b"").await??.is_good());
    assert_eq!(connection.ask_bytes("ConfigQueryRequest", b"{}").await??.refusal()?, 500);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_on_a_stream_is_skipped() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut connection = Connection::open(node.grpc_address()).await?;
    connection.open_stream().await?;
    connection.say_bytes("ConnectionSetupRequest", b"{").await?;
    connection.send("NobodyKnowsRequest", &json!({ "a": 1 })).await?;
    connection.say_bytes("", b"\xff").await?;
    let labels: serde_json::Map<_, _> = (0..250).map(|n| (format!("label-{n}"), json!("x".repeat(n)))).collect();
    let setup =
        json!({ "clientVersion": "v".repeat(10_000), "labels": labels, "abilityTable": {}, "tenant": 7.to_string() });
    connection.send("ConnectionSetupRequest", &setup).await?;
    assert_eq!(connection.next().await?.class, "SetupAckRequest");
    connection.send("ConnectionSetupRequest", &setup).await?;
    for acknowledgement in
        [json!({}), json!({ "requestId": "no number" }), json!({ "requestId": "999", "resultCode": 200 })]
    {
        connection.send("ConfigChangeNotifyResponse", &acknowledgement).await?;
    }
    connection.listen(&[("after", "")], &json!("")).await?;
    connection.publish("after", "x").await?;
    connection.noticed(Sdk::Java, "after").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_speak_something_else_harm_nobody() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut connection = Connection::of(Sdk::Rust, node.grpc_address()).await?;
    connection.listen(&[("calm", "")], &json!("")).await?;
    let mut others = Vec::new();
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff", &[0xaa; 4096], b""] {
        let mut other = TcpStream::connect(node.grpc_address()).await?;
        other.write_all(bytes).await?;
        others.push(other);
    }
    let mut cut = Connection::of(Sdk::Go, node.grpc_address()).await?;
    cut.listen(&[("calm", "")], &json!("")).await?;
    drop(cut);
    connection.publish("calm", "x").await?;
    connection.noticed(Sdk::Rust, "calm").await?;
    drop(others);
    Ok(())
}
