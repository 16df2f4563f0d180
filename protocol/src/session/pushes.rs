//! What one session is pushed: which keys it watches, what its client holds of each, and the queue between the changes
//! and its connection. Owns the rule that each key only ever moves forward for the client and ends at the newest state;
//! reads no database and writes no socket.
//!
//! # Driving [`Pushes`]
//! 1. Register for live changes of a selector, then [`Pushes::watch`] it. [`Pushes::offer`] every live change.
//! 2. While [`Pushes::next_read`] gives something, read it, and hand the answer to [`Pushes::read_keys`],
//!    [`Pushes::read_prefix`] or [`Pushes::read_failed`]. One read is under way at a time. Reads are never older than
//!    what was told live before they began.
//! 3. Send what [`Pushes::next`] gives. When it gives nothing, [`Pushes::take_watching`] says which watches are
//!    complete.
//! 4. When live changes may have been lost, or the database has lost some that were told: [`Pushes::recheck`].
//!
//! # Going back
//! Versions rise, so that a state which is not newer than the last one sent is dropped. One thing alone can make a key
//! go back: a database that lost commits. A read shows it, when it is older than what was sent although nothing was
//! told while it ran; the client is then sent what is there with a word that it is to be taken all the same. A read
//! during which the key was told live says nothing about that, and is done again.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::client::Client;
use super::position::{Mark, Position, Pushed, Reaction};
use crate::config::{ConfigState, SharedState, Version};
use crate::key::ConfigKey;
use crate::watch::{Selector, What};

/// Keys read by one statement.
const READ_AT_ONCE: usize = 500;

/// What is to be read next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// These keys.
    Keys(Vec<ConfigKey>),
    /// Everything that this selector matches.
    Prefix(Selector),
}

/// A state on its way to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The state.
    pub state: SharedState,
    /// The client has to take it although it is not newer.
    pub reset: bool,
    /// A version pushed earlier that the client has not answered, and need not any longer.
    pub superseded: Option<Version>,
}

/// What an answer of the client was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// The last version pushed, and it says something new.
    Counts,
    /// Nothing new, or a version that a later one has superseded.
    Late,
    /// A version that this session was never sent.
    NotPushed,
}

#[derive(Debug, Default)]
struct Known {
    position: Position,
    queued: Option<Queued>,
    /// The version that the client was told last, or said to hold: it takes no other one that is not above it.
    told: Option<Version>,
    /// The version that the client was given when it asked.
    given: Option<Version>,
}

#[derive(Debug)]
struct Queued {
    state: SharedState,
    reset: bool,
}

#[derive(Debug)]
struct Reading {
    what: Read,
    /// Keys that were told live while it runs.
    disturbed: HashSet<ConfigKey>,
    /// What it brings may be too old.
    again: bool,
}

/// A request to watch that is not complete.
#[derive(Debug)]
struct Ticket {
    id: u64,
    unread: HashSet<Selector>,
    unsent: HashSet<ConfigKey>,
    /// All that it watches was named.
    is_whole: bool,
}

/// The pushes of one session.
#[derive(Debug)]
pub struct Pushes {
    client: Arc<Client>,
    exact: HashSet<ConfigKey>,
    prefixes: BTreeSet<PrefixWatch>,
    known: HashMap<ConfigKey, Known>,
    queue: BTreeSet<(Version, ConfigKey)>,
    unread_keys: BTreeSet<ConfigKey>,
    unread_prefixes: Vec<Selector>,
    reading: Option<Reading>,
    tickets: Vec<Ticket>,
    max_keys: usize,
    overflowed: bool,
}

/// A selector with a place in an order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct PrefixWatch(String, Option<String>, String);

impl PrefixWatch {
    fn of(selector: &Selector, prefix: &str) -> Self {
        Self(selector.namespace().to_owned(), selector.group().map(str::to_owned), prefix.to_owned())
    }

