//! What is watched, and how far the node is with it. A request to watch that is refused as a whole is asked again one
//! by one, so that one bad name spoils no other.

use super::targets::Standing;
use super::{Outgoing, Phase, Registry, WATCHED_AT_ONCE, Watcher, live};
use crate::config::Config;
use crate::error::Error;
use crate::held::{Entry, Origin};
use crate::key::{ConfigKey, Selection, Target};
use crate::mailbox::Mailbox;

impl Registry {
    /// Watches a selection; the number names the watch from then on. What is known of it is given to the watch.
    pub(crate) fn add_watch(&mut self, selection: &Selection) -> u64 {
        let watch = self.next_number();
        let targets = selection.targets().to_vec();
        let mut mailbox = Mailbox::default();
        if let Some(reason) = &self.closed {
            mailbox.end(reason.clone());
        }
        self.watchers.insert(watch, Watcher { targets: targets.clone(), mailbox });
        let mut unasked = Vec::new();
        for target in targets {
            let watched = self.targets.want(&target);
            watched.watches.insert(watch);
            match watched.standing {
                Standing::Confirmed => self.deliver_held(&target, &[watch]),
                Standing::Asked(_) => {}
                Standing::Idle | Standing::Refused(_) => {
                    watched.standing = Standing::Idle;
                    if matches!(self.phase, Phase::Disconnected { .. }) {
                        self.deliver_stale(&target);
                    }
                    unasked.push(target);
                }
            }
        }
        self.ask_if_connected(&unasked);
        watch
    }

    /// A watch ended.
    pub(crate) fn remove_watch(&mut self, watch: u64) {
        let Some(watcher) = self.watchers.remove(&watch) else { return };
        let mut unwatched = Vec::new();
        for target in watcher.targets {
            if let Some(watched) = self.targets.get_mut(&target) {
                watched.watches.remove(&watch);
            }
            if self.targets.drop_unwanted(&target) {
                unwatched.push(target);
            }
        }
        for (key, version, outcome) in self.acknowledgements.leave(watch) {
            self.acknowledge_to_node(&key, version, outcome);
        }
        if !unwatched.is_empty() {
            self.outgoing.push_back(Outgoing::Unwatch(unwatched));
        }
    }

    /// The node watches these, and pushed whatever was new.
    pub(crate) fn watching(&mut self, targets: &[Target], number: u64) {
        for target in targets {
            let Some(watched) = self.targets.asked_mut(target, number) else { continue };
            watched.standing = Standing::Confirmed;
            let watches: Vec<u64> = watched.watches.iter().copied().collect();
            if let Target::Key(key) = target {
                self.settle_missing(key);
            }
            self.held.confirm(target);
            self.deliver_held(target, &watches);
        }
    }

    /// The node refused to watch these.
    pub(crate) fn watch_refused(&mut self, targets: &[Target], number: u64, error: &Error) {
        for target in targets {
            let Some(watched) = self.targets.asked_mut(target, number) else { continue };
            if targets.len() > 1 {
                self.ask(std::slice::from_ref(target));
                continue;
            }
            watched.standing = Standing::Refused(error.clone());
            for watch in &watched.watches {
                if let Some(watcher) = self.watchers.get_mut(watch) {
                    watcher.mailbox.end(error.clone());
                }
            }
        }
    }

    pub(super) fn ask_if_connected(&mut self, targets: &[Target]) {
        if self.phase == Phase::Connected {
            self.ask(targets);
        }
    }

    pub(super) fn ask(&mut self, targets: &[Target]) {
        for chunk in targets.chunks(WATCHED_AT_ONCE) {
            let number = self.next_number();
            for target in chunk {
                if let Some(watched) = self.targets.get_mut(target) {
                    watched.standing = Standing::Asked(number);
                }
            }
            self.outgoing.push_back(Outgoing::Watch { targets: chunk.to_vec(), number });
        }
    }

    /// A watched key of which nothing was pushed and nothing is held does not exist.
    fn settle_missing(&mut self, key: &ConfigKey) {
        if self.held.get(key).is_none() && !self.held.is_fetching(key) {
            self.held.restore(Entry { config: Config::missing(key.clone(), 0), origin: Origin::Node });
            self.saved.remove(key);
            self.dirty.insert(key.clone());
        }
    }

    /// Gives what is held of a target to watches that were not given it yet.
    fn deliver_held(&mut self, target: &Target, watches: &[u64]) {
        if watches.is_empty() {
            return;
        }
        let entries = self.held.matching(target).filter(|entry| !self.held.is_fetching(&entry.config.key));
        for state in entries.map(live).collect::<Vec<_>>() {
            for watch in watches {
                self.deliver(*watch, &state, false);
            }
        }
    }

    /// Gives what is in memory of a target, however old, to the watches that were not given it yet.
    pub(super) fn deliver_stale(&mut self, target: &Target) {
        let known: Vec<ConfigKey> = match target {
            Target::Key(key) => vec![key.clone()],
            Target::Prefix(prefix) => {
                let keys = self.held.entries().chain(self.saved.values()).map(|entry| &entry.config.key);
                keys.filter(|key| prefix.matches(key)).cloned().collect()
            }
        };
        for state in known.iter().filter_map(|key| self.recall_any(key)).collect::<Vec<_>>() {
            for watch in self.targets.watches_of(&state.config.key) {
                self.deliver(watch, &state, false);
            }
        }
    }

    pub(super) fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }
}
