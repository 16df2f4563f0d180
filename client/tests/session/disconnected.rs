//! What the client says while no node is reachable.

use std::path::Path;
use std::time::{Duration, SystemTime};

use callboard_client::{Client, Error, Freshness};
use tempfile::TempDir;

use crate::fake::{FakeNode, connect, key, options, push, within};

/// Leaves a snapshot of version 5 in a directory, as a program does that ends.
async fn snapshot_of_five() -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let node = FakeNode::start().await;
    let mut options = options(&[&node]);
    options.snapshot = Some(directory.path().to_owned());
    let client = Client::connect(options).expect("valid options");
    let (mut peer, _) = node.session().await;
    let mut watch = client.watch(key());
    peer.watching([push(5)]).await;
    within(watch.next()).await.expect("an item");
    let mut connection = client.connection();
    drop((watch, client));
    // The background task is over when nobody is left who could tell of the connection.
    within(async { while connection.changed().await.is_ok() {} }).await;
    directory
}

/// A client of a node that never says a word.
fn unreachable(directory: &Path, node: &FakeNode) -> Client {
    let mut options = options(&[node]);
    options.snapshot = Some(directory.to_owned());
    options.connect_timeout = Duration::from_millis(50);
    options.request_timeout = Duration::from_millis(500);
    Client::connect(options).expect("valid options")
}

#[tokio::test]
async fn a_program_starts_from_the_snapshot_and_is_told_so() {
    let before = SystemTime::now();
    let directory = snapshot_of_five().await;
    let node = FakeNode::start().await;
    let client = unreachable(directory.path(), &node);
    let cached = within(client.get_cached(&key())).await.expect("known");
    assert_eq!((cached.config.version, cached.config.content.as_deref()), (5, Some("5")));
    let Freshness::Snapshot { saved_at } = cached.freshness else { panic!("{:?}", cached.freshness) };
    assert!(saved_at + Duration::from_secs(1) > before);
    let mut watch = client.watch(key());
    let change = within(watch.next()).await.expect("an item");
    assert_eq!((change.config.version, change.freshness), (5, cached.freshness));
    let asked = within(client.get(&key())).await;
    assert!(matches!(asked, Err(Error::Unreachable { .. })), "{asked:?}");
}

#[tokio::test]
async fn what_comes_from_the_snapshot_is_held_in_the_hello_and_becomes_live() {
    let directory = snapshot_of_five().await;
    let node = FakeNode::start().await;
    let mut options = options(&[&node]);
    options.snapshot = Some(directory.path().to_owned());
    let client = Client::connect(options).expect("valid options");
    let mut watch = client.watch(key());
    let (mut peer, hello) = node.session().await;
    assert_eq!(hello.held.first().map(|held| (held.version, held.md5.as_str())), Some((5, "md5 of 5")));
    peer.watching([]).await;
    let change = within(watch.next()).await.expect("an item");
    assert_eq!((change.config.version, change.freshness), (5, Freshness::Live));
}

#[tokio::test]
async fn a_watch_begun_during_a_session_takes_what_the_node_says_though_the_snapshot_is_newer() {
    let directory = snapshot_of_five().await;
    let node = FakeNode::start().await;
    let mut options = options(&[&node]);
    options.snapshot = Some(directory.path().to_owned());
    let client = Client::connect(options).expect("valid options");
    let (mut peer, hello) = node.session().await;
    assert_eq!(hello.held, []);
    client.ready(Duration::from_secs(5)).await.expect("a session");
    let mut watch = client.watch(key());
    peer.watching([push(3)]).await;
    assert_eq!(within(watch.next()).await.expect("an item").config.version, 3);
}

#[tokio::test]
async fn memory_answers_while_the_session_is_away_and_says_so() {
    let node = FakeNode::start().await;
    let client = connect(&[&node]);
    let (mut peer, _) = node.session().await;
    let key = key();
    let (cached, _) = tokio::join!(within(client.get_cached(&key)), peer.watching([push(5)]));
    assert_eq!(cached.expect("known").freshness, Freshness::Live);
    let mut connection = client.connection();
    drop(peer);
    within(connection.wait_for(|now| !matches!(now, callboard_client::Connection::Connected(_)))).await.expect("told");
    let cached = within(client.get_cached(&key)).await.expect("known");
    assert_eq!(cached.config.version, 5);
    assert!(matches!(cached.freshness, Freshness::Disconnected { .. }), "{:?}", cached.freshness);
}

#[tokio::test]
async fn nothing_known_and_nobody_to_ask_is_an_error_in_time() {
    let directory = tempfile::tempdir().expect("a directory");
    let node = FakeNode::start().await;
    let client = unreachable(directory.path(), &node);
    let cached = within(client.get_cached(&key())).await;
    assert!(matches!(cached, Err(Error::Unreachable { .. })), "{cached:?}");
    assert!(client.ready(Duration::from_millis(50)).await.is_err());
}

#[tokio::test]
async fn a_broken_snapshot_is_as_good_as_none() {
    let directory = snapshot_of_five().await;
    for file in std::fs::read_dir(directory.path()).expect("a directory") {
        std::fs::write(file.expect("a file").path(), b"{").expect("written");
    }
    let node = FakeNode::start().await;
    let client = unreachable(directory.path(), &node);
    assert!(within(client.get_cached(&key())).await.is_err());
}
