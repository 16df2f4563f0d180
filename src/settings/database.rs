//! Section `database`: where configuration is stored. Owns the one place where the password of the URL can be read;
//! connects to nothing.

use std::fmt;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use super::bounds::{self, HOUR, SHORTEST};
use super::error::Invalid;

mod server;

pub use server::{Fault, Host, Server};

/// The SQLite file in the data directory.
const FILE: &str = "callboard.db";

/// How the database is reached. The manual, `config/default.toml`, says more about each value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseOptions {
    /// Which database; empty for the SQLite file in the data directory.
    pub url: DatabaseUrl,
    /// Connections kept for reading.
    pub read_connections: usize,
    /// Connections kept for reads whose cost a client chooses.
    pub search_connections: usize,
    /// Time to wait for a connection.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// Time a start waits for a database that can't be reached, or takes no writes.
    #[serde(with = "humantime_serde")]
    pub start_timeout: Duration,
    /// Time one statement may take.
    #[serde(with = "humantime_serde")]
    pub statement_timeout: Duration,
}

/// The kinds of database that can store configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseKind {
    /// A file of this node.
    Sqlite,
    /// PostgreSQL.
    Postgres,
    /// MySQL or MariaDB.
    Mysql,
}

/// `database.url` as written. `Debug`, `Display` and serialisation mask the password; [`DatabaseUrl::expose`] does not.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub struct DatabaseUrl(String);

impl Default for DatabaseOptions {
    fn default() -> Self {
        Self {
            url: DatabaseUrl::default(),
            read_connections: 4,
            search_connections: 2,
            connect_timeout: Duration::from_secs(5),
            start_timeout: Duration::from_secs(30),
            statement_timeout: Duration::from_secs(3),
        }
    }
}

impl DatabaseOptions {
    /// Checks the kind of the URL and the ranges that the manual names.
    ///
    /// # Errors
    /// The first value that is refused.
    pub fn validate(&self) -> Result<(), Invalid> {
        let url = self.url.expose();
        if self.url.kind().is_none() {
            let reason = "must be empty (SQLite in the data directory) or begin with sqlite:, postgres://, mysql:// or \
                          mariadb://";
            return Err(Invalid::new("database.url", reason));
        }
        if url.starts_with("sqlite:") && (url.contains(":memory:") || url.contains("mode=memory")) {
            return Err(Invalid::new("database.url", "SQLite in memory does not survive a restart; name a file"));
        }
        self.url.server()?;
        bounds::count("database.read_connections", self.read_connections, 1..=1000)?;
        bounds::count("database.search_connections", self.search_connections, 1..=1000)?;
        bounds::duration("database.connect_timeout", self.connect_timeout, SHORTEST..=HOUR)?;
        bounds::duration("database.start_timeout", self.start_timeout, Duration::ZERO..=HOUR)?;
        bounds::duration("database.statement_timeout", self.statement_timeout, SHORTEST..=HOUR)
    }

    /// The URL of the SQLite file to connect to: `url` itself, or the file `callboard.db` in `data_dir`, created when
    /// missing, if `url` is empty.
    pub fn sqlite_url(&self, data_dir: &Path) -> String {
        let url = self.url.expose();
        if url.is_empty() { sqlite_url(&data_dir.join(FILE)) } else { url.to_owned() }
    }
}

impl DatabaseOptions {
    /// The SQLite file that this node serves alone; `None` for other databases.
    pub fn sqlite_file(&self, data_dir: &Path) -> Option<PathBuf> {
        if self.url.0.is_empty() { Some(data_dir.join(FILE)) } else { self.url.sqlite_file().map(Path::to_owned) }
    }
}

impl DatabaseUrl {
    /// The file of a SQLite URL; `None` for other databases, and for the file in the data directory.
    fn sqlite_file(&self) -> Option<&Path> {
        let rest = self.0.strip_prefix("sqlite:")?;
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        Some(Path::new(rest.split_once('?').map_or(rest, |(path, _)| path)))
    }

    /// The URL with its password. For connecting only, never for printing.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The database server that the URL names; `None` for a file.
    ///
    /// # Errors
    /// The URL can't be used; the reason says what to change.
    pub fn server(&self) -> Result<Option<Server>, Invalid> {
        let standard_port = match self.kind() {
            Some(DatabaseKind::Sqlite) | None => return Ok(None),
            // The driver takes what is not in the URL from such variables.
            Some(DatabaseKind::Postgres) => std::env::var("PGPORT").ok().and_then(|port| port.parse().ok()),
            Some(DatabaseKind::Mysql) => None,
        };
        let refused = |fault: Fault| Invalid::new("database.url", fault.to_string());
        Server::parse(&self.0, standard_port).map(Some).map_err(refused)
    }

    /// Which database the URL names; `None` if it is none that is supported.
    pub fn kind(&self) -> Option<DatabaseKind> {
        let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| self.0.starts_with(prefix));
        if self.0.is_empty() || begins(&["sqlite:"]) {
            Some(DatabaseKind::Sqlite)
        } else if begins(&["postgres://", "postgresql://"]) {
            Some(DatabaseKind::Postgres)
        } else if begins(&["mysql://", "mariadb://"]) {
            Some(DatabaseKind::Mysql)
        } else {
            None
        }
    }
}

impl From<String> for DatabaseUrl {
    fn from(url: String) -> Self {
        Self(url)
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&mask(&self.0), f)
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&mask(&self.0))
    }
}

impl Serialize for DatabaseUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Replaces with `***` everything in a URL, well formed or not, that may be a password: what stands between the user's
/// name and the last `@`, and the value of each parameter whose name speaks of a password. Rather masks too much.
pub(super) fn mask(url: &str) -> String {
    let is_scheme = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => (format!("{scheme}://"), rest),
        _ => (String::new(), url),
    };
    let Some((credentials, place)) = rest.rsplit_once('@') else {
        return format!("{scheme}{}", mask_parameters(rest));
    };
    // With a question mark before it, the `@` may belong to a password in the user part or in a parameter.
    if credentials.contains('?') {
        return format!("{scheme}***");
    }
    let place = mask_parameters(place);
    match credentials.split_once(':') {
        Some((user, _)) => format!("{scheme}{user}:***@{place}"),
        None if scheme.is_empty() => format!("***@{place}"),
        None => format!("{scheme}{credentials}@{place}"),
    }
}

fn mask_parameters(place: &str) -> String {
    let Some((path, parameters)) = place.split_once('?') else {
        return place.to_owned();
    };
    let masked: Vec<_> = parameters.split('&').map(mask_parameter).collect();
    format!("{path}?{}", masked.join("&"))
}

fn mask_parameter(parameter: &str) -> String {
    match parameter.split_once('=') {
        // A name with a percent sign may spell "password" in escapes.
        Some((name, _)) if name.to_ascii_lowercase().contains("passw") || name.contains('%') => format!("{name}=***"),
        _ => parameter.to_owned(),
    }
}

/// Escapes every byte that is not plain in a URL, so that any directory name survives the driver's parsing.
pub(crate) fn sqlite_url(file: &Path) -> String {
    let mut url = String::from("sqlite:");
    for byte in file.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(byte) {
            url.push(char::from(*byte));
        } else {
            write!(url, "%{byte:02X}").expect("writing to a String never fails");
        }
    }
    url.push_str("?mode=rwc");
    url
}

#[cfg(test)]
mod tests;
