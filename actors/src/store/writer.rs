//! The door for everything that is written. Each operation is one transaction under the lock of the meta row, so all
//! of them stand in one order. Owns the pool of writing connections; decides nothing about publishes.

use std::sync::Arc;
use std::time::Duration;

use callboard_protocol::commit::{self, Decision, Standing};
use callboard_protocol::extent::Extent;
use callboard_protocol::member::{Ack, Timeline};
use callboard_protocol::time::WallMillis;
use callboard_protocol::write_request::WriteRequest;
use sea_orm::{ConnectionTrait as _, DatabaseConnection, Statement};

use super::audit::{Chain, Turn};
use super::batch;
use super::dialect::Backend;
use super::error::{Cause, CommitError, Fault};
use super::file_hold::FileHold;
use super::open::Names;
use super::reader::ReadPool;
use super::transaction::{Timeouts, Transaction};

/// Writes to the database. Clones share one pool; on SQLite that pool has exactly one connection.
#[derive(Debug, Clone)]
pub struct Writer {
    connection: DatabaseConnection,
    apart: Apart,
    /// For long searches, so that publishes do not wait for them.
    reader: ReadPool,
    /// How many connections can turn out dead one after the other.
    pool_size: u32,
    timeouts: Timeouts,
    names: Names,
    /// Where it is written down what is done; `None` where it is not.
    chain: Option<Chain>,
}

/// Connections that are kept apart for one purpose each; `None` where the database has no use for them.
#[derive(Debug, Clone)]
pub(super) struct Apart {
    /// Keeps SQLite's files open, for longer than all others.
    pub(super) hold: Option<FileHold>,
    /// Copies SQLite's log into the file.
    pub(super) checkpoints: Option<DatabaseConnection>,
    /// For joining and leaving, so that neither waits for a publish.
    pub(super) joins: Option<DatabaseConnection>,
    /// For single statements on membership rows; no transaction is begun on them.
    pub(super) leases: Option<DatabaseConnection>,
}

/// A batch that wants to be written, and on the strength of what.
#[derive(Debug, Clone)]
pub struct CommitRequest {
    /// The units, judged in this order.
    pub units: Vec<Arc<WriteRequest>>,
    /// The timeline on which the acks were given.
    pub timeline: Timeline,
    /// Whether the publisher is a member.
    pub standing: Standing,
    /// Ack 1 of every member.
    pub acks: Vec<Ack>,
    /// The publisher's wall clock, stored with what is written.
    pub at: WallMillis,
}

impl Writer {
    pub(super) fn new(
        connection: DatabaseConnection,
        apart: Apart,
        reader: ReadPool,
        pool_size: u32,
        timeouts: Timeouts,
    ) -> Self {
        Self { connection, apart, reader, pool_size, timeouts, names: Names::NONE, chain: None }
    }

    /// The same, on a database that says by this SQL which one it is.
    pub(super) fn named_by(self, names: Names) -> Self {
        Self { names, ..self }
    }

    /// The same, writing down what is done.
    pub(super) fn with_chain(self, chain: Chain) -> Self {
        Self { chain: Some(chain), ..self }
    }

    /// The turn of a transaction to write down what it does; `None` where nothing is written down. To be had before the
    /// transaction is begun.
    pub(super) async fn turn(&self) -> Option<Turn> {
        match &self.chain {
            Some(chain) => Some(chain.turn().await),
            None => None,
        }
    }

    /// SQL for what the database says of itself.
    pub(super) fn names(&self) -> Names {
        self.names
    }

    /// Whoever answers is not the server that it should be: no connection that is open now is used any more.
    pub fn reconnect(&self, reason: &str) {
        self.reader.outlook().empty_pools(reason);
    }

    /// The same database over the connections that are kept for leases; they are opened by the thread that uses them.
    #[must_use]
    pub fn for_leases(&self) -> Self {
        let connection = self.apart.joins.clone().unwrap_or_else(|| self.connection.clone());
        Self { connection, ..self.clone() }
    }

