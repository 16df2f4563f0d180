//! A small volume of our own that can be filled up: a tmpfs, which only root may mount. Owns the mount and the file
//! that fills it; unmounts when dropped.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

const FILLER: &str = "filler";
static PIECE: [u8; 64 * 1024] = [0; 64 * 1024];
/// What a tmpfs gives out at a time.
const PAGE: usize = 4096;

/// A mounted volume.
#[derive(Debug)]
pub struct Volume {
    at: PathBuf,
}

impl Volume {
    /// Whether volumes can be mounted here.
    #[must_use]
    pub fn can_mount() -> bool {
        rustix::process::geteuid().is_root()
            && tempfile::tempdir().is_ok_and(|directory| Self::mount(directory.path(), 1, None).is_ok())
    }

    /// Mounts an empty volume of so many MiB on a directory, which is made when it is missing. `owner` are the numbers
    /// of a user and a group; none is root.
    ///
    /// # Errors
    /// The system refuses.
    pub fn mount(at: &Path, mib: u32, owner: Option<(u32, u32)>) -> anyhow::Result<Self> {
        fs::create_dir_all(at)?;
        let (user, group) = owner.unwrap_or_default();
        let options = format!("size={mib}m,mode=0700,uid={user},gid={group}");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "callboard-test"]).arg(at))?;
        Ok(Self { at: at.to_owned() })
    }

    /// Takes all room but so many bytes, more or less: room is given out by pages of 4 KiB.
    ///
    /// # Errors
    /// The file can't be made, or writing fails for another reason than that the volume is full.
    pub fn fill(&self, spare: u64) -> anyhow::Result<()> {
        let mut filler = OpenOptions::new().create(true).append(true).open(self.at.join(FILLER))?;
        while write(&mut filler, &PIECE)? > 0 {}
        while write(&mut filler, &PIECE[..PAGE])? > 0 {}
        let length = filler.metadata()?.len();
        Ok(filler.set_len(length.saturating_sub(spare))?)
    }

    /// Gives all room back that [`Volume::fill`] took; does nothing when it was not called.
    ///
    /// # Errors
    /// The file can't be removed.
    pub fn make_room(&self) -> anyhow::Result<()> {
        match fs::remove_file(self.at.join(FILLER)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error).context("remove what fills the volume"),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // A process that has just been killed may still hold files: they go with it.
        if let Err(error) = run(Command::new("umount").arg("-l").arg(&self.at)) {
            eprintln!("a volume may be left behind: {error:#}");
        }
    }
}

/// How many bytes went in; none when the volume is full.
fn write(file: &mut File, piece: &[u8]) -> anyhow::Result<usize> {
    match file.write(piece) {
        Err(error) if error.kind() == ErrorKind::StorageFull => Ok(0),
        written => Ok(written?),
    }
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("start {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
