//! What the clones of a client, its watches and its background task share. Owns the lock around the [`Registry`], and
//! who is woken after it changed.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tracing::info;

use crate::error::Error;
use crate::node::{Connection, Node};
use crate::options::Options;
use crate::registry::Registry;
use crate::request::Request;

/// Requests that may be under way at once, as the protocol has it.
const MAX_REQUESTS: usize = 64;

/// See the module.
pub(crate) struct Shared {
    pub(crate) options: Options,
    /// The tasks that hold it do nothing that takes time.
    registry: Mutex<Registry>,
    /// Something is to be said to the node.
    pub(crate) outgoing: Notify,
    /// Something is to be written to the disk.
    pub(crate) dirty: Notify,
    /// Something in the registry changed.
    pub(crate) progress: watch::Sender<()>,
    pub(crate) connection: watch::Sender<Connection>,
    pub(crate) requests: mpsc::UnboundedSender<Request>,
    /// Bounds what waits in `requests`.
    pub(crate) permits: Semaphore,
}

/// Without contents: a program may show its client in a log.
impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connection = self.connection.borrow().clone();
        let mut shown = formatter.debug_struct("Shared");
        shown.field("client_id", &self.options.client_id).field("connection", &connection).finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn new(options: Options, requests: mpsc::UnboundedSender<Request>) -> Arc<Self> {
        Arc::new(Self {
            options,
            registry: Mutex::new(Registry::new()),
            outgoing: Notify::new(),
            dirty: Notify::new(),
            progress: watch::Sender::new(()),
            connection: watch::Sender::new(Connection::Connecting),
            requests,
            permits: Semaphore::new(MAX_REQUESTS),
        })
    }

    /// Looks at the registry; nobody is woken.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&mut Registry) -> T) -> T {
        look(&mut self.lock())
    }

    /// Changes the registry, and wakes whom it concerns.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Registry) -> T) -> T {
        let (result, has_outgoing, is_dirty) = {
            let mut registry = self.lock();
            let result = change(&mut registry);
            (result, registry.has_outgoing(), registry.is_dirty())
        };
        if has_outgoing {
            self.outgoing.notify_one();
        }
        if is_dirty {
            self.dirty.notify_one();
        }
        self.progress.send_replace(());
        result
    }

    /// A session began.
    pub(crate) fn connected(&self, node: Node) {
        info!(node.id = %node.id, node.address = %node.address, "a session began");
        self.change(Registry::connected);
        self.connection.send_replace(Connection::Connected(node));
    }

    /// No session is there, for this reason.
    pub(crate) fn disconnected(&self, reason: String) {
        let now = SystemTime::now();
        self.change(|registry| registry.disconnected(now));
        self.connection.send_modify(|connection| {
            let since = match connection {
                Connection::Disconnected { since, .. } => *since,
                Connection::Connecting | Connection::Connected(_) | Connection::Denied { .. } => now,
            };
            *connection = Connection::Disconnected { since, reason };
        });
    }

    /// No session will be there any more: a node does not take the credentials.
    pub(crate) fn denied(&self, code: String, message: String) {
        let error = Error::Denied { code: code.clone(), message: message.clone() };
        self.change(|registry| {
            registry.disconnected(SystemTime::now());
            registry.close(&error);
        });
        self.connection.send_replace(Connection::Denied { code, message });
    }

    /// Why nothing can be asked, once the background task is gone.
    pub(crate) fn end(&self) -> Error {
        match &*self.connection.borrow() {
            Connection::Denied { code, message } => Error::Denied { code: code.clone(), message: message.clone() },
            Connection::Connecting | Connection::Connected(_) | Connection::Disconnected { .. } => Error::Closed,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        // A panic under the lock would be a fault of this crate; what is held is still in order key by key.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
