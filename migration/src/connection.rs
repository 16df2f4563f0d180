//! One session with the database, for the time of a migration. Owns how it is opened and how its address is shown;
//! knows nothing of tables.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::str::FromStr;
use std::time::Duration;

use sea_orm_migration::sea_orm::sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sea_orm_migration::sea_orm::sqlx::pool::PoolOptions;
use sea_orm_migration::sea_orm::sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sea_orm_migration::sea_orm::sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sea_orm_migration::sea_orm::sqlx::{self, AssertSqlSafe, ConnectOptions, Database, Executor as _, Row as _};
use sea_orm_migration::sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, DbErr, RuntimeErr, Statement};

use crate::MigrationError;

/// What a session of PostgreSQL is told: servers, databases and users can have other settings than those that the
/// statements of a migration are written for. The store tells its sessions the same.
const POSTGRES_SESSION: &str = "SET default_transaction_isolation = 'read committed'; \
    SET default_transaction_deferrable = off; SET standard_conforming_strings = on; SET statement_timeout = 0; \
    SET idle_in_transaction_session_timeout = 0";
/// What a session of MySQL or MariaDB is told, for the same reason. The mode comes first: how the rest is read depends
/// on it. `/*M!` is for MariaDB alone.
const MYSQL_SESSION: &str = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'; \
    SET SESSION autocommit = 1; SET SESSION completion_type = 0; \
    SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE; \
    SET SESSION sql_auto_is_null = 0; SET SESSION sql_safe_updates = 0; SET SESSION sql_big_selects = 1; \
    SET SESSION sql_select_limit = 18446744073709551615 /*M!100100 , SESSION max_statement_time = 0 */";

/// The address of a database as it may be shown: without its password and without its parameters.
#[must_use]
pub fn masked(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.split('?').next().unwrap_or_default().to_owned();
    };
    // A password may hold any of `:/?@` unescaped: everything up to the last '@' is taken for credentials.
    let (credentials, place) = match rest.rsplit_once('@') {
        Some((credentials, place)) => (Some(credentials), place),
        None => (None, rest),
    };
    let place = place.split('?').next().unwrap_or_default();
    match credentials.map(|credentials| credentials.split_once(':')) {
        None => format!("{scheme}://{place}"),
        Some(None) => format!("{scheme}://{}@{place}", credentials.unwrap_or_default()),
        Some(Some((user, _password))) => format!("{scheme}://{user}:***@{place}"),
    }
}

/// Opens a pool of exactly one connection, so that every statement runs in one session.
pub(crate) async fn open(
    url: &str,
    timeout: Duration,
    create_file: bool,
) -> Result<DatabaseConnection, MigrationError> {
    let address = |error: sqlx::Error| MigrationError::Address { database: masked(url), reason: error.to_string() };
    let scheme = url.split(':').next().unwrap_or_default();
    match scheme {
        "sqlite" => {
            let options = SqliteConnectOptions::from_str(url).map_err(address)?;
            let options = options
                .create_if_missing(create_file)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .busy_timeout(timeout)
                .disable_statement_logging();
            connect(SqlitePoolOptions::new(), options, url, timeout).await.map(DatabaseConnection::from)
        }
        "postgres" | "postgresql" => {
            let options = postgres(url).map_err(address)?;
            let pool = PgPoolOptions::new()
                .after_connect(|session, _| Box::pin(async { session.execute(POSTGRES_SESSION).await.map(|_| ()) }));
            connect(pool, options, url, timeout).await.map(DatabaseConnection::from)
        }
        "mysql" | "mariadb" => {
            let options = MySqlConnectOptions::from_str(url).map_err(address)?.disable_statement_logging();
            let pool = MySqlPoolOptions::new()
                .after_connect(|session, _| Box::pin(async { session.execute(MYSQL_SESSION).await.map(|_| ()) }));
            connect(pool, options, url, timeout).await.map(DatabaseConnection::from)
        }
        _ => Err(MigrationError::Address {
            database: masked(url),
            reason: "it has to begin with sqlite:, postgres:// or mysql://".to_owned(),
        }),
    }
}

fn postgres(url: &str) -> Result<PgConnectOptions, sqlx::Error> {
    // Poolers refuse what they do not know at the beginning of a session.
    Ok(PgConnectOptions::from_str(url)?.extra_float_digits(None).disable_statement_logging())
}

/// Whether two connections have a session each, and keep it. A pooler that gives each transaction, or each statement,
/// another one takes locks, settings and prepared statements away from who made them.
pub(crate) async fn keeps_sessions(url: &str, timeout: Duration) -> Result<bool, MigrationError> {
    const LOOKS: usize = 3;
    if !matches!(url.split(':').next(), Some("postgres" | "postgresql")) {
        return Ok(true);
    }
    let unreachable = |reason: String| MigrationError::Unreachable { database: masked(url), reason };
    let look = async {
        let options = postgres(url)?;
        let (mut one, mut other) = (options.connect().await?, options.connect().await?);
        let marks = format!("{:016x}", RandomState::new().build_hasher().finish());
        one.execute(AssertSqlSafe(format!("SET callboard.session = '{marks}'"))).await?;
        let mut are_kept = true;
        for _ in 0..LOOKS {
            are_kept &= mark_of(&mut other).await?.as_deref() != Some(&*marks);
            are_kept &= mark_of(&mut one).await?.as_deref() == Some(&*marks);
        }
        for session in [one, other] {
            sqlx::Connection::close(session).await?;
        }
        Ok::<_, sqlx::Error>(are_kept)
    };
    match tokio::time::timeout(timeout * 2, look).await {
        Err(_elapsed) => Err(unreachable(format!("two connections got no answer within {:?}", timeout * 2))),
        Ok(Err(error)) => Err(unreachable(error.to_string())),
        Ok(Ok(are_kept)) => Ok(are_kept),
    }
}

