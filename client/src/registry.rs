//! Everything the client knows between its sessions: what is watched and by whom, what is held, and what has to be said
//! to the node. Pure: sessions, watches and cached reads come here with what happened, and take what follows from it.
//!
//! # Driving it
//! 1. Before a hello: [`Registry::compose_hello`]. After the welcome: [`Registry::connected`].
//! 2. While the session lasts: hand in pushes and answers, and send what [`Registry::take_outgoing`] gives.
//! 3. When it ended, or no node could be reached: [`Registry::disconnected`].
//! 4. After each call: write what [`Registry::take_dirty`] gives to the disk, in the background.
//!
//! What was read from the disk (`saved`) becomes something that is held, and so something that the node need not push,
//! in a hello only: a node never has to guess what the client holds.

mod delivery;
mod targets;
mod watching;

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::SystemTime;

use callboard_proto::session as wire;
use tracing::info;

use self::targets::{Standing, Targets};
use crate::acknowledgements::{Acknowledgements, Outcome};
use crate::config::{Cached, Config, Freshness};
use crate::error::Error;
use crate::held::{Entry, Fetched, Held, Offer, Origin};
use crate::key::{ConfigKey, Target};
use crate::mailbox::Mailbox;

/// Configurations that are held at most; a prefix may cover more than its program thought.
const MAX_HELD: usize = 100_000;
/// Bytes of what a hello names at most, which leaves room for who says it; what is left is said after the welcome.
const MAX_HELLO: usize = 32 * 1024;
/// Configurations that are said to be held at once.
const HELD_AT_ONCE: usize = 500;
/// Things to watch that are asked for at once.
const WATCHED_AT_ONCE: usize = 500;
/// Longest reason of a rejection that a node takes, in characters.
const MAX_REASON: usize = 1_024;

/// Something to be said to the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outgoing {
    /// Watch these. The number comes back with the answer.
    Watch { targets: Vec<Target>, number: u64 },
    /// These are held, besides what the hello named.
    Hold(Vec<wire::Held>),
    /// Watch them no longer.
    Unwatch(Vec<Target>),
    /// Ask for the content of a push. The number comes back with the answer.
    Fetch { key: ConfigKey, number: u64 },
    /// This version is used, or can't be.
    Acknowledge { key: ConfigKey, version: u64, outcome: Outcome },
}

/// Whether a session is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The first tries are under way.
    Starting,
    /// No node can be reached.
    Disconnected { since: SystemTime },
    /// A session is there.
    Connected,
}

/// One watch of the program.
#[derive(Debug)]
struct Watcher {
    targets: Vec<Target>,
    mailbox: Mailbox,
}

/// What memory says to a cached read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Recall {
    /// This.
    Known(Cached),
    /// It is on its way.
    Wait,
    /// It can't be watched.
    Refused(Error),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Registry {
    phase: Phase,
    held: Held,
    saved: HashMap<ConfigKey, Entry>,
    targets: Targets,
    watchers: HashMap<u64, Watcher>,
    acknowledgements: Acknowledgements,
    outgoing: VecDeque<Outgoing>,
    /// What the hello had no room for.
    unsaid: Vec<wire::Held>,
    dirty: HashSet<ConfigKey>,
    last_number: u64,
    refused_pushes: u64,
    /// Why nothing will come any more.
    closed: Option<Error>,
}

impl Registry {
    /// Knows nothing.
    pub(crate) fn new() -> Self {
        Self {
            phase: Phase::Starting,
            held: Held::new(MAX_HELD),
            saved: HashMap::new(),
            targets: Targets::default(),
            watchers: HashMap::new(),
            acknowledgements: Acknowledgements::default(),
            outgoing: VecDeque::new(),
            unsaid: Vec::new(),
            dirty: HashSet::new(),
            last_number: 0,
            refused_pushes: 0,
            closed: None,
        }
    }

    /// These states were read from the disk.
    pub(crate) fn restore(&mut self, states: Vec<(Config, SystemTime)>) {
        for (config, saved_at) in states {
            self.saved.insert(config.key.clone(), Entry { config, origin: Origin::Snapshot { saved_at } });
        }
    }

    /// What to say in a hello that the client holds; what has no room there is said once it is connected. What is not
    /// watched any longer is put aside.
    pub(crate) fn compose_hello(&mut self) -> Vec<wire::Held> {
        let (held, targets) = (&mut self.held, &self.targets);
        held.forget_fetches();
        for entry in held.retain(|key| targets.select(key)) {
            self.saved.insert(entry.config.key.clone(), entry);
        }
        for (_, entry) in self.saved.extract_if(|key, _| targets.select(key)) {
            held.restore(entry);
        }
        self.acknowledgements.retain(|key| held.get(key).is_some());
        let mut bytes = 0;
        let marks = held.entries().map(|entry| entry.config.to_held());
        let (named, unsaid) = marks.partition(|mark| {
            bytes += size_at_most(mark);
            bytes <= MAX_HELLO
        });
        self.unsaid = unsaid;
        named
    }

