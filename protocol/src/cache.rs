//! When an entry in memory may answer a read, and when a loaded state may become an entry.
//!
//! A [`Shard`] holds entries, marks and running fills that its owner keeps under one lock, so that the three always
//! change together. It never loads anything: it hands out a [`Token`] for each load and judges what comes back.
//!
//! The contract of the one who drives it:
//! 1. All keys of a batch are marked before the batch is acknowledged, and a batch commits only when it was
//!    acknowledged.
//! 2. A mark ends by [`Shard::commit`], or by [`Shard::abort`] once the batch can never commit.
//! 3. A load of a token reads revision, timeline and state in one snapshot, begun after the token was handed out.
//! 4. A grant reaches the shard before anything of the new incarnation is marked.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::time::Duration;

use crate::commit::BatchId;
use crate::config::{SharedState, Version};
use crate::content::Md5;
use crate::key::ConfigKey;
use crate::member::{Incarnation, LeaseEnd, ReadLease, Timeline};
use crate::rules::Rules;
use crate::time::Mono;

/// Where entries are kept. The store may drop an entry at any time, unless it is pinned.
pub trait Entries {
    /// The entry of a key; may count as a use of it.
    fn get(&mut self, key: &ConfigKey) -> Option<SharedState>;
    /// The entry of a key; does not count as a use.
    fn peek(&self, key: &ConfigKey) -> Option<SharedState>;
    /// Sets the entry of the state's key.
    fn put(&mut self, state: SharedState, pinned: bool);
    /// Drops an entry, pinned or not.
    fn remove(&mut self, key: &ConfigKey);
    /// Pins or frees an entry; does nothing when there is none.
    fn set_pinned(&mut self, key: &ConfigKey, pinned: bool);
    /// Drops every entry, pinned or not.
    fn clear(&mut self);
}

/// What memory has to say to a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// The newest committed state.
    Hit(SharedState),
    /// A publish of the key is under way: wait for its end, or ask the database.
    Marked,
    /// Nothing is cached.
    Miss,
    /// Memory may not answer: the node is no member, or its lease is over.
    Untrusted,
}

/// Leave to load one key once; handed back to [`Shard::finish`], whatever comes of the load: until then the readers
/// of the key wait.
#[derive(Debug, PartialEq, Eq)]
pub struct Token {
    key: ConfigKey,
}

impl Token {
    /// The key to load.
    #[must_use]
    pub fn key(&self) -> &ConfigKey {
        &self.key
    }
}

/// What became of a reader that needs the database.
#[derive(Debug, PartialEq, Eq)]
pub enum Begin {
    /// The caller loads the key; the reader waits for it.
    Lead(Token),
    /// Somebody loads the key already, or will right after: the reader waits.
    Joined,
}

/// What a load brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The revision of the last commit in the snapshot.
    pub revision: Version,
    /// The timeline in the snapshot.
    pub timeline: Timeline,
    /// The key's state in the snapshot, absent or not.
    pub state: SharedState,
}

/// What follows from a finished load.
#[derive(Debug, PartialEq, Eq)]
pub struct Finished<W> {
    /// Those who waited for this load; they get what it brought, or its failure.
    pub answered: Vec<W>,
    /// The load to start now, for those who could not join this one.
    pub next: Option<Token>,
    /// True when the state became the entry.
    pub stored: bool,
}

/// What a committed batch made of one key. A key that changed twice in a batch is told once, with its last version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedKey {
    /// The key.
    pub key: ConfigKey,
    /// Its new version.
    pub version: Version,
    /// Its new state; `None` when the content did not come along.
    pub state: Option<SharedState>,
}

/// What is known of a state without its content: its version, and the digest of its formal content if it has one.
pub type Outline = (Version, Option<Md5>);

/// How an entry stands to the row of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    /// They are the same.
    Same,
    /// The entry is older, or of the same version with another content: the row was edited behind the server's back.
    Behind,
    /// The entry is newer: the row was read before its last commit, or the database has lost that.
    Ahead,
}

