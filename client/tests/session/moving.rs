//! Going from one node to another.

use std::time::Duration;

use callboard_client::{Client, Connection};
use callboard_proto::session as wire;
use callboard_proto::session::envelope::Kind;

use crate::fake::{FakeNode, config, connect, error, key, options, push, wire_key, within};

#[tokio::test]
async fn a_node_that_goes_away_is_left_for_one_that_it_names_with_what_is_held() {
    let (leaving, other) = (FakeNode::start().await, FakeNode::start().await);
    let client = connect(&[&leaving]);
    let (mut old, hello) = leaving.session().await;
    assert_eq!(hello.held, []);
    let mut watch = client.watch(key());
    old.watching([push(5)]).await;
    within(watch.next()).await.expect("an item");
    let asking = tokio::spawn({
        let client = client.clone();
        async move { client.get(&key()).await }
    });
    let (id, Kind::Get(_)) = old.next().await else { panic!("no get") };
    old.send(0, Kind::GoAway(wire::GoAway { nodes: vec![other.address.clone()], reason: "restart".into() })).await;

    let (mut new, hello) = other.session().await;
    assert_eq!(hello.client_id, "test-client");
    assert_eq!(hello.held, [wire::Held { key: wire_key(), version: 5, md5: "md5 of 5".into() }]);
    new.watching([push(6)]).await;
    assert_eq!(within(watch.next()).await.expect("an item").config.version, 6);
    // What was under way on the old one is still answered there; then it is left.
    old.send(id, config(5)).await;
    assert_eq!(within(asking).await.expect("no panic").expect("an answer").version, 5);
    assert_eq!(old.next_or_end().await, None);
}

#[tokio::test]
async fn nothing_is_told_twice_when_nothing_is_newer() {
    let node = FakeNode::start().await;
    let client = connect(&[&node]);
    let (mut peer, _) = node.session().await;
    let mut watch = client.watch(key());
    peer.watching([push(5)]).await;
    within(watch.next()).await.expect("an item");
    drop(peer);
    let (mut peer, _) = node.session().await;
    peer.watching([]).await;
    peer.push(push(6)).await;
    assert_eq!(within(watch.next()).await.expect("an item").config.version, 6);
}

#[tokio::test]
async fn a_missing_key_is_held_without_a_digest() {
    let node = FakeNode::start().await;
    let client = connect(&[&node]);
    let (mut peer, _) = node.session().await;
    let mut watch = client.watch(key());
    peer.watching([]).await;
    within(watch.next()).await.expect("an item");
    drop(peer);
    let (_peer, hello) = node.session().await;
    assert_eq!(hello.held, [wire::Held { key: wire_key(), version: 0, md5: String::new() }]);
}

#[tokio::test]
async fn a_silent_node_is_asked_twice_and_left_after_three_beats() {
    let (silent, other) = (FakeNode::start().await, FakeNode::start().await);
    let client = connect(&[&silent]);
    let nodes = vec![silent.address.clone(), other.address.clone()];
    let welcome = wire::Welcome { idle_timeout_ms: 150, nodes, ..silent.welcome() };
    let (mut peer, _) = silent.session_of(welcome).await;
    for expected in 1..=2 {
        let (_, Kind::Ping(ping)) = peer.next().await else { panic!("no ping") };
        assert_eq!(ping.number, expected);
    }
    assert_eq!(peer.next_or_end().await, None);
    other.session().await;
    drop(client);
}

#[tokio::test]
async fn a_node_that_answers_pings_is_kept() {
    let node = FakeNode::start().await;
    let client = connect(&[&node]);
    let (mut peer, _) = node.session_of(wire::Welcome { idle_timeout_ms: 450, ..node.welcome() }).await;
    for _ in 0..4 {
        let (_, Kind::Ping(wire::Ping { number })) = peer.next().await else { panic!("no ping") };
        peer.send(0, Kind::Pong(wire::Pong { number })).await;
    }
    assert!(client.node().is_some());
}

