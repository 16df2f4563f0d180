//! A connection that does nothing but keep the files of a SQLite database open. Owns why none of a process's
//! connections is ever the one that finds them unusable, or the one that ends them.
//!
//! SQLite opens for reading what it can't open for writing, and says nothing. The index of the log (`-shm`) is opened
//! once for a whole process and stays as it was opened for as long as any connection is there; and a connection that is
//! closed as the last one removes the log, when it believes that nothing in it is wanted, which one that can't write
//! the index may believe wrongly. So the first connection of a process is this one. It proves that it can write, and
//! stays open for longer than every other: whatever fails meanwhile concerns one connection, which is closed and opened
//! anew. Where it can't prove it, it is never closed at all; the process that hears of it is to end.

use std::path::Path;
use std::str::FromStr as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sea_orm::sqlx::{self, ConnectOptions as _, Connection as _, Executor as _};

use super::error::OpenError;
use super::open::masked;

/// Takes a write as far as it goes without leaving a trace.
const PROVE: &str = "PRAGMA journal_mode = WAL; BEGIN IMMEDIATE; PRAGMA user_version = 0; ROLLBACK";
/// Result codes of SQLite, without what distinguishes their kinds.
const BUSY: u32 = 5;
const READ_ONLY: u32 = 8;

/// Keeps the files of one database open. Clones are the same.
#[derive(Debug, Clone)]
pub struct FileHold(Arc<Mutex<Option<SqliteConnection>>>);

impl FileHold {
    /// Opens the file at `url`, which is made when it does not exist and `create` says so, and proves that it takes
    /// writes. `patience` is how long another process may hold the lock.
    ///
    /// # Errors
    /// [`OpenError`]. When the file could be opened and takes no writes, a later try of the same process may find the
    /// same, whatever has become of the file: the process is to end.
    pub async fn open(url: &str, create: bool, patience: Duration) -> Result<Self, OpenError> {
        let database = masked(url);
        match SqliteConnectOptions::from_str(url) {
            Ok(settings) => Self::open_by(settings.create_if_missing(create), database, patience).await,
            Err(error) => Err(OpenError::Address { database, reason: error.to_string() }),
        }
    }

    /// The same of a file that is there already.
    pub(super) async fn of(file: &Path, patience: Duration) -> Result<Self, OpenError> {
        let settings = SqliteConnectOptions::new().filename(file).create_if_missing(false);
        Self::open_by(settings, file.display().to_string(), patience).await
    }

    async fn open_by(settings: SqliteConnectOptions, database: String, patience: Duration) -> Result<Self, OpenError> {
        // Opens the file alone: its log and the index of the log come with the first statement.
        let opened = settings.busy_timeout(Duration::ZERO).disable_statement_logging().connect().await;
        let mut connection = match opened {
            Ok(connection) => connection,
            Err(error) => return Err(OpenError::Unreachable { database, reason: error.to_string() }),
        };
        match execute_patiently(&mut connection, PROVE, patience).await {
            Ok(()) => Ok(Self(Arc::new(Mutex::new(Some(connection))))),
            Err(error) => {
                // What it began would hold the log back for as long as the process lives. An error says that there was
                // nothing.
                drop(connection.execute("ROLLBACK").await);
                // Not closed: see the module.
                std::mem::forget(connection);
                Err(refusal(database, &error))
            }
        }
    }

    /// Copies into the file what a former process left in the log, so that it is not there for good, when that can be
    /// done.
    pub(super) async fn copy_log(&self) {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut connection) = taken else { return };
        if let Err(error) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").await {
            tracing::debug!(%error, "the log that a former process left could not be copied; it is tried again");
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner).replace(connection);
    }

    /// Lets the files go. Everything else that has them open in this process is closed before.
    pub async fn release(&self) {
        let connection = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(connection) = connection
            && let Err(error) = connection.close().await
        {
            tracing::debug!(%error, "the files of the database could not be closed in order");
        }
    }
}

/// Executes `sql` until it succeeds, or another process has been in the way for as long as `patience`. A node that
/// publishes leaves the lock for moments only, which SQLite's own waiting misses.
pub(super) async fn execute_patiently(
    connection: &mut SqliteConnection,
    sql: &'static str,
    patience: Duration,
) -> Result<(), sqlx::Error> {
    const PAUSE: Duration = Duration::from_millis(1);
    let begun = tokio::time::Instant::now();
    loop {
        match connection.execute(sql).await {
            Err(error) if code_of(&error) == Some(BUSY) && begun.elapsed() < patience => {
                tokio::time::sleep(PAUSE).await;
            }
            ended => return ended.map(|_| ()),
        }
    }
}

/// SQLite's result code, without what distinguishes its kinds.
fn code_of(error: &sqlx::Error) -> Option<u32> {
    error.as_database_error()?.code()?.parse::<u32>().ok().map(|code| code & 0xff)
}

fn refusal(database: String, error: &sqlx::Error) -> OpenError {
    let reason = error.to_string();
    match code_of(error) {
        Some(BUSY) => OpenError::Unusable { database, reason: format!("another process is writing to it: {reason}") },
        Some(READ_ONLY) => OpenError::ReadOnly { database, reason },
        _ => OpenError::Unreachable { database, reason },
    }
}
