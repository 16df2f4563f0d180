//! A PostgreSQL or MariaDB server of our own in a temporary directory: to be restarted, stopped and paused at will.
//! Owns the process and its files; ends it when dropped. Runs as an ordinary user when we are root, listens on a free
//! port of loopback and on a Unix socket, and syncs every commit.

mod engine;
mod options;
mod pooler;
pub(crate) mod programs;
mod reach;

use std::fmt;
use std::fs::{self, OpenOptions};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::Signal;
use tempfile::TempDir;

use self::engine::Place;
pub use self::options::Options;
pub use self::pooler::{PoolMode, Pooler};
use self::programs::{User, run};
pub use self::reach::Reach;
use crate::poll;
use crate::process;
use crate::volume::Volume;

/// The user of our databases, and on MariaDB its password.
pub(crate) const USER: &str = "callboard";
/// Ports to choose from: below those that the system gives to outgoing connections, so that a port stays free while a
/// server is down.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// Starts that may fail because the port is taken.
const ATTEMPTS: usize = 5;
/// Longest time for a start with recovery, and for an end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A kind of database server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// PostgreSQL.
    Postgres,
    /// MariaDB.
    MariaDb,
}

impl fmt::Display for Engine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Postgres => "PostgreSQL",
            Self::MariaDb => "MariaDB",
        })
    }
}

/// A running or stopped server.
#[derive(Debug)]
pub struct DatabaseServer {
    engine: Engine,
    // Before the directory that it is mounted in.
    volume: Option<Volume>,
    home: TempDir,
    user: Option<User>,
    port: u16,
    process: Option<Child>,
    options: Options,
}

/// Whether a test can start a server of this kind: where its programs are not installed, it says so and should end.
/// With `CALLBOARD_TEST_REQUIRE_DATABASES=1` that is an error.
///
/// # Errors
/// See above.
pub fn can_start(engine: Engine) -> anyhow::Result<bool> {
    if let Some(missing) = engine.programs().iter().find(|program| programs::find(program).is_none()) {
        let required = std::env::var("CALLBOARD_TEST_REQUIRE_DATABASES").is_ok_and(|value| value == "1");
        anyhow::ensure!(!required, "{engine}: {missing} is not installed");
        println!("not run: {engine}: {missing} is not installed");
        return Ok(false);
    }
    Ok(true)
}

/// Starts a server for a test, where [`can_start`] allows it.
///
/// # Errors
/// It does not start; also those of [`can_start`].
pub async fn for_test(engine: Engine) -> anyhow::Result<Option<DatabaseServer>> {
    if can_start(engine)? { DatabaseServer::start(engine).await.map(Some) } else { Ok(None) }
}

impl DatabaseServer {
    /// Sets up a server and starts it.
    ///
    /// # Errors
    /// It does not start; the end of its log is in the message.
    pub async fn start(engine: Engine) -> anyhow::Result<Self> {
        Self::start_with(engine, Options::default()).await
    }

    /// Whether [`Options::clock_can_step`] can be had here.
    #[must_use]
    pub fn clock_can_step() -> bool {
        programs::faketime().is_some()
    }

    /// As [`DatabaseServer::start`], in another way.
    ///
    /// # Errors
    /// As [`DatabaseServer::start`]; also when libfaketime is not installed, or no volume can be mounted.
    pub async fn start_with(engine: Engine, options: Options) -> anyhow::Result<Self> {
        anyhow::ensure!(!options.clock_can_step || Self::clock_can_step(), "libfaketime is not installed");
        let user = programs::ordinary_user(engine)?;
        let home = tempfile::Builder::new().prefix("callboard-db-").tempdir()?;
        let owner = user.map(|User { uid, gid }| (uid, gid));
        let mount = |mib| Volume::mount(&home.path().join("data"), mib, owner);
        let volume = options.volume.map(mount).transpose()?;
        let mut server = Self { engine, volume, home, user, port: 0, process: None, options };
        server.set_clock(0)?;
        if let Some(User { uid, gid }) = user {
            std::os::unix::fs::chown(server.home.path(), Some(uid), Some(gid))?;
        }
        let follows = server.options.follows;
        run(engine.set_up(&server.place(), follows)?).await.with_context(|| format!("set up {engine}"))?;
        if server.options.tls {
            run(Engine::certify(&server.place())?).await.context("make a certificate")?;
        }
        server.start_somewhere().await?;
        if let Some(statements) = engine.welcome() {
            server.query(engine.first_database(), &statements).await?;
        }
        if let Some(statements) = follows.and_then(|primary| engine.follow(primary)) {
            server.query(engine.first_database(), &statements).await?;
        }
        Ok(server)
    }

