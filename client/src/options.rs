//! How a client is set up. Owns the defaults and their check; each field says what it does.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::backoff::BackOff;
use crate::key::PUBLIC;
use crate::tls::Tls;

/// Longest client id, in bytes.
const MAX_CLIENT_ID: usize = 128;
/// Labels that a client may have.
const MAX_LABELS: usize = 16;

/// How a client is set up. Made by [`Options::new`]; the fields may be set as one likes.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where nodes are reached: `host:port`, or `host` for port 8850. Names are resolved at each connection. One of
    /// them is enough: the nodes name the others.
    pub nodes: Vec<String>,
    /// Names this client to operators, and to rules that tell clients apart: 1 to 128 visible ASCII characters. By
    /// default the name of the host or of the program, and a random number; it stays the same over reconnects.
    pub client_id: String,
    /// The application that the client belongs to.
    pub application: String,
    /// What else is known of it, such as zone and version; at most 16.
    pub labels: BTreeMap<String, String>,
    /// What proves who it is; never shown.
    pub credentials: Credentials,
    /// How all nodes are connected to securely, those that a node names included; without it they are connected to in
    /// clear text, which is the default.
    pub tls: Option<Tls>,
    /// The namespace of [`Client::key`](crate::Client::key) and of listings that name none; `public` by default.
    pub namespace: String,
    /// Where the states of what is watched are kept on the disk, so that a program can start while no node is
    /// reachable: a directory that is made when it is not there. None by default: nothing is kept.
    pub snapshot: Option<PathBuf>,
    /// How long a connection may take, its welcome included; 3 s by default.
    pub connect_timeout: Duration,
    /// How long a request may take, all its repetitions included; 15 s by default.
    pub request_timeout: Duration,
    /// The pause before the next node is tried: at random, up to a bound that doubles with each failure.
    pub back_off: BackOff,
}

impl Options {
    /// The defaults, for these nodes.
    #[must_use]
    pub fn new(nodes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            nodes: nodes.into_iter().map(Into::into).collect(),
            client_id: generated_id(std::env::var("HOSTNAME").ok().as_deref(), rand::random()),
            application: String::new(),
            labels: BTreeMap::new(),
            credentials: Credentials::default(),
            tls: None,
            namespace: PUBLIC.to_owned(),
            snapshot: None,
            connect_timeout: Duration::from_secs(3),
            request_timeout: Duration::from_secs(15),
            back_off: BackOff::default(),
        }
    }

    /// # Errors
    /// [`OptionsError`] names the field that is wrong.
    pub(crate) fn validate(&self) -> Result<(), OptionsError> {
        if self.nodes.is_empty() || self.nodes.iter().any(|node| node.trim().is_empty()) {
            return Err(OptionsError::Nodes);
        }
        let is_named = (1..=MAX_CLIENT_ID).contains(&self.client_id.len());
        if !is_named || !self.client_id.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(OptionsError::ClientId);
        }
        if self.labels.len() > MAX_LABELS {
            return Err(OptionsError::Labels);
        }
        if self.connect_timeout.is_zero() || self.request_timeout.is_zero() {
            return Err(OptionsError::Timeout);
        }
        if self.back_off.first.is_zero() || self.back_off.most < self.back_off.first {
            return Err(OptionsError::BackOff);
        }
        Ok(())
    }
}

/// What is wrong with the options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// There is no node to connect to.
    #[error("nodes: name at least one node, and none that is blank")]
    Nodes,
    /// The client id is none.
    #[error("client_id: use 1 to {MAX_CLIENT_ID} visible ASCII characters")]
    ClientId,
    /// There are too many labels.
    #[error("labels: at most {MAX_LABELS} are allowed")]
    Labels,
    /// No time is allowed for.
    #[error("connect_timeout and request_timeout must be above zero")]
    Timeout,
    /// The pauses have no bound, or one below the first.
    #[error("back_off: first must be above zero, and most no less than first")]
    BackOff,
}

/// A secret that is never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials(String);

impl Credentials {
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for Credentials {
    fn from(secret: T) -> Self {
        Self(secret.into())
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_empty() { "none" } else { "hidden" })
    }
}

/// The name of the host, else of the program, and a number that tells several of them apart.
fn generated_id(host: Option<&str>, number: u64) -> String {
    let program = || std::env::current_exe().map(|path| path.file_stem().unwrap_or_default().display().to_string());
    let name = host.map_or_else(|| program().unwrap_or_default(), str::to_owned);
    let name: String = name.chars().filter(char::is_ascii_graphic).take(100).collect();
    let name = if name.is_empty() { "client" } else { &name };
    format!("{name}-{number:016x}")
}

#[cfg(test)]
mod tests;
