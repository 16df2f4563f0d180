//! A SQLite file whose storage fails, that is copied and put back, and that comes to life under other names.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result};
use callboard_integration_tests::binary;
use callboard_integration_tests::node::{Node, NodeOptions, run_to_end};
use callboard_integration_tests::poll;
use callboard_protocol::key::ConfigKey;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

fn key(data_id: &str) -> ConfigKey {
    ConfigKey::new("public", "app", data_id).unwrap()
}

/// What was acknowledged last of each key.
type Acknowledged = BTreeMap<String, String>;

async fn holds(node: &Node, acknowledged: &Acknowledged) -> Result<()> {
    for (name, content) in acknowledged {
        let read = node.client().get(&key(name)).send().await?;
        assert_eq!((read.status, &read.text()), (200, content), "{name}");
    }
    Ok(())
}

async fn status_of(node: &Node, path: &str) -> Result<u16> {
    Ok(node.client().get_path(path).send().await?.status)
}

/// Publishes, and notes what was acknowledged. Returns the status.
async fn publish(node: &Node, acknowledged: &mut Acknowledged, name: &str, content: &str) -> Result<u16> {
    let answer = node.client().put(&key(name), content.to_owned()).send().await?;
    if matches!(answer.status, 200 | 201) {
        acknowledged.insert(name.to_owned(), content.to_owned());
    }
    Ok(answer.status)
}

fn limit_files(node: &Node, bytes: Option<u64>) -> Result<()> {
    let pid = Pid::from_raw(i32::try_from(node.pid()?)?).context("a process has an id")?;
    prlimit(Some(pid), Resource::Fsize, Rlimit { current: bytes, maximum: None })?;
    Ok(())
}

/// What can't be logged is lost; the node goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_without_room_stops_nothing() -> Result<()> {
    let mut node = Node::start(NodeOptions::new().logs_to(Path::new("/dev/full"))).await?;
    let mut acknowledged = Acknowledged::new();
    for number in 0..5 {
        assert_eq!(publish(&node, &mut acknowledged, &format!("k{number}"), "here").await?, 201);
    }
    holds(&node, &acknowledged).await?;
    assert_eq!(status_of(&node, "/readyz").await?, 200);
    assert!(node.terminate().await?.success());
    Ok(())
}

