//! A real `callboard serve` process in a directory of its own. Owns the process, its data directory and its log; ends
//! the process when dropped. Uses port 0 unless told otherwise, so that any number of nodes live beside each other.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Resource, Rlimit, Signal};
use serde_json::Value;
use tempfile::TempDir;

use crate::binary;
use crate::client::Client;
use crate::poll;
use crate::process;
use crate::volume::Volume;

/// Lines of the node's log that an error shows.
const TAIL: usize = 30;

/// How to start a node besides its data directory.
#[derive(Debug, Clone, Default)]
pub struct NodeOptions {
    http: Option<SocketAddr>,
    tcp: Option<SocketAddr>,
    grpc: Option<SocketAddr>,
    authorization: Option<String>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    volume: Option<u32>,
    log: Option<PathBuf>,
    program: Option<PathBuf>,
}

impl NodeOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves HTTP on this address, after a restart too, instead of on any free port.
    #[must_use]
    pub fn serve_on(mut self, address: SocketAddr) -> Self {
        self.http = Some(address);
        self
    }

    /// Serves native sessions on this address, after a restart too, instead of on any free port.
    #[must_use]
    pub fn sessions_on(mut self, address: SocketAddr) -> Self {
        self.tcp = Some(address);
        self
    }

    /// Serves gRPC on this address, after a restart too, instead of on any free port.
    #[must_use]
    pub fn grpc_on(mut self, address: SocketAddr) -> Self {
        self.grpc = Some(address);
        self
    }

    /// Keeps the data directory on a volume of its own, of so many MiB. Only where [`Volume::can_mount`].
    #[must_use]
    pub fn on_volume(mut self, mib: u32) -> Self {
        self.volume = Some(mib);
        self
    }

    /// Logs into this file instead of one that [`Node::log`] tells of.
    #[must_use]
    pub fn logs_to(mut self, file: &Path) -> Self {
        self.log = Some(file.to_owned());
        self
    }

    /// Its own clients show this in `Authorization`.
    #[must_use]
    pub fn asked_with(mut self, authorization: &str) -> Self {
        self.authorization = Some(authorization.to_owned());
        self
    }

    /// Runs this program instead of the one under test.
    #[must_use]
    pub fn by(mut self, program: Option<PathBuf>) -> Self {
        self.program = program;
        self
    }

    /// Adds `--name value`.
    #[must_use]
    pub fn flag(mut self, name: &str, value: &str) -> Self {
        self.arguments.extend([format!("--{name}"), value.to_owned()]);
        self
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A node.
#[derive(Debug)]
pub struct Node {
    setup: NodeOptions,
    // Before the directory that it is mounted in.
    volume: Option<Volume>,
    home: TempDir,
    process: Option<Child>,
    at: Addresses,
}

/// Where a node is reached.
#[derive(Debug, Clone, Copy)]
struct Addresses {
    http: SocketAddr,
    tcp: SocketAddr,
    grpc: SocketAddr,
    peer: Option<SocketAddr>,
}

impl Node {
    /// Starts a node in a new directory and waits until it serves.
    ///
    /// # Errors
    /// It ends or does not get ready in time; the end of its log is in the message.
    pub async fn start(setup: NodeOptions) -> anyhow::Result<Self> {
        let mut node = Self::stopped(setup)?;
        node.start_again().await?;
        Ok(node)
    }

    fn stopped(setup: NodeOptions) -> anyhow::Result<Self> {
        let home = tempfile::tempdir().context("make a directory for the node")?;
        let http = setup.http.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
        let at = Addresses { http, tcp: http, grpc: http, peer: None };
        let volume = setup.volume.map(|mib| Volume::mount(&home.path().join("data"), mib, None)).transpose()?;
        Ok(Self { setup, volume, home, process: None, at })
    }

    /// Starts a node that should refuse: the last line that it said when it ended with an error, or none when it is
    /// ready instead, and then ended.
    ///
    /// # Errors
    /// It does neither within `limit`.
    pub async fn start_or_refuse(setup: NodeOptions, limit: Duration) -> anyhow::Result<Option<String>> {
        let mut node = Self::stopped(setup)?;
        let addresses = node.spawn()?;
        let outcome = poll::until("the node ends or serves", limit, async || {
            match node.has_ended()? {
                Some(status) => anyhow::ensure!(!status.success(), "a node that should serve has ended"),
                None if addresses.exists() && node.is_ready(&addresses).await => return Ok(Some(None)),
                None => return Ok(None),
            }
            let log = fs::read_to_string(node.log())?;
            Ok(Some(Some(log.lines().last().unwrap_or_default().to_owned())))
        });
        outcome.await.with_context(|| node.log_tail())
    }

    async fn is_ready(&mut self, addresses: &Path) -> bool {
        let Ok(Some(at)) = self.look_for_addresses(addresses) else { return false };
        let ready = Client::new(format!("http://{}", at.http)).get_path("/readyz").limit(poll::SOON).send().await;
        ready.is_ok_and(|answer| answer.status == 200)
    }

    /// Starts the node again on its data directory after [`Node::kill`] or [`Node::terminate`]. Its port
    /// changes, unless [`NodeOptions::serve_on`] fixed it.
    ///
    /// # Errors
    /// As [`Node::start`]; also when it still runs.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        let addresses = self.spawn()?;
        let ready = poll::until("the node serves", poll::SOON, async || self.look_for_addresses(&addresses)).await;
        self.at = ready.with_context(|| self.log_tail())?;
        Ok(())
    }

    /// As [`Node::start_again`] for a node that may be unable to write down where it serves; [`NodeOptions`] has fixed
    /// that.
    ///
    /// # Errors
    /// As [`Node::start_again`].
    pub async fn start_where_told(&mut self) -> anyhow::Result<()> {
        self.spawn()?;
        let http = self.setup.http.context("the address is fixed")?;
        let client = Client::new(format!("http://{http}"));
        let ready = poll::until("the node serves", poll::SOON, async || {
            if let Some(status) = self.has_ended()? {
                bail!("the node ended with {status}");
            }
            let alive = client.get_path("/healthz").limit(poll::SOON).send().await;
            Ok(alive.is_ok_and(|answer| answer.status == 200).then_some(()))
        });
        ready.await.with_context(|| self.log_tail())?;
        self.at.http = http;
        Ok(())
    }

    /// Starts the process. Tells where it will write down its addresses.
    fn spawn(&mut self) -> anyhow::Result<PathBuf> {
        if self.process.is_some() {
            bail!("the node still runs");
        }
        let addresses = self.data_dir().join("addresses.json");
        if addresses.exists() {
            fs::remove_file(&addresses).context("remove the addresses that a killed node left")?;
        }
        let log =
            OpenOptions::new().create(true).append(true).open(self.setup.log.clone().unwrap_or_else(|| self.log()))?;
        let mut command = command_of(self.setup.program.as_deref(), self.home.path())?;
        let http = self.setup.http.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
        let tcp = self.setup.tcp.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
        let grpc = self.setup.grpc.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
        command
            .arg("serve")
            .args(["--http-addr", &http.to_string(), "--tcp-addr", &tcp.to_string()])
            .args(["--grpc-addr", &grpc.to_string(), "--data-dir"])
            .arg(self.data_dir());
        command.args(&self.setup.arguments).envs(self.setup.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.process = Some(command.spawn().context("start callboard")?);
        Ok(addresses)
    }

    /// Starts otherwise from the next [`Node::start_again`] on.
    pub fn set_up(&mut self, setup: NodeOptions) {
        self.setup = setup;
    }

    fn look_for_addresses(&mut self, addresses: &Path) -> anyhow::Result<Option<Addresses>> {
        if let Some(status) = self.has_ended()? {
            bail!("the node ended with {status}");
        }
        if !addresses.exists() {
            return Ok(None);
        }
        let known: BTreeMap<String, Value> = serde_json::from_slice(&fs::read(addresses)?)?;
        let address = |name| known.get(name)?.as_str()?.parse().ok();
        let http = address("http").context("addresses.json names the HTTP address")?;
        let tcp = address("tcp").context("addresses.json names the address of sessions")?;
        let grpc = address("grpc").context("addresses.json names the address of gRPC")?;
        Ok(Some(Addresses { http, tcp, grpc, peer: address("peer") }))
    }

    /// A client of this node. It stays with the present port.
    #[must_use]
    pub fn client(&self) -> Client {
        match &self.setup.authorization {
            Some(shown) => Client::showing(self.http(), shown),
            None => Client::new(self.http()),
        }
    }

    /// The base of its URLs, such as `http://127.0.0.1:40123`.
    #[must_use]
    pub fn http(&self) -> String {
        format!("http://{}", self.at.http)
    }

    /// The address it serves HTTP on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.at.http
    }

    /// The address it serves gRPC on.
    #[must_use]
    pub fn grpc_address(&self) -> SocketAddr {
        self.at.grpc
    }

    /// The address it serves native sessions on.
    #[must_use]
    pub fn session_address(&self) -> SocketAddr {
        self.at.tcp
    }

    /// The address it listens on for other nodes, if it does.
    #[must_use]
    pub fn peer_address(&self) -> Option<SocketAddr> {
        self.at.peer
    }

    /// The id of its process.
    ///
    /// # Errors
    /// It does not run.
    pub fn pid(&self) -> anyhow::Result<u32> {
        Ok(self.process.as_ref().context("the node runs")?.id())
    }

    /// Whether its process was started and not ended by us.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// How it ended, if it ended by itself since it was started and nobody has asked yet.
    ///
    /// # Errors
    /// It was not started, or has ended before.
    pub fn has_ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        let ended = self.process.as_mut().context("the node was started")?.try_wait()?;
        if ended.is_some() {
            self.process = None;
        }
        Ok(ended)
    }

    /// The volume of [`NodeOptions::on_volume`].
    #[must_use]
    pub fn volume(&self) -> Option<&Volume> {
        self.volume.as_ref()
    }

    /// Lets it make no file longer than so many bytes, as `ulimit -f` does, or as long as it likes.
    ///
    /// # Errors
    /// It does not run, or the system refuses.
    pub fn limit_file_sizes(&self, bytes: Option<u64>) -> anyhow::Result<()> {
        let limit = Rlimit { current: bytes, maximum: None };
        rustix::process::prlimit(Some(process::numbered(self.pid()?)?), Resource::Fsize, limit)?;
        Ok(())
    }

    /// Lets its address space grow to so many bytes, as `ulimit -v` does.
    ///
    /// # Errors
    /// It does not run, or the system refuses.
    pub fn limit_address_space(&self, bytes: u64) -> anyhow::Result<()> {
        let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
        rustix::process::prlimit(Some(process::numbered(self.pid()?)?), Resource::As, limit)?;
        Ok(())
    }

    /// Its data directory.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// The file with everything it wrote to standard output and standard error.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.home.path().join("node.log")
    }

    /// The last lines of what it wrote to standard output and standard error.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_else(|error| format!("(no log: {error})"));
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(TAIL)..).unwrap_or_default();
        format!("the node's log ends:\n{}", tail.join("\n"))
    }

    /// Ends it as a power cut would (SIGKILL) and waits until it is gone.
    ///
    /// # Errors
    /// It does not run, or the system refuses.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let mut process = self.process.take().context("the node runs")?;
        process.kill()?;
        process.wait()?;
        Ok(())
    }

    /// Asks it to stop (SIGTERM) and does not wait.
    ///
    /// # Errors
    /// As [`Node::kill`].
    pub fn ask_to_stop(&self) -> anyhow::Result<()> {
        self.signal(Signal::TERM)
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// It still runs after `limit`.
    pub async fn ended(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let mut process = self.process.take().context("the node runs")?;
        let ended = poll::until("the node ends", limit, async || Ok(process.try_wait()?)).await;
        if ended.is_err() {
            self.process = Some(process);
        }
        ended.with_context(|| self.log_tail())
    }

    /// Asks it to stop and waits until it has.
    ///
    /// # Errors
    /// As [`Node::ask_to_stop`] and [`Node::ended`].
    pub async fn terminate(&mut self) -> anyhow::Result<ExitStatus> {
        self.ask_to_stop()?;
        self.ended(poll::SOON * 2).await
    }

    /// Stops it in its tracks (SIGSTOP) until [`Node::resume`].
    ///
    /// # Errors
    /// As [`Node::kill`].
    pub fn pause(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on after [`Node::pause`].
    ///
    /// # Errors
    /// As [`Node::kill`].
    pub fn resume(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        process::signal(self.pid()?, signal)
    }

    /// Processor time it has used so far, user and system.
    ///
    /// # Errors
    /// It does not run, or this system has no `/proc`.
    pub fn cpu_time(&self) -> anyhow::Result<Duration> {
        process::cpu_time(self.pid()?)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.process.is_some()
            && let Err(error) = self.kill()
        {
            eprintln!("a node may be left behind: {error:#}");
        }
    }
}

/// Runs the program with `arguments` and `environment` until it ends by itself, as a start that is refused does.
///
/// # Errors
/// It still runs after a while; it is ended then.
pub async fn run_to_end(arguments: &[&str], environment: &[(&str, &str)]) -> anyhow::Result<Output> {
    let home = tempfile::tempdir()?;
    let mut command = command(home.path())?;
    command.args(arguments).envs(environment.iter().copied()).stdin(Stdio::null());
    let mut command = tokio::process::Command::from(command);
    let ended = tokio::time::timeout(poll::SOON, command.kill_on_drop(true).output()).await;
    Ok(ended.with_context(|| format!("callboard {arguments:?} still runs"))??)
}

/// The program without any settings from this environment, working in `directory`.
fn command(directory: &Path) -> anyhow::Result<Command> {
    command_of(None, directory)
}

fn command_of(program: Option<&Path>, directory: &Path) -> anyhow::Result<Command> {
    let program = program.map_or_else(binary::path, |program| Ok(program.to_owned()))?;
    let mut command = Command::new(program);
    command.current_dir(directory);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CALLBOARD_") {
            command.env_remove(name);
        }
    }
    Ok(command)
}