#[tokio::test]
async fn what_is_no_message_ends_the_session_and_the_client_goes_elsewhere() {
    let (first, second) = (FakeNode::start().await, FakeNode::start().await);
    for garbage in [&[0xff_u8, 0xff, 0xff, 0xff, 0xff][..], &[3, 0xff, 0xff, 0xff][..]] {
        let client = connect(&[&first]);
        let nodes = vec![first.address.clone(), second.address.clone()];
        let (mut peer, _) = first.session_of(wire::Welcome { nodes, ..first.welcome() }).await;
        peer.send_bytes(garbage).await;
        assert_eq!(peer.next_or_end().await, None);
        second.session().await;
        drop(client);
    }
}

#[tokio::test]
async fn a_node_that_refuses_the_session_is_left_and_the_reason_is_told() {
    let node = FakeNode::start().await;
    let client = connect(&[&node]);
    let mut connection = client.connection();
    let mut peer = node.accept().await;
    peer.next().await;
    peer.send(0, error("too_many_sessions")).await;
    let disconnected = within(connection.wait_for(|now| matches!(now, Connection::Disconnected { .. }))).await;
    let Connection::Disconnected { reason, .. } = &*disconnected.expect("the client lives") else {
        panic!("connected")
    };
    assert!(reason.contains("too_many_sessions"), "{reason}");
}

#[tokio::test]
async fn an_error_about_the_session_ends_it() {
    let node = FakeNode::start().await;
    let _client = connect(&[&node]);
    let (mut peer, _) = node.session().await;
    peer.send(0, error("session_idle")).await;
    assert_eq!(peer.next_or_end().await, None);
    node.session().await;
}

#[tokio::test]
async fn a_node_that_never_welcomes_is_left_when_the_time_is_up() {
    let node = FakeNode::start().await;
    let mut options = options(&[&node]);
    options.connect_timeout = Duration::from_millis(50);
    let _client = Client::connect(options).expect("valid options");
    let mut stuck = node.accept().await;
    stuck.next().await;
    assert_eq!(stuck.next_or_end().await, None);
    node.session().await;
}

#[tokio::test]
async fn a_dropped_client_leaves_and_so_does_the_last_watch() {
    let node = FakeNode::start().await;
    let client = connect(&[&node]);
    let (mut peer, _) = node.session().await;
    let clone = client.clone();
    let watch = client.watch(key());
    peer.watching([push(5)]).await;
    drop((client, clone));
    peer.settle().await;
    drop(watch);
    while let Some((_, kind)) = peer.next_or_end().await {
        assert!(matches!(kind, Kind::Unwatch(_)), "{kind:?}");
    }
}

#[tokio::test]
async fn a_key_is_followed_through_a_rolling_restart() {
    let nodes = [FakeNode::start().await, FakeNode::start().await, FakeNode::start().await];
    let addresses: Vec<String> = nodes.iter().map(|node| node.address.clone()).collect();
    let client = connect(&[&nodes[0]]);
    let mut watch = client.watch(key());
    let (mut peer, _) = nodes[0].session().await;
    peer.watching([push(1)]).await;
    assert_eq!(within(watch.next()).await.expect("an item").config.version, 1);
    for version in 2..20_u64 {
        let held = version - 1;
        let next = usize::try_from(held).expect("small") % nodes.len();
        let go_away = wire::GoAway { nodes: vec![addresses[next].clone()], reason: "restart".into() };
        peer.send(0, Kind::GoAway(go_away)).await;
        let (new, hello) = nodes[next].session().await;
        peer = new;
        assert_eq!(hello.held.iter().map(|held| held.version).collect::<Vec<_>>(), [held]);
        // What is not newer is not taken, should a node send it.
        peer.watching([push(held), push(version)]).await;
        assert_eq!(within(watch.next()).await.expect("an item").config.version, version);
    }
}
