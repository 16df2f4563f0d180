//! The feed of changes in the order of their revisions, and the pages of keys that a subscriber begins and goes on
//! with. All come with the revision they are as of, from the same statement. Writes nothing.

use std::collections::HashMap;
use std::sync::Arc;

use callboard_protocol::commit::Operation;
use callboard_protocol::config::{SharedState, Version};
use callboard_protocol::key::ConfigKey;
use callboard_protocol::member::Timeline;
use callboard_protocol::time::WallMillis;
use callboard_protocol::watch::Selector;
use callboard_protocol::write_request::{Origin, RequestId};

use sea_orm::FromQueryResult;
use sea_orm::sea_query::{Cond, Expr, ExprTrait as _, Order};

use super::conditions::selected;
use super::error::{Fault, ReadError};
use super::reader::ReadPool;
use super::rows::{self, Head, KeyRow, OriginRow, StateRow};
use super::schema::{ATTRIBUTES, Alias, Column, KEY, ORIGIN, Table};
use super::seals::Seals;

/// Which of the selected keys come next, in the order of their versions. Their states are read from the cache, where
/// they are shared by all who read them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPage {
    /// Of a page of the feed: revisions up to here may be missing.
    pub floor: Version,
    /// What was asked for is as of this revision or later.
    pub revision: Version,
    /// The timeline.
    pub timeline: Timeline,
    /// The keys of one version are never torn. Of a key that changes while pages are read a later one tells.
    pub keys: Vec<(ConfigKey, Version)>,
    /// What follows.
    pub rest: Rest,
}

/// What follows a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// Nothing.
    None,
    /// What is above this version.
    After(Version),
    /// More keys are selected than were asked for; no page holds any.
    TooMany,
}

/// Bytes of content in a page, unless one version has more.
const PAGE_BYTES: u64 = 512 * 1024;
/// Keys in a page, unless one version has more.
const PAGE_KEYS: usize = 256;

/// The last version of the first rows that hold no more than a page; the rows are in the order of their versions.
/// `None` when that are all of them.
fn cut(rows: &[(Version, u64)]) -> Option<Version> {
    let mut bytes = 0;
    let beyond = rows.iter().enumerate().position(|(index, (_, size))| {
        bytes += size;
        bytes > PAGE_BYTES || index >= PAGE_KEYS
    })?;
    let (torn, _) = rows.get(beyond)?;
    let before = rows.get(..beyond)?.iter().rev().map(|(version, _)| *version).find(|version| version < torn);
    let through = before.unwrap_or(*torn);
    (rows.last()?.0 > through).then_some(through)
}

/// A change in the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What happened.
    pub operation: Operation,
    /// The state that it made; its version is the change's revision.
    pub state: SharedState,
    /// Who asked.
    pub origin: Origin,
    /// Under which request id.
    pub request_id: RequestId,
    /// When, by the clock of the node that wrote it.
    pub at: WallMillis,
}

/// A part of the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed {
    /// Revisions up to here may be missing: who asks for what comes after a lower one has to begin anew.
    pub floor: Version,
    /// The revision of the last commit.
    pub revision: Version,
    /// The timeline.
    pub timeline: Timeline,
    /// In the order of their revisions.
    pub changes: Vec<Change>,
    /// True when nothing is left up to `revision`: go on after it. Otherwise go on after the last change.
    pub complete: bool,
}

