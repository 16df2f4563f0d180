//! How each database server is set up, started, asked and stopped. Owns the command lines; keeps no state.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use rustix::process::Signal;

use super::programs::{self, User};
use super::{Engine, USER};

/// The program that makes certificates.
pub(super) const CERTIFIER: &str = "openssl";

/// What a server is started with.
#[derive(Debug)]
pub(super) struct Place<'p> {
    pub(super) home: &'p Path,
    pub(super) user: Option<User>,
    pub(super) port: u16,
}

impl Place<'_> {
    fn command(&self, program: &str) -> anyhow::Result<Command> {
        let found = programs::find(program).with_context(|| format!("{program} is not installed"))?;
        Ok(programs::command(&found, self.user, self.home))
    }

    /// Where [`Engine::certify`] puts the certificate.
    pub(super) fn certificate(&self) -> PathBuf {
        self.home.join("server.crt")
    }

    fn private_key(&self) -> PathBuf {
        self.home.join("server.key")
    }

    fn socket(&self) -> String {
        self.home.join("server.sock").display().to_string()
    }
}

impl Engine {
    /// The programs that a server of this kind needs.
    pub(super) fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Postgres => &["initdb", "postgres", "pg_isready", "psql"],
            Self::MariaDb => &["mariadb-install-db", "mariadbd", "mariadb-admin", "mariadb"],
        }
    }

    /// Makes an empty data directory, or one of a standby.
    pub(super) fn set_up(self, place: &Place<'_>, follows: Option<SocketAddr>) -> anyhow::Result<Command> {
        let data = place.home.join("data").display().to_string();
        let mut command;
        match (self, follows) {
            (Self::Postgres, Some(primary)) => {
                command = place.command("pg_basebackup")?;
                command.args(["-D", &data, "-R", "-N", "-c", "fast", "-U", USER]);
                command.args(["-h", &primary.ip().to_string(), "-p", &primary.port().to_string()]);
            }
            (Self::Postgres, None) => {
                command = place.command("initdb")?;
                command.args(["-D", &data, "-U", USER, "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"]);
            }
            (Self::MariaDb, _) => {
                command = place.command("mariadb-install-db")?;
                command.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
                command.arg(format!("--datadir={data}"));
            }
        }
        Ok(command)
    }

    /// The server itself. Every commit is synced to disk, as both do by default.
    pub(super) fn serve(self, place: &Place<'_>) -> anyhow::Result<Command> {
        let (data, port) = (place.home.join("data").display().to_string(), place.port.to_string());
        let mut command;
        match self {
            Self::Postgres => {
                command = place.command("postgres")?;
                command.args(["-D", &data, "-p", &port, "-c", "listen_addresses=127.0.0.1", "-c"]);
                command.arg(format!("unix_socket_directories={}", place.home.display()));
                command.args(["-c", "max_connections=200", "-c", "shared_buffers=64MB"]);
            }
            Self::MariaDb => {
                command = place.command("mariadbd")?;
                command.args(["--no-defaults", "--bind-address=127.0.0.1", "--skip-log-bin", "--skip-name-resolve"]);
                command.args(["--innodb-flush-log-at-trx-commit=1", "--innodb-buffer-pool-size=64M"]);
                command.args([format!("--datadir={data}"), format!("--port={port}")]);
                command.arg(format!("--socket={}", place.socket()));
                command.arg(format!("--pid-file={}", place.home.join("server.pid").display()));
            }
        }
        Ok(command)
    }

    /// Makes the certificate for [`Engine::tls`], which nobody has signed, and its key.
    pub(super) fn certify(place: &Place<'_>) -> anyhow::Result<Command> {
        let mut command = place.command(CERTIFIER)?;
        command.args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "9",
        ]);
        command.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
        // One that may sign others is not taken for a server's.
        command.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
        command.arg("-keyout").arg(place.private_key()).arg("-out").arg(place.certificate());
        Ok(command)
    }

    /// Arguments by which the server takes TLS.
    pub(super) fn tls(self, place: &Place<'_>) -> Vec<String> {
        let (certificate, key) = (place.certificate(), place.private_key());
        let (certificate, key) = (certificate.display(), key.display());
        match self {
            Self::Postgres => {
                ["ssl=on".to_owned(), format!("ssl_cert_file={certificate}"), format!("ssl_key_file={key}")]
                    .into_iter()
                    .flat_map(|setting| ["-c".to_owned(), setting])
                    .collect()
            }
            Self::MariaDb => vec![format!("--ssl-cert={certificate}"), format!("--ssl-key={key}")],
        }
    }

    /// Ends with success when the server takes connections.
    pub(super) fn probe(self, place: &Place<'_>) -> anyhow::Result<Command> {
        let mut command;
        match self {
            Self::Postgres => {
                command = place.command("pg_isready")?;
                command.arg("-q").arg("-h").arg(place.home).args(["-p", &place.port.to_string(), "-U", USER]);
            }
            Self::MariaDb => {
                command = place.command("mariadb-admin")?;
                command.args(["--no-defaults", "-u", "root", "ping"]).arg(format!("--socket={}", place.socket()));
            }
        }
        Ok(command)
    }

    /// Runs statements in `database` and prints bare rows, their fields separated by tabs.
    pub(super) fn client(self, place: &Place<'_>, database: &str, statements: &str) -> anyhow::Result<Command> {
        let mut command;
        match self {
            Self::Postgres => {
                command = place.command("psql")?;
                command.args(["-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-U", USER]);
                command.arg("-h").arg(place.home).args([
                    "-p",
                    &place.port.to_string(),
                    "-d",
                    database,
                    "-c",
                    statements,
                ]);
            }
            Self::MariaDb => {
                command = place.command("mariadb")?;
                command.args(["--no-defaults", "-N", "-B", "-u", "root"]).arg(format!("--socket={}", place.socket()));
                command.args([database, "-e", statements]);
            }
        }
        Ok(command)
    }

    /// Statements that prepare a new server for us. They may be done once more by a server that follows this one.
    pub(super) fn welcome(self) -> Option<String> {
        match self {
            Self::Postgres => None,
            Self::MariaDb => Some(format!(
                "CREATE USER IF NOT EXISTS {USER}@'%' IDENTIFIED BY '{USER}'; GRANT ALL ON *.* TO {USER}@'%'"
            )),
        }
    }

    /// Statements by which a prepared server follows another; none where its data directory says so.
    pub(super) fn follow(self, primary: SocketAddr) -> Option<String> {
        match self {
            Self::Postgres => None,
            Self::MariaDb => Some(format!(
                "CHANGE MASTER TO MASTER_HOST='{}', MASTER_PORT={}, MASTER_USER='{USER}', MASTER_PASSWORD='{USER}', \
                 MASTER_LOG_FILE='log.000001', MASTER_LOG_POS=4; SET GLOBAL read_only = ON; START SLAVE",
                primary.ip(),
                primary.port()
            )),
        }
    }

    /// A database that every new server has.
    pub(super) fn first_database(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::MariaDb => "mysql",
        }
    }

    /// The signal upon which it ends in good order without waiting for its clients.
    pub(super) fn stop_signal(self) -> Signal {
        match self {
            Self::Postgres => Signal::INT,
            Self::MariaDb => Signal::TERM,
        }
    }

    /// The signal upon which it ends at once and recovers at its next start. PostgreSQL's processes share memory, which
    /// SIGKILL would leave behind.
    pub(super) fn crash_signal(self) -> Signal {
        match self {
            Self::Postgres => Signal::QUIT,
            Self::MariaDb => Signal::KILL,
        }
    }
}
