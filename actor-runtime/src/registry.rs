//! Who is running.
//!
//! It owns the names of the running actors and the figures of those that stopped, so that the
//! totals of a kind never go down. It holds weak addresses only: being registered keeps no
//! actor alive. It starts nothing, and its lock is never taken while a message is handled.

use std::{
    collections::{BTreeMap, btree_map},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

use actix::{WeakAddr, WeakRecipient};

#[cfg(any(test, feature = "fault-injection"))]
use super::Panic;
use super::{
    AskError, MailboxDepth, Monitored, Observe, ask,
    meter::{Meter, Tally},
    report::{ActorReport, Observation, millis},
    start::Spec,
};

/// The register of running actors; clones share it.
#[derive(Clone, Default)]
pub struct Registry {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    actors: BTreeMap<String, Entry>,
    kinds: BTreeMap<&'static str, Kind>,
}

/// A running actor, or the aggregated actors of one name on one thread.
struct Entry {
    kind: &'static str,
    arbiter: String,
    started: Instant,
    meter: Arc<Meter>,
    live: u64,
    /// The thread of an aggregate, the one writer of its meter. `None` for a single actor.
    aggregate_on: Option<ThreadId>,
    /// Of an aggregate, the instance started last.
    addresses: Addresses,
}

struct Addresses {
    observe: WeakRecipient<Observe>,
    #[cfg(any(test, feature = "fault-injection"))]
    panic: WeakRecipient<Panic>,
}

struct Kind {
    depth: &'static MailboxDepth,
    /// The sums of the single actors that stopped.
    retired: Tally,
}

/// The figures of all actors of a kind since the start of the process.
pub(super) struct KindTotal {
    pub(super) kind: &'static str,
    pub(super) live: u64,
    pub(super) mailbox_depth: u64,
    pub(super) tally: Tally,
}

impl Registry {
    /// Creates an empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reports every running actor and every aggregate, by name.
    #[must_use]
    pub fn list(&self) -> Vec<ActorReport> {
        let state = self.lock();
        state.actors.iter().map(|(name, entry)| state.report(name, entry)).collect()
    }

    /// Reports one running actor or aggregate.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<ActorReport> {
        let state = self.lock();
        let entry = state.actors.get(name)?;
        Some(state.report(name, entry))
    }

    /// Reports one actor and asks it for its own snapshot, waiting at most for `deadline`.
    /// Returns `None` if no actor has that name. An aggregate has no snapshot.
    pub async fn observe(&self, name: &str, deadline: Duration) -> Option<Observation> {
        let (report, recipient) = {
            let state = self.lock();
            let entry = state.actors.get(name)?;
            let recipient = match entry.aggregate_on {
                None => Ok(entry.addresses.observe.upgrade()),
                Some(_) => Err("an aggregate has no snapshot"),
            };
            (state.report(name, entry), recipient)
        };
        let answer = match recipient {
            Ok(Some(recipient)) => match ask(&recipient, Observe, deadline).await {
                Ok(snapshot) => Ok(snapshot),
                Err(AskError::TimedOut) => Err(format!("not answered within {} ms", deadline.as_millis())),
                Err(AskError::Closed) => Err("the actor stopped or failed".to_owned()),
            },
            Ok(None) => Err("the actor stopped".to_owned()),
            Err(reason) => Err(reason.to_owned()),
        };
        let (snapshot, snapshot_missing) = match answer {
            Ok(snapshot) => (Some(snapshot), None),
            Err(reason) => (None, Some(reason)),
        };
        Some(Observation { report, snapshot, snapshot_missing })
    }

    /// Makes the named actor panic; of an aggregate, the instance started last. Returns whether
    /// there was one to send it to.
    #[cfg(any(test, feature = "fault-injection"))]
    #[must_use]
    pub fn panic_in(&self, name: &str) -> bool {
        let state = self.lock();
        let entry = state.actors.get(name);
        let recipient = entry.and_then(|entry| entry.addresses.panic.upgrade());
        drop(state);
        if let Some(recipient) = &recipient {
            recipient.do_send(Panic);
        }
        recipient.is_some()
    }

    /// Sums up each kind that ever ran.
    pub(super) fn totals(&self) -> Vec<KindTotal> {
        let state = self.lock();
        let of_kind = |(kind, figures): (&&'static str, &Kind)| {
            let mut total =
                KindTotal { kind, live: 0, mailbox_depth: figures.depth.get(), tally: figures.retired.clone() };
            for entry in state.actors.values().filter(|entry| entry.kind == *kind) {
                total.live += entry.live;
                total.tally.absorb(&entry.meter);
            }
            total
        };
        state.kinds.iter().map(of_kind).collect()
    }

    /// Enters an actor. An aggregate must be entered on the thread that will run it.
    pub(super) fn enter<A: Monitored>(&self, spec: &Spec, addr: &WeakAddr<A>) -> Registration {
        let addresses = Addresses {
            observe: addr.clone().recipient(),
            #[cfg(any(test, feature = "fault-injection"))]
            panic: addr.clone().recipient(),
        };
        let mut state = self.lock();
        state.kinds.entry(A::KIND).or_insert_with(|| Kind { depth: A::mailbox_depth(), retired: Tally::default() });
        let aggregate_on = spec.aggregate.then(|| thread::current().id());
        let (name, meter) = state.enter(spec, A::KIND, aggregate_on, addresses);
        drop(state);
        Registration { registry: self.clone(), name, kind: A::KIND, meter }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.lock().actors.keys().cloned().collect();
        formatter.debug_tuple("Registry").field(&names).finish()
    }
}

