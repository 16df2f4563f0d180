//! `history`, `clients`, `pushes`, `nodes` and `actors`.

use anyhow::{Context as _, Result};
use callboard_integration_tests::node::{Node, NodeOptions};
use callboard_integration_tests::poll;
use serde_json::{Value, json};

use super::terminal::{Running, Terminal};

/// A watch of `prices` in the group `shop` that was shown its first version.
async fn watching(terminal: &Terminal, exec: Option<&str>) -> Result<Running> {
    terminal.put("prices -g shop --type yaml", "1").await?;
    let mut watch = terminal.start("watch prices -g shop", exec)?;
    watch.line().await?;
    Ok(watch)
}

/// The pushes of the present version, once `count` clients stand in `state`.
async fn pushed(terminal: &Terminal, state: &str, count: u64) -> Result<Value> {
    poll::until("the cluster knows what became of the push", poll::SOON, async || {
        let found = terminal.json("pushes prices -g shop").await?;
        // What a client holds is known before the account says when, and why.
        let is_told = |item: &Value| item["state"] != state || !item["at"].is_null();
        let are_told = found["items"].as_array().is_some_and(|items| items.iter().all(is_told));
        Ok((found["counts"][state] == count && are_told).then_some(found))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_lists_versions_and_shows_each() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let terminal = Terminal::at(&node)?;
    assert!(terminal.run("history a").await?.expect(3)?.contains("no history"));
    terminal.put("a --type json --note first", "[1]\n").await?;
    terminal.put("a", "[2]").await?;
    terminal.done("rm a").await?;

    let table = terminal.done("history a").await?;
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("VERSION  AT") && lines.len() == 4, "{table}");
    assert!(lines[1].starts_with('3') && lines[1].contains("remove"), "{table}");
    assert!(lines[3].starts_with('1') && lines[3].contains("create") && lines[3].ends_with("first"), "{table}");
    let newest = terminal.json("history a --limit 1").await?;
    assert_eq!((newest["items"].as_array().map(Vec::len), &newest["items"][0]["version"]), (Some(1), &json!(3)));

    assert_eq!(terminal.done("history a --version 1").await?, "[1]\n");
    assert_eq!(terminal.json("history a --version 2").await?["content"], "[2]");
    assert!(terminal.run("history a --version 3").await?.expect(3)?.contains("removed"));
    assert!(terminal.run("history a --version 9").await?.expect(3)?.contains("no version 9"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_listed_and_looked_at() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let terminal = Terminal::at(&node)?;
    let nobody = terminal.done("clients").await?;
    assert!(nobody.starts_with("CLIENT  NODE") && nobody.lines().count() == 1, "{nobody}");

    let watch = watching(&terminal, None).await?;
    let found = terminal.json("clients --data-id prices -g shop --kind tcp --application callboard").await?;
    assert_eq!(found["items"].as_array().map(Vec::len), Some(1), "{found}");
    let id = found["items"][0]["client"].as_str().context("a client has an id")?.to_owned();
    let table = terminal.done("clients").await?;
    assert!(table.lines().count() == 2 && table.contains(&id) && table.contains("tcp"), "{table}");
    for other in ["--client nobody", "--application other", "--address 10.9.9.9", "--label a=b", "--data-id other"] {
        let found = terminal.json(&format!("clients {other}")).await?;
        assert_eq!(found["items"].as_array().map(Vec::len), Some(0), "{other}");
    }

    let one = terminal.done(&format!("clients {id}")).await?;
    assert!(one.contains("SOFTWARE") && one.contains("prices") && one.contains("shop"), "{one}");
    let one = terminal.json(&format!("clients {id}")).await?;
    assert_eq!(one["connections"][0]["keys"][0]["dataId"], "prices");
    assert!(terminal.run("clients nobody").await?.expect(3)?.contains("nobody"));
    assert_eq!(terminal.run("clients --label zone").await?.code, Some(2));
    drop(watch);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_tell_who_uses_a_version_and_who_can_not() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let terminal = Terminal::at(&node)?;
    assert!(terminal.run("pushes prices -g shop").await?.expect(3)?.contains("does not exist"));
    let mut well = watching(&terminal, None).await?;
    let mut badly = watching(&terminal, Some("exit 3")).await?;
    terminal.put("prices -g shop", "2").await?;
    well.line().await?;
    badly.line().await?;

    let found = pushed(&terminal, "rejected", 1).await?;
    assert_eq!((&found["version"], &found["complete"]), (&json!(2), &json!(true)));
    let found = pushed(&terminal, "applied", 1).await?;
    assert_eq!(found["items"].as_array().map(Vec::len), Some(2), "{found}");

    let table = terminal.done("pushes prices -g shop --version 2").await?;
    assert!(table.starts_with("public/shop/prices version 2: 1 applied, 1 rejected\n"), "{table}");
    assert!(table.contains("the command ended with 3"), "{table}");
    let rejected = terminal.json("pushes prices -g shop --state rejected").await?;
    assert_eq!(rejected["items"].as_array().map(Vec::len), Some(1));
    assert!(terminal.run("pushes prices -g shop --state lazy").await?.expect(2)?.contains("known are"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_listed_with_their_addresses() -> Result<()> {
    let node = Node::start(NodeOptions::new().flag("node-id", "n1")).await?;
    let terminal = Terminal::at(&node)?;
    let table = terminal.done("nodes").await?;
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("NODE  STATE  LEASE"), "{table}");
    assert!(lines[1].starts_with("n1    up") && lines[1].contains(&node.address().to_string()), "{table}");
    let found = terminal.json("nodes").await?;
    assert_eq!((&found["node"], &found["nodes"][0]["state"]), (&json!("n1"), &json!("up")));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn actors_are_listed_and_looked_at() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let terminal = Terminal::at(&node)?;
    let table = terminal.done("actors").await?;
    assert!(table.starts_with("ACTOR") && table.contains("\nconf_manager "), "{table}");
    assert!(terminal.json("actors").await?["actors"].as_array().is_some_and(|actors| actors.len() > 5));
    let one = terminal.done("actors reader-0").await?;
    assert!(one.contains("\nreader-0 ") && one.contains("MESSAGE") && one.contains('{'), "{one}");
    assert_eq!(terminal.json("actors reader-0").await?["kind"], "reader");
    assert!(terminal.run("actors nobody").await?.expect(3)?.contains("no actor"));
    Ok(())
}