/// Compares an entry with the row of its key.
#[must_use]
pub fn compare(entry: Outline, row: Outline) -> Compared {
    match entry.0.cmp(&row.0) {
        Ordering::Equal if entry.1 == row.1 => Compared::Same,
        Ordering::Equal | Ordering::Less => Compared::Behind,
        Ordering::Greater => Compared::Ahead,
    }
}

/// The publishes under way of one key.
struct Mark<W> {
    batches: Vec<BatchId>,
    waiters: Vec<W>,
}

/// A load under way.
struct Fill<W> {
    /// True when a publish of the key was under way at any time since the load began, or the membership changed: what
    /// the load brings may be old and must not be stored, nor be given to readers that come later.
    poisoned: bool,
    incarnation: Option<Incarnation>,
    known: Version,
    waiters: Vec<W>,
    queued: Vec<W>,
}

/// A rule of this file that a test can switch off, to show that its absence is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// A poisoned fill is not stored.
    FillGuard,
    /// A fill that begins under a mark is poisoned from the start.
    BornPoisoned,
    /// Readers join un-poisoned fills under a valid lease only.
    JoinGuard,
    /// A commit updates an entry and never creates one.
    UpdateOnly,
    /// A commit ends the mark of its own batch only.
    OwnMark,
    /// Another incarnation starts with nothing.
    Flush,
    /// Only the lease of the present incarnation is extended.
    OwnLease,
    /// The clock is read, not a flag that a timer resets.
    Lease,
}

/// Some of the keys: their entries, marks and fills. `W` is a reader that waits, opaque to the rules.
pub struct Shard<E, W> {
    entries: E,
    marks: HashMap<ConfigKey, Mark<W>>,
    fills: HashMap<ConfigKey, Fill<W>>,
    grant: Option<ReadLease>,
    timeline: Timeline,
    known: Version,
    pub(crate) rules: Rules<Rule>,
}

impl<E: Entries, W> Shard<E, W> {
    /// A shard without a grant: it trusts none of its entries.
    #[must_use]
    pub fn new(entries: E) -> Self {
        Self {
            entries,
            marks: HashMap::new(),
            fills: HashMap::new(),
            grant: None,
            timeline: Timeline::default(),
            known: Version::ZERO,
            rules: Rules::default(),
        }
    }

    /// The entries, for measurements and for answers that are marked as possibly stale.
    #[must_use]
    pub fn entries(&self) -> &E {
        &self.entries
    }

    /// The read lease, whether it lasts or not.
    #[must_use]
    pub fn lease(&self) -> Option<ReadLease> {
        self.grant
    }

    /// How long the lease has been over at `now`; nothing while it lasts. `None` without a leave, with which the
    /// entries went too.
    #[must_use]
    pub fn lapsed_for(&self, now: Mono) -> Option<Duration> {
        match self.grant?.ends {
            LeaseEnd::Never => Some(Duration::ZERO),
            LeaseEnd::At(end) => Some(now.since(end)),
        }
    }

    /// How many keys are marked.
    #[must_use]
    pub fn marks(&self) -> usize {
        self.marks.len()
    }

    /// How many loads are under way.
    #[must_use]
    pub fn fills(&self) -> usize {
        self.fills.len()
    }

    /// Asks memory. The clock is read after entry and marks: a process that was stopped in between finds its lease
    /// over.
    pub fn lookup(&mut self, key: &ConfigKey, clock: impl FnOnce() -> Mono) -> Lookup {
        let entry = self.entries.get(key);
        if self.marks.contains_key(key) {
            return Lookup::Marked;
        }
        if !self.is_trusted(clock()) {
            return Lookup::Untrusted;
        }
        entry.map_or(Lookup::Miss, Lookup::Hit)
    }

    /// Lets a reader wait until the key carries no mark.
    ///
    /// # Errors
    /// Gives the waiter back when the key carries no mark now.
    pub fn wait_unmarked(&mut self, key: &ConfigKey, waiter: W) -> Result<(), W> {
        match self.marks.get_mut(key) {
            Some(mark) => {
                mark.waiters.push(waiter);
                Ok(())
            }
            None => Err(waiter),
        }
    }