async fn mark_of(session: &mut PgConnection) -> Result<Option<String>, sqlx::Error> {
    // Not prepared: whoever shares sessions may not know the statement when it comes to be run.
    session.fetch_one("SELECT current_setting('callboard.session', true)").await?.try_get(0)
}

async fn connect<DB: Database>(
    pool: PoolOptions<DB>,
    options: <DB::Connection as sqlx::Connection>::Options,
    url: &str,
    timeout: Duration,
) -> Result<sqlx::Pool<DB>, MigrationError> {
    let unreachable = |reason: String| MigrationError::Unreachable { database: masked(url), reason };
    // The pool would hide why it can't connect behind its own time-out.
    match tokio::time::timeout(timeout, options.connect()).await {
        Err(_elapsed) => return Err(unreachable(format!("no answer within {timeout:?}"))),
        Ok(Err(error)) => return Err(unreachable(error.to_string())),
        Ok(Ok(connection)) => {
            if let Err(error) = sqlx::Connection::close(connection).await {
                tracing::debug!(%error, "closing a database connection failed");
            }
        }
    }
    let pool = pool.max_connections(1).idle_timeout(None).max_lifetime(None).acquire_timeout(timeout);
    Ok(pool.test_before_acquire(false).connect_lazy_with(options))
}

/// Why this server takes no writes, or not those of ordinary users; none when it does.
pub(crate) async fn takes_no_writes(session: &DatabaseConnection) -> Result<Option<&'static str>, DbErr> {
    let backend = session.get_database_backend();
    let (question, reason) = match backend {
        DbBackend::Postgres => (
            "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on'",
            "it is a standby, or transactions are read-only",
        ),
        DbBackend::MySql => ("SELECT CAST(@@global.read_only AS CHAR) NOT IN ('0', 'OFF')", "read_only is set"),
        // SQLite, and whatever the library may add: the first statement tells.
        _ => return Ok(None),
    };
    let row = session.query_one_raw(Statement::from_string(backend, question)).await?;
    let Some(row) = row else { return Ok(None) };
    let refuses = match backend {
        DbBackend::Postgres => row.try_get_by_index::<bool>(0)?,
        _ => row.try_get_by_index::<i64>(0)? != 0,
    };
    Ok(refuses.then_some(reason))
}

/// What stands behind the protocol of a database that is known, when it is another one: how it locks and what it keeps
/// was never tried.
pub(crate) async fn unknown_engine(session: &DatabaseConnection) -> Result<Option<&'static str>, DbErr> {
    let backend = session.get_database_backend();
    let question = match backend {
        DbBackend::Postgres => "SELECT version()",
        DbBackend::MySql => "SELECT CAST(CONCAT(VERSION(), ' ', @@version_comment) AS CHAR)",
        _ => return Ok(None),
    };
    let row = session.query_one_raw(Statement::from_string(backend, question)).await?;
    let words = row.map(|row| row.try_get_by_index::<String>(0)).transpose()?.unwrap_or_default();
    Ok(unknown_engine_of(&words))
}

/// The engine that a version's text names, if it is not PostgreSQL, MySQL, MariaDB or one that is built from them.
pub(crate) fn unknown_engine_of(version: &str) -> Option<&'static str> {
    const UNKNOWN: [(&str, &str); 11] = [
        ("cockroachdb", "CockroachDB"),
        ("-yb-", "YugabyteDB"),
        ("redshift", "Redshift"),
        ("greenplum", "Greenplum"),
        ("materialize", "Materialize"),
        ("risingwave", "RisingWave"),
        ("tidb", "TiDB"),
        ("dolt", "Dolt"),
        ("vitess", "Vitess"),
        ("oceanbase", "OceanBase"),
        ("singlestore", "SingleStore"),
    ];
    let version = version.to_lowercase();
    UNKNOWN.into_iter().find_map(|(mark, name)| version.contains(mark).then_some(name))
}

/// Ends the session; with it end the locks that it holds.
pub(crate) async fn close(session: DatabaseConnection, url: &str) {
    if let Err(error) = session.close().await {
        tracing::debug!(%error, database = masked(url), "closing a database connection failed");
    }
}

/// The code that the database gave with an error, if it gave one.
pub(crate) fn sql_state(error: &DbErr) -> Option<String> {
    driver_error(error)?.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned())
}

/// True when a statement was refused because the server, or the session's transactions, take no writes.
pub(crate) fn is_read_only(error: &DbErr) -> bool {
    // PostgreSQL: read_only_sql_transaction. MySQL and MariaDB: --read-only, read-only transaction, read-only mode.
    let number = driver_error(error)
        .and_then(|error| error.as_database_error())
        .and_then(|error| error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>())
        .map(sqlx::mysql::MySqlDatabaseError::number);
    sql_state(error).as_deref() == Some("25006") || matches!(number, Some(1_290 | 1_792 | 1_836))
}

fn driver_error(error: &DbErr) -> Option<&sqlx::Error> {
    let (DbErr::Conn(inner) | DbErr::Exec(inner) | DbErr::Query(inner)) = error else { return None };
    match inner {
        RuntimeErr::SqlxError(error) => Some(error),
        RuntimeErr::Internal(_) => None,
    }
}