    fn matches(&self, key: &ConfigKey) -> bool {
        let Self(namespace, group, prefix) = self;
        namespace == key.namespace()
            && group.as_deref().is_none_or(|group| group == key.group())
            && key.data_id().starts_with(prefix.as_str())
    }
}

impl Pushes {
    /// The pushes of a client that holds nothing yet and may know of `max_keys` keys.
    #[must_use]
    pub fn new(client: Arc<Client>, max_keys: usize) -> Self {
        Self {
            client,
            exact: HashSet::new(),
            prefixes: BTreeSet::new(),
            known: HashMap::new(),
            queue: BTreeSet::new(),
            unread_keys: BTreeSet::new(),
            unread_prefixes: Vec::new(),
            reading: None,
            tickets: Vec::new(),
            max_keys,
            overflowed: false,
        }
    }

    /// The client says that it holds this: only what differs is pushed.
    pub fn hold(&mut self, key: ConfigKey, mark: Mark) {
        if let Some(known) = self.known_of(key) {
            known.position.holds = Some(mark);
            known.told = Some(mark.version);
        }
    }

    /// Watches what these select. `id` is told as complete when all of it was read, and what was new in it was sent. It
    /// may be named in parts, one call after the other, of which one `is_last`.
    pub fn watch(&mut self, id: u64, selectors: &[Selector], is_last: bool) {
        for selector in selectors {
            match selector.what() {
                What::Exact(_) => {
                    for key in selector.keys() {
                        self.exact.insert(key.clone());
                        self.unread_keys.insert(key);
                    }
                }
                What::Prefix(prefix) => {
                    self.prefixes.insert(PrefixWatch::of(selector, prefix));
                    self.unread_prefixes.push(selector.clone());
                }
            }
        }
        if self.tickets.last().is_none_or(|ticket| ticket.is_whole) {
            self.tickets.push(Ticket { id, unread: HashSet::new(), unsent: HashSet::new(), is_whole: false });
        }
        let Some(ticket) = self.tickets.last_mut() else { return };
        ticket.unread.extend(selectors.iter().cloned());
        ticket.is_whole = is_last;
    }

    /// Stops watching what these select, where nothing else that is watched selects it. What the client holds stays
    /// known.
    pub fn unwatch(&mut self, selectors: &[Selector]) {
        for selector in selectors {
            match selector.what() {
                What::Exact(_) => {
                    for key in selector.keys() {
                        self.exact.remove(&key);
                        self.unread_keys.remove(&key);
                        if !self.is_watched(&key) {
                            self.unqueue(&key);
                        }
                    }
                }
                What::Prefix(prefix) => {
                    self.prefixes.remove(&PrefixWatch::of(selector, prefix));
                    self.unread_prefixes.retain(|unread| unread != selector);
                    let queued = self.queue.iter().map(|(_, key)| key);
                    let unwatched: Vec<_> = queued.filter(|key| !self.is_watched(key)).cloned().collect();
                    for key in unwatched {
                        self.unqueue(&key);
                    }
                }
            }
            for ticket in &mut self.tickets {
                ticket.unread.remove(selector);
            }
        }
    }

    /// True when the key is watched, by itself or by a prefix.
    #[must_use]
    pub fn is_watched(&self, key: &ConfigKey) -> bool {
        self.exact.contains(key) || self.prefixes.iter().any(|prefix| prefix.matches(key))
    }

    /// A change that was told live.
    pub fn offer(&mut self, state: &SharedState) {
        if !self.is_watched(&state.key) {
            return;
        }
        if let Some(reading) = &mut self.reading {
            reading.disturbed.insert(state.key.clone());
        }
        let newest = self.newest(&state.key);
        if newest.is_none_or(|newest| newest.version < state.version) {
            self.take(state);
        }
    }

    /// Changes may have been lost, or the database has lost some that were told: everything is read again, and what was
    /// read so far says nothing.
    pub fn recheck(&mut self) {
        self.unread_keys = self.exact.iter().cloned().collect();
        let selector = |PrefixWatch(namespace, group, prefix): &PrefixWatch| {
            // Its names were checked when it was made.
            Selector::prefix(namespace, group.as_deref(), prefix).ok()
        };
        self.unread_prefixes = self.prefixes.iter().filter_map(selector).collect();
        if let Some(reading) = &mut self.reading {
            reading.again = true;
        }
    }

