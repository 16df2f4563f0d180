//! Every state of every connection ends in its time: the table in `docs/operations.md` is walked, and each of its rows
//! is brought about. A row without a way to bring it about fails, and so does a way without a row.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use callboard_integration_tests::grpc::{Connection as Grpc, Sdk};
use callboard_integration_tests::node::{Node, NodeOptions};
use callboard_integration_tests::poll;
use callboard_integration_tests::session::{framed, get, hello};
use callboard_integration_tests::siege::http2::{self, DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, STREAM, UNARY};
use callboard_integration_tests::tls::Authority;
use callboard_proto::session::envelope::Kind;
use callboard_protocol::key::ConfigKey;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

/// What the settings of the table are for this test. None is another one, so that the right one is seen to act.
const SETTINGS: [(&str, u64); 8] = [
    ("tls.handshake_timeout", 600),
    ("http.read_timeout", 700),
    ("http.body_timeout", 800),
    ("http.write_timeout", 900),
    ("http.idle_timeout", 1_000),
    ("session.hello_timeout", 1_100),
    ("session.idle_timeout", 1_800),
    ("session.write_timeout", 1_300),
];
/// How much longer than its setting a state may last on a busy machine.
const SLACK: Duration = Duration::from_secs(5);
/// The state that is the same at each door.
const TLS: &str = "handshake of TLS";
/// A content of which no socket takes all.
const LONG: usize = 8 * 1024 * 1024;

/// A row of the table: the door, the state, and the setting that ends it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    door: String,
    state: String,
    setting: String,
}

/// The rows of the table under the heading *Time-outs*.
fn table() -> Result<Vec<Row>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let text = std::fs::read_to_string(file)?;
    let section = text.split("\n## ").find(|section| section.starts_with("Time-outs")).context("no such heading")?;
    let mut rows = Vec::new();
    for line in section.lines().filter(|line| line.starts_with('|')).skip(2) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, door, state, setting, ..] = cells[..] else { bail!("not a row: {line}") };
        let setting = setting.trim_matches('`').to_owned();
        rows.push(Row { door: door.to_owned(), state: state.to_owned(), setting });
    }
    Ok(rows)
}

/// Nodes to try it on: one without TLS and one with.
struct Nodes {
    clear: Node,
    tls: Node,
    _authority: Authority,
}

impl Nodes {
    async fn start() -> Result<Self> {
        let with = |mut options: NodeOptions| {
            for (setting, millis) in SETTINGS {
                options = options.flag(&setting.replace(['.', '_'], "-"), &format!("{millis}ms"));
            }
            options
        };
        let authority = Authority::make().await?;
        let clear = Node::start(with(NodeOptions::new())).await?;
        let long = ConfigKey::new("public", "app", "long")?;
        clear.client().put(&long, "x".repeat(LONG)).send().await?.expect(201)?;
        Ok(Self { clear, tls: Node::start(with(authority.node())).await?, _authority: authority })
    }
}

/// A connection that takes little of what it is sent.
async fn connect(address: SocketAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4 * 1024)?;
    Ok(socket.connect(address).await?)
}

/// Reads up to the end of a connection, which has to come.
async fn until_end(mut stream: TcpStream) -> Result<Vec<u8>> {
    let mut rest = Vec::new();
    // A reset is an end, too.
    drop(timeout(poll::SOON, stream.read_to_end(&mut rest)).await.context("the connection stays open")?);
    Ok(rest)
}

/// Waits until the node has ended a connection on which it has much to say: it writes no more of it.
async fn until_cut(mut stream: TcpStream, limit: Duration) -> Result<()> {
    tokio::time::sleep(limit + SLACK).await;
    let mut taken = vec![0; LONG * 2];
    let mut count = 0;
    while let Ok(read @ 1..) = stream.read(&mut taken[count..]).await {
        count += read;
    }
    ensure!(count < LONG, "all of it came: nobody ended the connection");
    Ok(())
}

