//! Hearing of changes: event streams that go on where they broke off, and reads that wait.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use callboard_integration_tests::client::{Client, Event, Watch};
use callboard_integration_tests::node::{Node, NodeOptions};
use callboard_integration_tests::poll;
use callboard_protocol::content::Md5;
use callboard_protocol::key::ConfigKey;

const QUIET: Duration = Duration::from_millis(300);

fn key(data_id: &str) -> ConfigKey {
    ConfigKey::new("public", "app", data_id).unwrap()
}

async fn publish(client: &Client, data_id: &str, content: &str) -> Result<u64> {
    let answer = client.put(&key(data_id), content.to_owned()).send().await?;
    match answer.version() {
        Some(version) if answer.status < 300 => Ok(version),
        _ => bail!("{}: {}", answer.status, answer.text()),
    }
}

async fn expect_config(watch: &mut Watch, data_id: &str, version: u64, content: &str) -> Result<()> {
    let md5 = Md5::of(content.as_bytes()).hex();
    let expected =
        Event::Config { key: key(data_id), version, md5, kind: "text".to_owned(), content: content.to_owned() };
    assert_eq!(watch.expect().await?, expected);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_gives_the_present_state_and_then_every_change() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    let first = publish(&client, "a", "one").await?;
    let mut watch = client.watch("namespace=public&group=app&dataId=a", None).await?;
    expect_config(&mut watch, "a", first, "one").await?;
    publish(&client, "b", "unheard").await?;
    let second = publish(&client, "a", "two\nlines").await?;
    expect_config(&mut watch, "a", second, "two\nlines").await?;
    let removed = client.delete(&key("a")).send().await?.expect(200)?.version().unwrap();
    assert_eq!(watch.expect().await?, Event::Removed { key: key("a"), version: removed });
    assert_eq!(watch.next(QUIET).await?, None);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_a_key_that_is_not_there_yet_hears_of_its_birth() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    let mut watch = client.watch("group=app&dataId=a", None).await?;
    assert_eq!(watch.next(QUIET).await?, None);
    let version = publish(&client, "a", "one").await?;
    expect_config(&mut watch, "a", version, "one").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_covers_present_and_future_keys_and_nothing_else() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    let first = publish(&client, "db.url", "1").await?;
    publish(&client, "web.port", "1").await?;
    let mut watch = client.watch("namespace=public&group=app&prefix=db.", None).await?;
    expect_config(&mut watch, "db.url", first, "1").await?;
    publish(&client, "web.port", "2").await?;
    let second = publish(&client, "db.user", "2").await?;
    expect_config(&mut watch, "db.user", second, "2").await?;
    assert_eq!(watch.next(QUIET).await?, None);
    Ok(())
}