    /// What to read now; `None` when nothing is to be read, or a read is under way.
    pub fn next_read(&mut self) -> Option<Read> {
        if self.reading.is_some() {
            return None;
        }
        let what = match self.unread_prefixes.pop() {
            Some(selector) => Read::Prefix(selector),
            None if self.unread_keys.is_empty() => return None,
            None => {
                let keys: Vec<ConfigKey> = self.unread_keys.iter().take(READ_AT_ONCE).cloned().collect();
                for key in &keys {
                    self.unread_keys.remove(key);
                }
                if self.unread_keys.is_empty() {
                    self.unread_keys = BTreeSet::new();
                }
                Read::Keys(keys)
            }
        };
        self.reading = Some(Reading { what: what.clone(), disturbed: HashSet::new(), again: false });
        Some(what)
    }

    /// The read failed: the same is read again.
    pub fn read_failed(&mut self) {
        if let Some(Reading { what, .. }) = self.reading.take() {
            self.read_again(what);
        }
    }

    /// The states of the keys that were read.
    pub fn read_keys(&mut self, states: &[SharedState]) {
        let Some(Reading { what, disturbed, again }) = self.reading.take() else { return };
        if again {
            self.read_again(what);
            return;
        }
        let mut settled = Vec::with_capacity(states.len());
        for state in states.iter().filter(|state| self.exact.contains(&state.key)).map(Arc::clone).collect::<Vec<_>>() {
            if self.settle(&state, disturbed.contains(&state.key)) {
                settled.push(Selector::of_key(&state.key));
            } else {
                self.unread_keys.insert(state.key.clone());
            }
        }
        self.tick_off(&settled);
    }

    /// Everything that exists of what a prefix selects, as of `revision`.
    pub fn read_prefix(&mut self, revision: Version, states: &[SharedState]) {
        let Some(Reading { what: Read::Prefix(selector), disturbed, again }) = self.reading.take() else { return };
        let What::Prefix(prefix) = selector.what() else { return };
        if !self.prefixes.contains(&PrefixWatch::of(&selector, prefix)) {
            return;
        }
        if again {
            self.unread_prefixes.push(selector);
            return;
        }
        let present: HashSet<&ConfigKey> = states.iter().map(|state| &state.key).collect();
        // What is known to be absent is of interest when that is known from later on: the database has gone back.
        let concerns = |newest: Mark| newest.md5.is_some() || newest.version > revision;
        let gone: Vec<SharedState> = (self.known.keys())
            .filter(|key| selector.matches(key) && !present.contains(key) && self.newest(key).is_some_and(concerns))
            .map(|key| Arc::new(ConfigState::absent(key.clone(), revision)))
            .collect();
        let mut is_settled = true;
        for state in states.iter().chain(&gone) {
            is_settled &= self.settle(state, disturbed.contains(&state.key));
        }
        if is_settled {
            self.tick_off(&[selector]);
        } else {
            self.unread_prefixes.push(selector);
        }
    }

    /// Takes the state to send next: of all that wait the one with the lowest version.
    #[allow(clippy::should_implement_trait, reason = "a queue that runs dry and fills again is no iterator")]
    pub fn next(&mut self) -> Option<Outgoing> {
        let (_, key) = self.queue.pop_first()?;
        if self.queue.is_empty() {
            // An empty tree keeps its memory, and most sessions are quiet.
            self.queue = BTreeSet::new();
        }
        let known = self.known.get_mut(&key)?;
        let Queued { state, reset } = known.queued.take()?;
        known.told = Some(state.version);
        let position = &mut known.position;
        position.holds = Some(Mark::of(&state, &self.client));
        let before = position.pushed.replace(Pushed { version: state.version, reaction: Reaction::Unanswered });
        let superseded = before.filter(|before| before.reaction == Reaction::Unanswered).map(|before| before.version);
        for ticket in &mut self.tickets {
            ticket.unsent.remove(&key);
        }
        Some(Outgoing { state, reset, superseded })
    }

