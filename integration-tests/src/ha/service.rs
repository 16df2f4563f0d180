//! A program beside the databases that runs until it is ended: etcd, Patroni, HAProxy. Owns the process and its log;
//! ends it when dropped. Runs as the ordinary user of a database when we are root, and knows nothing of what it is for.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, bail};
use rustix::process::Signal;

use crate::database_server::programs::{self, User};
use crate::process;

/// A program that runs.
#[derive(Debug)]
pub(super) struct Service {
    name: String,
    process: Child,
    log: PathBuf,
}

impl Service {
    /// Starts `program` in `home`, where its output goes into `<name>.log`.
    ///
    /// # Errors
    /// It is not installed, or can't be started.
    pub(super) fn start(
        name: &str,
        program: &str,
        user: Option<User>,
        home: &Path,
        arguments: &[String],
    ) -> anyhow::Result<Self> {
        let found = programs::find(program).with_context(|| format!("{program} is not installed"))?;
        let mut command: Command = programs::command(&found, user, home);
        let log = home.join(format!("{name}.log"));
        let output = OpenOptions::new().create(true).append(true).open(&log)?;
        command.args(arguments).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let process = command.spawn().with_context(|| format!("start {program}"))?;
        Ok(Self { name: name.to_owned(), process, log })
    }

    /// The id of its process.
    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Its log.
    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    /// An error when it has ended by itself.
    pub(super) fn still_runs(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.process.try_wait()? {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(20).collect();
            bail!("{} ended with {status}; its log ends, newest first:\n{}", self.name, tail.join("\n"));
        }
        Ok(())
    }

    /// Ends it at once.
    pub(super) fn kill(&mut self) -> anyhow::Result<()> {
        if self.process.try_wait()?.is_none() {
            // One that is paused ends by this all the same.
            process::signal(self.pid(), Signal::KILL)?;
            self.process.wait()?;
        }
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("{} may be left behind: {error:#}", self.name);
        }
    }
}
