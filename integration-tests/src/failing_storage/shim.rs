//! The library that makes a server's storage fail (`shim.c`), and the file by which it is told when. Owns both files
//! and their form; chooses nothing.

use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use tempfile::TempDir;
use tokio::process::Command;

const SOURCE: &str = include_str!("shim.c");
/// Numbers in the control file: `struct control` of `shim.c`.
const FIELDS: usize = 8;
const WIDTH: usize = 8;
/// Where the counters begin.
const COUNTERS: u64 = 6 * WIDTH as u64;

/// Kinds of calls, as `shim.c` numbers them.
pub(super) const WRITE: u64 = 1;
/// `fsync` and `fdatasync`.
pub(super) const SYNC: u64 = 2;
/// All of them: also those that set a file's size, open one for writing, rename or remove one.
pub(super) const ANY: u64 = 15;

/// Which calls fail, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Orders {
    /// The kinds of calls that count.
    pub(super) calls: u64,
    /// The number of the error.
    pub(super) error: i32,
    /// The first call that fails, from 1.
    pub(super) first: u64,
    /// How many fail, from there on.
    pub(super) count: u64,
    /// The first one writes half of its bytes instead of failing.
    pub(super) partly: bool,
}

/// The library, compiled, with its control file.
#[derive(Debug)]
pub(super) struct Shim {
    home: TempDir,
    control: File,
    paths: &'static str,
}

impl Shim {
    /// Compiles the library. `paths` are texts, separated by colons, of which one stands in the path of each file that
    /// is meant.
    ///
    /// # Errors
    /// There is no C compiler, or it refuses.
    pub(super) async fn build(paths: &'static str) -> anyhow::Result<Self> {
        let home = tempfile::Builder::new().prefix("callboard-shim-").tempdir()?;
        // A database server runs as another user.
        fs::set_permissions(home.path(), Permissions::from_mode(0o777))?;
        let source = home.path().join("shim.c");
        fs::write(&source, SOURCE)?;
        let mut compiler = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()));
        compiler.args(["-O2", "-Wall", "-shared", "-fPIC", "-o"]).arg(home.path().join("shim.so"));
        let output = compiler.arg(&source).arg("-ldl").output().await.context("start the C compiler")?;
        if !output.status.success() {
            bail!("shim.c does not compile: {}", String::from_utf8_lossy(&output.stderr));
        }
        let name = home.path().join("control");
        let control = OpenOptions::new().read(true).write(true).create_new(true).open(&name)?;
        control.set_permissions(Permissions::from_mode(0o666))?;
        control.write_all_at(&[0; FIELDS * WIDTH], 0)?;
        Ok(Self { home, control, paths })
    }

    /// What a server's environment must say.
    pub(super) fn environment(&self) -> Vec<(String, String)> {
        let path = |name: &str| self.home.path().join(name).display().to_string();
        vec![
            ("LD_PRELOAD".to_owned(), path("shim.so")),
            ("FAILING_STORAGE_CONTROL".to_owned(), path("control")),
            ("FAILING_STORAGE_PATHS".to_owned(), self.paths.to_owned()),
        ]
    }

    /// The calls that failed so far, a line each: name, number, whether it was done partly or not, path.
    pub(super) fn journal(&self) -> PathBuf {
        self.home.path().join("control.log")
    }

    /// Lets calls fail from now on, counting anew.
    pub(super) fn arm(&self, orders: Orders) -> anyhow::Result<()> {
        self.disarm()?;
        let error = u64::try_from(orders.error).context("the number of an error")?;
        let fields = [0, orders.calls, error, orders.first, orders.count, u64::from(orders.partly), 0, 0];
        let bytes: Vec<u8> = fields.into_iter().flat_map(u64::to_ne_bytes).collect();
        self.control.write_all_at(&bytes, 0)?;
        // Last, so that no call goes by half an order.
        Ok(self.control.write_all_at(&1_u64.to_ne_bytes(), 0)?)
    }

    /// Lets no further call fail. Tells how many have failed since it was armed; asked again, none.
    pub(super) fn disarm(&self) -> anyhow::Result<u64> {
        self.control.write_all_at(&0_u64.to_ne_bytes(), 0)?;
        let mut failed = [0; WIDTH];
        self.control.read_exact_at(&mut failed, COUNTERS + WIDTH as u64)?;
        self.control.write_all_at(&[0; 2 * WIDTH], COUNTERS)?;
        Ok(u64::from_ne_bytes(failed))
    }
}
