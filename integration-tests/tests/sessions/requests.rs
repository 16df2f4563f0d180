//! Every kind of request that reads, watches or says something, and its answer.

use std::collections::BTreeSet;

use anyhow::Result;
use callboard_integration_tests::node::{Node, NodeOptions};
use callboard_integration_tests::session::{
    Session, applied, get, hello, key, prefix, subject, unwatch, watch, watch_prefix,
};
use callboard_proto::session::envelope::Kind;
use callboard_proto::session::{Envelope, Get, Hello, Key, List, Page, Ping, Pong, Rejected, Unwatch, Watch};
use callboard_protocol::content::Md5;

use super::words::unharmed;

#[tokio::test(flavor = "multi_thread")]
async fn a_welcome_says_what_a_client_needs() -> Result<()> {
    let node =
        Node::start(NodeOptions::new().flag("session-idle-timeout", "9s").flag("session-max-watches", "7")).await?;
    let mut session = Session::connect(node.session_address()).await?;
    let welcome = session.greet(Hello { max_version: 9, ..hello("shop-7") }).await?;
    assert_eq!((welcome.version, welcome.idle_timeout_ms, welcome.max_watches), (1, 9_000, 7));
    assert!(!welcome.node.is_empty());
    assert_eq!(welcome.http, node.address().to_string());
    assert_eq!(welcome.nodes, [node.session_address().to_string()]);
    // Whoever says nothing of versions speaks the first one; a hello may have any number.
    let mut plain = Session::connect(node.session_address()).await?;
    plain.send(0, Kind::Hello(Hello { client_id: "plain".to_owned(), ..Hello::default() })).await?;
    assert!(matches!(plain.expect().await?, Envelope { id: 0, kind: Some(Kind::Welcome(_)) }));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_tells_what_is_there_and_what_is_not() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut session = Session::open(node.session_address(), "reader").await?;
    let never = session.get("a").await?;
    assert_eq!((never.version, never.exists, never.content.as_str(), never.md5.as_str()), (0, false, "", ""));
    let version = session.publish("a", "größer: 1\n").await?;
    let there = session.get("a").await?;
    assert_eq!((there.key, there.version, there.exists), (Some(key("a")), version, true));
    assert_eq!((there.content.as_str(), there.r#type.as_str()), ("größer: 1\n", "text"));
    assert_eq!(there.md5, Md5::of("größer: 1\n".as_bytes()).hex());
    // No namespace is the public one.
    let unnamed = Kind::Get(Get { key: Some(Key { namespace: String::new(), ..key("a") }) });
    assert!(matches!(session.ask(unnamed).await?, Kind::Config(config) if config.key == Some(key("a"))));
    for (asked, code) in [
        (get("a b"), "invalid_name"),
        (get(""), "invalid_name"),
        (Kind::Get(Get { key: None }), "invalid_parameter"),
        (Kind::Get(Get { key: Some(Key { namespace: "a/b".to_owned(), ..key("a") }) }), "invalid_name"),
    ] {
        assert_eq!(session.refused(asked).await?.code, code);
    }
    assert_eq!(session.get("a").await?.version, version, "nothing else was harmed");
    Ok(())
}

async fn page(session: &mut Session, list: List) -> Result<Page> {
    match session.ask(Kind::List(list)).await? {
        Kind::Page(page) => Ok(page),
        other => anyhow::bail!("instead of a page: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_comes_in_pages_in_the_order_of_names() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut session = Session::open(node.session_address(), "lister").await?;
    for n in (0..7).rev() {
        session.publish(&format!("db.{n}"), "12345").await?;
    }
    session.publish("web", "1").await?;
    let filter = List { group: "app".to_owned(), prefix: "db.".to_owned(), limit: 3, ..List::default() };
    let (mut names, mut sizes, mut cursor) = (Vec::new(), BTreeSet::new(), String::new());
    loop {
        let page = page(&mut session, List { cursor, ..filter.clone() }).await?;
        sizes.insert(page.items.len());
        assert!(page.items.iter().all(|item| item.size == 5 && item.version > 0 && item.r#type == "text"));
        names.extend(page.items.into_iter().map(|item| item.key.unwrap_or_default().data_id));
        cursor = page.next;
        if cursor.is_empty() {
            break;
        }
    }
    assert_eq!(names, (0..7).map(|n| format!("db.{n}")).collect::<Vec<_>>());
    assert_eq!(sizes, BTreeSet::from([1, 3]));
    assert_eq!(page(&mut session, List::default()).await?.items.len(), 8);
    assert!(page(&mut session, List { group: "nobody".to_owned(), ..List::default() }).await?.items.is_empty());
    let foreign = page(&mut session, filter.clone()).await?.next;
    for (list, code) in [
        (List { limit: 501, ..List::default() }, "invalid_parameter"),
        (List { cursor: "x".to_owned(), ..List::default() }, "invalid_cursor"),
        (List { cursor: foreign, ..List::default() }, "invalid_cursor"),
        (List { group: "a b".to_owned(), ..List::default() }, "invalid_name"),
        (List { prefix: "a b".to_owned(), ..List::default() }, "invalid_name"),
    ] {
        assert_eq!(session.refused(Kind::List(list.clone())).await?.code, code, "{list:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_by_key_and_by_prefix_begin_and_end() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut writer = Session::open(node.session_address(), "writer").await?;
    let mut watcher = Session::open(node.session_address(), "watcher").await?;
    let first = writer.publish("a", "one").await?;
    watcher.watch(watch(&["a", "not.there"])).await?;
    let push = watcher.push().await?;
    assert_eq!((subject(&push), push.version, push.content.as_deref()), ("a", first, Some("one")));
    assert!(!push.removed && !push.reset && push.md5 == Md5::of(b"one").hex() && push.r#type == "text");
    watcher.watch(watch_prefix("b.")).await?;
    for (data_id, content) in [("b.1", "x"), ("c", "unheard"), ("a", "two"), ("not.there", "born")] {
        writer.publish(data_id, content).await?;
    }
    for data_id in ["b.1", "a", "not.there"] {
        assert_eq!(subject(&watcher.push().await?), data_id);
    }
    assert!(matches!(watcher.ask(unwatch(&["a"])).await?, Kind::Unwatched(_)));
    let ended = Kind::Unwatch(Unwatch { keys: Vec::new(), prefixes: vec![prefix("b.")] });
    assert!(matches!(watcher.ask(ended).await?, Kind::Unwatched(_)));
    for data_id in ["a", "b.1", "b.2", "not.there"] {
        writer.publish(data_id, "last").await?;
    }
    assert_eq!(subject(&watcher.push().await?), "not.there");
    // What never was watched can be unwatched all the same; to watch twice is to watch once.
    assert!(matches!(watcher.ask(unwatch(&["never"])).await?, Kind::Unwatched(_)));
    watcher.watch(watch(&["not.there", "not.there"])).await?;
    writer.publish("not.there", "again").await?;
    assert_eq!(watcher.push().await?.content.as_deref(), Some("again"));
    let sentinel = writer.publish("not.there", "sentinel").await?;
    assert_eq!(watcher.push().await?.version, sentinel, "nothing came twice");
    for empty in [Kind::Watch(Watch::default()), Kind::Unwatch(Unwatch::default())] {
        assert_eq!(watcher.refused(empty).await?.code, "invalid_parameter");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_is_answered_once_and_only_what_was_pushed_counts() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut session = Session::open(node.session_address(), "watcher").await?;
    assert_eq!(session.refused(applied("a", 1)).await?.code, "not_pushed");
    session.watch(watch(&["a"])).await?;
    let version = session.publish("a", "one").await?;
    assert_eq!(session.push().await?.version, version);
    // Neither of them has an answer: the pong is the next thing that comes, also when they have a number.
    session.send(0, applied("a", version)).await?;
    session.request(applied("a", version)).await?;
    let reason = "no such option".to_owned();
    session.send(0, Kind::Rejected(Rejected { key: Some(key("a")), version, reason })).await?;
    session.send(0, applied("a", version + 1)).await?;
    session.send(0, applied("never", 1)).await?;
    assert!(matches!(session.ask(Kind::Ping(Ping { number: 5 })).await?, Kind::Pong(Pong { number: 5 })));
    assert_eq!(session.refused(applied("a", version + 1)).await?.code, "not_pushed");
    let long = Kind::Rejected(Rejected { key: Some(key("a")), version, reason: "x".repeat(1_025) });
    assert_eq!(session.refused(long).await?.code, "invalid_parameter");
    // What the session asked for counts as well.
    let other = session.publish("b", "one").await?;
    session.watch(watch(&["b"])).await?;
    assert_eq!(session.push().await?.version, other);
    session.request(applied("b", other)).await?;
    assert!(matches!(session.ask(Kind::Ping(Ping { number: 6 })).await?, Kind::Pong(Pong { number: 6 })));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn several_requests_under_way_are_answered_by_their_numbers() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut session = Session::open(node.session_address(), "hasty").await?;
    session.publish("a", "one").await?;
    let mut awaited = BTreeSet::new();
    // More than may be under way at a time: what exceeds is read later, and nothing is lost.
    for n in 0..300_u64 {
        let kind = match n % 4 {
            0 => get("a"),
            1 => Kind::Publish(callboard_integration_tests::session::publish(&format!("p{n}"), "x")),
            2 => Kind::List(List { limit: 2, ..List::default() }),
            _ => Kind::Ping(Ping { number: n }),
        };
        session.send(1_000 + n, kind).await?;
        awaited.insert(1_000 + n);
    }
    while !awaited.is_empty() {
        let Envelope { id, kind } = session.expect().await?;
        assert!(awaited.remove(&id), "{id} was answered twice, or never asked");
        let fits = match id % 4 {
            0 => matches!(kind, Some(Kind::Config(_))),
            1 => matches!(kind, Some(Kind::Published(_))),
            2 => matches!(kind, Some(Kind::Page(_))),
            _ => matches!(kind, Some(Kind::Pong(_))),
        };
        assert!(fits, "{id} was answered {kind:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_kinds_and_fields_are_no_harm() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut session = Session::open(node.session_address(), "from the future").await.err();
    assert!(session.take().is_some(), "blanks have no place in an id");
    let mut session = Session::open(node.session_address(), "from-the-future").await?;
    // Number 500, and of a kind that is number 200: a message of one unknown field.
    session.send_bytes(&[9, 0x08, 0xf4, 0x03, 0xc2, 0x0c, 0x03, 0x08, 0x96, 0x01]).await?;
    assert!(matches!(session.answer(500).await?, Kind::Error(error) if error.code == "unknown_request"));
    // A number alone is no known kind either.
    session.send_bytes(&[3, 0x08, 0xf5, 0x03]).await?;
    assert!(matches!(session.answer(501).await?, Kind::Error(error) if error.code == "unknown_request"));
    // A ping with fields that nobody knows yet, in it and beside it: 90 a number, 91 a text, 92 eight bytes.
    let unknown = [0xd0, 0x05, 0x07, 0xda, 0x05, 0x02, b'h', b'i', 0xe1, 0x05, 1, 2, 3, 4, 5, 6, 7, 8];
    let mut message = vec![0x08, 0xf6, 0x03, 0x5a, 2 + 18, 0x08, 0x2a];
    message.extend_from_slice(&unknown);
    message.extend_from_slice(&unknown);
    session.send_bytes(&[&[u8::try_from(message.len())?], &message[..]].concat()).await?;
    assert!(matches!(session.answer(502).await?, Kind::Pong(Pong { number: 42 })));
    // What only nodes say, and a second hello.
    for said in [Kind::Welcome(Default::default()), Kind::Push(Default::default()), Kind::GoAway(Default::default())] {
        assert_eq!(session.refused(said).await?.code, "unknown_request");
    }
    assert_eq!(session.refused(Kind::Hello(hello("again"))).await?.code, "unknown_request");
    assert!(matches!(session.ask(Kind::Ping(Ping { number: 1 })).await?, Kind::Pong(_)));
    unharmed(&node).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_kind_without_a_number_is_skipped() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut session = Session::open(node.session_address(), "from-the-future").await?;
    session.send_bytes(&[4, 0xc2, 0x0c, 0x01, 0x00]).await?;
    session.send_bytes(&[0]).await?;
    // An error with number 0 would end the session.
    let id = session.request(Kind::Ping(Ping { number: 1 })).await?;
    assert_eq!(session.expect().await?, Envelope { id, kind: Some(Kind::Pong(Pong { number: 1 })) });
    Ok(())
}