    /// Lets a reader wait for a load. It joins a running one only if that can't bring anything older than the newest
    /// commit of this moment; else it waits for the one after.
    pub fn begin(&mut self, key: &ConfigKey, now: Mono, waiter: W) -> Begin {
        let (trusted, unguarded) = (self.is_trusted(now), !self.rules.keep(Rule::JoinGuard));
        match self.fills.get_mut(key) {
            None => Begin::Lead(self.start(key, vec![waiter])),
            Some(fill) if unguarded || (trusted && !fill.poisoned) => {
                fill.waiters.push(waiter);
                Begin::Joined
            }
            Some(fill) => {
                fill.queued.push(waiter);
                Begin::Joined
            }
        }
    }

    /// Starts a load that nobody waits for, to compare the entry with the database. `None` when it could not be stored:
    /// the key is marked or being loaded, or the node has no grant.
    pub fn begin_refresh(&mut self, key: &ConfigKey) -> Option<Token> {
        if self.grant.is_none() || self.marks.contains_key(key) || self.fills.contains_key(key) {
            return None;
        }
        Some(self.start(key, Vec::new()))
    }

    /// Takes what a load brought, `None` when it failed. The state becomes the entry if no publish of the key was under
    /// way meanwhile, the membership is the same, and the snapshot is not older than what was known when it began. An
    /// equal version replaces the entry, which repairs an edit behind the server's back.
    pub fn finish(&mut self, token: Token, loaded: Option<&Loaded>) -> Finished<W> {
        let Token { key } = token;
        let Some(fill) = self.fills.remove(&key) else {
            return Finished { answered: Vec::new(), next: None, stored: false };
        };
        let stored = loaded.is_some_and(|loaded| self.store(&key, &fill, loaded));
        let next = if fill.queued.is_empty() { None } else { Some(self.start(&key, fill.queued)) };
        Finished { answered: fill.waiters, next, stored }
    }

    /// A publish of the key is under way: from now on memory does not answer for it, and no load that runs is stored.
    /// Repeating it for the same batch changes nothing.
    pub fn mark(&mut self, batch: BatchId, key: &ConfigKey) {
        let mark = self.marks.entry(key.clone()).or_insert_with(|| Mark { batches: Vec::new(), waiters: Vec::new() });
        if !mark.batches.contains(&batch) {
            mark.batches.push(batch);
        }
        self.entries.set_pinned(key, true);
        self.poison(key);
    }

    /// The batch is committed: ends its own mark and brings an entry that is there up to date. Returns the readers to
    /// wake when no mark is left. Without a mark of the batch it does the same.
    pub fn commit(&mut self, batch: BatchId, change: &CommittedKey) -> Vec<W> {
        self.known = self.known.max(change.version);
        let woken = self.unmark(batch, &change.key);
        // A commit that comes without its mark finds a load that nothing has poisoned yet.
        self.poison(&change.key);
        let pinned = self.marks.contains_key(&change.key);
        let present = self.entries.peek(&change.key).map(|entry| entry.version);
        match (&change.state, present) {
            (Some(state), Some(version)) if version < state.version => self.entries.put(state.clone(), pinned),
            (None, Some(version)) if version < change.version => self.entries.remove(&change.key),
            (Some(state), None) if !self.rules.keep(Rule::UpdateOnly) => self.entries.put(state.clone(), pinned),
            (Some(_) | None, Some(_) | None) => {}
        }
        woken
    }

    /// The batch can never commit: ends its mark. Returns the readers to wake when no mark is left.
    pub fn abort(&mut self, batch: BatchId, key: &ConfigKey) -> Vec<W> {
        self.unmark(batch, key)
    }

    /// The change feed tells a version: an older entry is dropped. Nothing is written.
    pub fn note_version(&mut self, key: &ConfigKey, version: Version) {
        self.known = self.known.max(version);
        self.poison(key);
        if self.entries.peek(key).is_some_and(|entry| entry.version < version) {
            self.entries.remove(key);
        }
    }

