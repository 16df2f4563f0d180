//! How operations on the database fail, in the words that callers need: what is certain, what is not, and whether to
//! try again. Owns the reading of the drivers' errors; nothing here carries a content or a password.

use sea_orm::{DbErr, RuntimeErr, sqlx};

use super::Backend;

/// Why the database can't be used from the start. Nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The address can't be understood.
    #[error("database address {database} can't be used: {reason}")]
    Address {
        /// The address, password masked.
        database: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No connection came about.
    #[error("database {database} can't be reached: {reason}; check the address, that it runs, and the credentials")]
    Unreachable {
        /// The address, password masked.
        database: String,
        /// What the driver said.
        reason: String,
    },
    /// The server is a standby or takes no writes.
    #[error(
        "database {database} takes no writes ({reason}); name one that does: the primary, or a file that may be written"
    )]
    ReadOnly {
        /// The address, password masked.
        database: String,
        /// How that shows.
        reason: String,
    },
    /// Migrations are missing.
    #[error("database {database} lacks the schema (last migration needed: {needed}); run `callboard migrate` on it")]
    NotMigrated {
        /// The address, password masked.
        database: String,
        /// The newest migration this program knows.
        needed: &'static str,
    },
    /// The database was migrated by a newer program.
    #[error("database {database} was migrated to {found} by a newer version of Callboard; start that version")]
    TooNew {
        /// The address, password masked.
        database: String,
        /// The migration that this program does not know.
        found: String,
    },
    /// The server would refuse large contents.
    #[error(
        "database {database} has max_allowed_packet = {found} bytes; set it to {needed} or more and restart the server"
    )]
    PacketTooSmall {
        /// The address, password masked.
        database: String,
        /// What it is, in bytes.
        found: u64,
        /// The least that will do, in bytes.
        needed: u64,
    },
    /// It answered, but not as expected.
    #[error("database {database} can't be used: {reason}")]
    Unusable {
        /// The address, password masked.
        database: String,
        /// What was wrong.
        reason: String,
    },
}

/// Why a transaction did not end well. The difference is what a publisher may tell its callers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Nothing was written, for certain.
    #[error("nothing was written: {reason}")]
    Aborted {
        /// What happened.
        reason: String,
        /// True when the same transaction may go through if it is tried again.
        retry: bool,
    },
    /// The commit was sent and no answer came: written as a whole, or not at all.
    #[error("it is not known whether anything was written: {reason}")]
    Unknown {
        /// What happened.
        reason: String,
    },
}

/// Why a write other than a commit of units did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The namespace exists already. Nothing was written.
    #[error("namespace {id} exists already")]
    NamespaceExists {
        /// Its id.
        id: String,
    },
    /// There is no such namespace. Nothing was written.
    #[error("namespace {id} does not exist")]
    NamespaceMissing {
        /// Its id.
        id: String,
    },
    /// The namespace still holds configurations. Nothing was written.
    #[error("namespace {id} still holds {configs} configurations")]
    NamespaceInUse {
        /// Its id.
        id: String,
        /// How many configurations are in it.
        configs: u64,
    },
    /// The namespace that everybody has can't be made, changed or removed. Nothing was written.
    #[error("namespace {id} is built in")]
    NamespaceBuiltIn {
        /// Its id.
        id: String,
    },
    /// The transaction failed.
    #[error(transparent)]
    Failed(#[from] CommitError),
}

/// Why a read gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The database could not be asked, or did not answer in time. Later it may.
    #[error("the database is unavailable: {reason}")]
    Unavailable {
        /// What happened.
        reason: String,
    },
    /// A row holds what this program can't have written, or the database refused the question.
    #[error("the database holds something that can't be read: {what}")]
    Broken {
        /// What could not be understood.
        what: String,
    },
}

/// What went wrong inside a statement or in the reading of its rows.
#[derive(Debug)]
pub(super) enum Fault {
    /// The driver or the database said so.
    Database(DbErr),
    /// No answer within the time allowed.
    TimedOut,
    /// A row could not be understood.
    Broken(String),
}

/// What a fault means for what to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nature {
    /// The connection is gone or none could be made.
    Connection,
    /// Another transaction was in the way, or it took too long.
    Contention,
    /// The database will say the same again.
    Lasting,
}

impl From<DbErr> for Fault {
    fn from(error: DbErr) -> Self {
        Self::Database(error)
    }
}

impl Fault {
    fn nature(&self) -> Nature {
        match self {
            Self::TimedOut => Nature::Connection,
            Self::Broken(_) => Nature::Lasting,
            Self::Database(error) => nature(error),
        }
    }

