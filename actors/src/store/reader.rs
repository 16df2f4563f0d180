//! The door for reads of single keys: the fill of the cache, the look for requests, the comparison of versions. Every
//! answer says as of which revision it is. Owns the pool of reading connections; writes nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use callboard_protocol::config::{ConfigState, SharedState, Version};
use callboard_protocol::content::Md5;
use callboard_protocol::key::ConfigKey;
use callboard_protocol::member::Timeline;
use callboard_protocol::unit::RequestId;
use sea_orm::{ConnectionTrait, DatabaseConnection, QueryResult, Statement};

use super::dialect::{Backend, Sql};
use super::error::{Fault, ReadError};
use super::look::{self, Asked};
use super::membership::Landed;
use super::outlook::Outlook;
use super::rows::{self, Columns, Head};

/// Keys in one statement of a fill.
const FILLED_AT_ONCE: usize = 200;

/// Reads from the database. Clones share one pool.
#[derive(Debug, Clone)]
pub struct Reader {
    connection: DatabaseConnection,
    backend: Backend,
    /// How many connections can turn out dead one after the other.
    pool_size: u32,
    /// The longest that one statement may take, waiting for a connection included.
    patience: Duration,
    outlook: Outlook,
}

/// The states of some keys, as of one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filled {
    /// The states are as of this revision or later; of several statements, the lowest.
    pub revision: Version,
    /// The line of history.
    pub timeline: Timeline,
    /// One for each key that was asked for, in that order.
    pub states: Vec<SharedState>,
}

impl Reader {
    pub(super) fn new(
        connection: DatabaseConnection,
        backend: Backend,
        pool_size: u32,
        patience: Duration,
        outlook: Outlook,
    ) -> Self {
        Self { connection, backend, pool_size, patience, outlook }
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
            let text = "SELECT c.tenant, c.grp, c.data_id, c.version, c.md5 FROM cc_config c WHERE ";
            let mut sql = self.sql(text);
            sql.keys("c", chunk);
            for row in &self.ask(sql).await? {
                let mut columns = Columns::of(row);
                found.insert(columns.key()?, (columns.version()?, columns.md5()?));
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
        let head = self.backend.head();
        let rows = self.ask_as_of(self.sql(&format!("SELECT {head} FROM cc_meta m WHERE m.id = 1"))).await?;
        if rows.is_empty() { Err(no_meta().into()) } else { Ok(()) }
    }

    /// Closes every connection, after the statements under way.
    pub async fn close(&self) {
        if let Err(error) = self.connection.close_by_ref().await {
            tracing::debug!(%error, "closing the reading connections failed");
        }
    }

    pub(super) fn sql(&self, text: &str) -> Sql {
        Sql::new(self.backend, text)
    }

    /// Runs a reading statement that begins with [`Backend::head`], and takes no answer of a server that has lost its role,
    /// or that is behind what was known before it was asked: the pools are emptied then, and another server is asked.
    pub(super) async fn ask_as_of(&self, sql: Sql) -> Result<Vec<QueryResult>, Fault> {
        const OTHERS: u32 = 2;
        let statement = sql.statement();
        let mut left = OTHERS;
        loop {
            let known = self.outlook.known();
            let rows = self.run(statement.clone()).await?;
            let Some(first) = rows.first() else { return Ok(rows) };
            let Head { revision, timeline, is_writable } = Columns::of(first).head()?;
            let is_behind = known.refutes(timeline, revision);
            if is_writable && !is_behind {
                self.outlook.saw(timeline, revision);
                return Ok(rows);
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

    /// Runs a reading statement. A connection that turns out dead is replaced, up to the size of the pool.
    pub(super) async fn ask(&self, sql: Sql) -> Result<Vec<QueryResult>, Fault> {
        self.run(sql.statement()).await
    }

    async fn run(&self, statement: Statement) -> Result<Vec<QueryResult>, Fault> {
        let mut left = self.pool_size;
        loop {
            let answer = tokio::time::timeout(self.patience, self.connection.query_all_raw(statement.clone()));
            let fault = match answer.await {
                Ok(Ok(rows)) => {
                    self.outlook.read();
                    return Ok(rows);
                }
                Ok(Err(error)) => Fault::Database(error),
                Err(_elapsed) => Fault::TimedOut,
            };
            if left == 0 || !fault.is_dead_connection() {
                if fault.is_outage() {
                    self.outlook.unread(&fault.reason());
                }
                return Err(fault);
            }
            left -= 1;
        }
    }
}

/// See [`Reader::fill`]; a transaction fills in the same way.
pub(super) async fn fill(asked: &impl Asked, keys: &[ConfigKey]) -> Result<Filled, Fault> {
    let facts = rows::facts_of("c");
    let head_columns = asked.backend().head();
    let text = format!(
        "SELECT {head_columns}, c.tenant, c.grp, c.data_id, c.version, {facts}, c.created_at, c.modified_at, \
         c.content FROM cc_meta m LEFT JOIN cc_config c ON "
    );
    let mut head: Option<(Version, Timeline)> = None;
    let mut states = Vec::with_capacity(keys.len());
    let none: &[ConfigKey] = &[];
    for chunk in keys.chunks(FILLED_AT_ONCE).chain(keys.is_empty().then_some(none)) {
        let mut sql = asked.statement(&text);
        sql.keys("c", chunk).push(" WHERE m.id = 1");
        let mut found = HashMap::with_capacity(chunk.len());
        for row in &asked.answer_as_of(sql).await? {
            let mut columns = Columns::of(row);
            let Head { revision, timeline, .. } = columns.head()?;
            head.get_or_insert((revision, timeline));
            if let Some(state) = joined_state(&mut columns)? {
                found.insert(state.key.clone(), Arc::new(state));
            }
        }
        states.extend(chunk.iter().map(|key| {
            let absent = || Arc::new(ConfigState::absent(key.clone(), Version::ZERO));
            found.get(key).cloned().unwrap_or_else(absent)
        }));
    }
    let (revision, timeline) = head.ok_or_else(no_meta)?;
    Ok(Filled { revision, timeline, states })
}

/// A state from the right side of a join with `cc_meta`: key, version, facts, times and content. `None` when the
/// join found no row.
pub(super) fn joined_state(columns: &mut Columns<'_>) -> Result<Option<ConfigState>, Fault> {
    let Some(namespace) = columns.take::<Option<String>>()? else { return Ok(None) };
    let key = columns.key_in(&namespace)?;
    let state = columns.state(key)?;
    Ok(Some(if state.is_absent() { ConfigState::absent(state.key, state.version) } else { state }))
}

pub(super) fn no_meta() -> Fault {
    Fault::Broken("the row of cc_meta is missing".to_owned())
}
