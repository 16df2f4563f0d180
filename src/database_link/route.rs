//! Which host is tried next. Owns the list and what is known of it; opens nothing and reads no clock.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::settings::Host;

/// The longest that one host of several may take: behind it others wait, one of which may serve.
const HOST_LIMIT: Duration = Duration::from_secs(1);

/// The hosts of a server, and the one that connections go to now.
#[derive(Debug)]
pub(super) struct Route {
    hosts: Vec<Host>,
    patience: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The host that is tried first.
    at: usize,
    /// Whether a connection came about since it is that one. A refusal before that is about another host.
    is_used: bool,
    /// The host that was reached last, if any ever was.
    last: Option<usize>,
    /// Why no host could be reached the last time.
    trouble: Option<String>,
}

impl Route {
    /// To one of `hosts`, which are one at least; what connects waits for `patience`.
    pub(super) fn new(hosts: &[Host], patience: Duration) -> Self {
        Self { hosts: hosts.to_vec(), patience, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// How long what connects waits.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// How long one host may take to let itself be connected to, and to say its first word.
    pub(super) fn limit_of_host(&self) -> Duration {
        match self.hosts.len() {
            0 | 1 => self.patience,
            several => HOST_LIMIT.min(self.patience / u32::try_from(several).unwrap_or(u32::MAX)),
        }
    }

    /// Every host with its place, in the order to try them.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (usize, &Host)> {
        let at = self.state().at;
        self.hosts.iter().enumerate().cycle().skip(at).take(self.hosts.len())
    }

    /// The host that was reached last; before any was, the first of the list.
    pub(super) fn last_reached(&self) -> Option<&Host> {
        self.hosts.get(self.state().last.unwrap_or_default())
    }

    /// The host that is tried first.
    #[cfg(test)]
    pub(super) fn current(&self) -> &Host {
        let at = self.state().at;
        &self.hosts[at]
    }

    /// The host at `place` let itself be connected to: others are not tried before it from now on.
    pub(super) fn reached(&self, place: usize) {
        let mut state = self.state();
        if state.last != Some(place) {
            tracing::debug!(store.host = self.hosts.get(place).map(tracing::field::display), "database host reached");
        }
        *state = State { at: place, is_used: true, last: Some(place), trouble: None };
    }

    /// No host can be reached.
    pub(super) fn out_of_reach(&self, trouble: String) {
        tracing::debug!(reason = trouble, "no host of the database can be reached");
        self.state().trouble = Some(trouble);
    }

    /// Why no host could be reached the last time; none when one was.
    pub(super) fn trouble(&self) -> Option<String> {
        self.state().trouble.clone()
    }

    /// Whether any host was ever reached.
    pub(super) fn was_reached(&self) -> bool {
        self.state().last.is_some()
    }

    /// The driver was let in and found a server that it can't use: a standby. Which host it was is not said; it is the
    /// one that is used now, unless none was connected to since the last one was passed over.
    pub(super) fn turned_away(&self) {
        let mut state = self.state();
        if state.is_used {
            self.pass_over(&mut state, "it takes no writes");
        }
    }

    /// The host at `place` hung up on a new connection, or had nothing to say: it can't be used now.
    pub(super) fn useless(&self, place: usize) {
        let mut state = self.state();
        if state.at == place {
            self.pass_over(&mut state, "it does not answer");
        }
    }

    fn pass_over(&self, state: &mut State, reason: &str) {
        if self.hosts.len() < 2 {
            return;
        }
        tracing::debug!(
            store.host = self.hosts.get(state.at).map(tracing::field::display),
            reason,
            "database host passed over"
        );
        state.at = (state.at + 1) % self.hosts.len();
        state.is_used = false;
    }
}
