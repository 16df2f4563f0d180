//! `callboard backup`, `restore` and `restored`: copies of a SQLite file made while it is served, put back while it is
//! not, and the word that a database is not what it was. Owns the files around that; what is done in them stands in the
//! store.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use callboard_actors::clock::{Clock as _, SystemClock};
use callboard_actors::store::{self, Extent, FileHold, OpenError};
use callboard_protocol::member::NodeId;

use crate::data_dir::{DataDir, DatabaseLock};
use crate::database_link::Way;
use crate::lossy::{print, remark};
use crate::serve::{audited, close, open_store};
use crate::settings::{DatabaseKind, Settings, sqlite_url};

/// How long a backup waits for its turn between two commits of the node.
const TURN: Duration = Duration::from_secs(60);

/// Under which name it is written down that a database was restored: no node runs then.
const CHAIN: &str = "callboard-restore";

/// What is said to who keeps the data in another database than SQLite.
const NOT_SQLITE: &str = "only a SQLite file is copied by this program; use the database's own tools (pg_dump or base \
                          backups, mariadb-dump or mariadb-backup), and `callboard restored` after a restore";

/// Copies the SQLite file of a node, which may serve it meanwhile, to `target`. What was acknowledged before this
/// returns is in the copy. A file that is there already is not touched.
///
/// # Errors
/// Names the file and what is wrong; the target is whole or not there.
pub async fn back_up(settings: &Settings, target: &Path) -> anyhow::Result<()> {
    let source = settings.database.sqlite_file(&settings.data.dir).context(NOT_SQLITE)?;
    anyhow::ensure!(
        source.exists(),
        "there is no database at {}; name it with --data-dir or --database-url",
        source.display()
    );
    anyhow::ensure!(!target.exists(), "{} exists; choose another name, or remove it", target.display());
    let partial = beside(target, ".partial");
    remove_if_there(&partial)?;
    let copied = copy(&source, &partial, target).await;
    if copied.is_err() {
        // What there is of it is of no use; the error says what matters.
        drop(remove_if_there(&partial));
    }
    let Extent { timeline, revision } = copied?;
    print(format_args!("{} holds everything up to revision {revision} of timeline {}", target.display(), timeline.0));
    Ok(())
}

async fn copy(source: &Path, partial: &Path, target: &Path) -> anyhow::Result<Extent> {
    let (held, extent) = store::back_up(source, partial, TURN).await?;
    let finished = sync(partial).and_then(|()| {
        fs::rename(partial, target).with_context(|| format!("cannot rename {}", partial.display()))?;
        sync(directory_of(target))
    });
    // Only now: what is acknowledged after this is said to come after the backup.
    held.release().await;
    finished.map(|()| extent)
}

/// Puts a copy in the place of the SQLite file of a node that is stopped, as a new timeline. What was there before
/// stays beside it as `….before-restore`.
///
/// # Errors
/// Names the file and what is wrong. Until the copy is whole and checked nothing is touched.
pub async fn restore(settings: Settings, file: &Path) -> anyhow::Result<()> {
    anyhow::ensure!(settings.database.url.kind() == Some(DatabaseKind::Sqlite), NOT_SQLITE);
    anyhow::ensure!(file.is_file(), "there is no file {}", file.display());
    let data_dir = DataDir::open(&settings.data.dir)?;
    let database = settings.database.sqlite_file(data_dir.path()).context(NOT_SQLITE)?;
    // Refused while a node serves it. The lock on the name stays when another file gets it.
    let _only_one = DatabaseLock::take(&database)?;
    let database = fs::canonicalize(&database).with_context(|| format!("cannot find {}", database.display()))?;
    let patience = settings.database.statement_timeout;
    let fresh = beside(&database, ".restoring");
    remove_database(&fresh)?;
    fs::copy(file, &fresh).with_context(|| format!("cannot copy {} to {}", file.display(), fresh.display()))?;
    let known = known_before(&database, patience).await?;
    let began = match make_ready(&settings, &fresh, known).await {
        Ok(began) => began,
        Err(error) => {
            remove_database(&fresh)?;
            return Err(error.context(format!("{} can't be restored; nothing was changed", file.display())));
        }
    };
    let former = beside(&database, ".before-restore");
    if known.is_some() {
        remove_database(&former)?;
        // There is a log only where it could not be copied into the file.
        let log = beside(&database, "-wal");
        if log.exists() {
            fs::rename(&log, beside(&former, "-wal")).with_context(|| format!("cannot rename {}", log.display()))?;
        }
        fs::rename(&database, &former).with_context(|| format!("cannot rename {}", database.display()))?;
    }
    remove_database(&database)?;
    fs::rename(&fresh, &database).with_context(|| format!("cannot rename {}", fresh.display()))?;
    sync(directory_of(&database))?;
    let Extent { timeline, revision } = began;
    print(format_args!(
        "{} is restored as timeline {}; versions go on after {revision}",
        database.display(),
        timeline.0
    ));
    if known.is_some() {
        print(format_args!("what was there before is in {}", former.display()));
    }
    data_dir.close()?;
    Ok(())
}