    /// A session began with the hello composed last.
    pub(crate) fn connected(&mut self) {
        self.phase = Phase::Connected;
        self.outgoing.clear();
        // Before what is held is watched: a node pushes what it does not know to be held.
        let unsaid = std::mem::take(&mut self.unsaid);
        self.outgoing.extend(unsaid.chunks(HELD_AT_ONCE).map(|held| Outgoing::Hold(held.to_vec())));
        self.ask(&self.targets.usable());
    }

    /// The session ended, or no known node could be reached.
    pub(crate) fn disconnected(&mut self, now: SystemTime) {
        if self.phase == Phase::Starting && !self.saved.is_empty() {
            info!(snapshots = self.saved.len(), "no node can be reached: what was kept on the disk is given");
        }
        if !matches!(self.phase, Phase::Disconnected { .. }) {
            self.phase = Phase::Disconnected { since: now };
        }
        self.outgoing.clear();
        self.held.forget_fetches();
        let targets = self.targets.usable();
        for target in &targets {
            if let Some(watched) = self.targets.get_mut(target) {
                watched.standing = Standing::Idle;
            }
            self.deliver_stale(target);
        }
    }

    /// The node pushed something.
    pub(crate) fn pushed(&mut self, push: wire::Push) {
        let Some(key) = ConfigKey::from_wire(push.key.as_ref()).filter(|key| self.targets.select(key)) else {
            self.refused_pushes += 1;
            return;
        };
        let (version, reset) = (push.version, push.reset);
        let config = Config::from_push(key.clone(), push);
        let offer = match config.clone() {
            Some(config) => self.held.offer(config, reset),
            None => self.held.announce(&key, version, reset),
        };
        match (offer, config) {
            (Offer::Taken, Some(config)) => self.taken(&config, reset),
            (Offer::Fetch(number), _) => self.outgoing.push_back(Outgoing::Fetch { key, number }),
            (Offer::Taken | Offer::Refused, _) => self.refused(&key, version),
        }
    }

    /// The content of a push came, or one that may be older than it.
    pub(crate) fn fetched(&mut self, number: u64, config: Config) -> Fetched {
        let fetched = self.held.fetched(number, config.clone());
        if let Fetched::Taken(reset) = fetched {
            self.taken(&config, reset);
        }
        fetched
    }

    /// What is to be said to the node now.
    pub(crate) fn take_outgoing(&mut self) -> VecDeque<Outgoing> {
        std::mem::take(&mut self.outgoing)
    }

    /// True when something is to be said to the node.
    pub(crate) fn has_outgoing(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// The states that changed since the last call.
    pub(crate) fn take_dirty(&mut self) -> Vec<Config> {
        let dirty = std::mem::take(&mut self.dirty);
        let entries = dirty.iter().filter_map(|key| self.held.get(key).or_else(|| self.saved.get(key)));
        entries.map(|entry| entry.config.clone()).collect()
    }

    /// True when states changed.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Pushes that were dropped, because they were not newer or nothing that is watched.
    pub(crate) fn refused_pushes(&self) -> u64 {
        self.refused_pushes
    }

    /// What is known of a key that is to be cached from now on.
    pub(crate) fn recall(&mut self, key: &ConfigKey) -> Recall {
        if let Some(reason) = &self.closed {
            return self.recall_any(key).map_or_else(|| Recall::Refused(reason.clone()), Recall::Known);
        }
        let target = Target::Key(key.clone());
        let watched = self.targets.want(&target);
        watched.is_cached = true;
        let standing = watched.standing.clone();
        if let Standing::Refused(error) = standing {
            watched.is_cached = false;
            self.targets.drop_unwanted(&target);
            return Recall::Refused(error);
        }
        if standing == Standing::Idle {
            self.ask_if_connected(&[target]);
        }
        match self.phase {
            Phase::Connected if standing == Standing::Confirmed && !self.held.is_fetching(key) => {
                self.held.get(key).map_or(Recall::Wait, |entry| Recall::Known(live(entry)))
            }
            Phase::Disconnected { .. } => self.recall_any(key).map_or(Recall::Wait, Recall::Known),
            Phase::Connected | Phase::Starting => Recall::Wait,
        }
    }

    /// What is in memory of a key, however old.
    pub(crate) fn recall_any(&self, key: &ConfigKey) -> Option<Cached> {
        let entry = self.held.get(key).or_else(|| self.saved.get(key))?;
        Some(Cached { config: entry.config.clone(), freshness: self.stale(entry.origin) })
    }

    fn stale(&self, origin: Origin) -> Freshness {
        match (origin, self.phase) {
            (Origin::Snapshot { saved_at }, _) => Freshness::Snapshot { saved_at },
            (Origin::Node, Phase::Disconnected { since }) => Freshness::Disconnected { since },
            // A session is there, but has not come to this key yet.
            (Origin::Node, Phase::Connected | Phase::Starting) => Freshness::Disconnected { since: SystemTime::now() },
        }
    }
}

fn live(entry: &Entry) -> Cached {
    Cached { config: entry.config.clone(), freshness: Freshness::Live }
}

/// Bytes that a mark takes in a hello, or somewhat more.
fn size_at_most(mark: &wire::Held) -> usize {
    let key = mark.key.as_ref().map_or(0, |key| key.namespace.len() + key.group.len() + key.data_id.len());
    key + mark.md5.len() + 40
}

#[cfg(test)]
mod tests;
