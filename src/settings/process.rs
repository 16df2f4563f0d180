//! Sections `node`, `data`, `insecure`, `shutdown` and `log`: the process as a whole. Creates and starts nothing.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use super::bounds::{self, HOUR};
use super::error::Invalid;

/// Longest `node.id`, in characters.
const LONGEST_NODE_ID: usize = 64;

/// Who this node is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeOptions {
    /// Name of the node; empty for the one kept in the data directory.
    pub id: String,
}

impl NodeOptions {
    /// Checks the characters of the name.
    ///
    /// # Errors
    /// A name that is too long or holds another character than the manual names.
    pub fn validate(&self) -> Result<(), Invalid> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if self.id.len() <= LONGEST_NODE_ID && self.id.bytes().all(legal) {
            return Ok(());
        }
        let reason = format!("must be empty or 1 to {LONGEST_NODE_ID} of the characters A-Z a-z 0-9 . _ -");
        Err(Invalid::new("node.id", reason))
    }
}

/// Where the node keeps its files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataOptions {
    /// The data directory.
    pub dir: PathBuf,
}

impl Default for DataOptions {
    fn default() -> Self {
        Self { dir: PathBuf::from("./data") }
    }
}

impl DataOptions {
    /// Checks that a directory is named.
    ///
    /// # Errors
    /// An empty path.
    pub fn validate(&self) -> Result<(), Invalid> {
        if self.dir.as_os_str().is_empty() {
            return Err(Invalid::new("data.dir", "must name a directory"));
        }
        Ok(())
    }
}

/// What protection is switched off.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InsecureOptions {
    /// Serve other machines without authentication.
    pub no_auth: bool,
}

/// How the node stops.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShutdownOptions {
    /// Time for what is under way to finish.
    #[serde(with = "humantime_serde")]
    pub grace: Duration,
}

impl Default for ShutdownOptions {
    fn default() -> Self {
        Self { grace: Duration::from_secs(20) }
    }
}

impl ShutdownOptions {
    /// Checks the range that the manual names.
    ///
    /// # Errors
    /// A time out of range.
    pub fn validate(&self) -> Result<(), Invalid> {
        bounds::duration("shutdown.grace", self.grace, Duration::ZERO..=HOUR)
    }
}

/// What is logged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogOptions {
    /// Levels, by module or for all.
    pub filter: String,
    /// Form of a line.
    pub format: LogFormat,
}

/// Form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs: one JSON object a line.
    Json,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: LogFormat::Text }
    }
}

/// Libraries whose running commentary is asked for by name only. The dispatcher's errors are bad requests, which are
/// the client's business, and the pool's warnings are of each connection that an outage costs: the store says that
/// there is one.
const QUIET: &str = "actix_server=warn,actix_http::h1::dispatcher=off,sqlx_core::pool=error";

impl LogOptions {
    /// Checks that the filter can be understood.
    ///
    /// # Errors
    /// A filter that cannot.
    pub fn validate(&self) -> Result<(), Invalid> {
        let refuse = |error: ParseError| {
            let reason = format!("{error}; write a level (error, warn, info, debug, trace, off) or MODULE=LEVEL,…");
            Invalid::new("log.filter", reason)
        };
        if !self.filter.is_ascii() {
            // What is no ASCII names nothing of ours, and the library panics on some of it.
            return Err(Invalid::new("log.filter", "only ASCII names modules and levels".to_owned()));
        }
        self.parsed_filter().map(drop).map_err(refuse)
    }

    /// The filter in the form that the log takes.
    ///
    /// # Errors
    /// A filter that cannot be understood; never after [`LogOptions::validate`] passed.
    pub fn parsed_filter(&self) -> Result<EnvFilter, ParseError> {
        let databases = callboard_migration::COMMENTARY.map(|target| format!("{target}=warn")).join(",");
        EnvFilter::builder().parse(format!("{QUIET},{databases},{}", self.filter))
    }
}
