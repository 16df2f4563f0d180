//! The reading side of the store as an actor: one per thread, over shared pools of connections.
//!
//! Owns the questions that can be put to the database, and which of them wait for a turn because their cost is chosen
//! by a client. Writes nothing and keeps nothing.

use std::collections::BTreeMap;
use std::time::Instant;

use actix::fut::wrap_future;
use actix::{Actor, Handler, Message, ResponseActFuture};
use callboard_protocol::access::audit::chain::{Hash, Head, Record};
use callboard_protocol::access::directory::Directory;
use callboard_protocol::config::Version;
use callboard_protocol::content::Md5;
use callboard_protocol::key::ConfigKey;
use callboard_protocol::time::WallMillis;
use callboard_protocol::watch::Selector;
use callboard_protocol::write_request::RequestId;
use serde_json::json;

use crate::metrics::{FailureLabel, StoreMetrics};
use crate::monitored;
use crate::runtime::{Context, Observable};
use crate::store::{
    AuditFilter, AuditPlace, Feed, Filled, Found, HistoryEntry, KeyPage, Landed, Line, ListFilter, NamespaceSummary,
    ReadError, ReadPool, Search, Summary,
};

/// Why a read could not be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadFailure {
    /// The database does not answer, and memory may not be trusted or holds nothing.
    #[error("the database is unavailable: {reason}")]
    Unavailable {
        /// What the database said.
        reason: String,
    },
    /// A stored row can't be understood.
    #[error("a stored row is broken: {what}")]
    Broken {
        /// Which row.
        what: String,
    },
    /// No answer in time.
    #[error("the read took too long")]
    TimedOut,
    /// Too many reads whose cost is chosen by clients wait for their turn.
    #[error("too many searches wait")]
    TooManySearches,
}

impl From<ReadError> for ReadFailure {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Unavailable { reason } => Self::Unavailable { reason },
            ReadError::Broken { what } => Self::Broken { what },
        }
    }
}

/// Reads the states of keys and the revision they are as of. One state for each key, in order.
#[derive(Debug, Message)]
#[rtype(result = "Result<Filled, ReadFailure>")]
pub struct Fill {
    /// Which keys.
    pub keys: Vec<ConfigKey>,
}

/// Reads the states of keys of a page that a search found, in order.
#[derive(Debug, Message)]
#[rtype(result = "Result<Filled, ReadFailure>")]
pub struct FillPage {
    /// Which keys.
    pub keys: Vec<ConfigKey>,
}

/// Looks which of these requests have been done.
#[derive(Debug, Message)]
#[rtype(result = "Result<Landed, ReadFailure>")]
pub struct FindRequests {
    /// Which requests.
    pub request_ids: Vec<RequestId>,
}

/// Reads the present versions and digests of keys, in order; a key without a row is at version zero.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<(ConfigKey, Version, Option<Md5>)>, ReadFailure>")]
pub struct GetVersions {
    /// Which keys.
    pub keys: Vec<ConfigKey>,
}

/// Lists configurations in key order.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<Summary>, ReadFailure>")]
pub struct ListConfigs {
    /// Which ones.
    pub filter: ListFilter,
    /// Group and data id after which to start.
    pub after: Option<(String, String)>,
    /// How many at most.
    pub limit: u32,
}

/// Searches a namespace by patterns: the keys of one numbered page, and how many there are in all.
#[derive(Debug, Message)]
#[rtype(result = "Result<Found, ReadFailure>")]
pub struct SearchConfigs {
    /// What to look for.
    pub search: Search,
    /// Where it waits for its turn.
    pub line: Line,
}

/// Reads which keys that a selector matches exist, in the order of their versions: a page of them.
#[derive(Debug, Message)]
#[rtype(result = "Result<KeyPage, ReadFailure>")]
pub struct GetKeys {
    /// Which ones.
    pub selector: Selector,
    /// Only those above this version.
    pub after: Version,
    /// How many may be left at most.
    pub limit: u32,
}

/// Reads which keys that a selector matches were changed, in the order of their versions: a page of them.
#[derive(Debug, Message)]
#[rtype(result = "Result<KeyPage, ReadFailure>")]
pub struct GetChanged {
    /// Which ones.
    pub selector: Selector,
    /// Only after this revision.
    pub after: Version,
}

