//! Bodies, lines and messages that never end, so that the node keeps what has come.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::sleep;

use super::super::http2::{Http2, UNARY};
use super::super::observer::path;
use super::super::sessions::{socket, text_head, varint};
use super::super::target::{Door, Line, Target};
use super::{FILLER, swarm};

const MIB: usize = 1024 * 1024;
/// Time between two bytes of a body that trickles: one below the time-out of silence.
const BETWEEN_BYTES: Duration = Duration::from_secs(9);

/// Bodies of which a byte comes now and then.
pub(in super::super) fn trickle(target: Arc<Target>) -> BoxFuture<'static, ()> {
    Box::pin(swarm(target, 1_000, |target, attacker| async move {
        let mut line = target.connect(Door::Http).await?;
        let head = target.head(attacker, &format!("PUT {}", path(&format!("trickle-{attacker}"))));
        line.send(format!("{head}Content-Length: {}\r\n\r\nx", 10 * MIB - 1).as_bytes()).await?;
        loop {
            sleep(BETWEEN_BYTES).await;
            line.send(b"x").await?;
        }
    }))
}

/// Forms.
pub(in super::super) fn forms(target: Arc<Target>) -> BoxFuture<'static, ()> {
    Box::pin(swarm(target, 100, |target, attacker| async move {
        let mut line = target.connect(Door::Http).await?;
        let head = target.head(attacker, "POST /nacos/v1/cs/configs");
        let begin = format!("dataId=form-{attacker}&group=siege&content=");
        let head = format!("{head}Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}", 31 * MIB);
        line.send(format!("{head}\r\n\r\n{begin}").as_bytes()).await?;
        line.fill(&FILLER, 31 * MIB - begin.len() - 1).await?;
        until_closed(line).await
    }))
}

/// Request lines.
pub(in super::super) fn lines(target: Arc<Target>) -> BoxFuture<'static, ()> {
    Box::pin(swarm(target, 500, |target, _| async move {
        let mut line = target.connect(Door::Http).await?;
        let begin = "POST /nacos/v1/cs/configs?dataId=a&group=siege&content=";
        line.send(begin.as_bytes()).await?;
        line.fill(&FILLER, 4 * MIB - begin.len() - 1024).await?;
        until_closed(line).await
    }))
}

/// Frames over TCP.
pub(in super::super) fn frames(target: Arc<Target>) -> BoxFuture<'static, ()> {
    Box::pin(swarm(target, 100, |target, _| async move {
        let mut line = target.connect(Door::Native).await?;
        line.send(&varint(16 * MIB)).await?;
        line.fill(&FILLER, 16 * MIB - 1).await?;
        until_closed(line).await
    }))
}

/// Texts over WebSocket.
pub(in super::super) fn texts(target: Arc<Target>) -> BoxFuture<'static, ()> {
    Box::pin(swarm(target, 100, |target, attacker| async move {
        let mut line = socket(&target, attacker).await?;
        line.send(&text_head(15 * MIB)).await?;
        line.fill(&FILLER, 15 * MIB - 1).await?;
        until_closed(line).await
    }))
}

/// Messages over gRPC, as many as a connection may have under way.
pub(in super::super) fn messages(target: Arc<Target>) -> BoxFuture<'static, ()> {
    Box::pin(swarm(target, 16, |target, _| async move {
        let mut connection = Http2::open(&target, 0xffff).await?;
        for _ in 0..100 {
            let stream = connection.begin(UNARY, false).await?;
            let length = u32::try_from(31 * MIB)?.to_be_bytes();
            connection.send_part(stream, &[&[0], &length[..]].concat(), false).await?;
            for _ in 0..(31 * MIB - 1) / FILLER.len() {
                connection.send_part(stream, &FILLER, false).await?;
            }
        }
        loop {
            connection.receive().await?;
        }
    }))
}

/// Waits until the node has had enough.
async fn until_closed(mut line: Line) -> anyhow::Result<()> {
    line.drain().await
}
