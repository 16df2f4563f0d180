//! The coordinator of one worker thread: knows who is connected and who watches what, and hands each change to those
//! concerned.
//!
//! Owns the register of watches of its thread, subscribed to the event bus: a change reaches the thread as one message
//! and is fanned out here. Owns who is connected as well ([`connections`]): what they report of their pushes
//! goes to the event bus in batches. Reads nothing and decides nothing about what a client is sent: that is the
//! session's.

pub mod connections;
pub mod unwanted;

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix::{Actor, Addr, Handler, Message, MessageResult, Recipient};
use callboard_protocol::config::SharedState;
use callboard_protocol::key::ConfigKey;
use callboard_protocol::member::NodeId;
use callboard_protocol::push_ledger::SessionNumber;
use callboard_protocol::watch::{Selector, What};
use serde_json::json;
use tokio::time::Instant;

use self::connections::{Connections, Owner};
use self::unwanted::Unwanted;
use crate::event_bus::{ConfigEvent, EventBus, PublishPushes, PushNews, keep_told};
use crate::monitored;
use crate::runtime::{Context, Observable};
use crate::subscription::{Subscription, SubscriptionGuard, subscription};

/// How often a full register is looked through for watches that may go.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// What a session is told.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub enum SessionEvent {
    /// These watched keys changed; in revision order.
    Changed(Vec<SharedState>),
    /// Changes may have been missed, or lost by the database after they were told: look again, and take what is there
    /// even where it is older than what was seen.
    Recheck,
    /// The node stops, or leaves the cluster: answer and end. Names where other nodes are reached over native sessions.
    Drain(Arc<[String]>),
}

/// Registers a watch. From the answer on, every change of a selected key is told.
#[derive(Debug, Message)]
#[rtype(result = "Result<Watching, WatchRefused>")]
pub struct Watch {
    /// Which keys.
    pub selector: Selector,
    /// Who is told.
    pub session: Recipient<SessionEvent>,
    /// The connection of a client that has one: the watch ends with it, at the latest.
    pub connection: Option<SessionNumber>,
}

/// Registers watches of one connection, in their order, up to the first that is refused. From the answer on, every
/// change of a key that one of those selects is told. They are forgotten with the connection. All are registered in
/// one go: who has many asks several times.
#[derive(Debug, Message)]
#[rtype(result = "WatchedMany")]
pub struct WatchMany {
    /// Which keys, a watch for each.
    pub selectors: Vec<Selector>,
    /// Who is told.
    pub session: Recipient<SessionEvent>,
    /// The connection: the watches end with it, at the latest.
    pub connection: SessionNumber,
}

/// Watches that were registered.
#[derive(Debug, PartialEq, Eq)]
pub struct WatchedMany {
    /// Those of the first selectors, in their order.
    pub ids: Vec<WatchId>,
    /// Why there is none for the next one.
    pub refused: Option<WatchRefused>,
}

/// A watch that was registered.
#[derive(Debug)]
pub struct Watching {
    /// For [`Unwatch`].
    pub id: WatchId,
    /// Tells when the coordinator forgot the watch.
    pub held: Subscription,
}

/// The number of the next watch. It goes on over the lives of a coordinator: whoever takes back a watch of an earlier
/// life must not end another one.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// Names a watch, within the life of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WatchId(u64);

/// Why a watch was not registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WatchRefused {
    /// As many are held as are allowed.
    #[error("this node holds as many requests as it may")]
    Full,
    /// The node is stopping.
    #[error("this node is stopping")]
    Stopping,
}

/// Takes a watch back.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Unwatch(pub WatchId);

/// Tells every session to answer and end, and takes no new ones. Answers how many there were. Names where other nodes
/// are reached over native sessions.
#[derive(Debug, Message)]
#[rtype(result = "usize")]
pub struct Drain(pub Arc<[String]>);

/// Asks how many watches are held.
#[derive(Debug, Message)]
#[rtype(result = "usize")]
pub struct CountWatches;

#[derive(Debug)]
struct Registered {
    selector: Selector,
    session: Recipient<SessionEvent>,
    connection: Option<Owner>,
    /// Its drop tells the session to register anew. One of many hears it of its connection.
    _holder: Option<SubscriptionGuard>,
}

