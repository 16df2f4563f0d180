//! Starting, stopping and refusing to start.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::net::TcpListener;
use std::time::Duration;

use anyhow::Result;
use callboard_integration_tests::node::{Node, NodeOptions, run_to_end};
use callboard_integration_tests::poll;
use callboard_protocol::key::ConfigKey;

fn key(data_id: &str) -> ConfigKey {
    ConfigKey::new("public", "app", data_id).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_there_after_a_clean_restart_and_after_a_kill() -> Result<()> {
    let mut node = Node::start(NodeOptions::new()).await?;
    let mut version = 0;
    for clean in [true, false] {
        let put = node.client().put(&key("a"), format!("before a clean end: {clean}")).send().await?;
        assert!(put.version() > Some(version));
        version = put.version().unwrap();
        if clean {
            assert_eq!(node.terminate().await?.code(), Some(0));
            assert!(!node.data_dir().join("addresses.json").exists(), "a stopped node has no addresses");
        } else {
            node.kill()?;
        }
        node.start_again().await?;
        let get = node.client().get(&key("a")).send().await?.expect(200)?;
        assert_eq!((get.version(), get.text()), (Some(version), format!("before a clean end: {clean}")));
    }
    assert_eq!(node.client().whole_history(&key("a")).await?.len(), 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_answers_held_requests_and_exits_with_zero() -> Result<()> {
    let mut node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    let version = client.put(&key("a"), "x").send().await?.version().unwrap();
    let waiting = tokio::spawn(client.wait(&key("a"), version, 60).send());
    let mut watch = client.watch("group=app&dataId=a", None).await?;
    watch.expect().await?;
    for _ in 0..50 {
        client.get(&key("a")).send().await?.expect(200)?;
    }
    assert!(!waiting.is_finished());
    node.ask_to_stop()?;
    let answer = waiting.await??;
    assert!(matches!(answer.status, 304 | 503), "{}: {}", answer.status, answer.text());
    assert_eq!(node.ended(Duration::from_secs(20)).await?.code(), Some(0));
    assert!(watch.next(poll::SOON).await.is_err(), "the event stream has ended");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn publishes_under_way_are_finished_before_the_end() -> Result<()> {
    let mut node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    let publishing: Vec<_> = (0..32)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(async move {
                let mut done = Vec::new();
                for m in 0.. {
                    let key = key(&format!("k-{n}-{m}"));
                    let Ok(answer) = client.put(&key, "x").send().await else { break };
                    if answer.status != 201 {
                        break;
                    }
                    done.push((key, answer.version()));
                }
                done
            })
        })
        .collect();
    poll::until("some publishes are done", poll::SOON, async || {
        Ok((client.get(&key("k-0-2")).send().await?.status == 200).then_some(()))
    })
    .await?;
    assert_eq!(node.terminate().await?.code(), Some(0));
    node.start_again().await?;
    for publisher in publishing {
        for (key, version) in publisher.await? {
            assert_eq!(node.client().get(&key).send().await?.expect(200)?.version(), version);
        }
    }
    Ok(())
}

/// Runs to its end with `arguments` and checks that it is refused with a message that holds every one of `named`.
async fn refused(arguments: &[&str], environment: &[(&str, &str)], named: &[&str]) -> Result<()> {
    let output = run_to_end(arguments, environment).await?;
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code().is_some_and(|code| code != 0), "{arguments:?}: {}: {message}", output.status);
    for name in named {
        assert!(message.contains(name), "{arguments:?}: no {name} in: {message}");
    }
    assert!(!message.contains("panicked"), "{message}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_data_directory_is_refused() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let data_dir = node.data_dir();
    let data_dir = data_dir.to_str().unwrap();
    refused(&["serve", "--http-addr", "127.0.0.1:0", "--data-dir", data_dir], &[], &[data_dir]).await?;
    node.client().get_path("/healthz").send().await?.expect(200)?;
    assert!(node.data_dir().join("addresses.json").exists(), "the first process keeps its addresses");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_refused() -> Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    refused(&["serve", "--http-addr", &address, "--data-dir", "d"], &[], &[&address]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_nobody_can_have_meant_are_refused() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("callboard.toml");
    let file_name = file.to_str().unwrap();
    std::fs::write(&file, "[http]\nadr = \"127.0.0.1:0\"\n")?;
    refused(&["serve", "--config", file_name], &[], &["http.adr", file_name]).await?;
    std::fs::write(&file, "[cache]\nmax_bytes = \"much\"\n")?;
    refused(&["serve", "--config", file_name], &[], &["cache.max_bytes", file_name]).await?;
    refused(&["serve"], &[("CALLBOARD_HTTP_ADR", "127.0.0.1:0")], &["CALLBOARD_HTTP_ADR"]).await?;
    refused(&["serve", "--http-addr", "here"], &[], &["http-addr"]).await?;
    refused(&["serve", "--http-addr", "0.0.0.0:0"], &[], &["insecure-no-auth"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_database_is_refused() -> Result<()> {
    // Bound and closed again: nobody listens there.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let url = format!("postgres://u:secret@{address}/callboard");
    let arguments = ["serve", "--http-addr", "127.0.0.1:0", "--data-dir", "d", "--database-connect-timeout", "500ms"];
    let environment = [("CALLBOARD_DATABASE_URL", url.as_str()), ("CALLBOARD_DATABASE_START_TIMEOUT", "300ms")];
    let output = run_to_end(&arguments, &environment).await?;
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code().is_some_and(|code| code != 0), "{message}");
    assert!(message.contains(&address.to_string()) && !message.contains("secret"), "{message}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_node_goes_on_where_it_was() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    client.put(&key("a"), "x").send().await?.expect(201)?;
    node.pause()?;
    let reading = tokio::spawn(client.get(&key("a")).send());
    let early = tokio::time::timeout(Duration::from_millis(200), client.get(&key("a")).send()).await;
    node.resume()?;
    assert!(early.is_err(), "a paused node answers nothing");
    reading.await??.expect(200)?;
    Ok(())
}
