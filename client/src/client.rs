//! The client, as programs use it. Owns nothing but its part of what is shared; see the crate for what it promises.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use callboard_proto::session as wire;
use callboard_proto::session::envelope::Kind;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};

use crate::change::{Delete, Publish, Published};
use crate::config::{Cached, Config, List, Page, Summary};
use crate::driver;
use crate::error::Error;
use crate::key::{ConfigKey, Selection};
use crate::node::{Connection, Node};
use crate::options::{Options, OptionsError};
use crate::registry::{Recall, Registry};
use crate::request::{ask, why_not};
use crate::shared::Shared;
use crate::subscription::Subscription;
use crate::watch::Watch;

/// A client of a cluster. Cheap to clone; all clones share one session. When the last clone, the last watch and the
/// last subscription are gone, the session ends.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
    /// Tells the background task to end when the last one is dropped.
    alive: Arc<oneshot::Sender<()>>,
}

impl Client {
    /// Makes a client, which connects in the background and goes on trying for as long as it is used. Has to be called
    /// within a Tokio runtime with time and I/O.
    ///
    /// # Errors
    /// The options are wrong. A node that is away is no error: see [`Client::ready`].
    pub fn connect(options: Options) -> Result<Self, OptionsError> {
        options.validate()?;
        let (requests, receiver) = mpsc::unbounded_channel();
        let (alive, stop) = oneshot::channel();
        let shared = Shared::new(options, requests);
        tokio::spawn(driver::run(Arc::clone(&shared), receiver, stop));
        Ok(Self { shared, alive: Arc::new(alive) })
    }

    /// Waits until a session is there, at most for so long, and says with which node.
    ///
    /// # Errors
    /// [`Error::Unreachable`]: the client goes on trying. [`Error::Denied`]: it does not.
    pub async fn ready(&self, within: Duration) -> Result<Node, Error> {
        let mut connection = self.connection();
        let is_settled = |now: &Connection| matches!(now, Connection::Connected(_) | Connection::Denied { .. });
        let connected = connection.wait_for(is_settled);
        match timeout(within, connected).await.map(|connected| connected.map(|connection| connection.clone())) {
            Ok(Ok(Connection::Connected(node))) => Ok(node),
            Ok(Ok(Connection::Denied { .. })) => Err(self.shared.end()),
            Ok(_) | Err(_) => Err(Error::Unreachable { reason: why_not(&self.shared) }),
        }
    }

    /// Whether a session is there, now and from now on.
    #[must_use]
    pub fn connection(&self) -> watch::Receiver<Connection> {
        self.shared.connection.subscribe()
    }

    /// The node of the session; `None` while there is none.
    #[must_use]
    pub fn node(&self) -> Option<Node> {
        match &*self.shared.connection.borrow() {
            Connection::Connected(node) => Some(node.clone()),
            Connection::Connecting | Connection::Disconnected { .. } | Connection::Denied { .. } => None,
        }
    }