    /// The database was at this revision when the node joined: no load from an older snapshot is stored.
    pub fn note_revision(&mut self, revision: Version) {
        self.known = self.known.max(revision);
    }

    /// Sets or takes the read lease. The same incarnation only moves the end of the lease: a lease
    /// that ran out and is renewed finds its entries exact. Any other change drops entries and marks; returns the
    /// readers that waited for a mark.
    pub fn grant(&mut self, grant: Option<ReadLease>) -> Vec<W> {
        let before = self.grant.map(|grant| grant.incarnation);
        self.grant = grant;
        if before == grant.map(|grant| grant.incarnation) || !self.rules.keep(Rule::Flush) {
            return Vec::new();
        }
        self.flush();
        self.marks.drain().flat_map(|(_, mark)| mark.waiters).collect()
    }

    /// Moves the end of the lease of the same incarnation; a leave of another one is ignored.
    pub fn extend(&mut self, grant: ReadLease) {
        let is_own = self.grant.is_some_and(|present| present.incarnation == grant.incarnation);
        if is_own || !self.rules.keep(Rule::OwnLease) {
            self.grant = Some(grant);
        }
    }

    /// Sets the timeline. Another one drops every entry: they may hold what the database has lost.
    pub fn set_timeline(&mut self, timeline: Timeline) {
        if self.timeline != timeline {
            self.timeline = timeline;
            self.flush();
        }
    }

    /// The database is on this timeline by now. A leave that was given on an earlier one ends, and with it
    /// entries and marks; returns the readers that waited for a mark.
    pub fn end_earlier(&mut self, timeline: Timeline) -> Vec<W> {
        if self.timeline >= timeline {
            return Vec::new();
        }
        self.set_timeline(timeline);
        self.grant(None)
    }

    fn flush(&mut self) {
        self.entries.clear();
        for fill in self.fills.values_mut() {
            fill.poisoned = true;
        }
    }

    fn is_trusted(&self, now: Mono) -> bool {
        self.grant.is_some_and(|grant| grant.is_valid(now) || !self.rules.keep(Rule::Lease))
    }

    fn poison(&mut self, key: &ConfigKey) {
        if let Some(fill) = self.fills.get_mut(key) {
            fill.poisoned = true;
        }
    }

    fn start(&mut self, key: &ConfigKey, waiters: Vec<W>) -> Token {
        let fill = Fill {
            poisoned: self.marks.contains_key(key) && self.rules.keep(Rule::BornPoisoned),
            incarnation: self.grant.map(|grant| grant.incarnation),
            known: self.known,
            waiters,
            queued: Vec::new(),
        };
        self.fills.insert(key.clone(), fill);
        Token { key: key.clone() }
    }

    fn store(&mut self, key: &ConfigKey, fill: &Fill<W>, loaded: &Loaded) -> bool {
        let incarnation = self.grant.map(|grant| grant.incarnation);
        let exact = (!fill.poisoned || !self.rules.keep(Rule::FillGuard))
            && incarnation.is_some()
            && (fill.incarnation == incarnation || !self.rules.keep(Rule::Flush))
            && loaded.revision >= fill.known
            && loaded.timeline == self.timeline
            && loaded.state.key == *key
            && self.entries.peek(key).is_none_or(|entry| entry.version <= loaded.state.version);
        if exact {
            self.entries.put(loaded.state.clone(), self.marks.contains_key(key));
        }
        exact
    }

    fn unmark(&mut self, batch: BatchId, key: &ConfigKey) -> Vec<W> {
        let all = !self.rules.keep(Rule::OwnMark);
        let Some(mark) = self.marks.get_mut(key) else { return Vec::new() };
        mark.batches.retain(|other| *other != batch && !all);
        if !mark.batches.is_empty() {
            return Vec::new();
        }
        self.entries.set_pinned(key, false);
        self.marks.remove(key).map_or_else(Vec::new, |mark| mark.waiters)
    }
}

#[cfg(test)]
mod tests;
