//! Leases as the database sees them: renew, look at the rows, revoke, fence, and begin a new line of history. All but
//! the last are single statements on one row, outside of the order of commits. Decides nothing.

use callboard_protocol::config::Version;
use callboard_protocol::lease::Observation;
use callboard_protocol::member::{AckNo, Incarnation, MemberRow, NodeId, Timeline};
use sea_orm::ConnectionTrait as _;
use sea_orm::QueryResult;

use super::backup::Extent;
use super::batch;
use super::dialect::Sql;
use super::error::{Fault, ReadError, WriteError};
use super::rows::{self, Columns};
use super::transaction::Transaction;
use super::writer::Writer;

/// Revisions that a new line of history leaves out, so that no lost one is ever given again.
const SKIPPED: u64 = 1_000_000;
const OBSERVED: &str = "SELECT m.rev, m.timeline, n.node, n.inc, n.renew_seq, n.ack_floor, n.revoked, n.addr, n.database_member \
                        FROM cc_meta m LEFT JOIN cc_node n ON 1 = 1 WHERE m.id = 1";

impl Writer {
    /// Renews the row of this life. False when there is none any more, or it was revoked.
    ///
    /// # Errors
    /// [`WriteError::Failed`]; it may be renewed all the same.
    pub async fn renew(&self, node: &NodeId, incarnation: Incarnation) -> Result<bool, WriteError> {
        let member = self.member().unwrap_or("''");
        let mut sql = self
            .sql(&format!("UPDATE cc_node SET renew_seq = renew_seq + 1, database_member = {member} WHERE node = "));
        sql.bind(&*node.0).push(" AND inc = ").bind(incarnation.0.to_string()).push(" AND revoked = ").bind(false);
        Ok(self.run_alone(sql).await? > 0)
    }

    /// Every row, with the revision and the line of history of the same moment.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn observe(&self) -> Result<Observation, ReadError> {
        let statement = self.sql(OBSERVED).statement();
        let mut left = self.pool_size();
        loop {
            let answer = tokio::time::timeout(self.patience(), self.leases().query_all_raw(statement.clone()));
            let fault = match answer.await {
                Ok(Ok(rows)) => return Ok(observation(&rows)?),
                Ok(Err(error)) => Fault::Database(error),
                Err(_elapsed) => Fault::TimedOut,
            };
            if left == 0 || !fault.is_dead_connection() {
                return Err(fault.into());
            }
            left -= 1;
        }
    }

    /// Takes the right to renew away from a life of a node. False when there is no such row.
    ///
    /// # Errors
    /// [`WriteError::Failed`]; after an unknown outcome ask again, it does no harm.
    pub async fn revoke(&self, node: &NodeId, incarnation: Incarnation) -> Result<bool, WriteError> {
        let mut sql = self.sql("UPDATE cc_node SET revoked = ");
        sql.bind(true).push(" WHERE node = ").bind(&*node.0).push(" AND inc = ").bind(incarnation.0.to_string());
        Ok(self.run_alone(sql).await? > 0)
    }

    /// Deletes the row of a life that has stood still at `renew_seq`. False when it was renewed, or is gone. Waits for a
    /// renewal that is under way and judges by what that made of the row.
    ///
    /// # Errors
    /// [`WriteError::Failed`]; after an unknown outcome ask again, it does no harm.
    pub async fn fence(&self, node: &NodeId, incarnation: Incarnation, renew_seq: u64) -> Result<bool, WriteError> {
        let mut sql = self.sql("DELETE FROM cc_node WHERE node = ");
        sql.bind(&*node.0).push(" AND inc = ").bind(incarnation.0.to_string());
        sql.push(" AND renew_seq = ").bind(rows::signed(renew_seq));
        Ok(self.run_alone(sql).await? > 0)
    }

    /// Begins a new line of history when the database is on the line `lost` and below `known`: it has lost commits that
    /// were acknowledged. Every row goes, so that every cache is emptied. False when the database is not so.
    ///
    /// # Errors
    /// [`WriteError::Failed`]; after an unknown outcome ask again, it does no harm.
    pub async fn begin_timeline(&self, lost: Timeline, known: Version) -> Result<bool, WriteError> {
        let transaction = self.begin().await?;
        let began = transaction.within(async {
            let (revision, timeline, _) = batch::members(&transaction).await?;
            if timeline != lost || revision >= known {
                return Ok(false);
            }
            begin_after(&transaction, known, timeline).await?;
            Ok(true)
        });
        let began = began.await?;
        if began {
            transaction.commit().await?;
        } else {
            transaction.roll_back().await;
        }
        Ok(began)
    }

    /// Begins a new line of history because the database was restored from a copy: whatever was seen of it before may be
    /// lost, and no revision of then is ever given again. Every row goes, so that every cache is emptied. `known` is how far
    /// the database went before, as far as that is known. Returns how far it goes now.
    ///
    /// # Errors
    /// [`WriteError::Failed`]; after an unknown outcome ask again, it does no harm.
    pub async fn declare_restored(&self, known: Option<Extent>) -> Result<Extent, WriteError> {
        let transaction = self.begin().await?;
        let began = transaction.within(async {
            let (revision, timeline, _) = batch::members(&transaction).await?;
            let highest = known.map_or(revision, |known| known.revision.max(revision));
            let last = known.map_or(timeline, |known| known.timeline.max(timeline));
            begin_after(&transaction, highest, last).await
        });
        let began = began.await?;
        transaction.commit().await?;
        Ok(began)
    }

    /// Runs one statement outside of a transaction and returns how many rows it found. A connection that turns out dead
    /// is replaced: each statement here may be run twice.
    async fn run_alone(&self, sql: Sql) -> Result<u64, Fault> {
        let statement = sql.statement();
        let mut left = self.pool_size();
        loop {
            let answer = tokio::time::timeout(self.patience(), self.leases().execute_raw(statement.clone()));
            let fault = match answer.await {
                Ok(Ok(result)) => return Ok(result.rows_affected()),
                Ok(Err(error)) => Fault::Database(error),
                Err(_elapsed) => Fault::TimedOut,
            };
            if left == 0 || !fault.is_dead_connection() {
                return Err(fault);
            }
            left -= 1;
        }
    }
}

