//! The look for what landed: which requests are in the database, and the present state of the keys they changed.
//! Works for a plain reader and under the lock alike; decides nothing.

use callboard_protocol::config::Version;
use callboard_protocol::key::ConfigKey;
use callboard_protocol::member::Timeline;
use callboard_protocol::unit::{Recorded, RequestId};
use sea_orm::QueryResult;

use super::batch::{self, ASKED_AT_ONCE};
use super::dialect::{Backend, Sql};
use super::error::Fault;
use super::membership::Landed;
use super::reader::{self, Reader};
use super::rows::{self, Columns, Head};
use super::transaction::Transaction;

/// Something that answers statements: a reader, or a transaction that holds the lock.
pub(super) trait Asked {
    fn backend(&self) -> Backend;
    fn statement(&self, text: &str) -> Sql;
    async fn answer(&self, sql: Sql) -> Result<Vec<QueryResult>, Fault>;
    /// Of a statement that begins with [`Backend::head`]: an answer that is not behind what is known.
    async fn answer_as_of(&self, sql: Sql) -> Result<Vec<QueryResult>, Fault>;
}

impl Asked for Transaction {
    fn backend(&self) -> Backend {
        Transaction::backend(self)
    }

    /// It holds the lock of the meta row: nobody commits beside it.
    async fn answer_as_of(&self, sql: Sql) -> Result<Vec<QueryResult>, Fault> {
        self.rows(sql).await
    }

    fn statement(&self, text: &str) -> Sql {
        self.sql(text)
    }

    async fn answer(&self, sql: Sql) -> Result<Vec<QueryResult>, Fault> {
        self.rows(sql).await
    }
}

impl Asked for Reader {
    fn backend(&self) -> Backend {
        Reader::backend(self)
    }

    async fn answer_as_of(&self, sql: Sql) -> Result<Vec<QueryResult>, Fault> {
        self.ask_as_of(sql).await
    }

    fn statement(&self, text: &str) -> Sql {
        self.sql(text)
    }

    async fn answer(&self, sql: Sql) -> Result<Vec<QueryResult>, Fault> {
        self.ask(sql).await
    }
}

pub(super) async fn under_lock(transaction: &Transaction, request_ids: &[RequestId]) -> Result<Landed, Fault> {
    look(transaction, request_ids).await
}

pub(super) async fn look(asked: &impl Asked, request_ids: &[RequestId]) -> Result<Landed, Fault> {
    let mut head: Option<(Version, Timeline)> = None;
    let mut units: Vec<(RequestId, Recorded)> = Vec::new();
    let mut revisions: Vec<Version> = Vec::new();
    let none: &[RequestId] = &[];
    let chunks = request_ids.chunks(ASKED_AT_ONCE).chain(request_ids.is_empty().then_some(none));
    for ids in chunks {
        let head_columns = asked.backend().head();
        let text =
            format!("SELECT {head_columns}, r.rev, r.request_id, r.result FROM cc_meta m LEFT JOIN cc_request r ON ");
        let mut sql = asked.statement(&text);
        if ids.is_empty() {
            sql.push("1 = 0");
        } else {
            sql.push("r.request_id IN ").list(&ids.iter().map(RequestId::as_str).collect::<Vec<_>>());
        }
        sql.push(" WHERE m.id = 1");
        for row in &asked.answer_as_of(sql).await? {
            let mut columns = Columns::of(row);
            let Head { revision, timeline, .. } = columns.head()?;
            // What was not there was not there as of the first, lowest revision.
            head.get_or_insert((revision, timeline));
            if let Some(revision) = columns.take::<Option<i64>>()? {
                revisions.push(Version(revision.unsigned_abs()));
                units.push(batch::recorded(&mut columns)?);
            }
        }
    }
    let (revision, timeline) = head.ok_or_else(|| Fault::Broken("the row of cc_meta is missing".to_owned()))?;
    let keys = changed_keys(asked, &units, &revisions).await?;
    let states = if keys.is_empty() { Vec::new() } else { reader::fill(asked, &keys).await?.states };
    Ok(Landed { revision, timeline, units, states })
}

/// The keys that these requests changed. A request that changed nothing is kept under a revision that is not its
/// own, so both have to match.
async fn changed_keys(
    asked: &impl Asked,
    units: &[(RequestId, Recorded)],
    revisions: &[Version],
) -> Result<Vec<ConfigKey>, Fault> {
    let mut keys = Vec::new();
    for (units, revisions) in units.chunks(ASKED_AT_ONCE).zip(revisions.chunks(ASKED_AT_ONCE)) {
        let mut sql = asked.statement("SELECT c.tenant, c.grp, c.data_id FROM cc_change c WHERE c.rev IN ");
        sql.tuple(revisions.iter().map(|revision| rows::signed(revision.0).into()));
        let ids: Vec<&str> = units.iter().map(|(request_id, _)| request_id.as_str()).collect();
        sql.push(" AND c.request_id IN ").list(&ids);
        for row in &asked.answer(sql).await? {
            keys.push(Columns::of(row).key()?);
        }
    }
    keys.sort_unstable();
    keys.dedup();
    Ok(keys)
}
