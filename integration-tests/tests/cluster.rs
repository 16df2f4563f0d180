//! Clusters of real nodes on PostgreSQL and MariaDB servers of their own: how fast news travels and how fast nodes are
//! seen to come and go, a short form of the chaos proof, and what is refused. Where a server is not installed its tests
//! say so and pass; with `CALLBOARD_TEST_REQUIRE_DATABASES=1` they fail.
//!
//! Bounds here leave room for a busy machine. The real ones are held when the tests are built for release.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use callboard_integration_tests::chaos::{Fault, Lengths, Plan, Round, prove};
use callboard_integration_tests::client::{Client, Watch};
use callboard_integration_tests::cluster::{Cluster, Wiring};
use callboard_integration_tests::database_server::{DatabaseServer, Engine, can_start};
use callboard_integration_tests::node::{Node, NodeOptions, run_to_end};
use callboard_integration_tests::{metrics, nacos, poll};
use callboard_protocol::content::Md5;
use callboard_protocol::key::ConfigKey;
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinSet;

const PUBLISHES: usize = 30;
/// Sees nodes come and go, at most, as promised.
const SOON: Duration = Duration::from_secs(1);
const FENCED: Duration = Duration::from_secs(8);

/// One cluster at a time: they are measured.
async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    ALONE.lock().await
}

fn bound(promised: Duration) -> Duration {
    if cfg!(debug_assertions) { promised + Duration::from_secs(4) } else { promised }
}

/// How changes are heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Wait,
    Stream,
    LongPoll,
}

/// Publishes on each node in turn while the two others listen in every way. Gives the times from the start of each
/// publish.
async fn measure_delivery(cluster: &Cluster) -> Result<BTreeMap<Way, Vec<Duration>>> {
    let key = ConfigKey::new("public", "G", "news")?;
    let clients = cluster.clients();
    let mut known = clients[0].put(&key, "first").send().await?.expect(201)?.version().unwrap();
    let mut content = "first".to_owned();
    let mut streams: Vec<Watch> = Vec::new();
    for client in &clients {
        let mut stream = client.watch("group=G&dataId=news", None).await?;
        stream.expect().await?;
        streams.push(stream);
    }
    let mut times: BTreeMap<Way, Vec<Duration>> = BTreeMap::new();
    for n in 0..PUBLISHES {
        let mut heard = JoinSet::new();
        let publisher = n % clients.len();
        for (listener, mut stream) in streams.drain(..).enumerate().collect::<Vec<_>>() {
            let (client, key, md5) = (clients[listener].clone(), key.clone(), Md5::of(content.as_bytes()).hex());
            let listens = listener != publisher;
            if listens {
                let (waiter, key) = (client.clone(), key.clone());
                heard.spawn(async move {
                    let answer = waiter.wait(&key, known, 30).send().await?.expect(200)?;
                    Ok((Way::Wait, Instant::now(), answer.text(), None))
                });
                heard.spawn(async move {
                    let poll = nacos::poll(&client, &nacos::record("news", "G", &md5, None), "30000");
                    let answer = poll.send().await?.expect(200)?;
                    Ok((Way::LongPoll, Instant::now(), answer.text(), None))
                });
            }
            heard.spawn(async move {
                let event = stream.expect().await?;
                let now = Instant::now();
                let way = if listens { Way::Stream } else { Way::Wait };
                anyhow::Ok((way, now, format!("{event:?}"), Some((listener, listens, stream))))
            });
        }
        wait_until_held(&clients, publisher).await?;
        let begin = Instant::now();
        content = format!("news {n}");
        known = clients[publisher].put(&key, content.clone()).send().await?.expect(200)?.version().unwrap();
        let mut back = BTreeMap::new();
        while let Some(one) = heard.join_next().await {
            let (way, moment, text, stream) = one??;
            assert!(way == Way::LongPoll || text.contains(&content), "{way:?} heard {text:?} instead of {content:?}");
            let counts = stream.as_ref().is_none_or(|(_, listens, _)| *listens);
            if counts {
                times.entry(way).or_default().push(moment - begin);
            }
            back.extend(stream.map(|(listener, _, stream)| (listener, stream)));
        }
        streams = back.into_values().collect();
    }
    Ok(times)
}

