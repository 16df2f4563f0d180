//! The data directory of a node: its lock, its identity and the addresses it serves on.
//!
//! Owns the files `lock`, `node-id`, `known-database` and `addresses.json`, and beside a SQLite file, wherever that
//! is, `<database>.lock` and `<database>.reserve`. Holds an exclusive lock for as long as the value lives, so no two
//! processes ever write to the same directory, or serve the same file. Locks the database file, and never reads or
//! writes it.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

mod known_database;
mod reserve;

use callboard_actors::lease_keeper::DatabaseMemory;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use uuid::Uuid;

use self::known_database::KnownDatabase;

const LOCK: &str = "lock";
const NODE_ID: &str = "node-id";
const ADDRESSES: &str = "addresses.json";
const KNOWN_DATABASE: &str = "known-database";

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process holds the directory, or the database file; nothing was changed.
    #[error(
        "{} is in use by another callboard process ({}); stop that one, or choose another \
         directory with --data-dir and another file with --database-url", path.display(), holder.map_or("pid unknown".to_owned(), |pid| format!("pid {pid}"))
    )]
    Held {
        /// The directory or file.
        path: PathBuf,
        /// The process that holds it, as the lock file says.
        holder: Option<u32>,
    },
    /// The kept identity cannot be read as one; it was left as it is.
    #[error(
        "{} does not hold a UUID; restore it, set node.id, or delete the file to let this node take a new identity",
        path.display()
    )]
    GarbledNodeId {
        /// The file.
        path: PathBuf,
    },
    /// The system refuses an operation on a file. An earlier content of the file is still whole.
    #[error("cannot {doing} {}", path.display())]
    File {
        /// What was attempted, as a verb.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// A data directory that this process holds. The lock ends when the value is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Kept open because closing it ends the lock.
    lock: File,
}

impl DataDir {
    /// Creates the directory if it is missing (access for its owner only), locks it and removes the addresses that a
    /// killed process may have left.
    ///
    /// # Errors
    /// [`Error::Held`] if another process has it, [`Error::File`] if it cannot be made or written.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let created = DirBuilder::new().recursive(true).mode(0o700).create(path);
        created.map_err(failed("create the data directory", path))?;
        let path = fs::canonicalize(path).map_err(failed("open the data directory", path))?;
        let lock = take_lock(&path.join(LOCK), &path)?;
        let data_dir = Self { path, lock };
        data_dir.remove_addresses()?;
        Ok(data_dir)
    }

    /// The directory, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The identity of this node: `configured` (the setting `node.id`), or if that is empty the UUID kept here, which
    /// is made at the first call.
    ///
    /// # Errors
    /// [`Error::GarbledNodeId`] if the kept one is damaged, [`Error::File`] if it cannot be read or written.
    pub fn node_id(&self, configured: &str) -> Result<String, Error> {
        if !configured.is_empty() {
            return Ok(configured.to_owned());
        }
        let path = self.path.join(NODE_ID);
        match fs::read(&path) {
            Ok(bytes) => match Uuid::try_parse_ascii(bytes.trim_ascii()) {
                Ok(id) => Ok(id.to_string()),
                Err(_) => Err(Error::GarbledNodeId { path }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let id = Uuid::new_v4().to_string();
                self.replace(NODE_ID, format!("{id}\n").as_bytes())?;
                Ok(id)
            }
            Err(error) => Err(failed("read", &path)(error)),
        }
    }

    /// Names the running system and this very directory. A membership row with the same name was written by a process
    /// that held the lock which this one holds now: it is dead. Empty when the system can't be told apart from its next
    /// start.
    pub fn boot_id(&self) -> String {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id");
        match (boot, self.lock.metadata()) {
            (Ok(boot), Ok(lock)) => format!("{}/{:x}:{:x}", boot.trim(), lock.dev(), lock.ino()),
            _ => String::new(),
        }
    }

    /// What this node knows of its database, kept here; `None` when that can't be, as on a full volume, which is told
    /// in the log: the node is there to be read from all the same.
    pub fn database_memory(&self) -> Option<Arc<dyn DatabaseMemory>> {
        let path = self.path.join(KNOWN_DATABASE);
        match KnownDatabase::open(&path) {
            Ok(file) => Some(Arc::new(file)),
            Err(error) => {
                tracing::warn!(
                    path = %path.display(),
                    %error,
                    "what is known of the database can't be kept: commits that it loses while this node is down may not be \
                     noticed; make room and restart the node"
                );
                None
            }
        }
    }

    /// Publishes the addresses really served on, by the name of the service, as one JSON object in `addresses.json`:
    /// `{"http":"127.0.0.1:8848"}`. Readers see the former file or the new one, never a part.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be written.
    pub fn write_addresses(&self, addresses: &BTreeMap<String, SocketAddr>) -> Result<(), Error> {
        let path = self.path.join(ADDRESSES);
        let json = serde_json::to_vec(addresses).map_err(|error| failed("write", &path)(error.into()))?;
        self.replace(ADDRESSES, &json)
    }

    /// Ends a clean stop: removes the addresses and gives the directory free.
    ///
    /// # Errors
    /// [`Error::File`] if the addresses cannot be removed; the directory is free all the same.
    pub fn close(self) -> Result<(), Error> {
        self.remove_addresses()
    }

    fn remove_addresses(&self) -> Result<(), Error> {
        let path = self.path.join(ADDRESSES);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", &path)(error)),
            _ => Ok(()),
        }
    }

    /// Writes a file through a temporary one, so that it survives a crash whole. The lock keeps others away from both.
    fn replace(&self, name: &str, content: &[u8]) -> Result<(), Error> {
        let path = self.path.join(name);
        let temporary = self.path.join(format!("{name}.tmp"));
        let write = || {
            let mut file = File::create(&temporary)?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(failed("write", &path))
    }
}

