//! The way to a database server: a link of our own, which the driver reaches over a private Unix socket ([ADR
//! 0013](../docs/adr/0013-database-link.md)).
//!
//! The driver opens plain TCP connections, on which every small TLS record waits for a delayed acknowledgement. The
//! link opens them in its place: without that delay, with keep-alive and a user time-out, by a name that is looked up
//! each time, and to the next host of a list where one does not answer. It passes bytes on and reads none: TLS runs
//! between the driver and the server. Owns the socket, its thread and the order of the hosts; SQLite and servers behind
//! a Unix socket have no link.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use callboard_actors::store::OnRefusal;

use crate::data_dir::DataDir;
use crate::settings::{DatabaseOptions, Host};

mod connect;
mod listener;
mod relay;
mod route;

use listener::Listener;
use route::Route;

/// How the database is reached. The link, where there is one, ends when this is dropped, and every connection with it.
pub(crate) struct Way {
    url: String,
    link: Option<Link>,
}

struct Link {
    route: Arc<Route>,
    _listener: Listener,
}

impl Way {
    /// For a node, whose data directory has the socket.
    ///
    /// # Errors
    /// The URL can't be used, or no socket can be made.
    pub(crate) fn of_node(options: &DatabaseOptions, data_dir: &DataDir) -> anyhow::Result<Self> {
        Self::open(options, data_dir.path(), Some(data_dir))
    }

    /// For a command, beside which a node may be using the data directory at `path`.
    ///
    /// # Errors
    /// As [`Way::of_node`].
    pub(crate) fn of_command(options: &DatabaseOptions, path: &Path) -> anyhow::Result<Self> {
        Self::open(options, path, None)
    }

    /// To a SQLite file, by its URL.
    #[must_use]
    pub(crate) fn of_file(url: String) -> Self {
        Self { url, link: None }
    }

    fn open(options: &DatabaseOptions, path: &Path, data_dir: Option<&DataDir>) -> anyhow::Result<Self> {
        let Some(server) = options.url.server()? else {
            return Ok(Self::of_file(options.sqlite_url(path)));
        };
        if server.hosts().is_empty() {
            return Ok(Self { url: server.url(), link: None });
        }
        let route = Arc::new(Route::new(server.hosts(), options.connect_timeout));
        let name = |directory: &Path| server.url_through(directory).1;
        let listener = Listener::start(data_dir.map(DataDir::path), name, Arc::clone(&route));
        let listener = match listener {
            Ok(listener) => listener,
            // The driver finds one host by itself, if more slowly.
            Err(error) if server.hosts().len() == 1 => {
                tracing::warn!(%error, "no Unix socket can be made, so the database is reached without one; TLS is slow then");
                return Ok(Self { url: server.url(), link: None });
            }
            Err(error) => {
                return Err(error)
                    .context("cannot make the Unix socket by which the hosts of the database are reached");
            }
        };
        let (url, _socket) = server.url_through(listener.directory());
        let link = Link { route, _listener: listener };
        Ok(Self { url, link: Some(link) })
    }

    /// What the driver is to connect to. Holds the password.
    #[must_use]
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// For the store: what to do when the server that it has come to is a standby.
    #[must_use]
    pub(crate) fn on_refusal(&self) -> OnRefusal {
        let Some(link) = &self.link else { return OnRefusal::default() };
        let route = Arc::clone(&link.route);
        OnRefusal::new(move || route.turned_away())
    }

    /// Runs what uses the database for the first time, on one host after the other until it succeeds.
    ///
    /// # Errors
    /// What went wrong with each host; or, when no host can be reached, why.
    pub(crate) async fn try_hosts<T>(&self, mut attempt: impl AsyncFnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
        let Some(link) = &self.link else { return attempt().await };
        let mut failures = Vec::new();
        for _ in 0..link.route.hosts().len() {
            let error = match attempt().await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            if let Some(trouble) = link.route.trouble() {
                return Err(error.context(trouble));
            }
            failures.push((link.route.last_reached().map(Host::to_string).unwrap_or_default(), error));
            link.route.turned_away();
        }
        Err(summary(failures))
    }
}

/// One error as it is; of several the last one, after what the other hosts said.
fn summary(mut failures: Vec<(String, anyhow::Error)>) -> anyhow::Error {
    let Some((host, last)) = failures.pop() else { return anyhow::anyhow!("the database has no host") };
    if failures.is_empty() {
        return last;
    }
    let others: String = failures.iter().map(|(host, error)| format!("{host}: {error:#}; ")).collect();
    last.context(format!("no host of the database can be used: {others}{host}"))
}

#[cfg(test)]
mod tests;
