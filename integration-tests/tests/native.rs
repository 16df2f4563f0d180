//! The Rust client against real clusters: everybody ends on the newest version whatever happens to the nodes, operators
//! are told the truth about who got what, and the example follows a key through a rolling restart. On PostgreSQL; where
//! it is not installed the tests say so and pass; with `CALLBOARD_TEST_REQUIRE_DATABASES=1` they fail.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod native {
    pub(crate) mod crowd;
    pub(crate) mod cuttable;
}

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use callboard_client::{Client, ConfigKey, Options, Publish, Subscription};
use callboard_integration_tests::binary;
use callboard_integration_tests::cluster::{Cluster, Wiring};
use callboard_integration_tests::database_server::{DatabaseServer, Engine, can_start};
use callboard_integration_tests::node::NodeOptions;
use callboard_integration_tests::poll;
use callboard_integration_tests::session::{self, Session};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::sync::{Mutex, MutexGuard};

use self::native::crowd::Crowd;
use self::native::cuttable::Cuttable;

/// One cluster at a time: they are timed.
async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    ALONE.lock().await
}

/// A client's whole time to hear of the newest version, as promised; debug builds on a busy machine have more.
const HEARD: Duration = if cfg!(debug_assertions) { Duration::from_secs(15) } else { Duration::from_secs(5) };

async fn three_nodes(server: &DatabaseServer) -> Result<Cluster> {
    Cluster::start(server, 3, Wiring::Direct, NodeOptions::new()).await
}