/// Begins the line of history after `last`, above every revision up to `highest`.
async fn begin_after(transaction: &Transaction, highest: Version, last: Timeline) -> Result<Extent, Fault> {
    let began =
        Extent { timeline: Timeline(last.0.saturating_add(1)), revision: Version(highest.0.saturating_add(SKIPPED)) };
    // Who resumes from before it begins anew: what was known up to there may be lost.
    let next = rows::signed(began.revision.0);
    let mut sql = transaction.sql("UPDATE cc_meta SET timeline = ");
    sql.bind(rows::signed(began.timeline.0)).push(", rev = ").bind(next).push(", pruned_rev = ").bind(next);
    sql.push(" WHERE id = 1");
    transaction.run(sql).await?;
    transaction.run(transaction.sql("DELETE FROM cc_node")).await?;
    Ok(began)
}

/// Every row, as a transaction sees them.
pub(super) async fn observed(transaction: &Transaction) -> Result<Observation, Fault> {
    observation(&transaction.rows(transaction.sql(OBSERVED)).await?)
}

fn observation(found: &[QueryResult]) -> Result<Observation, Fault> {
    let mut head = None;
    let mut rows = Vec::new();
    for row in found {
        let mut columns = Columns::of(row);
        head = Some((columns.version()?, columns.timeline()?));
        if let Some(node) = columns.take::<Option<String>>()? {
            rows.push(MemberRow {
                node: NodeId(node.into()),
                incarnation: batch::incarnation(&columns.take::<String>()?)?,
                renew_seq: columns.number()?,
                ack_floor: AckNo(columns.number()?),
                revoked: columns.take::<bool>()?,
                address: columns.take::<String>()?,
                database_member: columns.take::<String>()?,
            });
        }
    }
    let (revision, timeline) = head.ok_or_else(|| Fault::Broken("the row of cc_meta is missing".to_owned()))?;
    Ok(Observation { revision, timeline, rows })
}
