//! `watch`: what it prints, what it runs, and how it ends.

use std::fs;

use anyhow::{Context as _, Result};
use callboard_integration_tests::node::{Node, NodeOptions};
use callboard_integration_tests::{poll, process};
use rustix::process::Signal;
use serde_json::Value;

use super::terminal::{Running, Terminal};

async fn document(watch: &mut Running) -> Result<Value> {
    let line = watch.line().await?;
    serde_json::from_str(&line).with_context(|| line)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_a_line_and_the_count_ends_it() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let terminal = Terminal::at(&node)?;
    terminal.put("a", "12345").await?;
    // What does not exist is watched and is no change.
    let mut watch = terminal.start("watch a b --count 4", None)?;
    let line = watch.line().await?;
    assert!(line.ends_with("public/DEFAULT_GROUP/a  version 1  published  5 bytes"), "{line}");
    // Versions are counted over all configurations.
    terminal.put("b", "1").await?;
    assert!(watch.line().await?.contains("/b  version 2  published"));
    terminal.done("rm a").await?;
    assert!(watch.line().await?.ends_with("/a  version 3  removed"));
    terminal.put("a", "1").await?;
    assert!(watch.line().await?.contains("/a  version 4  published"));
    assert_eq!(watch.code().await?, Some(0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_is_watched_as_json_lines_with_content() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let terminal = Terminal::at(&node)?;
    terminal.put("feature-a -g shop", "1").await?;
    let mut watch = terminal.start("watch --prefix feature- --output json --count 3", None)?;
    let first = document(&mut watch).await?;
    assert_eq!((first["dataId"].as_str(), first["content"].as_str()), (Some("feature-a"), Some("1")));
    terminal.put("other -g shop", "1").await?;
    // Longer than what is pushed with its content.
    let long = "a\n".repeat(50_000);
    terminal.put("feature-b -g app", &long).await?;
    let second = document(&mut watch).await?;
    assert_eq!((second["group"].as_str(), second["content"].as_str()), (Some("app"), Some(long.as_str())));
    terminal.done("rm feature-a -g shop").await?;
    let third = document(&mut watch).await?;
    assert_eq!((third["removed"].as_bool(), third["content"].as_str()), (Some(true), None));
    assert_eq!(watch.code().await?, Some(0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_run_at_each_change() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let terminal = Terminal::at(&node)?;
    terminal.put("prices -g shop", "first").await?;
    let exec = r#"echo "$CONFIG_GROUP/$CONFIG_DATA_ID $CONFIG_VERSION $CONFIG_REMOVED $(cat)" | tee last"#;
    let mut watch = terminal.start("watch prices -g shop --count 3", Some(exec))?;
    let mut heard = async || {
        watch.line().await?;
        watch.line().await
    };
    assert_eq!(heard().await?, "shop/prices 1 false first");
    terminal.put("prices -g shop", "second").await?;
    assert_eq!(heard().await?, "shop/prices 2 false second");
    terminal.done("rm prices -g shop").await?;
    assert_eq!(heard().await?.trim_end(), "shop/prices 3 true");
    assert_eq!(watch.code().await?, Some(0));
    assert_eq!(fs::read_to_string(terminal.home().join("last"))?.trim_end(), "shop/prices 3 true");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outcome_of_the_last_command_is_told_before_the_watch_ends() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let terminal = Terminal::at(&node)?;
    for (exec, state) in [("exit 7", "rejected"), ("true", "applied")] {
        terminal.put("prices -g shop", state).await?;
        let mut watch = terminal.start("watch prices -g shop --count 1", Some(exec))?;
        assert_eq!(watch.code().await?, Some(0));
        poll::until("the outcome is known", poll::SOON, async || {
            let found = terminal.json("pushes prices -g shop").await?;
            Ok((found["counts"][state] == 1).then_some(()))
        })
        .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_well_when_it_is_asked_to() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let terminal = Terminal::at(&node)?;
    terminal.put("a", "1").await?;
    for signal in [Signal::INT, Signal::TERM] {
        let mut watch = terminal.start("watch a", None)?;
        watch.line().await?;
        process::signal(watch.child.id().context("it runs")?, signal)?;
        assert_eq!(watch.code().await?, Some(0), "{signal:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_runs_is_brought_to_its_end() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let terminal = Terminal::at(&node)?;
    terminal.put("a", "1").await?;
    // It goes on only once it may, and that is after the watch was asked to end.
    let exec = "echo begun; until [ -e go ]; do sleep 0.01; done; cat > written";
    let mut watch = terminal.start("watch a", Some(exec))?;
    watch.line().await?;
    assert_eq!(watch.line().await?, "begun");
    process::signal(watch.child.id().context("it runs")?, Signal::TERM)?;
    fs::write(terminal.home().join("go"), "")?;
    assert_eq!(watch.code().await?, Some(0));
    assert_eq!(fs::read_to_string(terminal.home().join("written"))?, "1");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_after_the_node_was_away() -> Result<()> {
    let claimed = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = claimed.local_addr()?;
    drop(claimed);
    let mut node = Node::start(NodeOptions::new().sessions_on(address)).await?;
    let terminal = Terminal::at(&node)?;
    terminal.put("a", "1").await?;
    let mut watch = terminal.start("watch a --count 2", None)?;
    assert!(watch.line().await?.contains("version 1"));
    node.kill()?;
    node.start_again().await?;
    terminal.put("a", "2").await?;
    assert!(watch.line().await?.contains("version 2"));
    assert_eq!(watch.code().await?, Some(0));
    Ok(())
}
