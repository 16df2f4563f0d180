//! Who was pushed which version, and what they made of it: the account of one node, for operators. Owns the rows and
//! their bound; what it has forgotten, or never saw, it says that it does not know. Decides nothing about pushes.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::config::Version;
use crate::key::ConfigKey;
use crate::session::client::Client;
use crate::time::WallMillis;

/// A connection of a client, numbered within one life of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionNumber(pub u64);

/// What happened to a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushStep {
    /// It was handed to the connection.
    Sent,
    /// The client heard of it, or asked for it.
    Received,
    /// The client uses it.
    Applied,
    /// The client can't use it, for this reason.
    Rejected(Arc<str>),
    /// A later version was sent before the client had answered.
    Superseded,
    /// The connection ended before the client had answered.
    Lost,
}

/// Something happened to a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushEvent {
    /// On which connection.
    pub session: SessionNumber,
    /// Of which client.
    pub client: Arc<Client>,
    /// Which configuration.
    pub key: ConfigKey,
    /// Which version.
    pub version: Version,
    /// What.
    pub step: PushStep,
}

named! {
    /// Where a push stands.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum PushState {
        /// The client watches the key and has not been sent this version.
        Pending = "pending",
        /// Sent; the client has not said what it made of it.
        Sent = "sent",
        /// The client heard of it, or asked for it; it has not shown that it uses it. Only clients of Nacos answer so.
        Received = "received",
        /// The client uses it.
        Applied = "applied",
        /// The client can't use it.
        Rejected = "rejected",
        /// A later version took its place before the client had answered.
        Superseded = "superseded",
        /// The connection ended before the client had answered.
        Lost = "lost",
        /// The client said when it came that it holds this version; nobody here has pushed it.
        Held = "held",
    }
}

/// The account of one push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Whose.
    pub client: Arc<Client>,
    /// Where it stands.
    pub state: PushState,
    /// Why the client can't use it.
    pub reason: Option<Arc<str>>,
    /// When it came to stand there.
    pub at: WallMillis,
}

impl Row {
    /// What a client has answered stays answered, whatever becomes of its connection.
    fn step(&mut self, step: PushStep, at: WallMillis) {
        let (state, reason) = match step {
            PushStep::Sent => (PushState::Sent, None),
            PushStep::Received => (PushState::Received, None),
            PushStep::Applied => (PushState::Applied, None),
            PushStep::Rejected(reason) => (PushState::Rejected, Some(reason)),
            PushStep::Superseded => (PushState::Superseded, None),
            PushStep::Lost => (PushState::Lost, None),
        };
        let is_answer = |state| matches!(state, PushState::Received | PushState::Applied | PushState::Rejected);
        let is_less = state == PushState::Received && self.state != PushState::Sent;
        if is_answer(self.state) && (is_less || !is_answer(state)) {
            return;
        }
        *self = Self { client: Arc::clone(&self.client), state, reason, at };
    }
}

type Rows = BTreeMap<SessionNumber, Row>;

/// The account of a node's pushes.
#[derive(Debug)]
pub struct PushLedger {
    traces: HashMap<ConfigKey, BTreeMap<Version, Rows>>,
    /// In the order in which their first rows came.
    order: VecDeque<(ConfigKey, Version)>,
    rows: usize,
    max_rows: usize,
    /// What is known of versions above it is whole; `None` while not even that is known.
    whole_after: Option<Version>,
    /// The highest version there was an event of.
    newest: Version,
}

impl PushLedger {
    /// An empty account with room for `max_rows`.
    #[must_use]
    pub fn new(max_rows: usize) -> Self {
        Self {
            traces: HashMap::new(),
            order: VecDeque::new(),
            rows: 0,
            max_rows,
            whole_after: None,
            newest: Version::ZERO,
        }
    }

    /// Events were lost: of what was pushed up to now, others may know.
    pub fn missed(&mut self) {
        self.whole_after = self.whole_after.map(|after| after.max(self.newest));
    }

    /// The node was at this revision when the account began: of what was pushed up to there, others may know.
    pub fn begin_after(&mut self, revision: Version) {
        self.whole_after = self.whole_after.max(Some(revision));
    }

    /// True once it is known where the account begins.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.whole_after.is_some()
    }

    /// Puts an event down.
    pub fn record(&mut self, at: WallMillis, event: PushEvent) {
        let PushEvent { session, client, key, version, step } = event;
        self.newest = self.newest.max(version);
        let versions = self.traces.entry(key.clone()).or_default();
        let rows = versions.entry(version).or_insert_with(|| {
            self.order.push_back((key, version));
            Rows::new()
        });
        let row = rows.entry(session).or_insert_with(|| {
            self.rows += 1;
            Row { client, state: PushState::Pending, reason: None, at }
        });
        row.step(step, at);
        while self.rows > self.max_rows {
            self.forget_oldest();
        }
    }

    /// The rows of a version, by connection.
    #[must_use]
    pub fn rows(&self, key: &ConfigKey, version: Version) -> Option<&BTreeMap<SessionNumber, Row>> {
        self.traces.get(key)?.get(&version)
    }

    /// True when nothing that was pushed of this version can have been missed or forgotten.
    #[must_use]
    pub fn is_whole(&self, version: Version) -> bool {
        self.whole_after.is_some_and(|after| after < version)
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows
    }

    /// True when there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    fn forget_oldest(&mut self) {
        let Some((key, version)) = self.order.pop_front() else {
            self.rows = 0;
            return;
        };
        if let Some(versions) = self.traces.get_mut(&key) {
            self.rows -= versions.remove(&version).map_or(0, |rows| rows.len());
            if versions.is_empty() {
                self.traces.remove(&key);
            }
        }
        self.whole_after = self.whole_after.max(Some(version));
    }
}

#[cfg(test)]
mod tests;