/// Reads the change feed in revision order.
#[derive(Debug, Message)]
#[rtype(result = "Result<Feed, ReadFailure>")]
pub struct GetFeed {
    /// The revision after which to start.
    pub after: Version,
    /// Which keys; `None` for all.
    pub selector: Option<Selector>,
    /// How many rows at most.
    pub limit: u32,
}

/// Lists the history of a key, newest first, without content.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<HistoryEntry>, ReadFailure>")]
pub struct ListHistory {
    /// Whose.
    pub key: ConfigKey,
    /// Only versions below this one.
    pub before: Option<Version>,
    /// How many at most.
    pub limit: u32,
}

/// Reads one version of a key, with content.
#[derive(Debug, Message)]
#[rtype(result = "Result<Option<HistoryEntry>, ReadFailure>")]
pub struct GetHistoryEntry {
    /// Whose.
    pub key: ConfigKey,
    /// Which version.
    pub version: Version,
}

/// Reads how far the chain of each node goes in which it is written down what happened.
#[derive(Debug, Message)]
#[rtype(result = "Result<BTreeMap<String, Head>, ReadFailure>")]
pub struct GetAuditHeads;

/// Reads records of one chain, in their order.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<Record>, ReadFailure>")]
pub struct GetAuditRecords {
    /// Whose chain.
    pub node: String,
    /// The number after which to start.
    pub after: u64,
    /// How many at most.
    pub limit: u32,
}

/// Reads the hash of one record, if it is there.
#[derive(Debug, Message)]
#[rtype(result = "Result<Option<Hash>, ReadFailure>")]
pub struct GetAuditHash {
    /// Whose chain.
    pub node: String,
    /// Its number.
    pub seq: u64,
}

/// Reads the number of the first record of a chain that was written then or later.
#[derive(Debug, Message)]
#[rtype(result = "Result<Option<u64>, ReadFailure>")]
pub struct GetAuditSince {
    /// Whose chain.
    pub node: String,
    /// When.
    pub from: WallMillis,
}

/// Lists records of all chains, newest first.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<Record>, ReadFailure>")]
pub struct ListAudit {
    /// Which ones.
    pub filter: AuditFilter,
    /// After which to start.
    pub after: Option<AuditPlace>,
    /// How many at most.
    pub limit: u32,
}

/// Lists the namespaces, `public` first.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<NamespaceSummary>, ReadFailure>")]
pub struct ListNamespaces;

/// Asks how often users, roles, tokens and keys were changed.
#[derive(Debug, Message)]
#[rtype(result = "Result<u64, ReadFailure>")]
pub struct GetAccessRevision;

/// Reads users, roles, tokens and keys.
#[derive(Debug, Message)]
#[rtype(result = "Result<Directory, ReadFailure>")]
pub struct GetDirectory;

/// Asks whether the database answers.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), ReadFailure>")]
pub struct Probe;

/// The reading side of the store.
#[derive(Debug)]
pub struct StoreReader {
    reader: ReadPool,
    metrics: StoreMetrics,
}

impl StoreReader {
    /// Reads through `reader`.
    #[must_use]
    pub fn new(reader: ReadPool, metrics: StoreMetrics) -> Self {
        Self { reader, metrics }
    }

    /// Runs a read beside others and counts how it came out.
    fn read<T: 'static>(
        &self,
        question: impl AsyncFnOnce(&ReadPool) -> Result<T, ReadError> + 'static,
    ) -> ResponseActFuture<Self, Result<T, ReadFailure>> {
        let (reader, metrics) = (self.reader.clone(), self.metrics.clone());
        Box::pin(wrap_future(async move { counted(&reader, &metrics, question).await }))
    }

    /// The same for a read whose cost is chosen by a client: it waits for its turn, and has connections apart.
    fn search<T: 'static>(
        &self,
        line: Line,
        question: impl AsyncFnOnce(&ReadPool) -> Result<T, ReadError> + 'static,
    ) -> ResponseActFuture<Self, Result<T, ReadFailure>> {
        let (reader, metrics) = (self.reader.clone(), self.metrics.clone());
        Box::pin(wrap_future(async move {
            let Some(turn) = reader.turn(line).await else {
                metrics.searches_refused.inc();
                return Err(ReadFailure::TooManySearches);
            };
            let show = || metrics.searches_running.set(i64::try_from(reader.searching()).unwrap_or(i64::MAX));
            show();
            let answer = counted(turn.reader(), &metrics, question).await;
            drop(turn);
            show();
            answer
        }))
    }
}

