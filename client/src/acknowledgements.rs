//! What a node is told about each version: that it is applied, or why not. Pure.
//!
//! Several watches of one client may be given the same version. The node is told once, when all of them have answered:
//! `rejected` when one of them could not use it. A version that nobody watches counts as applied once it is held. What
//! was told is told again when the version is pushed again. Version 0, nothing that was ever pushed, is not told.

use std::collections::{HashMap, HashSet};

use crate::key::ConfigKey;

/// What a watch made of a version: `Err` says why it can't be used.
pub(crate) type Outcome = Result<(), String>;

/// The newest version of a key, and who has yet to answer.
#[derive(Debug)]
struct Round {
    version: u64,
    waiting: HashSet<u64>,
    rejection: Option<String>,
    is_answered: bool,
}

impl Round {
    fn verdict(&self) -> Option<Outcome> {
        let is_over = self.is_answered && self.waiting.is_empty();
        is_over.then(|| self.rejection.clone().map_or(Ok(()), Err))
    }
}

/// The answers that are awaited and those that were given.
#[derive(Debug, Default)]
pub(crate) struct Acknowledgements {
    rounds: HashMap<ConfigKey, Round>,
}

impl Acknowledgements {
    /// A new version is held and was given to these watches. Returns what to tell at once.
    pub(crate) fn begin(&mut self, key: &ConfigKey, version: u64, watches: &[u64]) -> Option<Outcome> {
        if version == 0 {
            self.rounds.remove(key);
            return None;
        }
        let waiting: HashSet<u64> = watches.iter().copied().collect();
        let round = Round { version, is_answered: waiting.is_empty(), waiting, rejection: None };
        let verdict = round.verdict();
        self.rounds.insert(key.clone(), round);
        verdict
    }

    /// The version that is held was given to one more watch.
    pub(crate) fn join(&mut self, key: &ConfigKey, version: u64, watch: u64) {
        match self.rounds.get_mut(key).filter(|round| round.version == version) {
            Some(round) => {
                round.waiting.insert(watch);
            }
            None => {
                self.begin(key, version, &[watch]);
            }
        }
    }

    /// A watch answered. Returns what to tell. An answer about another version than the newest says nothing.
    pub(crate) fn answer(&mut self, key: &ConfigKey, version: u64, watch: u64, outcome: Outcome) -> Option<Outcome> {
        let round = self.rounds.get_mut(key).filter(|round| round.version == version)?;
        if !round.waiting.remove(&watch) {
            return None;
        }
        round.is_answered = true;
        if let Err(reason) = outcome {
            round.rejection.get_or_insert(reason);
        }
        round.verdict()
    }

    /// The version was pushed once more. Returns what to tell.
    pub(crate) fn repeat(&self, key: &ConfigKey, version: u64) -> Option<Outcome> {
        match self.rounds.get(key).filter(|round| round.version == version) {
            Some(round) => round.verdict(),
            None => Some(Ok(())),
        }
    }

    /// A watch ended, and will not answer any more. Returns what to tell: nothing where it alone was asked.
    pub(crate) fn leave(&mut self, watch: u64) -> Vec<(ConfigKey, u64, Outcome)> {
        let mut told = Vec::new();
        for (key, round) in &mut self.rounds {
            if round.waiting.remove(&watch)
                && let Some(verdict) = round.verdict()
            {
                told.push((key.clone(), round.version, verdict));
            }
        }
        told
    }

    /// Forgets keys that are not held any more.
    pub(crate) fn retain(&mut self, is_held: impl Fn(&ConfigKey) -> bool) {
        self.rounds.retain(|key, _| is_held(key));
    }
}

#[cfg(test)]
mod tests;
