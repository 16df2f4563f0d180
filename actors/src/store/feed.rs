//! The feed of changes in the order of their revisions, and the snapshot that a subscriber begins with. Both come
//! with the revision they are as of, from the same statement. Writes nothing.

use std::sync::Arc;

use callboard_protocol::commit::Operation;
use callboard_protocol::config::{SharedState, Version};
use callboard_protocol::feed::Span;
use callboard_protocol::member::Timeline;
use callboard_protocol::time::WallMillis;
use callboard_protocol::watch::Selector;
use callboard_protocol::write_request::{Origin, RequestId};

use sea_orm::FromQueryResult;
use sea_orm::sea_query::{Cond, Expr, ExprTrait as _, Order};

use super::conditions::selected;
use super::error::{Fault, ReadError};
use super::reader::{self, ReadPool};
use super::rows::{self, Head, OriginRow, StateRow};
use super::schema::{ATTRIBUTES, Column, KEY, ORIGIN, Table};
use super::seals::Seals;

/// The present states of the selected keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The states are as of this revision.
    pub revision: Version,
    /// The timeline.
    pub timeline: Timeline,
    /// The feed is whole after this revision.
    pub floor: Version,
    /// In the order of their keys; keys that do not exist are left out.
    pub states: Vec<SharedState>,
    /// False when there are more than were asked for.
    pub complete: bool,
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

impl Feed {
    /// The stretch of revisions that this part covers, read after `after`.
    #[must_use]
    pub fn span_after(self, after: Version) -> Span {
        let last = self.changes.last().map(|change| change.state.version);
        let through = if self.complete { self.revision } else { last.unwrap_or(after) };
        let states = self.changes.into_iter().map(|change| change.state).collect();
        Span { after, through: through.max(after), states }
    }
}

impl ReadPool {
    /// The states of the selected keys that exist, at most `limit` of them.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn snapshot(&self, selector: &Selector, limit: u32) -> Result<Snapshot, ReadError> {
        let column = |column| Expr::col((Table::Config, column));
        let is_wanted = selected(Some(selector), column).add(column(Column::Deleted).eq(false));
        let mut select = self.backend().head();
        reader::select_states(&mut select).left_join(Table::Config, is_wanted).limit(u64::from(limit) + 1);
        select.order_by_columns(KEY.map(|column| ((Table::Config, column), Order::Asc)));
        let (Head { revision, timeline, floor, .. }, found) = self.all_as_of::<StateRow>(&select).await?;
        let mut states =
            found.into_iter().map(|row| reader::present(row, self.seals().as_ref())).collect::<Result<Vec<_>, _>>()?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let complete = states.len() <= limit;
        states.truncate(limit);
        Ok(Snapshot { revision, timeline, floor, states, complete })
    }

    /// The changes of the selected keys (of all without a selector) after revision `after`, with their contents. At
    /// most `limit` of them, but what one unit changed is never torn: when a unit is larger than that, all of it comes.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn feed(&self, after: Version, selector: Option<&Selector>, limit: u32) -> Result<Feed, ReadError> {
        let limit = Ord::max(limit, 1);
        let is_new = Expr::col((Table::Change, Column::Rev)).gt(rows::signed(after.0));
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