async fn counted<T>(
    reader: &ReadPool,
    metrics: &StoreMetrics,
    question: impl AsyncFnOnce(&ReadPool) -> Result<T, ReadError>,
) -> Result<T, ReadFailure> {
    let begun = Instant::now();
    let answer = question(reader).await;
    metrics.read_seconds.observe(begun.elapsed().as_secs_f64());
    metrics.readable.set(i64::from(!matches!(answer, Err(ReadError::Unavailable { .. }))));
    answer.map_err(|error| {
        metrics.failures.get_or_create(&FailureLabel { kind: "read" }).inc();
        tracing::debug!(%error, "a read failed");
        error.into()
    })
}

impl Actor for StoreReader {
    type Context = Context<Self>;
}

monitored!(StoreReader, "store_reader");

impl Observable for StoreReader {
    fn observe(&self) -> serde_json::Value {
        json!({ "backend": self.reader.backend().as_str() })
    }
}

impl Handler<Fill> for StoreReader {
    type Result = ResponseActFuture<Self, Result<Filled, ReadFailure>>;

    fn handle(&mut self, Fill { keys }: Fill, _: &mut Context<Self>) -> Self::Result {
        self.read(async move |reader| reader.fill(&keys).await)
    }
}

impl Handler<FillPage> for StoreReader {
    type Result = ResponseActFuture<Self, Result<Filled, ReadFailure>>;

    fn handle(&mut self, FillPage { keys }: FillPage, _: &mut Context<Self>) -> Self::Result {
        self.search(Line::Owed, async move |reader| reader.fill(&keys).await)
    }
}

impl Handler<FindRequests> for StoreReader {
    type Result = ResponseActFuture<Self, Result<Landed, ReadFailure>>;

    fn handle(&mut self, FindRequests { request_ids }: FindRequests, _: &mut Context<Self>) -> Self::Result {
        self.read(async move |reader| reader.look(&request_ids).await)
    }
}

impl Handler<GetVersions> for StoreReader {
    type Result = ResponseActFuture<Self, Result<Vec<(ConfigKey, Version, Option<Md5>)>, ReadFailure>>;

    fn handle(&mut self, GetVersions { keys }: GetVersions, _: &mut Context<Self>) -> Self::Result {
        self.read(async move |reader| reader.versions(&keys).await)
    }
}

impl Handler<ListConfigs> for StoreReader {
    type Result = ResponseActFuture<Self, Result<Vec<Summary>, ReadFailure>>;

    fn handle(&mut self, ListConfigs { filter, after, limit }: ListConfigs, _: &mut Context<Self>) -> Self::Result {
        self.search(Line::New, async move |reader| reader.list(&filter, after.as_ref(), limit).await)
    }
}

impl Handler<SearchConfigs> for StoreReader {
    type Result = ResponseActFuture<Self, Result<Found, ReadFailure>>;

    fn handle(&mut self, SearchConfigs { search, line }: SearchConfigs, _: &mut Context<Self>) -> Self::Result {
        self.search(line, async move |reader| reader.search(&search).await)
    }
}

impl Handler<GetKeys> for StoreReader {
    type Result = ResponseActFuture<Self, Result<KeyPage, ReadFailure>>;

    fn handle(&mut self, GetKeys { selector, after, limit }: GetKeys, _: &mut Context<Self>) -> Self::Result {
        self.search(Line::Owed, async move |reader| reader.keys(&selector, after, limit).await)
    }
}

impl Handler<GetChanged> for StoreReader {
    type Result = ResponseActFuture<Self, Result<KeyPage, ReadFailure>>;

    fn handle(&mut self, GetChanged { selector, after }: GetChanged, _: &mut Context<Self>) -> Self::Result {
        self.search(Line::Owed, async move |reader| reader.changed(after, &selector).await)
    }
}

impl Handler<GetFeed> for StoreReader {
    type Result = ResponseActFuture<Self, Result<Feed, ReadFailure>>;

    fn handle(&mut self, GetFeed { after, selector, limit }: GetFeed, _: &mut Context<Self>) -> Self::Result {
        let is_own = selector.is_none();
        let read = async move |reader: &ReadPool| reader.feed(after, selector.as_ref(), limit).await;
        // The node itself follows all keys; a selection is what a client goes on with.
        if is_own { self.read(read) } else { self.search(Line::Owed, read) }
    }
}

