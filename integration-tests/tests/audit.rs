//! What is written down at a node where callers have to be known: who did what by which door, once and without a
//! content, a password or a token; whoever changes it by hand is found out; an acknowledged publish is in it, whatever
//! ends the node; and a flood of wrong passwords makes a few records.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![allow(clippy::panic, reason = "a failed expectation is a failed test")]

// Other tests of these use more of them.
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "sessions/socket.rs"]
mod socket;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "commands/terminal.rs"]
mod terminal;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use callboard_integration_tests::client::Client;
use callboard_integration_tests::cluster::{Cluster, Wiring};
use callboard_integration_tests::database_server::{DatabaseServer, Engine, can_start};
use callboard_integration_tests::grpc::{Connection, Sdk};
use callboard_integration_tests::guarded::{PASSWORD, guarded, log_in};
use callboard_integration_tests::nacos::{CONFIGS, form};
use callboard_integration_tests::node::Node;
use callboard_integration_tests::poll;
use callboard_integration_tests::session::{self, Session};
use callboard_proto::session as proto;
use callboard_protocol::key::ConfigKey;
use futures_util::future::join_all;
use reqwest::Method;
use sea_orm::sqlx::{AssertSqlSafe, Connection as _, Executor as _, SqliteConnection};
use serde_json::{Value, json};
use tempfile::TempDir;

use self::socket::Socket;
use self::terminal::{Said, Terminal, to_end};

const ANN: &str = "ann has a password";
const WRONG: &str = "not her password";
/// What is published.
const CONTENT: &str = "a content that is nobody's business";

fn key(data_id: &str) -> ConfigKey {
    ConfigKey::new("public", "app", data_id).unwrap()
}

async fn verify(node: &Node, token: &str, more: &str) -> Result<Said> {
    let terminal = Terminal::at(node)?;
    let mut command = terminal.command(&format!("audit verify {more}"))?;
    command.env("CALLBOARD_CLIENT_TOKEN", token);
    to_end(command, None).await
}

/// The export, and the events in it.
async fn export(admin: &Client) -> Result<(String, Vec<Value>)> {
    let text = admin.get_path("/api/v1/audit/export").send().await?.expect(200)?.text();
    let mut events = Vec::new();
    for line in text.lines().skip(1) {
        let record: Value = serde_json::from_str(line)?;
        let body: Value = serde_json::from_str(record["body"].as_str().context("a body")?)?;
        events.extend(body["events"].as_array().context("events")?.clone());
    }
    Ok((text, events))
}

/// A node whose administrator is known.
struct Guarded {
    node: Node,
    admin: Client,
    token: String,
    _secrets: TempDir,
}

impl Guarded {
    async fn start() -> Result<Self> {
        let secrets = tempfile::tempdir()?;
        let node = Node::start(guarded(secrets.path())?).await?;
        let made = json!({ "description": "for the test" });
        let made = ask(&node.client(), Method::POST, "/api/v1/tokens", made).await?;
        let token = made["token"].as_str().context("a token")?.to_owned();
        let admin = Client::showing(node.http(), &format!("Bearer {token}"));
        Ok(Self { node, admin, token, _secrets: secrets })
    }

    /// Starts it again after it has ended.
    async fn start_again(&mut self) -> Result<()> {
        self.node.start_again().await?;
        self.admin = Client::showing(self.node.http(), &format!("Bearer {}", self.token));
        Ok(())
    }

    /// The export as it came, and every event in it with the record that it is from.
    async fn export(&self) -> Result<(String, Vec<Value>)> {
        export(&self.admin).await
    }

    /// Waits until an event of this kind is in the export.
    async fn until_told(&self, what: &str) -> Result<(String, Vec<Value>)> {
        poll::until(what, poll::SOON, async || {
            let (text, events) = self.export().await?;
            Ok(events.iter().any(|event| event["what"] == what).then_some((text, events)))
        })
        .await
    }

    async fn verify(&self, more: &str) -> Result<Said> {
        verify(&self.node, &self.token, more).await
    }

