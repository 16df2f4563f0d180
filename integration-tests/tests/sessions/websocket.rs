//! Sessions over WebSocket: the same conversation as JSON, in whole messages and in pieces.

use anyhow::Result;
use callboard_integration_tests::node::{Node, NodeOptions};
use callboard_integration_tests::session::Session;
use callboard_protocol::content::Md5;
use serde_json::json;

use super::socket::{CLOSE, CONTINUATION, Came, FIN, PING, PONG, Socket, TEXT, frame, key};
use super::words::{unharmed, until_ended};

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_goes_as_over_tcp() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut socket = Socket::connect(node.address()).await?;
    let hello =
        json!({"clientId": "shop-7", "application": "shop", "labels": {"zone": "a"}, "minVersion": 1, "maxVersion": 1});
    let welcome = socket.ask(json!({"hello": hello})).await?["welcome"].take();
    assert_eq!(
        (&welcome["version"], &welcome["idleTimeoutMs"], &welcome["maxWatches"]),
        (&1.into(), &30_000.into(), &1_000.into())
    );
    assert_eq!(welcome["nodes"], json!([node.session_address().to_string()]));

    let never = socket.ask(json!({"get": {"key": key("a")}})).await?["config"].take();
    assert_eq!((&never["exists"], &never["version"]), (&false.into(), &0.into()));
    let done = socket.ask(json!({"publish": {"key": key("a"), "content": "größer: \"1\"\n", "type": "yaml"}})).await?;
    let done = &done["published"];
    assert_eq!((&done["effect"], &done["replayed"]), (&"created".into(), &false.into()));
    let got = socket.ask(json!({"get": {"key": key("a")}})).await?["config"].take();
    let expected = json!({
        "key": {"namespace": "public", "group": "app", "dataId": "a"}, "version": done["version"], "exists": true,
        "md5": Md5::of("größer: \"1\"\n".as_bytes()).hex(), "type": "yaml", "content": "größer: \"1\"\n",
    });
    assert_eq!(got, expected);
    let page = socket.ask(json!({"list": {"limit": 1}})).await?["page"].take();
    assert_eq!((page["items"].as_array().map(Vec::len), &page["next"]), (Some(1), &"".into()));

    let watch = json!({"keys": [key("a")], "prefixes": [{"prefix": "p."}]});
    assert_eq!(socket.ask(json!({"watch": watch})).await?, json!({"id": 6, "watching": {}}));
    let push = socket.push().await?;
    assert_eq!(
        (&push["version"], &push["content"], &push["reset"]),
        (&done["version"], &"größer: \"1\"\n".into(), &false.into())
    );
    socket.send(&json!({"applied": {"key": key("a"), "version": push["version"]}})).await?;
    let stale = json!({"key": key("a"), "content": "x", "condition": {"ifVersion": 99}});
    let failed = socket.ask(json!({"publish": stale})).await?["error"].take();
    assert_eq!((&failed["code"], &failed["version"]), (&"condition_failed".into(), &done["version"]));
    let removed = socket.ask(json!({"delete": {"key": key("a")}})).await?["published"].take();
    let push = socket.push().await?;
    assert_eq!((&push["removed"], &push["version"]), (&true.into(), &removed["version"]));
    assert_eq!(push.get("content"), None);
    socket
        .send(&json!({"id": 0, "rejected": {"key": key("a"), "version": push["version"], "reason": "needed"}}))
        .await?;
    assert_eq!(socket.refused(json!({"applied": {"key": key("a"), "version": 999}})).await?, "not_pushed");
    assert_eq!(socket.ask(json!({"unwatch": {"keys": [key("a")]}})).await?["unwatched"], json!({}));
    assert_eq!(socket.ask(json!({"ping": {"number": u64::MAX}})).await?["pong"]["number"], u64::MAX);

    // Both carriers are one: what is published over TCP is pushed here.
    let mut tcp = Session::open(node.session_address(), "tcp").await?;
    let version = tcp.publish("p.1", "from TCP").await?;
    let push = socket.push().await?;
    assert_eq!((&push["version"], &push["content"]), (&version.into(), &"from TCP".into()));
    socket.send_bytes(&frame(FIN | CLOSE, &1_000_u16.to_be_bytes())).await?;
    assert_eq!(socket.rest().await?, (Vec::new(), Some(1_000)), "a close is answered by one");
    until_ended(&node, "closed", 1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_rise_and_end_at_the_newest() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut socket = Socket::open(node.address(), "watcher").await?;
    socket.ask(json!({"watch": {"keys": [key("a")]}})).await?;
    let mut writer = Session::open(node.session_address(), "writer").await?;
    let mut newest = 0;
    for n in 0..100 {
        newest = writer.publish("a", &format!("content {n}")).await?;
    }
    let mut seen = 0;
    while seen < newest {
        let version = socket.push().await?["version"].as_u64().unwrap_or_default();
        assert!(version > seen, "{version} after {seen}");
        seen = version;
    }
    assert_eq!(seen, newest);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_is_not_pushed_and_long_contents_are_only_named() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut writer = Session::open(node.session_address(), "writer").await?;
    let long = "y".repeat(64 * 1024 + 1);
    let (held, version) = (writer.publish("held", "one").await?, writer.publish("long", &long).await?);
    let mut socket = Socket::connect(node.address()).await?;
    let held = json!({"key": key("held"), "version": held, "md5": Md5::of(b"one").hex()});
    socket.ask(json!({"hello": {"clientId": "holder", "held": [held]}})).await?;
    socket.ask(json!({"watch": {"keys": [key("held"), key("long")]}})).await?;
    let push = socket.push().await?;
    assert_eq!(
        (&push["key"]["dataId"], &push["version"], push.get("content")),
        (&"long".into(), &version.into(), None)
    );
    let got = socket.ask(json!({"get": {"key": key("long")}})).await?;
    assert_eq!(got["config"]["content"], long);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_of_any_length_is_got_as_it_is() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut writer = Session::open(node.session_address(), "writer").await?;
    let mut socket = Socket::open(node.address(), "reader").await?;
    for length in [64 * 1024, 256 * 1024, 3 * 1024 * 1024] {
        let long: String = "ab\"\u{1}\n€".chars().cycle().take(length).collect();
        writer.publish("long", &long).await?;
        let got = socket.ask(json!({"get": {"key": key("long")}})).await?;
        assert!(got["config"]["content"] == long, "{length}");
        let over_tcp = writer.get("long").await?;
        assert!(over_tcp.content == long, "{length}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_in_fragments_and_bytes_one_at_a_time_are_understood() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut socket = Socket::open(node.address(), "fragmenter").await?;
    let text = json!({"id": 70, "ping": {"number": 7, "später": "größer"}}).to_string();
    for cut in 0..=text.len() {
        let (before, after) = text.as_bytes().split_at(cut);
        // A fragment may end within a letter, and control frames may stand between fragments.
        let pieces = [
            frame(TEXT, before),
            frame(FIN | PING, b"between"),
            frame(CONTINUATION, b""),
            frame(FIN | CONTINUATION, after),
        ];
        socket.send_bytes(&pieces.concat()).await?;
        assert_eq!(socket.answer(70).await?["pong"]["number"], 7, "cut at {cut}");
        assert_eq!(socket.next(std::time::Duration::ZERO).await?, Some(Came::Control(PONG, b"between".to_vec())));
    }
    for byte in frame(FIN | TEXT, text.as_bytes()) {
        socket.send_bytes(&[byte]).await?;
        tokio::task::yield_now().await;
    }
    assert_eq!(socket.answer(70).await?["pong"]["number"], 7);
    let merged =
        [71, 72, 73].map(|id| frame(FIN | TEXT, json!({"id": id, "get": {"key": key("a")}}).to_string().as_bytes()));
    socket.send_bytes(&merged.concat()).await?;
    for id in [71, 72, 73] {
        assert_eq!(socket.answer(id).await?["config"]["exists"], false);
    }
    unharmed(&node).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_sends_its_browsers_away_in_good_order() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut socket = Socket::open(node.address(), "browser").await?;
    node.client().request(reqwest::Method::POST, "/api/v1/cluster/drain").send().await?.expect(200)?;
    let away = socket.expect().await?;
    assert!(away["goAway"]["nodes"].is_array(), "{away}");
    let refused = socket.refused(json!({"publish": {"key": key("a"), "content": "late"}})).await?;
    assert_eq!(refused, "shutting_down");
    assert_eq!(socket.ask(json!({"get": {"key": key("a")}})).await?["config"]["exists"], false);
    assert_eq!(socket.rest().await?, (Vec::new(), Some(1_000)), "it is closed, not cut off");
    until_ended(&node, "drained", 1).await
}
