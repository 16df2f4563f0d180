//! Single sign-on at a real provider, oidc-provider of panva, by its own log-in and consent pages: what groups give,
//! who is kept out, and a cluster on which people come and go while others go on. Without `scripts/oidc run` the tests
//! that need the provider say so and pass.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use callboard_integration_tests::client::{Client, path};
use callboard_integration_tests::cluster::{Cluster, Wiring};
use callboard_integration_tests::database_server::{DatabaseServer, Engine, can_start, free_port};
use callboard_integration_tests::guarded::{self, PASSWORD, guarded};
use callboard_integration_tests::node::{Node, NodeOptions};
use callboard_integration_tests::oidc::{Browser, CALLBACK, Page, Provider};
use callboard_integration_tests::poll;
use callboard_protocol::key::ConfigKey;
use futures_util::future::try_join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

/// By when everybody goes by a change.
const CUT: Duration = Duration::from_secs(5);
const LOGIN: &str = "callboard_login";

fn key() -> ConfigKey {
    ConfigKey::new("public", "app", "a").unwrap()
}

/// Nodes that trust the provider, whose developers may read and write.
fn trusting(provider: &Provider, secrets: &TempDir) -> Result<NodeOptions> {
    Ok(provider.trusted_by(guarded(secrets.path())?, secrets)?.flag("oidc-roles", "developers=team"))
}

async fn prepare(administrator: &Client) -> Result<()> {
    let role = json!({ "grants": [{ "namespace": "public", "actions": ["read", "write"] }] });
    administrator.request(Method::PUT, "/api/v1/roles/team").json(&role).send().await?.expect(200)?;
    administrator.put(&key(), "0").send().await?.expect(201).map(drop)
}

async fn made(administrator: &Client, user: Value) -> Result<()> {
    administrator.request(Method::POST, "/api/v1/users").json(&user).send().await?.expect(201).map(drop)
}

fn problem(page: &Page) -> Value {
    serde_json::from_str(&page.text).unwrap_or_default()
}

