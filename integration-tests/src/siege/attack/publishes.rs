//! Publishes that do end, faster than a node can store them.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::super::observer::path;
use super::super::sessions::{open, publish};
use super::super::target::{Door, Target};
use super::{FILLER, swarm};

/// Bytes of a content: the longest there is.
const LONG: usize = 10 * 1024 * 1024;
/// Publishes that a session has under way.
const UNDER_WAY: u64 = 60;

/// Publishes by sessions, each with many under way; what is answered is read.
pub(in super::super) fn native(target: Arc<Target>) -> BoxFuture<'static, ()> {
    Box::pin(swarm(target, 40, |target, attacker| async move {
        let (mut answers, mut line) = tokio::io::split(open(&target, attacker).await?);
        let mut content = "a".repeat(LONG);
        let publishing = async {
            for id in 2..2 + UNDER_WAY {
                // No two are alike.
                content.replace_range(..10, &format!("{id:010}"));
                let frame = publish(id, &format!("published-{attacker}-{id}"), content.clone());
                tokio::io::AsyncWriteExt::write_all(&mut line, &frame).await?;
            }
            tokio::io::AsyncWriteExt::flush(&mut line).await
        };
        let mut sink = tokio::io::sink();
        let reading = tokio::io::copy(&mut answers, &mut sink);
        // The session stays open until the node closes it.
        tokio::try_join!(publishing, reading)?;
        Ok(())
    }))
}

/// Publishes over HTTP, one after the other on each connection.
pub(in super::super) fn http(target: Arc<Target>) -> BoxFuture<'static, ()> {
    Box::pin(swarm(target, 64, |target, attacker| async move {
        let mut line = target.connect(Door::Http).await?;
        let head = target.head(attacker, &format!("PUT {}", path(&format!("published-{attacker}"))));
        for number in 0_u64.. {
            let begin = format!("{number:010}");
            line.send(format!("{head}Content-Length: {LONG}\r\n\r\n{begin}").as_bytes()).await?;
            line.fill(&FILLER, LONG - begin.len()).await?;
            line.answer().await?;
        }
        Ok(())
    }))
}
