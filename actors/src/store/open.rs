//! Opening a database: the two pools, what each session is told, and the checks that refuse a database which could
//! not keep its promises. Owns every setting that durability rests on; reads and writes no configuration.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

use sea_orm::sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlPoolOptions};
use sea_orm::sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sea_orm::sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sea_orm::sqlx::{self, ConnectOptions, Connection, Executor, Row};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, Statement};

use super::dialect::Backend;
use super::error::{OpenError, is_missing_table};
use super::file_hold::FileHold;
use super::outlook::Outlook;
use super::transaction::Limits;
use super::writer::Apart;
use super::{OpenOptions, Reader, Writer};

/// The newest migration that this program needs.
pub(super) const SCHEMA: &str = "m0001_first_schema";
/// Where the applied migrations are kept.
pub(super) const MIGRATION_TABLE: &str = "cc_migration";
/// Connections for writes: commits take turns anyway, the others are for membership.
const WRITE_CONNECTIONS: u32 = 4;
/// Connections for joining and leaving, which take turns.
const JOIN_CONNECTIONS: u32 = 1;
/// Connections for leases: a renewal does not wait for a fence that waits for a lock.
const LEASE_CONNECTIONS: u32 = 2;
/// Prepared statements that a connection keeps.
const STATEMENTS_KEPT: usize = 1_000;
/// The least `max_allowed_packet`: the longest content fits in with room to spare.
const LEAST_PACKET: u64 = 16 * 1024 * 1024;

/// Opens the database, checks it, and returns the door for writes and the door for reads.
///
/// # Errors
/// [`OpenError`] names the database, with its password masked, and what to do.
pub async fn open(options: OpenOptions) -> Result<(Writer, Reader), OpenError> {
    let database = masked(&options.url);
    let outlook = Outlook::default();
    let Pools { backend, writes, reads, hold, checkpoints, joins, leases } =
        match options.url.split(':').next().unwrap_or_default() {
            "sqlite" => sqlite(&options, &database, &outlook).await?,
            "postgres" | "postgresql" => postgres(&options, &database, &outlook).await?,
            "mysql" | "mariadb" => mysql(&options, &database, &outlook).await?,
            _ => {
                let reason = "it has to begin with sqlite:, postgres:// or mysql://".to_owned();
                return Err(OpenError::Address { database, reason });
            }
        };
    if let Err(error) = check_schema(&reads, backend, &database).await {
        // The writing pool has opened nothing yet. The order matters: see `FileHold`.
        drop(reads.close_by_ref().await);
        if let Some(hold) = hold {
            hold.release().await;
        }
        return Err(error);
    }
    tracing::debug!(store.database = database, store.backend = backend.as_str(), "database opened");
    let limits = Limits { connect: options.connect_timeout, statement: options.statement_timeout };
    let patience = limits.connect + limits.statement;
    let reader = Reader::new(reads, backend, options.read_connections.max(1), patience, outlook);
    Ok((
        Writer::new(writes, Apart { hold, checkpoints, joins, leases }, reader.clone(), WRITE_CONNECTIONS, limits),
        reader,
    ))
}

/// The address of a database as it may be shown: without its password and without its parameters.
#[must_use]
pub fn masked(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.split('?').next().unwrap_or_default().to_owned();
    };
    // A password may hold any of `:/?@` unescaped: everything up to the last '@' is taken for credentials.
    let (credentials, place) =
        rest.rsplit_once('@').map_or((None, rest), |(credentials, place)| (Some(credentials), place));
    let place = place.split('?').next().unwrap_or_default();
    match credentials {
        None => format!("{scheme}://{place}"),
        Some(credentials) => match credentials.split_once(':') {
            None => format!("{scheme}://{credentials}@{place}"),
            Some((user, _password)) => format!("{scheme}://{user}:***@{place}"),
        },
    }
}

/// The connections of a store.
struct Pools {
    backend: Backend,
    writes: DatabaseConnection,
    reads: DatabaseConnection,
    /// SQLite's files stay open.
    hold: Option<FileHold>,
    /// SQLite's log is copied into the file beside the commits.
    checkpoints: Option<DatabaseConnection>,
    /// For joining and for giving the row back.
    joins: Option<DatabaseConnection>,
    /// For leases alone. No transaction is ever begun on it: a renewal inside one that was abandoned would not last.
    leases: Option<DatabaseConnection>,
}

