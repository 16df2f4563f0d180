//! What operators see: metrics, actors, health, and the description of the interface.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeSet;

use anyhow::Result;
use callboard_integration_tests::client::Client;
use callboard_integration_tests::node::{Node, NodeOptions};
use callboard_integration_tests::poll;
use callboard_protocol::key::ConfigKey;
use serde_json::Value;

const KINDS: [&str; 10] = [
    "conf_manager",
    "cluster_notify",
    "event_bus",
    "coordinator",
    "reader",
    "cache",
    "store_writer",
    "store_reader",
    "lease_keeper",
    "cache_refresh",
];

/// A bit of everything, until the scheduled actors have had their turn too.
async fn load(client: &Client) -> Result<()> {
    let mut watch = client.watch("namespace=public&prefix=k", None).await?;
    for n in 0..100 {
        let key = ConfigKey::new("public", "app", &format!("k{}", n % 10))?;
        client.put(&key, format!("{n}")).send().await?;
        client.get(&key).send().await?.expect(200)?;
    }
    client.list("public").send().await?.expect(200)?;
    watch.expect().await?;
    Ok(())
}

/// Messages handled by all actors of a kind.
fn handled(actors: &Value, kind: &str) -> u64 {
    let of_kind = actors["actors"].as_array().unwrap().iter().filter(|actor| actor["kind"] == kind);
    let messages = of_kind.flat_map(|actor| actor["messages"].as_array().unwrap());
    messages.map(|message| message["count"].as_u64().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_actor_shows_figures_after_a_load() -> Result<()> {
    let node = Node::start(NodeOptions::new().flag("cache-refresh-interval", "20ms")).await?;
    let client = node.client();
    load(&client).await?;
    let mut actors = Value::Null;
    let idle = poll::until("every kind of actor has worked", poll::SOON, async || {
        actors = client.get_path("/api/v1/actors").send().await?.expect(200)?.json()?;
        Ok(KINDS.iter().all(|kind| handled(&actors, kind) > 0).then_some(()))
    });
    if let Err(error) = idle.await {
        let idle: Vec<_> = KINDS.iter().filter(|kind| handled(&actors, kind) == 0).collect();
        panic!("{error}: {idle:?} in {actors:#}");
    }
    for actor in actors["actors"].as_array().unwrap() {
        let name = actor["name"].as_str().unwrap();
        assert!(!actor["arbiter"].as_str().unwrap().is_empty(), "{actor}");
        assert_eq!(actor["panics"], 0, "{actor}");
        let one = client.get_path(&format!("/api/v1/actors/{name}")).send().await?.expect(200)?.json()?;
        assert_eq!(one["name"], name);
        assert!(one.get("snapshot").is_some(), "{one}");
    }
    let busiest = KINDS.iter().max_by_key(|kind| handled(&actors, kind)).unwrap();
    println!("busiest: {busiest} with {} messages", handled(&actors, busiest));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_count_every_actor_and_every_part() -> Result<()> {
    let node = Node::start(NodeOptions::new().flag("cache-refresh-interval", "20ms")).await?;
    let client = node.client();
    load(&client).await?;
    let positive = |metrics: &str, kind: &str| {
        let label = format!("actor=\"{kind}");
        let mut lines = metrics.lines().filter(|line| line.starts_with("callboard_actor_messages_total{"));
        lines.any(|line| line.contains(&label) && !line.ends_with(" 0"))
    };
    let mut metrics = String::new();
    let counted = poll::until("every kind of actor is counted", poll::SOON, async || {
        metrics = client.get_path("/metrics").send().await?.expect(200)?.text();
        Ok(KINDS.iter().all(|kind| positive(&metrics, kind)).then_some(()))
    });
    if let Err(error) = counted.await {
        let idle: Vec<_> = KINDS.iter().filter(|kind| !positive(&metrics, kind)).collect();
        panic!("{error}: {idle:?} in {metrics}");
    }
    for family in ["mailbox_depth", "queue_seconds", "handle_seconds", "restarts_total", "panics_total", "live"] {
        assert!(metrics.contains(&format!("callboard_actor_{family}")), "no {family} in {metrics}");
    }
    for part in ["callboard_cache_", "callboard_store_", "callboard_publish_", "callboard_http_"] {
        assert!(metrics.contains(part), "no {part} in {metrics}");
    }
    for figure in ["hits", "misses", "loads", "bytes", "evictions", "repairs"] {
        assert!(metrics.contains(&format!("callboard_cache_{figure}")), "no {figure} in {metrics}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_says_that_it_is_up_and_ready() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    assert_eq!(client.get_path("/healthz").send().await?.expect(200)?.json()?["status"], "up");
    let ready = client.get_path("/readyz").send().await?.expect(200)?.json()?;
    let text = ready.to_string();
    for check in ["database", "commits", "migrations", "membership"] {
        assert!(text.contains(check), "no {check} in {ready}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_interface_describes_every_route() -> Result<()> {
    const CONFIG: &str = "/api/v1/namespaces/{}/groups/{}/configs/{}";
    let expected = [
        (CONFIG.to_owned(), &["get", "put", "delete", "head"][..]),
        (format!("{CONFIG}/history"), &["get"]),
        (format!("{CONFIG}/history/{{}}"), &["get"]),
        ("/api/v1/namespaces".to_owned(), &["get", "post"]),
        ("/api/v1/namespaces/{}".to_owned(), &["put", "delete"]),
        ("/api/v1/namespaces/{}/configs".to_owned(), &["get"]),
        ("/api/v1/watch".to_owned(), &["get"]),
        ("/api/v1/actors".to_owned(), &["get"]),
        ("/api/v1/actors/{}".to_owned(), &["get"]),
        ("/healthz".to_owned(), &["get"]),
        ("/readyz".to_owned(), &["get"]),
        ("/metrics".to_owned(), &["get"]),
        ("/openapi.json".to_owned(), &["get"]),
    ];
    let node = Node::start(NodeOptions::new()).await?;
    let description = node.client().get_path("/openapi.json").send().await?.expect(200)?.json()?;
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1"), "{}", description["openapi"]);
    let described: BTreeSet<(String, String)> = description["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            let path = without_names(path);
            methods.as_object().unwrap().keys().map(move |method| (path.clone(), method.clone()))
        })
        .collect();
    for (path, methods) in expected {
        for method in methods {
            let route = (path.clone(), (*method).to_owned());
            assert!(described.contains(&route), "{route:?} is not among {described:#?}");
        }
    }
    Ok(())
}

/// `/a/{name}/b` as `/a/{}/b`: what a path parameter is called is no promise.
fn without_names(path: &str) -> String {
    let part = |part: &str| if part.starts_with('{') { "{}".to_owned() } else { part.to_owned() };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}
