//! Opening a SQLite file: one connection that writes, one that copies the log, some that read, and one that keeps the
//! files open. Owns what each is told.

use std::str::FromStr;

use sea_orm::sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sea_orm::sqlx::{self, ConnectOptions, Executor};

use super::super::OpenOptions;
use super::super::dialect::Backend;
use super::super::error::OpenError;
use super::super::file_hold::FileHold;
use super::super::outlook::Outlook;
use super::{Names, Pools, Use, address, is_outside_of_transactions};

pub(super) async fn open(options: &OpenOptions, database: &str, outlook: &Outlook) -> Result<Pools, OpenError> {
    if options.url.contains(":memory:") || options.url.contains("mode=memory") {
        let reason = "a database in memory keeps nothing; name a file".to_owned();
        return Err(OpenError::Address { database: database.to_owned(), reason });
    }
    let settings = SqliteConnectOptions::from_str(&options.url)
        .map_err(|error| address(database, &error))?
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        // Pages of the log before a commit has to copy it into the file, 64 MiB: it is copied beside the commits
        // before, and given back down to 16 MiB when it begins anew.
        .pragma("wal_autocheckpoint", "16384")
        .pragma("journal_size_limit", "16777216")
        .busy_timeout(options.statement_timeout)
        .disable_statement_logging();
    let hold = FileHold::open(&options.url, false, options.statement_timeout).await?;
    hold.copy_log().await;
    let pool = |use_of: Use| {
        let outlook = outlook.clone();
        let pool = SqlitePoolOptions::new().acquire_timeout(options.connect_timeout).test_before_acquire(false);
        pool.idle_timeout(None)
            .max_lifetime(None)
            .before_acquire(move |connection, facts| {
                let is_current = use_of.permits(&outlook, facts.age);
                Box::pin(async move { Ok(is_current && is_outside_of_transactions(connection)?) })
            })
            .after_release(|connection, _| Box::pin(is_settled_sqlite(connection)))
    };
    // Exactly one connection writes: writers would only wait for each other, and worse than in a queue.
    let writes = pool(Use::Write).max_connections(1).connect_lazy_with(settings.clone());
    let checkpoints = pool(Use::Write).max_connections(1).connect_lazy_with(settings.clone());
    let settings = settings.pragma("query_only", "ON");
    let searches =
        pool(Use::Read).max_connections(options.search_connections.max(1)).connect_lazy_with(settings.clone());
    let reads = pool(Use::Read).max_connections(options.read_connections.max(1)).connect_lazy_with(settings);
    Ok(Pools {
        backend: Backend::Sqlite,
        writes: writes.into(),
        reads: reads.into(),
        searches: searches.into(),
        hold: Some(hold),
        checkpoints: Some(checkpoints.into()),
        joins: None,
        leases: None,
        names: Names::NONE,
    })
}

/// Whether a SQLite connection that comes back is outside of every transaction, by its own word and by the driver's.
/// The two differ after a COMMIT that failed: SQLite has rolled back by itself, and the driver still counts one
/// transaction.
async fn is_settled_sqlite(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    const NO_TRANSACTION: &str = "1";
    match connection.execute("ROLLBACK").await {
        // There was one that nobody had ended.
        Ok(_) => Ok(false),
        Err(error) if error.as_database_error().and_then(|error| error.code()).as_deref() == Some(NO_TRANSACTION) => {
            is_outside_of_transactions(connection)
        }
        Err(error) => Err(error),
    }
}
