//! What a watcher is pushed: the newest state, in order, once, and not what it has.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use callboard_integration_tests::node::{Node, NodeOptions};
use callboard_integration_tests::session::{
    Session, applied, delete, hello, key, publish, subject, watch, watch_prefix,
};
use callboard_proto::MAX_PUSHED;
use callboard_proto::session::envelope::Kind;
use callboard_proto::session::{Envelope, Held, Hello, Hold, Ping};
use callboard_protocol::content::Md5;
use futures_util::future::try_join;

fn held(data_id: &str, version: u64, content: Option<&str>) -> Held {
    let md5 = content.map(|content| Md5::of(content.as_bytes()).hex()).unwrap_or_default();
    Held { key: Some(key(data_id)), version, md5 }
}

/// Nothing is on its way: the answer to a ping is the next thing that comes.
async fn silent(session: &mut Session) -> Result<()> {
    let id = session.request(Kind::Ping(Ping { number: 1 })).await?;
    let next = session.expect().await?;
    anyhow::ensure!(next.id == id, "unexpected: {next:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_rise_strictly_under_quick_publishes_and_end_at_the_newest() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut writer = Session::open(node.session_address(), "writer").await?;
    let mut watcher = Session::open(node.session_address(), "watcher").await?;
    watcher.watch(watch(&["a", "b"])).await?;
    watcher.watch(watch_prefix("a")).await?;
    let writing = async {
        let mut last = BTreeMap::new();
        let mut asked = Vec::new();
        for n in 0..200 {
            let data_id = if n % 3 == 0 { "b" } else { "a" };
            asked.push((data_id, writer.request(Kind::Publish(publish(data_id, &format!("content {n}")))).await?));
        }
        for (data_id, id) in asked {
            let Kind::Published(done) = writer.answer(id).await? else { anyhow::bail!("{data_id} was not published") };
            let newest = last.entry(data_id.to_owned()).or_insert(0);
            *newest = done.version.max(*newest);
        }
        last.insert("end".to_owned(), writer.publish("a.end", "end").await?);
        Ok(last)
    };
    let watching = async {
        let mut seen: BTreeMap<String, (u64, String)> = BTreeMap::new();
        while !seen.contains_key("a.end") {
            let push = watcher.push().await?;
            let content = push.content.clone().unwrap_or_default();
            anyhow::ensure!(push.md5 == Md5::of(content.as_bytes()).hex(), "content and digest are of one version");
            let before = seen.insert(subject(&push).to_owned(), (push.version, content));
            anyhow::ensure!(before.as_ref().is_none_or(|(before, _)| *before < push.version), "{before:?} {push:?}");
            watcher.send(0, applied(subject(&push), push.version)).await?;
        }
        Ok(seen)
    };
    let (last, seen) = try_join(writing, watching).await?;
    for data_id in ["a", "b"] {
        assert_eq!(seen[data_id].0, last[data_id], "{data_id} ends at the newest");
        assert_eq!(watcher.get(data_id).await?.content, seen[data_id].1);
    }
    silent(&mut watcher).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_holds_is_not_pushed_again_and_what_is_newer_is() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut writer = Session::open(node.session_address(), "writer").await?;
    let mut versions = BTreeMap::new();
    for data_id in ["k.current", "k.old", "k.gone", "k.back", "k.unheld"] {
        versions.insert(data_id, writer.publish(data_id, "one").await?);
    }
    let old = versions["k.old"];
    versions.insert("k.old", writer.publish("k.old", "two").await?);
    versions.insert("k.gone", writer.change(Kind::Delete(delete("k.gone"))).await?.version);
    for (by_prefix, in_hello) in [(false, true), (true, true), (false, false), (true, false)] {
        let mut watcher = Session::connect(node.session_address()).await?;
        let held = vec![
            held("k.current", versions["k.current"], Some("one")),
            held("k.old", old, Some("one")),
            held("k.gone", old, Some("one")),
            held("k.back", 0, None),
        ];
        if in_hello {
            watcher.greet(Hello { held, ..hello("watcher") }).await?;
        } else {
            watcher.greet(hello("watcher")).await?;
            watcher.send(0, Kind::Hold(Hold { held })).await?;
        }
        let kind = match by_prefix {
            true => watch_prefix("k."),
            false => watch(&["k.current", "k.old", "k.gone", "k.back", "k.unheld"]),
        };
        // All pushes come before the watch is said to be complete.
        let id = watcher.request(kind).await?;
        let mut pushed = BTreeMap::new();
        loop {
            match watcher.expect().await? {
                Envelope { id: 0, kind: Some(Kind::Push(push)) } => {
                    assert!(!push.reset, "{push:?}");
                    pushed.insert(subject(&push).to_owned(), (push.removed, push.content));
                }
                other => {
                    assert_eq!(other.id, id, "{other:?}");
                    break;
                }
            }
        }
        let expected = [
            ("k.back", (false, Some("one"))),
            ("k.gone", (true, None)),
            ("k.old", (false, Some("two"))),
            ("k.unheld", (false, Some("one"))),
        ];
        let expected =
            expected.map(|(data_id, (removed, content))| (data_id.to_owned(), (removed, content.map(str::to_owned))));
        assert_eq!(pushed, BTreeMap::from(expected), "by prefix: {by_prefix}");
        silent(&mut watcher).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_comes_again_misses_nothing_and_hears_nothing_twice() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut writer = Session::open(node.session_address(), "writer").await?;
    let (mut version, mut content) = (0, None);
    for n in 0..10 {
        let mut watcher = Session::connect(node.session_address()).await?;
        watcher.greet(Hello { held: vec![held("a", version, content.as_deref())], ..hello("watcher") }).await?;
        watcher.watch(watch(&["a"])).await?;
        silent(&mut watcher).await?;
        drop(watcher);
        content = Some(format!("content {n}"));
        let newest = writer.publish("a", &format!("content {n}")).await?;
        let mut watcher = Session::connect(node.session_address()).await?;
        watcher.greet(Hello { held: vec![held("a", version, None)], ..hello("watcher") }).await?;
        watcher.watch(watch(&["a"])).await?;
        let push = watcher.push().await?;
        assert_eq!((push.version, &push.content), (newest, &content));
        version = newest;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_too_long_to_be_pushed_is_named_and_can_be_got() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut session = Session::open(node.session_address(), "watcher").await?;
    session.watch(watch(&["a"])).await?;
    let fits = "x".repeat(MAX_PUSHED);
    session.publish("a", &fits).await?;
    assert_eq!(session.push().await?.content.as_deref(), Some(fits.as_str()));
    let exceeds = "y".repeat(MAX_PUSHED + 1);
    let version = session.publish("a", &exceeds).await?;
    let push = session.push().await?;
    assert_eq!((push.version, push.content, push.removed), (version, None, false));
    assert_eq!(push.md5, Md5::of(exceeds.as_bytes()).hex());
    let got = session.get("a").await?;
    assert!(got.version >= version && got.content == exceeds);
    // What was got can be said to be used, as what was pushed can.
    session.request(applied("a", version)).await?;
    silent(&mut session).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_is_a_push_and_a_return_is_one_too() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut session = Session::open(node.session_address(), "watcher").await?;
    let first = session.publish("a", "one").await?;
    session.watch(watch(&["a"])).await?;
    session.watch(watch_prefix("")).await?;
    assert_eq!(session.push().await?.version, first);
    let removed = session.change(Kind::Delete(delete("a"))).await?.version;
    let push = session.push().await?;
    assert_eq!((push.version, push.removed, push.content, push.md5.as_str()), (removed, true, None, ""));
    session.request(applied("a", removed)).await?;
    let again = session.publish("a", "one").await?;
    let push = session.push().await?;
    assert_eq!((push.version, push.removed, push.content.as_deref()), (again, false, Some("one")));
    assert!(first < removed && removed < again);
    silent(&mut session).await
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_that_came_over_http_are_pushed_and_those_of_sessions_are_streamed() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    let mut session = Session::open(node.session_address(), "watcher").await?;
    session.watch(watch(&["a"])).await?;
    let name = callboard_protocol::key::ConfigKey::new("public", "app", "a")?;
    let version = client.put(&name, "over HTTP").send().await?.expect(201)?.version();
    let push = session.push().await?;
    assert_eq!((Some(push.version), push.content.as_deref()), (version, Some("over HTTP")));
    let mut stream = client.watch("group=app&dataId=a", version).await?;
    let version = session.publish("a", "over a session").await?;
    assert_eq!(stream.expect().await?.subject(), Some((&name, version)));
    let history = client.whole_history(&name).await?;
    assert_eq!(history[0]["channel"], "session", "{}", history[0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_of_two_sessions_end_apart() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut stays = Session::open(node.session_address(), "same-name").await?;
    let mut goes = Session::open(node.session_address(), "same-name").await?;
    stays.watch(watch(&["a"])).await?;
    goes.watch(watch(&["a"])).await?;
    goes.publish("a", "one").await?;
    assert_eq!(stays.push().await?.version, goes.push().await?.version);
    drop(goes);
    super::words::until_ended(&node, "closed", 1).await?;
    let version = stays.publish("a", "two").await?;
    assert_eq!(stays.push().await?.version, version);
    assert_eq!(stays.next(Duration::from_millis(50)).await?, None);
    Ok(())
}
