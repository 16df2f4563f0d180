//! Why settings are refused, and where a value came from. Every message names the key and its source.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The settings file at this path.
    File(PathBuf),
    /// The environment variable of this name.
    Environment(String),
    /// The flag of this name, with its dashes.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// A value that `validate` refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {reason}")]
pub struct Invalid {
    /// The key, such as `http.addr`.
    pub key: &'static str,
    /// What is wrong and what is allowed.
    pub reason: String,
}

impl Invalid {
    pub(super) fn new(key: &'static str, reason: impl Into<String>) -> Self {
        Self { key, reason: reason.into() }
    }
}

/// Why the settings were refused. Nothing has been started or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings file cannot be read.
    #[error("cannot read the settings file {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The settings file is not TOML. The text of the line is left out: it may hold a password.
    #[error("the settings file {} is not valid TOML at line {line}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line of the mistake, from 1.
        line: usize,
        /// What the parser says.
        reason: String,
    },
    /// A key in the file that does not exist.
    #[error("unknown key `{name}` in {}; did you mean `{nearest}`?", path.display())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key as written.
        name: String,
        /// The existing key that is spelt most like it.
        nearest: &'static str,
    },
    /// A `CALLBOARD_…` variable that is no setting.
    #[error("unknown environment variable {name}; did you mean {nearest}? (`callboard --help` lists them all)")]
    UnknownVariable {
        /// The variable as written.
        name: String,
        /// The existing variable that is spelt most like it.
        nearest: &'static str,
    },
    /// A value that cannot be taken.
    #[error("{key} = {value} ({origin}) is refused: {reason}")]
    Refused {
        /// The key, such as `http.addr`.
        key: &'static str,
        /// The value as TOML, a password in it masked.
        value: String,
        /// Where it came from.
        origin: Origin,
        /// What is wrong and what is allowed.
        reason: String,
    },
}
