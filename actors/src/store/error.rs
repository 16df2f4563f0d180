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
        /// What kind of failure it was.
        cause: Cause,
        /// What the database said; for the log, not for clients.
        reason: String,
    },
    /// The commit was sent and no answer came: written as a whole, or not at all.
    #[error("it is not known whether anything was written: {reason}")]
    Unknown {
        /// What kind of failure it was.
        cause: Cause,
        /// What the database said; for the log, not for clients.
        reason: String,
    },
}

impl CommitError {
    /// What kind of failure it was.
    #[must_use]
    pub fn cause(&self) -> Cause {
        match self {
            Self::Aborted { cause, .. } | Self::Unknown { cause, .. } => *cause,
        }
    }
}

/// Why the database did not do what it was asked, as a sentence that anybody may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// The volume, the quota or the file is full.
    #[error("the database has no room left")]
    NoRoom,
    /// The file, the file system or the server takes no writes.
    #[error("the database takes no writes")]
    ReadOnly,
    /// Reading from or writing to the storage failed.
    #[error("the database's storage fails")]
    Storage,
    /// The connection is gone or none could be made.
    #[error("the database can't be reached")]
    Unreachable,
    /// No answer came in the time allowed.
    #[error("the database did not answer in time")]
    Slow,
    /// Another transaction was in the way.
    #[error("other transactions were in the way")]
    Contention,
    /// The database will never take what it was given.
    #[error("the database refuses what this holds")]
    Refused,
    /// A row holds what this program can't have written.
    #[error("the database holds something that can't be read")]
    Damaged,
    /// The database will say the same again, whatever it is given: a table or a right is missing.
    #[error("the database is not as it should be")]
    Unusable,
}

impl Cause {
    /// True when the same transaction may go through if it is tried again.
    #[must_use]
    pub fn passes(self) -> bool {
        !matches!(self, Self::Refused | Self::Damaged | Self::Unusable)
    }

    /// True when it says something of the database, not of what was asked or of who else asked.
    #[must_use]
    pub fn is_outage(self) -> bool {
        !matches!(self, Self::Refused | Self::Damaged | Self::Contention)
    }
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
    /// The change of users, roles, tokens or keys is not taken. Nothing was written.
    #[error(transparent)]
    AccessRefused(#[from] callboard_protocol::access::change::Refusal),
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
    /// Another server answered than the one that takes the commits.
    NotTheWriter(&'static str),
}

impl From<DbErr> for Fault {
    fn from(error: DbErr) -> Self {
        Self::Database(error)
    }
}

impl Fault {
    pub(super) fn cause(&self) -> Cause {
        match self {
            Self::TimedOut => Cause::Slow,
            Self::Broken(_) => Cause::Damaged,
            Self::NotTheWriter(_) => Cause::ReadOnly,
            Self::Database(error) => cause(error),
        }
    }

    /// True when the statement was never run because its connection had died: it may be sent again on another one.
    pub(super) fn is_dead_connection(&self) -> bool {
        match self {
            Self::Database(DbErr::ConnectionAcquire(_)) | Self::TimedOut | Self::Broken(_) | Self::NotTheWriter(_) => {
                false
            }
            Self::Database(error) => matches!(cause(error), Cause::Unreachable | Cause::ReadOnly),
        }
    }

    /// True when the commit that failed with this has certainly not happened, and will not by itself.
    pub(super) fn refutes_commit(&self, backend: Backend) -> bool {
        let Self::Database(error) = self else { return false };
        let Some(code) = database_code(error) else { return false };
        match backend {
            // Serialization failures, deadlocks and constraints are judged before the commit record is written.
            Backend::Postgres => code.starts_with("40") || code.starts_with("23"),
            Backend::MySql => code == "40001",
            // Busy, full, and a frame of the log that could not be written: the frame that commits is the last one, and
            // a part of it is none. A log that could not be synced is another matter: all frames stand in it, and who
            // recovers from it after a crash finds the commit.
            Backend::Sqlite => code.parse().is_ok_and(|code: u32| matches!(code & 0xff, 5 | 13) || code == 778),
        }
    }

    /// True when it says something of the database, not of what was asked.
    pub(super) fn is_outage(&self) -> bool {
        self.cause().is_outage()
    }

    pub(super) fn reason(&self) -> String {
        match self {
            Self::NotTheWriter(reason) => (*reason).to_owned(),
            Self::TimedOut => "no answer in the time allowed".to_owned(),
            Self::Broken(what) => what.clone(),
            Self::Database(error) => error.to_string(),
        }
    }
}

impl From<Fault> for CommitError {
    /// For faults before the commit was sent.
    fn from(fault: Fault) -> Self {
        Self::Aborted { cause: fault.cause(), reason: fault.reason() }
    }
}

impl From<Fault> for WriteError {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault.into())
    }
}

