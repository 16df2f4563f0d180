//! What WebSocket sessions may not do: garbage, foreign pages, silence, and not reading.

use std::time::Duration;

use anyhow::{Context as _, Result};
use callboard_integration_tests::node::{Node, NodeOptions};
use callboard_integration_tests::session::Session;
use serde_json::json;

use super::socket::{BINARY, CONTINUATION, Came, FIN, PING, Socket, TEXT, frame, header, key};
use super::words::{unharmed, until_ended};

const MAX_MESSAGE: usize = 16 * 1024 * 1024;
/// Longest hello.
const MAX_GREETING: usize = 64 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_message_ends_the_session() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let deep = format!("{{\"id\": 1, \"get\": {}", "[".repeat(100_000));
    for text in [
        "",
        "{",
        "[]",
        "null",
        "5",
        "\"hello\"",
        "{\"id\": 1, \"get\": }",
        "{\"id\": -1}",
        "{\"id\": 1.5}",
        "{\"id\": \"1\"}",
        "{\"id\": 18446744073709551616}",
        "{\"id\": 1, \"get\": {}, \"ping\": {}}",
        "{\"get\": {\"key\": 5}}",
        &deep,
    ] {
        let shown = text.chars().take(60).collect::<String>();
        let mut socket = Socket::open(node.address(), "garbler").await?;
        socket.send_text(text).await?;
        assert_eq!(socket.last_word().await.with_context(|| shown.clone())?, "malformed_request", "{shown}");
    }
    let mut socket = Socket::open(node.address(), "garbler").await?;
    socket.send_bytes(&frame(FIN | BINARY, b"{\"id\": 1, \"ping\": {}}")).await?;
    assert_eq!(socket.last_word().await?, "malformed_request");
    until_ended(&node, "malformed_request", 15).await?;
    unharmed(&node).await
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_the_wrong_type_are_answered_under_their_number() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut socket = Socket::open(node.address(), "garbler").await?;
    for wrong in [
        json!({"get": {"key": 5}}),
        json!({"get": 5}),
        json!({"get": null}),
        json!({"watch": {"keys": {}}}),
        json!({"watch": {"keys": [null]}}),
        json!({"publish": {"key": key("a"), "content": 1}}),
        json!({"publish": {"key": key("a"), "content": ["x"]}}),
        json!({"publish": {"key": key("a"), "content": "x", "condition": {"ifVersion": -1}}}),
        json!({"list": {"limit": "many"}}),
        json!({"list": {"limit": 4_294_967_296_u64}}),
        json!({"ping": {"number": 1.5}}),
        json!({"applied": {"key": key("a"), "version": "1"}}),
    ] {
        assert_eq!(socket.refused(wrong.clone()).await?, "malformed_request", "{wrong}");
    }
    for (unknown, code) in [
        (json!({"dance": {}}), "unknown_request"),
        (json!({}), "unknown_request"),
        (json!({"push": {}}), "unknown_request"),
        (json!({"hello": {"clientId": "again"}}), "unknown_request"),
        (json!({"get": {}}), "invalid_parameter"),
        (json!({"get": {"key": key("a b")}}), "invalid_name"),
        (json!({"publish": {"key": key("a")}}), "invalid_content"),
    ] {
        assert_eq!(socket.refused(unknown.clone()).await?, code, "{unknown}");
    }
    let tolerant = json!({"later": [1], "ping": {"number": 3, "later": {}}});
    assert_eq!(socket.ask(tolerant).await?["pong"]["number"], 3);
    // Without a number, what nobody knows is skipped.
    socket.send(&json!({"dance": {}})).await?;
    socket.send(&json!({})).await?;
    assert_eq!(socket.ask(json!({"ping": {}})).await?["pong"]["number"], 0);
    assert_eq!(socket.next(Duration::from_millis(50)).await?, None);
    unharmed(&node).await
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_above_the_limit_are_refused_before_they_have_come() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut socket = Socket::open(node.address(), "large").await?;
    socket.send_bytes(&header(FIN | TEXT, MAX_MESSAGE + 1)).await?;
    assert_eq!(socket.last_word().await?, "frame_too_long");
    let mut socket = Socket::open(node.address(), "huge").await?;
    socket.send_bytes(&header(FIN | TEXT, usize::MAX >> 1)).await?;
    assert_eq!(socket.last_word().await?, "frame_too_long");
    // A stranger may send less.
    let mut socket = Socket::connect(node.address()).await?;
    socket.send_bytes(&header(FIN | TEXT, MAX_GREETING + 1)).await?;
    assert_eq!(socket.last_word().await?, "frame_too_long");
    let mut socket = Socket::connect(node.address()).await?;
    let mut hello = br#"{"id": 1, "hello": {"clientId": "long", "maxVersion": 1}}"#.to_vec();
    hello.resize(MAX_GREETING, b' ');
    socket.send_bytes(&frame(FIN | TEXT, &hello)).await?;
    let welcome = socket.next(Duration::from_secs(5)).await?;
    assert!(matches!(&welcome, Some(Came::Message(said)) if said["welcome"]["version"] == 1), "{welcome:?}");
    // In fragments that fit, each of them.
    let mut socket = Socket::open(node.address(), "many").await?;
    let piece = vec![b' '; 1024 * 1024];
    socket.send_bytes(&frame(TEXT, &piece)).await?;
    for _ in 0..16 {
        // The node may have had enough in the middle of it.
        drop(socket.send_bytes(&frame(CONTINUATION, &piece)).await);
    }
    assert_eq!(socket.last_word().await?, "frame_too_long");
    unharmed(&node).await
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_break_the_rules_of_websocket_end_the_session() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let text = b"{\"id\": 1, \"ping\": {}}";
    let mut unmasked = vec![FIN | TEXT, u8::try_from(text.len())?];
    unmasked.extend_from_slice(text);
    for (what, bytes) in [
        ("a frame without a mask", unmasked),
        ("an unknown opcode", frame(FIN | 0x3, text)),
        ("a continuation of nothing", frame(FIN | CONTINUATION, text)),
        ("a message within a message", [frame(TEXT, b"{"), frame(FIN | TEXT, text)].concat()),
        ("a text that is no UTF-8", frame(FIN | TEXT, b"{\"id\": 1, \"ping\": {}, \"\xff\": 1}")),
        ("a ping that is too long", frame(FIN | PING, &[b'x'; 126])),
        ("random bytes", vec![0x47, 0x45, 0x54, 0x20, 0x2f, 0x20, 0x48, 0x54, 0x54, 0x50]),
    ] {
        let mut socket = Socket::open(node.address(), "breaker").await?;
        socket.send_bytes(&bytes).await?;
        assert_eq!(socket.last_word().await.context(what)?, "malformed_request", "{what}");
    }
    unharmed(&node).await
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_another_host_are_not_let_in() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let address = node.address();
    let own = format!("Origin: http://{address}\r\n");
    let capital = own.to_uppercase();
    for (lines, status) in [
        (own.as_str(), 101),
        (capital.as_str(), 101),
        ("", 101),
        ("Origin: http://evil.example\r\n", 403),
        ("Origin: https://127.0.0.1\r\n", 403),
        ("Origin: null\r\n", 403),
        ("Origin: \r\n", 403),
        (&format!("Origin: http://{address}.evil.example\r\n"), 403),
        (&format!("Origin: http://evil.example/{address}\r\n"), 403),
    ] {
        let (answered, mut socket) = Socket::ask_for(address, lines).await?;
        assert_eq!(answered, status, "{lines}");
        if status == 101 {
            assert_eq!(socket.ask(json!({"hello": {"clientId": "page"}})).await?["welcome"]["version"], 1);
        }
    }
    let plain = node.client().get_path("/api/v1/session").send().await?;
    assert!((400..500).contains(&plain.status), "{}", plain.status);
    let surplus = node.client().get_path("/api/v1/session?token=1").send().await?.expect(400)?;
    assert_eq!(surplus.code(), "invalid_parameter");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_and_haste_end_it_as_over_tcp() -> Result<()> {
    let node = Node::start(NodeOptions::new().flag("session-idle-timeout", "900ms")).await?;
    let mut silent = Socket::open(node.address(), "silent").await?;
    let (messages, code) = silent.rest().await?;
    let kinds: Vec<bool> = messages.iter().map(|message| message["ping"].is_object()).collect();
    assert_eq!(kinds, [true, true, false], "{messages:?}");
    assert_eq!((&messages[2]["error"]["code"], code), (&"session_idle".into(), Some(1_000)));
    let mut late = Socket::connect(node.address()).await?;
    assert_eq!(late.last_word().await?, "hello_late");
    let mut early = Socket::connect(node.address()).await?;
    assert_eq!(early.ask(json!({"ping": {}})).await.err().map(|_| ()), Some(()));
    let mut living = Socket::open(node.address(), "living").await?;
    for _ in 0..6 {
        let ping = living.expect().await?;
        living.send(&json!({"pong": {"number": ping["ping"]["number"]}})).await?;
    }
    assert_eq!(living.ask(json!({"get": {"key": key("a")}})).await?["config"]["exists"], false);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_stops_reading_is_dropped() -> Result<()> {
    let node = Node::start(NodeOptions::new().flag("session-write-timeout", "500ms")).await?;
    let mut stalled = Socket::open(node.address(), "stalled").await?;
    stalled.ask(json!({"watch": {"prefixes": [{"prefix": "big."}]}})).await?;
    let mut reads = Socket::open(node.address(), "reads").await?;
    reads.ask(json!({"watch": {"keys": [key("last")]}})).await?;
    let mut writer = Session::open(node.session_address(), "writer").await?;
    let content = "x".repeat(60 * 1024);
    for n in 0..200 {
        writer.publish(&format!("big.{n}"), &content).await?;
    }
    until_ended(&node, "stalled", 1).await?;
    writer.publish("last", "still served").await?;
    assert_eq!(reads.push().await?["content"], "still served");
    unharmed(&node).await
}