/// Waits until every node but the publisher holds a wait and a long poll.
async fn wait_until_held(clients: &[Client], publisher: usize) -> Result<()> {
    for (listener, client) in clients.iter().enumerate().filter(|(listener, _)| *listener != publisher) {
        // A stream, a wait and a long poll.
        metrics::until_held(client, 3).await.with_context(|| format!("node {listener}"))?;
    }
    Ok(())
}

async fn news_travels_and_nodes_are_seen(engine: Engine) -> Result<()> {
    if !can_start(engine)? {
        return Ok(());
    }
    let _alone = alone().await;
    let server = DatabaseServer::start(engine).await?;
    let mut cluster = Cluster::start(&server, 3, Wiring::Proxied, NodeOptions::new()).await?;
    for (way, mut times) in measure_delivery(&cluster).await? {
        times.sort_unstable();
        let (median, last) = (times[times.len() / 2], times[times.len() - 1]);
        println!(
            "{engine}: {way:?}: heard after {median:.1?} in the median, {last:.1?} at most, {} times",
            times.len()
        );
        assert_eq!(times.len(), 2 * PUBLISHES);
        let most = if cfg!(debug_assertions) { Duration::from_secs(1) } else { Duration::from_millis(50) };
        assert!(median <= most, "{engine}: {way:?}: {times:?}");
    }
    let begin = Instant::now();
    let fourth = cluster.add().await?;
    let started = begin.elapsed();
    let joined = cluster.seen_as(fourth, &["up"], poll::SOON).await?;
    println!("{engine}: a join is seen {joined:.1?} after the start's {started:.1?}");
    cluster.settled(poll::SOON).await?;

    cluster.member_mut(2)?.node.kill()?;
    let begin = Instant::now();
    let publishing = cluster.member(1)?.client.put(&ConfigKey::new("public", "G", "after")?, "x").send();
    let (killed, published) = tokio::join!(cluster.seen_as(2, &["down", "removed"], poll::SOON), async {
        let published = publishing.await;
        (published, begin.elapsed())
    });
    let (killed, (published, resumed)) = (killed?, published);
    published?.expect(201)?;
    println!("{engine}: a kill is seen after {killed:.1?}, a publish goes through after {resumed:.1?}");

    let begin = Instant::now();
    cluster.member_mut(2)?.node.start_again().await?;
    let started = begin.elapsed();
    let returned = cluster.seen_as(2, &["up"], poll::SOON).await?;
    println!("{engine}: a return is seen {returned:.1?} after the start's {started:.1?}");
    cluster.settled(poll::SOON).await?;

    cluster.member(fourth)?.node.ask_to_stop()?;
    let left = cluster.seen_as(fourth, &["leaving", "removed"], poll::SOON).await?;
    println!("{engine}: a graceful leave is seen after {left:.1?}");
    for (what, took, promised) in [
        ("join", joined, SOON),
        ("kill", killed, FENCED),
        ("publish", resumed, FENCED),
        ("return", returned, SOON),
        ("leave", left, SOON),
    ] {
        assert!(took <= bound(promised), "{engine}: {what}: {took:?}");
    }
    Ok(())
}

/// While another process runs under the id of node 1, and for longer after it than the others need to see it die.
async fn an_id_that_is_used_twice_comes_back(engine: Engine) -> Result<()> {
    if !can_start(engine)? {
        return Ok(());
    }
    let _alone = alone().await;
    let server = DatabaseServer::start(engine).await?;
    let mut cluster = Cluster::start(&server, 3, Wiring::Direct, NodeOptions::new()).await?;
    let mut second = cluster.start_namesake(1).await?;
    let key = ConfigKey::new("public", "G", "twice")?;
    let mut published = 0;
    let mut publish = async || {
        for (index, client) in cluster.clients().iter().enumerate() {
            published += 1;
            let put = client.put(&key, format!("{published}")).send().await?;
            anyhow::ensure!(put.status == 200 || put.status == 201, "n{}: {}", index + 1, put.text());
        }
        anyhow::Ok(())
    };
    let logs = [
        (cluster.member(1)?.node.log(), "was started with the id of this node"),
        (second.log(), "the id of this node is taken"),
    ];
    poll::until("both say so loudly", poll::SOON, async || {
        publish().await?;
        let said = logs.iter().all(|(log, words)| std::fs::read_to_string(log).is_ok_and(|log| log.contains(words)));
        Ok(said.then_some(()))
    })
    .await
    .with_context(|| second.log_tail())?;
    second.kill()?;
    let end = Instant::now() + FENCED + SOON * 4;
    while Instant::now() < end {
        publish().await?;
        for viewer in [2, 3] {
            assert_eq!(cluster.view(viewer).await?["n1"], "up", "{engine}: n{viewer}");
        }
    }
    let owner = &cluster.member(1)?.node;
    let joins = std::fs::read_to_string(owner.log())?.matches("the node is a member").count();
    assert_eq!(joins, 1, "{engine}: it lost its row: {}", owner.log_tail());
    Ok(())
}