    /// True when nothing waits to be sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// How many keys wait to be sent.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// The requests to watch that are complete, each told once.
    pub fn take_watching(&mut self) -> Vec<u64> {
        let complete = |ticket: &Ticket| ticket.is_whole && ticket.unread.is_empty() && ticket.unsent.is_empty();
        if !self.tickets.iter().any(complete) {
            return Vec::new();
        }
        let (done, open) = std::mem::take(&mut self.tickets).into_iter().partition(complete);
        self.tickets = open;
        done.into_iter().map(|ticket: Ticket| ticket.id).collect()
    }

    /// The client was given this version of a key because it asked.
    pub fn give(&mut self, key: &ConfigKey, version: Version) {
        if let Some(known) = self.known.get_mut(key) {
            known.given = known.given.max(Some(version));
            // It may have taken it, and then takes no other one that is not above it.
            known.told = known.told.max(Some(version));
            if let Some(reading) = &mut self.reading {
                reading.disturbed.insert(key.clone());
            }
        }
    }

    /// The client says what it made of a version.
    pub fn answer(&mut self, key: &ConfigKey, version: Version, reaction: Reaction) -> Answered {
        let Some(known) = self.known.get_mut(key) else { return Answered::NotPushed };
        let was_given = known.given == Some(version);
        match &mut known.position.pushed {
            Some(pushed) if pushed.version == version => {
                let is_new = std::mem::replace(&mut pushed.reaction, reaction) != reaction;
                if is_new { Answered::Counts } else { Answered::Late }
            }
            Some(pushed) if version < pushed.version => Answered::Late,
            Some(_) | None if was_given => {
                known.position.pushed = Some(Pushed { version, reaction });
                Answered::Counts
            }
            Some(_) | None => Answered::NotPushed,
        }
    }

    /// How far the client is with a key that it watches.
    #[must_use]
    pub fn position(&self, key: &ConfigKey) -> Option<Position> {
        self.is_watched(key).then(|| self.known.get(key).map(|known| known.position).unwrap_or_default())
    }

    /// The watched keys with how far the client is, in the order of their names, at most `limit` of them, and how many
    /// there are in all.
    #[must_use]
    pub fn positions(&self, limit: usize) -> (Vec<(ConfigKey, Position)>, usize) {
        let known = self.known.iter().filter(|(key, _)| self.is_watched(key));
        let mut all: BTreeMap<&ConfigKey, Position> = known.map(|(key, known)| (key, known.position)).collect();
        for key in &self.exact {
            all.entry(key).or_default();
        }
        let count = all.len();
        (all.into_iter().take(limit).map(|(key, position)| (key.clone(), position)).collect(), count)
    }

    /// The watched prefixes: namespace, group if it is one, prefix.
    #[must_use]
    pub fn prefixes(&self) -> Vec<(String, Option<String>, String)> {
        let parts =
            |PrefixWatch(namespace, group, prefix): &PrefixWatch| (namespace.clone(), group.clone(), prefix.clone());
        self.prefixes.iter().map(parts).collect()
    }

    /// What was pushed and never answered: lost with the session.
    pub fn unanswered(&self) -> impl Iterator<Item = (&ConfigKey, Version)> {
        self.known.iter().filter_map(|(key, known)| {
            let pushed = known.position.pushed.filter(|pushed| pushed.reaction == Reaction::Unanswered)?;
            Some((key, pushed.version))
        })
    }

    /// True when the client would have to know of more keys than it may. The session has to end.
    #[must_use]
    pub fn overflowed(&self) -> bool {
        self.overflowed
    }

    fn read_again(&mut self, what: Read) {
        match what {
            Read::Prefix(selector) => self.unread_prefixes.push(selector),
            Read::Keys(keys) => self.unread_keys.extend(keys.into_iter().filter(|key| self.exact.contains(key))),
        }
    }