/// Begins a new timeline in a database that was restored by other means than [`restore`].
///
/// # Errors
/// When the database can't be reached, or a node serves the SQLite file.
pub async fn restored(settings: Settings) -> anyhow::Result<()> {
    let is_sqlite = settings.database.url.kind() == Some(DatabaseKind::Sqlite);
    let data_dir = is_sqlite.then(|| DataDir::open(&settings.data.dir)).transpose()?;
    let path = data_dir.as_ref().map_or(settings.data.dir.as_path(), DataDir::path);
    let _only_one = settings.database.sqlite_file(path).map(|file| DatabaseLock::take(&file)).transpose()?;
    let way = Way::of_command(&settings.database, path)?;
    let Extent { timeline, revision } = declare(&settings, &way, None).await?;
    print(format_args!(
        "timeline {} begins; versions go on after {revision}, and every node empties its cache",
        timeline.0
    ));
    if let Some(data_dir) = data_dir {
        data_dir.close()?;
    }
    Ok(())
}

/// Checks a copy, brings it to the present form, and begins its new timeline; all of it is in the one file then.
async fn make_ready(settings: &Settings, copy: &Path, known: Option<Extent>) -> anyhow::Result<Extent> {
    let patience = settings.database.statement_timeout;
    store::examine(copy, patience).await?;
    callboard_migration::run(&sqlite_url(copy), settings.database.connect_timeout).await?;
    declare(settings, &Way::of_file(sqlite_url(copy)), known).await?;
    let began = store::examine(copy, patience).await?;
    sync(copy)?;
    Ok(began)
}

async fn declare(settings: &Settings, way: &Way, known: Option<Extent>) -> anyhow::Result<Extent> {
    let (writer, reader) = open_store(settings, way).await?;
    let writer = audited(writer, settings, &NodeId(CHAIN.into()));
    let declared = writer.declare_restored(known, SystemClock.wall()).await;
    close((writer, reader)).await;
    Ok(declared?)
}

/// How far the file goes that is about to be replaced; `None` when there is nothing in it. One that can't be read is
/// kept all the same, and its versions may be given again.
async fn known_before(database: &Path, patience: Duration) -> anyhow::Result<Option<Extent>> {
    if fs::metadata(database).is_ok_and(|facts| facts.len() == 0) {
        return Ok(None);
    }
    // Its log may hold what the file does not.
    let examined = match FileHold::open(&sqlite_url(database), false, patience).await {
        Ok(hold) => {
            let examined = store::examine(database, patience).await;
            hold.release().await;
            examined.map_err(anyhow::Error::from)
        }
        Err(error @ (OpenError::Unusable { .. } | OpenError::ReadOnly { .. })) => {
            return Err(anyhow::Error::from(error).context("nothing was changed"));
        }
        Err(error) => Err(error.into()),
    };
    Ok(Some(examined.unwrap_or_else(|error| {
        remark(format_args!("the file that is replaced can't be read, so its versions may be given again: {error}"));
        Extent::default()
    })))
}

fn directory_of(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync(path: &Path) -> anyhow::Result<()> {
    File::open(path).and_then(|file| file.sync_all()).with_context(|| format!("cannot make {} durable", path.display()))
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Removes a database file with its log.
fn remove_database(file: &Path) -> anyhow::Result<()> {
    ["", "-wal", "-shm", "-journal"].iter().try_for_each(|ending| remove_if_there(&beside(file, ending)))
}

fn remove_if_there(file: &Path) -> anyhow::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", file.display()))
        }
        _ => Ok(()),
    }
}
