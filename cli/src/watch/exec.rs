//! Runs the command of a watch at one change. Owns what the command is told, and what its end means.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};

use callboard_client::Config;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

/// Runs `sh -c command` to its end, with the content on its standard input.
///
/// # Errors
/// Why the version counts as rejected: its exit code, the signal that ended it, or why it can't be run.
pub(super) async fn run(command: &str, config: &Config) -> Result<(), String> {
    let child = shell(command, config).spawn().map_err(|error| format!("the command can't be run: {error}"))?;
    let ended = feed(child, config).await.map_err(|error| format!("the command can't be followed: {error}"))?;
    judge(ended)
}

fn shell(command: &str, config: &Config) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command).stdin(Stdio::piped());
    shell.envs([
        ("CONFIG_NAMESPACE", config.key.namespace()),
        ("CONFIG_GROUP", config.key.group()),
        ("CONFIG_DATA_ID", config.key.data_id()),
        ("CONFIG_VERSION", &config.version.to_string()),
        ("CONFIG_TYPE", &config.kind),
        ("CONFIG_MD5", &config.md5),
        ("CONFIG_REMOVED", if config.exists() { "false" } else { "true" }),
    ]);
    shell
}

/// Gives the command its input, and waits for it. It may end without reading all of it.
async fn feed(mut child: Child, config: &Config) -> io::Result<ExitStatus> {
    let stdin = child.stdin.take();
    let write = async {
        if let (Some(mut stdin), Some(content)) = (stdin, &config.content) {
            match stdin.write_all(content.as_bytes()).await {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    };
    let wait = child.wait();
    tokio::pin!(write, wait);
    tokio::select! {
        // It has ended, whatever is left to be written; something that it started may hold the pipe open still.
        ended = &mut wait => ended,
        written = &mut write => {
            written?;
            wait.await
        }
    }
}

fn judge(ended: ExitStatus) -> Result<(), String> {
    match (ended.code(), ended.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => Err(format!("the command ended with {code}")),
        (None, Some(signal)) => Err(format!("the command was ended by signal {signal}")),
        (None, None) => Err("the command did not end as commands do".to_owned()),
    }
}
