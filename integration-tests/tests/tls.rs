//! TLS on every door of a real node: who is let in, what a node without good files says, and that a new certificate
//! disturbs nobody.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use callboard_client::{Client as SessionClient, Options, Publish, Tls};
use callboard_integration_tests::client::Client;
use callboard_integration_tests::cluster::{Cluster, Wiring};
use callboard_integration_tests::database_server::{DatabaseServer, Engine, can_start};
use callboard_integration_tests::grpc::{Connection, Sdk, md5};
use callboard_integration_tests::metrics::{sum, until_held};
use callboard_integration_tests::node::{Node, NodeOptions, run_to_end};
use callboard_integration_tests::raw;
use callboard_integration_tests::session::{Session, framed, hello};
use callboard_integration_tests::tls::{Authority, HOST, client, connect};
use callboard_integration_tests::{poll, tls};
use callboard_proto::session::Hello;
use callboard_proto::session::envelope::Kind;
use futures_util::future::try_join_all;
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

const CONFIG: &str = "/api/v1/namespaces/public/groups/G/configs/a";

fn session(node: &Node, tls: Option<Tls>) -> Result<SessionClient> {
    let mut options = Options::new([format!("{HOST}:{}", node.session_address().port())]);
    options.tls = tls;
    options.request_timeout = poll::SOON;
    Ok(SessionClient::connect(options)?)
}

async fn over_grpc(node: &Node, tls: &Tls) -> Result<Connection> {
    Connection::over(connect(node.grpc_address(), tls, &[b"h2"]).await?).await?.begin(Sdk::Java).await
}

/// Publishes and reads over every door.
async fn every_door(http: &Client, session: &SessionClient, mut grpc: Connection) -> Result<()> {
    let content = uuid::Uuid::new_v4().to_string();
    http.request(Method::PUT, CONFIG).body(content.clone()).send().await?;
    assert_eq!(http.get_path(CONFIG).send().await?.expect(200)?.text(), content);
    let key = session.key("G", "a");
    assert_eq!(session.get(&key).await?.content.as_deref(), Some(content.as_str()));
    session.publish(Publish::new(&key, format!("{content}!"))).await?;
    assert_eq!(grpc.query("a").await?.body["content"], format!("{content}!"));
    Ok(())
}