/// Reads `count` events, or all there are, and notes the newest version of each key; says the last id.
async fn take(watch: &mut Watch, count: usize, seen: &mut BTreeMap<String, u64>) -> Result<Option<u64>> {
    let mut last = None;
    for _ in 0..count {
        let Some(event) = watch.next(QUIET).await? else { break };
        let Some((key, version)) = event.subject() else { bail!("a reset without cause") };
        let former = seen.insert(key.data_id().to_owned(), version);
        assert!(former.is_none_or(|former| former < version), "{key}: {version} after {former:?}");
        last = Some(version);
    }
    Ok(last)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_where_it_broke_off_without_loss_or_repetition() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    let mut newest = BTreeMap::new();
    for n in 0..20 {
        newest.insert(format!("k{n}"), publish(&client, &format!("k{n}"), "first").await?);
    }
    // Changed in another order than they were made in, so that the order of names is not the order of versions.
    for n in [7, 3, 15, 0] {
        newest.insert(format!("k{n}"), publish(&client, &format!("k{n}"), "second").await?);
    }
    for break_after in [1, 2, 5, 11, 19] {
        let mut seen = BTreeMap::new();
        let mut last = None;
        while seen != newest {
            let mut watch = client.watch("namespace=public&prefix=k", last).await?;
            let taken = take(&mut watch, break_after, &mut seen).await?;
            assert!(taken.is_some(), "broken after each {break_after}: lost {newest:?} against {seen:?}");
            last = taken;
        }
        let mut watch = client.watch("namespace=public&prefix=k", last).await?;
        assert_eq!(watch.next(QUIET).await?, None, "nothing twice");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_while_nobody_listened_comes_once_at_the_next_connection() -> Result<()> {
    let mut node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    publish(&client, "a", "1").await?;
    let last = publish(&client, "b", "1").await?;
    publish(&client, "a", "2").await?;
    let newest = publish(&client, "a", "3").await?;
    let removed = client.delete(&key("b")).send().await?.expect(200)?.version().unwrap();
    assert!(node.terminate().await?.success());
    node.start_again().await?;
    let mut watch = node.client().watch("namespace=public&group=app&dataId=a", Some(last)).await?;
    expect_config(&mut watch, "a", newest, "3").await?;
    assert_eq!(watch.next(QUIET).await?, None);
    let mut watch = node.client().watch("namespace=public&group=app&dataId=b", Some(last)).await?;
    assert_eq!(watch.expect().await?, Event::Removed { key: key("b"), version: removed });
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_is_no_longer_in_the_feed_gives_a_reset_and_the_present_states() -> Result<()> {
    let mut node = Node::start(NodeOptions::new().flag("history-retention", "1s")).await?;
    let old = publish(&node.client(), "a", "0").await?;
    // Old changes are dropped on a schedule that also has its turn at every start.
    let reset = poll::until("the feed forgets old changes", poll::SOON * 2, async || {
        let version = publish(&node.client(), "a", &uuid::Uuid::new_v4().to_string()).await?;
        node.kill()?;
        node.start_again().await?;
        let mut watch = node.client().watch("group=app&dataId=a", Some(old)).await?;
        match watch.expect().await? {
            Event::Reset => Ok(Some((version, watch))),
            Event::Config { .. } | Event::Removed { .. } => Ok(None),
        }
    });
    let (version, mut watch) = reset.await?;
    assert_eq!(watch.expect().await?.subject(), Some((&key("a"), version)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_stream_has_a_heartbeat() -> Result<()> {
    let node = Node::start(NodeOptions::new().flag("watch-heartbeat", "50ms")).await?;
    let mut watch = node.client().watch("group=app&dataId=a", None).await?;
    poll::until("a heartbeat", poll::SOON, async || {
        assert_eq!(watch.next(Duration::from_millis(20)).await?, None);
        Ok((watch.heartbeats() >= 3).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_read_wakes_up_within_a_second_of_the_change() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    let first = publish(&client, "a", "one").await?;
    let waiting = tokio::spawn(client.wait(&key("a"), first, 30).send());
    held(&client, &waiting).await?;
    let second = publish(&client, "a", "two").await?;
    let published = Instant::now();
    let answer = waiting.await??.expect(200)?;
    assert!(published.elapsed() < Duration::from_secs(1), "{:?}", published.elapsed());
    assert_eq!((answer.text().as_str(), answer.version()), ("two", Some(second)));

    let waiting = tokio::spawn(client.wait(&key("a"), second, 30).send());
    held(&client, &waiting).await?;
    let removed = client.delete(&key("a")).send().await?.expect(200)?.version();
    let answer = waiting.await??.expect(404)?;
    assert_eq!(answer.version(), removed);

    let waiting = tokio::spawn(client.wait(&key("a"), removed.unwrap(), 30).send());
    held(&client, &waiting).await?;
    let back = publish(&client, "a", "three").await?;
    assert_eq!(waiting.await??.expect(200)?.version(), Some(back));
    Ok(())
}

/// Waits until the node has surely taken the waiting request: it still waits after others were answered.
async fn held<T>(client: &Client, waiting: &tokio::task::JoinHandle<T>) -> Result<()> {
    for _ in 0..50 {
        client.get(&key("other")).send().await?.expect(404)?;
    }
    assert!(!waiting.is_finished(), "it should wait");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_read_ends_as_named_when_nothing_happens() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    let begin = Instant::now();
    let absent = client.wait(&key("a"), 0, 1).send().await?.expect(404)?;
    assert_eq!(absent.version(), Some(0));
    assert!(begin.elapsed() >= Duration::from_secs(1));
    let version = publish(&client, "a", "one").await?;
    let begin = Instant::now();
    let same = client.wait(&key("a"), version, 1).send().await?.expect(304)?;
    assert_eq!(same.version(), Some(version));
    assert!(begin.elapsed() >= Duration::from_secs(1));
    assert_eq!(client.wait(&key("a"), 0, 30).send().await?.expect(200)?.version(), Some(version));
    Ok(())
}
