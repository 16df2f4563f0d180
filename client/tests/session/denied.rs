//! Credentials that a node does not take.

use std::time::Duration;

use callboard_client::{Client, Connection, Error, Freshness};
use callboard_proto::session::envelope::Kind;

use crate::fake::{FakeNode, Peer, connect, error, key, options, push, within};

/// Waits for a hello, and refuses it.
async fn refuse(node: &FakeNode, code: &str) -> Peer {
    let mut peer = node.accept().await;
    let (id, Kind::Hello(_)) = peer.next().await else { panic!("no hello") };
    peer.send(id, error(code)).await;
    peer
}

fn is_denied<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::Denied { code, .. }) if code == "unauthenticated")
}

#[tokio::test]
async fn what_is_asked_fails_at_once_and_no_node_is_tried_again() {
    let node = FakeNode::start().await;
    let mut options = options(&[&node]);
    options.credentials = "Bearer wrong".into();
    let client = Client::connect(options).expect("valid options");
    let mut watch = client.watch(key());
    let key = key();
    let (asked, _) = tokio::join!(within(client.get(&key)), refuse(&node, "unauthenticated"));
    assert!(is_denied(&asked), "{asked:?}");
    assert!(within(watch.next()).await.is_none());
    assert!(matches!(watch.error(), Some(Error::Denied { .. })), "{:?}", watch.error());

    // Whatever is wanted later is told the same.
    assert!(is_denied(&within(client.ready(Duration::from_secs(60))).await));
    assert!(is_denied(&within(client.get(&key)).await));
    assert!(is_denied(&within(client.get_cached(&key)).await));
    let mut late = client.watch(&key);
    assert!(within(late.next()).await.is_none());
    assert!(matches!(late.error(), Some(Error::Denied { .. })), "{:?}", late.error());
    assert!(matches!(&*client.connection().borrow(), Connection::Denied { .. }));
}

#[tokio::test]
async fn a_session_that_ends_for_other_rights_is_begun_again_until_a_hello_is_refused() {
    let node = FakeNode::start().await;
    let client = connect(&[&node]);
    let (mut first, _) = node.session().await;
    let mut watch = client.watch(key());
    let (change, _) = tokio::join!(within(watch.next()), first.watching([push(5)]));
    assert_eq!(change.expect("a change").config.version, 5);
    first.send(0, error("forbidden")).await;

    let (mut second, _) = node.session().await;
    second.watching([]).await;
    second.send(0, error("forbidden")).await;

    refuse(&node, "unauthenticated").await;
    assert!(within(watch.next()).await.is_none());
    assert!(matches!(watch.error(), Some(Error::Denied { .. })), "{:?}", watch.error());
    let cached = within(client.get_cached(&key())).await.expect("it was known");
    assert!(matches!(cached.freshness, Freshness::Disconnected { .. }), "{:?}", cached.freshness);
}

#[tokio::test]
async fn a_node_that_knows_no_users_yet_is_asked_again() {
    let node = FakeNode::start().await;
    let client = connect(&[&node]);
    refuse(&node, "unavailable").await;
    let (_peer, _) = node.session().await;
    within(client.ready(Duration::from_secs(60))).await.expect("a session");
}
