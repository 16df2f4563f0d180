//! What `callboard login` keeps: the file of the user with a token for each cluster. Owns that file, which nobody else
//! can read.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use callboard_client::with_port;
use serde::{Deserialize, Serialize};

use super::credentials::Secret;
use super::failure::Failure;
use super::preferences;

/// The file, in the directory for the files of users.
const FILE: &str = "callboard/credentials.toml";

/// What a log-in gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    /// Where the nodes of the cluster are reached.
    pub(crate) nodes: Vec<String>,
    /// It came by TLS, and is shown by TLS alone.
    pub(crate) secure: bool,
    pub(crate) user: String,
    pub(crate) token: Secret,
    /// Until when it is taken, in seconds since 1970.
    pub(crate) expires: u64,
}

/// The form of the file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    #[serde(default)]
    login: Vec<Login>,
}

/// Every log-in that is kept.
#[derive(Debug)]
pub(crate) struct Logins {
    path: Option<PathBuf>,
    kept: Kept,
}

/// `~/.config/callboard/credentials.toml`, or where else the user has such files.
pub(crate) fn path(environment: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    Some(preferences::directory(&environment)?.join(FILE))
}

/// In seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Logins {
    /// Reads the file; one that is not there holds nothing.
    ///
    /// # Errors
    /// [`Failure::Usage`]: it can't be read, or has another form.
    pub(crate) fn load(path: Option<PathBuf>) -> Result<Self, Failure> {
        let Some(file) = &path else { return Ok(Self { path, kept: Kept::default() }) };
        let refused = |reason: String| {
            Failure::Usage(format!("cannot read {}: {reason}; remove it, and log in again", file.display()))
        };
        let kept = match fs::read_to_string(file) {
            // What the error would show has a token in it.
            Ok(text) => toml::from_str(&text).map_err(|error| refused(error.message().to_owned()))?,
            Err(error) if error.kind() == ErrorKind::NotFound => Kept::default(),
            Err(error) => return Err(refused(error.to_string())),
        };
        Ok(Self { path, kept })
    }

    /// The log-in at one of the nodes, as long as it is taken; over clear text only what came so.
    pub(crate) fn find(&self, nodes: &[String], is_secure: bool, now: u64) -> Option<&Login> {
        let is_fit = |login: &&Login| login.is_at(nodes) && now < login.expires && (is_secure || !login.secure);
        self.kept.login.iter().find(is_fit)
    }

    /// Keeps a log-in, in place of others at its nodes. Says where.
    ///
    /// # Errors
    /// [`Failure::Usage`]: it can't be written.
    pub(crate) fn keep(&mut self, mut login: Login) -> Result<&Path, Failure> {
        login.nodes = login.nodes.iter().map(|node| with_port(node)).collect();
        login.nodes.sort();
        login.nodes.dedup();
        self.kept.login.retain(|other| !other.is_at(&login.nodes));
        self.kept.login.push(login);
        self.write()
    }

    /// Forgets the log-ins at the nodes. Says who was logged in.
    ///
    /// # Errors
    /// Those of [`Logins::keep`].
    pub(crate) fn forget(&mut self, nodes: &[String]) -> Result<Option<String>, Failure> {
        let forgotten: Vec<Login> = self.kept.login.extract_if(.., |login| login.is_at(nodes)).collect();
        if !forgotten.is_empty() {
            self.write()?;
        }
        Ok(forgotten.into_iter().next().map(|login| login.user))
    }

    fn write(&self) -> Result<&Path, Failure> {
        let Some(path) = &self.path else {
            return Err(Failure::Usage("there is no home to keep a log-in in; set HOME".to_owned()));
        };
        let refused = |reason: String| Failure::Usage(format!("cannot write {}: {reason}", path.display()));
        let text = toml::to_string(&self.kept).map_err(|error| refused(error.to_string()))?;
        replace(path, &text).map_err(|error| refused(error.to_string()))?;
        Ok(path)
    }
}

impl Login {
    fn is_at(&self, nodes: &[String]) -> bool {
        nodes.iter().any(|node| self.nodes.contains(&with_port(node)))
    }
}

/// Writes the whole file at once, for its owner alone.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let fresh = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests;