/// Makes the first connection by itself: a pool hides why it can't connect behind its own time-out.
async fn first_connection<O: ConnectOptions>(
    options: &O,
    timeout: Duration,
    database: &str,
) -> Result<O::Connection, OpenError>
where
    O::Connection: Sized,
{
    let unreachable = |reason| OpenError::Unreachable { database: database.to_owned(), reason };
    match tokio::time::timeout(timeout, options.connect()).await {
        Err(_elapsed) => Err(unreachable(format!("no answer within {timeout:?}"))),
        Ok(Err(error)) => Err(unreachable(error.to_string())),
        Ok(Ok(connection)) => Ok(connection),
    }
}

fn address(database: &str, error: &sqlx::Error) -> OpenError {
    OpenError::Address { database: database.to_owned(), reason: error.to_string() }
}

fn unusable(database: &str, error: &sqlx::Error) -> OpenError {
    OpenError::Unusable { database: database.to_owned(), reason: error.to_string() }
}

async fn close(connection: impl Connection) {
    if let Err(error) = connection.close().await {
        tracing::debug!(%error, "closing a database connection failed");
    }
}

/// Whether a connection that comes back to its pool still answers. A statement that was abandoned half-way can leave
/// one that waits for ever, and a server that vanished one that waits for many minutes; either would be missing from
/// the pool. An error closes it.
async fn in_order(answer: impl Future<Output = Result<bool, sqlx::Error>>) -> Result<bool, sqlx::Error> {
    const PATIENCE: Duration = Duration::from_secs(2);
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(answer) => answer,
        Err(_elapsed) => Err(sqlx::Error::Protocol("the connection did not answer when it was given back".to_owned())),
    }
}

/// What the connections of a pool are for.
#[derive(Debug, Clone, Copy)]
enum Use {
    /// Single statements: a transaction that could not be ended says nothing of them.
    Read,
    /// Transactions.
    Write,
}

impl Use {
    /// Whether a connection of this age may be given out.
    fn permits(self, outlook: &Outlook, age: Duration) -> bool {
        match self {
            Self::Read => outlook.may_read(age),
            Self::Write => outlook.may_write(age),
        }
    }
}

/// Whether a pool may give a connection out: not one inside a transaction. What is begun there would be a savepoint, and
/// its "commit" would acknowledge what a transaction that nobody ends still holds.
fn is_outside_of_transactions(connection: &impl Connection) -> Result<bool, sqlx::Error> {
    Ok(!connection.is_in_transaction())
}

/// Whether a SQLite connection that comes back is outside of every transaction, by its own word and by the driver's. The
/// two differ after a COMMIT that failed: SQLite has rolled back by itself, and the driver still counts one transaction.
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

/// Whether a PostgreSQL session that comes back answers, and is outside of every transaction by the server's word: inside
/// of one the time stands still. The driver's own count knows nothing of a BEGIN whose answer was abandoned.
async fn is_settled_postgres(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let question = "SELECT transaction_timestamp() = statement_timestamp()";
    let outside = connection.fetch_one(question).await?.try_get::<bool, _>(0)?;
    Ok(outside && is_outside_of_transactions(connection)?)
}

async fn sqlite(options: &OpenOptions, database: &str, outlook: &Outlook) -> Result<Pools, OpenError> {
    if options.url.contains(":memory:") || options.url.contains("mode=memory") {
        let reason = "a database in memory keeps nothing; name a file".to_owned();
        return Err(OpenError::Address { database: database.to_owned(), reason });
    }
    let settings = SqliteConnectOptions::from_str(&options.url)
        .map_err(|error| address(database, &error))?
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        // Pages of the log before a commit has to copy it into the file, 64 MiB: it is copied beside the commits before,
        // and given back down to 16 MiB when it begins anew.
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
    let reads = pool(Use::Read)
        .max_connections(options.read_connections.max(1))
        .connect_lazy_with(settings.pragma("query_only", "ON"));
    Ok(Pools {
        backend: Backend::Sqlite,
        writes: writes.into(),
        reads: reads.into(),
        hold: Some(hold),
        checkpoints: Some(checkpoints.into()),
        joins: None,
        leases: None,
    })
}

