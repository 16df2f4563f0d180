//! What the node knows of its database, in the file `known-database` of the data directory. Owns its form: two places
//! that are written in turn, each with a number and a digest, so that whatever is interrupted leaves the former one
//! whole. Judges nothing.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use callboard_actors::lease_keeper::DatabaseMemory;
use callboard_protocol::content::Md5;
use callboard_protocol::extent::LastKnown;
use serde::{Deserialize, Serialize};

/// Bytes of one place.
const PLACE: usize = 4096;

/// The file. It is as long as it will ever be from the beginning: keeping takes no room on a full volume.
#[derive(Debug)]
pub(super) struct KnownDatabase {
    path: PathBuf,
    file: File,
    /// The number that is written next; its last bit says where.
    next: Mutex<u64>,
}

/// What one place holds after its digest.
#[derive(Debug, Serialize, Deserialize)]
struct Written {
    number: u64,
    known: LastKnown,
}

impl KnownDatabase {
    /// Opens the file, or makes an empty one.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        if file.metadata()?.len() < 2 * PLACE as u64 {
            // Both places: what is kept later takes no room that may not be there.
            file.write_all_at(&[0; 2 * PLACE], 0)?;
        }
        let found = Self { path: path.to_owned(), file, next: Mutex::new(0) };
        let last = found.last().map(|written| written.number);
        Ok(Self { next: Mutex::new(last.map_or(0, |last| last.wrapping_add(1))), ..found })
    }

    /// The later of the two that are whole.
    fn last(&self) -> Option<Written> {
        [0, 1].into_iter().filter_map(|place| self.place(place)).max_by_key(|written| written.number)
    }

    fn place(&self, place: u64) -> Option<Written> {
        let mut bytes = [0; PLACE];
        let read = self.file.read_at(&mut bytes, place * PLACE as u64).ok()?;
        let text = std::str::from_utf8(bytes.get(..read)?).ok()?.trim_end_matches('\0');
        let (digest, json) = text.split_once(' ')?;
        (Md5::of(json.as_bytes()).hex() == digest).then(|| serde_json::from_str(json).ok()).flatten()
    }

    fn is_blank(&self) -> bool {
        let mut bytes = [0; 2 * PLACE];
        self.file.read_at(&mut bytes, 0).is_ok() && bytes.iter().all(|byte| *byte == 0)
    }
}

impl DatabaseMemory for KnownDatabase {
    fn read(&self) -> Option<LastKnown> {
        let last = self.last();
        if last.is_none() && !self.is_blank() {
            tracing::error!(
                path = %self.path.display(),
                "what this node knew of its database can't be read: commits that it lost while the node was down will not \
                 be noticed by this node; if it was restored, say so with `callboard restored`"
            );
        }
        last.map(|written| written.known)
    }

    fn keep(&self, known: &LastKnown) -> io::Result<()> {
        // Each change is whole before the guard is dropped.
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let json = serde_json::to_string(&Written { number: *next, known: known.clone() })?;
        let mut bytes = format!("{} {json}", Md5::of(json.as_bytes()).hex()).into_bytes();
        if bytes.len() > PLACE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the database names itself at too great a length"));
        }
        bytes.resize(PLACE, 0);
        self.file.write_all_at(&bytes, (*next % 2) * PLACE as u64)?;
        *next = next.wrapping_add(1);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use callboard_protocol::config::Version;
    use callboard_protocol::extent::{DatabaseIdentity, Extent};
    use callboard_protocol::member::Timeline;

    use super::*;

    fn known(revision: u64) -> LastKnown {
        let identity = DatabaseIdentity { cluster: "c".to_owned(), ..DatabaseIdentity::default() };
        LastKnown { extent: Extent::new(Timeline(1), Version(revision)), identity, is_complete: false }
    }

    #[test]
    fn what_is_kept_last_is_read_by_the_next_process() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("known");
        let file = KnownDatabase::open(&path).unwrap();
        assert_eq!(file.read(), None);
        for revision in 1..=5 {
            file.keep(&known(revision)).unwrap();
            assert_eq!(KnownDatabase::open(&path).unwrap().read(), Some(known(revision)));
        }
        file.sync().unwrap();
        let again = KnownDatabase::open(&path).unwrap();
        again.keep(&known(6)).unwrap();
        assert_eq!(KnownDatabase::open(&path).unwrap().read(), Some(known(6)));
    }

    #[test]
    fn what_was_interrupted_leaves_what_was_kept_before() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("known");
        let file = KnownDatabase::open(&path).unwrap();
        (1..=3).for_each(|revision| file.keep(&known(revision)).unwrap());
        // The third is in the first place; its middle is torn.
        file.file.write_all_at(b"torn", 60).unwrap();
        assert_eq!(KnownDatabase::open(&path).unwrap().read(), Some(known(2)));
        file.file.write_all_at(b"torn", 60 + PLACE as u64).unwrap();
        assert_eq!(KnownDatabase::open(&path).unwrap().read(), None, "told in the log");
    }

    #[test]
    fn a_file_that_cannot_be_made_is_no_reason_not_to_start() {
        let home = tempfile::tempdir().unwrap();
        let data_dir = crate::data_dir::DataDir::open(home.path()).unwrap();
        std::fs::create_dir(home.path().join("known-database")).unwrap();
        assert!(data_dir.database_memory().is_none());
        std::fs::remove_dir(home.path().join("known-database")).unwrap();
        assert!(data_dir.database_memory().is_some_and(|memory| memory.read().is_none()));
    }

    #[test]
    fn an_identity_of_the_greatest_length_fits_and_nothing_longer_is_torn() {
        let home = tempfile::tempdir().unwrap();
        let file = KnownDatabase::open(&home.path().join("known")).unwrap();
        let long = |length: usize| LastKnown {
            identity: DatabaseIdentity {
                cluster: "c".repeat(length),
                system: "\"".repeat(length),
                branch: "b".repeat(length),
            },
            ..known(1)
        };
        file.keep(&long(callboard_protocol::extent::MAX_IDENTITY)).unwrap();
        assert!(file.keep(&long(PLACE)).is_err());
        assert_eq!(file.read(), Some(long(callboard_protocol::extent::MAX_IDENTITY)));
    }
}
