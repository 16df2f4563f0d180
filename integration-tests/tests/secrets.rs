//! Contents that are secrets: sealed in the file of the database and in no log, given by every door to who may see
//! them, to nobody else; and the master key is changed on three nodes under load. The last one is on PostgreSQL; where
//! it is not installed it says so and passes; with `CALLBOARD_TEST_REQUIRE_DATABASES=1` it fails.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![allow(clippy::panic, reason = "a failed expectation is a failed test")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use callboard_integration_tests::client::Client;
use callboard_integration_tests::cluster::{Cluster, Wiring};
use callboard_integration_tests::database_server::{DatabaseServer, Engine, can_start};
use callboard_integration_tests::grpc::{Connection, Sdk};
use callboard_integration_tests::guarded::{SHOWN, guarded, send, user, write_private};
use callboard_integration_tests::nacos::CONFIGS;
use callboard_integration_tests::node::{Node, NodeOptions};
use callboard_integration_tests::poll;
use callboard_integration_tests::session::{self, Session};
use callboard_proto::session as proto;
use callboard_protocol::key::ConfigKey;
use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;

const SECRET: &str = "correct-horse-battery-staple";
const SECOND: &str = "incorrect-horse-battery-staple";

fn key(data_id: &str) -> ConfigKey {
    ConfigKey::new("public", "app", data_id).unwrap()
}

/// A master key made of one character.
fn master(sign: char) -> String {
    format!("{}{sign}", "0123456789abcdef".repeat(3))
}

fn key_file(directory: &TempDir, keys: &[char]) -> Result<PathBuf> {
    let path = directory.path().join("master-key");
    let lines: Vec<String> = keys.iter().map(|sign| master(*sign)).collect();
    write_private(&path, &lines.join("\n"))?;
    Ok(path)
}

/// Nodes whose administrator is known, and where contents can be secrets.
fn keeping(directory: &TempDir) -> Result<NodeOptions> {
    let master = key_file(directory, &['a'])?;
    Ok(guarded(directory.path())?.flag("secrets-key-file", &master.display().to_string()))
}

fn publish_secret(
    client: &Client,
    data_id: &str,
    content: &'static str,
) -> callboard_integration_tests::client::Request {
    client.put(&key(data_id), content).query("secret", "true")
}

