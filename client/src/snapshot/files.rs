//! The files of the snapshots: read once at the start, written in the background. A file is replaced as a whole or not
//! at all, and is for its owner alone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::time::SystemTime;

use tracing::warn;

use super::{decode, encode, file_name};
use crate::config::Config;

/// Longest file that is read, in bytes; a content has at most 16 MiB, and JSON may double it.
const MAX_FILE: u64 = 64 * 1024 * 1024;

/// Reads what is kept in a directory. A file that can't be read is reported and left out; no directory keeps nothing.
pub(crate) fn load(directory: &Path) -> Vec<(Config, SystemTime)> {
    let files = match fs::read_dir(directory) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            warn!(snapshot.directory = %directory.display(), %error, "snapshots can't be read");
            return Vec::new();
        }
    };
    let mut states = Vec::new();
    for path in files.filter_map(|file| file.map(|file| file.path()).inspect_err(report).ok()) {
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        match read(&path) {
            Ok(state) => states.push(state),
            Err(error) => warn!(snapshot.file = %path.display(), %error, "a snapshot is left out"),
        }
    }
    states
}

/// Writes these states, as of now. What can't be written is reported; the file stays what it was.
pub(crate) fn store(directory: &Path, states: &[Config]) {
    if let Err(error) = make_directory(directory) {
        warn!(snapshot.directory = %directory.display(), %error, "snapshots can't be written");
        return;
    }
    for config in states {
        if let Err(error) = write(directory, config) {
            warn!(config.key = %config.key, %error, "a snapshot was not written");
        }
    }
}

fn report(error: &io::Error) {
    warn!(%error, "a snapshot can't be named");
}

fn read(path: &Path) -> io::Result<(Config, SystemTime)> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE).read_to_end(&mut bytes)?;
    decode(&bytes).map_err(io::Error::other)
}

fn write(directory: &Path, config: &Config) -> io::Result<()> {
    let bytes = encode(config, SystemTime::now()).map_err(io::Error::other)?;
    let name = file_name(&config.key);
    // A program may run twice with the same directory.
    let draft = directory.join(format!("{name}.{:08x}.draft", rand::random::<u32>()));
    let written = private_file(&draft)
        .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&draft, directory.join(name)));
    if written.is_err() {
        // The first error is the one to tell; a draft that stays is never read.
        drop(fs::remove_file(&draft));
    }
    written
}

#[cfg(unix)]
fn private_file(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(not(unix))]
fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

#[cfg(unix)]
fn make_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(not(unix))]
fn make_directory(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}