impl ReadPool {
    /// Which of the selected keys exist and are above version `after`: a page of them. At most `limit` may be left.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn keys(&self, selector: &Selector, after: Version, limit: u32) -> Result<KeyPage, ReadError> {
        let column = |column| Expr::col((Table::Config, column));
        let is_new = column(Column::Version).gt(rows::signed(after.0));
        let is_left = selected(Some(selector), column).add(column(Column::Deleted).eq(false)).add(is_new);
        let mut select = self.backend().head();
        select.columns(KEY.into_iter().chain([Column::Version]).map(|column| (Table::Config, column)));
        select.expr_as(self.backend().content_length(Table::Config), Alias::Size);
        select.left_join(Table::Config, is_left).limit(u64::from(limit) + 1);
        select.order_by((Table::Config, Column::Version), Order::Asc);
        let (head, found) = self.all_as_of::<SizeRow>(&select).await?;
        if found.len() > usize::try_from(limit).unwrap_or(usize::MAX) {
            return Ok(KeyPage { rest: Rest::TooMany, ..key_page(head, Vec::new(), None)? });
        }
        let through = cut(&found.iter().map(SizeRow::size).collect::<Result<Vec<_>, _>>()?);
        Ok(key_page(head, found, through)?)
    }

    /// Which of the selected keys were changed after revision `after`: a page of them.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn changed(&self, after: Version, selector: &Selector) -> Result<KeyPage, ReadError> {
        let is_new = Expr::col((Table::Change, Column::Rev)).gt(rows::signed(after.0));
        let most = PAGE_KEYS + 1;
        let (head, mut found) = self.change_keys(is_new, Some(selector), Some(most as u64)).await?;
        let mut through = cut(&found.iter().map(SizeRow::size).collect::<Result<Vec<_>, _>>()?);
        if found.len() == most && through.is_none() {
            // One unit is larger than a page.
            let Some(torn) = found.last().map(|row| row.version) else { return Ok(key_page(head, found, None)?) };
            let whole = Expr::col((Table::Change, Column::Rev)).eq(torn);
            found = self.change_keys(whole, Some(selector), None).await?.1;
            through = Some(rows::version(torn)?);
        }
        Ok(key_page(head, found, through)?)
    }

    /// The changes of the selected keys (of all without a selector) after revision `after`, with their contents. At
    /// most `limit` of them, and no more than a page of contents; but what one unit changed is never torn: when a unit
    /// is larger than that, all of it comes.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn feed(&self, after: Version, selector: Option<&Selector>, limit: u32) -> Result<Feed, ReadError> {
        let limit = Ord::max(limit, 1);
        let is_new = Expr::col((Table::Change, Column::Rev)).gt(rows::signed(after.0));
        let (_, sizes) = self.change_keys(is_new.clone(), selector, Some(u64::from(limit) + 1)).await?;
        if let Some(through) = cut(&sizes.iter().map(SizeRow::size).collect::<Result<Vec<_>, _>>()?) {
            let is_within = Expr::col((Table::Change, Column::Rev)).lte(rows::signed(through.0));
            let feed = self.feed_rows(is_new.and(is_within), selector, None).await?;
            return Ok(Feed { complete: false, ..feed });
        }
        let mut feed = self.feed_rows(is_new, selector, Some(u64::from(limit) + 1)).await?;
        if feed.changes.len() <= usize::try_from(limit).unwrap_or(usize::MAX) {
            return Ok(feed);
        }
        feed.complete = false;
        let Some(torn) = feed.changes.last().map(|change| change.state.version) else { return Ok(feed) };
        feed.changes.retain(|change| change.state.version < torn);
        if feed.changes.is_empty() {
            let whole = Expr::col((Table::Change, Column::Rev)).eq(rows::signed(torn.0));
            feed.changes = self.feed_rows(whole, selector, None).await?.changes;
        }
        Ok(feed)
    }

    /// The keys of changes, with the lengths of their contents.
    async fn change_keys(
        &self,
        range: Expr,
        selector: Option<&Selector>,
        limit: Option<u64>,
    ) -> Result<(Head, Vec<SizeRow>), Fault> {
        let of_change = |column| (Table::Change, column);
        let mut select = self.backend().head();
        select.columns(KEY.map(of_change)).expr_as(Expr::col(of_change(Column::Rev)), Column::Version);
        select.expr_as(self.backend().content_length(Table::Change), Alias::Size);
        let is_selected = selected(selector, |column| self.backend().unindexed(of_change(column)));
        select.left_join(Table::Change, Cond::all().add(range).add(is_selected));
        select.order_by(of_change(Column::Rev), Order::Asc);
        if let Some(limit) = limit {
            select.limit(limit);
        }
        self.all_as_of(&select).await
    }

    async fn feed_rows(&self, range: Expr, selector: Option<&Selector>, limit: Option<u64>) -> Result<Feed, Fault> {
        let of_change = |column| (Table::Change, column);
        let others = [Column::CreatedAt, Column::Content, Column::Op, Column::RequestId];
        let columns = KEY.into_iter().chain(ATTRIBUTES).chain(ORIGIN).chain(others);
        let mut select = self.backend().head();
        select.columns(columns.map(of_change));
        select.expr_as(Expr::col(of_change(Column::Rev)), Column::Version);
        select.expr_as(Expr::col(of_change(Column::At)), Column::ModifiedAt);
        let is_selected = selected(selector, |column| self.backend().unindexed(of_change(column)));
        select.left_join(Table::Change, Cond::all().add(range).add(is_selected));
        select.order_by(of_change(Column::Rev), Order::Asc);
        select.order_by_columns(KEY.map(|column| (of_change(column), Order::Asc)));
        if let Some(limit) = limit {
            select.limit(limit);
        }
        let (Head { revision, timeline, floor, .. }, found) = self.all_as_of::<ChangeRow>(&select).await?;
        let changes = found.into_iter().map(|row| row.change(self.seals().as_ref())).collect::<Result<_, _>>()?;
        Ok(Feed { floor, revision, timeline, changes, complete: true })
    }
}