async fn postgres(options: &OpenOptions, database: &str, outlook: &Outlook) -> Result<Pools, OpenError> {
    let settings = PgConnectOptions::from_str(&options.url)
        .map_err(|error| address(database, &error))?
        // No number with a fraction is ever read, and poolers refuse what they do not know at the beginning of a session.
        .extra_float_digits(None)
        // A statement for each number of rows in a batch: preparing one of them anew costs more than running it.
        .statement_cache_capacity(STATEMENTS_KEPT)
        .disable_statement_logging();
    let name = settings.get_application_name().unwrap_or("callboard").to_owned();
    let settings = settings.application_name(&name);
    let mut first = first_connection(&settings, options.connect_timeout, database).await?;
    // Whatever the server allows a statement by default.
    let told = format!("SET statement_timeout = {}", options.statement_timeout.as_millis());
    first.execute(sqlx::AssertSqlSafe(told)).await.map_err(|error| unusable(database, &error))?;
    check_postgres(&mut first, database).await?;
    close(first).await;
    let limit = options.statement_timeout.as_millis();
    let pool = |use_of: Use| {
        let outlook = outlook.clone();
        let pool = PgPoolOptions::new().acquire_timeout(options.connect_timeout).test_before_acquire(false);
        let on_refusal = options.on_refusal.clone();
        pool.after_connect(move |connection, _| {
            let on_refusal = on_refusal.clone();
            Box::pin(async move {
                // Statements differ in nothing but their values; planning each anew finds nothing new.
                let told = format!(
                    "SET statement_timeout = {limit}; SET plan_cache_mode = force_generic_plan; \
                     SET default_transaction_isolation = 'read committed'; SET default_transaction_deferrable = off; \
                     SET standard_conforming_strings = on"
                );
                let verdict = async {
                    connection.execute(sqlx::AssertSqlSafe(told)).await?;
                    refuse_postgres_standby(connection).await
                };
                on_refusal.tell(verdict.await)
            })
        })
        .before_acquire(move |connection, facts| {
            let is_current = use_of.permits(&outlook, facts.age);
            Box::pin(async move { Ok(is_current && is_outside_of_transactions(connection)?) })
        })
        .after_release(|connection, _| Box::pin(in_order(is_settled_postgres(connection))))
    };
    let writes = pool(Use::Write).max_connections(WRITE_CONNECTIONS).connect_lazy_with(settings.clone());
    let joins = pool(Use::Write).max_connections(JOIN_CONNECTIONS).connect_lazy_with(settings.clone());
    let leases = pool(Use::Read).max_connections(LEASE_CONNECTIONS).connect_lazy_with(settings.clone());
    let reads = pool(Use::Read).max_connections(options.read_connections.max(1)).connect_lazy_with(settings);
    Ok(Pools {
        backend: Backend::Postgres,
        writes: writes.into(),
        reads: reads.into(),
        hold: None,
        checkpoints: None,
        joins: Some(joins.into()),
        leases: Some(leases.into()),
    })
}

/// Also after each reconnect: behind the same address another server may answer than before.
async fn refuse_postgres_standby(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let question = "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on'";
    let standby = connection.fetch_one(question).await?.try_get::<bool, _>(0)?;
    if standby { Err(sqlx::Error::Protocol("the server is a standby, or read-only".to_owned())) } else { Ok(()) }
}

async fn check_postgres(connection: &mut PgConnection, database: &str) -> Result<(), OpenError> {
    let question = "SELECT pg_is_in_recovery(), current_setting('transaction_read_only'), \
                    current_setting('synchronous_commit'), current_setting('fsync'), \
                    current_setting('full_page_writes'), current_setting('server_encoding')";
    let row = connection.fetch_one(question).await.map_err(|error| unusable(database, &error))?;
    let text = |index: usize| row.try_get::<String, _>(index).map_err(|error| unusable(database, &error));
    if row.try_get::<bool, _>(0).map_err(|error| unusable(database, &error))? {
        return Err(OpenError::ReadOnly { database: database.to_owned(), reason: "it is a standby".to_owned() });
    }
    if text(1)? == "on" {
        let reason = "transactions are read-only".to_owned();
        return Err(OpenError::ReadOnly { database: database.to_owned(), reason });
    }
    if text(5)? != "UTF8" {
        let reason = format!("its encoding is {}; make one with ENCODING 'UTF8'", text(5)?);
        return Err(OpenError::Unusable { database: database.to_owned(), reason });
    }
    for (index, name) in [(2, "synchronous_commit"), (3, "fsync"), (4, "full_page_writes")] {
        if text(index)? == "off" {
            warn_of_weak_durability(database, name, "off", "on");
        }
    }
    // Who is not told what a standby does is still told that it is there.
    let question = "SELECT current_setting('synchronous_standby_names'), (SELECT count(*) FROM pg_stat_replication)";
    let row = connection.fetch_one(question).await.map_err(|error| unusable(database, &error))?;
    let number = |index: usize| row.try_get::<i64, _>(index).map_err(|error| unusable(database, &error));
    let synchronous = row.try_get::<String, _>(0).map_err(|error| unusable(database, &error))?;
    if number(1)? > 0 {
        if synchronous.trim().is_empty() {
            warn_of_lagging_standby(database, "synchronous_standby_names is empty");
        } else if matches!(&*text(2)?, "local" | "remote_write") {
            warn_of_lagging_standby(database, &format!("synchronous_commit is {}", text(2)?));
        }
    }
    Ok(())
}