    /// Changes the database by hand while the node does not run.
    async fn tamper(&mut self, sql: &str) -> Result<()> {
        self.node.terminate().await?;
        let url = format!("sqlite://{}", self.node.data_dir().join("callboard.db").display());
        let mut database = SqliteConnection::connect(&url).await?;
        database.execute(AssertSqlSafe(sql.to_owned())).await?;
        database.close().await?;
        self.start_again().await
    }
}

async fn ask(client: &Client, method: Method, path: &str, body: Value) -> Result<Value> {
    let answer = client.request(method, path).json(&body).send().await?;
    ensure!((200..300).contains(&answer.status), "{path}: {answer:?}");
    if answer.body.is_empty() { Ok(Value::Null) } else { answer.json() }
}

/// Publishes one configuration by each door.
async fn publish_everywhere(guarded: &Guarded) -> Result<()> {
    let (node, token) = (&guarded.node, guarded.token.as_str());
    guarded.admin.put(&key("by-rest"), CONTENT).send().await?.expect(201)?;
    let shown = [("dataId", "by-nacos"), ("group", "app"), ("content", CONTENT), ("accessToken", token)];
    // Who says that he is somebody else is written down as who he is.
    let pairs: Vec<_> = shown.into_iter().chain([("src_user", "mallory")]).collect();
    let publish = Client::new(node.http()).request(Method::POST, CONFIGS);
    let publish = publish.header("Content-Type", "application/x-www-form-urlencoded").body(form(&pairs));
    publish.send().await?.expect(200)?;
    let mut connection = Connection::of(Sdk::Java, node.grpc_address()).await?;
    let body = json!({ "dataId": "by-grpc", "group": "app", "tenant": "", "content": CONTENT,
                       "additionMap": { "src_user": "mallory" } });
    let answer = connection.ask_showing(&[("accessToken", token)], "ConfigPublishRequest", &body).await?;
    ensure!(answer.is_good(), "{answer:?}");
    let credentials = format!("Bearer {token}");
    let mut session = Session::connect(node.session_address()).await?;
    session.greet(proto::Hello { credentials: credentials.clone(), ..session::hello("client") }).await?;
    session.publish("by-session", CONTENT).await?;
    let mut socket = Socket::connect(node.address()).await?;
    let hello = json!({ "clientId": "client", "maxVersion": 1, "credentials": credentials });
    ensure!(socket.ask(json!({ "hello": hello })).await?.get("welcome").is_some(), "no welcome");
    let publish = json!({ "key": socket::key("by-websocket"), "content": CONTENT });
    ensure!(socket.ask(json!({ "publish": publish })).await?.get("published").is_some(), "not published");
    Ok(())
}

/// The one event that is so.
#[track_caller]
fn once<'a>(events: &'a [Value], what: &str, fits: impl Fn(&Value) -> bool) -> &'a Value {
    let found: Vec<_> = events.iter().filter(|event| event["what"] == what && fits(event)).collect();
    assert_eq!(found.len(), 1, "{what}: {found:?} of {events:#?}");
    found[0]
}

