//! One transaction of the writer: begun with the meta row locked, ended by [`Transaction::commit`] or
//! [`Transaction::roll_back`]. Dropped half-way it rolls back, and its connection stays usable. Owns the time limits
//! and the line between "certainly not written" and "not known"; knows nothing of what is written.

use std::sync::Arc;
use std::time::Duration;

use sea_orm::sea_query::{Expr, ExprTrait as _, Query};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbErr, FromQueryResult, QueryResult,
    SqliteTransactionMode, TransactionOptions, TransactionTrait,
};

use super::dialect::{Backend, IntoStatement, Sql};
use super::error::{CommitError, Fault};
use super::outlook::Outlook;
use super::rows;
use super::schema::{Column, Table};
use super::seals::Seals;

/// How long the parts of a transaction may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeouts {
    /// To get a connection.
    pub(super) connect: Duration,
    /// One statement; also what the server is told.
    pub(super) statement: Duration,
}

impl Timeouts {
    /// All statements between begin and commit together.
    fn body(self) -> Duration {
        self.statement.saturating_mul(3)
    }
}

/// An open transaction.
pub(super) struct Transaction {
    inner: DatabaseTransaction,
    backend: Backend,
    timeouts: Timeouts,
    outlook: Outlook,
    seals: Arc<dyn Seals>,
}

impl Transaction {
    /// Begins and takes the meta row's lock. A connection that turns out dead is replaced, up to `replacements` times.
    /// What fails here or at the end is told to `outlook`.
    pub(super) async fn begin(
        connection: &DatabaseConnection,
        backend: Backend,
        timeouts: Timeouts,
        (outlook, replacements): (&Outlook, u32),
        seals: &Arc<dyn Seals>,
    ) -> Result<Self, Fault> {
        let mut left = replacements;
        loop {
            let begun = tokio::time::timeout(timeouts.connect + timeouts.body(), lock(connection, backend, timeouts));
            match begun.await.unwrap_or(Err(Fault::TimedOut)) {
                Ok(inner) => {
                    return Ok(Self { inner, backend, timeouts, outlook: outlook.clone(), seals: Arc::clone(seals) });
                }
                Err(fault) => {
                    if fault.is_outage() {
                        outlook.distrust_writers();
                    }
                    if left == 0 || !fault.is_dead_connection() {
                        return Err(fault);
                    }
                    left -= 1;
                }
            }
        }
    }

    /// Does `work`, within the time that a transaction may take. On an error the caller drops the transaction.
    pub(super) async fn within<T>(&self, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        tokio::time::timeout(self.timeouts.body(), work).await.unwrap_or(Err(Fault::TimedOut))
    }

    /// The same for work over every row there is, which nobody waits for in vain: the database can't be used without
    /// it.
    pub(super) async fn within_long<T>(&self, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        const LONGER: u32 = 20;
        tokio::time::timeout(self.timeouts.body() * LONGER, work).await.unwrap_or(Err(Fault::TimedOut))
    }

    /// An empty statement in this transaction's dialect, beginning with `text`.
    pub(super) fn sql(&self, text: &str) -> Sql {
        Sql::new(self.backend, text)
    }

    pub(super) fn backend(&self) -> Backend {
        self.backend
    }

    /// What seals secrets.
    pub(super) fn seals(&self) -> &dyn Seals {
        self.seals.as_ref()
    }

    /// The rows that a statement answers with, not read yet.
    pub(super) async fn rows(&self, statement: impl IntoStatement) -> Result<Vec<QueryResult>, Fault> {
        Ok(self.inner.query_all_raw(statement.into_statement(self.backend)).await?)
    }

    /// Every row that a statement answers with.
    pub(super) async fn all<T: FromQueryResult>(&self, statement: impl IntoStatement) -> Result<Vec<T>, Fault> {
        rows::read_all(&self.rows(statement).await?)
    }

    /// The only row, or the first one.
    pub(super) async fn one<T: FromQueryResult>(&self, statement: impl IntoStatement) -> Result<Option<T>, Fault> {
        let row = self.inner.query_one_raw(statement.into_statement(self.backend)).await?;
        row.map(|row| rows::read(&row)).transpose()
    }

    /// Runs a statement and returns how many rows it found.
    pub(super) async fn run(&self, statement: impl IntoStatement) -> Result<u64, Fault> {
        Ok(self.inner.execute_raw(statement.into_statement(self.backend)).await?.rows_affected())
    }

    /// Makes a write that nobody sees the effect of.
    pub(super) async fn touch(&self) -> Result<(), Fault> {
        let next = Expr::col(Column::MemberEpoch).add(1);
        let mut update = Query::update();
        update.table(Table::Meta).value(Column::MemberEpoch, next).and_where(Expr::col(Column::Id).eq(1));
        self.run(&update).await.map(|_| ())
    }

    /// Makes it durable.
    pub(super) async fn commit(self) -> Result<(), CommitError> {
        let (backend, outlook) = (self.backend, self.outlook);
        let fault = match tokio::time::timeout(self.timeouts.body(), self.inner.commit()).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => Fault::Database(error),
            Err(_elapsed) => Fault::TimedOut,
        };
        outlook.distrust_writers();
        Err(fault.after_commit(backend))
    }

    /// Ends it after something was found to be done that will be told as done. Where others see a commit before it is
    /// durable, one more commit is made, which is durable after all that were seen.
    pub(super) async fn vouch(self) -> Result<(), CommitError> {
        if !self.backend.shows_before_durable() {
            self.roll_back().await;
            return Ok(());
        }
        self.within(self.touch()).await?;
        self.commit().await
    }

    /// Ends it without a trace.
    pub(super) async fn roll_back(self) {
        // Should it fail, the connection is broken, and the database ends the transaction with it.
        match tokio::time::timeout(self.timeouts.statement, self.inner.rollback()).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => tracing::debug!(%error, "rolling back failed; the connection is given up"),
            Err(_elapsed) => tracing::debug!("rolling back was not answered; the connection is given up"),
        }
        self.outlook.distrust_writers();
    }
}

/// Runs what is one statement by itself. A connection that turns out dead is replaced, up to `replacements` times: then
/// the statement may have been run before.
pub(super) async fn replacing_dead<T, F>(replacements: u32, patience: Duration, run: impl Fn() -> F) -> Result<T, Fault>
where
    F: Future<Output = Result<T, DbErr>>,
{
    let mut left = replacements;
    loop {
        let fault = match tokio::time::timeout(patience, run()).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => Fault::Database(error),
            Err(_elapsed) => Fault::TimedOut,
        };
        if left == 0 || !fault.is_dead_connection() {
            return Err(fault);
        }
        left -= 1;
    }
}

async fn lock(
    connection: &DatabaseConnection,
    backend: Backend,
    timeouts: Timeouts,
) -> Result<DatabaseTransaction, Fault> {
    let mode = (backend == Backend::Sqlite).then_some(SqliteTransactionMode::Immediate);
    let options = TransactionOptions { sqlite_transaction_mode: mode, ..TransactionOptions::default() };
    let transaction = connection.begin_with_options(options).await?;
    if let Some(sql) = backend.lock_meta(timeouts.statement.as_millis()) {
        transaction.execute_unprepared(&sql).await?;
    }
    Ok(transaction)
}