impl Handler<ListHistory> for StoreReader {
    type Result = ResponseActFuture<Self, Result<Vec<HistoryEntry>, ReadFailure>>;

    fn handle(&mut self, ListHistory { key, before, limit }: ListHistory, _: &mut Context<Self>) -> Self::Result {
        self.search(Line::New, async move |reader| reader.history(&key, before, limit).await)
    }
}

impl Handler<GetHistoryEntry> for StoreReader {
    type Result = ResponseActFuture<Self, Result<Option<HistoryEntry>, ReadFailure>>;

    fn handle(&mut self, GetHistoryEntry { key, version }: GetHistoryEntry, _: &mut Context<Self>) -> Self::Result {
        self.search(Line::New, async move |reader| reader.history_entry(&key, version).await)
    }
}

impl Handler<ListNamespaces> for StoreReader {
    type Result = ResponseActFuture<Self, Result<Vec<NamespaceSummary>, ReadFailure>>;

    fn handle(&mut self, ListNamespaces: ListNamespaces, _: &mut Context<Self>) -> Self::Result {
        self.search(Line::New, async move |reader| reader.namespaces().await)
    }
}

impl Handler<GetAccessRevision> for StoreReader {
    type Result = ResponseActFuture<Self, Result<u64, ReadFailure>>;

    fn handle(&mut self, GetAccessRevision: GetAccessRevision, _: &mut Context<Self>) -> Self::Result {
        self.read(async move |reader| reader.access_revision().await)
    }
}

impl Handler<GetDirectory> for StoreReader {
    type Result = ResponseActFuture<Self, Result<Directory, ReadFailure>>;

    fn handle(&mut self, GetDirectory: GetDirectory, _: &mut Context<Self>) -> Self::Result {
        self.read(async move |reader| reader.directory().await)
    }
}

impl Handler<GetAuditHeads> for StoreReader {
    type Result = ResponseActFuture<Self, Result<BTreeMap<String, Head>, ReadFailure>>;

    fn handle(&mut self, GetAuditHeads: GetAuditHeads, _: &mut Context<Self>) -> Self::Result {
        self.search(Line::New, async move |reader| reader.audit_heads().await)
    }
}

impl Handler<GetAuditRecords> for StoreReader {
    type Result = ResponseActFuture<Self, Result<Vec<Record>, ReadFailure>>;

    fn handle(&mut self, asked: GetAuditRecords, _: &mut Context<Self>) -> Self::Result {
        let GetAuditRecords { node, after, limit } = asked;
        self.search(Line::Owed, async move |reader| reader.audit_records(&node, after, limit).await)
    }
}

impl Handler<GetAuditHash> for StoreReader {
    type Result = ResponseActFuture<Self, Result<Option<Hash>, ReadFailure>>;

    fn handle(&mut self, GetAuditHash { node, seq }: GetAuditHash, _: &mut Context<Self>) -> Self::Result {
        self.search(Line::Owed, async move |reader| reader.audit_hash(&node, seq).await)
    }
}

impl Handler<GetAuditSince> for StoreReader {
    type Result = ResponseActFuture<Self, Result<Option<u64>, ReadFailure>>;

    fn handle(&mut self, GetAuditSince { node, from }: GetAuditSince, _: &mut Context<Self>) -> Self::Result {
        self.search(Line::Owed, async move |reader| reader.audit_first_since(&node, from).await)
    }
}

impl Handler<ListAudit> for StoreReader {
    type Result = ResponseActFuture<Self, Result<Vec<Record>, ReadFailure>>;

    fn handle(&mut self, ListAudit { filter, after, limit }: ListAudit, _: &mut Context<Self>) -> Self::Result {
        self.search(Line::New, async move |reader| reader.audit_page(&filter, after.as_ref(), limit).await)
    }
}

impl Handler<Probe> for StoreReader {
    type Result = ResponseActFuture<Self, Result<(), ReadFailure>>;

    fn handle(&mut self, Probe: Probe, _: &mut Context<Self>) -> Self::Result {
        self.read(async move |reader| reader.probe().await)
    }
}

#[cfg(test)]
mod tests;