fn sessions_of(cluster: &Cluster) -> Vec<String> {
    cluster.members().map(|member| member.node.session_address().to_string()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_client_ends_on_the_newest_version_whatever_happens_to_nodes_and_connections() -> Result<()> {
    if !can_start(Engine::Postgres)? {
        return Ok(());
    }
    let _alone = alone().await;
    let server = DatabaseServer::start(Engine::Postgres).await?;
    let mut cluster = three_nodes(&server).await?;
    let mut ways = Vec::new();
    for address in sessions_of(&cluster) {
        ways.push(Cuttable::to(address.parse()?).await?);
    }
    let nodes: Vec<String> = ways.iter().map(|way| way.address().to_string()).collect();
    let crowd = Crowd::gather(60, &nodes)?;
    let publishers = crowd.publish(sessions_of(&cluster))?;
    for victim in [1, 2] {
        crowd.until_published(40).await?;
        cluster.member_mut(victim)?.node.kill()?;
        crowd.until_published(40).await?;
        cluster.member_mut(victim)?.node.start_again().await?;
        cluster.settled(poll::SOON * 2).await?;
    }
    crowd.until_published(40).await?;
    let newest = publishers.end().await?;
    let took = crowd.until_all_have(&newest, HEARD).await?;
    println!("60 clients have the newest of {} keys {took:.1?} after the last publish", newest.len());
    crowd.judge()?;
    assert!(ways.iter().map(Cuttable::cuts).sum::<usize>() > 20, "connections were cut all the while");
    Ok(())
}

/// What `GET …/pushes` says.
async fn pushes(cluster: &Cluster, number: u8, version: u64, query: &str) -> Result<Value> {
    let path = format!("/api/v1/namespaces/public/groups/app/configs/news/pushes?version={version}&limit=500{query}");
    cluster.member(number)?.client.get_path(&path).send().await?.expect(200)?.json()
}

fn count(pushes: &Value, state: &str) -> u64 {
    pushes["counts"][state].as_u64().unwrap_or_default()
}

/// 95 clients, evenly over `nodes`, that are told of `key`; the first five can't use what they are sent.
fn subscribed_clients(nodes: &[String], key: &ConfigKey) -> Result<(Vec<Client>, Vec<Subscription>)> {
    let (mut clients, mut subscriptions) = (Vec::new(), Vec::new());
    for number in 0..95_usize {
        let mut options = Options::new([nodes[number % 3].clone()]);
        options.client_id = format!("client-{number:02}");
        options.application = "shop".to_owned();
        let client = Client::connect(options)?;
        let rejects = number < 5;
        subscriptions.push(client.on_change(key.clone(), move |state| async move {
            if rejects && state.config.exists() { Err(format!("client {number} can't use it")) } else { Ok(()) }
        }));
        clients.push(client);
    }
    Ok((clients, subscriptions))
}

/// Five sessions, evenly over `nodes`, that watch the same configuration and answer nothing.
async fn vanishing_sessions(nodes: &[String]) -> Result<Vec<Session>> {
    let mut vanishing = Vec::new();
    for number in 0..5_usize {
        let mut session = Session::open(nodes[number % 3].parse()?, &format!("vanishing-{number}")).await?;
        session.watch(session::watch(&["news"])).await?;
        vanishing.push(session);
    }
    Ok(vanishing)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_are_told_who_got_what_and_what_is_not_known() -> Result<()> {
    if !can_start(Engine::Postgres)? {
        return Ok(());
    }
    let _alone = alone().await;
    let server = DatabaseServer::start(Engine::Postgres).await?;
    let mut cluster = three_nodes(&server).await?;
    let nodes = sessions_of(&cluster);
    let key = ConfigKey::public("app", "news");
    let (clients, subscriptions) = subscribed_clients(&nodes, &key)?;
    let mut vanishing = vanishing_sessions(&nodes).await?;
    poll::until("all 100 are known to watch", poll::SOON, async || {
        let seen = cluster.member(1)?.client.get_path("/api/v1/clients?group=app&dataId=news").send().await?;
        Ok((seen.expect(200)?.json()?["total"] == 100).then_some(()))
    })
    .await?;

    let published = clients[50].publish(Publish::new(&key, "first")).await?;
    for session in &mut vanishing {
        assert_eq!(session.push().await?.version, published.version);
    }
    // Without a word.
    vanishing.clear();
    let told = poll::until("all have answered or are gone", poll::SOON, async || {
        let told = pushes(&cluster, 2, published.version, "").await?;
        let is_done = count(&told, "applied") == 90 && count(&told, "rejected") == 5 && count(&told, "lost") == 5;
        Ok(is_done.then_some(told))
    })
    .await?;
    assert_eq!(told["complete"], true, "{told}");
    assert_eq!(told["items"].as_array().unwrap().len(), 100);
    let reasons = pushes(&cluster, 3, published.version, "&state=rejected").await?;
    for push in reasons["items"].as_array().unwrap() {
        let client = push["client"].as_str().unwrap();
        assert!(push["reason"].as_str().unwrap().ends_with("can't use it") && client < "client-05", "{push}");
    }
    let vanished = pushes(&cluster, 1, published.version, "&state=lost").await?;
    let gone = |push: &Value| push["client"].as_str().unwrap().starts_with("vanishing-") && push["connected"] == false;
    assert!(vanished["items"].as_array().unwrap().iter().all(gone), "{vanished}");
    let one = cluster.member(3)?.client.get_path("/api/v1/clients/client-07").send().await?.expect(200)?.json()?;
    let watched = &one["connections"][0]["keys"][0];
    assert_eq!((&watched["version"], &watched["state"]), (&Value::from(published.version), &Value::from("applied")));

    // What the first node knew is gone with it. Its clients are told to go nowhere else: they come back and say what
    // they hold.
    cluster.member_mut(1)?.node.terminate().await?;
    cluster.member_mut(1)?.node.start_again().await?;
    cluster.settled(poll::SOON * 2).await?;
    let told = poll::until("all 95 are connected again", poll::SOON, async || {
        let told = pushes(&cluster, 2, published.version, "").await?;
        let connected = told["items"].as_array().unwrap().iter().filter(|push| push["connected"] == true).count();
        Ok((connected == 95).then_some(told))
    })
    .await?;
    assert_eq!(told["complete"], false, "a node that was restarted does not know whom it pushed what: {told}");
    let knows = |node: &str| {
        let known = told["nodes"].as_array().unwrap().iter().find(|known| known["node"] == node).unwrap();
        known["knows"].as_str().unwrap().to_owned()
    };
    assert_eq!((knows("n1").as_str(), knows("n2").as_str(), knows("n3").as_str()), ("part", "all", "all"));
    assert!(count(&told, "held") > 0, "who came back says what it holds: {told}");
    assert!(count(&told, "lost") < 5, "of those who vanished from the first node nothing is known: {told}");
    drop(subscriptions);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_follows_a_key_through_a_rolling_restart() -> Result<()> {
    if !can_start(Engine::Postgres)? {
        return Ok(());
    }
    let _alone = alone().await;
    let server = DatabaseServer::start(Engine::Postgres).await?;
    let mut cluster = three_nodes(&server).await?;
    let nodes = sessions_of(&cluster).join(",");
    let mut command = tokio::process::Command::new(binary::client_example("follow")?);
    command.args([nodes.as_str(), "app", "followed"]).stdout(Stdio::piped()).kill_on_drop(true);
    let mut follower = command.spawn().context("start the example")?;
    let mut lines = BufReader::new(follower.stdout.take().context("its output is read")?).lines();
    let publisher = Client::connect(Options::new(sessions_of(&cluster)))?;
    let key = publisher.key("app", "followed");
    let mut last = 0;
    for number in 0..9 {
        if number % 3 == 1 {
            cluster.member_mut(number / 3 + 1)?.node.terminate().await?;
        }
        let content = format!("content {number}");
        let version = publisher.publish(Publish::new(&key, content.as_str())).await?.version;
        loop {
            let line = tokio::time::timeout(poll::SOON, lines.next_line()).await.context("it hears of it")??;
            let line = line.context("the example runs on")?;
            let seen: u64 = line.split_whitespace().next().unwrap_or_default().parse()?;
            assert!(seen >= last, "{line} after version {last}");
            last = seen;
            if seen == version {
                assert!(line.ends_with(&content), "{line}");
                break;
            }
        }
        if number % 3 == 2 {
            cluster.member_mut(number / 3 + 1)?.node.start_again().await?;
            cluster.settled(poll::SOON * 2).await?;
        }
    }
    Ok(())
}
