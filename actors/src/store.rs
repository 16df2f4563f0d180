//! The database: the only place in this crate that knows SQL and sea-orm.
//!
//! [`open`] checks a migrated database and returns a [`Writer`] and a [`ReadPool`]. Every write is one transaction
//! under the lock of the row of `cc_meta`, which puts all of them in one order; what a batch writes is decided by
//! [`callboard_protocol::commit::decide`] from what the transaction read there, never here. Reads say as of which
//! revision they are. This module starts no task, keeps no cache and retries nothing that may have happened.
//!
//! Reading order: `writer` and `batch` (a commit) · `membership`, `leases`, `look` · `reader`, `searches`, `list`,
//! `search`, `feed`, `history` · `namespaces`, `access`, `audit`, `prune`, `backup` · `outlook`, `transaction`, `rows`,
//! `seals`, `conditions`, `dialect`, `schema`, `error` below them · `open`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

mod access;
mod audit;
mod backup;
mod batch;
mod conditions;
mod dialect;
mod error;
mod feed;
mod file_hold;
mod history;
mod leases;
mod list;
mod look;
mod membership;
mod namespaces;
mod open;
mod outlook;
mod prune;
mod reader;
mod refusals;
mod rows;
mod schema;
mod seals;
mod search;
mod searches;
mod transaction;
mod writer;

pub use audit::{AuditFilter, AuditPlace};
pub use backup::{BackupError, Held, back_up, examine};
pub use callboard_protocol::extent::Extent;
pub use dialect::Backend;
pub use error::{Cause, CommitError, OpenError, ReadError, WriteError};
pub use feed::{Change, Feed, KeyPage, Rest};
pub use file_hold::FileHold;
pub use history::HistoryEntry;
pub use list::{ListFilter, NamespaceSummary, Summary};
pub use membership::{JoinRequest, Joined, Landed};
pub use namespaces::{MAX_NAMESPACE_TEXT, Namespace};
pub use open::{masked, open};
pub use outlook::KnownExtent;
pub use prune::REQUESTS_KEPT;
pub use reader::{Filled, ReadPool};
pub use refusals::OnRefusal;
pub use seals::{NoSeals, SEAL, Seals};
pub use search::{Found, Pattern, Search};
pub use searches::{Line, Turn};
pub use writer::{CommitRequest, Writer};

/// Which database to open, and how patiently.
#[derive(Clone)]
pub struct OpenOptions {
    /// `sqlite:…`, `postgres://…` or `mysql://…`.
    pub url: String,
    /// Connections for reads; at least one.
    pub read_connections: u32,
    /// Connections for reads whose cost a client chooses; at least one.
    pub search_connections: u32,
    /// How long to wait for a connection.
    pub connect_timeout: Duration,
    /// How long one statement, one wait for a lock, and one pause inside a transaction may take.
    pub statement_timeout: Duration,
    /// What to do when a new connection leads to a server that takes no writes.
    pub on_refusal: OnRefusal,
    /// What seals secrets.
    pub seals: Arc<dyn Seals>,
}

/// Shows the address without its password.
impl fmt::Debug for OpenOptions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("OpenOptions")
            .field("url", &masked(&self.url))
            .field("read_connections", &self.read_connections)
            .field("search_connections", &self.search_connections)
            .field("connect_timeout", &self.connect_timeout)
            .field("statement_timeout", &self.statement_timeout)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