/// Users, refusals and what an administrator does.
async fn live(guarded: &Guarded) -> Result<Vec<String>> {
    let admin = &guarded.admin;
    let role = json!({ "grants": [{ "namespace": "public", "actions": ["read"] }] });
    ask(admin, Method::PUT, "/api/v1/roles/team", role).await?;
    let user = json!({ "name": "ann", "password": ANN, "roles": ["team"] });
    ask(admin, Method::POST, "/api/v1/users", user).await?;
    let anybody = Client::new(guarded.node.http());
    let shown = json!({ "user": "ann", "password": WRONG });
    anybody.request(Method::POST, "/api/v1/auth/login").json(&shown).send().await?.expect(401)?;
    let typed = json!({ "user": WRONG, "password": WRONG });
    anybody.request(Method::POST, "/api/v1/auth/login").json(&typed).send().await?.expect(401)?;
    let shown = json!({ "user": "ann", "password": ANN });
    let ann = ask(&anybody, Method::POST, "/api/v1/auth/login", shown).await?;
    let ann = ann["token"].as_str().context("a token")?.to_owned();
    let as_ann = Client::showing(guarded.node.http(), &format!("Bearer {ann}"));
    let other = ConfigKey::new("other", "app", "a")?;
    as_ann.get(&other).send().await?.expect(403)?;
    as_ann.put(&key("by-rest"), WRONG).send().await?.expect(403)?;
    anybody.get(&key("by-rest")).send().await?.expect(401)?;
    let grant = json!({ "namespace": "prod*", "actions": ["read", "write"] });
    ask(admin, Method::POST, "/api/v1/roles/team/grants", grant).await?;
    let token = ask(admin, Method::POST, "/api/v1/tokens", json!({ "user": "ann", "days": 3 })).await?;
    ask(admin, Method::POST, "/api/v1/auth/keys", Value::Null).await?;
    ask(admin, Method::POST, "/api/v1/namespaces", json!({ "id": "dev", "name": CONTENT })).await?;
    let stale = admin.put(&key("by-rest"), WRONG).header("If-Match", "\"v999\"").send().await?;
    ensure!(stale.status == 412, "{stale:?}");
    admin.delete(&key("by-nacos")).send().await?.expect(200)?;
    Ok(vec![ann, token["token"].as_str().context("a token")?.to_owned()])
}

