//! A file that only takes room, so that a node on a volume without any can be started: to open its file SQLite needs
//! some, and so does the removal of what is not needed. Owns that file and nothing else; what it can't do it only says.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// What is kept, in bytes.
const KEPT: usize = 1024 * 1024;
/// With less than this left, what is kept is given up.
const LITTLE: u64 = 1024 * 1024;
/// With at least this left, it is taken again.
const ENOUGH: u64 = 4 * 1024 * 1024;

/// Takes room at `path`, or gives it up when the volume has none.
pub(super) fn keep(path: &Path) {
    let Some(left) = left(path) else { return };
    if left < LITTLE {
        match fs::remove_file(path) {
            Ok(()) => tracing::warn!(
                path = %path.display(),
                "the volume has no room left: what was kept for this start is given up; make room before the next"
            ),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), "the volume has no room left, and nothing is kept for a start");
            }
            Err(error) => tracing::warn!(path = %path.display(), %error, "what is kept for a start can't be given up"),
        }
    } else if left >= ENOUGH && !path.exists() {
        let taken = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        if let Err(error) = taken.and_then(|mut file| file.write_all(&vec![0; KEPT]).and_then(|()| file.sync_all())) {
            tracing::warn!(path = %path.display(), %error, "no room could be kept for a start on a full volume");
            // What was written of it is of no use.
            drop(fs::remove_file(path));
        }
    }
}

/// The bytes that are left to this user on the volume of `path`; `None` when that can't be told.
fn left(path: &Path) -> Option<u64> {
    let volume = rustix::fs::statvfs(path.parent()?).ok()?;
    Some(volume.f_bavail.saturating_mul(volume.f_frsize))
}