    /// The id under which the client is known to the nodes.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.shared.options.client_id
    }

    /// Names a configuration of the client's namespace.
    #[must_use]
    pub fn key(&self, group: &str, data_id: &str) -> ConfigKey {
        ConfigKey::new(&self.shared.options.namespace, group, data_id)
    }

    /// Asks a node for the present state: no older than any change that was answered before the call. A configuration
    /// that does not exist is an answer as well.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Unreachable`], [`Error::Denied`], [`Error::Refused`].
    pub async fn get(&self, key: &ConfigKey) -> Result<Config, Error> {
        let get = Kind::Get(wire::Get { key: Some(key.to_wire()) });
        match ask(&self.shared, get, None).await? {
            Kind::Config(config) => Ok(Config::from_answer(key.clone(), config)),
            _ => Err(Error::Unexpected),
        }
    }

    /// Answers from memory. The first call for a key watches it, for as long as the client lives; from then on no
    /// request is made for it, whether it exists or not. While no session is there, the answer is what was known last,
    /// from the disk if need be, and says so.
    ///
    /// What it says comes by push: right after a publish, or a [`Client::get`], it may still be the state before.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when nothing is known of the key and nobody to ask is reached in time, as long as a
    /// request may take; [`Error::Invalid`], [`Error::Denied`], [`Error::Refused`] when a node refuses to watch it.
    pub async fn get_cached(&self, key: &ConfigKey) -> Result<Cached, Error> {
        if let Recall::Known(cached) = self.recall(key) {
            return Ok(cached);
        }
        let deadline = Instant::now() + self.shared.options.request_timeout;
        let mut progress = self.shared.progress.subscribe();
        loop {
            progress.mark_unchanged();
            match self.recall(key) {
                Recall::Known(cached) => return Ok(cached),
                Recall::Refused(error) => return Err(error),
                Recall::Wait => {}
            }
            // The sender is in `shared`, and stays.
            if timeout_at(deadline, progress.changed()).await.is_err() {
                let known = self.shared.look(|registry| registry.recall_any(key));
                return known.ok_or_else(|| Error::Unreachable { reason: why_not(&self.shared) });
            }
        }
    }

    /// Watches a selection, as a stream: see [`Watch`].
    #[must_use]
    pub fn watch(&self, selection: impl Into<Selection>) -> Watch {
        Watch::new(&self.shared, &self.alive, &selection.into())
    }

    /// Calls back with each state of a selection, one after the other, as [`Watch`] gives them. When the callback
    /// returned, operators see the version as applied, or as rejected for the reason that its error gives. A callback
    /// that has nothing to wait for returns [`std::future::ready`].
    pub fn on_change<F, Fut, E>(&self, selection: impl Into<Selection>, callback: F) -> Subscription
    where
        F: FnMut(Cached) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Display + 'static,
    {
        Subscription::new(self.watch(selection), callback)
    }

    /// Publishes a configuration. It is repeated, with the same idempotency key, until a node says what became of it or
    /// the time is up: it is carried out once at most.
    ///
    /// # Errors
    /// [`Error::ConditionFailed`], [`Error::Invalid`], [`Error::Denied`], [`Error::Refused`], [`Error::Unreachable`]:
    /// nothing was written.
    /// [`Error::OutcomeUnknown`]: it may have been.
    pub async fn publish(&self, publish: Publish) -> Result<Published, Error> {
        let key = publish.key().clone();
        let (message, idempotency_key) = publish.into_wire(chosen_key);
        match ask(&self.shared, Kind::Publish(message), Some(&idempotency_key)).await? {
            Kind::Published(published) => Ok(Published::from_wire(key, published)),
            _ => Err(Error::Unexpected),
        }
    }

    /// Removes a configuration. It is repeated as [`Client::publish`] is.
    ///
    /// # Errors
    /// Those of [`Client::publish`]; [`Error::NotFound`] when there is none.
    pub async fn delete(&self, delete: Delete) -> Result<Published, Error> {
        let key = delete.key().clone();
        let (message, idempotency_key) = delete.into_wire(chosen_key);
        match ask(&self.shared, Kind::Delete(message), Some(&idempotency_key)).await? {
            Kind::Published(published) => Ok(Published::from_wire(key, published)),
            _ => Err(Error::Unexpected),
        }
    }

    /// Lists configurations, one page of them.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Unreachable`], [`Error::Denied`], [`Error::Refused`].
    pub async fn list(&self, list: &List) -> Result<Page, Error> {
        let namespace = if list.namespace.is_empty() { &self.shared.options.namespace } else { &list.namespace };
        let message = wire::List {
            namespace: namespace.clone(),
            group: list.group.clone(),
            prefix: list.prefix.clone(),
            limit: list.limit,
            cursor: list.cursor.clone().unwrap_or_default(),
        };
        match ask(&self.shared, Kind::List(message), None).await? {
            Kind::Page(page) => Ok(Page::from_wire(page)),
            _ => Err(Error::Unexpected),
        }
    }

    /// Lists configurations, page after page as they are taken. It ends after an error.
    ///
    /// # Errors
    /// Those of [`Client::list`], as items.
    pub fn list_all(&self, list: List) -> impl Stream<Item = Result<Summary, Error>> + Send + use<> {
        let client = self.clone();
        let pages = stream::try_unfold(Some(list), move |list| {
            let client = client.clone();
            async move {
                let Some(list) = list else { return Ok(None) };
                let page = client.list(&list).await?;
                // A node that names the same page again would be followed for ever.
                let next = page.next.filter(|next| list.cursor.as_ref() != Some(next));
                let rest = next.map(|next| List { cursor: Some(next), ..list });
                Ok(Some((stream::iter(page.items).map(Ok), rest)))
            }
        });
        pages.try_flatten()
    }

    /// How many pushes were dropped so far, because they were not newer than what is held, or nothing that is watched.
    #[must_use]
    pub fn refused_pushes(&self) -> u64 {
        self.shared.look(|registry| registry.refused_pushes())
    }

    /// Wakes the session only when the key is not watched yet.
    fn recall(&self, key: &ConfigKey) -> Recall {
        let (recall, has_outgoing) = self.shared.look(|registry| {
            let recall = Registry::recall(registry, key);
            (recall, registry.has_outgoing())
        });
        if has_outgoing {
            self.shared.outgoing.notify_one();
        }
        recall
    }
}

fn chosen_key() -> String {
    format!("{:032x}", rand::random::<u128>())
}
