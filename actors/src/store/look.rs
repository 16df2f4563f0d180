//! The look for what landed: which requests are in the database, and the present state of the keys they changed.
//! Works for a plain reader and under the lock alike; decides nothing.

use callboard_protocol::config::Version;
use callboard_protocol::key::ConfigKey;
use callboard_protocol::member::Timeline;
use callboard_protocol::write_request::{Recorded, RequestId};
use sea_orm::FromQueryResult;
use sea_orm::sea_query::{Expr, Query, SelectStatement};

use super::batch::ASKED_AT_ONCE;
use super::conditions::among;
use super::dialect::Backend;
use super::error::Fault;
use super::membership::Landed;
use super::reader::{self, ReadPool};
use super::rows::{self, Head, KeyRow, RequestRow};
use super::schema::{Column, KEY, Table};
use super::seals::Seals;
use super::transaction::Transaction;

/// Something that answers statements: a reader, or a transaction that holds the lock.
pub(super) trait Asked {
    fn backend(&self) -> Backend;
    /// What seals secrets.
    fn seals(&self) -> &dyn Seals;
    /// Every row that the statement answers with.
    async fn all<T: FromQueryResult>(&self, select: &SelectStatement) -> Result<Vec<T>, Fault>;
    /// Of a statement made of [`Backend::head`]: an answer that is not behind what is known, and what it found by a
    /// left join.
    async fn all_as_of<T: FromQueryResult>(&self, select: &SelectStatement) -> Result<(Head, Vec<T>), Fault>;
}

impl Asked for Transaction {
    fn backend(&self) -> Backend {
        Transaction::backend(self)
    }

    fn seals(&self) -> &dyn Seals {
        Transaction::seals(self)
    }

    async fn all<T: FromQueryResult>(&self, select: &SelectStatement) -> Result<Vec<T>, Fault> {
        Transaction::all(self, select).await
    }

    /// It holds the lock of the meta row: nobody commits beside it.
    async fn all_as_of<T: FromQueryResult>(&self, select: &SelectStatement) -> Result<(Head, Vec<T>), Fault> {
        let found = self.rows(select).await?;
        Ok((rows::head_of(&found)?, rows::read_present(&found)?))
    }
}

impl Asked for ReadPool {
    fn backend(&self) -> Backend {
        ReadPool::backend(self)
    }

    fn seals(&self) -> &dyn Seals {
        ReadPool::seals(self).as_ref()
    }

    async fn all<T: FromQueryResult>(&self, select: &SelectStatement) -> Result<Vec<T>, Fault> {
        ReadPool::all(self, select).await
    }

    async fn all_as_of<T: FromQueryResult>(&self, select: &SelectStatement) -> Result<(Head, Vec<T>), Fault> {
        ReadPool::all_as_of(self, select).await
    }
}

/// A request that is in the database, and the revision under which it is kept.
#[derive(Debug, FromQueryResult)]
struct LandedRow {
    rev: i64,
    #[sea_orm(nested)]
    request: RequestRow,
}

pub(super) async fn under_lock(transaction: &Transaction, request_ids: &[RequestId]) -> Result<Landed, Fault> {
    look(transaction, request_ids).await
}

pub(super) async fn look(asked: &impl Asked, request_ids: &[RequestId]) -> Result<Landed, Fault> {
    let mut head: Option<(Version, Timeline)> = None;
    let mut units: Vec<(RequestId, Recorded)> = Vec::new();
    let mut revisions: Vec<i64> = Vec::new();
    let none: &[RequestId] = &[];
    let chunks = request_ids.chunks(ASKED_AT_ONCE).chain(request_ids.is_empty().then_some(none));
    for ids in chunks {
        let ids: Vec<&str> = ids.iter().map(RequestId::as_str).collect();
        let of_request = |column| (Table::Request, column);
        let columns = [Column::Rev, Column::RequestId, Column::Result];
        let mut select = asked.backend().head();
        select.exprs(columns.map(|column| Expr::col(of_request(column))));
        select.left_join(Table::Request, among(of_request(Column::RequestId), &ids));
        let (Head { revision, timeline, .. }, found) = asked.all_as_of::<LandedRow>(&select).await?;
        // What was not there was not there as of the first, lowest revision.
        head.get_or_insert((revision, timeline));
        for LandedRow { rev, request } in found {
            revisions.push(rev);
            units.push(request.recorded(asked.seals())?);
        }
    }
    let (revision, timeline) = head.ok_or_else(rows::no_meta)?;
    let keys = changed_keys(asked, &units, &revisions).await?;
    let states = if keys.is_empty() { Vec::new() } else { reader::fill(asked, &keys).await?.states };
    Ok(Landed { revision, timeline, units, states })
}

/// The keys that these requests changed. A request that changed nothing is kept under a revision that is not its
/// own, so both have to match.
async fn changed_keys(
    asked: &impl Asked,
    units: &[(RequestId, Recorded)],
    revisions: &[i64],
) -> Result<Vec<ConfigKey>, Fault> {
    let mut keys = Vec::new();
    for (units, revisions) in units.chunks(ASKED_AT_ONCE).zip(revisions.chunks(ASKED_AT_ONCE)) {
        let of_change = |column| (Table::Change, column);
        let ids: Vec<&str> = units.iter().map(|(request_id, _)| request_id.as_str()).collect();
        let mut select = Query::select();
        select.columns(KEY.map(of_change)).from(Table::Change);
        select.and_where(among(of_change(Column::Rev), revisions));
        select.and_where(among(of_change(Column::RequestId), &ids));
        for row in asked.all::<KeyRow>(&select).await? {
            keys.push(row.key()?);
        }
    }
    keys.sort_unstable();
    keys.dedup();
    Ok(keys)
}