/// The coordinator of one worker.
#[derive(Debug)]
pub struct Coordinator {
    bus: Addr<EventBus>,
    capacity: Capacity,
    watches: HashMap<WatchId, Registered>,
    /// Watches of named keys.
    exact: HashMap<ConfigKey, BTreeSet<WatchId>>,
    /// Watches of prefixes, by namespace.
    prefixes: HashMap<String, BTreeSet<WatchId>>,
    unwanted: Unwanted,
    /// When everything was looked through for watches that nobody has any more.
    swept: Option<Instant>,
    stopping: bool,
    connections: Connections,
}

/// What one coordinator holds at most.
#[derive(Debug, Clone, Copy)]
pub struct Capacity {
    /// Watches of held requests and streams.
    pub watches: usize,
    /// Watches of native sessions.
    pub session_watches: usize,
}

impl Coordinator {
    /// A coordinator that hears of changes from `bus`; `node` is the one it is of.
    #[must_use]
    pub fn new(bus: Addr<EventBus>, capacity: Capacity, node: NodeId) -> Self {
        Self {
            bus,
            capacity,
            connections: Connections::new(node),
            watches: HashMap::new(),
            exact: HashMap::new(),
            prefixes: HashMap::new(),
            unwanted: Unwanted::default(),
            swept: None,
            stopping: false,
        }
    }

    /// Tells every session once, however many watches it has.
    fn tell_all(&mut self, event: &SessionEvent) {
        self.sweep();
        for watch in self.watches.values().filter(|watch| watch.connection.is_none()) {
            watch.session.do_send(event.clone());
        }
        self.connections.tell_all(event);
    }

    fn unwatch(&mut self, id: WatchId) {
        if let Some(watch) = self.watches.remove(&id) {
            self.unindex(id, &watch.selector);
            if let Some(owner) = watch.connection {
                self.connections.unwatched(owner, id);
            }
        }
    }

    fn watch(
        &mut self,
        selector: Selector,
        session: Recipient<SessionEvent>,
        connection: Option<SessionNumber>,
        holder: Option<SubscriptionGuard>,
    ) -> Result<WatchId, WatchRefused> {
        if self.stopping {
            return Err(WatchRefused::Stopping);
        }
        if self.is_full(connection.is_some_and(|connection| self.connections.is_session(connection))) {
            return Err(WatchRefused::Full);
        }
        let id = WatchId(NEXT.fetch_add(1, Ordering::Relaxed));
        let connection = match connection {
            // The session has gone, or is about to be connected again.
            Some(connection) => Some(self.connections.watched(connection, id).ok_or(WatchRefused::Full)?),
            None => None,
        };
        self.index(id, &selector);
        self.watches.insert(id, Registered { selector, session, connection, _holder: holder });
        Ok(id)
    }

    /// How many sessions there are.
    fn sessions(&self) -> usize {
        self.watches.len() - self.connections.watches() + self.connections.len()
    }

    /// Drops the watches of sessions that are gone. Most take theirs back; one that failed, or that did not hear in
    /// time that it had one, does not.
    fn sweep(&mut self) {
        self.swept = Some(Instant::now());
        let gone: Vec<WatchId> =
            self.watches.iter().filter(|(_, watch)| !watch.session.connected()).map(|(id, _)| *id).collect();
        for id in gone {
            self.unwatch(id);
        }
    }

    /// True when no further watch may be held. Looks for some that may go, but not at every refusal.
    fn is_full(&mut self, is_session: bool) -> bool {
        let is_full = |coordinator: &Self| {
            let sessions = coordinator.connections.session_watches();
            let Capacity { watches, session_watches } = coordinator.capacity;
            if is_session { sessions >= session_watches } else { coordinator.watches.len() - sessions >= watches }
        };
        if is_full(self) {
            self.end_slice();
        }
        if is_full(self) && self.swept.is_none_or(|swept| swept.elapsed() >= SWEEP_INTERVAL) {
            self.sweep();
        }
        is_full(self)
    }

    fn index(&mut self, id: WatchId, selector: &Selector) {
        for key in selector.keys() {
            self.exact.entry(key).or_default().insert(id);
        }
        if matches!(selector.what(), What::Prefix(_)) {
            self.prefixes.entry(selector.namespace().to_owned()).or_default().insert(id);
        }
    }