async fn mysql(options: &OpenOptions, database: &str, outlook: &Outlook) -> Result<Pools, OpenError> {
    let settings = MySqlConnectOptions::from_str(&options.url)
        .map_err(|error| address(database, &error))?
        .statement_cache_capacity(STATEMENTS_KEPT)
        .disable_statement_logging();
    let mut first = first_connection(&settings, options.connect_timeout, database).await?;
    let is_mariadb = check_mysql(&mut first, database).await?;
    close(first).await;
    let millis = options.statement_timeout.as_millis();
    let seconds = millis.div_ceil(1_000).max(1);
    // Servers can have other settings than those that our statements are written for. The mode comes first: how the rest
    // is read depends on it. A migration tells its session the same.
    let mut told = format!(
        "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'; \
         SET SESSION autocommit = 1; SET SESSION completion_type = 0; \
         SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE; \
         SET SESSION sql_auto_is_null = 0; SET SESSION sql_safe_updates = 0; SET SESSION sql_big_selects = 1; \
         SET SESSION sql_select_limit = 18446744073709551615; \
         SET SESSION innodb_lock_wait_timeout = {seconds}"
    );
    let mut told_writers = String::new();
    if is_mariadb {
        told.push_str(&format!("; SET SESSION max_statement_time = {seconds}"));
        told_writers.push_str(&format!("; SET SESSION idle_transaction_timeout = {seconds}"));
    } else {
        told.push_str(&format!("; SET SESSION max_execution_time = {millis}"));
        // MySQL can't end an idle transaction, only an idle session; the writer replaces one that was ended.
        told_writers.push_str(&format!("; SET SESSION wait_timeout = {}", seconds + 1));
    }
    let pool = |use_of: Use, told: String| {
        let outlook = outlook.clone();
        let pool = MySqlPoolOptions::new().acquire_timeout(options.connect_timeout).test_before_acquire(false);
        let on_refusal = options.on_refusal.clone();
        pool.after_connect(move |connection, _| {
            let (told, on_refusal) = (told.clone(), on_refusal.clone());
            Box::pin(async move {
                let verdict = async {
                    connection.execute(sqlx::AssertSqlSafe(told)).await?;
                    refuse_read_only_mysql(connection).await
                };
                on_refusal.tell(verdict.await)
            })
        })
        // Not a ping: a begin that was abandoned may have left a transaction that the driver knows nothing of.
        .before_acquire(move |connection, facts| {
            let is_current = use_of.permits(&outlook, facts.age);
            Box::pin(async move { Ok(is_current && is_outside_of_transactions(connection)?) })
        })
        .after_release(|connection, _| {
            Box::pin(in_order(async {
                connection.execute("ROLLBACK").await?;
                is_outside_of_transactions(connection)
            }))
        })
    };
    let writes = pool(Use::Write, format!("{told}{told_writers}"))
        .max_connections(WRITE_CONNECTIONS)
        .connect_lazy_with(settings.clone());
    let joins = pool(Use::Write, format!("{told}{told_writers}"))
        .max_connections(JOIN_CONNECTIONS)
        .connect_lazy_with(settings.clone());
    let leases = pool(Use::Read, format!("{told}{told_writers}"))
        .max_connections(LEASE_CONNECTIONS)
        .connect_lazy_with(settings.clone());
    let reads = pool(Use::Read, told).max_connections(options.read_connections.max(1)).connect_lazy_with(settings);
    Ok(Pools {
        backend: Backend::MySql,
        writes: writes.into(),
        reads: reads.into(),
        hold: None,
        checkpoints: None,
        joins: Some(joins.into()),
        leases: Some(leases.into()),
    })
}

/// Also after each reconnect: behind the same address another server may answer than before.
async fn refuse_read_only_mysql(connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
    let row = connection.fetch_one("SELECT CAST(@@global.read_only AS CHAR)").await?;
    let read_only = row.try_get::<String, _>(0)?;
    if is_off(&read_only) { Ok(()) } else { Err(sqlx::Error::Protocol("the server is read-only".to_owned())) }
}

fn is_off(setting: &str) -> bool {
    setting == "0" || setting.eq_ignore_ascii_case("off")
}

