//! `get`, `put`, `rm` and `ls`.

use std::fs;

use anyhow::Result;
use callboard_integration_tests::node::{Node, NodeOptions};
use callboard_protocol::key::ConfigKey;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;

use super::terminal::Terminal;

/// One more than a page holds.
const MORE_THAN_A_PAGE: usize = 501;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_is_got_byte_for_byte() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let terminal = Terminal::at(&node)?;
    let content = "apple: 3\r\n\n# ü\n";
    assert_eq!(terminal.put("prices -g shop --type yaml", content).await?, "created public/shop/prices version 1\n");
    assert_eq!(terminal.done("get prices -g shop").await?, content);

    let got = terminal.json("get prices -g shop").await?;
    assert_eq!(got["content"], content);
    assert_eq!((&got["group"], &got["dataId"], &got["version"]), (&json!("shop"), &json!("prices"), &json!(1)));
    assert_eq!((&got["type"], got["md5"].as_str().map(str::len)), (&json!("yaml"), Some(32)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_comes_from_a_file_or_from_standard_input() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let terminal = Terminal::at(&node)?;
    fs::write(terminal.home().join("prices.yaml"), "from a file")?;
    terminal.done("put a prices.yaml").await?;
    assert_eq!(terminal.done("get a").await?, "from a file");
    terminal.put("a -", "from standard input").await?;
    assert_eq!(terminal.done("get a").await?, "from standard input");

    assert!(terminal.run("put a nowhere.yaml").await?.expect(2)?.contains("nowhere.yaml"));
    assert!(terminal.run_with("put a", "").await?.expect(2)?.contains("blank"));
    assert_eq!(terminal.done("get a").await?, "from standard input");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_is_told_as_json_and_in_the_history() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let terminal = Terminal::at(&node)?;
    let put = ["put", "a", "--note", "first prices", "--description", "of fruit", "--output", "json"];
    let mut command = terminal.command("")?;
    command.args(put).args(["--idempotency-key", "k-7", "file"]);
    fs::write(terminal.home().join("file"), "1")?;
    let first: serde_json::Value = serde_json::from_str(&super::terminal::to_end(command, None).await?.expect(0)?)?;
    assert_eq!(
        (&first["effect"], &first["version"], &first["replayed"]),
        (&json!("created"), &json!(1), &json!(false))
    );

    let mut again = terminal.command("")?;
    again.args(put).args(["--idempotency-key", "k-7", "file"]);
    let again: serde_json::Value = serde_json::from_str(&super::terminal::to_end(again, None).await?.expect(0)?)?;
    assert_eq!((&again["version"], &again["replayed"]), (&json!(1), &json!(true)));
    let reused = terminal.run_with("put a --idempotency-key k-7", "2").await?.expect(2)?;
    assert!(reused.contains("key"), "{reused}");

    let change = &terminal.json("history a").await?["items"][0];
    assert_eq!((&change["note"], &change["description"]), (&json!("first prices"), &json!("of fruit")));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_that_fails_writes_nothing_and_names_the_present_version() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let terminal = Terminal::at(&node)?;
    let absent = terminal.run_with("put a --if-version 4", "1").await?.expect(4)?;
    assert!(absent.contains("public/DEFAULT_GROUP/a does not exist, and never did"), "{absent}");
    terminal.put("a --if-absent", "1").await?;
    let present = terminal.run_with("put a --if-absent", "2").await?.expect(4)?;
    assert!(present.contains("is at version 1"), "{present}");
    let digest = terminal.json("get a").await?["md5"].as_str().unwrap_or_default().to_owned();
    assert!(terminal.put(&format!("a --if-md5 {digest}"), "2").await?.starts_with("updated "));
    let stale = terminal.run_with(&format!("put a --if-md5 {digest}"), "3").await?.expect(4)?;
    assert!(stale.contains("is at version 2"), "{stale}");
    assert!(terminal.put("a --if-version 2", "2").await?.starts_with("unchanged "));
    assert!(terminal.run("rm a --if-version 1").await?.expect(4)?.contains("is at version 2"));
    assert_eq!(terminal.done("get a").await?, "2");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_removed_is_not_found() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let terminal = Terminal::at(&node)?;
    assert!(terminal.run("get a").await?.expect(3)?.contains("public/DEFAULT_GROUP/a does not exist"));
    assert!(terminal.run("rm a").await?.expect(3)?.contains("does not exist"));
    terminal.put("a", "1").await?;
    let removed = terminal.json("rm a --if-version 1 --note gone").await?;
    assert_eq!((&removed["effect"], &removed["version"]), (&json!("removed"), &json!(2)));
    assert!(terminal.run("get a").await?.expect(3)?.contains("does not exist"));
    assert!(terminal.run_with("put a --if-version 1", "2").await?.expect(4)?.contains("removed at version 2"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_no_node_allows_are_wrong_usage() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let terminal = Terminal::at(&node)?;
    for line in ["get a%b", "get a -g a%b", "get a -n a%b", "rm a%b", "ls --prefix a%b", "watch a%b", "history a%b"] {
        let message = terminal.run(line).await?.expect(2)?;
        assert!(message.contains("illegal character"), "{line}: {message}");
    }
    assert!(terminal.run_with("put a%b", "1").await?.expect(2)?.contains("illegal character"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn configurations_are_listed_by_group_and_prefix() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let terminal = Terminal::at(&node)?;
    assert_eq!(terminal.done("ls").await?, "GROUP  DATA ID  VERSION  TYPE  SIZE\n");
    for (line, content) in [("a.yaml -g shop --type yaml", "12345"), ("b -g shop", "1"), ("a -g app", "1")] {
        terminal.put(line, content).await?;
    }
    terminal.put("c -n dev", "1").await?;

    let all = terminal.done("ls").await?;
    let lines: Vec<Vec<&str>> = all.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines.len(), 4, "{all}");
    assert_eq!(lines[1][..2], ["app", "a"]);
    assert_eq!((&lines[2][..2], lines[2][3], lines[2][4]), (&["shop", "a.yaml"][..], "yaml", "5"));

    let some = terminal.json("ls --prefix a -g shop").await?;
    assert_eq!(some["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(some["items"][0]["dataId"], "a.yaml");
    assert_eq!(terminal.json("ls --limit 2").await?["items"].as_array().map(Vec::len), Some(2));
    assert_eq!(terminal.json("ls -n dev").await?["items"][0]["dataId"], "c");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_go_on_over_pages() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let (terminal, client) = (Terminal::at(&node)?, node.client());
    let publishes = (0..MORE_THAN_A_PAGE).map(|number| {
        let client = client.clone();
        async move {
            let key = ConfigKey::new("public", "app", &format!("k{number:03}"))?;
            client.put(&key, "1").send().await?.expect(201)
        }
    });
    stream::iter(publishes).buffer_unordered(32).try_for_each(async |_| anyhow::Ok(())).await?;
    let listed = |found: serde_json::Value| found["items"].as_array().map(Vec::len);
    assert_eq!(listed(terminal.json("ls").await?), Some(MORE_THAN_A_PAGE));

    let key = ConfigKey::new("public", "app", "k000")?;
    for number in 1..MORE_THAN_A_PAGE {
        client.put(&key, format!("changed {number}")).send().await?.expect(200)?;
    }
    assert_eq!(listed(terminal.json("history k000 -g app").await?), Some(MORE_THAN_A_PAGE));
    let some = terminal.json("history k000 -g app --limit 3").await?;
    assert_eq!((listed(some.clone()), some.get("next")), (Some(3), None));
    Ok(())
}
