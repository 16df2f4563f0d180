//! Finds the `callboard` program under test. Owns the rule where to look; never builds one that is there already,
//! unless a fresh one is asked for.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, bail};

/// The environment variable that names another program to test.
pub const VARIABLE: &str = "CALLBOARD_TEST_BIN";

static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();

/// The program: what [`VARIABLE`] names, else the one in the target directory that this executable was built into.
/// Builds it once if it is missing there (`cargo test --workspace` has built it, `-p` has not).
///
/// # Errors
/// The program is neither there nor can it be built.
pub fn path() -> anyhow::Result<PathBuf> {
    let found = FOUND.get_or_init(|| locate(false).map_err(|error| format!("{error:#}")));
    found.clone().map_err(anyhow::Error::msg)
}

/// As [`path`], but brings the program up to date with the sources first. For the proof programs, which nobody
/// should trust about an older server.
///
/// # Errors
/// As [`path`].
pub fn up_to_date() -> anyhow::Result<PathBuf> {
    let found = FOUND.get_or_init(|| locate(true).map_err(|error| format!("{error:#}")));
    found.clone().map_err(anyhow::Error::msg)
}

/// As [`path`], but it is this program from now on.
///
/// # Errors
/// There is none, or another was found before.
pub fn named(program: &Path) -> anyhow::Result<PathBuf> {
    let program = program.canonicalize().with_context(|| format!("there is no {}", program.display()))?;
    if FOUND.set(Ok(program.clone())).is_err() {
        bail!("another program is under test already");
    }
    Ok(program)
}

fn locate(build_always: bool) -> anyhow::Result<PathBuf> {
    if let Some(named) = std::env::var_os(VARIABLE) {
        let named = PathBuf::from(named);
        return named.canonicalize().with_context(|| format!("{VARIABLE} names {}", named.display()));
    }
    let directory = profile_directory()?;
    let program = directory.join(format!("callboard{}", std::env::consts::EXE_SUFFIX));
    if build_always || !program.exists() {
        build(&directory, &["--workspace", "--bin", "callboard"])?;
    }
    if !program.exists() {
        bail!("there is no {}; set {VARIABLE}", program.display());
    }
    Ok(program)
}

/// An example of the client's, from the directory that this executable was built into; built when it is missing there.
///
/// # Errors
/// It is neither there nor can it be built.
pub fn client_example(name: &str) -> anyhow::Result<PathBuf> {
    let directory = profile_directory()?;
    let program = directory.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    if !program.exists() {
        build(&directory, &["--package", "callboard-client", "--example", name])?;
    }
    if !program.exists() {
        bail!("there is no {}", program.display());
    }
    Ok(program)
}

/// `…/target/<profile>`, where this executable lies.
fn profile_directory() -> anyhow::Result<PathBuf> {
    let executable = std::env::current_exe().context("where is this executable?")?;
    let mut directory = executable.parent().context("an executable lies in a directory")?;
    if directory.ends_with("deps") {
        directory = directory.parent().context("deps lies in a profile directory")?;
    }
    Ok(directory.to_owned())
}

/// Builds into the profile and target directory that `directory` (`…/target/<profile>`) belongs to. The whole
/// workspace is named so that cargo chooses the same features as everywhere else and compiles nothing twice.
fn build(directory: &Path, what: &[&str]) -> anyhow::Result<()> {
    let profile = directory.file_name().and_then(|name| name.to_str()).context("the profile directory has a name")?;
    let target = directory.parent().context("the profile directory lies in the target directory")?;
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace()).arg("build").args(what);
    command.arg("--profile").arg(if profile == "debug" { "dev" } else { profile });
    command.arg("--target-dir").arg(target);
    let status = command.status().context("start cargo")?;
    if !status.success() {
        bail!("cargo could not build callboard: {status}");
    }
    Ok(())
}

/// The directory of the workspace, where its `Cargo.toml` lies.
#[must_use]
pub fn workspace() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}
