//! The schema of Callboard's database, and the steps that bring a database to it.
//!
//! [`run`] applies what is missing and [`pending`] tells what that is. Several processes may call [`run`] on one
//! database at the same time: they take turns. Owns every `CREATE` and `ALTER` statement; reads and writes no
//! configuration.

use std::time::Duration;

use sea_orm_migration::sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, Statement, Value};
use sea_orm_migration::{MigratorTrait, sea_orm};

mod access;
mod connection;
mod database_member;
mod first_schema;
mod migrator;
mod room_for_updates;
mod sealed;

pub use connection::masked;
pub use migrator::{MIGRATION_TABLE, Migrator};

/// The log targets of libraries that comment on every step: of a migration, and whatever PostgreSQL says beside an
/// answer.
pub const COMMENTARY: [&str; 2] = ["sea_orm_migration", "sqlx::postgres::notice"];

/// Why the schema could not be read or brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// The address can't be understood. Nothing was touched.
    #[error("database address {database} can't be used: {reason}")]
    Address {
        /// The address, password masked.
        database: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No connection came about. Nothing was touched.
    #[error("database {database} can't be reached: {reason}; check the address, that it runs, and the credentials")]
    Unreachable {
        /// The address, password masked.
        database: String,
        /// What the driver said.
        reason: String,
    },
    /// Another process held the right to migrate for too long. Nothing was touched.
    #[error("database {database} is being migrated by another process; wait for it to end and try again")]
    Busy {
        /// The address, password masked.
        database: String,
    },
    /// Every statement succeeded, and the database has no record of it.
    #[error(
        "database {database} did not keep the record of its migration in {MIGRATION_TABLE}: look for a setting, a rule or a \
         trigger there that undoes what is committed"
    )]
    NotKept {
        /// The address, password masked.
        database: String,
    },
    /// The server is a standby or takes no writes. Nothing was touched.
    #[error(
        "database {database} takes no writes ({reason}); name one that does: the primary, or one whose transactions are not \
         read-only by default"
    )]
    ReadOnly {
        /// The address, password masked.
        database: String,
        /// What the database said.
        reason: String,
    },
    /// Something else answers in the words of a database that is known. Nothing was touched.
    #[error("database {database} is {engine}, which is not known; use PostgreSQL, MySQL or MariaDB")]
    Engine {
        /// The address, password masked.
        database: String,
        /// What answers.
        engine: &'static str,
    },
    /// A pooler stands before the server and gives sessions to several connections in turn. Nothing was touched.
    #[error(
        "database {database} is reached through a pooler that gives each transaction another session; give this \
         database `pool_mode = session` there (PgBouncer), or name the server itself"
    )]
    SharedSessions {
        /// The address, password masked.
        database: String,
    },
    /// A statement was refused. Steps that were finished before stay; running again continues.
    #[error(
        "database {database} could not be migrated: {reason}; the user needs the right to create and alter tables, \
         and a database of a newer version needs the newer program"
    )]
    Refused {
        /// The address, password masked.
        database: String,
        /// What the database said.
        reason: String,
    },
}

/// How long a process waits for its turn, in seconds.
const TURN_SECONDS: u64 = 60;
/// The number under which PostgreSQL keeps the turn.
const TURN_NUMBER: i64 = 0x6361_6c6c_626f_6172;
/// The name under which MySQL and MariaDB keep the turn, for each database its own.
const TURN_NAME: &str = "CONCAT('callboard:', LEFT(DATABASE(), 50))";

/// Applies every migration that is missing and returns how many there were.
///
/// A SQLite file is made when it does not exist. On SQLite the caller sees to it that no other process migrates the
/// same file.
///
/// # Errors
/// [`MigrationError`] names the database and what to do.
pub async fn run(url: &str, connect_timeout: Duration) -> Result<usize, MigrationError> {
    if !connection::keeps_sessions(url, connect_timeout).await? {
        return Err(MigrationError::SharedSessions { database: masked(url) });
    }
    let session = connection::open(url, connect_timeout, true).await?;
    let applied = migrate(&session, url).await;
    connection::close(session, url).await;
    let applied = applied?;
    // By another session: the first one sees its own work whether or not the database keeps it.
    if applied > 0 && !pending(url, connect_timeout).await?.is_empty() {
        return Err(MigrationError::NotKept { database: masked(url) });
    }
    Ok(applied)
}

