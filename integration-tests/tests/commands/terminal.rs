//! The program as somebody uses it at a terminal: with a home of its own, and none of this environment's variables.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result};
use callboard_integration_tests::node::Node;
use callboard_integration_tests::{binary, poll};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// Somebody who talks to a node.
pub(crate) struct Terminal {
    home: TempDir,
    nodes: String,
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A command that goes on until it is ended.
pub(crate) struct Running {
    pub(crate) child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Terminal {
    pub(crate) fn at(node: &Node) -> Result<Self> {
        Self::new(node.session_address().to_string())
    }

    pub(crate) fn new(nodes: String) -> Result<Self> {
        Ok(Self { home: tempfile::tempdir()?, nodes })
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// The program with the words of `line`, `$HOME` as the working directory.
    pub(crate) fn command(&self, line: &str) -> Result<Command> {
        let mut command = Command::new(binary::path()?);
        command.args(line.split_whitespace()).current_dir(self.home()).kill_on_drop(true);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("CALLBOARD_") || name.starts_with("XDG_") {
                command.env_remove(name);
            }
        }
        command.env("HOME", self.home()).env("CALLBOARD_CLIENT_NODES", &self.nodes);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(command)
    }

    /// Runs a command to its end.
    pub(crate) async fn run(&self, line: &str) -> Result<Said> {
        to_end(self.command(line)?, None).await
    }

    /// Runs a command to its end, and types `input`.
    pub(crate) async fn run_with(&self, line: &str, input: &str) -> Result<Said> {
        to_end(self.command(line)?, Some(input)).await
    }

    /// Runs a command that has to end well, and gives what it printed.
    pub(crate) async fn done(&self, line: &str) -> Result<String> {
        self.run(line).await?.expect(0)
    }

    /// Runs a command that has to print a JSON document.
    pub(crate) async fn json(&self, line: &str) -> Result<Value> {
        let out = self.done(&format!("{line} --output json")).await?;
        serde_json::from_str(&out).with_context(|| format!("{line}: {out}"))
    }

    /// Publishes, and has to be done.
    pub(crate) async fn put(&self, line: &str, content: &str) -> Result<String> {
        self.run_with(&format!("put {line}"), content).await?.expect(0)
    }

    /// Starts a command that goes on, such as a watch; `exec` is what it runs.
    pub(crate) fn start(&self, line: &str, exec: Option<&str>) -> Result<Running> {
        let mut command = self.command(line)?;
        if let Some(exec) = exec {
            command.args(["--exec", exec]);
        }
        let mut child = command.stderr(Stdio::inherit()).spawn()?;
        let lines = BufReader::new(child.stdout.take().context("its output is piped")?).lines();
        Ok(Running { child, lines })
    }
}

pub(crate) async fn to_end(mut command: Command, input: Option<&str>) -> Result<Said> {
    if input.is_some() {
        command.stdin(Stdio::piped());
    }
    let mut child = command.spawn()?;
    if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
        match stdin.write_all(input.as_bytes()).await {
            // It may know what to say without having read anything.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
            written => written?,
        }
    }
    let output = timeout(poll::SOON, child.wait_with_output()).await.context("the command still runs")??;
    let text = |bytes| String::from_utf8(bytes).context("it prints UTF-8");
    Ok(Said { code: output.status.code(), out: text(output.stdout)?, err: text(output.stderr)? })
}

impl Said {
    /// What it printed, if it ended with this code and told of a failure on standard error only.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Result<String> {
        anyhow::ensure!(self.code == Some(code), "expected exit code {code}: {self:?}");
        anyhow::ensure!(code == 0 || self.out.is_empty(), "a failure has no answer: {self:?}");
        Ok(if code == 0 { self.out } else { self.err })
    }
}

impl Running {
    /// Its next line.
    pub(crate) async fn line(&mut self) -> Result<String> {
        let line = timeout(poll::SOON, self.lines.next_line()).await.context("it prints no line")??;
        line.context("it has ended")
    }

    /// Waits until it ends by itself.
    pub(crate) async fn code(&mut self) -> Result<Option<i32>> {
        Ok(timeout(poll::SOON, self.child.wait()).await.context("it still runs")??.code())
    }
}
