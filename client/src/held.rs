//! What the client holds of each configuration, and whether something is newer. Pure.
//!
//! Owns the rule that the state of a key only moves forward, unless the node says that the database lost what was told
//! before. A push without content sets the mark at once, and the content follows as the answer to a `get`.

use std::collections::HashMap;
use std::time::SystemTime;

use crate::config::Config;
use crate::key::{ConfigKey, Target};

/// Where a state came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// From a node, or confirmed by one.
    Node,
    /// From the disk.
    Snapshot {
        /// When it was written.
        saved_at: SystemTime,
    },
}

/// A state that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) config: Config,
    pub(crate) origin: Origin,
}

/// What became of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Offer {
    /// It is held now.
    Taken,
    /// Its content has to be asked for; the answer comes with this number.
    Fetch(u64),
    /// It is not newer than what is held, or there is no room.
    Refused,
}

/// What became of the answer to a `get`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fetched {
    /// It is held now; true when it replaces what the database lost.
    Taken(bool),
    /// It is older than what was announced: ask again.
    TooOld,
    /// It is not awaited any more.
    Ignored,
}

/// A content that is on its way.
#[derive(Debug, Clone, Copy)]
struct Fetch {
    number: u64,
    version: u64,
    reset: bool,
}

/// Everything that is held.
#[derive(Debug)]
pub(crate) struct Held {
    entries: HashMap<ConfigKey, Entry>,
    fetches: HashMap<ConfigKey, Fetch>,
    last_number: u64,
    max_keys: usize,
}

impl Held {
    /// Holds nothing, and has room for so many keys.
    pub(crate) fn new(max_keys: usize) -> Self {
        Self { entries: HashMap::new(), fetches: HashMap::new(), last_number: 0, max_keys }
    }

    /// A whole state was pushed.
    pub(crate) fn offer(&mut self, config: Config, reset: bool) -> Offer {
        if !self.is_newer(&config.key, config.version, reset) || !self.has_room(&config.key) {
            return Offer::Refused;
        }
        self.fetches.remove(&config.key);
        self.entries.insert(config.key.clone(), Entry { config, origin: Origin::Node });
        Offer::Taken
    }

    /// A version was pushed without its content.
    pub(crate) fn announce(&mut self, key: &ConfigKey, version: u64, reset: bool) -> Offer {
        if !self.is_newer(key, version, reset) || !self.has_room(key) {
            return Offer::Refused;
        }
        self.last_number += 1;
        // What follows a reset is newer than the reset, not than what is held.
        let reset = reset || self.fetches.get(key).is_some_and(|fetch| fetch.reset);
        self.fetches.insert(key.clone(), Fetch { number: self.last_number, version, reset });
        Offer::Fetch(self.last_number)
    }

    /// The answer with this number came.
    pub(crate) fn fetched(&mut self, number: u64, config: Config) -> Fetched {
        let Some(fetch) = self.fetches.get(&config.key).copied().filter(|fetch| fetch.number == number) else {
            return Fetched::Ignored;
        };
        if config.version < fetch.version {
            return Fetched::TooOld;
        }
        self.fetches.remove(&config.key);
        self.entries.insert(config.key.clone(), Entry { config, origin: Origin::Node });
        Fetched::Taken(fetch.reset)
    }

    /// True while the content of a key is on its way.
    pub(crate) fn is_fetching(&self, key: &ConfigKey) -> bool {
        self.fetches.contains_key(key)
    }

    /// The session ended: nothing is on its way any more.
    pub(crate) fn forget_fetches(&mut self) {
        self.fetches.clear();
    }

    /// What is held of a key.
    pub(crate) fn get(&self, key: &ConfigKey) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// Everything that is held.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// Holds a state that no node was asked about, when nothing is held of its key.
    pub(crate) fn restore(&mut self, entry: Entry) {
        if self.has_room(&entry.config.key) {
            self.entries.entry(entry.config.key.clone()).or_insert(entry);
        }
    }

    /// What is held of a target.
    pub(crate) fn matching(&self, target: &Target) -> Box<dyn Iterator<Item = &Entry> + '_> {
        match target {
            Target::Key(key) => Box::new(self.entries.get(key).into_iter()),
            Target::Prefix(prefix) => {
                let prefix = prefix.clone();
                Box::new(self.entries.values().filter(move |entry| prefix.matches(&entry.config.key)))
            }
        }
    }

    /// A node confirmed what is held of a target.
    pub(crate) fn confirm(&mut self, target: &Target) {
        let keys: Vec<ConfigKey> = self.matching(target).map(|entry| entry.config.key.clone()).collect();
        for key in keys {
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.origin = Origin::Node;
            }
        }
    }

    /// Drops the keys that are not wanted any more, and gives them back.
    pub(crate) fn retain(&mut self, is_wanted: impl Fn(&ConfigKey) -> bool) -> Vec<Entry> {
        self.entries.extract_if(|key, _| !is_wanted(key)).map(|(_, entry)| entry).collect()
    }

    fn is_newer(&self, key: &ConfigKey, version: u64, reset: bool) -> bool {
        reset || self.mark(key).is_none_or(|mark| version > mark)
    }

    /// What the next version of a key has to be above.
    fn mark(&self, key: &ConfigKey) -> Option<u64> {
        let fetched = self.fetches.get(key).map(|fetch| fetch.version);
        fetched.or_else(|| self.entries.get(key).map(|entry| entry.config.version))
    }

    fn has_room(&self, key: &ConfigKey) -> bool {
        self.entries.len() + self.fetches.len() < self.max_keys || self.entries.contains_key(key)
    }
}

#[cfg(test)]
mod tests;