    fn unindex(&mut self, id: WatchId, selector: &Selector) {
        for key in selector.keys() {
            forget(&mut self.exact, &key, id);
        }
        if matches!(selector.what(), What::Prefix(_)) {
            forget(&mut self.prefixes, selector.namespace(), id);
        }
    }

    fn changed(&mut self, states: &[SharedState]) {
        let mut concerned: BTreeMap<WatchId, Vec<SharedState>> = BTreeMap::new();
        for state in states {
            let exact = self.exact.get(&state.key).into_iter().flatten();
            let prefixes = self.prefixes.get(state.key.namespace()).into_iter().flatten();
            let by_prefix =
                prefixes.filter(|id| self.watches.get(id).is_some_and(|watch| watch.selector.matches(&state.key)));
            for id in exact.chain(by_prefix) {
                concerned.entry(*id).or_default().push(SharedState::clone(state));
            }
        }
        for (id, states) in concerned {
            match self.watches.get(&id) {
                // The session is on this thread and keeps only the newest per key, so nothing piles up.
                Some(watch) if watch.session.connected() => watch.session.do_send(SessionEvent::Changed(states)),
                Some(_) | None => self.unwatch(id),
            }
        }
    }
}

fn forget<K, Q>(index: &mut HashMap<K, BTreeSet<WatchId>>, key: &Q, id: WatchId)
where
    K: Borrow<Q> + Hash + Eq,
    Q: Hash + Eq + ?Sized,
{
    if let Some(ids) = index.get_mut(key) {
        ids.remove(&id);
        if ids.is_empty() {
            index.remove(key);
        }
    }
}

impl Actor for Coordinator {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        keep_told(context, self.bus.clone());
        // What the life before this one had not passed on is lost.
        self.bus.do_send(PublishPushes(PushNews::Missed));
    }
}

monitored!(Coordinator, "coordinator");

impl Observable for Coordinator {
    fn observe(&self) -> serde_json::Value {
        json!({
            "watches": self.watches.len(),
            "keys": self.exact.len(),
            "seats": self.connections.len(),
            "stopping": self.stopping,
        })
    }
}

impl Handler<Watch> for Coordinator {
    type Result = MessageResult<Watch>;

    fn handle(&mut self, Watch { selector, session, connection }: Watch, _: &mut Context<Self>) -> Self::Result {
        let (holder, held) = subscription();
        MessageResult(self.watch(selector, session, connection, Some(holder)).map(|id| Watching { id, held }))
    }
}

impl Handler<WatchMany> for Coordinator {
    type Result = MessageResult<WatchMany>;

    fn handle(&mut self, asked: WatchMany, _: &mut Context<Self>) -> Self::Result {
        let WatchMany { selectors, session, connection } = asked;
        let mut ids = Vec::with_capacity(selectors.len());
        for selector in selectors {
            match self.watch(selector, session.clone(), Some(connection), None) {
                Ok(id) => ids.push(id),
                Err(refused) => return MessageResult(WatchedMany { ids, refused: Some(refused) }),
            }
        }
        MessageResult(WatchedMany { ids, refused: None })
    }
}

impl Handler<Unwatch> for Coordinator {
    type Result = ();

    fn handle(&mut self, Unwatch(id): Unwatch, _: &mut Context<Self>) {
        self.unwatch(id);
    }
}

impl Handler<ConfigEvent> for Coordinator {
    type Result = ();

    fn handle(&mut self, event: ConfigEvent, _: &mut Context<Self>) {
        match event {
            ConfigEvent::Changed(states) => self.changed(&states),
            ConfigEvent::Recheck => self.tell_all(&SessionEvent::Recheck),
        }
    }
}

impl Handler<Drain> for Coordinator {
    type Result = usize;

    fn handle(&mut self, Drain(elsewhere): Drain, _: &mut Context<Self>) -> usize {
        self.stopping = true;
        self.tell_all(&SessionEvent::Drain(elsewhere));
        self.sessions()
    }
}

impl Handler<CountWatches> for Coordinator {
    type Result = usize;

    fn handle(&mut self, CountWatches: CountWatches, _: &mut Context<Self>) -> usize {
        self.watches.len()
    }
}

#[cfg(test)]
mod tests;