/// A SQLite file that this process alone serves, in its data directory or elsewhere. The lock ends when the value is
/// dropped, and not before every connection to the file is closed: closing a descriptor of it would end SQLite's own
/// locks.
#[derive(Debug)]
pub struct DatabaseLock {
    /// Named after the file; says who holds it.
    _name: File,
    /// The file itself, whatever it is called: another name of it may lead here too.
    _file: File,
}

impl DatabaseLock {
    /// Locks the file that `database` means, by whatever name, and the one beside it that is named after it. Two nodes
    /// with data directories of their own would otherwise each take themselves for the only one. Makes an empty file
    /// when there is none. Sees to the room that is kept for a start on a full volume.
    ///
    /// # Errors
    /// [`Error::Held`] if another process has it, [`Error::File`] if it or its directory can't be used.
    pub fn take(database: &Path) -> Result<Self, Error> {
        // A link leads to the name beside which SQLite keeps its log.
        let real = match fs::canonicalize(database) {
            Ok(real) => real,
            Err(_missing) => {
                let parent =
                    database.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
                let parent = fs::canonicalize(parent).map_err(failed("open the directory", parent))?;
                parent.join(database.file_name().unwrap_or_default())
            }
        };
        let name = take_lock(&beside(&real, ".lock"), database)?;
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&real);
        let file = opened.map_err(failed("open", database))?;
        if !is_locked_now(&file, &real)? {
            return Err(Error::Held { path: database.to_owned(), holder: None });
        }
        if file.metadata().is_ok_and(|facts| facts.nlink() > 1) {
            tracing::warn!(
                path = %real.display(),
                "the database file has several names (hard links), and its log lies beside one of them: start through this \
                 name only, or remove the others"
            );
        }
        reserve::keep(&beside(&real, ".reserve"));
        Ok(Self { _name: name, _file: file })
    }
}

/// The path with something appended to the name.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Locks an open file. False when another has it.
fn is_locked_now(file: &File, path: &Path) -> Result<bool, Error> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(failed("lock", path)(error.into())),
    }
}

/// Locks the file at `path`, which stands for `held`.
fn take_lock(path: &Path, held: &Path) -> Result<File, Error> {
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let mut file = opened.map_err(failed("open", path))?;
    if !is_locked_now(&file, path)? {
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed("read", path))?;
        // The holder may not have written its pid yet; the message says so then.
        let holder = text.trim().parse().ok();
        return Err(Error::Held { path: held.to_owned(), holder });
    }
    let pid = std::process::id();
    if let Err(error) = file.set_len(0).and_then(|()| writeln!(file, "{pid}")) {
        // The lock holds without it: a node starts on a full volume, too.
        tracing::warn!(%error, path = %path.display(), "the lock file does not say who holds it");
    }
    Ok(file)
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { doing, path, source }
}

#[cfg(test)]
mod tests;
