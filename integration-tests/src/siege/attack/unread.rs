//! Answers that nobody reads: attackers ask for what is long, with little room to receive it, and then do nothing.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::super::besieged::large;
use super::super::http2::{Http2, UNARY, payload};
use super::super::observer::path;
use super::super::sessions::{GROUP, get, open, open_socket, text};
use super::super::target::{Door, Line, Target};
use super::{HOLD, swarm};

/// Configurations of 10 MiB that are there.
const LARGE: usize = 8;
/// Requests that a session may have under way.
const UNDER_WAY: u64 = 64;

/// Queries over gRPC by clients whose windows are closed.
pub(in super::super) fn grpc(target: Arc<Target>) -> BoxFuture<'static, ()> {
    Box::pin(swarm(target, 8, |target, attacker| async move {
        let mut connection = Http2::open(&target, 0).await?;
        connection.set_up().await?;
        for number in 0..60 {
            let body = json!({ "dataId": large(number % LARGE), "group": GROUP, "tenant": "" }).to_string();
            let query = payload("ConfigQueryRequest", target.token_of(attacker), body.as_bytes());
            connection.call(UNARY, false, &query).await?;
        }
        // Heads and acknowledgements are read, so that the node has nothing to complain of.
        let receiving = async { while connection.receive().await.is_ok() {} };
        drop(timeout(HOLD, receiving).await);
        Ok(())
    }))
}

/// Gets over WebSocket.
pub(in super::super) fn websocket(target: Arc<Target>) -> BoxFuture<'static, ()> {
    Box::pin(swarm(target, 8, |target, attacker| async move {
        let mut line = open_socket(&target, attacker).await?;
        for id in 2..2 + UNDER_WAY {
            let key = json!({ "group": GROUP, "dataId": large(id as usize % LARGE) });
            line.send(&text(json!({ "id": id, "get": { "key": key } }).to_string().as_bytes())).await?;
        }
        hold(line).await
    }))
}

/// Gets over TCP.
pub(in super::super) fn native(target: Arc<Target>) -> BoxFuture<'static, ()> {
    Box::pin(swarm(target, 100, |target, attacker| async move {
        let mut line = open(&target, attacker).await?;
        for id in 2..2 + UNDER_WAY {
            line.send(&get(id, &large(id as usize % LARGE))).await?;
        }
        hold(line).await
    }))
}

/// Configurations.
pub(in super::super) fn http(target: Arc<Target>) -> BoxFuture<'static, ()> {
    requests(target, 200, 1, |attacker| path(&large(attacker % LARGE)))
}

/// Configurations, many over each connection.
pub(in super::super) fn pipeline(target: Arc<Target>) -> BoxFuture<'static, ()> {
    requests(target, 20, 100, |attacker| path(&large(attacker % LARGE)))
}

/// Pages of a search, with contents.
pub(in super::super) fn search(target: Arc<Target>) -> BoxFuture<'static, ()> {
    requests(target, 64, 1, |_| {
        format!("/nacos/v1/cs/configs?search=accurate&dataId=&group={GROUP}&pageNo=1&pageSize=9999")
    })
}

/// Event streams, which begin with what is there.
pub(in super::super) fn streams(target: Arc<Target>) -> BoxFuture<'static, ()> {
    requests(target, 64, 1, |_| format!("/api/v1/watch?group={GROUP}&prefix=large-"))
}

/// Former versions.
pub(in super::super) fn history(target: Arc<Target>) -> BoxFuture<'static, ()> {
    // The versions of a fresh node begin at one; the large ones are stored first.
    requests(target, 64, 1, |attacker| {
        let number = attacker % LARGE;
        format!("{}/history/{}", path(&large(number)), number + 1)
    })
}

fn requests(
    target: Arc<Target>,
    attackers: usize,
    each: usize,
    path: impl Fn(usize) -> String + Clone + Send + Sync + 'static,
) -> BoxFuture<'static, ()> {
    Box::pin(swarm(target, attackers, move |target, attacker| {
        // Those with something to show and those without ask for the same.
        let request = target.head(attacker, &format!("GET {}", path(attacker / 2))) + "\r\n";
        async move {
            let mut line = target.connect_narrow(Door::Http).await?;
            line.send(request.repeat(each).as_bytes()).await?;
            hold(line).await
        }
    }))
}

/// Pings, over WebSocket by every other attacker.
pub(in super::super) fn pongs(target: Arc<Target>) -> BoxFuture<'static, ()> {
    Box::pin(swarm(target, 32, |target, attacker| async move {
        // A ping of 125 bytes with a mask of nothing.
        let ping = [&[0x89, 0x80 | 125, 0, 0, 0, 0][..], &[b'p'; 125]].concat();
        let (mut line, pings) = if attacker % 4 < 2 {
            (open_socket(&target, attacker).await?, ping.repeat(500))
        } else {
            let ping = callboard_proto::session::envelope::Kind::Ping(callboard_proto::session::Ping { number: 7 });
            (open(&target, attacker).await?, crate::session::framed(0, ping).repeat(5_000))
        };
        loop {
            line.send(&pings).await?;
        }
    }))
}

/// Keeps a connection, and reads nothing.
async fn hold(line: Line) -> anyhow::Result<()> {
    let _open = line;
    sleep(HOLD).await;
    Ok(())
}