    async fn start_somewhere(&mut self) -> anyhow::Result<()> {
        let mut failed = None;
        for _ in 0..ATTEMPTS {
            self.port = free_port()?;
            match self.start_again().await {
                Ok(()) => return Ok(()),
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.context("there are attempts")?)
    }

    /// Starts it again after [`DatabaseServer::stop`] or [`DatabaseServer::crash`], on the same port.
    ///
    /// # Errors
    /// It runs, or does not start.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        anyhow::ensure!(self.process.is_none(), "{} still runs", self.engine);
        let log = OpenOptions::new().create(true).append(true).open(self.log())?;
        let mut command = self.command()?;
        if self.options.tls {
            command.args(self.engine.tls(&self.place()));
        }
        if self.options.clock_can_step {
            let library = programs::faketime().context("libfaketime is not installed")?;
            command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", self.clock_file());
            command.env("FAKETIME_CACHE_DURATION", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.process = Some(command.spawn().with_context(|| format!("start {}", self.engine))?);
        let ready = poll::until("the database takes connections", PATIENCE, async || self.look_whether_ready().await);
        if let Err(error) = ready.await {
            let log = fs::read_to_string(self.log()).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(20).collect();
            self.end(Signal::KILL).await?;
            bail!("{error:#}; its log ends, newest first:\n{}", tail.join("\n"));
        }
        Ok(())
    }

    /// The server as it is started, before its time and its certificate.
    pub(crate) fn command(&self) -> anyhow::Result<Command> {
        let mut command = self.engine.serve(&self.place())?;
        command.args(&self.options.arguments).envs(self.options.environment.iter().cloned());
        Ok(command)
    }

    /// Starts with these arguments instead of those of [`Options::arguments`] from the next
    /// [`DatabaseServer::start_again`] on.
    pub(crate) fn set_arguments(&mut self, arguments: Vec<String>) {
        self.options.arguments = arguments;
    }

    async fn look_whether_ready(&mut self) -> anyhow::Result<Option<()>> {
        if let Some(status) = self.process.as_mut().context("it was started")?.try_wait()? {
            bail!("{} ended with {status}", self.engine);
        }
        Ok(run(self.engine.probe(&self.place())?).await.is_ok().then_some(()))
    }

    /// Whether its process was started and not ended by us.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// Whether it has ended by itself. It can be started again then.
    ///
    /// # Errors
    /// It was not started.
    pub fn has_ended(&mut self) -> anyhow::Result<bool> {
        let ended = self.process.as_mut().context("the database server was started")?.try_wait()?.is_some();
        if ended {
            self.process = None;
        }
        Ok(ended)
    }

    /// The volume of [`Options::volume`].
    #[must_use]
    pub fn volume(&self) -> Option<&Volume> {
        self.volume.as_ref()
    }

    /// The file with everything it wrote to standard output and standard error.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.home().join("server.log")
    }

    /// Ends it in good order, without waiting for its clients.
    ///
    /// # Errors
    /// It does not run, or does not end.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.end(self.engine.stop_signal()).await
    }

    /// Ends it at once, as a crash would: it recovers at its next start.
    ///
    /// # Errors
    /// As [`DatabaseServer::stop`].
    pub async fn crash(&mut self) -> anyhow::Result<()> {
        self.end(self.engine.crash_signal()).await
    }

