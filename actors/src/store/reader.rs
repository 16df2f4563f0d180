//! The door for reads of single keys: the fill of the cache, the look for requests, the comparison of versions. Every
//! answer says as of which revision it is. Owns the pools of reading connections; writes nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use callboard_protocol::config::{ConfigState, SharedState, Version};
use callboard_protocol::content::Md5;
use callboard_protocol::extent::Extent;
use callboard_protocol::key::ConfigKey;
use callboard_protocol::member::Timeline;
use callboard_protocol::write_request::RequestId;
use sea_orm::sea_query::{Expr, Query, SelectStatement};
use sea_orm::{ConnectionTrait, DatabaseConnection, FromQueryResult, QueryResult, Statement};

use super::conditions::has_key;
use super::dialect::{Backend, IntoStatement};
use super::error::{Fault, ReadError};
use super::look::{self, Asked};
use super::membership::Landed;
use super::outlook::{KnownExtent, Outlook};
use super::rows::{self, Head, HeadRow, KeyRow, StateRow};
use super::schema::{ATTRIBUTES, Column, KEY, Table};
use super::seals::Seals;
use super::searches::Searches;
use super::transaction::replacing_dead;

/// Keys in one statement of a fill.
const FILLED_AT_ONCE: usize = 200;

/// Reads from the database. Clones share its pools.
#[derive(Debug, Clone)]
pub struct ReadPool {
    connection: DatabaseConnection,
    backend: Backend,
    /// How many connections can turn out dead one after the other.
    pool_size: u32,
    /// The longest that one statement may take, waiting for a connection included.
    patience: Duration,
    outlook: Outlook,
    seals: Arc<dyn Seals>,
    /// For reads whose cost a client chooses.
    searches: Searches,
}

/// The states of some keys, as of one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filled {
    /// The states are as of this revision or later; of several statements, the lowest.
    pub revision: Version,
    /// The timeline.
    pub timeline: Timeline,
    /// One for each key that was asked for, in that order.
    pub states: Vec<SharedState>,
}

impl ReadPool {
    pub(super) fn new(
        (connection, backend): (DatabaseConnection, Backend),
        pool_size: u32,
        patience: Duration,
        (outlook, seals): (Outlook, Arc<dyn Seals>),
        searches: Searches,
    ) -> Self {
        Self { connection, backend, pool_size, patience, outlook, seals, searches }
    }

    #[cfg(test)]
    pub(super) fn connection(&self) -> &DatabaseConnection {
        &self.connection
    }

    pub(super) fn searches(&self) -> &Searches {
        &self.searches
    }

    /// The same over the connections for searches.
    pub(super) fn over_searches(&self) -> Self {
        let (connection, pool_size) = (self.searches.connection.clone(), self.searches.connections);
        Self { connection, pool_size, ..self.clone() }
    }

    /// What seals secrets.
    pub(super) fn seals(&self) -> &Arc<dyn Seals> {
        &self.seals
    }

    /// What the connections of this store know together.
    pub(super) fn outlook(&self) -> &Outlook {
        &self.outlook
    }

