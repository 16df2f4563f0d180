//! Watches, callbacks and cached reads.

use std::sync::Arc;
use std::time::Duration;

use callboard_client::{ConfigKey, Error, Freshness, Prefix};
use callboard_proto::session as wire;
use callboard_proto::session::envelope::Kind;
use futures_util::StreamExt as _;
use tokio::sync::{Mutex, Notify, mpsc};

use crate::fake::{FakeNode, config, connect, error, key, push, wire_key, within};

#[tokio::test]
async fn a_watch_gets_each_newer_version_and_older_ones_are_refused() {
    let node = FakeNode::start().await;
    let client = connect(&[&node]);
    let (mut peer, _) = node.session().await;
    let mut watch = client.watch(key());
    let sent = peer.watching([push(5)]).await;
    assert_eq!(sent.keys, [wire_key().expect("a key")]);
    let first = within(watch.next()).await.expect("an item");
    assert_eq!((first.config.version, first.config.content.as_deref()), (5, Some("5")));
    assert_eq!(first.freshness, Freshness::Live);
    for version in [5, 4, 6] {
        peer.push(push(version)).await;
    }
    assert_eq!(within(watch.next()).await.expect("an item").config.version, 6);
    assert_eq!(client.refused_pushes(), 2);
}

#[tokio::test]
async fn a_reset_is_taken_although_it_is_older() {
    let node = FakeNode::start().await;
    let client = connect(&[&node]);
    let (mut peer, _) = node.session().await;
    let mut watch = client.watch(key());
    peer.watching([push(5)]).await;
    within(watch.next()).await.expect("an item");
    peer.push(wire::Push { reset: true, ..push(2) }).await;
    assert_eq!(within(watch.next()).await.expect("an item").config.version, 2);
    peer.push(push(3)).await;
    assert_eq!(within(watch.next()).await.expect("an item").config.version, 3);
}

#[tokio::test]
async fn a_removal_is_an_event_and_so_is_what_never_existed() {
    let node = FakeNode::start().await;
    let client = connect(&[&node]);
    let (mut peer, _) = node.session().await;
    let mut watch = client.watch(key());
    peer.watching([]).await;
    let missing = within(watch.next()).await.expect("an item").config;
    assert_eq!((missing.version, missing.exists()), (0, false));
    peer.push(push(5)).await;
    assert!(within(watch.next()).await.expect("an item").config.exists());
    peer.push(wire::Push { key: wire_key(), version: 6, removed: true, ..wire::Push::default() }).await;
    let removed = within(watch.next()).await.expect("an item").config;
    assert_eq!((removed.version, removed.exists()), (6, false));
}

#[tokio::test]
async fn taking_the_next_item_applies_the_one_before_unless_it_was_rejected() {
    let node = FakeNode::start().await;
    let client = connect(&[&node]);
    let (mut peer, _) = node.session().await;
    let mut watch = client.watch(key());
    peer.watching([push(5)]).await;
    let first = within(watch.next()).await.expect("an item");
    peer.push(push(6)).await;
    // Nothing was said about the first one yet: the pong is the next message.
    peer.settle().await;
    drop(first);
    let second = within(watch.next()).await.expect("an item");
    // It is superseded by now, and so not worth a word.
    peer.settle().await;
    second.reject("broken");
    match peer.next().await {
        (0, Kind::Rejected(rejected)) => assert_eq!((rejected.version, rejected.reason.as_str()), (6, "broken")),
        other => panic!("not rejected: {other:?}"),
    }
    let ((), _third) = tokio::join!(
        async {
            peer.push(push(7)).await;
        },
        within(watch.next())
    );
    peer.settle().await;
}

#[tokio::test]
async fn a_callback_is_applied_after_it_returned_and_its_error_is_told() {
    let node = FakeNode::start().await;
    let client = connect(&[&node]);
    let (mut peer, _) = node.session().await;
    let (entered, mut calls) = mpsc::unbounded_channel();
    let (release, released) = mpsc::unbounded_channel::<Result<(), String>>();
    let released = Arc::new(Mutex::new(released));
    let _subscription = client.on_change(key(), move |state| {
        entered.send(state.config.version).expect("the test goes on");
        let released = Arc::clone(&released);
        async move { released.lock().await.recv().await.expect("a result") }
    });
    peer.watching([push(5)]).await;
    assert_eq!(within(calls.recv()).await, Some(5));
    peer.settle().await;
    release.send(Ok(())).expect("the callback waits");
    assert_eq!(peer.applied().await, 5);
    peer.push(push(6)).await;
    assert_eq!(within(calls.recv()).await, Some(6));
    release.send(Err("no such zone".into())).expect("the callback waits");
    match peer.next().await {
        (0, Kind::Rejected(rejected)) => assert_eq!((rejected.version, rejected.reason.as_str()), (6, "no such zone")),
        other => panic!("not rejected: {other:?}"),
    }
}

#[tokio::test]
async fn a_push_without_content_is_got_and_delivered() {
    let node = FakeNode::start().await;
    let client = connect(&[&node]);
    let (mut peer, _) = node.session().await;
    let mut watch = client.watch(key());
    peer.watching([wire::Push { content: None, ..push(5) }]).await;
    for answer in [config(4), error("unavailable"), config(6)] {
        let (id, Kind::Get(get)) = peer.next().await else { panic!("no get") };
        assert_eq!(get.key, wire_key());
        peer.send(id, answer).await;
    }
    assert_eq!(within(watch.next()).await.expect("an item").config.version, 6);
    // The version that came with the answer is pushed as well: it was given already, and is answered again.
    drop(tokio::time::timeout(Duration::ZERO, watch.next()).await);
    assert_eq!(peer.applied().await, 6);
    peer.push(wire::Push { content: None, ..push(6) }).await;
    assert_eq!(peer.applied().await, 6);
}

