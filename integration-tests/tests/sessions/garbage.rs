//! What is no conversation: every kind of garbage is told off where it can be, let go, and harms nobody else.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use callboard_integration_tests::node::{Node, NodeOptions};
use callboard_integration_tests::poll;
use callboard_integration_tests::session::{Session, applied, framed, get, hello, key, publish, watch};
use callboard_proto::session::envelope::Kind;
use callboard_proto::session::{Envelope, Held, Hello, Ping, Pong};

use super::words::{unharmed, until_ended};

/// A frame of any bytes shorter than 16 KiB.
fn frame_of(body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = [u8::try_from(length & 0x7f | 0x80).unwrap(), u8::try_from(length >> 7).unwrap()];
    [&head, body].concat()
}

/// A hello that holds so many times nothing.
fn held(many: usize) -> Vec<u8> {
    let mut hello = vec![0x12];
    let mut length = 2 * many;
    while length > 0x7f {
        hello.push(0x80 | u8::try_from(length & 0x7f).unwrap_or_default());
        length >>= 7;
    }
    hello.push(u8::try_from(length).unwrap_or_default());
    hello.extend([0x3a, 0x00].repeat(many));
    hello
}

/// Bytes, and the code that they are answered with before the connection is closed.
fn garbage() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let http = b"GET / HTTP/1.1\r\nHost: callboard.example\r\nAccept: */*\r\nUser-Agent: curl/8.5.0\r\n\r\n";
    // The beginning of a TLS 1.2 ClientHello as every client sends it.
    let tls = [0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03].into_iter().chain(0..=255).collect();
    let groups = vec![0x0b; 5_000];
    let mut cut = framed(1, get("a"));
    let last = cut.len() - 1;
    cut[last] = 0xff;
    vec![
        ("an HTTP request", http.to_vec(), "malformed_request"),
        ("a TLS hello", tls, "malformed_request"),
        (
            "SSH",
            b"\x53SSH-2.0-OpenSSH_9.6 and the rest of a banner that is long enough to make the frame whole..".to_vec(),
            "malformed_request",
        ),
        ("a length above the limit", vec![0x81, 0x80, 0x80, 0x08], "frame_too_long"),
        ("a hello that holds more than it can name", frame_of(&held(5_000)), "malformed_request"),
        ("the longest length that four bytes hold", vec![0xff, 0xff, 0xff, 0x7f], "frame_too_long"),
        ("a length without end", vec![0xff; 64], "frame_too_long"),
        ("a number that is a text", frame_of(&[0x0a, 0x02, b'h', b'i']), "malformed_request"),
        ("a message that is a number", frame_of(&[0x08, 0x01, 0x10, 0x01]), "malformed_request"),
        ("a message longer than its frame", frame_of(&[0x08, 0x01, 0x12, 0x7f, 0x00]), "malformed_request"),
        ("field zero", frame_of(&[0x00, 0x00]), "malformed_request"),
        (
            "garbage inside of a message",
            frame_of(&[0x08, 0x01, 0x12, 0x04, 0xff, 0xff, 0xff, 0xff]),
            "malformed_request",
        ),
        ("garbage inside of a key", frame_of(&[0x08, 0x01, 0x1a, 0x04, 0x0a, 0x02, 0x12, 0xff]), "malformed_request"),
        ("a name that is no UTF-8", frame_of(&[0x08, 0x01, 0x12, 0x04, 0x0a, 0x02, 0xc3, 0x28]), "malformed_request"),
        ("groups in groups", frame_of(&groups), "malformed_request"),
        ("the end of a group that has not begun", frame_of(&[0x0c]), "malformed_request"),
        ("a number of eleven bytes", frame_of(&[&[0x08], &[0xff; 11][..]].concat()), "malformed_request"),
        ("a frame that is cut in a name", cut, "malformed_request"),
    ]
}