    /// [`DatabaseServer::crash`] and [`DatabaseServer::start_again`].
    ///
    /// # Errors
    /// As both.
    pub async fn restart_immediately(&mut self) -> anyhow::Result<()> {
        self.crash().await?;
        self.start_again().await
    }

    async fn end(&mut self, signal: Signal) -> anyhow::Result<()> {
        let mut process = self.process.take().context("the database server runs")?;
        if process.try_wait()?.is_some() {
            return Ok(());
        }
        process::signal(process.id(), signal)?;
        let ended = poll::until("the database server ends", PATIENCE, async || Ok(process.try_wait()?)).await;
        if ended.is_err() {
            process.kill()?;
            process.wait()?;
        }
        ended.map(drop)
    }

    /// Stops all its processes in their tracks until [`DatabaseServer::resume`].
    ///
    /// # Errors
    /// It does not run.
    pub fn pause(&self) -> anyhow::Result<()> {
        self.signal_all(Signal::STOP)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// It does not run.
    pub fn resume(&self) -> anyhow::Result<()> {
        self.signal_all(Signal::CONT)
    }

    fn signal_all(&self, signal: Signal) -> anyhow::Result<()> {
        let parent = self.process.as_ref().context("the database server runs")?.id();
        process::signal(parent, signal)?;
        for child in process::children(parent)? {
            // A child that has just ended needs no signal.
            if let Err(error) = process::signal(child, signal) {
                eprintln!("{error:#}");
            }
        }
        Ok(())
    }

    /// Sets the server's wall clock `seconds` ahead of the machine's, or behind it. It takes notice within a second.
    ///
    /// # Errors
    /// The server was not started with a stepping clock.
    pub fn step_clock(&self, seconds: i64) -> anyhow::Result<()> {
        anyhow::ensure!(self.options.clock_can_step, "this server's clock can't be stepped");
        self.set_clock(seconds)
    }

    fn set_clock(&self, seconds: i64) -> anyhow::Result<()> {
        // Renamed into place, so that it is never read half written.
        let new = self.home.path().join("clock.new");
        fs::write(&new, format!("{seconds:+}\n"))?;
        Ok(fs::rename(new, self.clock_file())?)
    }

    fn clock_file(&self) -> PathBuf {
        self.home.path().join("clock")
    }

    /// Makes an empty database.
    ///
    /// # Errors
    /// It exists, or the server does not answer.
    pub async fn create_database(&self, name: &str) -> anyhow::Result<()> {
        self.query(self.engine.first_database(), &format!("CREATE DATABASE {name}")).await.map(drop)
    }

    /// The rows of a query as text: one a line, fields separated by tabs.
    ///
    /// # Errors
    /// The server refuses the statement or does not answer.
    pub async fn query(&self, database: &str, statements: &str) -> anyhow::Result<String> {
        run(self.engine.client(&self.place(), database, statements)?).await
    }

    /// What kind of server it is.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Processor time it has used so far, with that of all its processes.
    ///
    /// # Errors
    /// It does not run.
    pub fn cpu_time(&self) -> anyhow::Result<Duration> {
        process::cpu_time_of_family(self.process.as_ref().context("the database server runs")?.id())
    }

    fn place(&self) -> Place<'_> {
        Place { home: self.home(), user: self.user, port: self.port }
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }
}

impl Drop for DatabaseServer {
    fn drop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        let ended = process::signal(process.id(), self.engine.crash_signal()).and_then(|()| {
            // One that is paused ends only when it goes on.
            for pid in process::children(process.id())?.into_iter().chain([process.id()]) {
                // It may have ended already, which is what is wanted.
                drop(process::signal(pid, Signal::CONT));
            }
            Ok(process.wait()?)
        });
        if let Err(error) = ended {
            eprintln!("a database server may be left behind: {error:#}");
        }
    }
}

/// A port of loopback that is free now, and that no outgoing connection takes by chance.
///
/// # Errors
/// Hundreds of ports are taken.
pub fn free_port() -> anyhow::Result<u16> {
    for _ in 0..500 {
        let port = fastrand::u16(PORTS);
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port between {} and {}", PORTS.start, PORTS.end)
}