async fn figure(client: &Client, name: &str) -> Result<f64> {
    let text = client.get_path("/metrics").send().await?.expect(200)?.text();
    let line = text.lines().find(|line| line.starts_with(name));
    Ok(line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_door_takes_tls_and_clear_text_too_where_it_is_optional() -> Result<()> {
    let authority = Authority::make().await?;
    let node = Node::start(authority.node().flag("tls-mode", "optional")).await?;
    let trusted = authority.trusted(None)?;
    let encrypted = client(&node, &trusted)?;
    every_door(&encrypted, &session(&node, Some(trusted.clone()))?, over_grpc(&node, &trusted).await?).await?;
    let plain = Connection::of(Sdk::Go, node.grpc_address()).await?;
    every_door(&node.client(), &session(&node, None)?, plain).await?;
    // The first byte of this hello is that of a handshake of TLS, too.
    let named =
        |length: usize| Hello { client_id: "x".repeat(length), min_version: 1, max_version: 1, ..Hello::default() };
    let begins_alike = |hello: &Hello| framed(1, Kind::Hello(hello.clone())).first() == Some(&0x16);
    let hello = (1..20).map(named).find(begins_alike).context("a hello of 22 bytes")?;
    Session::connect(node.session_address()).await?.greet(hello).await?;
    // A client that offers other protocols than the door's is refused; one that offers none is let in.
    assert!(connect(node.grpc_address(), &trusted, &[b"http/1.1"]).await.is_err());
    drop(connect(node.grpc_address(), &trusted, &[]).await?);
    assert_eq!(figure(&encrypted, r#"callboard_tls_refused_total{door="grpc",reason="protocol"}"#).await?, 1.0);
    let expires = figure(&encrypted, "callboard_tls_certificate_expires_seconds").await?;
    assert!(expires > 1.7e9, "{expires}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn clear_text_is_refused_in_the_words_of_the_door_where_tls_is_required() -> Result<()> {
    let authority = Authority::make().await?;
    let node = Node::start(authority.node()).await?;
    let trusted = authority.trusted(None)?;
    let refused = node.client().get_path("/healthz").send().await?.expect(400)?;
    assert_eq!(refused.json()?["code"], "malformed_request");
    assert!(refused.text().contains("use https://"), "{}", refused.text());
    let mut plain = raw::Connection::open(node.session_address()).await?;
    plain.send(&framed(1, Kind::Hello(hello("a")))).await?;
    assert!(plain.rest().await?.ends_with("this port takes TLS alone"));
    let mut plain = raw::Connection::open(node.grpc_address()).await?;
    plain.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await?;
    assert!(plain.rest().await?.ends_with("\x0cthis port takes TLS alone"));
    let encrypted = client(&node, &trusted)?;
    every_door(&encrypted, &session(&node, Some(trusted.clone()))?, over_grpc(&node, &trusted).await?).await?;
    for door in ["http", "tcp", "grpc"] {
        let name = format!(r#"callboard_tls_refused_total{{door="{door}",reason="plaintext"}}"#);
        poll::until("it is counted", poll::SOON, async || Ok((figure(&encrypted, &name).await? == 1.0).then_some(())))
            .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_door_may_have_another_mode_than_the_others() -> Result<()> {
    let authority = Authority::make().await?;
    let node = Node::start(authority.node().flag("tls-doors", "grpc=optional,tcp=off")).await?;
    node.client().get_path("/healthz").send().await?.expect(400)?;
    drop(Connection::of(Sdk::Go, node.grpc_address()).await?);
    drop(Session::open(node.session_address(), "a").await?);
    assert!(connect(node.session_address(), &authority.trusted(None)?, &[]).await.is_err());
    Ok(())
}

/// Whether the node lets a client in that shows this. Under TLS 1.3 a client learns that only once it reads.
async fn lets_in(address: SocketAddr, tls: &Tls) -> bool {
    let asked = async {
        let mut stream = connect(address, tls, &[]).await?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        anyhow::Ok(answer.starts_with(b"HTTP/1.1 200"))
    };
    timeout(poll::SOON, asked).await.is_ok_and(|answered| answered.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn where_tls_is_mutual_a_client_shows_a_certificate_of_the_right_authority() -> Result<()> {
    let (authority, other) = (Authority::make().await?, Authority::make().await?);
    authority.sign(&["--client", "ann"]).await?;
    other.sign(&["--client", "bob"]).await?;
    let trusts = |user: &str| {
        let read = |name: String| fs::read(other.file(&name)).unwrap();
        let ca = fs::read(authority.file("ca.pem")).unwrap();
        Tls::new(Some(&ca), Some((&read(format!("{user}.pem")), &read(format!("{user}-key.pem"))))).unwrap()
    };
    let (none, good, wrong) = (authority.trusted(None)?, authority.trusted(Some("ann"))?, trusts("bob"));
    let setup = || authority.node().flag("tls-client-ca", &authority.path("ca.pem"));
    let node = Node::start(setup()).await?;
    let let_in = [&none, &good, &wrong].map(|tls| lets_in(node.address(), tls));
    assert_eq!(futures_util::future::join_all(let_in).await, [false, true, false]);
    every_door(&client(&node, &good)?, &session(&node, Some(good.clone()))?, over_grpc(&node, &good).await?).await?;
    let refused = r#"callboard_tls_refused_total{door="http",reason="certificate"}"#;
    assert_eq!(figure(&client(&node, &good)?, refused).await?, 2.0);
    let node = Node::start(setup().flag("tls-client-certificates", "optional")).await?;
    let let_in = [&none, &good, &wrong].map(|tls| lets_in(node.address(), tls));
    assert_eq!(futures_util::future::join_all(let_in).await, [true, true, false]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_with_files_that_cannot_be_used_is_refused_by_their_name() -> Result<()> {
    let (authority, other) = (Authority::make().await?, Authority::make().await?);
    let certificate = authority.path("localhost.pem");
    let mixed =
        NodeOptions::new().flag("tls-certificate", &certificate).flag("tls-key", &other.path("localhost-key.pem"));
    let missing = NodeOptions::new().flag("tls-certificate", "/nowhere/c.pem").flag("tls-key", "/nowhere/k.pem");
    let alone = NodeOptions::new().flag("tls-certificate", &certificate);
    for (setup, says) in [(mixed, "is not that of"), (missing, "cannot read /nowhere/c.pem"), (alone, "tls.key")] {
        let refusal = Node::start_or_refuse(setup, poll::SOON).await?.context("the node starts")?;
        assert!(refusal.contains(says), "{refusal}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_says_nothing_or_dawdles_in_the_handshake_is_cut() -> Result<()> {
    let authority = Authority::make().await?;
    let node = Node::start(authority.node()).await?;
    let begun = Instant::now();
    let mut cut = Vec::new();
    for address in [node.address(), node.session_address(), node.grpc_address()] {
        for said in [&b""[..], b"\x16\x03\x01\x02"] {
            let mut socket = TcpStream::connect(address).await?;
            socket.write_all(said).await?;
            cut.push(tokio::spawn(async move { socket.read(&mut [0; 64]).await }));
        }
    }
    for cut in cut {
        let read = timeout(poll::SOON, cut).await.context("it is not cut")??;
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    }
    assert!(begun.elapsed() >= Duration::from_secs(9), "{:?}", begun.elapsed());
    let http = client(&node, &authority.trusted(None)?)?;
    assert_eq!(figure(&http, r#"callboard_tls_refused_total{door="tcp",reason="late"}"#).await?, 2.0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_before_1_2_are_refused() -> Result<()> {
    let authority = Authority::make().await?;
    let node = Node::start(authority.node()).await?;
    // A client's hello of TLS 1.1 (RFC 4346, section 7.4.1.2), with two suites and nothing more.
    let mut hello = vec![0x03, 0x02];
    hello.extend([7; 32]);
    hello.extend([0, 0, 4, 0xc0, 0x13, 0x00, 0x2f, 1, 0]);
    let length = u8::try_from(hello.len())?;
    let mut socket = TcpStream::connect(node.address()).await?;
    socket.write_all(&[0x16, 0x03, 0x01, 0, length + 4, 1, 0, 0, length]).await?;
    socket.write_all(&hello).await?;
    let mut answer = Vec::new();
    timeout(poll::SOON, socket.read_to_end(&mut answer)).await??;
    // A fatal alert: handshake_failure, for 1.1 has no signature algorithms to agree on, or protocol_version.
    assert!(matches!(answer.get(5..), Some([2, 40 | 70])), "{answer:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_request_ends_when_its_client_closes_over_tls() -> Result<()> {
    let authority = Authority::make().await?;
    let node = Node::start(authority.node()).await?;
    let trusted = authority.trusted(None)?;
    let http = client(&node, &trusted)?;
    http.request(Method::PUT, CONFIG).body("x").send().await?.expect(201)?;
    let mut waiting = connect(node.address(), &trusted, &[b"http/1.1"]).await?;
    let wait = format!("GET {CONFIG}?wait=60s HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: \"v1\"\r\n\r\n");
    waiting.write_all(wait.as_bytes()).await?;
    until_held(&http, 1).await?;
    waiting.shutdown().await?;
    poll::until("nothing is held", poll::SOON, async || {
        let text = http.get_path("/metrics").send().await?.expect(200)?.text();
        Ok((sum(&text, "callboard_held_requests") == 0.0).then_some(()))
    })
    .await?;
    // The end of what it sends does not take the answer away from a client that is not held.
    let mut half = connect(node.address(), &trusted, &[]).await?;
    half.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    half.shutdown().await?;
    let mut answer = Vec::new();
    timeout(poll::SOON, half.read_to_end(&mut answer)).await??;
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    Ok(())
}

/// What a node holds open while its certificate is exchanged.
struct Open {
    http: Client,
    session: SessionClient,
    grpc: Connection,
}

/// The certificate that a new connection is shown.
async fn shown(address: SocketAddr, tls: &Tls) -> Result<Vec<u8>> {
    let stream = connect(address, tls, &[]).await?;
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).context("none was shown")?;
    Ok(shown.to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_shown_to_new_connections_and_disturbs_nobody() -> Result<()> {
    let authority = Authority::make().await?;
    authority.sign(&["--name", "127.0.0.1", "--name", HOST]).await?;
    let node = Node::start(authority.node().flag("tls-reload-interval", "100ms")).await?;
    let trusted = authority.trusted(None)?;
    let mut open = Open {
        http: client(&node, &trusted)?,
        session: session(&node, Some(trusted.clone()))?,
        grpc: over_grpc(&node, &trusted).await?,
    };
    open.http.request(Method::PUT, CONFIG).body("old").send().await?.expect(201)?;
    let key = open.session.key("G", "a");
    let mut watch = open.session.watch(&key);
    assert_eq!(watch.next().await.context("the first state")?.config.content.as_deref(), Some("old"));
    open.grpc.listen(&[("a", &md5("old"))], &json!("")).await?;
    let waiting = open.http.get_path(&format!("{CONFIG}?wait=60s")).header("If-None-Match", "\"v1\"");
    let waiting = tokio::spawn(waiting.send());
    until_held(&open.http, 1).await?;
    let (reads, is_over) = (open.http.clone(), Arc::new(AtomicBool::new(false)));
    let load = tokio::spawn({
        let is_over = Arc::clone(&is_over);
        async move {
            while !is_over.load(Ordering::Acquire) {
                reads.get_path(CONFIG).send().await?.expect(200)?;
            }
            anyhow::Ok(())
        }
    });
    // As an administrator does it who is not careful: one file after the other, and a wrong one in between.
    let (old, new) = (authority.certificate("localhost.pem")?, authority.certificate("127.0.0.1.pem")?);
    assert_eq!(shown(node.address(), &trusted).await?, old.to_vec());
    fs::write(authority.file("localhost-key.pem"), "nothing")?;
    let refused = r#"callboard_tls_reloads_total{outcome="refused"}"#;
    poll::until("the wrong file is seen", poll::SOON, async || {
        Ok((figure(&open.http, refused).await? >= 1.0).then_some(()))
    })
    .await?;
    assert_eq!(shown(node.address(), &trusted).await?, old.to_vec());
    fs::copy(authority.file("127.0.0.1-key.pem"), authority.file("localhost-key.pem"))?;
    fs::copy(authority.file("127.0.0.1.pem"), authority.file("localhost.pem"))?;
    for address in [node.address(), node.session_address(), node.grpc_address()] {
        poll::until("the new certificate is shown", poll::SOON, async || {
            Ok((shown(address, &trusted).await? == new.to_vec()).then_some(()))
        })
        .await?;
    }
    is_over.store(true, Ordering::Release);
    load.await??;
    let number = open.grpc.check().await?;
    open.http.request(Method::PUT, CONFIG).body("new").send().await?.expect(200)?;
    assert_eq!(waiting.await??.expect(200)?.text(), "new");
    assert_eq!(watch.next().await.context("the change")?.config.content.as_deref(), Some("new"));
    open.grpc.noticed(Sdk::Java, "a").await?;
    assert_eq!(open.grpc.check().await?, number, "the connection is another one");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_ask_over_tls() -> Result<()> {
    let authority = Authority::make().await?;
    authority.sign(&["--client", "ann"]).await?;
    let node = Node::start(authority.node().flag("tls-client-ca", &authority.path("ca.pem"))).await?;
    let trusted = authority.trusted(Some("ann"))?;
    let put = tls::client(&node, &trusted)?.request(Method::PUT, CONFIG).body("x");
    put.send().await?.expect(201)?;
    let nodes = format!("callboards://{HOST}:{}", node.session_address().port());
    let (ca, certificate, key) = (authority.path("ca.pem"), authority.path("ann.pem"), authority.path("ann-key.pem"));
    let by = ["--nodes", &nodes, "--ca", &ca, "--client-certificate", &certificate, "--client-key", &key];
    let got = run_to_end(&[&["get", "a", "-g", "G"], &by[..]].concat(), &[]).await?;
    assert_eq!(String::from_utf8_lossy(&got.stdout), "x", "{}", String::from_utf8_lossy(&got.stderr));
    // These ask over the REST interface.
    let listed = run_to_end(&[&["nodes", "--output", "json"], &by[..]].concat(), &[]).await?;
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let distrusted = run_to_end(&["get", "a", "--nodes", &nodes, "--timeout", "2s"], &[]).await?;
    assert_eq!(distrusted.status.code(), Some(1), "{}", String::from_utf8_lossy(&distrusted.stderr));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_session_goes_over_tls() -> Result<()> {
    let authority = Authority::make().await?;
    let node = Node::start(authority.node()).await?;
    let mut stream = connect(node.address(), &authority.trusted(None)?, &[b"http/1.1"]).await?;
    let upgrade = format!(
        "GET /api/v1/session HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    // A whole text, masked with zeros, which change nothing.
    let hello = br#"{"id":1,"hello":{"clientId":"c"}}"#;
    let frame = [&[0x81, 0x80 | hello.len() as u8, 0, 0, 0, 0][..], hello].concat();
    stream.write_all(&[upgrade.as_bytes(), &frame].concat()).await?;
    let mut told = Vec::new();
    let welcome = async {
        while !String::from_utf8_lossy(&told).contains("welcome") {
            anyhow::ensure!(stream.read_buf(&mut told).await? > 0, "{}", told.escape_ascii());
        }
        Ok(())
    };
    timeout(poll::SOON, welcome).await??;
    assert!(told.starts_with(b"HTTP/1.1 101"), "{}", told.escape_ascii());
    Ok(())
}

/// Publishes over HTTP and reads on one connection over gRPC until it is over. Nothing may fail.
async fn undisturbed(node: &Node, tls: &Tls, is_over: &AtomicBool) -> Result<usize> {
    let (http, mut grpc) = (client(node, tls)?, over_grpc(node, tls).await?);
    let mut turns = 0;
    while !is_over.load(Ordering::Acquire) {
        http.request(Method::PUT, CONFIG).body(turns.to_string()).send().await?;
        anyhow::ensure!(grpc.query("a").await?.is_good(), "a read over gRPC failed");
        turns += 1;
    }
    Ok(turns)
}

#[tokio::test(flavor = "multi_thread")]
async fn new_certificates_on_three_nodes_disturb_nobody() -> Result<()> {
    if !can_start(Engine::Postgres)? {
        return Ok(());
    }
    let authority = Authority::make().await?;
    authority.sign(&["--name", "127.0.0.1", "--name", HOST]).await?;
    let server = DatabaseServer::start(Engine::Postgres).await?;
    // The cluster is watched in clear text.
    let options = authority.node().flag("tls-mode", "optional").flag("tls-reload-interval", "100ms");
    let cluster = Cluster::start(&server, 3, Wiring::Direct, options).await?;
    let (trusted, is_over) = (authority.trusted(None)?, AtomicBool::new(false));
    let nodes: Vec<&Node> = cluster.members().map(|member| &member.node).collect();
    client(nodes[0], &trusted)?.request(Method::PUT, CONFIG).body("first").send().await?.expect(201)?;
    let new = authority.certificate("127.0.0.1.pem")?;
    fs::copy(authority.file("127.0.0.1-key.pem"), authority.file("localhost-key.pem"))?;
    fs::copy(authority.file("127.0.0.1.pem"), authority.file("localhost.pem"))?;
    let changed = async {
        for node in &nodes {
            for address in [node.address(), node.session_address(), node.grpc_address()] {
                poll::until("the new certificate is shown", poll::SOON, async || {
                    Ok((shown(address, &trusted).await? == new.to_vec()).then_some(()))
                })
                .await?;
            }
        }
        is_over.store(true, Ordering::Release);
        anyhow::Ok(())
    };
    let load = try_join_all(nodes.iter().map(|node| undisturbed(node, &trusted, &is_over)));
    let (turns, ()) = tokio::try_join!(load, changed)?;
    assert!(turns.iter().all(|turns| *turns > 0), "there was no load: {turns:?}");
    Ok(())
}
