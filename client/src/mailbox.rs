//! What a watch has yet to be given: at most one state of each key, the newest. Pure, but for the waker that it keeps.

use std::collections::{HashMap, VecDeque};
use std::task::Waker;

use crate::config::{Cached, Config, Freshness};
use crate::error::Error;
use crate::key::ConfigKey;

/// The states on their way to one watch.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    order: VecDeque<ConfigKey>,
    waiting: HashMap<ConfigKey, Cached>,
    /// The newest version of each key that was put in.
    told: HashMap<ConfigKey, u64>,
    ended: Option<Error>,
    waker: Option<Waker>,
}

impl Mailbox {
    /// Puts a state in, in place of an older one of its key; false when the watch was told this version already. With
    /// `again` it is put in even so.
    pub(crate) fn put(&mut self, config: Config, freshness: Freshness, again: bool) -> bool {
        let key = config.key.clone();
        if self.told.insert(key.clone(), config.version) == Some(config.version) && !again {
            return false;
        }
        if self.waiting.insert(key.clone(), Cached { config, freshness }).is_none() {
            self.order.push_back(key);
        }
        self.wake();
        true
    }

    /// Takes the state that waits longest.
    pub(crate) fn take(&mut self) -> Option<Cached> {
        let key = self.order.pop_front()?;
        self.waiting.remove(&key)
    }

    /// Nothing more comes, for this reason; what waits is still taken.
    pub(crate) fn end(&mut self, error: Error) {
        self.ended.get_or_insert(error);
        self.wake();
    }

    /// Why nothing more comes.
    pub(crate) fn ended(&self) -> Option<&Error> {
        self.ended.as_ref()
    }

    /// Wakes `waker` when there is something new.
    pub(crate) fn wait(&mut self, waker: &Waker) {
        self.waker = Some(waker.clone());
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests;