#[derive(Debug, FromQueryResult)]
struct SizeRow {
    #[sea_orm(nested)]
    key: KeyRow,
    version: i64,
    size: i64,
}

impl SizeRow {
    fn size(&self) -> Result<(Version, u64), Fault> {
        Ok((rows::version(self.version)?, rows::count(self.size)?))
    }
}

/// The page of the rows up to a version, or of all.
fn key_page(head: Head, found: Vec<SizeRow>, through: Option<Version>) -> Result<KeyPage, Fault> {
    let Head { revision, timeline, floor, .. } = head;
    let mut newest = HashMap::new();
    for row in found {
        let version = rows::version(row.version)?;
        if through.is_none_or(|through| version <= through) {
            newest.insert(row.key.key()?, version);
        }
    }
    let rest = through.map_or(Rest::None, Rest::After);
    Ok(KeyPage { floor, revision, timeline, keys: newest.into_iter().collect(), rest })
}

#[derive(Debug, FromQueryResult)]
struct ChangeRow {
    #[sea_orm(nested)]
    state: StateRow,
    op: String,
    #[sea_orm(nested)]
    origin: OriginRow,
    request_id: String,
}

impl ChangeRow {
    fn change(self, seals: &dyn Seals) -> Result<Change, Fault> {
        let state = self.state.state(seals)?;
        Ok(Change {
            operation: rows::operation(&self.op)?,
            at: state.modified_at,
            state: Arc::new(state),
            origin: self.origin.origin()?,
            request_id: rows::request_id(&self.request_id)?,
        })
    }
}

#[cfg(test)]
mod tests {
    //! Where a page ends.

    use callboard_protocol::config::Version;

    use super::{PAGE_BYTES, cut};

    fn rows(sizes: &[(u64, u64)]) -> Vec<(Version, u64)> {
        sizes.iter().map(|(version, size)| (Version(*version), *size)).collect()
    }

    #[test]
    fn a_page_ends_between_two_versions_and_holds_one_at_least() {
        assert_eq!(cut(&[]), None);
        assert_eq!(cut(&rows(&[(1, PAGE_BYTES)])), None);
        assert_eq!(cut(&rows(&[(1, PAGE_BYTES), (2, 1)])), Some(Version(1)));
        assert_eq!(cut(&rows(&[(1, PAGE_BYTES * 9), (2, 1), (3, 1)])), Some(Version(1)));
        assert_eq!(cut(&rows(&[(1, PAGE_BYTES * 9), (1, 1)])), None);
        assert_eq!(cut(&rows(&[(1, 1), (2, PAGE_BYTES), (2, 1), (3, 1)])), Some(Version(1)));
        assert_eq!(cut(&rows(&[(2, PAGE_BYTES), (2, 1), (3, 1)])), Some(Version(2)));
    }
}
