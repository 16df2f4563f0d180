//! A session by a WebSocket client that is not ours: the npm package `ws` under Node.js. Without them the test says
//! that it was not run, unless `CALLBOARD_TEST_REQUIRE_NODE=1`.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use callboard_integration_tests::node::{Node, NodeOptions};
use callboard_integration_tests::poll;
use callboard_integration_tests::session::Session;
use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

/// A download is part of it.
const INSTALL: Duration = Duration::from_secs(120);

/// Says hello, watches, waits for a push, says that it is applied, and asks whether that was heard.
const SCRIPT: &str = r#"
const WebSocket = require("ws");
const socket = new WebSocket(process.argv[2], { origin: process.argv[3] });
const key = { group: "app", dataId: "a" };
const say = (message) => socket.send(JSON.stringify(message));
socket.on("open", () => say({ id: 1, hello: { clientId: "npm-ws", application: "tests", minVersion: 1, maxVersion: 1 } }));
socket.on("error", (error) => { console.error(error); process.exit(1); });
socket.on("close", (code) => process.exit(code === 1005 || code === 1000 ? 0 : 2));
const seen = [];
socket.on("message", (data, isBinary) => {
  if (isBinary) process.exit(3);
  const message = JSON.parse(data);
  seen.push(message);
  if (message.welcome) say({ id: 2, watch: { keys: [key] } });
  if (message.watching) console.log("watching");
  if (message.push) {
    say({ id: 0, applied: { key: message.push.key, version: message.push.version } });
    say({ id: 3, ping: { number: 42 } });
  }
  if (message.pong) { console.log(JSON.stringify(seen)); socket.close(); }
});
"#;

/// Installs the package; whether it is there.
async fn installed(directory: &Path) -> Result<()> {
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "ws@8"]).current_dir(directory);
    let output =
        timeout(INSTALL, npm.stdin(Stdio::null()).kill_on_drop(true).output()).await.context("npm takes too long")?;
    let output = output.context("start npm")?;
    if !output.status.success() {
        bail!("npm: {}", String::from_utf8_lossy(&output.stderr));
    }
    let mut node = Command::new("node");
    let version = node.arg("--version").output().await.context("start node")?;
    anyhow::ensure!(version.status.success(), "node does not run");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_npm_package_ws_watches_and_answers_a_push() -> Result<()> {
    let directory = tempfile::tempdir()?;
    if let Err(missing) = installed(directory.path()).await {
        if std::env::var("CALLBOARD_TEST_REQUIRE_NODE").is_ok_and(|value| value == "1") {
            return Err(missing);
        }
        eprintln!("not run: {missing:#}");
        return Ok(());
    }
    let node = Node::start(NodeOptions::new()).await?;
    std::fs::write(directory.path().join("client.js"), SCRIPT)?;
    let url = format!("ws://{}/api/v1/session", node.address());
    let mut client = Command::new("node");
    client.args(["client.js", &url, &node.http()]).current_dir(directory.path());
    let client = client.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let finished = tokio::spawn(timeout(poll::SOON, client.wait_with_output()));
    let mut writer = Session::open(node.session_address(), "writer").await?;
    // Before or after it watches: it is pushed the newest either way.
    let version = writer.publish("a", "größer: 1").await?;
    let output = finished.await?.context("the script takes too long")??;
    let said = String::from_utf8(output.stdout)?;
    assert!(output.status.success(), "{}: {said}", output.status);
    let seen: Vec<Value> = serde_json::from_str(said.lines().last().context("it says what it saw")?)?;
    let push = seen.iter().find(|message| message["push"].is_object()).context("a push came")?;
    assert_eq!((&push["push"]["version"], &push["push"]["content"]), (&version.into(), &"größer: 1".into()));
    assert!(seen.iter().any(|message| message["pong"]["number"] == 42), "{seen:?}");
    let metrics = node.client().get_path("/metrics").send().await?.expect(200)?.text();
    assert!(metrics.contains("callboard_session_pushes_total{step=\"applied\"} 1"), "the push counts as applied");
    Ok(())
}
