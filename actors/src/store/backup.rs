//! Copies of a SQLite file: made while a node serves it, checked, and put into use as a new timeline. Owns the SQL of
//! that. Where the files lie, and that no node serves the one that is replaced, is for the caller.

use std::path::Path;
use std::time::Duration;

use super::file_hold::{FileHold, execute_patiently};
use callboard_protocol::config::Version;
use callboard_protocol::extent::Extent;
use callboard_protocol::member::Timeline;
use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sea_orm::sqlx::{self, ConnectOptions as _, Connection as _, Executor as _, Row as _};

/// Why a copy was not made, or is of no use. The source is as it was.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A statement failed on the file that is named.
    #[error("{file}: {reason}")]
    Failed {
        /// The file.
        file: String,
        /// What SQLite said.
        reason: String,
    },
    /// The file is whole as far as SQLite can open it, and holds what it should not.
    #[error("{file} is no whole backup: {reason}")]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
}

/// Keeps every commit out of a file until it is dropped: what has been acknowledged until then is in the copy.
#[derive(Debug)]
pub struct Held {
    source: SqliteConnection,
    files: FileHold,
}

impl Held {
    /// Lets commits go on.
    pub async fn release(self) {
        // A connection that can't be closed in order ends with the process, and its lock with it.
        if let Err(error) = self.source.close().await {
            tracing::debug!(%error, "closing the copied database failed");
        }
        self.files.release().await;
    }
}

/// What the copy lacks of the commits that came while it was made. A revision that it has may have more request ids
/// now.
const CATCH_UP: [&str; 11] = [
    "INSERT OR REPLACE INTO main.cc_config SELECT * FROM node.cc_config \
     WHERE version >= (SELECT rev FROM main.cc_meta WHERE id = 1)",
    "INSERT OR IGNORE INTO main.cc_change SELECT * FROM node.cc_change \
     WHERE rev >= (SELECT rev FROM main.cc_meta WHERE id = 1)",
    "INSERT OR IGNORE INTO main.cc_request SELECT * FROM node.cc_request \
     WHERE rev >= (SELECT rev FROM main.cc_meta WHERE id = 1)",
    "DELETE FROM main.cc_namespace",
    "INSERT INTO main.cc_namespace SELECT * FROM node.cc_namespace",
    "DELETE FROM main.cc_access",
    "INSERT INTO main.cc_access SELECT * FROM node.cc_access",
    "INSERT OR IGNORE INTO main.cc_audit SELECT * FROM node.cc_audit",
    "INSERT OR REPLACE INTO main.cc_meta SELECT * FROM node.cc_meta",
    // Nobody who took part then takes part in what is made of the copy.
    "DELETE FROM main.cc_node",
    "COMMIT",
];

/// Copies the file `source` to `target`, which does not exist, while a node serves it: the bulk while commits go on,
/// the rest while they wait, for as long as what is returned is kept. `patience` is how long to wait for a commit under
/// way.
///
/// # Errors
/// [`BackupError`]; what there is of the target is of no use then.
pub async fn back_up(source: &Path, target: &Path, patience: Duration) -> Result<(Held, Extent), BackupError> {
    let files = FileHold::of(source, patience).await;
    let files =
        files.map_err(|error| BackupError::Failed { file: source.display().to_string(), reason: error.to_string() })?;
    let mut node = connect(source, patience).await?;
    let copied = sqlx::query("VACUUM INTO ?").bind(target.display().to_string()).execute(&mut node).await;
    copied.map_err(|error| failed(target, &error))?;
    hold(&mut node, patience).await.map_err(|error| failed(source, &error))?;
    let mut copy = connect(target, patience).await?;
    let extent = catch_up(&mut copy, source).await.map_err(|error| failed(target, &error))?;
    copy.close().await.map_err(|error| failed(target, &error))?;
    Ok((Held { source: node, files }, extent))
}

/// Takes the lock that commits take.
async fn hold(node: &mut SqliteConnection, patience: Duration) -> Result<(), sqlx::Error> {
    node.execute("PRAGMA busy_timeout = 0").await?;
    execute_patiently(node, "BEGIN IMMEDIATE", patience).await
}

async fn catch_up(copy: &mut SqliteConnection, source: &Path) -> Result<Extent, sqlx::Error> {
    sqlx::query("ATTACH DATABASE ? AS node").bind(source.display().to_string()).execute(&mut *copy).await?;
    // Not IMMEDIATE: that would want the lock of the attached file, too, which is held.
    copy.execute("BEGIN").await?;
    for statement in CATCH_UP {
        copy.execute(statement).await?;
    }
    read_extent(copy).await
}

/// Checks that a file is a whole database of this program, and says how far it goes.
///
/// # Errors
/// [`BackupError`].
pub async fn examine(file: &Path, patience: Duration) -> Result<Extent, BackupError> {
    let mut connection = connect(file, patience).await?;
    let verdict = async {
        let rows = connection.fetch_all("PRAGMA integrity_check").await?;
        rows.first().map(|row| row.try_get::<String, _>(0)).transpose()
    };
    let verdict = verdict.await.map_err(|error| damaged(file, &error))?;
    if verdict.as_deref() != Some("ok") {
        let reason = verdict.unwrap_or_else(|| "it can't be checked".to_owned());
        return Err(BackupError::Damaged { file: file.display().to_string(), reason });
    }
    let extent = read_extent(&mut connection).await.map_err(|error| damaged(file, &error))?;
    // Whatever its log holds belongs into the file.
    let copied = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").await;
    copied.map_err(|error| failed(file, &error))?;
    connection.close().await.map_err(|error| failed(file, &error))?;
    Ok(extent)
}

async fn read_extent(connection: &mut SqliteConnection) -> Result<Extent, sqlx::Error> {
    let row = connection.fetch_one("SELECT rev, timeline FROM main.cc_meta WHERE id = 1").await?;
    let number = |index: usize| row.try_get::<i64, _>(index).map(|number| u64::try_from(number).unwrap_or_default());
    Ok(Extent { revision: Version(number(0)?), timeline: Timeline(number(1)?) })
}

async fn connect(file: &Path, patience: Duration) -> Result<SqliteConnection, BackupError> {
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(false).busy_timeout(patience);
    options.disable_statement_logging().connect().await.map_err(|error| failed(file, &error))
}

fn failed(file: &Path, error: &sqlx::Error) -> BackupError {
    BackupError::Failed { file: file.display().to_string(), reason: error.to_string() }
}

fn damaged(file: &Path, error: &sqlx::Error) -> BackupError {
    BackupError::Damaged { file: file.display().to_string(), reason: error.to_string() }
}