/// A head of a request that opens a WebSocket.
const UPGRADE: &[u8] = b"GET /api/v1/session HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// A text frame of a client, under a mask of nothing.
fn text(message: &str) -> Vec<u8> {
    let length = u8::try_from(message.len()).unwrap();
    assert!(length < 126);
    [&[0x81, 0x80 | length, 0, 0, 0, 0], message.as_bytes()].concat()
}

/// A call of gRPC on this stream; one that is not whole lacks the last bytes of its message.
fn call(stream: u32, path: &str, class: &str, is_whole: bool) -> Vec<u8> {
    let head = http2::frame(HEADERS, END_HEADERS, stream, &http2::fields(path, false));
    let message = http2::message(false, &http2::payload(class, None, b"{}"));
    let body = if is_whole { &message[..] } else { &message[..message.len() - 1] };
    // The stream over which a client hears stays open.
    let flags = if is_whole && path == UNARY { END_STREAM } else { 0 };
    [head, http2::frame(DATA, flags, stream, body)].concat()
}

/// Waits for the answer to the first call.
async fn until_answered(stream: &mut TcpStream) -> Result<()> {
    loop {
        let mut head = [0; 9];
        timeout(poll::SOON, stream.read_exact(&mut head)).await.context("no answer came")??;
        let [a, b, c, kind, _, rest @ ..] = head;
        let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, a, b, c]))?];
        stream.read_exact(&mut payload).await?;
        if kind == HEADERS && rest == [0, 0, 0, 1] {
            return Ok(());
        }
    }
}

/// Asks again and again whether the connection is in order, until it has ended.
async fn until_deaf(mut stream: TcpStream) -> Result<()> {
    let asking = async {
        for number in (5..).step_by(2) {
            let asked = stream.write_all(&call(number, UNARY, "HealthCheckRequest", true)).await;
            let taking = async {
                let mut taken = [0; 4096];
                while stream.read(&mut taken).await.is_ok_and(|count| count > 0) {}
            };
            // Until the next question, or the end.
            let has_ended = timeout(Duration::from_millis(300), taking).await.is_ok();
            if asked.is_err() || has_ended {
                return;
            }
        }
    };
    timeout(poll::SOON, asking).await.context("the connection stays open")
}

/// Brings a state about, and waits for its end.
async fn bring_about(nodes: &Nodes, door: &str, state: &str, limit: Duration) -> Result<()> {
    let node = if state == TLS { &nodes.tls } else { &nodes.clear };
    let address = match door {
        "TCP" => node.session_address(),
        "gRPC" => node.grpc_address(),
        _ => node.address(),
    };
    let mut stream = connect(address).await?;
    match door {
        _ if state == TLS => {
            // The beginning of a hello.
            stream.write_all(&[0x16, 0x03, 0x01, 0x02]).await?;
            until_end(stream).await.map(drop)
        }
        "HTTP" => over_http(stream, state, limit).await,
        "TCP" => over_tcp(stream, state, limit).await,
        "WebSocket" => over_websocket(stream, state, limit).await,
        "gRPC" => over_grpc(stream, state).await,
        _ => bail!("nobody knows this door"),
    }
}

async fn over_http(mut stream: TcpStream, state: &str, limit: Duration) -> Result<()> {
    match state {
        "head of the first request" => {
            stream.write_all(b"GET /healthz HT").await?;
            ensure!(String::from_utf8_lossy(&until_end(stream).await?).contains(" 408 "), "not told why");
        }
        "head of a later request" => {
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /healthz HT").await?;
            until_end(stream).await?;
        }
        "body" => {
            let head = "PUT /api/v1/namespaces/public/groups/app/configs/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx";
            stream.write_all(head.as_bytes()).await?;
            ensure!(String::from_utf8_lossy(&until_end(stream).await?).contains(" 408 "), "not told why");
        }
        "answer" => {
            let head = "GET /api/v1/namespaces/public/groups/app/configs/long HTTP/1.1\r\nHost: localhost\r\n\r\n";
            stream.write_all(head.as_bytes()).await?;
            until_cut(stream, limit).await?;
        }
        "between requests" => {
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
            ensure!(String::from_utf8_lossy(&until_end(stream).await?).contains(" 200 "), "not answered");
        }
        _ => bail!("nobody knows how to bring it about"),
    }
    Ok(())
}

