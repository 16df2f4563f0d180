//! The Unix socket that the driver comes to, and the thread that serves it: nothing else runs there, so that neither a
//! busy core nor a long answer holds back a lease. The socket lies in a directory that nobody else may enter. Owns both
//! until it is dropped.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use super::relay::relay;
use super::route::Route;

/// The longest path of a socket is 107 bytes on Linux, 103 elsewhere.
const LONGEST_PATH: usize = 100;
/// Directories of a node that was killed begin so, too, and are removed by the next one.
const PREFIX: &str = "database-link-";
/// Pause after the system refuses to give a socket out.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// The socket and its thread.
pub(super) struct Listener {
    directory: TempDir,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Takes connections on the socket that `name` puts into a directory: one in `data_dir`, which this process alone
    /// uses, or where that is none, or its path is too long, or the file system has no sockets, one among the temporary
    /// files.
    pub(super) fn start(
        data_dir: Option<&Path>,
        name: impl Fn(&Path) -> PathBuf,
        route: Arc<Route>,
    ) -> io::Result<Self> {
        let in_data_dir = data_dir.map(|data_dir| {
            remove_former(data_dir)?;
            bind(data_dir, &name)
        });
        let (directory, socket) = match in_data_dir {
            Some(Ok(bound)) => bound,
            Some(Err(error)) => {
                tracing::debug!(%error, "the socket to the database is among the temporary files");
                bind(&std::env::temp_dir(), &name)?
            }
            None => bind(&std::env::temp_dir(), &name)?,
        };
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let serve = move || {
            let serving = async {
                tokio::select! {
                    // An error is the end of the sender, which means the same.
                    _ = stopped => Ok(()),
                    ended = accept(socket, route) => ended,
                }
            };
            if let Err(error) = runtime.block_on(serving) {
                tracing::error!(%error, "the socket to the database can't be served");
            }
            // A name that is being looked up is not waited for.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("database-link".to_owned()).spawn(serve)?;
        Ok(Self { directory, stop: Some(stop), thread: Some(thread) })
    }

    /// Where the socket lies.
    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of the socket to the database panicked");
        }
    }
}

fn bind(parent: &Path, name: impl Fn(&Path) -> PathBuf) -> io::Result<(TempDir, StdListener)> {
    let owner_only = Permissions::from_mode(0o700);
    let directory = tempfile::Builder::new().prefix(PREFIX).permissions(owner_only).tempdir_in(parent)?;
    let path = name(directory.path());
    if path.as_os_str().len() > LONGEST_PATH {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} is too long a path", path.display())));
    }
    let socket = StdListener::bind(path)?;
    socket.set_nonblocking(true)?;
    Ok((directory, socket))
}

/// Removes what a node left behind that was killed.
fn remove_former(data_dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(data_dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(PREFIX) && entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

async fn accept(socket: StdListener, route: Arc<Route>) -> io::Result<()> {
    let socket = UnixListener::from_std(socket)?;
    loop {
        match socket.accept().await {
            Ok((driver, _)) => {
                let route = Arc::clone(&route);
                tokio::spawn(async move { relay(driver, &route).await });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection to the database can't be begun");
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
        }
    }
}