    /// Compares what was read of a key with what is known. False when it has to be read again.
    fn settle(&mut self, state: &SharedState, was_disturbed: bool) -> bool {
        let read = Mark::of(state, &self.client);
        let known = self.known.get(&state.key);
        let holds = known.and_then(|known| known.position.holds);
        let was_given_newer = known.and_then(|known| known.given).is_some_and(|given| given > read.version);
        match self.newest(&state.key) {
            // What the client got when it asked is lost; whether it took it is not known.
            _ if was_given_newer && was_disturbed => return false,
            _ if was_given_newer => self.take(state),
            None => self.take(state),
            Some(newest) if newest == read => {}
            Some(newest) if newest.version < read.version => self.take(state),
            // It may have been read before what was told, or after a loss: only another read can tell.
            Some(_) if was_disturbed => return false,
            // The client has it; what waits to be sent is lost.
            Some(_) if holds == Some(read) => self.unqueue(&state.key),
            Some(_) => self.take(state),
        }
        true
    }

    /// The newest that the client holds or is about to be sent.
    fn newest(&self, key: &ConfigKey) -> Option<Mark> {
        let known = self.known.get(key)?;
        known.queued.as_ref().map(|queued| Mark::of(&queued.state, &self.client)).or(known.position.holds)
    }

    /// Queues a state in place of what waits; nothing for nothing needs no word.
    fn take(&mut self, state: &SharedState) {
        self.unqueue(&state.key);
        let mark = Mark::of(state, &self.client);
        let Some(known) = self.known_of(state.key.clone()) else { return };
        let holds = known.position.holds;
        known.given = known.given.filter(|given| *given <= state.version);
        if mark.md5.is_none() && holds.is_none_or(|holds| holds.md5.is_none()) {
            known.position.holds = Some(mark);
            return;
        }
        let reset = known.told.is_some_and(|told| mark.version <= told);
        known.queued = Some(Queued { state: Arc::clone(state), reset });
        self.queue.insert((state.version, state.key.clone()));
    }

    fn unqueue(&mut self, key: &ConfigKey) {
        if let Some(queued) = self.known.get_mut(key).and_then(|known| known.queued.take()) {
            self.queue.remove(&(queued.state.version, key.clone()));
            for ticket in &mut self.tickets {
                ticket.unsent.remove(key);
            }
        }
    }

    /// What is known of a key; `None` when there is no room for another one.
    fn known_of(&mut self, key: ConfigKey) -> Option<&mut Known> {
        if self.known.len() >= self.max_keys && !self.known.contains_key(&key) {
            // What is not watched, or gone and known to be, is forgotten first.
            let (exact, prefixes) = (&self.exact, &self.prefixes);
            self.known.retain(|key, known| {
                known.queued.is_some()
                    || exact.contains(key)
                    || (known.position.holds.is_some_and(|holds| holds.md5.is_some())
                        && prefixes.iter().any(|prefix| prefix.matches(key)))
            });
            if self.known.len() >= self.max_keys {
                self.overflowed = true;
                return None;
            }
        }
        Some(self.known.entry(key).or_default())
    }

    /// These were read: their tickets wait for what is queued of them, and for nothing else.
    fn tick_off(&mut self, read: &[Selector]) {
        let (queue, known) = (&self.queue, &self.known);
        let is_queued = |key: &ConfigKey| known.get(key).is_some_and(|known| known.queued.is_some());
        for ticket in &mut self.tickets {
            for selector in read.iter().filter(|selector| ticket.unread.remove(*selector)) {
                match selector.what() {
                    What::Exact(_) => ticket.unsent.extend(selector.keys().into_iter().filter(is_queued)),
                    What::Prefix(_) => {
                        let keys = queue.iter().map(|(_, key)| key);
                        ticket.unsent.extend(keys.filter(|key| selector.matches(key)).cloned());
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
