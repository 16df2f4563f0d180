//! The history of one key, newest first. Contents are read one at a time, never for a list.

use callboard_protocol::commit::Operation;
use callboard_protocol::config::{Metadata, Version};
use callboard_protocol::content::{Content, Md5};
use callboard_protocol::key::ConfigKey;
use callboard_protocol::time::WallMillis;
use callboard_protocol::write_request::{Origin, RequestId};

use sea_orm::FromQueryResult;
use sea_orm::sea_query::{Expr, ExprTrait as _, Order, Query, SelectStatement};

use super::conditions::has_key;
use super::error::{Fault, ReadError};
use super::reader::ReadPool;
use super::rows::{self, Attributes, AttributesRow, OriginRow};
use super::schema::{ATTRIBUTES, Alias, Column, ORIGIN, Table};
use super::seals::Seals;

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

impl ReadPool {
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
        let mut select = self.select_history(key);
        let version = || Expr::col((Table::Change, Column::Rev));
        select.and_where_option(before.map(|before| version().lt(rows::signed(before.0))));
        select.order_by_expr(version(), Order::Desc).limit(limit.into());
        let rows = self.all::<HistoryRow>(&select).await?;
        let seals = self.seals().as_ref();
        Ok(rows.into_iter().map(|row| Ok(row.entry(key, seals)?.0)).collect::<Result<_, Fault>>()?)
    }

    /// The change that made version `version` of `key`, with its content.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn history_entry(&self, key: &ConfigKey, version: Version) -> Result<Option<HistoryEntry>, ReadError> {
        let mut select = self.select_history(key);
        select.column((Table::Change, Column::Content));
        select.and_where(Expr::col((Table::Change, Column::Rev)).eq(rows::signed(version.0)));
        let Some(row) = self.all::<HistoryRow>(&select).await?.into_iter().next() else { return Ok(None) };
        let seals = self.seals().as_ref();
        let (entry, bytes) = row.entry(key, seals)?;
        let content = rows::content(bytes, entry.md5, (key, entry.metadata.is_secret), seals)?;
        Ok(Some(HistoryEntry { content, ..entry }))
    }

    fn select_history(&self, key: &ConfigKey) -> SelectStatement {
        let others = [Column::Rev, Column::Op, Column::RequestId, Column::At];
        let columns = others.into_iter().chain(ORIGIN).chain(ATTRIBUTES);
        let mut select = Query::select();
        select.columns(columns.map(|column| (Table::Change, column)));
        select.expr_as(self.backend().content_length(Table::Change), Alias::Size).from(Table::Change);
        select.cond_where(has_key(Table::Change, std::slice::from_ref(key))).take()
    }
}

#[derive(Debug, FromQueryResult)]
struct HistoryRow {
    rev: i64,
    op: String,
    #[sea_orm(nested)]
    origin: OriginRow,
    request_id: String,
    at: i64,
    size: i64,
    #[sea_orm(nested)]
    attributes: AttributesRow,
    /// None where it was not asked for, too.
    content: Option<Vec<u8>>,
}

impl HistoryRow {
    /// The entry without its content, and what there is of that.
    fn entry(self, key: &ConfigKey, seals: &dyn Seals) -> Result<(HistoryEntry, Option<Vec<u8>>), Fault> {
        let Attributes { md5, metadata, .. } = self.attributes.attributes(key, seals)?;
        let entry = HistoryEntry {
            version: rows::version(self.rev)?,
            operation: rows::operation(&self.op)?,
            md5,
            size: rows::content_length(self.size, metadata.is_secret)?,
            metadata,
            origin: self.origin.origin()?,
            request_id: rows::request_id(&self.request_id)?,
            at: WallMillis(self.at),
            content: None,
        };
        Ok((entry, self.content))
    }
}