/// Returns whether the server is MariaDB.
async fn check_mysql(connection: &mut MySqlConnection, database: &str) -> Result<bool, OpenError> {
    let question = "SELECT CAST(VERSION() AS CHAR), CAST(@@global.read_only AS CHAR), \
                    CAST(@@global.max_allowed_packet AS CHAR), \
                    CAST(@@global.innodb_flush_log_at_trx_commit AS CHAR), \
                    CAST(@@global.log_bin AS CHAR), CAST(@@global.sync_binlog AS CHAR)";
    let row = connection.fetch_one(question).await.map_err(|error| unusable(database, &error))?;
    let text = |index: usize| row.try_get::<String, _>(index).map_err(|error| unusable(database, &error));
    if !is_off(&text(1)?) {
        return Err(OpenError::ReadOnly { database: database.to_owned(), reason: "read_only is set".to_owned() });
    }
    let found = text(2)?.parse().unwrap_or_default();
    if found < LEAST_PACKET {
        return Err(OpenError::PacketTooSmall { database: database.to_owned(), found, needed: LEAST_PACKET });
    }
    if text(3)? != "1" {
        warn_of_weak_durability(database, "innodb_flush_log_at_trx_commit", &text(3)?, "1");
    }
    if !is_off(&text(4)?) && text(5)? != "1" {
        warn_of_weak_durability(database, "sync_binlog", &text(5)?, "1");
    }
    let question = "SHOW GLOBAL STATUS WHERE Variable_name IN \
                    ('Slaves_connected', 'Rpl_semi_sync_master_status', 'wsrep_cluster_size')";
    let mut status = HashMap::new();
    for row in connection.fetch_all(question).await.map_err(|error| unusable(database, &error))? {
        let [name, value] = [0, 1].map(|index| row.try_get::<String, _>(index).unwrap_or_default());
        status.insert(name.to_lowercase(), value);
    }
    if let Some(size) = status.get("wsrep_cluster_size").filter(|size| !matches!(&***size, "0" | "1")) {
        tracing::warn!(
            store.database = database,
            "the database is one of {size} members of a Galera cluster: every node has to reach the same member, or reads may \
             be stale; see docs/operations.md"
        );
    }
    let has_replicas = status.get("slaves_connected").is_some_and(|count| count != "0");
    if has_replicas && status.get("rpl_semi_sync_master_status").is_none_or(|is_on| is_off(is_on)) {
        warn_of_lagging_standby(database, "rpl_semi_sync_master_enabled is off");
    }
    Ok(text(0)?.contains("MariaDB"))
}

/// Commits are acknowledged before the standbys have them.
fn warn_of_lagging_standby(database: &str, what: &str) {
    tracing::warn!(
        store.database = database,
        "the database has standbys and {what}: when one of them is promoted, acknowledged publishes may be lost; see \
         docs/operations.md"
    );
}

fn warn_of_weak_durability(database: &str, setting: &str, value: &str, wanted: &str) {
    tracing::warn!(
        store.database = database,
        "{setting} is {value}: the database may lose acknowledged publishes in a crash; set it to {wanted}"
    );
}

async fn check_schema(reads: &DatabaseConnection, backend: Backend, database: &str) -> Result<(), OpenError> {
    let not_migrated = || OpenError::NotMigrated { database: database.to_owned(), needed: SCHEMA };
    let question = format!("SELECT version FROM {MIGRATION_TABLE} ORDER BY version");
    let rows = match reads.query_all_raw(Statement::from_string(backend.sea(), question)).await {
        Ok(rows) => rows,
        Err(error) if is_missing_table(&error, backend) => return Err(not_migrated()),
        Err(error @ DbErr::Query(_)) => {
            let reason = format!("its table of migrations can't be read: {error}");
            return Err(OpenError::Unusable { database: database.to_owned(), reason });
        }
        Err(error) => {
            return Err(OpenError::Unreachable { database: database.to_owned(), reason: error.to_string() });
        }
    };
    let applied = rows.iter().map(|row| row.try_get_by_index::<String>(0)).collect::<Result<Vec<_>, _>>();
    let applied =
        applied.map_err(|error| OpenError::Unusable { database: database.to_owned(), reason: error.to_string() })?;
    if !applied.iter().any(|name| name == SCHEMA) {
        return Err(not_migrated());
    }
    match applied.into_iter().next_back().filter(|name| name.as_str() > SCHEMA) {
        Some(found) => Err(OpenError::TooNew { database: database.to_owned(), found }),
        None => Ok(()),
    }
}
