//! The ways in which storage fails, and which call of a kind is next to fail. Owns the choice; touches no file.

use std::fmt;

use fastrand::Rng;
use rustix::io::Errno;

use super::shim::{ANY, Orders, SYNC, WRITE};
use crate::database_server::Engine;

/// How many calls fail in a row, each of these as likely as the others. The last one outlasts every publish.
const STRETCHES: [u64; 10] = [1, 1, 1, 2, 2, 3, 5, 8, 16, u64::MAX];
/// At most so many calls are passed over from one injection to the next, so that all of a batch have their turn.
const STEP: u64 = 3;

/// What the system says of a storage that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// ENOSPC.
    NoSpace,
    /// EIO.
    InputOutput,
    /// EFBIG.
    FileTooBig,
    /// EDQUOT.
    Quota,
    /// EROFS, as after a remount.
    ReadOnly,
}

impl Error {
    const ALL: [Self; 5] = [Self::NoSpace, Self::InputOutput, Self::FileTooBig, Self::Quota, Self::ReadOnly];

    fn number(self) -> i32 {
        let errno = match self {
            Self::NoSpace => Errno::NOSPC,
            Self::InputOutput => Errno::IO,
            Self::FileTooBig => Errno::FBIG,
            Self::Quota => Errno::DQUOT,
            Self::ReadOnly => Errno::ROFS,
        };
        errno.raw_os_error()
    }

    fn name(self) -> &'static str {
        match self {
            Self::NoSpace => "ENOSPC",
            Self::InputOutput => "EIO",
            Self::FileTooBig => "EFBIG",
            Self::Quota => "EDQUOT",
            Self::ReadOnly => "EROFS",
        }
    }
}

/// Which calls fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calls {
    /// Writes.
    Write,
    /// Writes, the first of which is done in part.
    WritePartly,
    /// `fsync` and `fdatasync`.
    Sync,
    /// Also those that set a file's size, open it for writing, rename or remove it.
    Any,
}

impl Calls {
    const ALL: [Self; 4] = [Self::Write, Self::WritePartly, Self::Sync, Self::Any];
}

/// A way in which storage fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Calls fail while publishes are under way.
    Amid(Error, Calls),
    /// Calls of any kind fail while the node ends and starts.
    Restart(Error),
    /// The volume is really full: a tmpfs.
    FullVolume,
    /// The process may not make its files longer: `ulimit -f`.
    SizeLimit,
}

impl Kind {
    /// Every way in which the storage of a node on SQLite fails, or that of a database server.
    #[must_use]
    pub fn all(server: Option<Engine>) -> Vec<Self> {
        let mut kinds: Vec<Self> =
            Calls::ALL.iter().flat_map(|calls| Error::ALL.map(|error| Self::Amid(error, *calls))).collect();
        if server.is_none() {
            kinds.extend(Error::ALL.map(Self::Restart));
            kinds.push(Self::SizeLimit);
        }
        kinds.push(Self::FullVolume);
        kinds
    }

    /// What the library is told for the next injection; none when it is not the library that makes this kind fail.
    pub(super) fn orders(self, next: u64, rng: &mut Rng) -> Option<Orders> {
        let (error, calls) = match self {
            Self::Amid(error, calls) => (error, calls),
            Self::Restart(error) => (error, Calls::Any),
            Self::FullVolume | Self::SizeLimit => return None,
        };
        let kinds = match calls {
            Calls::Write | Calls::WritePartly => WRITE,
            Calls::Sync => SYNC,
            Calls::Any => ANY,
        };
        // A file system that turns read-only stays so for more than some calls.
        let count = if error == Error::ReadOnly { u64::MAX } else { rng.choice(STRETCHES).unwrap_or(1) };
        let partly = calls == Calls::WritePartly;
        Some(Orders { calls: kinds, error: error.number(), first: next, count, partly })
    }

    /// Whether a read can be hindered: opening a database takes calls that count.
    pub(super) fn hinders_reads(self) -> bool {
        match self {
            Self::Amid(_, calls) => calls == Calls::Any,
            Self::Restart(_) => true,
            Self::FullVolume | Self::SizeLimit => false,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Amid(error, Calls::Write) => format!("{} at a write", error.name()),
            Self::Amid(error, Calls::WritePartly) => format!("{} amid a write", error.name()),
            Self::Amid(error, Calls::Sync) => format!("{} at a sync", error.name()),
            Self::Amid(error, Calls::Any) => format!("{} at any call", error.name()),
            Self::Restart(error) => format!("{} at a stop or start", error.name()),
            Self::FullVolume => "full volume".to_owned(),
            Self::SizeLimit => "file-size limit".to_owned(),
        };
        out.pad(&text)
    }
}

/// Which call fails next: each in turn, from the first to the last of a batch, and again from the first.
#[derive(Debug)]
pub(super) struct Turn(u64);

impl Turn {
    pub(super) fn first() -> Self {
        Self(1)
    }

    pub(super) fn next(&self) -> u64 {
        self.0
    }

    /// Goes on after an injection. When none failed, there are fewer calls than that.
    pub(super) fn go_on(&mut self, failed: u64, rng: &mut Rng) {
        self.0 = if failed == 0 { 1 } else { self.0 + rng.u64(1..=STEP) };
    }
}
