//! Sections `tcp`, `grpc` and `session`: where clients of long-lived connections are listened for, and what each may
//! do. Opens nothing.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::bounds::{self, HOUR, SHORTEST};
use super::byte_size::ByteSize;
use super::error::Invalid;

/// Where native sessions are listened for when `tcp.addr` is empty.
const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8850);

fn check_address(key: &'static str, address: &str) -> Result<(), Invalid> {
    if address.is_empty() || address.parse::<SocketAddr>().is_ok() {
        return Ok(());
    }
    Err(Invalid::new(key, "must be an IP address and a port, such as 127.0.0.1:8850, or empty"))
}

/// Where native sessions are listened for. The manual, `config/default.toml`, says more about each value.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TcpOptions {
    /// Address; empty for the default one. Read it through [`TcpOptions::address`].
    pub addr: String,
}

impl TcpOptions {
    /// Checks that an address is an IP address and a port.
    ///
    /// # Errors
    /// Anything else.
    pub fn validate(&self) -> Result<(), Invalid> {
        check_address("tcp.addr", &self.addr)
    }

    /// The address to listen on.
    pub fn address(&self) -> SocketAddr {
        self.addr.parse().unwrap_or(DEFAULT_ADDRESS)
    }

    /// True when somebody chose the address: another one will not do.
    pub fn is_chosen(&self) -> bool {
        !self.addr.is_empty()
    }
}

/// Where clients of Nacos are listened for over gRPC, and what each may do. The manual, `config/default.toml`, says
/// more about each value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrpcOptions {
    /// Address; empty for the one that clients expect. Read it through [`GrpcOptions::address`].
    pub addr: String,
    /// Configurations that one connection may listen to.
    pub max_listens: usize,
}

/// How far above the port of HTTP clients of Nacos expect gRPC.
const GRPC_OFFSET: u16 = 1_000;

impl Default for GrpcOptions {
    fn default() -> Self {
        Self { addr: String::new(), max_listens: 10_000 }
    }
}

impl GrpcOptions {
    /// Checks that an address is an IP address and a port, and the range that the manual names.
    ///
    /// # Errors
    /// The first value that is refused.
    pub fn validate(&self) -> Result<(), Invalid> {
        check_address("grpc.addr", &self.addr)?;
        bounds::count("grpc.max_listens", self.max_listens, 1..=100_000)
    }

    /// The address to listen on, beside HTTP on this address; port 0 when that one has none a thousand above it.
    #[must_use]
    pub fn address(&self, http: SocketAddr) -> SocketAddr {
        let port = http.port().checked_add(GRPC_OFFSET).unwrap_or(0);
        self.addr.parse().unwrap_or(SocketAddr::new(http.ip(), port))
    }

    /// True when somebody chose the address: another one will not do.
    #[must_use]
    pub fn is_chosen(&self) -> bool {
        !self.addr.is_empty()
    }
}

/// What a native session may do. The manual, `config/default.toml`, says more about each value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionOptions {
    /// Time until a client has said who it is.
    #[serde(with = "humantime_serde")]
    pub hello_timeout: Duration,
    /// Silence that ends a session.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// Time a client may take without reading anything.
    #[serde(with = "humantime_serde")]
    pub write_timeout: Duration,
    /// Sessions open at the same time, at each door.
    pub max_sessions: usize,
    /// Those of one address.
    pub max_per_address: usize,
    /// Keys and prefixes that one session may watch.
    pub max_watches: usize,
    /// Messages that one session may send in a second.
    pub max_frames: u32,
    /// Bytes that one session may send in a second.
    pub max_bytes: ByteSize,
    /// Work that one session may ask for in a second, in keys.
    pub max_work: u32,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            hello_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(10),
            max_sessions: 20_000,
            max_per_address: 12_000,
            max_watches: 1_000,
            max_frames: 5_000,
            max_bytes: ByteSize::mebibytes(32),
            max_work: 20_000,
        }
    }
}

impl SessionOptions {
    /// Checks the ranges that the manual names.
    ///
    /// # Errors
    /// The first value out of range.
    pub fn validate(&self) -> Result<(), Invalid> {
        bounds::duration("session.hello_timeout", self.hello_timeout, SHORTEST..=HOUR)?;
        bounds::duration("session.idle_timeout", self.idle_timeout, Duration::from_millis(100)..=HOUR)?;
        bounds::duration("session.write_timeout", self.write_timeout, SHORTEST..=HOUR)?;
        bounds::count("session.max_sessions", self.max_sessions, 1..=1_000_000)?;
        bounds::count("session.max_per_address", self.max_per_address, 1..=1_000_000)?;
        bounds::count("session.max_watches", self.max_watches, 1..=100_000)?;
        bounds::count("session.max_frames", usize::try_from(self.max_frames).unwrap_or(usize::MAX), 1..=1_000_000)?;
        bounds::count("session.max_work", usize::try_from(self.max_work).unwrap_or(usize::MAX), 100..=1_000_000)?;
        if self.max_bytes.bytes() == 0 {
            return Err(Invalid::new("session.max_bytes", "must be at least 1B"));
        }
        Ok(())
    }
}
