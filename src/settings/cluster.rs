//! Sections `peer`, `advertise` and `cluster`: how this node and others find and reach each other. Opens nothing.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::error::Invalid;

/// Where peers are listened for when `peer.addr` is empty.
const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8851);
/// Longest name of a cluster, in characters.
const LONGEST_NAME: usize = 64;
/// Longest host name, in characters.
const LONGEST_HOST: usize = 253;
/// Seeds that may be named.
const MOST_SEEDS: usize = 64;

/// Where other nodes are listened for. The manual, `config/default.toml`, says more about each value.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerOptions {
    /// Address for TCP and UDP; empty for the default one. Read it through [`PeerOptions::address`].
    pub addr: String,
}

impl PeerOptions {
    /// Checks that an address is an IP address and a port.
    ///
    /// # Errors
    /// Anything else.
    pub fn validate(&self) -> Result<(), Invalid> {
        if self.addr.is_empty() || self.addr.parse::<SocketAddr>().is_ok() {
            return Ok(());
        }
        Err(Invalid::new("peer.addr", "must be an IP address and a port, such as 127.0.0.1:8851, or empty"))
    }

    /// The address to listen on.
    pub fn address(&self) -> SocketAddr {
        self.addr.parse().unwrap_or(DEFAULT_ADDRESS)
    }
}

/// How others reach this node. The manual, `config/default.toml`, says more about each value.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdvertiseOptions {
    /// The host that others are told; empty for the address that is listened on.
    pub addr: String,
}

impl AdvertiseOptions {
    /// Checks that it is one host.
    ///
    /// # Errors
    /// Anything else.
    pub fn validate(&self) -> Result<(), Invalid> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
        let with_port = self.addr.parse::<SocketAddr>().is_ok();
        if self.addr.len() <= LONGEST_HOST && self.addr.bytes().all(legal) && !with_port {
            return Ok(());
        }
        Err(Invalid::new("advertise.addr", "must be one IP address or host name, without a port, or empty"))
    }
}

/// The cluster that this node belongs to. The manual, `config/default.toml`, says more about each value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterOptions {
    /// Its name.
    pub name: String,
    /// The file that holds its key; empty for a node without peers.
    pub key_file: PathBuf,
    /// Peer addresses of nodes to ask first.
    pub seeds: Vec<String>,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self { name: "callboard".to_owned(), key_file: PathBuf::new(), seeds: Vec::new() }
    }
}

impl ClusterOptions {
    /// Checks the name and the form of the seeds.
    ///
    /// # Errors
    /// The first value that is refused.
    pub fn validate(&self) -> Result<(), Invalid> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !(1..=LONGEST_NAME).contains(&self.name.len()) || !self.name.bytes().all(legal) {
            let reason = format!("must be 1 to {LONGEST_NAME} of the characters A-Z a-z 0-9 . _ -");
            return Err(Invalid::new("cluster.name", reason));
        }
        if self.seeds.len() > MOST_SEEDS {
            return Err(Invalid::new("cluster.seeds", format!("must be at most {MOST_SEEDS}")));
        }
        let is_seed = |seed: &String| {
            let parts = seed.rsplit_once(':');
            parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0))
        };
        match self.seeds.iter().find(|seed| !is_seed(seed)) {
            Some(seed) => {
                let reason = format!("must be host:port of peer addresses, such as 10.0.0.7:8851; {seed:?} is not");
                Err(Invalid::new("cluster.seeds", reason))
            }
            None => Ok(()),
        }
    }

    /// True when the node has a key, and so peers.
    pub fn has_key(&self) -> bool {
        !self.key_file.as_os_str().is_empty()
    }
}