#[tokio::test]
async fn a_prefix_gets_what_exists_and_what_comes() {
    let node = FakeNode::start().await;
    let client = connect(&[&node]);
    let (mut peer, _) = node.session().await;
    let mut watch = client.watch(Prefix::new("", "shop", ""));
    let sent = peer.watching([push(5)]).await;
    assert_eq!(sent.prefixes.len(), 1);
    assert_eq!(within(watch.next()).await.expect("an item").config.key, key());
    // Of another group: nobody watches it.
    let foreign = wire::Key { group: "other".into(), ..wire_key().expect("a key") };
    peer.push(wire::Push { key: Some(foreign), ..push(6) }).await;
    peer.push(push(7)).await;
    assert_eq!(within(watch.next()).await.expect("an item").config.version, 7);
}

#[tokio::test]
async fn a_missing_key_is_cached_and_asked_for_once() {
    let node = FakeNode::start().await;
    let client = connect(&[&node]);
    let (mut peer, _) = node.session().await;
    let key = key();
    let (first, _) = tokio::join!(within(client.get_cached(&key)), peer.watching([]));
    let first = first.expect("known");
    assert_eq!((first.config.exists(), first.freshness), (false, Freshness::Live));
    for _ in 0..3 {
        assert!(!within(client.get_cached(&key)).await.expect("known").config.exists());
    }
    peer.push(push(5)).await;
    assert_eq!(peer.applied().await, 5);
    assert_eq!(within(client.get_cached(&key)).await.expect("known").config.version, 5);
    // No request was made since the watch.
    peer.settle().await;
}

#[tokio::test]
async fn a_refused_watch_ends_and_spoils_no_other() {
    let node = FakeNode::start().await;
    let client = connect(&[&node]);
    let (mut peer, _) = node.session().await;
    client.ready(Duration::from_secs(5)).await.expect("a session");
    let bad = ConfigKey::public("shop", "no such name!");
    let mut both = client.watch([key(), bad.clone()].into_iter().collect::<callboard_client::Selection>());
    let (id, Kind::Watch(_)) = peer.next().await else { panic!("no watch") };
    peer.send(id, error("invalid_name")).await;
    for _ in 0..2 {
        let (id, Kind::Watch(watch)) = peer.next().await else { panic!("no watch") };
        let answer = match watch.keys.first().is_some_and(|key| key.data_id == "a") {
            true => Kind::Watching(wire::Watching {}),
            false => error("invalid_name"),
        };
        peer.send(id, answer).await;
    }
    assert_eq!(within(both.next()).await.expect("an item").config.key, key());
    assert!(within(both.next()).await.is_none());
    assert!(matches!(both.error(), Some(Error::Invalid { .. })));
    // The refusal is known: nothing is asked.
    let cached = within(client.get_cached(&bad)).await;
    assert!(matches!(cached, Err(Error::Invalid { .. })), "{cached:?}");
}

#[tokio::test]
async fn a_dropped_watch_is_taken_back_and_another_one_of_its_key_goes_on() {
    let node = FakeNode::start().await;
    let client = connect(&[&node]);
    let (mut peer, _) = node.session().await;
    let one = client.watch(key());
    peer.watching([push(5)]).await;
    let mut other = client.watch(key());
    assert_eq!(within(other.next()).await.expect("an item").config.version, 5);
    drop(one);
    peer.settle().await;
    drop(other);
    let (_, Kind::Unwatch(unwatch)) = peer.next().await else { panic!("no unwatch") };
    assert_eq!(unwatch.keys, [wire_key().expect("a key")]);
}

#[tokio::test]
async fn a_subscription_that_is_dropped_lets_its_callback_come_to_its_end() {
    let node = FakeNode::start().await;
    let client = connect(&[&node]);
    let (mut peer, _) = node.session().await;
    let (entered, mut calls) = mpsc::unbounded_channel();
    let release = Arc::new(Notify::new());
    let subscription = client.on_change(key(), {
        let release = Arc::clone(&release);
        move |state| {
            entered.send(state.config.version).expect("the test goes on");
            let release = Arc::clone(&release);
            async move {
                release.notified().await;
                Ok::<(), String>(())
            }
        }
    });
    peer.watching([push(5)]).await;
    assert_eq!(within(calls.recv()).await, Some(5));
    drop(subscription);
    peer.settle().await;
    release.notify_one();
    assert_eq!(peer.applied().await, 5);
    assert!(matches!(peer.next().await, (_, Kind::Unwatch(_))));
}

#[tokio::test]
async fn a_callback_that_panics_ends_its_subscription_and_nothing_is_applied() {
    let node = FakeNode::start().await;
    let client = connect(&[&node]);
    let (mut peer, _) = node.session().await;
    let subscription = client.on_change(key(), |state| {
        assert!(!state.config.exists(), "this panic belongs to the test");
        std::future::ready(Ok::<(), String>(()))
    });
    peer.watching([push(5)]).await;
    assert_eq!(within(subscription.finished()).await, Err(Error::Panicked));
    assert!(matches!(peer.next().await, (_, Kind::Unwatch(_))));
}

#[tokio::test]
async fn a_slow_watch_is_given_the_newest_and_none_in_between() {
    let node = FakeNode::start().await;
    let client = connect(&[&node]);
    let (mut peer, _) = node.session().await;
    let watch = client.watch(key());
    peer.watching((1..=50).map(push)).await;
    peer.settle().await;
    let versions: Vec<u64> = within(watch.take(1).map(|change| change.config.version).collect()).await;
    assert_eq!(versions, [50]);
}