    /// Which database this reads from.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// The whole states of `keys` with the revision they are as of, both from the same snapshot. A key that does not
    /// exist comes as [`ConfigState::absent`], at the version of its removal or zero.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn fill(&self, keys: &[ConfigKey]) -> Result<Filled, ReadError> {
        Ok(fill(self, keys).await?)
    }

    /// Which of `request_ids` are in the database, without waiting for commits under way.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn look(&self, request_ids: &[RequestId]) -> Result<Landed, ReadError> {
        Ok(look::look(self, request_ids).await?)
    }

    /// The version and digest of each of `keys`, in that order; zero for a key that never existed.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn versions(&self, keys: &[ConfigKey]) -> Result<Vec<(ConfigKey, Version, Option<Md5>)>, ReadError> {
        let mut found = HashMap::with_capacity(keys.len());
        for chunk in keys.chunks(FILLED_AT_ONCE) {
            let columns = KEY.into_iter().chain([Column::Version, Column::Md5, Column::Sealed]);
            let mut select = Query::select();
            select.columns(columns.map(|column| (Table::Config, column))).from(Table::Config);
            select.cond_where(has_key(Table::Config, chunk));
            for row in self.all::<VersionRow>(&select).await? {
                let key = row.key.key()?;
                let md5 = rows::digest(row.md5.as_deref(), row.sealed.as_deref(), &key, self.seals().as_ref())?;
                found.insert(key, (rows::version(row.version)?, md5));
            }
        }
        let answer = |key: &ConfigKey| {
            let (version, md5) = found.get(key).copied().unwrap_or((Version::ZERO, None));
            (key.clone(), version, md5)
        };
        Ok(keys.iter().map(answer).collect())
    }

    /// Asks the database for a sign of life.
    ///
    /// # Errors
    /// [`ReadError`] when it does not answer.
    pub async fn probe(&self) -> Result<(), ReadError> {
        self.all_as_of::<HeadRow>(&self.backend.head()).await?;
        Ok(())
    }

    /// Closes every connection, after the statements under way.
    pub async fn close(&self) {
        for connection in [&self.connection, &self.searches.connection] {
            if let Err(error) = connection.close_by_ref().await {
                tracing::debug!(%error, "closing the reading connections failed");
            }
        }
    }

    /// What is known of how far the database goes, by whatever is read or written.
    #[must_use]
    pub fn known_extent(&self) -> KnownExtent {
        KnownExtent(self.outlook.clone())
    }

    /// Runs a reading statement made of [`Backend::head`], and takes no answer of a server that has lost its role, or
    /// that is behind what was known before it was asked: the pools are emptied then, and another server is asked.
    pub(super) async fn all_as_of<T: FromQueryResult>(
        &self,
        select: &SelectStatement,
    ) -> Result<(Head, Vec<T>), Fault> {
        const OTHERS: u32 = 2;
        let statement = select.into_statement(self.backend);
        let mut left = OTHERS;
        loop {
            let known = self.outlook.known();
            let found = self.run(&statement).await?;
            let head = rows::head_of(&found)?;
            let extent = Extent::new(head.timeline, head.revision);
            let is_behind = extent < known;
            if head.is_writable && !is_behind {
                self.outlook.saw(extent);
                return Ok((head, rows::read_present(&found)?));
            }
            let reason = if is_behind { "a server is behind what was committed" } else { "a server takes no writes" };
            self.outlook.empty_pools(reason);
            if left == 0 {
                self.outlook.unread(reason);
                return Err(Fault::NotTheWriter(reason));
            }
            left -= 1;
        }
    }

    /// Every row that a reading statement answers with.
    pub(super) async fn all<T: FromQueryResult>(&self, select: &SelectStatement) -> Result<Vec<T>, Fault> {
        rows::read_all(&self.rows(select).await?)
    }

    /// The same, not read yet.
    pub(super) async fn rows(&self, statement: impl IntoStatement) -> Result<Vec<QueryResult>, Fault> {
        self.run(&statement.into_statement(self.backend)).await
    }

    /// A connection that turns out dead is replaced, up to the size of the pool.
    async fn run(&self, statement: &Statement) -> Result<Vec<QueryResult>, Fault> {
        let ask = || self.connection.query_all_raw(statement.clone());
        let answer = replacing_dead(self.pool_size, self.patience, ask).await;
        match &answer {
            Ok(_) => self.outlook.read(),
            Err(fault) if fault.is_outage() => self.outlook.unread(&fault.reason()),
            Err(_) => {}
        }
        answer
    }
}

/// What the comparison of versions needs of a configuration.
#[derive(Debug, FromQueryResult)]
struct VersionRow {
    #[sea_orm(nested)]
    key: KeyRow,
    version: i64,
    md5: Option<String>,
    sealed: Option<String>,
}

/// See [`ReadPool::fill`]; a transaction fills in the same way.
pub(super) async fn fill(asked: &impl Asked, keys: &[ConfigKey]) -> Result<Filled, Fault> {
    let mut head: Option<(Version, Timeline)> = None;
    let mut states = Vec::with_capacity(keys.len());
    let none: &[ConfigKey] = &[];
    for chunk in keys.chunks(FILLED_AT_ONCE).chain(keys.is_empty().then_some(none)) {
        let mut select = asked.backend().head();
        select_states(&mut select).left_join(Table::Config, has_key(Table::Config, chunk));
        let (Head { revision, timeline, .. }, found) = asked.all_as_of::<StateRow>(&select).await?;
        head.get_or_insert((revision, timeline));
        let found = found.into_iter().map(|row| present(row, asked.seals()).map(|state| (state.key.clone(), state)));
        let found: HashMap<ConfigKey, SharedState> = found.collect::<Result<_, _>>()?;
        states.extend(chunk.iter().map(|key| {
            let absent = || Arc::new(ConfigState::absent(key.clone(), Version::ZERO));
            found.get(key).cloned().unwrap_or_else(absent)
        }));
    }
    let (revision, timeline) = head.ok_or_else(rows::no_meta)?;
    Ok(Filled { revision, timeline, states })
}

/// Adds the columns of a [`StateRow`], as `cc_config` has them, to a select list.
pub(super) fn select_states(select: &mut SelectStatement) -> &mut SelectStatement {
    let others = [Column::Version, Column::CreatedAt, Column::ModifiedAt, Column::Content];
    let columns = KEY.into_iter().chain(ATTRIBUTES).chain(others);
    select.exprs(columns.map(|column| Expr::col((Table::Config, column))))
}

/// A present state of a key; of one that was removed, without what it had.
pub(super) fn present(row: StateRow, seals: &dyn Seals) -> Result<SharedState, Fault> {
    let state = row.state(seals)?;
    Ok(Arc::new(if state.is_absent() { ConfigState::absent(state.key, state.version) } else { state }))
}
