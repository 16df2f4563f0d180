//! Where the programs of the database servers are, and as whom they run: they refuse to run as root. Owns the rules
//! where to look; starts nothing.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use super::{Engine, PATIENCE};

/// Debian keeps PostgreSQL out of the PATH, and MariaDB in a directory that only root has there.
const POSTGRES_HOME: &str = "/usr/lib/postgresql";
const MORE_DIRECTORIES: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/usr/libexec"];
/// Where Debian's package `faketime` has its libraries, below the directory of the architecture.
const FAKETIME: &str = "faketime/libfaketimeMT.so.1";

/// Who a server runs as.
#[derive(Debug, Clone, Copy)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// The path of a program, if it is installed.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = newest_postgres().into_iter().chain(std::env::split_paths(&path));
    let directories = directories.chain(MORE_DIRECTORIES.iter().map(PathBuf::from));
    directories.map(|directory| directory.join(name)).find(|program| program.is_file())
}

fn newest_postgres() -> Option<PathBuf> {
    let versions = fs::read_dir(POSTGRES_HOME).ok()?;
    let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.filter_map(|entry| Some(entry.ok()?.path())).max_by_key(number)?;
    Some(newest.join("bin"))
}

/// The library that lies to a program about the time, if it is installed.
pub(crate) fn faketime() -> Option<PathBuf> {
    let beside = fs::read_dir("/usr/lib").ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    beside.map(|directory| directory.join(FAKETIME)).find(|library| library.is_file())
}

/// The ordinary user that servers of this kind run as when we are root; none when we are not.
pub(crate) fn ordinary_user(engine: Engine) -> anyhow::Result<Option<User>> {
    if !rustix::process::getuid().is_root() {
        return Ok(None);
    }
    let passwords = fs::read_to_string("/etc/passwd").context("read /etc/passwd")?;
    let own = match engine {
        Engine::Postgres => "postgres",
        Engine::MariaDb => "mysql",
    };
    let user = [own, "nobody"].into_iter().find_map(|name| named(&passwords, name));
    user.map(Some).context("there is no ordinary user for a database server")
}

fn named(passwords: &str, name: &str) -> Option<User> {
    let mut fields = passwords.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?.split(':').skip(1);
    Some(User { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
}

/// A command that runs as `user` in `directory`, and has its temporary files there: MariaDB removes those of others.
pub(crate) fn command(program: &Path, user: Option<User>, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(directory).env("TMPDIR", directory);
    if let Some(User { uid, gid }) = user {
        command.uid(uid).gid(gid);
    }
    command
}

/// Runs a helper to its end; its output is the answer.
pub(crate) async fn run(mut command: Command) -> anyhow::Result<String> {
    command.stdin(Stdio::null());
    let name = command.get_program().to_string_lossy().into_owned();
    let mut command = tokio::process::Command::from(command);
    let output = tokio::time::timeout(PATIENCE, command.kill_on_drop(true).output()).await;
    let output = output.with_context(|| format!("{name} still runs"))?.with_context(|| format!("start {name}"))?;
    if !output.status.success() {
        bail!("{name} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::named;

    #[test]
    fn users_are_found_by_their_whole_name() {
        let passwords = "root:x:0:0::/:/bin/sh\nmysqld:x:5:6::/:/bin/sh\nmysql:x:107:110::/:/bin/false\n";
        let user = named(passwords, "mysql").unwrap();
        assert_eq!((user.uid, user.gid), (107, 110));
        assert!(named(passwords, "my").is_none());
    }
}