impl State {
    fn report(&self, name: &str, entry: &Entry) -> ActorReport {
        let mut tally = Tally::default();
        tally.absorb(&entry.meter);
        let depth = self.kinds.get(entry.kind).map(|kind| kind.depth.get());
        ActorReport {
            name: name.to_owned(),
            kind: entry.kind,
            arbiter: entry.arbiter.clone(),
            live: entry.live,
            uptime_ms: millis(entry.started.elapsed()),
            mailbox_depth: depth.unwrap_or(0),
            messages: Vec::new(),
            restarts: 0,
            panics: 0,
            cancelled: 0,
        }
        .measured(&tally)
    }

    /// Takes the wished name, or that name with `#2`, `#3` … if another actor has it; an
    /// aggregate joins the entry of its name and thread.
    fn enter(
        &mut self,
        spec: &Spec,
        kind: &'static str,
        aggregate_on: Option<ThreadId>,
        addresses: Addresses,
    ) -> (String, Arc<Meter>) {
        let mut name = spec.name.clone();
        let mut taken = 1_u64;
        loop {
            match self.actors.entry(name.clone()) {
                btree_map::Entry::Vacant(place) => {
                    let meter = Arc::new(Meter::default());
                    place.insert(Entry {
                        kind,
                        arbiter: spec.arbiter.clone(),
                        started: Instant::now(),
                        meter: Arc::clone(&meter),
                        live: 1,
                        aggregate_on,
                        addresses,
                    });
                    return (name, meter);
                }
                btree_map::Entry::Occupied(mut place) => {
                    let entry = place.get_mut();
                    if aggregate_on.is_some() && entry.aggregate_on == aggregate_on && entry.kind == kind {
                        entry.live += 1;
                        entry.addresses = addresses;
                        return (name, Arc::clone(&entry.meter));
                    }
                    taken += 1;
                    name = format!("{}#{taken}", spec.name);
                }
            }
        }
    }

    /// An aggregate stays with its figures; a single actor leaves them to its kind.
    fn leave(&mut self, name: &str) {
        let Some(entry) = self.actors.get_mut(name) else {
            return;
        };
        entry.live = entry.live.saturating_sub(1);
        if entry.aggregate_on.is_some() {
            return;
        }
        if let Some(entry) = self.actors.remove(name)
            && let Some(kind) = self.kinds.get_mut(entry.kind)
        {
            kind.retired.absorb(&entry.meter);
        }
    }
}

/// An actor's place in the registry, given up on drop.
pub(super) struct Registration {
    registry: Registry,
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) meter: Arc<Meter>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.lock().leave(&self.name);
    }
}