/// Waits until a node goes by what a token is worth.
async fn until_answered(node: &Node, token: &str, status: u16) -> Result<()> {
    let client = Client::showing(node.http(), &format!("Bearer {token}"));
    poll::until(&format!("the node answers {status}"), CUT, async || {
        let answer = client.get(&key()).send().await?;
        Ok((answer.status == status).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_logs_in_in_a_browser_and_may_what_the_groups_give() -> Result<()> {
    let Some(provider) = Provider::for_test()? else { return Ok(()) };
    let secrets = tempfile::tempdir()?;
    let node = Node::start(trusting(&provider, &secrets)?).await?;
    let administrator = node.client();
    prepare(&administrator).await?;
    let offered = Client::new(node.http()).get_path("/api/v1/auth/oidc").send().await?.expect(200)?.json()?;
    ensure!(offered == json!({ "enabled": true, "issuer": provider.issuer() }), "{offered}");
    provider.set_groups("eve", &["developers", "strangers"]).await?;
    let mut browser = Browser::new()?;
    let back = browser.begin(&node.http(), "eve").await?;
    let page = browser.get(&back).await?;
    ensure!(page.status == 302 && page.location().is_some_and(|at| at.path() == "/console"), "{page:?}");
    let line = page.cookie_line(LOGIN).context("a cookie")?;
    ensure!(line.contains("HttpOnly; SameSite=Strict") && !line.contains("Secure"), "{line}");
    let again = browser.get(&back).await?;
    ensure!(again.status == 400 && problem(&again)["parameter"] == "state", "a way back is gone once: {again:?}");

    let at = format!("{}{}", node.http(), path(&key()));
    ensure!(browser.get(&at).await?.status == 200);
    let me = browser.get(format!("{}/api/v1/auth/me", node.http())).await?;
    ensure!(problem(&me)["user"] == "eve", "{me:?}");
    let own = ("sec-fetch-site", "same-origin");
    let text = ("content-type", "text/plain");
    for (headers, status, code) in [
        (vec![own, text], 200, &Value::Null),
        (vec![text], 403, &json!("foreign_origin")),
        (vec![("sec-fetch-site", "same-site"), text], 403, &json!("foreign_origin")),
        (vec![("origin", "http://127.0.0.1:1"), text], 403, &json!("foreign_origin")),
    ] {
        let page = browser.ask(Method::PUT, &at, &headers, &[("content".to_owned(), "1".to_owned())]).await?;
        ensure!(page.status == status && &problem(&page)["code"] == code, "{headers:?}: {page:?}");
    }
    let nacos = browser.get(format!("{}/nacos/v1/cs/configs?dataId=a&group=app", node.http())).await?;
    ensure!(nacos.status == 403, "a client of Nacos has no cookie: {nacos:?}");

    // Beside users of the cluster.
    guarded::log_in(&administrator, "admin", PASSWORD).await?;
    let shown = administrator.get_path("/api/v1/users/eve").send().await?.expect(200)?.json()?;
    ensure!(shown["provider"] == provider.issuer() && shown["providerRoles"] == json!(["team"]), "{shown}");
    ensure!(shown["roles"] == json!([]) && shown["hasPassword"] == false, "{shown}");
    let password = json!({ "password": "a password of hers" });
    let set = administrator.request(Method::PUT, "/api/v1/users/eve/password").json(&password).send().await?;
    ensure!(set.expect(409)?.code() == "access_protected");
    let withdrawn = administrator.request(Method::DELETE, "/api/v1/users/eve/roles/team").send().await?;
    ensure!(withdrawn.expect(409)?.code() == "access_protected");

    let token = browser.cookie(LOGIN).context("a cookie")?.to_owned();
    let out = browser.ask(Method::POST, &format!("{}/api/v1/auth/logout", node.http()), &[own], &[]).await?;
    let end = problem(&out)["endSessionUrl"].as_str().unwrap_or_default().to_owned();
    ensure!(out.status == 200 && end.starts_with(&format!("{}/session/end?", provider.issuer())), "{out:?}");
    ensure!(browser.cookie(LOGIN).is_none() && browser.get(&end).await?.status == 200);
    until_answered(&node, &token, 401).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_takes_over_a_user_and_who_has_no_role_or_is_shut_out_stays_out() -> Result<()> {
    let Some(provider) = Provider::for_test()? else { return Ok(()) };
    let secrets = tempfile::tempdir()?;
    let node = Node::start(trusting(&provider, &secrets)?).await?;
    let administrator = node.client();
    prepare(&administrator).await?;
    made(&administrator, json!({ "name": "local", "password": "local has a password" })).await?;
    for (user, groups, status, code) in [
        ("local", vec!["developers"], 409, "access_exists"),
        ("admin", vec!["developers"], 409, "access_exists"),
        ("nobody", vec!["strangers"], 403, "forbidden"),
    ] {
        provider.set_groups(user, &groups).await?;
        let mut browser = Browser::new()?;
        let back = browser.begin(&node.http(), user).await?;
        let page = browser.get(&back).await?;
        ensure!(page.status == status && problem(&page)["code"] == code, "{user}: {page:?}");
        ensure!(browser.cookie(LOGIN).is_none(), "{user} is let in");
    }
    guarded::log_in(&administrator, "local", "local has a password").await?;

    provider.set_groups("shut-out", &["developers"]).await?;
    let token = Browser::new()?.log_in(&node.http(), "shut-out").await?;
    let enabled = administrator.request(Method::PUT, "/api/v1/users/shut-out/enabled");
    enabled.json(&json!({ "enabled": false })).send().await?.expect(204)?;
    until_answered(&node, &token, 401).await?;
    let mut browser = Browser::new()?;
    let back = browser.begin(&node.http(), "shut-out").await?;
    ensure!(browser.get(&back).await?.status == 403);

    // Who thinks better of it.
    let mut browser = Browser::new()?;
    let page = browser.get(format!("{}/api/v1/auth/oidc/login", node.http())).await?;
    let asked = browser.get(page.location().context("the provider")?).await?;
    let page = browser.get(format!("{}/abort", asked.location().context("its page")?)).await?;
    let page = browser.get(page.location().context("on the way")?).await?;
    let back = page.location().context("the way back")?;
    ensure!(back.path() == CALLBACK, "{back}");
    let refused = browser.get(&back).await?;
    ensure!(refused.status == 403 && problem(&refused)["providerError"] == "access_denied", "{refused:?}");
    for wrong in ["//evil.example", "https://evil.example", "/\\evil.example"] {
        let page = browser.get(format!("{}/api/v1/auth/oidc/login?return={wrong}", node.http())).await?;
        ensure!(page.status == 400 && page.location().is_none(), "{wrong}: {page:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_away_keeps_out_only_who_comes_from_there() -> Result<()> {
    let secrets = tempfile::tempdir()?;
    let issuer = format!("http://127.0.0.1:{}", free_port()?);
    let options = guarded(secrets.path())?.flag("oidc-issuer", &issuer).flag("oidc-client-id", "callboard");
    let node = Node::start(options).await?;
    let administrator = node.client();
    prepare(&administrator).await?;
    let stranger = Client::new(node.http());
    let refused = stranger.get_path("/api/v1/auth/oidc/login").send().await?.expect(503)?;
    ensure!(refused.code() == "unavailable" && refused.text().contains("can't be asked"), "{}", refused.text());
    stranger.request(Method::POST, "/api/v1/auth/oidc/device").send().await?.expect(503)?;
    guarded::log_in(&stranger, "admin", PASSWORD).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_proxy_with_tls_cookies_go_by_tls_alone() -> Result<()> {
    let Some(provider) = Provider::for_test()? else { return Ok(()) };
    let secrets = tempfile::tempdir()?;
    let public = format!("https://callboard.example/config{CALLBACK}");
    let node = Node::start(trusting(&provider, &secrets)?.flag("oidc-redirect-url", &public)).await?;
    let page = Browser::new()?.get(format!("{}/api/v1/auth/oidc/login", node.http())).await?;
    let location = page.location().context("the provider")?;
    ensure!(location.query_pairs().any(|(name, value)| name == "redirect_uri" && value == public), "{location}");
    let line = page.cookie_line("callboard_oidc").context("a cookie")?;
    let attributes = format!("; Path=/config{CALLBACK}; Max-Age=600; HttpOnly; SameSite=Lax; Secure");
    ensure!(line.ends_with(&attributes), "{line}");
    Ok(())
}

/// Clients of a user of the cluster who read at every node and write at one, until they are stopped.
fn load(cluster: &Cluster, token: &str, stop: &Arc<AtomicBool>) -> tokio::task::JoinHandle<Result<u64>> {
    let shown = format!("Bearer {token}");
    let clients: Vec<_> = cluster.members().map(|member| Client::showing(member.node.http(), &shown)).collect();
    let stop = Arc::clone(stop);
    tokio::spawn(async move {
        let mut count = 0;
        while !stop.load(Ordering::Relaxed) {
            for client in &clients {
                client.get(&key()).send().await?.expect(200)?;
                count += 1;
            }
            clients[0].put(&key(), count.to_string()).send().await?.expect(200)?;
        }
        Ok(count)
    })
}

/// Somebody begins a log-in at one node and ends it at another, as a proxy before them may have it.
async fn log_in(browser: &mut Browser, user: &str, (begins, ends): (&Node, &Node)) -> Result<String> {
    let back = browser.begin(&begins.http(), user).await?;
    let page = browser.get(format!("{}{}?{}", ends.http(), back.path(), back.query().unwrap_or_default())).await?;
    ensure!(page.status == 302, "{user}: {page:?}");
    browser.cookie(LOGIN).map(str::to_owned).context("a cookie")
}

/// Somebody logs in at one node and comes back to another one, loses the group, logs in again, has it back, and logs
/// out.
async fn come_and_go(provider: &Provider, cluster: &Cluster, user: &str, place: usize) -> Result<()> {
    let nodes: Vec<&Node> = cluster.members().map(|member| &member.node).collect();
    let at = |step: usize| nodes[(place + step) % nodes.len()];
    provider.set_groups(user, &["developers"]).await?;
    let token = log_in(&mut Browser::new()?, user, (at(0), at(1))).await?;
    for node in &nodes {
        until_answered(node, &token, 200).await?;
    }
    let shown = Client::showing(at(2).http(), &format!("Bearer {token}"));
    let mut stream = shown.watch("namespace=public&group=app&dataId=a", None).await?;
    provider.set_groups(user, &["strangers"]).await?;
    let poorer = log_in(&mut Browser::new()?, user, (at(2), at(2))).await?;
    let cut = async { while stream.next(CUT).await.is_ok_and(|event| event.is_some()) {} };
    tokio::time::timeout(CUT, cut).await.context("a stream goes on")?;
    ensure!(stream.next(Duration::from_millis(1)).await.is_err(), "the stream has not ended");
    for node in &nodes {
        until_answered(node, &token, 403).await?;
        until_answered(node, &poorer, 403).await?;
    }
    provider.set_groups(user, &["developers"]).await?;
    let mut browser = Browser::new()?;
    log_in(&mut browser, user, (at(2), at(0))).await?;
    for node in &nodes {
        until_answered(node, &token, 200).await?;
    }
    let out = format!("{}/api/v1/auth/logout", at(0).http());
    let own = ("sec-fetch-site", "same-origin");
    ensure!(browser.ask(Method::POST, &out, &[own], &[]).await?.status / 100 == 2);
    for node in &nodes {
        until_answered(node, &token, 401).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn people_come_and_go_on_three_nodes_under_load_and_nobody_else_is_disturbed() -> Result<()> {
    let Some(provider) = Provider::for_test()? else { return Ok(()) };
    if !can_start(Engine::Postgres)? {
        return Ok(());
    }
    let (server, secrets) = (DatabaseServer::start(Engine::Postgres).await?, tempfile::tempdir()?);
    // The name of all of them, as if one proxy stood before them.
    let options = trusting(&provider, &secrets)?.flag("oidc-redirect-url", &format!("http://127.0.0.1{CALLBACK}"));
    let cluster = Cluster::start(&server, 3, Wiring::Direct, options).await?;
    let first = cluster.members().next().context("a node")?;
    let administrator = first.node.client();
    prepare(&administrator).await?;
    made(&administrator, json!({ "name": "ann", "password": "ann has a password", "roles": ["team"] })).await?;
    let ann = guarded::log_in(&administrator, "ann", "ann has a password").await?;
    for member in cluster.members() {
        until_answered(&member.node, &ann, 200).await?;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let loads: Vec<_> = (0..2).map(|_| load(&cluster, &ann, &stop)).collect();
    let shown = Client::showing(first.node.http(), &format!("Bearer {ann}"));
    let mut stream = shown.watch("namespace=public&group=app&dataId=a", None).await?;
    let people = ["carol", "dave", "erin"].into_iter().enumerate();
    try_join_all(people.map(|(place, user)| come_and_go(&provider, &cluster, user, place))).await?;
    stop.store(true, Ordering::Relaxed);
    for load in loads {
        ensure!(load.await?? > 0, "there was no load");
    }
    let last = shown.put(&key(), "last").send().await?.expect(200)?.version().context("a version")?;
    while stream.expect().await?.subject().is_none_or(|(_, version)| version < last) {}
    // What became of them is the same for all.
    for member in cluster.members() {
        let users = member.node.client().get_path("/api/v1/users").send().await?.expect(200)?.json()?;
        ensure!(users["items"].as_array().map(Vec::len) == Some(5), "{users}");
    }
    Ok(())
}
