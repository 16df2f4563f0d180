//! A cluster without users goes over to one where callers have to be known, node by node and under load, as
//! `docs/operations.md` says: nobody who shows what he was given is refused, and in the end whoever shows nothing is.
//! `CALLBOARD_TEST_FORMER_BIN` names the program of the version before, which the cluster then begins with. On
//! PostgreSQL; where it is not installed the test says so and passes; with `CALLBOARD_TEST_REQUIRE_DATABASES=1` it
//! fails.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![allow(clippy::panic, reason = "a failed expectation is a failed test")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use callboard_integration_tests::client::Client;
use callboard_integration_tests::cluster::{Cluster, Wiring};
use callboard_integration_tests::database_server::{DatabaseServer, Engine, can_start};
use callboard_integration_tests::grpc::{Connection, Sdk};
use callboard_integration_tests::guarded::{self, PASSWORD, guarded, password_of};
use callboard_integration_tests::nacos::CONFIGS;
use callboard_integration_tests::node::{Node, NodeOptions};
use callboard_integration_tests::poll;
use callboard_integration_tests::session::{self, Session};
use callboard_proto::session as proto;
use callboard_protocol::key::ConfigKey;
use reqwest::Method;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What the administrator shows, whether anybody asks or not.
const SHOWN: &str = "Basic cm9vdDp0aGUgZmlyc3QgcGFzc3dvcmQ=";

fn options() -> NodeOptions {
    NodeOptions::new().asked_with(SHOWN)
}

fn key() -> ConfigKey {
    ConfigKey::new("public", "app", "a").unwrap()
}

/// Where a node is reached, after every start.
#[derive(Debug, Clone, Copy)]
struct Place {
    http: SocketAddr,
    tcp: SocketAddr,
    grpc: SocketAddr,
}

impl Place {
    fn of(node: &Node) -> Self {
        Self { http: node.address(), tcp: node.session_address(), grpc: node.grpc_address() }
    }

    fn client(self, token: &str) -> Client {
        Client::showing(format!("http://{}", self.http), &format!("Bearer {token}"))
    }
}

/// What clients do that show what they were given, in their turn; `None` when the node can't be reached.
async fn ask(turn: usize, place: Place, token: &str) -> Result<Option<u16>> {
    let client = place.client(token);
    let status = match turn % 6 {
        0 => client.get(&key()).send().await.map(|answer| answer.status),
        1 => client.put(&key(), turn.to_string()).send().await.map(|answer| answer.status),
        2 => {
            let shown = format!(
                "{CONFIGS}?dataId=a&group=app&username=ann&password={}",
                password_of("ann").replace(' ', "%20")
            );
            Client::new(format!("http://{}", place.http)).get_path(&shown).send().await.map(|answer| answer.status)
        }
        3 => client.list("public").send().await.map(|answer| answer.status),
        4 => by_grpc(place.grpc, token).await,
        _ => by_session(place.tcp, token).await,
    };
    Ok(status.ok())
}

/// 200, or 403 for one that is not let in.
async fn by_grpc(address: SocketAddr, token: &str) -> Result<u16> {
    let mut connection = Connection::of(Sdk::Java, address).await?;
    let named = json!({ "dataId": "a", "group": "app", "tenant": "" });
    let answer = connection.ask_showing(&[("accessToken", token)], "ConfigQueryRequest", &named).await?;
    Ok(if answer.body["errorCode"] == 403 { 403 } else { 200 })
}

async fn by_session(address: SocketAddr, token: &str) -> Result<u16> {
    let mut session = Session::connect(address).await?;
    let hello = session::hello("client");
    let greeted = session.greet(proto::Hello { credentials: format!("Bearer {token}"), ..hello }).await;
    match greeted {
        Ok(_) => session.get("a").await.map(|_| 200),
        Err(error) if format!("{error:#}").contains("unauthenticated") => Ok(401),
        Err(error) => Err(error),
    }
}

/// Asks every node in turn until it is told to stop. Tells how many were answered.
fn load(places: Vec<Place>, token: String, mut stopped: watch::Receiver<bool>) -> JoinHandle<Result<u64>> {
    tokio::spawn(async move {
        let mut answered = 0;
        for turn in 0_usize.. {
            if *stopped.borrow_and_update() {
                break;
            }
            let Some(status) = ask(turn, places[turn % places.len()], &token).await? else { continue };
            ensure!(status != 401 && status != 403, "who shows what he was given is refused: {status} in turn {turn}");
            answered += u64::from(status < 300);
        }
        Ok(answered)
    })
}

/// Makes a user who may read and write and an administrator, while nobody has to be known; and logs the user in.
async fn make_users(client: &Client) -> Result<String> {
    let administrator = json!({ "name": "root", "password": PASSWORD, "roles": ["admin"] });
    guarded::send(client, Method::POST, "/api/v1/users", administrator, 201).await?;
    guarded::user(client, "ann", &["read", "write"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_without_users_goes_over_node_by_node_under_load() -> Result<()> {
    if !can_start(Engine::Postgres)? {
        return Ok(());
    }
    let (server, secrets) = (DatabaseServer::start(Engine::Postgres).await?, tempfile::tempdir()?);
    let former = std::env::var_os("CALLBOARD_TEST_FORMER_BIN").map(PathBuf::from);
    let mut cluster = Cluster::start(&server, 3, Wiring::Direct, options().by(former.clone())).await?;
    let places: Vec<Place> = cluster.members().map(|member| Place::of(&member.node)).collect();
    let before = cluster.members().next().context("a member")?.node.client();
    before.put(&key(), "0").send().await?.expect(201)?;
    // 1. Every node to this version.
    cluster.set_up(options())?;
    if former.is_some() {
        cluster.restart_rolling(|_, _| {}).await?;
    }
    let places_now: Vec<Place> = cluster.members().map(|member| Place::of(&member.node)).collect();
    ensure!(format!("{places:?}") == format!("{places_now:?}"), "the nodes of the test move about");
    // 2. Users, while nobody has to be known. 3. Clients show what they were given; nobody asks for it yet.
    let token = make_users(&before).await?;
    let (stop, stopped) = watch::channel(false);
    let load = load(places.clone(), token.clone(), stopped);
    // 4. One node after the other asks.
    cluster.set_up(guarded(secrets.path())?.asked_with(SHOWN))?;
    cluster.restart_rolling(|_, _| {}).await?;
    stop.send(true)?;
    ensure!(load.await?? > 0, "nobody was answered");
    for place in places {
        let nobody = Client::new(format!("http://{}", place.http));
        ensure!(nobody.get(&key()).send().await?.status == 401, "who shows nothing is let in");
        let known = poll::until("the user is known", Duration::from_secs(5), async || {
            let answer = place.client(&token).get(&key()).send().await?;
            Ok((answer.status == 200).then_some(answer))
        });
        known.await?;
        ensure!(by_grpc(place.grpc, &token).await? == 200 && by_grpc(place.grpc, "none").await? == 403);
    }
    Ok(())
}
