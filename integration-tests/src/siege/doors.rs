//! Whether every door answers: one question at each, over a new connection, asked until it is answered. Owns the
//! questions; judges nothing.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::observer::{ask, path};
use super::sessions;
use super::target::{Door, Target};
use crate::grpc::Connection;

/// How long a door is asked at all.
const LIMIT: Duration = Duration::from_secs(10);
/// How long one question waits for its answer.
const PATIENCE: Duration = Duration::from_secs(2);
const BETWEEN: Duration = Duration::from_millis(20);

/// How long each door took from `since` until it answered, in the order of [`NAMES`]; `None` when it did not.
pub(super) type Answers = [Option<Duration>; 4];

/// The doors that are asked.
pub(super) const NAMES: [&str; 4] = ["HTTP", "native", "WebSocket", "gRPC"];

/// Asks all doors at the same time. `known` is the configuration that is read.
pub(super) async fn answers(target: &Target, known: &str, since: Instant) -> Answers {
    let (http, native, socket, grpc) = tokio::join!(
        until_answered(since, async || get(target, &path(known)).await),
        until_answered(since, async || sessions::open(target, 0).await.map(drop)),
        until_answered(since, async || sessions::open_socket(target, 0).await.map(drop)),
        until_answered(since, async || check(target).await),
    );
    [http, native, socket, grpc]
}

/// Gets a path of HTTP over a new connection.
pub(super) async fn get(target: &Target, path: &str) -> anyhow::Result<()> {
    let head = target.head(0, &format!("GET {path}")) + "\r\n";
    let status = ask(target, &mut None, head.as_bytes()).await?;
    anyhow::ensure!(status == 200, "{status}");
    Ok(())
}

/// Asks over gRPC whether a server is there, over a new connection.
pub(super) async fn check(target: &Target) -> anyhow::Result<()> {
    let line = target.connect(Door::Grpc).await?;
    Connection::over(line).await?.check().await.map(drop)
}

async fn until_answered(since: Instant, mut question: impl AsyncFnMut() -> anyhow::Result<()>) -> Option<Duration> {
    while since.elapsed() < LIMIT {
        if matches!(timeout(PATIENCE, question()).await, Ok(Ok(()))) {
            return Some(since.elapsed());
        }
        sleep(BETWEEN).await;
    }
    None
}
