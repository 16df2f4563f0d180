//! How states come to the watches, and what the watches made of them to the node.

use std::task::{Context, Poll};

use super::{MAX_REASON, Outgoing, Phase, Registry};
use crate::acknowledgements::Outcome;
use crate::config::{Cached, Config, Freshness};
use crate::error::Error;
use crate::key::ConfigKey;

impl Registry {
    /// Takes the next state of a watch; `None` when it ended, for the reason that [`Registry::watch_ended`] gives.
    pub(crate) fn poll_watch(&mut self, watch: u64, context: &mut Context<'_>) -> Poll<Option<Cached>> {
        let Some(watcher) = self.watchers.get_mut(&watch) else { return Poll::Ready(None) };
        if let Some(state) = watcher.mailbox.take() {
            return Poll::Ready(Some(state));
        }
        if watcher.mailbox.ended().is_some() {
            return Poll::Ready(None);
        }
        watcher.mailbox.wait(context.waker());
        Poll::Pending
    }

    /// Why a watch ended; `None` while it has not.
    pub(crate) fn watch_ended(&self, watch: u64) -> Option<Error> {
        self.watchers.get(&watch)?.mailbox.ended().cloned()
    }

    /// Ends every watch, and each that begins later: nothing will come any more. The first reason stays.
    pub(crate) fn close(&mut self, reason: &Error) {
        let reason = self.closed.get_or_insert_with(|| reason.clone());
        for watcher in self.watchers.values_mut() {
            watcher.mailbox.end(reason.clone());
        }
    }

    /// A watch says what it made of a version.
    pub(crate) fn acknowledge(&mut self, watch: u64, key: &ConfigKey, version: u64, outcome: Outcome) {
        if let Some(outcome) = self.acknowledgements.answer(key, version, watch, outcome) {
            self.acknowledge_to_node(key, version, outcome);
        }
    }

    /// A state is held from now on.
    pub(super) fn taken(&mut self, config: &Config, reset: bool) {
        self.saved.remove(&config.key);
        self.dirty.insert(config.key.clone());
        let watches: Vec<u64> = self.targets.watches_of(&config.key).into_iter().collect();
        let told = self.acknowledgements.begin(&config.key, config.version, &watches);
        let state = Cached { config: config.clone(), freshness: Freshness::Live };
        for watch in watches {
            self.deliver(watch, &state, reset);
        }
        if let Some(outcome) = told {
            self.acknowledge_to_node(&config.key, config.version, outcome);
        }
    }

    /// A push was not newer. The node may have been told of its version under another push, or another session.
    pub(super) fn refused(&mut self, key: &ConfigKey, version: u64) {
        self.refused_pushes += 1;
        let is_held = self.held.get(key).is_some_and(|entry| entry.config.version == version);
        if is_held && let Some(outcome) = self.acknowledgements.repeat(key, version) {
            self.acknowledge_to_node(key, version, outcome);
        }
    }

    pub(super) fn deliver(&mut self, watch: u64, state: &Cached, again: bool) {
        let Some(watcher) = self.watchers.get_mut(&watch) else { return };
        let config = &state.config;
        if watcher.mailbox.put(config.clone(), state.freshness, again) && config.version > 0 {
            self.acknowledgements.join(&config.key, config.version, watch);
        }
    }

    /// Queues what the node is told. Without a session it is not told: the next one has not pushed that version.
    pub(super) fn acknowledge_to_node(&mut self, key: &ConfigKey, version: u64, outcome: Outcome) {
        if self.phase == Phase::Connected {
            let outcome = outcome.map_err(|reason| reason.chars().take(MAX_REASON).collect());
            self.outgoing.push_back(Outgoing::Acknowledge { key: key.clone(), version, outcome });
        }
    }
}