    /// Which database this writes to.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.reader.backend()
    }

    /// Judges the batch under the lock and writes what [`commit::decide`] says, all of it or nothing. The outcomes
    /// in [`Decision::Write`] are durable when this returns.
    ///
    /// # Errors
    /// [`CommitError::Aborted`] when nothing was written; [`CommitError::Unknown`] when the commit was sent and its
    /// answer never came.
    pub async fn commit(&self, request: CommitRequest) -> Result<Decision, CommitError> {
        let timeline = request.timeline;
        let committed = self.commit_once(request).await;
        match &committed {
            Ok(Decision::Write(writes)) if !writes.is_empty() => self.knows(Extent::new(timeline, writes.revision)),
            Ok(_) => {}
            Err(error) => self.failed(error.cause()),
        }
        committed
    }

    async fn commit_once(&self, request: CommitRequest) -> Result<Decision, CommitError> {
        let mut turn = self.turn().await;
        let transaction = self.begin().await?;
        let judged = transaction.within(async {
            let snapshot = batch::read(&transaction, &request.units).await?;
            let CommitRequest { units, timeline, standing, acks, at } = &request;
            let decision = commit::decide(snapshot, units, *timeline, standing, acks, *at);
            if let Decision::Write(writes) = &decision
                && !writes.is_empty()
            {
                let record = match &mut turn {
                    Some(turn) => turn.of_batch(&transaction, writes).await?,
                    None => None,
                };
                batch::write(&transaction, writes, record.as_ref()).await?;
            }
            Ok(decision)
        });
        let decision = judged.await?;
        match &decision {
            Decision::Write(writes) if !writes.is_empty() => transaction.commit().await?,
            Decision::Write(writes) if writes.tells_of_success() => transaction.vouch().await?,
            Decision::Write(_)
            | Decision::NeedAcks(_)
            | Decision::NotMember
            | Decision::TimelineChanged(_)
            | Decision::Behind(_) => {
                transaction.roll_back().await;
            }
        }
        // A record was made only of what is committed now.
        turn.into_iter().for_each(Turn::committed);
        Ok(decision)
    }

    /// Makes a durable commit that changes nothing anybody sees: proves that others would go through.
    ///
    /// # Errors
    /// [`CommitError`]; after an unknown outcome ask again, it does no harm.
    pub async fn try_commit(&self) -> Result<(), CommitError> {
        let tried = self.touch().await;
        if let Err(error) = &tried {
            self.failed(error.cause());
        }
        tried
    }

    async fn touch(&self) -> Result<(), CommitError> {
        let transaction = self.begin().await?;
        transaction.within(transaction.touch()).await?;
        transaction.commit().await
    }

    /// Copies what SQLite's log holds into the file, as far as can be done without making a commit wait. Commits do it
    /// themselves when the log has grown long, and then publishes wait; asked for in time, they find little to do.
    /// Returns how many pages the log held; `None` on databases that have no such log.
    ///
    /// # Errors
    /// [`CommitError::Aborted`]; the log stays as it is.
    pub async fn checkpoint(&self) -> Result<Option<usize>, CommitError> {
        let Some(connection) = &self.apart.checkpoints else { return Ok(None) };
        let copy = Statement::from_string(self.backend().sea(), "PRAGMA wal_checkpoint(PASSIVE)");
        let row = connection.query_one_raw(copy).await.map_err(Fault::from);
        let row = row.inspect_err(|fault| self.failed(fault.cause()))?;
        let pages = row.map(|row| row.try_get::<i64>("", "log")).transpose().map_err(Fault::from)?;
        // Below zero when the log was never used.
        Ok(Some(pages.and_then(|pages| usize::try_from(pages).ok()).unwrap_or_default()))
    }

    /// Begins a transaction that holds the meta row's lock.
    pub(super) async fn begin(&self) -> Result<Transaction, Fault> {
        let begin = async || {
            let (backend, shared) = (self.backend(), (self.reader.outlook(), self.pool_size));
            Transaction::begin(&self.connection, backend, self.timeouts, shared, self.reader.seals()).await
        };
        match begin().await {
            Err(fault) if self.lost_its_role(fault.cause()) => begin().await,
            begun => begun,
        }
    }

    /// A transaction failed for this. SQLite begins one on what it has opened for reading, too, and finds out at the
    /// first statement that writes.
    fn failed(&self, cause: Cause) {
        if cause.is_outage() {
            self.reader.outlook().distrust_writers();
        }
        self.lost_its_role(cause);
    }

    /// Gives every connection up when this is said of a server that takes no writes: behind the same address there may
    /// be another one by now.
    fn lost_its_role(&self, cause: Cause) -> bool {
        let lost = cause == Cause::ReadOnly && self.backend() != Backend::Sqlite;
        if lost {
            self.reader.outlook().empty_pools("a server takes no writes");
        }
        lost
    }

    /// A commit is known to have happened: no answer from before it is taken any more.
    pub fn knows(&self, extent: Extent) {
        self.reader.outlook().saw(extent);
    }

    /// The connections for single statements on membership rows.
    pub(super) fn leases(&self) -> &DatabaseConnection {
        self.apart.leases.as_ref().unwrap_or(&self.connection)
    }

    pub(super) fn pool_size(&self) -> u32 {
        self.pool_size
    }

    /// The longest that a statement on membership rows may take, waiting for a connection included. A renewal that
    /// hangs has to be given up while there is time for another one.
    pub(super) fn patience(&self) -> Duration {
        const RENEWAL: Duration = Duration::from_millis(1_500);
        (self.timeouts.connect + self.timeouts.statement).min(RENEWAL)
    }

    #[cfg(test)]
    pub(super) fn connection(&self) -> &DatabaseConnection {
        &self.connection
    }

    pub(super) fn reader(&self) -> &ReadPool {
        &self.reader
    }

    /// Closes every connection, after the statements under way. The reader is closed before.
    pub async fn close(&self) {
        let Apart { hold, checkpoints, joins, leases } = &self.apart;
        let apart = [checkpoints, joins, leases].into_iter().flatten();
        for connection in std::iter::once(&self.connection).chain(apart) {
            if let Err(error) = connection.close_by_ref().await {
                tracing::debug!(%error, "closing the writing connections failed");
            }
        }
        if let Some(hold) = hold {
            hold.release().await;
        }
    }
}
