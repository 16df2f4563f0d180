//! A client that does not read is dropped, and a thousand others on the same node get their pushes on time meanwhile.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use callboard_integration_tests::node::{Node, NodeOptions};
use callboard_integration_tests::poll;
use callboard_integration_tests::session::{Session, hello, watch, watch_prefix};
use callboard_proto::session::envelope::Kind;
use callboard_proto::session::{Envelope, Ping, Pong};
use futures_util::future::try_join_all;
use tokio::task::JoinHandle;

use super::words::{unharmed, until_ended};

/// Sessions that read.
const OTHERS: usize = 1_000;
/// What each of them is told.
const TICKS: usize = 40;
/// Far above what a busy machine needs, far below what waiting for the stalled client would take.
const ON_TIME: Duration = Duration::from_secs(2);
const WRITE_TIMEOUT: Duration = Duration::from_millis(1_500);

/// When each tick was sent.
type Sent = Arc<Mutex<BTreeMap<String, Instant>>>;

/// Hears ticks up to the last one; how late each was. Ticks may be left out when the client is slow.
async fn listen(mut session: Session, sent: Sent) -> Result<Vec<Duration>> {
    let (mut late, last) = (Vec::new(), TICKS.to_string());
    loop {
        let push = match session.expect().await? {
            Envelope { id: 0, kind: Some(Kind::Push(push)) } => push,
            // It waits for long on a busy machine.
            Envelope { id: 0, kind: Some(Kind::Ping(Ping { number })) } => {
                session.send(0, Kind::Pong(Pong { number })).await?;
                continue;
            }
            other => anyhow::bail!("unexpected: {other:?}"),
        };
        let content = push.content.context("a tick is short")?;
        let since = sent.lock().unwrap().get(&content).copied().context("a tick was sent before it was pushed")?;
        late.push(since.elapsed());
        if content == last {
            return Ok(late);
        }
    }
}

async fn listeners(node: &Node, sent: &Sent) -> Result<Vec<JoinHandle<Result<Vec<Duration>>>>> {
    let mut listening = Vec::new();
    for begin in (0..OTHERS).step_by(50) {
        let opening = (begin..begin + 50).map(async |n| {
            let mut session = Session::open(node.session_address(), &format!("listener-{n}")).await?;
            session.watch(watch(&["tick"])).await?;
            anyhow::Ok(session)
        });
        let opened = try_join_all(opening).await?;
        listening.extend(opened.into_iter().map(|session| tokio::spawn(listen(session, Arc::clone(sent)))));
    }
    Ok(listening)
}

/// Publishes as much as it takes until the node has dropped the client that watches it; how long ago the last write to
/// it can have succeeded is not known, so that only the end is waited for.
async fn fill(node: &Node) -> Result<()> {
    let mut writer = Session::open(node.session_address(), "writer").await?;
    let content = "x".repeat(60 * 1024);
    for n in 0..200 {
        writer.publish(&format!("big.{n}"), &format!("{n} {content}")).await?;
    }
    until_ended(node, "stalled", 1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stops_reading_is_dropped_while_a_thousand_others_hear_on_time() -> Result<()> {
    let timeout = format!("{}ms", WRITE_TIMEOUT.as_millis());
    let node = Node::start(NodeOptions::new().flag("session-write-timeout", &timeout)).await?;
    let sent = Sent::default();
    let listening = listeners(&node, &sent).await?;
    let mut stalled = Session::connect_narrow(node.session_address()).await?;
    stalled.greet(hello("stalled")).await?;
    stalled.watch(watch_prefix("big.")).await?;

    let filling = fill(&node);
    let ticking = async {
        let mut writer = Session::open(node.session_address(), "ticker").await?;
        for tick in 1..=TICKS {
            sent.lock().unwrap().insert(tick.to_string(), Instant::now());
            writer.publish("tick", &tick.to_string()).await?;
        }
        anyhow::Ok(())
    };
    tokio::try_join!(filling, ticking)?;

    let mut late = Vec::new();
    for listening in listening {
        // Each has heard the last tick, or this fails.
        late.extend(listening.await??);
    }
    late.sort_unstable();
    ensure!(late.len() >= OTHERS, "{} pushes came", late.len());
    let p99 = late[late.len() * 99 / 100];
    eprintln!("{} pushes, median {:?}, p99 {p99:?}, slowest {:?}", late.len(), late[late.len() / 2], late.last());
    ensure!(p99 < ON_TIME, "p99 {p99:?}");

    // What is left of its connection is what the kernel had taken; then it ends.
    let rest = stalled.rest().await;
    ensure!(rest.is_ok() || format!("{rest:?}").contains("reset"), "{rest:?}");
    unharmed(&node).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_late_is_spared_what_is_old_by_then() -> Result<()> {
    let node = Node::start(NodeOptions::new().flag("session-write-timeout", "60s")).await?;
    let mut slow = Session::connect_narrow(node.session_address()).await?;
    slow.greet(hello("slow")).await?;
    slow.watch(watch_prefix("big.")).await?;
    let mut writer = Session::open(node.session_address(), "writer").await?;
    let content = "x".repeat(60 * 1024);
    // More than the kernel takes on its own: what comes later waits for the client as the newest state of each key.
    let mut newest = BTreeMap::new();
    for n in 0..300 {
        let data_id = format!("big.{}", n % 30);
        newest.insert(data_id.clone(), writer.publish(&data_id, &format!("{n} {content}")).await?);
    }
    let mut seen = BTreeMap::new();
    let mut count = 0;
    let began = Instant::now();
    while seen != newest {
        ensure!(began.elapsed() < poll::SOON, "not at the newest: {seen:?} of {newest:?}");
        let push = slow.push().await?;
        let data_id = push.key.context("a push names its key")?.data_id;
        let before = seen.insert(data_id, push.version);
        ensure!(before.is_none_or(|before| before < push.version), "{before:?} before {}", push.version);
        count += 1;
    }
    // The kernel took some of the old ones.
    ensure!(count < 300, "{count} pushes of 300 publishes");
    Ok(())
}
