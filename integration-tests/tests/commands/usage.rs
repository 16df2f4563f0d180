//! How nodes are named, what happens when none is reachable, what is wrong usage, and the commands that ask nobody.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use bytes::BytesMut;
use callboard_integration_tests::node::{Node, NodeOptions};
use callboard_proto::session::envelope::Kind;
use callboard_proto::session::{Envelope, Welcome};
use callboard_proto::{MAX_FRAME, frame};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::terminal::{Terminal, to_end};

/// Every command, as somebody would type it.
const COMMANDS: [&str; 13] = [
    "get a",
    "put a -",
    "rm a",
    "ls",
    "watch a",
    "history a",
    "clients",
    "pushes a",
    "nodes",
    "actors",
    "whoami",
    "grant a read",
    "revoke a",
];

/// An address at which nobody listens.
fn closed() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_node_is_named_at_once() -> Result<()> {
    let address = closed()?;
    let terminal = Terminal::new(address.to_string())?;
    for command in COMMANDS {
        let began = Instant::now();
        let said = terminal.run_with(&format!("{command} --timeout 10s"), "1").await?.expect(1)?;
        assert!(said.contains(&format!("no node is reachable at {address}")), "{command}: {said}");
        assert!(said.contains("--nodes"), "{command}: {said}");
        // Long before the time is up.
        assert!(began.elapsed() < Duration::from_secs(5), "{command} took {:?}", began.elapsed());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_names_the_port_of_http_is_told_which_one_is_wanted() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    for address in [node.address(), node.grpc_address()] {
        let terminal = Terminal::new(address.to_string())?;
        for command in COMMANDS {
            let said = terminal.run_with(&format!("{command} --timeout 2s"), "1").await?.expect(1)?;
            assert!(said.contains("sessions") && said.contains("8850"), "{command}: {said}");
            assert_eq!(said.contains("HTTP is spoken there"), address == node.address(), "{command}: {said}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_node_is_waited_for_as_long_as_was_said() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let terminal = Terminal::new(listener.local_addr()?.to_string())?;
    let began = Instant::now();
    let said = terminal.run("get a --timeout 300ms").await?.expect(1)?;
    assert!(said.contains("in time") || said.contains("within 300ms"), "{said}");
    assert!(began.elapsed() < Duration::from_secs(5), "it took {:?}", began.elapsed());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_several_nodes_is_enough() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let nodes = format!("{},{},{}", closed()?, node.session_address(), closed()?);
    let terminal = Terminal::new(nodes)?;
    terminal.put("a", "1").await?;
    for _ in 0..4 {
        assert_eq!(terminal.done("get a").await?, "1");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_named_by_flag_environment_or_file() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let terminal = Terminal::new(closed()?.to_string())?;
    let address = node.session_address();
    terminal.put(&format!("a -n dev --nodes {address}"), "1").await?;
    assert_eq!(terminal.run("get a -n dev").await?.code, Some(1));

    fs::create_dir(terminal.home().join(".config"))?;
    let file = terminal.home().join(".config/callboard.toml");
    fs::write(&file, format!("nodes = ['{address}']\nnamespace = 'dev'\noutput = 'json'\n"))?;
    // The environment wins over the file.
    assert_eq!(terminal.run("get a").await?.code, Some(1));
    let mut command = terminal.command("get a")?;
    command.env_remove("CALLBOARD_CLIENT_NODES");
    let got: serde_json::Value = serde_json::from_str(&to_end(command, None).await?.expect(0)?)?;
    assert_eq!((got["namespace"].as_str(), got["content"].as_str()), (Some("dev"), Some("1")));
    assert_eq!(terminal.done(&format!("get a --nodes {address} --output table")).await?, "1");

    fs::write(&file, "nods = []\n")?;
    let said = terminal.run("get a").await?.expect(2)?;
    assert!(said.contains("callboard.toml: nods: unknown key"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_outcome_has_its_own_exit_code_and_names_the_request() -> Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let terminal = Terminal::new(listener.local_addr()?.to_string())?;
    // Welcomes everybody, and answers nothing else.
    let silent = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await?;
            let mut buffer = BytesMut::new();
            while frame::split(&mut buffer, MAX_FRAME)?.is_none() {
                stream.read_buf(&mut buffer).await?;
            }
            let welcome = Welcome { version: 1, idle_timeout_ms: 60_000, ..Welcome::default() };
            let envelope = Envelope { id: 1, kind: Some(Kind::Welcome(welcome)) };
            stream.write_all(&frame::encode(&envelope)?).await?;
            while stream.read_buf(&mut buffer).await? > 0 {
                buffer.clear();
            }
        }
        #[expect(unreachable_code, reason = "names the type of the errors")]
        anyhow::Ok(())
    });
    let said = terminal.run_with("put a --timeout 300ms --idempotency-key k-9", "1").await?.expect(5)?;
    assert!(said.contains("--idempotency-key k-9"), "{said}");
    let said = terminal.run("rm a --timeout 300ms").await?.expect(5)?;
    assert!(said.contains("--idempotency-key "), "{said}");
    assert_eq!(terminal.run("get a --timeout 300ms").await?.code, Some(1));
    silent.abort();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_is_refused_before_anything_is_asked() -> Result<()> {
    // Whoever asked this node would be told that it is away.
    let terminal = Terminal::new(closed()?.to_string())?;
    for command in COMMANDS {
        let said = terminal.run(&format!("{command} --colour red")).await?.expect(2)?;
        assert!(said.contains("--colour"), "{command}: {said}");
        let said = terminal.run(&format!("{command} --http-addr 127.0.0.1:1")).await?.expect(2)?;
        assert!(said.contains("--http-addr"), "{command}: {said}");
        let said = terminal.run(&format!("--http-addr 127.0.0.1:1 {command}")).await?.expect(2)?;
        assert!(said.contains("do not apply"), "{command}: {said}");
        let help = terminal.done(&format!("{} --help", command.split(' ').next().unwrap_or_default())).await?;
        assert!(help.contains("--nodes") && help.contains("Exit codes") && !help.contains("--http-addr"), "{help}");
    }
    for line in
        ["get", "put a --if-version 0", "watch", "ls --limit none", "get a --nodes http://n1", "completions csh"]
    {
        assert_eq!(terminal.run(line).await?.code, Some(2), "{line}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn completions_and_the_manual_need_no_node() -> Result<()> {
    let terminal = Terminal::new(closed()?.to_string())?;
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = terminal.done(&format!("completions {shell}")).await?;
        assert!(script.contains("idempotency-key") && script.contains("http-addr"), "{shell}");
    }
    let page = terminal.done("man").await?;
    assert!(page.contains(".TH callboard 1"), "{page:.200}");
    for command in COMMANDS {
        let word = command.split(' ').next().context("a command has a name")?.to_uppercase();
        assert!(page.contains(&format!(".SH \"CALLBOARD {word}\"")), "{word}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_no_further_is_no_failure() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let terminal = Terminal::at(&node)?;
    terminal.put("a", &"a\n".repeat(200_000)).await?;
    let mut child = terminal.command("get a")?.spawn()?;
    drop(child.stdout.take());
    let output = child.wait_with_output().await?;
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
    Ok(())
}