/// Nothing of the sessions that ended is left.
async fn nobody_is_left(node: &Node) -> Result<()> {
    poll::until("no session is left", poll::SOON, async || {
        let series = "callboard_held_requests{kind=\"tcp\"}";
        let text = node.client().get_path("/metrics").send().await?.expect(200)?.text();
        Ok(text.lines().any(|line| line.strip_prefix(series).is_some_and(|value| value.trim() == "0")).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_instead_of_a_hello_is_told_off_and_let_go() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut counts = BTreeMap::new();
    // Which it may be once a hello was said.
    let too_long = ("a length above that of a hello", vec![0x81, 0x80, 0x04], "frame_too_long");
    for (what, bytes, code) in garbage().into_iter().chain([too_long]) {
        let mut session = Session::connect(node.session_address()).await?;
        session.send_bytes(&bytes).await?;
        assert_eq!(session.last_word().await.context(what)?.code, code, "{what}");
        *counts.entry(code).or_insert(0) += 1;
    }
    for (code, count) in counts {
        until_ended(&node, code, count).await?;
    }
    unharmed(&node).await?;
    nobody_is_left(&node).await
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_in_an_open_session_is_the_last_that_is_heard() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut bystander = Session::open(node.session_address(), "bystander").await?;
    bystander.watch(watch(&["a"])).await?;
    for (n, (what, bytes, code)) in garbage().into_iter().enumerate() {
        let mut session = Session::open(node.session_address(), "garbler").await?;
        session.watch(watch(&["a"])).await?;
        // In one write with a request before it, and one behind it that is never read.
        let before = framed(500, Kind::Publish(publish("a", &format!("before {n}"))));
        let behind = framed(501, Kind::Publish(publish("behind", "never")));
        session.send_bytes(&[before, bytes, behind].concat()).await?;
        let rest = session.rest().await?;
        let last = rest.last().with_context(|| format!("{what}: nothing was said"))?;
        assert!(
            matches!(last, Envelope { id: 0, kind: Some(Kind::Error(error)) } if error.code == code),
            "{what}: {rest:?}"
        );
        assert!(rest.iter().all(|envelope| envelope.id != 501), "{what}: {rest:?}");
        // What was handed over before is done, whether or not it was answered.
        assert_eq!(bystander.push().await?.content, Some(format!("before {n}")), "{what}");
    }
    assert!(!bystander.get("behind").await?.exists);
    drop(bystander);
    unharmed(&node).await?;
    nobody_is_left(&node).await
}

#[tokio::test(flavor = "multi_thread")]
async fn random_bytes_never_harm_the_node() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for n in 0..300 {
        let mut session = Session::connect(node.session_address()).await?;
        if n % 2 == 0 {
            session.greet(hello("random")).await?;
        }
        let bytes: Vec<u8> = (0..random.usize(1..2_000)).map(|_| random.u8(..)).collect();
        // The node may have had enough in the middle of it.
        drop(session.send_bytes(&bytes).await);
        drop(session.finish_sending().await);
        let rest = session.rest().await?;
        let is_said =
            |envelope: &Envelope| matches!(envelope.kind, Some(Kind::Error(_) | Kind::Ping(_) | Kind::Pong(_)));
        assert!(rest.iter().all(is_said), "{rest:?}");
    }
    unharmed(&node).await?;
    nobody_is_left(&node).await
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_with_a_bit_turned_never_harm_the_node() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let said = [framed(1, Kind::Hello(hello("turner"))), framed(2, watch(&["a"])), framed(3, get("a"))].concat();
    for bit in 0..said.len() * 8 {
        let mut turned = said.clone();
        turned[bit / 8] ^= 1 << (bit % 8);
        let mut session = Session::connect(node.session_address()).await?;
        drop(session.send_bytes(&turned).await);
        drop(session.finish_sending().await);
        session.rest().await.with_context(|| format!("bit {bit}"))?;
    }
    unharmed(&node).await?;
    nobody_is_left(&node).await
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_comes_before_hello_ends_the_session() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    for early in
        [get("a"), Kind::Ping(Ping { number: 1 }), Kind::Pong(Pong { number: 1 }), applied("a", 1), watch(&["a"])]
    {
        let mut session = Session::connect(node.session_address()).await?;
        session.send_bytes(&[framed(1, early.clone()), framed(2, Kind::Hello(hello("late")))].concat()).await?;
        let rest = session.rest().await?;
        assert!(
            matches!(&rest[..], [Envelope { id: 0, kind: Some(Kind::Error(error)) }] if error.code == "hello_expected"),
            "{early:?}: {rest:?}"
        );
    }
    for (bytes, code) in [
        (vec![0], "unknown_request"),
        (framed(1, Kind::Welcome(Default::default())), "unknown_request"),
        (framed(0, get("a")), "malformed_request"),
        (framed(1, get("a b")), "invalid_name"),
    ] {
        let mut session = Session::connect(node.session_address()).await?;
        session.send_bytes(&bytes).await?;
        assert_eq!(session.last_word().await?.code, code, "{bytes:?}");
    }
    unharmed(&node).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hello_that_breaks_a_rule_ends_the_session() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let labels = |count| (0..count).map(|n| (format!("l{n}"), "v".to_owned())).collect();
    let named = |client_id: &str| Hello { client_id: client_id.to_owned(), ..hello("x") };
    let plain = hello("x");
    let held = |data_id: &str, md5: &str| vec![Held { key: Some(key(data_id)), version: 1, md5: md5.to_owned() }];
    for (bad, code) in [
        (named(""), "invalid_parameter"),
        (named("a b"), "invalid_parameter"),
        (named("größe"), "invalid_parameter"),
        (named("a\0"), "invalid_parameter"),
        (named(&"x".repeat(129)), "invalid_parameter"),
        (Hello { labels: labels(17), ..plain.clone() }, "invalid_parameter"),
        (Hello { labels: [("l".repeat(65), String::new())].into(), ..plain.clone() }, "invalid_parameter"),
        (Hello { application: "a".repeat(1_000), ..plain.clone() }, "invalid_parameter"),
        (Hello { software: "s".repeat(129), ..plain.clone() }, "invalid_parameter"),
        (Hello { held: held("a b", ""), ..plain.clone() }, "invalid_name"),
        (Hello { held: held("a", "no digest"), ..plain.clone() }, "invalid_parameter"),
        (Hello { held: vec![Held::default()], ..plain.clone() }, "invalid_parameter"),
        (Hello { min_version: 2, max_version: 3, ..plain.clone() }, "version_unsupported"),
        (Hello { min_version: u32::MAX, max_version: u32::MAX, ..plain.clone() }, "version_unsupported"),
        (Hello { min_version: 3, max_version: 1, ..plain.clone() }, "version_unsupported"),
    ] {
        let mut session = Session::connect(node.session_address()).await?;
        session.send(1, Kind::Hello(bad.clone())).await?;
        assert_eq!(session.last_word().await?.code, code, "{bad:?}");
    }
    let most = Hello { labels: labels(16), software: "s".repeat(128), ..named(&"x".repeat(128)) };
    let mut session = Session::connect(node.session_address()).await?;
    session.greet(most).await?;
    drop(session);
    unharmed(&node).await?;
    nobody_is_left(&node).await
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_to_what_was_never_asked_are_no_harm() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut session = Session::open(node.session_address(), "babbler").await?;
    for number in [0, 1, u64::MAX] {
        session.send(0, Kind::Pong(Pong { number })).await?;
        session.send(u64::MAX, Kind::Pong(Pong { number })).await?;
        session.send(0, applied("never", number)).await?;
        session.send(0, applied("a b", number)).await?;
        session.send(0, Kind::Hello(hello("again"))).await?;
    }
    session.send(u64::MAX, get("a")).await?;
    assert!(matches!(session.answer(u64::MAX).await?, Kind::Config(config) if !config.exists));
    // Two requests of one number are two requests.
    session.send_bytes(&[framed(9, get("a")), framed(9, get("a"))].concat()).await?;
    for _ in 0..2 {
        assert!(matches!(session.expect().await?, Envelope { id: 9, kind: Some(Kind::Config(_)) }));
    }
    assert_eq!(session.next(Duration::from_millis(50)).await?, None);
    unharmed(&node).await
}

/// What the node has in memory, in KiB.
fn resident(node: &Node) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid()?))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("Linux tells it")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_alone_costs_nothing() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let before = resident(&node)?;
    let mut waiting = Vec::new();
    for _ in 0..100 {
        let mut session = Session::connect(node.session_address()).await?;
        session.send_bytes(&[0x80, 0x80, 0x80, 0x08, 0x08]).await?;
        waiting.push(session);
    }
    unharmed(&node).await?;
    let grown = resident(&node)?.saturating_sub(before);
    assert!(grown < 64 * 1024, "100 announcements of 16 MiB took {grown} KiB");
    Ok(())
}