impl From<Fault> for ReadError {
    fn from(fault: Fault) -> Self {
        match fault.cause() {
            // Only what is known to be about the data is that; whatever else a server says, later it may answer.
            Cause::Damaged | Cause::Refused => Self::Broken { what: fault.reason() },
            _ => Self::Unavailable { reason: fault.reason() },
        }
    }
}

impl Fault {
    /// For a commit that was sent and failed with this.
    pub(super) fn after_commit(&self, backend: Backend) -> CommitError {
        if self.refutes_commit(backend) {
            CommitError::Aborted { cause: self.cause(), reason: self.reason() }
        } else {
            CommitError::Unknown { cause: self.cause(), reason: self.reason() }
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

/// True when a query failed because its table is not there, and for no other reason.
pub(super) fn is_missing_table(error: &DbErr, backend: Backend) -> bool {
    match backend {
        Backend::Postgres => database_code(error).as_deref() == Some("42P01"),
        Backend::MySql => mysql_number(error) == Some(1_146),
        // SQLite has one code for every mistake in a statement, and this one has no other.
        Backend::Sqlite => driver_error(error)
            .and_then(sqlx::Error::as_database_error)
            .is_some_and(|error| error.message().starts_with("no such table")),
    }
}

fn cause(error: &DbErr) -> Cause {
    if matches!(error, DbErr::ConnectionAcquire(_)) {
        return Cause::Unreachable;
    }
    let Some(driver) = driver_error(error) else { return Cause::Unusable };
    if driver.as_database_error().is_none() {
        return cause_in_driver(driver);
    }
    if let Some(number) = mysql_number(error) {
        return cause_of_mysql(number);
    }
    match database_code(error) {
        // SQLite's result codes are numbers; the others' are SQLSTATEs of five characters.
        Some(code) if code.len() < 5 => code.parse().map_or(Cause::Unusable, cause_of_sqlite),
        Some(code) => cause_of_postgres(&code),
        None => Cause::Unusable,
    }
}

fn cause_in_driver(error: &sqlx::Error) -> Cause {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::BeginFailed
        | sqlx::Error::WorkerCrashed => Cause::Unreachable,
        sqlx::Error::Encode(_) | sqlx::Error::InvalidArgument(_) => Cause::Refused,
        _ => Cause::Unusable,
    }
}

/// By the result code; its low byte says the kind (<https://sqlite.org/rescode.html>).
fn cause_of_sqlite(code: u32) -> Cause {
    match code & 0xff {
        5 | 6 => Cause::Contention,
        8 => Cause::ReadOnly,
        10 | 14 => Cause::Storage,
        13 => Cause::NoRoom,
        // Too long, a constraint, another type, out of range.
        18 | 19 | 20 | 25 => Cause::Refused,
        _ => Cause::Unusable,
    }
}

/// By the server's own number, which MySQL and MariaDB share where it matters.
fn cause_of_mysql(number: u16) -> Cause {
    match number {
        // Lock wait, deadlock, a statement or transaction that ran too long.
        1_205 | 1_213 | 1_969 | 3_024 => Cause::Contention,
        // Read-only by a setting or after a fail-over.
        1_290 | 1_792 | 1_836 => Cause::ReadOnly,
        // Not ready (Galera without quorum), group replication or a proxy that has no server, a link that broke.
        1_047 | 1_158..=1_161 | 3_100 | 9_001 => Cause::Unreachable,
        // Certification failed: another member's transaction was first.
        3_101 => Cause::Contention,
        // Server shut down or shutting down, session killed, too many connections.
        1_040 | 1_053 | 1_080 | 1_317 | 1_927 | 1_928 | 2_006 | 2_013 | 4_031 => Cause::Unreachable,
        // Disk full, table full, which InnoDB says of a volume without room.
        1_021 | 1_114 => Cause::NoRoom,
        // A file can't be read, written or synced; an engine that fails; an error at the commit itself.
        3 | 1_023..=1_026 | 1_030 | 1_180 | 1_181 => Cause::Storage,
        // Data that the columns, the character set, a constraint, a trigger or the packet's limit do not take.
        1_048 | 1_062 | 1_153 | 1_264 | 1_292 | 1_366 | 1_406 | 1_451 | 1_452 | 1_644 | 3_819 | 3_988 | 4_025 => {
            Cause::Refused
        }
        _ => Cause::Unusable,
    }
}

/// By SQLSTATE (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
fn cause_of_postgres(code: &str) -> Cause {
    match code {
        "55P03" | "57014" => Cause::Contention,
        "53100" => Cause::NoRoom,
        // Read-only transaction: the primary became a standby.
        "25006" => Cause::ReadOnly,
        "25P03" => Cause::Unreachable,
        _ => match code.get(..2) {
            Some("40") => Cause::Contention,
            Some("08" | "53") => Cause::Unreachable,
            Some("57") if code.starts_with("57P") => Cause::Unreachable,
            Some("58") => Cause::Storage,
            // Data, integrity, a limit of the program, a trigger that raises.
            Some("22" | "23" | "44" | "54" | "P0") => Cause::Refused,
            _ => Cause::Unusable,
        },
    }
}
