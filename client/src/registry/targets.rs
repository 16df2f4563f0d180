//! What is watched: each key and prefix, who wants it, and how far the node is with it.

use std::collections::{BTreeSet, HashMap};

use crate::error::Error;
use crate::key::{ConfigKey, Prefix, Target};

/// How far the node is with something to watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// It was not asked, or the session in which it was is over.
    Idle,
    /// It was asked, with this number.
    Asked(u64),
    /// It watches.
    Confirmed,
    /// It refused.
    Refused(Error),
}

/// Something to watch.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) watches: BTreeSet<u64>,
    /// A cached read wants it, for as long as the client lives.
    pub(super) is_cached: bool,
    pub(super) standing: Standing,
}

impl Watched {
    /// True when the node may be sending it.
    pub(super) fn is_asked(&self) -> bool {
        matches!(self.standing, Standing::Asked(_) | Standing::Confirmed)
    }
}

/// Everything that is watched. Keys are found at once; prefixes, of which there are few, one after the other.
#[derive(Debug, Default)]
pub(super) struct Targets {
    all: HashMap<Target, Watched>,
    prefixes: BTreeSet<Prefix>,
}

impl Targets {
    /// What is known of a target; it is watched from now on.
    pub(super) fn want(&mut self, target: &Target) -> &mut Watched {
        if let Target::Prefix(prefix) = target
            && !self.all.contains_key(target)
        {
            self.prefixes.insert(prefix.clone());
        }
        let new = || Watched { watches: BTreeSet::new(), is_cached: false, standing: Standing::Idle };
        self.all.entry(target.clone()).or_insert_with(new)
    }

    pub(super) fn get_mut(&mut self, target: &Target) -> Option<&mut Watched> {
        self.all.get_mut(target)
    }

    /// What is known of a target, when the node was asked for it with this number last.
    pub(super) fn asked_mut(&mut self, target: &Target, number: u64) -> Option<&mut Watched> {
        self.get_mut(target).filter(|watched| watched.standing == Standing::Asked(number))
    }

    /// Forgets a target that nobody wants; true when the node may be sending it.
    pub(super) fn drop_unwanted(&mut self, target: &Target) -> bool {
        let is_unwanted = |watched: &Watched| watched.watches.is_empty() && !watched.is_cached;
        if !self.all.get(target).is_some_and(is_unwanted) {
            return false;
        }
        if let Target::Prefix(prefix) = target {
            self.prefixes.remove(prefix);
        }
        self.all.remove(target).is_some_and(|watched| watched.is_asked())
    }

    /// True when something that is watched selects the key.
    pub(super) fn select(&self, key: &ConfigKey) -> bool {
        self.all.contains_key(&Target::Key(key.clone())) || self.prefixes.iter().any(|prefix| prefix.matches(key))
    }

    /// The watches that want to be given the key, each once.
    pub(super) fn watches_of(&self, key: &ConfigKey) -> BTreeSet<u64> {
        let prefixes = self.prefixes.iter().filter(|prefix| prefix.matches(key)).cloned().map(Target::Prefix);
        let targets = prefixes.chain([Target::Key(key.clone())]);
        targets.filter_map(|target| self.all.get(&target)).flat_map(|watched| watched.watches.iter().copied()).collect()
    }

    /// All targets that were not refused, in their order.
    pub(super) fn usable(&self) -> Vec<Target> {
        let usable = self.all.iter().filter(|(_, watched)| !matches!(watched.standing, Standing::Refused(_)));
        let mut usable: Vec<Target> = usable.map(|(target, _)| target.clone()).collect();
        usable.sort();
        usable
    }
}
