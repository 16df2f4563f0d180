//! The feed of changes in the order of their revisions, and the snapshot that a subscriber begins with. Both come
//! with the revision they are as of, from the same statement. Writes nothing.

use std::sync::Arc;

use callboard_protocol::commit::Operation;
use callboard_protocol::config::{SharedState, Version};
use callboard_protocol::feed::Span;
use callboard_protocol::member::Timeline;
use callboard_protocol::time::WallMillis;
use callboard_protocol::unit::{Origin, RequestId};
use callboard_protocol::watch::Selector;

use super::dialect::Sql;
use super::error::{Fault, ReadError};
use super::reader::{self, Reader};
use super::rows::{self, Columns, Head};
use super::selector::condition;

/// The present states of the selected keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The states are as of this revision.
    pub revision: Version,
    /// The line of history.
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
    /// The line of history.
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

impl Reader {
    /// The states of the selected keys that exist, at most `limit` of them.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn snapshot(&self, selector: &Selector, limit: u32) -> Result<Snapshot, ReadError> {
        let (facts, head_columns) = (rows::facts_of("c"), self.backend().head());
        let mut sql = self.sql(&format!(
            "SELECT {head_columns}, m.pruned_rev, c.tenant, c.grp, c.data_id, c.version, {facts}, c.created_at, \
             c.modified_at, c.content FROM cc_meta m LEFT JOIN cc_config c ON "
        ));
        condition(Some(selector), &mut sql, "c");
        sql.push(" AND c.deleted = ").bind(false);
        sql.push(" WHERE m.id = 1 ORDER BY c.tenant, c.grp, c.data_id LIMIT ").bind(i64::from(limit) + 1);
        let mut head = None;
        let mut states = Vec::new();
        for row in &self.ask_as_of(sql).await? {
            let mut columns = Columns::of(row);
            let Head { revision, timeline, .. } = columns.head()?;
            head = Some((revision, timeline, columns.version()?));
            states.extend(reader::joined_state(&mut columns)?.map(Arc::new));
        }
        let (revision, timeline, floor) = head.ok_or_else(reader::no_meta)?;
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
        let range = |sql: &mut Sql| {
            sql.push("c.rev > ").bind(rows::signed(after.0));
        };
        let mut feed = self.feed_rows(range, selector, Some(i64::from(limit.max(1)) + 1)).await?;
        if feed.changes.len() <= usize::try_from(limit.max(1)).unwrap_or(usize::MAX) {
            return Ok(feed);
        }
        feed.complete = false;
        let Some(torn) = feed.changes.last().map(|change| change.state.version) else { return Ok(feed) };
        feed.changes.retain(|change| change.state.version < torn);
        if feed.changes.is_empty() {
            let whole = |sql: &mut Sql| {
                sql.push("c.rev = ").bind(rows::signed(torn.0));
            };
            feed.changes = self.feed_rows(whole, selector, None).await?.changes;
        }
        Ok(feed)
    }

    async fn feed_rows(
        &self,
        range: impl FnOnce(&mut Sql),
        selector: Option<&Selector>,
        limit: Option<i64>,
    ) -> Result<Feed, Fault> {
        let (facts, head_columns) = (rows::facts_of("c"), self.backend().head());
        let mut sql = self.sql(&format!(
            "SELECT {head_columns}, m.pruned_rev, c.tenant, c.grp, c.data_id, c.rev, {facts}, c.created_at, c.at, \
             c.content, c.op, c.channel, c.operator, c.source_address, c.client_id, c.note, c.request_id \
             FROM cc_meta m LEFT JOIN cc_change c ON "
        ));
        range(&mut sql);
        sql.push(" AND ");
        condition(selector, &mut sql, &self.backend().unindexed("c"));
        sql.push(" WHERE m.id = 1 ORDER BY c.rev, c.tenant, c.grp, c.data_id");
        if let Some(limit) = limit {
            sql.push(" LIMIT ").bind(limit);
        }
        let mut head = None;
        let mut changes = Vec::new();
        for row in &self.ask_as_of(sql).await? {
            let mut columns = Columns::of(row);
            let Head { revision, timeline, .. } = columns.head()?;
            head = Some((revision, timeline, columns.version()?));
            changes.extend(change(&mut columns)?);
        }
        let (revision, timeline, floor) = head.ok_or_else(reader::no_meta)?;
        Ok(Feed { floor, revision, timeline, changes, complete: true })
    }
}

fn change(columns: &mut Columns<'_>) -> Result<Option<Change>, Fault> {
    let Some(namespace) = columns.take::<Option<String>>()? else { return Ok(None) };
    let key = columns.key_in(&namespace)?;
    let state = columns.state(key)?;
    let at = state.modified_at;
    let (operation, origin, request_id) = (columns.operation()?, columns.origin()?, columns.request_id()?);
    Ok(Some(Change { operation, state: Arc::new(state), origin, request_id, at }))
}