async fn over_tcp(mut stream: TcpStream, state: &str, limit: Duration) -> Result<()> {
    match state {
        "before hello" => {
            until_end(stream).await?;
        }
        "silence" => {
            stream.write_all(&framed(1, Kind::Hello(hello("silent")))).await?;
            until_end(stream).await?;
        }
        "message" => {
            stream.write_all(&framed(1, Kind::Hello(hello("halfway")))).await?;
            let message = framed(2, get("a"));
            stream.write_all(&message[..message.len() - 1]).await?;
            until_end(stream).await?;
        }
        "answer" => {
            stream.write_all(&framed(1, Kind::Hello(hello("deaf")))).await?;
            stream.write_all(&framed(2, get("long"))).await?;
            until_cut(stream, limit).await?;
        }
        _ => bail!("nobody knows how to bring it about"),
    }
    Ok(())
}

async fn over_websocket(mut stream: TcpStream, state: &str, limit: Duration) -> Result<()> {
    match state {
        "before hello" => {
            stream.write_all(UPGRADE).await?;
            until_end(stream).await?;
        }
        "silence" => {
            stream.write_all(&[UPGRADE, &text(r#"{"id":1,"hello":{"clientId":"w"}}"#)].concat()).await?;
            until_end(stream).await?;
        }
        "answer" => {
            let asked = text(r#"{"id":2,"get":{"key":{"group":"app","dataId":"long"}}}"#);
            stream.write_all(&[UPGRADE, &text(r#"{"id":1,"hello":{"clientId":"w"}}"#), &asked].concat()).await?;
            until_cut(stream, limit).await?;
        }
        _ => bail!("nobody knows how to bring it about"),
    }
    Ok(())
}

async fn over_grpc(mut stream: TcpStream, state: &str) -> Result<()> {
    let grpc = stream.peer_addr()?;
    match state {
        "before the set-up" => {
            let mut connection = Grpc::open(grpc).await?;
            drop(connection.check().await?);
            connection.open_stream().await?;
            connection.ended(poll::SOON).await?;
        }
        "before the first request" => {
            stream.write_all(&PREFACE[..20]).await?;
            until_end(stream).await?;
        }
        "body" => {
            let begin = [PREFACE, &http2::settings(u16::MAX.into())].concat();
            stream.write_all(&[begin, call(1, UNARY, "ServerCheckRequest", false)].concat()).await?;
            until_answered(&mut stream).await?;
        }
        "answer" => {
            let setup = call(3, STREAM, "ConnectionSetupRequest", true);
            let begin = [PREFACE, &http2::settings(0), &setup].concat();
            stream.write_all(&begin).await?;
            until_deaf(stream).await?;
        }
        "silence" => {
            let mut connection = Grpc::of(Sdk::Java, grpc).await?;
            drop(connection.next().await?);
            connection.ended(poll::SOON).await?;
        }
        _ => bail!("nobody knows how to bring it about"),
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_state_of_every_connection_ends_in_its_time() -> Result<()> {
    let (rows, nodes) = (table()?, Nodes::start().await?);
    let known: BTreeSet<&Row> = rows.iter().collect();
    assert!(known.len() == rows.len() && rows.len() >= 18, "{rows:?}");
    let nodes = &nodes;
    let all = rows.iter().map(|row| async move {
        let (_, millis) = SETTINGS
            .into_iter()
            .find(|(setting, _)| *setting == row.setting)
            .with_context(|| format!("{} is no setting of this test", row.setting))?;
        let (limit, begun) = (Duration::from_millis(millis), Instant::now());
        bring_about(nodes, &row.door, &row.state, limit).await.with_context(|| format!("{row:?}"))?;
        let took = begun.elapsed();
        ensure!(took >= limit / 2, "{row:?}: ended after {took:?}, before its time");
        Ok(())
    });
    let outcomes = futures_util::future::join_all(all).await;
    let failed: Vec<String> =
        outcomes.into_iter().filter_map(|outcome| Some(format!("{:#}", outcome.err()?))).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}
