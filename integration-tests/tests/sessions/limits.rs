//! What is limited: sessions, watches, configurations, and the pace of a client.

use std::time::{Duration, Instant};

use anyhow::Result;
use callboard_integration_tests::node::{Node, NodeOptions};
use callboard_integration_tests::poll;
use callboard_integration_tests::session::{
    Session, framed, hello, key, prefix, publish, unwatch, watch, watch_prefix,
};
use callboard_proto::session::envelope::Kind;
use callboard_proto::session::{Envelope, Held, Hello, Ping, Pong, Watch};

use super::socket::Socket;
use super::words::unharmed;

#[tokio::test(flavor = "multi_thread")]
async fn one_session_too_many_is_told_to_come_again() -> Result<()> {
    let node = Node::start(NodeOptions::new().flag("session-max-sessions", "2")).await?;
    let first = Session::open(node.session_address(), "first").await?;
    let mut second = Session::open(node.session_address(), "second").await?;
    let mut third = Session::connect(node.session_address()).await?;
    let told = third.last_word().await?;
    assert_eq!(told.code, "too_many_sessions");
    assert!(told.retry_after_ms > 0);
    // Those over WebSocket have places of their own, which are as many.
    let _browsers = [Socket::open(node.address(), "one").await?, Socket::open(node.address(), "two").await?];
    let upgrade = node.client().get_path("/api/v1/session").send().await?;
    assert!(matches!(upgrade.status, 429 | 503), "{}: {}", upgrade.status, upgrade.text());
    drop(first);
    poll::until("there is a place again", poll::SOON, async || {
        Ok(Session::open(node.session_address(), "fourth").await.ok().map(drop))
    })
    .await?;
    second.publish("a", "one").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_are_counted_once_each_and_refused_beyond_the_limit() -> Result<()> {
    let node = Node::start(NodeOptions::new().flag("session-max-watches", "3")).await?;
    let mut session = Session::open(node.session_address(), "watcher").await?;
    assert_eq!(session.refused(watch(&["a", "b", "c", "d"])).await?.code, "overloaded");
    session.watch(watch(&["a", "a", "b", "b", "a"])).await?;
    session.watch(watch(&["a", "b"])).await?;
    session.watch(watch_prefix("p.")).await?;
    assert_eq!(session.refused(watch(&["c"])).await?.code, "overloaded");
    let mixed = Watch { keys: vec![key("a")], prefixes: vec![prefix("q.")] };
    assert_eq!(session.refused(Kind::Watch(mixed)).await?.code, "overloaded");
    // What was refused is not watched in part.
    for data_id in ["q.1", "c", "p.1"] {
        session.publish(data_id, "x").await?;
    }
    assert_eq!(session.push().await?.key, Some(key("p.1")));
    session.ask(unwatch(&["a"])).await?;
    session.watch(watch(&["c"])).await?;
    assert_eq!(session.push().await?.key, Some(key("c")));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_to_watch_that_come_at_once_share_the_limit() -> Result<()> {
    let node = Node::start(NodeOptions::new().flag("session-max-watches", "3")).await?;
    let mut session = Session::open(node.session_address(), "watcher").await?;
    session.send_bytes(&[framed(8, watch(&["a", "b"])), framed(9, watch(&["c", "d"]))].concat()).await?;
    let answers = [session.answer(8).await?, session.answer(9).await?];
    assert!(matches!(&answers, [Kind::Watching(_), Kind::Error(error)] if error.code == "overloaded"), "{answers:?}");
    Ok(())
}

/// Watches that all coordinators of a node hold.
async fn registered(node: &Node) -> Result<u64> {
    let actors = node.client().get_path("/api/v1/actors").send().await?.expect(200)?.json()?;
    let names = actors["actors"].as_array().cloned().unwrap_or_default();
    let mut sum = 0;
    for name in names.iter().filter_map(|actor| actor["name"].as_str()).filter(|name| name.starts_with("coordinator")) {
        let seen = node.client().get_path(&format!("/api/v1/actors/{name}")).send().await?.expect(200)?.json()?;
        sum += seen["snapshot"]["watches"].as_u64().unwrap_or_default();
    }
    Ok(sum)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_was_ended_leaves_nothing_behind() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut session = Session::open(node.session_address(), "watcher").await?;
    session.watch(watch(&["stays"])).await?;
    assert_eq!(registered(&node).await?, 1);
    for _ in 0..20 {
        // Twice in one request, and again before the first is answered.
        let twice = watch(&["a", "a"]);
        session.send_bytes(&[framed(8, twice.clone()), framed(9, twice)].concat()).await?;
        session.answer(8).await?;
        session.answer(9).await?;
        session.ask(unwatch(&["a"])).await?;
    }
    poll::until("one watch is left", poll::SOON, async || Ok((registered(&node).await? == 1).then_some(()))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_is_ended_in_the_same_breath_is_ended() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut session = Session::open(node.session_address(), "watcher").await?;
    for n in 0..20 {
        session.send_bytes(&[framed(8, watch(&["a"])), framed(9, unwatch(&["a"]))].concat()).await?;
        session.answer(8).await?;
        session.answer(9).await?;
        // What was on its way may have come before.
        while session.next(Duration::ZERO).await?.is_some() {}
        session.publish("a", &format!("content {n}")).await?;
        let id = session.request(Kind::Ping(Ping { number: 1 })).await?;
        assert_eq!(session.expect().await?, Envelope { id, kind: Some(Kind::Pong(Pong { number: 1 })) });
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_would_hear_of_too_many_configurations_is_told_so() -> Result<()> {
    let node = Node::start(NodeOptions::new().flag("watch-max-keys", "5")).await?;
    let mut writer = Session::open(node.session_address(), "writer").await?;
    for n in 0..5 {
        writer.publish(&format!("k{n}"), "x").await?;
    }
    let mut watcher = Session::open(node.session_address(), "watcher").await?;
    watcher.watch(watch_prefix("k")).await?;
    for _ in 0..5 {
        watcher.push().await?;
    }
    writer.publish("k5", "x").await?;
    assert_eq!(watcher.last_word().await?.code, "overloaded");
    let mut late = Session::open(node.session_address(), "late").await?;
    late.request(watch_prefix("k")).await?;
    assert_eq!(late.last_word().await?.code, "overloaded");
    let held = (0..6).map(|n| Held { key: Some(key(&format!("k{n}"))), version: 1, md5: String::new() }).collect();
    let mut holder = Session::connect(node.session_address()).await?;
    holder.send(1, Kind::Hello(Hello { held, ..hello("holder") })).await?;
    assert_eq!(holder.last_word().await?.code, "overloaded");
    unharmed(&node).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_slowed_and_nothing_of_it_is_lost() -> Result<()> {
    let node = Node::start(NodeOptions::new().flag("session-max-frames", "50")).await?;
    let mut session = Session::open(node.session_address(), "flood").await?;
    let mut calm = Session::open(node.session_address(), "calm").await?;
    let began = Instant::now();
    let flood: Vec<u8> = (1..=200).flat_map(|n| framed(1_000 + n, Kind::Ping(Ping { number: n }))).collect();
    session.send_bytes(&flood).await?;
    calm.publish("a", "not slowed by others").await?;
    for number in 1..=200 {
        let expected = Envelope { id: 1_000 + number, kind: Some(Kind::Pong(Pong { number })) };
        assert_eq!(session.expect().await?, expected);
    }
    // 50 are saved up, 150 are let in at 50 a second.
    assert!(began.elapsed() > Duration::from_secs(2), "200 frames were read in {:?}", began.elapsed());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_are_let_in_at_their_pace() -> Result<()> {
    let node = Node::start(NodeOptions::new().flag("session-max-bytes", "100KiB")).await?;
    let mut session = Session::open(node.session_address(), "flood").await?;
    let began = Instant::now();
    let content = "x".repeat(50 * 1024);
    let ids = 1_000..1_006;
    let flood: Vec<u8> =
        ids.clone().flat_map(|id| framed(id, Kind::Publish(publish(&format!("k{id}"), &content)))).collect();
    session.send_bytes(&flood).await?;
    for id in ids {
        assert!(matches!(session.answer(id).await?, Kind::Published(_)), "{id}");
    }
    assert!(began.elapsed() > Duration::from_secs(1), "300 KiB were read in {:?}", began.elapsed());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_session_may_send_a_second_s_worth_at_once() -> Result<()> {
    let node = Node::start(NodeOptions::new().flag("session-max-frames", "1")).await?;
    // The machine may be busy: one of several is quick, where each had to wait for a second otherwise.
    poll::until("a hello and a ping are answered at once", poll::SOON, async || {
        let mut session = Session::connect(node.session_address()).await?;
        let began = Instant::now();
        session.greet(hello("quick")).await?;
        session.ask(Kind::Ping(Ping { number: 1 })).await?;
        Ok((began.elapsed() < Duration::from_millis(700)).then_some(()))
    })
    .await
}