/// What was done is done, and what failed has its exit code, whether or not anybody can be told.
#[test]
fn a_command_that_can_not_say_what_it_did_ends_as_it_did_otherwise() -> Result<()> {
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full");
    let home = tempfile::tempdir()?;
    let ends = |arguments: &[&str]| -> Result<Option<i32>> {
        let mut command = std::process::Command::new(binary::path()?);
        command.args(arguments).current_dir(home.path()).stdout(full()?).stderr(full()?);
        Ok(command.status()?.code())
    };
    assert_eq!(ends(&["migrate"])?, Some(0));
    assert_eq!(ends(&["backup", "copy.db"])?, Some(0));
    assert_eq!(ends(&["restore", "copy.db"])?, Some(0));
    assert_eq!(ends(&["backup", "copy.db"])?, Some(1), "it is there");
    let told = std::process::Command::new(binary::path()?).args(["get", "a", "--nodes", "127.0.0.1:1"]).status()?;
    assert_eq!(ends(&["get", "a", "--nodes", "127.0.0.1:1"])?, told.code());
    // Here what is printed is what was asked for.
    assert_eq!(ends(&["config", "show"])?, Some(1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_may_not_grow_are_a_full_disk_and_nothing_acknowledged_is_lost() -> Result<()> {
    let mut node = Node::start(NodeOptions::new()).await?;
    let mut acknowledged = Acknowledged::new();
    for number in 0..5 {
        assert_eq!(publish(&node, &mut acknowledged, &format!("k{number}"), "before").await?, 201);
    }
    let log = node.data_dir().join("callboard.db-wal");
    // Whatever is limited, the process gets the signal that ends those who do not know it.
    limit_files(&node, Some(std::fs::metadata(&log)?.len()))?;
    let mut refused = 0;
    for number in 0..20 {
        let status = publish(&node, &mut acknowledged, &format!("k{}", number % 5), &format!("full {number}")).await?;
        // The log may have some room from before; what does not fit is refused.
        assert!(matches!(status, 200 | 503), "{status}");
        refused += usize::from(status == 503);
    }
    assert!(refused > 0, "nothing was refused");
    holds(&node, &acknowledged).await?;
    assert_eq!(status_of(&node, "/readyz").await?, 503);
    assert_eq!(status_of(&node, "/nacos/v1/console/health/readiness").await?, 500);
    limit_files(&node, None)?;
    poll::until("the node is ready again", poll::SOON, async || {
        Ok((status_of(&node, "/readyz").await? == 200).then_some(()))
    })
    .await?;
    for number in 0..5 {
        assert_eq!(publish(&node, &mut acknowledged, &format!("k{number}"), "after").await?, 200);
    }
    let said = std::fs::read_to_string(node.log())?;
    for (line, times) in [("commits do not go through", 1), ("commits go through again", 1)] {
        assert_eq!(said.matches(line).count(), times, "{line}: {said}");
    }
    node.kill()?;
    node.start_again().await?;
    holds(&node, &acknowledged).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_under_another_node_id_takes_the_file_over() -> Result<()> {
    let mut node = Node::start(NodeOptions::new().flag("node-id", "first")).await?;
    let mut acknowledged = Acknowledged::new();
    assert_eq!(publish(&node, &mut acknowledged, "a", "1").await?, 201);
    node.kill()?;
    node.set_up(NodeOptions::new().flag("node-id", "second"));
    node.start_again().await?;
    holds(&node, &acknowledged).await?;
    assert_eq!(publish(&node, &mut acknowledged, "a", "2").await?, 200);
    assert_eq!(status_of(&node, "/readyz").await?, 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_served_is_refused_by_any_other_name() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let elsewhere = tempfile::tempdir()?;
    let (database, data_dir) = (node.data_dir().join("callboard.db"), elsewhere.path().join("data"));
    let [symbolic, hard] = ["symbolic.db", "hard.db"].map(|name| elsewhere.path().join(name));
    std::os::unix::fs::symlink(&database, &symbolic)?;
    std::fs::hard_link(&database, &hard)?;
    for name in [symbolic, hard] {
        let url = format!("sqlite:{}", name.display());
        let arguments = ["serve", "--http-addr", "127.0.0.1:0", "--database-url", &url, "--data-dir"];
        let arguments: Vec<&str> = arguments.into_iter().chain([data_dir.to_str().unwrap()]).collect();
        let output = run_to_end(&arguments, &[]).await?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("is in use by another callboard process"), "{said}");
    }
    node.client().put(&key("a"), "still served").send().await?.expect(201)?;
    Ok(())
}

async fn run(arguments: &[&str]) -> Result<String> {
    let output = run_to_end(arguments, &[]).await?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    anyhow::ensure!(output.status.success(), "{arguments:?}: {}: {said}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// Publishes until it is told to stop, or its node is gone; every publish has a key of its own.
async fn keep_publishing(node: &Node, acknowledged: &Arc<Mutex<Acknowledged>>) -> Vec<tokio::task::JoinHandle<()>> {
    let publishers = (0..8).map(|publisher| {
        let (client, acknowledged) = (node.client(), Arc::clone(acknowledged));
        tokio::spawn(async move {
            for number in 0.. {
                let name = format!("p{publisher}-{number}");
                let Ok(answer) = client.put(&key(&name), format!("content of {name}")).send().await else { return };
                if answer.status == 201 {
                    acknowledged.lock().unwrap().insert(name.clone(), format!("content of {name}"));
                }
            }
        })
    });
    publishers.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_amid_publishers_has_all_that_was_acknowledged_before_its_end() -> Result<()> {
    let mut node = Node::start(NodeOptions::new()).await?;
    let files = tempfile::tempdir()?;
    let acknowledged = Arc::new(Mutex::new(Acknowledged::new()));
    let publishers = keep_publishing(&node, &acknowledged).await;
    poll::until("many publishes are done", poll::SOON, async || {
        Ok((acknowledged.lock().unwrap().len() > 300).then_some(()))
    })
    .await?;
    let (backup, data_dir) = (files.path().join("backup.db"), node.data_dir());
    let (backup_text, data_text) = (backup.to_str().unwrap(), data_dir.to_str().unwrap());
    let begun = acknowledged.lock().unwrap().len();
    let before_its_end = last_before(&backup, &acknowledged);
    let arguments = ["backup", "--data-dir", data_text, backup_text];
    let (before_its_end, said) = tokio::join!(before_its_end, run(&arguments));
    let said = said?;
    let before_its_end = before_its_end?;
    assert!(said.contains(backup_text) && before_its_end.len() >= begun, "{said}");
    let again = run(&["backup", "--data-dir", data_text, backup_text]).await.unwrap_err().to_string();
    assert!(again.contains("exists"), "a copy is never overwritten: {again}");
    let served = run(&["restore", "--data-dir", data_text, backup_text]).await.unwrap_err().to_string();
    assert!(served.contains("in use"), "a node that serves is not restored: {served}");
    let highest = node.client().put(&key("later"), "not in the backup").send().await?.expect(201)?.version();
    node.kill()?;
    for publisher in publishers {
        publisher.await?;
    }
    // In the place of what is there, and in a directory of its own.
    let said = run(&["restore", "--data-dir", data_text, backup_text]).await?;
    assert!(said.contains("timeline 2") && data_dir.join("callboard.db.before-restore").exists(), "{said}");
    node.start_again().await?;
    holds(&node, &before_its_end).await?;
    assert_eq!(node.client().get(&key("later")).send().await?.status, 404);
    let after = node.client().put(&key("after"), "x").send().await?.expect(201)?.version();
    assert!(after > highest, "a version is never given again: {after:?} after {highest:?}");
    let mut other = Node::start(NodeOptions::new()).await?;
    assert_eq!(other.terminate().await?.code(), Some(0));
    run(&["restore", "--data-dir", other.data_dir().to_str().unwrap(), backup_text]).await?;
    other.start_again().await?;
    holds(&other, &before_its_end).await
}

/// What is acknowledged as long as the file is not there.
async fn last_before(file: &Path, acknowledged: &Arc<Mutex<Acknowledged>>) -> Result<Acknowledged> {
    let mut last = Acknowledged::new();
    poll::until("the backup is there", poll::SOON, async || {
        let known = acknowledged.lock().unwrap().clone();
        // Looked at after the list was taken: what is in the list came before the file.
        if file.exists() {
            return Ok(Some(()));
        }
        last = known;
        Ok(None)
    })
    .await?;
    Ok(last)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_backup_is_refused_and_nothing_is_changed() -> Result<()> {
    let mut node = Node::start(NodeOptions::new()).await?;
    let mut acknowledged = Acknowledged::new();
    assert_eq!(publish(&node, &mut acknowledged, "a", "1").await?, 201);
    assert_eq!(node.terminate().await?.code(), Some(0));
    let files = tempfile::tempdir()?;
    let (garbage, data_dir) = (files.path().join("garbage.db"), node.data_dir());
    for bytes in [&b"SQLite format 3\0 and then nothing"[..], b"", &[7; 9_000]] {
        std::fs::write(&garbage, bytes)?;
        let refused = run(&["restore", "--data-dir", data_dir.to_str().unwrap(), garbage.to_str().unwrap()]).await;
        let said = refused.unwrap_err().to_string();
        assert!(said.contains("can't be restored; nothing was changed"), "{said}");
    }
    node.start_again().await?;
    holds(&node, &acknowledged).await
}