/// What every door gives of `db` to who shows `token`: the content, or nothing.
async fn doors(node: &Node, token: &str) -> Result<Vec<(&'static str, bool)>> {
    let client = Client::showing(node.http(), &format!("Bearer {token}"));
    let mut given = Vec::new();
    let mut note = |door, text: &str| given.push((door, text.contains(SECRET)));
    note("read", &client.get(&key("db")).send().await?.text());
    note("history", &client.get_path("/api/v1/namespaces/public/groups/app/configs/db/history/1").send().await?.text());
    let mut stream = client.watch("namespace=public&group=app&dataId=db", None).await?;
    note("stream", &format!("{:?}", stream.expect().await?));
    let query = format!("{CONFIGS}?dataId=db&group=app");
    note("Nacos", &client.get_path(&query).send().await?.text());
    note(
        "Nacos search",
        &client.get_path(&format!("{query}&search=accurate&pageNo=1&pageSize=9")).send().await?.text(),
    );
    note("Nacos all", &client.get_path(&format!("{query}&show=all")).send().await?.text());
    let mut connection = Connection::of(Sdk::Java, node.grpc_address()).await?;
    let named = json!({ "dataId": "db", "group": "app", "tenant": "" });
    note(
        "gRPC",
        &format!("{:?}", connection.ask_showing(&[("accessToken", token)], "ConfigQueryRequest", &named).await?),
    );
    let mut session = Session::connect(node.session_address()).await?;
    let hello = session::hello("client");
    session.greet(proto::Hello { credentials: format!("Bearer {token}"), ..hello }).await?;
    note("session", &format!("{:?}", session.ask(session::get("db")).await?));
    session.watch(session::watch(&["db"])).await?;
    if let Some(push) = session.next(Duration::from_secs(1)).await? {
        note("push", &format!("{push:?}"));
    }
    Ok(given)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_door_gives_a_secret_to_who_may_see_it_and_to_nobody_else() -> Result<()> {
    let secrets = tempfile::tempdir()?;
    let mut node = Node::start(keeping(&secrets)?).await?;
    let administrator = node.client();
    publish_secret(&administrator, "db", SECRET).send().await?.expect(201)?;
    let (sees, reads) =
        (user(&administrator, "sees", &["read", "secret"]).await?, user(&administrator, "reads", &["read"]).await?);
    for (door, is_given) in doors(&node, &sees).await? {
        ensure!(is_given, "{door} withholds the secret from who may see it");
    }
    for (door, is_given) in doors(&node, &reads).await? {
        ensure!(!is_given, "{door} gives the secret to who may not see it");
    }
    // Who may not see it is told so where he asks for it, and sees that it is there.
    let reader = Client::showing(node.http(), &format!("Bearer {reads}"));
    ensure!(reader.get(&key("db")).send().await?.expect(403)?.code() == "forbidden");
    for door in ["rest", "nacos_http", "grpc"] {
        poll::until("it is written down that he was refused", poll::SOON, async || {
            let export = administrator.get_path("/api/v1/audit/export").send().await?.expect(200)?.text();
            let is_told = |line: &str| ["access_refused", "reads", "db", door].iter().all(|word| line.contains(*word));
            Ok(export.lines().any(is_told).then_some(()))
        })
        .await?;
    }
    let listed = reader.list("public").send().await?.expect(200)?.json()?;
    let item = &listed["items"][0];
    ensure!(
        (&item["secret"], &item["md5"], &item["size"]) == (&json!(true), &json!(null), &json!(SECRET.len())),
        "{item}"
    );
    // A client of Nacos changes it, and it stays one.
    let form = callboard_integration_tests::nacos::form(&[("dataId", "db"), ("group", "app"), ("content", SECOND)]);
    let publish = administrator.request(Method::POST, CONFIGS).body(form);
    publish.header("Content-Type", "application/x-www-form-urlencoded").send().await?.expect(200)?;
    reader.get(&key("db")).send().await?.expect(403)?;
    ensure!(administrator.get(&key("db")).send().await?.text() == SECOND);
    // Read from the database, not from memory.
    node.terminate().await?;
    for entry in std::fs::read_dir(node.data_dir())?
        .chain(node.log().parent().map(std::fs::read_dir).transpose()?.into_iter().flatten())
    {
        let path = entry?.path();
        let Ok(bytes) = std::fs::read(&path) else { continue };
        for secret in [SECRET, SECOND] {
            let is_there = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            ensure!(!is_there, "{} holds the secret", path.display());
        }
    }
    node.start_again().await?;
    ensure!(node.client().get(&key("db")).send().await?.text() == SECOND);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_master_key_nothing_becomes_a_secret_and_no_node_starts_that_lost_it() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let refused = publish_secret(&node.client(), "db", SECRET).send().await?.expect(422)?;
    ensure!(refused.text().contains("secrets.key_file"), "{}", refused.text());
    let secrets = tempfile::tempdir()?;
    let file = key_file(&secrets, &['a'])?.display().to_string();
    let mut node = Node::start(NodeOptions::new().flag("secrets-key-file", &file)).await?;
    publish_secret(&node.client(), "db", SECRET).send().await?.expect(201)?;
    ensure!(node.client().get(&key("db")).send().await?.text() == SECRET, "nobody has to be known, so everybody may");
    node.terminate().await?;
    key_file(&secrets, &['b'])?;
    let refused = node.start_again().await.err().context("it starts without the key")?;
    ensure!(format!("{refused:#}").contains("secrets.key_file"), "{refused:#}");
    key_file(&secrets, &['a'])?;
    node.start_again().await?;
    ensure!(node.client().get(&key("db")).send().await?.text() == SECRET);
    Ok(())
}

/// Reads and publishes at every node that is there, until it is told to stop: every answer has to be one.
fn load(nodes: Vec<String>, stop: Arc<AtomicBool>, done: Arc<AtomicUsize>) -> tokio::task::JoinHandle<Result<()>> {
    tokio::spawn(async move {
        for turn in 0_usize.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let client = Client::showing(nodes[turn % nodes.len()].clone(), SHOWN);
            let Ok(answer) = client.get(&key("db")).send().await else { continue };
            // A node that stops refuses; one that serves gives the secret.
            ensure!(answer.status == 503 || answer.text() == SECRET, "{} {}", answer.status, answer.text());
            done.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_master_key_is_changed_node_by_node_under_load() -> Result<()> {
    if !can_start(Engine::Postgres)? {
        return Ok(());
    }
    let (server, secrets) = (DatabaseServer::start(Engine::Postgres).await?, tempfile::tempdir()?);
    let mut cluster = Cluster::start(&server, 3, Wiring::Direct, keeping(&secrets)?).await?;
    let addresses: Vec<String> = cluster.members().map(|member| member.node.http()).collect();
    let administrator = Client::showing(addresses[0].clone(), SHOWN);
    publish_secret(&administrator, "db", SECRET).send().await?.expect(201)?;
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load = load(addresses.clone(), Arc::clone(&stop), Arc::clone(&done));
    // A new one is appended, moved to the front, and the old one is taken away: a rolling restart each.
    for keys in [&['a', 'b'][..], &['b', 'a'], &['b']] {
        key_file(&secrets, keys)?;
        cluster.restart_rolling(|_, _| {}).await?;
    }
    // A new data key, by which the next secret is sealed.
    send(&administrator, Method::POST, "/api/v1/secrets/keys", json!(null), 201).await?;
    stop.store(true, Ordering::Relaxed);
    load.await??;
    ensure!(done.load(Ordering::Relaxed) > 0, "nothing was read");
    publish_secret(&administrator, "other", SECOND).send().await?.expect(201)?;
    for address in addresses {
        let client = Client::showing(address, SHOWN);
        ensure!(client.get(&key("other")).send().await?.text() == SECOND);
        ensure!(client.get(&key("db")).send().await?.text() == SECRET);
    }
    Ok(())
}
