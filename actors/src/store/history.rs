//! The history of one key, newest first. Contents are read one at a time, never for a list.

use callboard_protocol::commit::Operation;
use callboard_protocol::config::{Metadata, Version};
use callboard_protocol::content::{Content, Md5};
use callboard_protocol::key::ConfigKey;
use callboard_protocol::time::WallMillis;
use callboard_protocol::unit::{Origin, RequestId};

use super::error::{Fault, ReadError};
use super::reader::Reader;
use super::rows::{self, Columns};

/// A change in the history of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The key's version from then on.
    pub version: Version,
    /// What happened.
    pub operation: Operation,
    /// The digest of the formal content; `None` when it was removed.
    pub md5: Option<Md5>,
    /// The length of the formal content in bytes.
    pub size: u64,
    /// The metadata from then on.
    pub metadata: Metadata,
    /// Who asked, from where and why.
    pub origin: Origin,
    /// Under which request id.
    pub request_id: RequestId,
    /// When, by the clock of the node that wrote it.
    pub at: WallMillis,
    /// The formal content, where it was asked for.
    pub content: Option<Content>,
}

impl Reader {
    /// Up to `limit` changes of `key` below version `before`, newest first, without contents.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn history(
        &self,
        key: &ConfigKey,
        before: Option<Version>,
        limit: u32,
    ) -> Result<Vec<HistoryEntry>, ReadError> {
        let mut sql = self.sql(&format!("SELECT {} FROM cc_change c WHERE ", self.history_columns()));
        sql.keys("c", std::slice::from_ref(key));
        if let Some(before) = before {
            sql.push(" AND c.rev < ").bind(rows::signed(before.0));
        }
        sql.push(" ORDER BY c.rev DESC LIMIT ").bind(i64::from(limit));
        let rows = self.ask(sql).await?;
        rows.iter().map(|row| Ok(history_entry(&mut Columns::of(row))?)).collect()
    }

    /// The change that made version `version` of `key`, with its content.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn history_entry(&self, key: &ConfigKey, version: Version) -> Result<Option<HistoryEntry>, ReadError> {
        let mut sql = self.sql(&format!("SELECT {}, c.content FROM cc_change c WHERE ", self.history_columns()));
        sql.keys("c", std::slice::from_ref(key)).push(" AND c.rev = ").bind(rows::signed(version.0));
        let rows = self.ask(sql).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let mut columns = Columns::of(row);
        let mut entry = history_entry(&mut columns)?;
        entry.content = columns.content(entry.md5)?;
        Ok(Some(entry))
    }

    fn history_columns(&self) -> String {
        let (size, facts) = (self.backend().byte_length("c.content"), rows::facts_of("c"));
        format!(
            "c.rev, c.op, c.channel, c.operator, c.source_address, c.client_id, c.note, c.request_id, c.at, {size}, \
             {facts}"
        )
    }
}

fn history_entry(columns: &mut Columns<'_>) -> Result<HistoryEntry, Fault> {
    let (version, operation, origin) = (columns.version()?, columns.operation()?, columns.origin()?);
    let (request_id, at, size) = (columns.request_id()?, columns.time()?, columns.number()?);
    let facts = columns.facts()?;
    let (md5, metadata) = (facts.md5, facts.metadata);
    Ok(HistoryEntry { version, operation, md5, size, metadata, origin, request_id, at, content: None })
}