async fn keeps_its_promise(engine: Engine) -> Result<()> {
    if !can_start(engine)? {
        return Ok(());
    }
    let _alone = alone().await;
    let seed = fastrand::u64(..);
    println!("{engine}: seed {seed}\n{}", Round::HEAD);
    let plan = Plan {
        engine,
        faults: vec![
            Fault::Kill,
            Fault::Pause,
            Fault::PeerCut,
            Fault::DatabaseCut,
            Fault::DatabaseRestart,
            Fault::RollingRestart,
        ],
        duration: None,
        lengths: Lengths { pause: Duration::from_secs(8), database_stop: Duration::from_secs(10) },
        margin: Duration::from_secs(6),
        seed,
        keep: None,
    };
    let proof = prove(&plan, |round| println!("{round}")).await.with_context(|| format!("seed {seed}"))?;
    assert_eq!(proof.rounds.len(), plan.faults.len());
    for round in &proof.rounds {
        assert!(round.published > 50 && round.reads > 200 && round.events > 50, "seed {seed}: too little: {round}");
        assert!(round.violations.is_empty(), "seed {seed}: {round}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn news_travels_and_nodes_are_seen_on_postgresql() -> Result<()> {
    news_travels_and_nodes_are_seen(Engine::Postgres).await
}

#[tokio::test(flavor = "multi_thread")]
async fn news_travels_and_nodes_are_seen_on_mariadb() -> Result<()> {
    news_travels_and_nodes_are_seen(Engine::MariaDb).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_used_twice_comes_back_on_postgresql() -> Result<()> {
    an_id_that_is_used_twice_comes_back(Engine::Postgres).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_used_twice_comes_back_on_mariadb() -> Result<()> {
    an_id_that_is_used_twice_comes_back(Engine::MariaDb).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_keeps_its_promise_whatever_fails_on_postgresql() -> Result<()> {
    keeps_its_promise(Engine::Postgres).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_keeps_its_promise_whatever_fails_on_mariadb() -> Result<()> {
    keeps_its_promise(Engine::MariaDb).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_sqlite_file_is_refused() -> Result<()> {
    let first = Node::start(NodeOptions::new()).await?;
    let url = format!("sqlite:{}", first.data_dir().join("callboard.db").display());
    for command in ["serve", "migrate"] {
        let arguments = [command, "--http-addr", "127.0.0.1:0", "--data-dir", "d"];
        let second = run_to_end(&arguments, &[("CALLBOARD_DATABASE_URL", &url)]).await?;
        let message = String::from_utf8_lossy(&second.stderr);
        assert!(second.status.code().is_some_and(|code| code != 0), "{command}: {message}");
        assert!(message.contains("callboard.db is in use by another callboard process"), "{command}: {message}");
        assert!(!message.contains("panicked"), "{command}: {message}");
    }
    first.client().get_path("/readyz").send().await?.expect(200)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_key_does_not_listen_for_peers() -> Result<()> {
    let arguments = ["serve", "--http-addr", "127.0.0.1:0", "--data-dir", "d", "--peer-addr", "127.0.0.1:0"];
    let refused = run_to_end(&arguments, &[]).await?;
    let message = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code().is_some_and(|code| code != 0), "{message}");
    assert!(message.contains("cluster-key-file"), "{message}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_on_sqlite_is_refused() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let key = directory.path().join("key");
    let made = run_to_end(&["cluster", "key"], &[]).await?;
    std::fs::write(&key, made.stdout)?;
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    let key = key.to_str().unwrap();
    let arguments = ["serve", "--http-addr", "127.0.0.1:0", "--data-dir", "d", "--cluster-key-file", key];
    let refused = run_to_end(&arguments, &[]).await?;
    let message = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code().is_some_and(|code| code != 0), "{message}");
    assert!(message.contains("SQLite serves one node only"), "{message}");
    Ok(())
}
