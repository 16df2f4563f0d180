//! Section `http`: the listening address and the limits of HTTP. Opens nothing.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use callboard_protocol::wire::hosts::is_host;
use serde::{Deserialize, Serialize};

use super::bounds::{self, HOUR, SHORTEST};
use super::error::Invalid;

/// Hosts that may be named.
const MOST_HOSTS: usize = 64;

/// How HTTP is served. The manual, `config/default.toml`, says more about each value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpOptions {
    /// Address to listen on; port 0 takes a free one.
    pub addr: SocketAddr,
    /// Number of worker threads; 0 for one per core. Read it through [`HttpOptions::worker_count`].
    pub workers: usize,
    /// Connections open at the same time, over all workers.
    pub max_connections: usize,
    /// Those of one address.
    pub max_per_address: usize,
    /// Time for a complete request head.
    #[serde(with = "humantime_serde")]
    pub read_timeout: Duration,
    /// Time a request body may go without progress.
    #[serde(with = "humantime_serde")]
    pub body_timeout: Duration,
    /// Time a client may take without reading anything of an answer.
    #[serde(with = "humantime_serde")]
    pub write_timeout: Duration,
    /// Time a connection may be idle between two requests.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// Waiting reads and long polls held at the same time on this node, and as many event streams.
    pub max_held: usize,
    /// Further names under which this node may be asked, and whose pages may change something.
    pub allowed_hosts: Vec<String>,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 8848)),
            workers: 0,
            max_connections: 25_000,
            max_per_address: 15_000,
            read_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(15),
            write_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            max_held: 20_000,
            allowed_hosts: Vec::new(),
        }
    }
}

impl HttpOptions {
    /// Checks the ranges that the manual names.
    ///
    /// # Errors
    /// The first value out of range.
    pub fn validate(&self) -> Result<(), Invalid> {
        bounds::count("http.workers", self.workers, 0..=1024)?;
        bounds::count("http.max_connections", self.max_connections, 1..=1_000_000)?;
        bounds::count("http.max_per_address", self.max_per_address, 1..=1_000_000)?;
        bounds::duration("http.read_timeout", self.read_timeout, SHORTEST..=HOUR)?;
        bounds::duration("http.body_timeout", self.body_timeout, SHORTEST..=HOUR)?;
        bounds::duration("http.write_timeout", self.write_timeout, SHORTEST..=HOUR)?;
        bounds::duration("http.idle_timeout", self.idle_timeout, SHORTEST..=HOUR)?;
        bounds::count("http.max_held", self.max_held, 1..=1_000_000)?;
        if self.allowed_hosts.len() > MOST_HOSTS {
            return Err(Invalid::new("http.allowed_hosts", format!("must be at most {MOST_HOSTS}")));
        }
        match self.allowed_hosts.iter().find(|host| !is_host(host)) {
            Some(host) => {
                let reason = format!("must be host names without a port, such as callboard.example; {host:?} is not");
                Err(Invalid::new("http.allowed_hosts", reason))
            }
            None => Ok(()),
        }
    }

    /// The number of worker threads to start, the cores of the machine counted if `workers` is 0.
    pub fn worker_count(&self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get),
            count => count,
        }
    }
}
