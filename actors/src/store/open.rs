//! Opening a database: its pools, what each session is told, and the checks that refuse a database which could not keep
//! its promises; what is common to all stands here, the rest in a module for each kind. Owns every setting that
//! durability rests on; reads and writes no configuration.

use std::time::Duration;

use sea_orm::sea_query::{Order, Query};
use sea_orm::sqlx::{self, ConnectOptions, Connection};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, FromQueryResult};

use super::dialect::Backend;
use super::error::{OpenError, is_missing_table};
use super::file_hold::FileHold;
use super::outlook::Outlook;
use super::rows;
use super::schema::{Column, Table};
use super::searches::Searches;
use super::transaction::Timeouts;
use super::writer::Apart;
use super::{OpenOptions, ReadPool, Writer};

mod mysql;
mod postgres;
mod sqlite;

/// The newest migration that this program needs.
pub(super) const SCHEMA: &str = "m0005_sealed";
/// Connections for writes: commits take turns anyway, the others are for membership.
const WRITE_CONNECTIONS: u32 = 4;
/// Connections for joining and leaving, which take turns.
const JOIN_CONNECTIONS: u32 = 1;
/// Connections for leases: a renewal does not wait for a fence that waits for a lock.
const LEASE_CONNECTIONS: u32 = 2;
/// Prepared statements that a connection keeps.
const STATEMENTS_KEPT: usize = 1_000;

/// Opens the database, checks it, and returns the door for writes and the door for reads.
///
/// # Errors
/// [`OpenError`] names the database, with its password masked, and what to do.
pub async fn open(options: OpenOptions) -> Result<(Writer, ReadPool), OpenError> {
    let database = masked(&options.url);
    let outlook = Outlook::default();
    let Pools { backend, writes, reads, searches, hold, checkpoints, joins, leases, names } =
        match options.url.split(':').next().unwrap_or_default() {
            "sqlite" => sqlite::open(&options, &database, &outlook).await?,
            "postgres" | "postgresql" => postgres::open(&options, &database, &outlook).await?,
            "mysql" | "mariadb" => mysql::open(&options, &database, &outlook).await?,
            _ => {
                let reason = "it has to begin with sqlite:, postgres:// or mysql://".to_owned();
                return Err(OpenError::Address { database, reason });
            }
        };
    if let Err(error) = check_schema(&reads, backend, &database).await {
        // The other pools have opened nothing yet. The order matters: see `FileHold`.
        drop(reads.close_by_ref().await);
        if let Some(hold) = hold {
            hold.release().await;
        }
        return Err(error);
    }
    tracing::debug!(store.database = database, store.backend = backend.as_str(), "database opened");
    let timeouts = Timeouts { connect: options.connect_timeout, statement: options.statement_timeout };
    let patience = timeouts.connect + timeouts.statement;
    let searches = Searches::new(searches, options.search_connections.max(1), backend);
    let of_all = (outlook, options.seals);
    let reader = ReadPool::new((reads, backend), options.read_connections.max(1), patience, of_all, searches);
    Ok((
        Writer::new(writes, Apart { hold, checkpoints, joins, leases }, reader.clone(), WRITE_CONNECTIONS, timeouts)
            .named_by(names),
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
    searches: DatabaseConnection,
    /// SQLite's files stay open.
    hold: Option<FileHold>,
    /// SQLite's log is copied into the file beside the commits.
    checkpoints: Option<DatabaseConnection>,
    /// For joining and for giving the row back.
    joins: Option<DatabaseConnection>,
    /// For leases alone. No transaction is ever begun on it: a renewal inside one that was abandoned would not last.
    leases: Option<DatabaseConnection>,
    names: Names,
}

/// SQL for what a database says of itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names {
    /// The member that runs it, where several take writes.
    pub(super) member: Option<&'static str>,
    /// See [`DatabaseIdentity::system`](callboard_protocol::extent::DatabaseIdentity::system).
    pub(super) system: &'static str,
    /// See [`DatabaseIdentity::branch`](callboard_protocol::extent::DatabaseIdentity::branch).
    pub(super) branch: &'static str,
}

impl Names {
    /// Of a database that says nothing.
    pub(super) const NONE: Self = Self { member: None, system: "''", branch: "''" };
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

/// Whether a pool may give a connection out: not one inside a transaction. What is begun there would be a savepoint,
/// and its "commit" would acknowledge what a transaction that nobody ends still holds.
fn is_outside_of_transactions(connection: &impl Connection) -> Result<bool, sqlx::Error> {
    Ok(!connection.is_in_transaction())
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

/// A migration that was applied.
#[derive(Debug, FromQueryResult)]
struct MigrationRow {
    version: String,
}

async fn check_schema(reads: &DatabaseConnection, backend: Backend, database: &str) -> Result<(), OpenError> {
    let not_migrated = || OpenError::NotMigrated { database: database.to_owned(), needed: SCHEMA };
    let mut select = Query::select();
    select.column(Column::Version).from(Table::Migration).order_by(Column::Version, Order::Asc);
    let found = match reads.query_all(&select).await {
        Ok(found) => found,
        Err(error) if is_missing_table(&error, backend) => return Err(not_migrated()),
        Err(error @ DbErr::Query(_)) => {
            let reason = format!("its table of migrations can't be read: {error}");
            return Err(OpenError::Unusable { database: database.to_owned(), reason });
        }
        Err(error) => {
            return Err(OpenError::Unreachable { database: database.to_owned(), reason: error.to_string() });
        }
    };
    let applied = rows::read_all::<MigrationRow>(&found)
        .map_err(|fault| OpenError::Unusable { database: database.to_owned(), reason: fault.reason() })?;
    if !applied.iter().any(|row| row.version == SCHEMA) {
        return Err(not_migrated());
    }
    match applied.into_iter().next_back().map(|row| row.version).filter(|name| name.as_str() > SCHEMA) {
        Some(found) => Err(OpenError::TooNew { database: database.to_owned(), found }),
        None => Ok(()),
    }
}