#[tokio::test(flavor = "multi_thread")]
async fn each_is_written_down_once_and_no_secret_is() -> Result<()> {
    let guarded = Guarded::start().await?;
    publish_everywhere(&guarded).await?;
    let tokens = live(&guarded).await?;
    guarded.admin.request(Method::POST, "/api/v1/cluster/drain").send().await?.expect(200)?;
    guarded.until_told("drained").await?;
    // What is summed is written within a second.
    let (text, events) = guarded.until_told("access_refused").await?;
    for (name, door) in [
        ("by-rest", "rest"),
        ("by-nacos", "nacos_http"),
        ("by-grpc", "grpc"),
        ("by-session", "session"),
        ("by-websocket", "websocket"),
    ] {
        let event = once(&events, "publish", |event| event["target"]["dataId"] == name && event["outcome"] == "done");
        assert_eq!(
            (&event["user"], &event["address"], &event["door"]),
            (&"admin".into(), &"127.0.0.1".into(), &door.into())
        );
        assert!(event["target"]["version"].as_u64() > Some(0), "{event}");
    }
    let by_ann = |event: &Value| event["user"] == "ann";
    assert_eq!(once(&events, "log_in", by_ann)["outcome"], "done");
    let refused = once(&events, "log_in_refused", by_ann);
    assert_eq!((&refused["code"], &refused["address"]), (&"unauthenticated".into(), &"127.0.0.1".into()));
    once(&events, "log_in_refused", |event| event.get("user").is_none());
    let refused = once(&events, "access_refused", by_ann);
    assert_eq!((&refused["target"]["namespace"], &refused["code"]), (&"other".into(), &"forbidden".into()));
    assert_eq!(refused["count"], 2, "the refused write is summed with it: {refused}");
    once(&events, "access_refused", |event| event.get("user").is_none() && event["code"] == "unauthenticated");
    let stale = once(&events, "publish", |event| event["outcome"] == "refused");
    assert_eq!((&stale["code"], &stale["user"]), (&"condition_failed".into(), &"admin".into()));
    for (what, member, value) in [
        ("user_made", "user", "ann"),
        ("role_set", "role", "team"),
        ("granted", "grants", "read,write prod*/*/*"),
        ("token_made", "user", "ann"),
        ("namespace_made", "namespace", "dev"),
        ("remove", "dataId", "by-nacos"),
    ] {
        let is_it = |event: &Value| event["target"][member] == value || event["target"][member] == json!([value]);
        let event = once(&events, what, is_it);
        assert_eq!(
            (&event["user"], &event["door"], &event["outcome"]),
            (&"admin".into(), &"rest".into(), &"done".into())
        );
    }
    once(&events, "key_made", |event| event["user"] == "admin");
    once(&events, "drained", |event| event["user"] == "admin");
    once(&events, "user_made", |event| event["door"] == "system" && event["target"]["user"] == "admin");
    for secret in tokens.iter().map(String::as_str).chain([CONTENT, PASSWORD, ANN, WRONG, &guarded.token, "mallory"]) {
        assert!(!text.contains(secret), "{secret} is in the export");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_changes_it_by_hand_is_found_out() -> Result<()> {
    let mut guarded = Guarded::start().await?;
    for count in 0..5 {
        guarded.admin.put(&key("a"), count.to_string()).send().await?;
    }
    let said = guarded.verify("").await?.expect(0)?;
    ensure!(said.contains("whole"), "{said}");
    let (older, _) = guarded.export().await?;
    let kept = guarded.node.data_dir().join("older.jsonl");
    std::fs::write(&kept, older)?;
    let chains = guarded.admin.get_path("/api/v1/audit/chains").send().await?.expect(200)?.json()?;
    ensure!(chains["items"][0]["flaw"] == Value::Null, "{chains}");
    guarded.tamper("UPDATE cc_audit SET body = REPLACE(body, 'admin', 'mallory') WHERE seq = 4").await?;
    let said = guarded.verify("").await?.expect(1)?;
    ensure!(said.contains("record 4 is not as it was written"), "{said}");
    let chains = guarded.admin.get_path("/api/v1/audit/chains").send().await?.expect(200)?.json()?;
    ensure!(chains["items"][0]["broken"] == 4, "{chains}");
    guarded.tamper("DELETE FROM cc_audit WHERE seq = 4").await?;
    let said = guarded.verify("").await?.expect(1)?;
    ensure!(said.contains("record 4 is missing"), "{said}");
    // Without its end the chain goes on as if there had been none; the older export knows better.
    guarded.tamper("DELETE FROM cc_audit WHERE seq >= 4").await?;
    guarded.verify("").await?.expect(0)?;
    let said = guarded.verify(&format!("--since {}", kept.display())).await?.expect(1)?;
    ensure!(said.contains("the older export has seen"), "{said}");
    // A file is verified without a node.
    let said = guarded.verify(&kept.display().to_string()).await?.expect(0)?;
    ensure!(said.contains("whole"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_node_has_seen_is_missed() -> Result<()> {
    if !can_start(Engine::Postgres)? {
        return Ok(());
    }
    let (server, secrets) = (DatabaseServer::start(Engine::Postgres).await?, tempfile::tempdir()?);
    let cluster = Cluster::start(&server, 2, Wiring::Direct, guarded(secrets.path())?).await?;
    let nodes: Vec<&Node> = cluster.members().map(|member| &member.node).collect();
    let made = ask(&nodes[0].client(), Method::POST, "/api/v1/tokens", json!({})).await?;
    let token = made["token"].as_str().context("a token")?.to_owned();
    for node in &nodes {
        let client = Client::showing(node.http(), &format!("Bearer {token}"));
        // The other node hears of the token within a moment.
        poll::until("the token is known", poll::SOON, async || {
            Ok((client.put(&key("a"), node.http()).send().await?.status != 401).then_some(()))
        })
        .await?;
    }
    let seen = poll::until("one has seen the other", poll::SOON, async || {
        let client = Client::showing(nodes[0].http(), &format!("Bearer {token}"));
        let text = client.get_path("/api/v1/audit/export").send().await?.expect(200)?.text();
        let heads = text.lines().skip(1).find_map(|line| {
            let record: Value = serde_json::from_str(line).ok()?;
            let body: Value = serde_json::from_str(record["body"].as_str()?).ok()?;
            let (node, head) = body["heads"].as_object()?.iter().next()?;
            Some((node.clone(), head["seq"].as_u64()?))
        });
        Ok(heads)
    })
    .await?;
    verify(nodes[0], &token, "").await?.expect(0)?;
    let (node, seq) = seen;
    let cut = format!("DELETE FROM cc_audit WHERE node = '{node}' AND seq >= {seq}");
    server.query(cluster.database(), &cut).await?;
    let said = verify(nodes[0], &token, "").await?.expect(1)?;
    ensure!(said.contains(&format!("node {node} ")) && said.contains(&format!("record {seq}")), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_made_on_another_node_a_moment_ago_is_named() -> Result<()> {
    if !can_start(Engine::Postgres)? {
        return Ok(());
    }
    let (server, secrets) = (DatabaseServer::start(Engine::Postgres).await?, tempfile::tempdir()?);
    let cluster = Cluster::start(&server, 2, Wiring::Direct, guarded(secrets.path())?).await?;
    let nodes: Vec<&Node> = cluster.members().map(|member| &member.node).collect();
    let admin = nodes[0].client();
    ask(&admin, Method::POST, "/api/v1/users", json!({ "name": "eve", "password": ANN })).await?;
    log_in(&nodes[1].client(), "eve", ANN).await?;
    poll::until("the log-in is written down under its name", poll::SOON, async || {
        let (_, events) = export(&admin).await?;
        let is_eve = |event: &&Value| event["what"] == "log_in" && event["user"] == "eve";
        Ok(events.iter().find(is_eve).map(|_| ()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_publish_is_in_it_whatever_ends_the_node() -> Result<()> {
    let mut guarded = Guarded::start().await?;
    let publishers = (0..8).map(|publisher| {
        let client = guarded.admin.clone();
        tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            for count in 0_u32.. {
                let answer = client.put(&key(&format!("k{publisher}")), count.to_string()).send().await;
                let Ok(answer) = answer else { break };
                acknowledged.extend(answer.version());
            }
            acknowledged
        })
    });
    let publishers: Vec<_> = publishers.collect();
    let has_many = async || {
        let (_, events) = guarded.export().await?;
        Ok((events.len() > 200).then_some(()))
    };
    poll::until("many publishes", poll::SOON, has_many).await?;
    guarded.node.kill()?;
    let acknowledged: BTreeSet<u64> = join_all(publishers).await.into_iter().flat_map(Result::unwrap).collect();
    guarded.start_again().await?;
    let (_, events) = guarded.export().await?;
    let told = events.iter().filter(|event| event["what"] == "publish" && event["outcome"] == "done");
    let told: Vec<u64> = told.filter_map(|event| event["target"]["version"].as_u64()).collect();
    let versions: BTreeSet<u64> = told.iter().copied().collect();
    ensure!(acknowledged.len() > 100, "only {} publishes", acknowledged.len());
    ensure!(acknowledged.is_subset(&versions), "{:?} are missing", acknowledged.difference(&versions));
    ensure!(told.len() == versions.len(), "some are told twice");
    guarded.verify("").await?.expect(0)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_wrong_passwords_makes_few_records() -> Result<()> {
    const ATTEMPTS: usize = 10_000;
    let guarded = Guarded::start().await?;
    let records = async || {
        let text = guarded.export().await?.0;
        anyhow::Ok(text.lines().count())
    };
    let before = records().await?;
    let begun = std::time::Instant::now();
    let attackers = (0..20).map(|attacker| {
        let anybody = Client::new(guarded.node.http());
        tokio::spawn(async move {
            for count in 0..ATTEMPTS / 20 {
                let user = if count % 2 == 0 { "admin".to_owned() } else { format!("user-{attacker}-{count}") };
                let shown = json!({ "user": user, "password": WRONG });
                anybody.request(Method::POST, "/api/v1/auth/login").json(&shown).send().await?;
            }
            anyhow::Ok(())
        })
    });
    for attacker in join_all(attackers).await {
        attacker??;
    }
    let took = begun.elapsed();
    let counted = async || {
        let (_, events) = guarded.export().await?;
        let told =
            events.iter().filter(|event| ["log_in_refused", "left_out"].contains(&event["what"].as_str().unwrap()));
        let count: u64 = told.map(|event| event["count"].as_u64().unwrap_or(1)).sum();
        Ok((count >= ATTEMPTS as u64).then_some(count))
    };
    let counted = poll::until("all are counted", Duration::from_secs(10), counted).await?;
    ensure!(counted == ATTEMPTS as u64, "{counted} are counted");
    let made = records().await? - before;
    let most = 4 * usize::try_from(took.as_secs() + 2)?;
    ensure!(made <= most, "{made} records in {took:?}");
    guarded.verify("").await?.expect(0)?;
    Ok(())
}
