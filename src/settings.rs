//! The settings of a node: what can be set, the defaults, the sources they come from and the checks they must pass.
//!
//! Reading order: this file (the whole) · `process`, `http`, `database`, `cluster`, `memory`, `serving`, `session`,
//! `tls`, `auth`, `oidc` (one options struct per section) · `keys` (names and texts of every key) · `sources` (file,
//! environment, flags) · `error`.
//!
//! [`load`] is the one way from outside values to [`Settings`]; what it returns is checked and trusted afterwards.
//! `config/default.toml` is the manual. Nothing here reads the environment of the process or opens a socket.

mod audit;
mod auth;
mod bounds;
mod byte_size;
mod cluster;
mod database;
mod error;
mod http;
mod keys;
mod memory;
mod oidc;
mod process;
mod serving;
mod session;
mod sources;
mod tls;

use serde::{Deserialize, Serialize};

pub use audit::{AuditMode, AuditOptions};
pub use auth::{AuthMode, AuthOptions, SecretsOptions};
pub use byte_size::{ByteSize, NotAByteSize};
pub use cluster::{AdvertiseOptions, ClusterOptions, PeerOptions};
pub(crate) use database::sqlite_url;
pub use database::{DatabaseKind, DatabaseOptions, DatabaseUrl, Fault, Host, Server};
pub use error::{Error, Invalid, Origin};
pub use http::HttpOptions;
pub use keys::Key;
pub use memory::MemoryOptions;
pub use oidc::OidcOptions;
pub(crate) use oidc::is_private;
pub use process::{DataOptions, InsecureOptions, LogFormat, LogOptions, NodeOptions, ShutdownOptions};
pub use serving::{CacheOptions, HistoryOptions, PublishOptions, WatchOptions};
pub use session::{GrpcOptions, SessionOptions, TcpOptions};
pub use sources::{Flags, InForce, load};
pub use tls::{ClientCertificates, TlsDoor, TlsMode, TlsOptions};

/// All settings of a node, one field per section of the settings file (hence more fields than usual).
///
/// `Debug` and serialisation never show the password in `database.url`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Who this node is.
    pub node: NodeOptions,
    /// Where it keeps its files.
    pub data: DataOptions,
    /// How it serves HTTP.
    pub http: HttpOptions,
    /// Where configuration is stored.
    pub database: DatabaseOptions,
    /// Where other nodes are listened for.
    pub peer: PeerOptions,
    /// How others reach this node.
    pub advertise: AdvertiseOptions,
    /// The cluster that this node belongs to.
    pub cluster: ClusterOptions,
    /// What is kept in memory.
    pub cache: CacheOptions,
    /// What requests and answers may take up.
    pub memory: MemoryOptions,
    /// How publishes are queued and batched.
    pub publish: PublishOptions,
    /// How changes are streamed.
    pub watch: WatchOptions,
    /// Where native sessions are listened for.
    pub tcp: TcpOptions,
    /// Where clients of Nacos are listened for over gRPC.
    pub grpc: GrpcOptions,
    /// What a native session may do.
    pub session: SessionOptions,
    /// How clients connect securely.
    pub tls: TlsOptions,
    /// How long former versions are kept.
    pub history: HistoryOptions,
    /// Who has to be known.
    pub auth: AuthOptions,
    /// What is written down of what happens.
    pub audit: AuditOptions,
    /// What seals the contents that are secrets.
    pub secrets: SecretsOptions,
    /// Who says who somebody is, beside the users of the cluster.
    pub oidc: OidcOptions,
    /// What protection is switched off.
    pub insecure: InsecureOptions,
    /// How the node stops.
    pub shutdown: ShutdownOptions,
    /// What is logged.
    pub log: LogOptions,
}

impl Settings {
    /// Checks every section and the rules between them.
    ///
    /// # Errors
    /// The first value that is refused.
    pub fn validate(&self) -> Result<(), Invalid> {
        self.node.validate()?;
        self.data.validate()?;
        self.http.validate()?;
        self.database.validate()?;
        self.peer.validate()?;
        self.advertise.validate()?;
        self.cluster.validate()?;
        self.cache.validate()?;
        self.memory.validate()?;
        self.publish.validate()?;
        self.watch.validate()?;
        self.tcp.validate()?;
        self.grpc.validate()?;
        self.session.validate()?;
        self.tls.validate()?;
        self.history.validate()?;
        self.auth.validate()?;
        self.audit.validate()?;
        self.oidc.validate()?;
        self.shutdown.validate()?;
        self.log.validate()?;
        self.refuse_open_address()?;
        if self.oidc.is_on() && !self.auth.is_on() {
            let reason = "nobody has to be known, so nobody logs in; switch authentication on with --auth on";
            return Err(Invalid::new("oidc.issuer", reason));
        }
        self.refuse_peers_without_key()
    }

    /// Whoever could be a peer could make publishes wait, or read them: nobody is one without the key.
    fn refuse_peers_without_key(&self) -> Result<(), Invalid> {
        if self.cluster.has_key() {
            if self.database.url.kind() == Some(DatabaseKind::Sqlite) {
                let reason = "SQLite serves one node only; a cluster needs database.url to name a PostgreSQL or MariaDB \
                              that all its nodes share";
                return Err(Invalid::new("cluster.key_file", reason));
            }
            return Ok(());
        }
        let reason = "other nodes are not listened for without a cluster key; make one with `callboard cluster key`, put \
                      it into a file on every node and name that with --cluster-key-file";
        if !self.peer.addr.is_empty() {
            return Err(Invalid::new("peer.addr", reason));
        }
        if !self.cluster.seeds.is_empty() {
            return Err(Invalid::new("cluster.seeds", reason));
        }
        Ok(())
    }

    fn refuse_open_address(&self) -> Result<(), Invalid> {
        let grpc = self.grpc.address(self.http.addr);
        let open = [("http.addr", self.http.addr), ("tcp.addr", self.tcp.address()), ("grpc.addr", grpc)]
            .into_iter()
            .find(|(_, address)| !address.ip().is_loopback());
        let is_guarded = self.auth.is_on() || self.insecure.no_auth;
        let Some((key, _)) = open.filter(|_| !is_guarded) else { return Ok(()) };
        let reason = "other machines can reach this address and authentication is off; switch it on with --auth on, \
                      use a loopback address such as 127.0.0.1:8848, or accept that anyone who reaches it can read \
                      and change everything with --insecure-no-auth (insecure.no_auth = true)";
        Err(Invalid::new(key, reason))
    }
}

#[cfg(test)]
mod tests;