/// The names of the migrations that [`run`] would apply, in order. Changes nothing.
///
/// # Errors
/// [`MigrationError`] names the database and what to do.
pub async fn pending(url: &str, connect_timeout: Duration) -> Result<Vec<String>, MigrationError> {
    let session = connection::open(url, connect_timeout, false).await?;
    let names = Migrator::get_pending_migrations_read_only(&session)
        .await
        .map(|migrations| migrations.iter().map(|migration| migration.name().to_owned()).collect())
        .map_err(|error| refused(url, &error));
    connection::close(session, url).await;
    names
}

/// The name of the last migration: a database that has it is up to date.
#[must_use]
pub fn newest() -> Option<String> {
    Migrator::migrations().last().map(|migration| migration.name().to_owned())
}

async fn migrate(session: &DatabaseConnection, url: &str) -> Result<usize, MigrationError> {
    if let Some(engine) = connection::unknown_engine(session).await.map_err(|error| refused(url, &error))? {
        return Err(MigrationError::Engine { database: masked(url), engine });
    }
    // A server of several may be a standby that this user could change all the same.
    if let Some(reason) = connection::takes_no_writes(session).await.map_err(|error| refused(url, &error))? {
        return Err(MigrationError::ReadOnly { database: masked(url), reason: reason.to_owned() });
    }
    take_turn(session, url).await?;
    let applied = apply(session).await.map_err(|error| refused(url, &error));
    // The turn also ends with the session, which is closed after this.
    if let Err(error) = end_turn(session).await {
        tracing::debug!(%error, "the migration lock was not given back");
    }
    applied
}

async fn apply(session: &DatabaseConnection) -> Result<usize, DbErr> {
    let missing = Migrator::get_pending_migrations(session).await?.len();
    if missing > 0 {
        Migrator::up(session, None).await?;
    }
    Ok(missing)
}

/// Waits until this session alone may migrate. The pool has one connection, so the session keeps what it takes.
async fn take_turn(session: &DatabaseConnection, url: &str) -> Result<(), MigrationError> {
    let backend = session.get_database_backend();
    let busy = || MigrationError::Busy { database: masked(url) };
    match backend {
        sea_orm::DbBackend::Postgres => {
            let limit = format!("SET lock_timeout = {}", TURN_SECONDS * 1_000);
            session.execute_unprepared(&limit).await.map_err(|error| refused(url, &error))?;
            let turn =
                Statement::from_sql_and_values(backend, "SELECT pg_advisory_lock($1)", [Value::from(TURN_NUMBER)]);
            match session.execute_raw(turn).await {
                Ok(_) => Ok(()),
                Err(error) if connection::sql_state(&error).as_deref() == Some("55P03") => Err(busy()),
                Err(error) => Err(refused(url, &error)),
            }
        }
        sea_orm::DbBackend::MySql => {
            let turn = Statement::from_string(backend, format!("SELECT GET_LOCK({TURN_NAME}, {TURN_SECONDS}) = 1"));
            let row = session.query_one_raw(turn).await.map_err(|error| refused(url, &error))?;
            let taken = row.and_then(|row| row.try_get_by_index::<Option<i64>>(0).ok().flatten());
            if taken == Some(1) { Ok(()) } else { Err(busy()) }
        }
        // SQLite, and whatever the library may add: one writer at a time by itself.
        _ => Ok(()),
    }
}

async fn end_turn(session: &DatabaseConnection) -> Result<(), DbErr> {
    let sql = match session.get_database_backend() {
        sea_orm::DbBackend::Postgres => format!("SELECT pg_advisory_unlock({TURN_NUMBER})"),
        sea_orm::DbBackend::MySql => format!("DO RELEASE_LOCK({TURN_NAME})"),
        _ => return Ok(()),
    };
    session.execute_unprepared(&sql).await.map(|_| ())
}

fn refused(url: &str, error: &DbErr) -> MigrationError {
    if connection::is_read_only(error) {
        return MigrationError::ReadOnly { database: masked(url), reason: error.to_string() };
    }
    MigrationError::Refused { database: masked(url), reason: error.to_string() }
}

#[cfg(test)]
mod tests;
