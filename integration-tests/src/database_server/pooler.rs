//! A PgBouncer before a PostgreSQL server of our own. Owns the process and its files; ends it when dropped.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Stdio};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use super::programs::{self, User};
use super::{DatabaseServer, Engine, PATIENCE, USER, free_port};
use crate::poll;

const PROGRAM: &str = "pgbouncer";

/// For how long a connection of a client has a session of the server.
#[derive(Debug, Clone, Copy)]
pub enum PoolMode {
    /// As long as it is there.
    Session,
    /// For a transaction.
    Transaction,
    /// For a statement.
    Statement,
}

impl PoolMode {
    fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Transaction => "transaction",
            Self::Statement => "statement",
        }
    }
}

/// A running pooler.
#[derive(Debug)]
pub struct Pooler {
    process: Child,
    port: u16,
    home: TempDir,
}

impl Pooler {
    /// Whether a test can start one: where it is not installed, it says so and should end. With
    /// `CALLBOARD_TEST_REQUIRE_DATABASES=1` that is an error.
    ///
    /// # Errors
    /// See above.
    pub fn can_start() -> anyhow::Result<bool> {
        if programs::find(PROGRAM).is_some() {
            return Ok(true);
        }
        let required = std::env::var("CALLBOARD_TEST_REQUIRE_DATABASES").is_ok_and(|value| value == "1");
        anyhow::ensure!(!required, "{PROGRAM} is not installed");
        println!("not run: {PROGRAM} is not installed");
        Ok(false)
    }

    /// Starts one before `server`.
    ///
    /// # Errors
    /// It does not start; its log is in the message.
    pub async fn start(server: &DatabaseServer, mode: PoolMode) -> anyhow::Result<Self> {
        let home = tempfile::Builder::new().prefix("callboard-pooler-").tempdir()?;
        let (port, path) = (free_port()?, |name: &str| home.path().join(name));
        let settings = format!(
            "[databases]\n* = host={} port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             auth_type = trust\nauth_file = {}\npool_mode = {}\ndefault_pool_size = 60\nunix_socket_dir =\n\
             logfile = {}\n",
            server.address().ip(),
            server.address().port(),
            path("users").display(),
            mode.name(),
            path("log").display(),
        );
        fs::write(path("users"), format!("\"{USER}\" \"\"\n"))?;
        fs::write(path("settings.ini"), settings)?;
        let user = programs::ordinary_user(Engine::Postgres)?;
        if let Some(User { uid, gid }) = user {
            std::os::unix::fs::chown(home.path(), Some(uid), Some(gid))?;
        }
        let program = programs::find(PROGRAM).with_context(|| format!("{PROGRAM} is not installed"))?;
        let mut command = programs::command(&program, user, home.path());
        command.arg("-q").arg(path("settings.ini"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().context("start the pooler")?;
        let mut pooler = Self { process, port, home };
        let ready = poll::until("the pooler takes connections", PATIENCE, async || {
            if let Some(status) = pooler.process.try_wait()? {
                bail!("it ended with {status}");
            }
            Ok(tokio::net::TcpStream::connect(pooler.address()).await.is_ok().then_some(()))
        });
        let ready = ready.await;
        ready.with_context(|| fs::read_to_string(pooler.home.path().join("log")).unwrap_or_default())?;
        Ok(pooler)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// The URL of a database of the server, through the pooler.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@{}/{database}", self.address())
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
