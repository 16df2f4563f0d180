//! Native sessions as attackers have them, over TCP and WebSocket: the beginning, and the bytes of messages of any
//! size. Owns nothing; reads no more than what tells that a session is open.

use std::io;

use bytes::BytesMut;
use callboard_proto::frame;
use callboard_proto::session::envelope::Kind;
use callboard_proto::session::{Get, Key, Publish};
use serde_json::json;
use tokio::io::AsyncReadExt as _;

use super::target::{Door, Line, Target};
use crate::session::{framed, hello};

/// The group of all configurations of a siege.
pub(super) const GROUP: &str = "siege";

/// Beginning of a frame of WebSocket that is a whole text.
const TEXT: u8 = 0x81;

/// The key of a configuration.
pub(super) fn key(data_id: &str) -> Key {
    Key { namespace: "public".to_owned(), group: GROUP.to_owned(), data_id: data_id.to_owned() }
}

/// The frame of a question.
pub(super) fn get(id: u64, data_id: &str) -> Vec<u8> {
    framed(id, Kind::Get(Get { key: Some(key(data_id)) }))
}

/// The frame of a publish.
pub(super) fn publish(id: u64, data_id: &str, content: String) -> Vec<u8> {
    framed(id, Kind::Publish(Publish { key: Some(key(data_id)), content, ..Publish::default() }))
}

/// Opens a session over TCP.
pub(super) async fn open(target: &Target, attacker: usize) -> anyhow::Result<Line> {
    let mut line = target.connect_narrow(Door::Native).await?;
    let mut hello = hello(&format!("siege-{attacker}"));
    hello.credentials = target.token_of(attacker).map(|token| format!("Bearer {token}")).unwrap_or_default();
    line.send(&framed(1, Kind::Hello(hello))).await?;
    let mut bytes = BytesMut::new();
    loop {
        if let Some(first) = frame::split(&mut bytes, callboard_proto::MAX_FRAME)? {
            let first = frame::decode(first)?.kind;
            anyhow::ensure!(matches!(first, Some(Kind::Welcome(_))), "not welcomed");
            return Ok(line);
        }
        anyhow::ensure!(line.read_buf(&mut bytes).await? > 0, "the node closed the connection");
    }
}

/// Opens a WebSocket and says nothing over it.
pub(super) async fn socket(target: &Target, attacker: usize) -> anyhow::Result<Line> {
    let mut line = target.connect_narrow(Door::Http).await?;
    let head = target.head(attacker, "GET /api/v1/session");
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                   Sec-WebSocket-Version: 13\r\n\r\n";
    line.send(format!("{head}{upgrade}").as_bytes()).await?;
    // The node says nothing first: behind the head comes nothing.
    let (status, ..) = line.answer_head().await?;
    anyhow::ensure!(status == 101, "no WebSocket: {status}");
    Ok(line)
}

/// Opens a session over WebSocket.
pub(super) async fn open_socket(target: &Target, attacker: usize) -> anyhow::Result<Line> {
    let mut line = socket(target, attacker).await?;
    let hello = json!({"id": 1, "hello": {"clientId": format!("siege-socket-{attacker}"), "maxVersion": 1}});
    line.send(&text(hello.to_string().as_bytes())).await?;
    let heard = message(&mut line).await?;
    anyhow::ensure!(heard.windows(9).any(|word| word == b"\"welcome\""), "not welcomed");
    Ok(line)
}

/// A text of WebSocket. Its mask is zero, so that it stands there as it is.
pub(super) fn text(text: &[u8]) -> Vec<u8> {
    let mut frame = text_head(text.len());
    frame.extend_from_slice(text);
    frame
}

/// What stands in front of a text of so many bytes.
pub(super) fn text_head(length: usize) -> Vec<u8> {
    let mut head = vec![TEXT];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) if short < 126 => head.push(0x80 | short),
        (_, Ok(length)) => {
            head.push(0x80 | 126);
            head.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            head.push(0x80 | 127);
            head.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    head.extend_from_slice(&[0; 4]);
    head
}

/// The next message of a WebSocket, which is short.
async fn message(line: &mut Line) -> io::Result<Vec<u8>> {
    line.read_u8().await?;
    let length = match line.read_u8().await? {
        126 => usize::from(line.read_u16().await?),
        length => usize::from(length),
    };
    let mut message = vec![0; length];
    line.read_exact(&mut message).await?;
    Ok(message)
}

/// A field of protobuf that holds bytes: its head, since what is in it may be long.
pub(super) fn field(number: u8, length: usize) -> Vec<u8> {
    const OF_BYTES: u8 = 2;
    let mut head = vec![number << 3 | OF_BYTES];
    head.extend(varint(length));
    head
}

/// A number of protobuf, which also stands in front of every frame.
pub(super) fn varint(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}