    /// True when the statement was never run because its connection had died: it may be sent again on another one.
    pub(super) fn is_dead_connection(&self) -> bool {
        match self {
            Self::Database(DbErr::ConnectionAcquire(_)) | Self::TimedOut | Self::Broken(_) => false,
            Self::Database(error) => nature(error) == Nature::Connection,
        }
    }

    /// True when the commit that failed with this has certainly not happened.
    pub(super) fn refutes_commit(&self, backend: Backend) -> bool {
        let Self::Database(error) = self else { return false };
        let Some(code) = database_code(error) else { return false };
        match backend {
            // Serialization failures, deadlocks and constraints are judged before the commit record is written.
            Backend::Postgres => code.starts_with("40") || code.starts_with("23"),
            Backend::MySql => code == "40001",
            // Busy and full: SQLite keeps or rolls back the transaction, it never half commits.
            Backend::Sqlite => primary_code(&code).is_some_and(|code| matches!(code, 5 | 13)),
        }
    }

    fn reason(&self) -> String {
        match self {
            Self::TimedOut => "no answer in the time allowed".to_owned(),
            Self::Broken(what) => what.clone(),
            Self::Database(error) => error.to_string(),
        }
    }
}

impl From<Fault> for CommitError {
    /// For faults before the commit was sent.
    fn from(fault: Fault) -> Self {
        Self::Aborted { reason: fault.reason(), retry: fault.nature() != Nature::Lasting }
    }
}

impl From<Fault> for WriteError {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault.into())
    }
}

impl From<Fault> for ReadError {
    fn from(fault: Fault) -> Self {
        match fault.nature() {
            Nature::Connection | Nature::Contention => Self::Unavailable { reason: fault.reason() },
            Nature::Lasting => Self::Broken { what: fault.reason() },
        }
    }
}

impl Fault {
    /// For a commit that was sent and failed with this.
    pub(super) fn after_commit(&self, backend: Backend) -> CommitError {
        if self.refutes_commit(backend) {
            CommitError::Aborted { reason: self.reason(), retry: true }
        } else {
            CommitError::Unknown { reason: self.reason() }
        }
    }
}

fn driver_error(error: &DbErr) -> Option<&sqlx::Error> {
    let (DbErr::Conn(inner) | DbErr::Exec(inner) | DbErr::Query(inner)) = error else { return None };
    match inner {
        RuntimeErr::SqlxError(error) => Some(error),
        RuntimeErr::Internal(_) => None,
    }
}

/// SQLSTATE of PostgreSQL and MySQL, result code of SQLite.
fn database_code(error: &DbErr) -> Option<String> {
    driver_error(error)?.as_database_error()?.code().map(|code| code.into_owned())
}

/// MySQL's own number, finer than its SQLSTATE.
fn mysql_number(error: &DbErr) -> Option<u16> {
    let error = driver_error(error)?.as_database_error()?;
    error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>().map(sqlx::mysql::MySqlDatabaseError::number)
}

fn primary_code(code: &str) -> Option<u32> {
    code.parse::<u32>().map(|code| code & 0xff).ok()
}

fn nature(error: &DbErr) -> Nature {
    if matches!(error, DbErr::ConnectionAcquire(_)) {
        return Nature::Connection;
    }
    let Some(driver) = driver_error(error) else { return Nature::Lasting };
    if driver.as_database_error().is_none() {
        return match driver {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::BeginFailed
            | sqlx::Error::WorkerCrashed => Nature::Connection,
            _ => Nature::Lasting,
        };
    }
    if let Some(number) = mysql_number(error) {
        return match number {
            // Lock wait, deadlock, a statement or transaction that ran too long.
            1_205 | 1_213 | 1_969 | 3_024 => Nature::Contention,
            // Server shut down or shutting down, session killed, too many connections, read-only after a fail-over.
            1_040 | 1_053 | 1_080 | 1_290 | 1_317 | 1_836 | 1_927 | 1_928 | 2_006 | 2_013 | 4_031 => Nature::Connection,
            _ => Nature::Lasting,
        };
    }
    let Some(code) = database_code(error) else { return Nature::Lasting };
    if let Some(code) = Some(code.as_str()).filter(|code| code.len() < 5).and_then(primary_code) {
        // SQLite: busy and locked pass; an I/O error, a full disk or a file that can't be opened may pass.
        return match code {
            5 | 6 => Nature::Contention,
            10 | 13 | 14 => Nature::Connection,
            _ => Nature::Lasting,
        };
    }
    match code.as_str() {
        "55P03" | "57014" => Nature::Contention,
        // Read-only transaction: the primary became a standby.
        "25006" | "25P03" => Nature::Connection,
        code if code.starts_with("40") => Nature::Contention,
        code if code.starts_with("08") || code.starts_with("57P") || code.starts_with("53") => Nature::Connection,
        _ => Nature::Lasting,
    }
}
