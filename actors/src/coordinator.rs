//! The coordinator of one worker thread: knows who watches what, and hands each change to those concerned.
//!
//! Owns the register of watches of its thread, subscribed to the event bus: a change reaches the thread as one message
//! and is fanned out here. Reads nothing and decides nothing about what a client is sent: that is the session's.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Handler, Message, MessageResult, Recipient};
use callboard_protocol::config::SharedState;
use callboard_protocol::key::ConfigKey;
use callboard_protocol::watch::{Selector, What};
use serde_json::json;
use tokio::time::Instant;

use crate::event_bus::{ConfigEvent, EventBus, Subscribe};
use crate::monitored;
use crate::runtime::{Context, Observable};
use crate::subscription::{Held, Holder, subscription, until_forgotten};

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
    /// The node stops: answer and end.
    Drain,
}

/// Registers a watch. From the answer on, every change of a selected key is told.
#[derive(Debug, Message)]
#[rtype(result = "Result<Watching, WatchRefused>")]
pub struct Watch {
    /// Which keys.
    pub selector: Selector,
    /// Who is told.
    pub session: Recipient<SessionEvent>,
}

/// A watch that was registered.
#[derive(Debug)]
pub struct Watching {
    /// For [`Unwatch`].
    pub id: WatchId,
    /// Tells when the coordinator forgot the watch.
    pub held: Held,
}

/// Names a watch within its coordinator.
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

/// Tells every session to answer and end, and takes no new ones. Answers how many there were.
#[derive(Debug, Message)]
#[rtype(result = "usize")]
pub struct Drain;

/// Asks how many watches are held.
#[derive(Debug, Message)]
#[rtype(result = "usize")]
pub struct CountWatches;

#[derive(Debug)]
struct Registered {
    selector: Selector,
    session: Recipient<SessionEvent>,
    /// Its drop tells the session to register anew.
    _holder: Holder,
}

/// The coordinator of one worker.
#[derive(Debug)]
pub struct Coordinator {
    bus: Addr<EventBus>,
    max_watches: usize,
    next: u64,
    watches: HashMap<WatchId, Registered>,
    /// Watches of named keys.
    exact: HashMap<ConfigKey, Vec<WatchId>>,
    /// Watches of prefixes, by namespace.
    prefixes: HashMap<String, Vec<WatchId>>,
    /// When everything was looked through for watches that nobody has any more.
    swept: Option<Instant>,
    stopping: bool,
}

impl Coordinator {
    /// A coordinator that hears of changes from `bus` and holds at most `max_watches`.
    #[must_use]
    pub fn new(bus: Addr<EventBus>, max_watches: usize) -> Self {
        Self {
            bus,
            max_watches,
            next: 0,
            watches: HashMap::new(),
            exact: HashMap::new(),
            prefixes: HashMap::new(),
            swept: None,
            stopping: false,
        }
    }

    /// Subscribes, and again whenever the bus forgets; what was told in between is looked up by the sessions.
    fn subscribe(&mut self, context: &mut Context<Self>) {
        let (bus, me) = (self.bus.clone(), context.address());
        let forgotten = until_forgotten(async move {
            let held = bus.send(Subscribe(me.clone().recipient())).await?;
            // Not before: what happens from here on is told by the bus.
            me.do_send(ConfigEvent::Recheck);
            Ok(held)
        });
        context.spawn(wrap_future(forgotten).map(|(), coordinator: &mut Self, context| coordinator.subscribe(context)));
    }

    fn tell_all(&mut self, event: &SessionEvent) {
        self.sweep();
        for watch in self.watches.values() {
            watch.session.do_send(event.clone());
        }
    }

    fn unwatch(&mut self, id: WatchId) {
        if let Some(watch) = self.watches.remove(&id) {
            self.unindex(id, &watch.selector);
        }
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
    fn is_full(&mut self) -> bool {
        if self.watches.len() >= self.max_watches && self.swept.is_none_or(|swept| swept.elapsed() >= SWEEP_INTERVAL) {
            self.sweep();
        }
        self.watches.len() >= self.max_watches
    }

    fn index(&mut self, id: WatchId, selector: &Selector) {
        for key in selector.keys() {
            self.exact.entry(key).or_default().push(id);
        }
        if matches!(selector.what(), What::Prefix(_)) {
            self.prefixes.entry(selector.namespace().to_owned()).or_default().push(id);
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

fn forget<K, Q>(index: &mut HashMap<K, Vec<WatchId>>, key: &Q, id: WatchId)
where
    K: Borrow<Q> + Hash + Eq,
    Q: Hash + Eq + ?Sized,
{
    if let Some(ids) = index.get_mut(key) {
        ids.retain(|held| *held != id);
        if ids.is_empty() {
            index.remove(key);
        }
    }
}

impl Actor for Coordinator {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.subscribe(context);
    }
}

monitored!(Coordinator, "coordinator");

impl Observable for Coordinator {
    fn observe(&self) -> serde_json::Value {
        json!({ "watches": self.watches.len(), "keys": self.exact.len(), "stopping": self.stopping })
    }
}

impl Handler<Watch> for Coordinator {
    type Result = MessageResult<Watch>;

    fn handle(&mut self, Watch { selector, session }: Watch, _: &mut Context<Self>) -> Self::Result {
        if self.stopping {
            return MessageResult(Err(WatchRefused::Stopping));
        }
        if self.is_full() {
            return MessageResult(Err(WatchRefused::Full));
        }
        self.next += 1;
        let id = WatchId(self.next);
        self.index(id, &selector);
        let (holder, held) = subscription();
        self.watches.insert(id, Registered { selector, session, _holder: holder });
        MessageResult(Ok(Watching { id, held }))
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

    fn handle(&mut self, Drain: Drain, _: &mut Context<Self>) -> usize {
        self.stopping = true;
        self.tell_all(&SessionEvent::Drain);
        self.watches.len()
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
