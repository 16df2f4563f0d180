//! What a subscriber is sent: which keys it asked for, and the queue between the changes and its socket. Owns the
//! rule that a subscriber sees each key only ever move forward, loses nothing and is told nothing twice. Reads no
//! database and writes no socket; whoever drives it offers states and says how far they are complete.
//!
//! # Driving an [`Outbox`]
//! 1. Register for live changes, remembering nothing, create the outbox, and [`Outbox::begin_read`].
//! 2. For each live commit: [`Outbox::offer`] the matching states, then [`Outbox::advance`] to a revision up to which
//!    no commit is missing. A commit that arrives ahead of an earlier one is offered at once and waits.
//! 3. Read the matching keys that changed after the resume point, tombstones included, *after* registering; offer
//!    the rows in any order; then [`Outbox::end_read`] with the revision of the read, and read again if it says so.
//! 4. Send what [`Outbox::next`] gives, until it gives nothing.
//! 5. When live changes may have been lost: [`Outbox::begin_read`] and, if it says so, read again from
//!    [`Outbox::cursor`].
//!
//! # Why one number is memory enough
//! Revisions rise over all keys, and nothing is sent before every change at or below it is known. So states leave in
//! the one global order, everything sent lies at or below the complete revision, and everything still accepted lies
//! above it: a key can't repeat or go back, and no memory per key is needed however many keys a prefix covers.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::config::{SharedState, Version};
use crate::key::{self, ConfigKey, KeyError, check_data_id, check_group, check_prefix};

/// Which keys of a namespace a subscriber wants to hear of. Its names are checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Selector {
    namespace: String,
    group: Option<String>,
    what: What,
}

/// The data ids of a [`Selector`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum What {
    /// These, in order, each once.
    Exact(Box<[String]>),
    /// All that begin so; the empty prefix stands for all.
    Prefix(String),
}

/// Why a selector was refused. Nothing was subscribed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// A name breaks its rule.
    #[error(transparent)]
    Name(#[from] KeyError),
    /// An exact selector names no data id.
    #[error("name at least one dataId, or give a prefix")]
    NoDataId,
}

impl Selector {
    /// Selects these data ids of one group; a repeated one counts once.
    ///
    /// # Errors
    /// [`SelectorError`] names the first part that breaks its rule.
    pub fn exact(
        namespace: &str,
        group: &str,
        data_ids: impl IntoIterator<Item = String>,
    ) -> Result<Self, SelectorError> {
        let namespace = key::namespace(namespace)?;
        check_group(group)?;
        let data_ids: BTreeSet<String> = data_ids.into_iter().collect();
        if data_ids.is_empty() {
            return Err(SelectorError::NoDataId);
        }
        for data_id in &data_ids {
            check_data_id(data_id)?;
        }
        Ok(Self {
            namespace: namespace.to_owned(),
            group: Some(group.to_owned()),
            what: What::Exact(data_ids.into_iter().collect()),
        })
    }

    /// Selects what begins with `prefix`, which may be empty, in one group or in all.
    ///
    /// # Errors
    /// [`SelectorError`] names the first part that breaks its rule.
    pub fn prefix(namespace: &str, group: Option<&str>, prefix: &str) -> Result<Self, SelectorError> {
        let namespace = key::namespace(namespace)?;
        if let Some(group) = group {
            check_group(group)?;
        }
        if !prefix.is_empty() {
            check_prefix(prefix)?;
        }
        Ok(Self {
            namespace: namespace.to_owned(),
            group: group.map(str::to_owned),
            what: What::Prefix(prefix.to_owned()),
        })
    }

    /// Selects one key.
    #[must_use]
    pub fn of_key(key: &ConfigKey) -> Self {
        Self {
            namespace: key.namespace().to_owned(),
            group: Some(key.group().to_owned()),
            what: What::Exact(Box::new([key.data_id().to_owned()])),
        }
    }

    /// True when `key` is selected.
    #[must_use]
    pub fn matches(&self, key: &ConfigKey) -> bool {
        self.namespace == key.namespace()
            && self.group.as_deref().is_none_or(|group| group == key.group())
            && match &self.what {
                What::Exact(data_ids) => {
                    data_ids.binary_search_by(|data_id| data_id.as_str().cmp(key.data_id())).is_ok()
                }
                What::Prefix(prefix) => key.data_id().starts_with(prefix),
            }
    }

    /// The keys of a selector that names them; none for a prefix.
    #[must_use]
    pub fn keys(&self) -> Vec<ConfigKey> {
        match (&self.what, &self.group) {
            (What::Exact(data_ids), Some(group)) => data_ids
                .iter()
                // The names were checked when the selector was made.
                .filter_map(|data_id| ConfigKey::stored(&self.namespace, group, data_id).ok())
                .collect(),
            (What::Exact(_), None) | (What::Prefix(_), _) => Vec::new(),
        }
    }

    /// The namespace id.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The group; `None` selects every group, which only a prefix can.
    #[must_use]
    pub fn group(&self) -> Option<&str> {
        self.group.as_deref()
    }

    /// The data ids.
    #[must_use]
    pub fn what(&self) -> &What {
        &self.what
    }
}

/// A state on its way to the subscriber.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// What to send.
    pub state: SharedState,
    /// True when no other state of this version is to follow. A unit of several keys shares one version, and only
    /// its last state closes it.
    pub last_of_version: bool,
}

impl Outgoing {
    /// Where a subscriber that got this state and no more has to resume: after this version when it is closed, after
    /// the one before while states of it are to follow. Send it with every state; it never falls.
    ///
    /// A connection that breaks between two states of one unit gets the first of them again, and only then does a
    /// subscriber see a version twice.
    #[must_use]
    pub fn event_id(&self) -> Version {
        if self.last_of_version { self.state.version } else { self.state.version.previous() }
    }
}

/// The queue of one subscriber: at most one state of each key, the newest, sent lowest version first.
///
/// See the module for how to drive it.
#[derive(Debug)]
pub struct Outbox {
    /// Every change at or below it was offered (or lies before the resume point): sent, superseded or queued.
    complete: Version,
    /// While a read is under way: how far the live changes got meanwhile.
    held: Option<Version>,
    /// A read is under way.
    reading: bool,
    /// Changes were lost after it had begun.
    again: bool,
    queue: BTreeMap<(Version, ConfigKey), SharedState>,
    queued: HashMap<ConfigKey, Version>,
    queued_bytes: usize,
    max_keys: usize,
    overflowed: bool,
}

impl Outbox {
    /// An empty, held queue for a subscriber that knows everything up to `resume_after`
    /// ([`Version::ZERO`] for one that knows nothing), with room for `max_keys` keys.
    #[must_use]
    pub fn new(resume_after: Version, max_keys: usize) -> Self {
        Self {
            complete: resume_after,
            held: Some(resume_after),
            reading: false,
            again: false,
            queue: BTreeMap::new(),
            queued: HashMap::new(),
            queued_bytes: 0,
            max_keys,
            overflowed: false,
        }
    }

    /// Live changes may be missing, up to now: they are kept back until a read that begins from now on is complete.
    /// True when the caller has to begin it; false when one is under way, which began too early: another one follows,
    /// as [`end_read`](Self::end_read) will say. What was complete may still be sent.
    #[must_use]
    pub fn begin_read(&mut self) -> bool {
        self.again = self.reading;
        self.held.get_or_insert(self.complete);
        !std::mem::replace(&mut self.reading, true)
    }

    /// Queues a live change or a row that was read, in place of an older state of the same key.
    ///
    /// False, and without effect, when it brings nothing new: it lies at or below what is complete, or the same key
    /// is queued at this version or a newer one. False as well after an overflow.
    pub fn offer(&mut self, state: SharedState) -> bool {
        let queued = self.queued.get(&state.key).copied();
        if self.overflowed || state.version <= self.complete || queued.is_some_and(|queued| state.version <= queued) {
            return false;
        }
        if queued.is_none() && self.queued.len() >= self.max_keys {
            self.overflow();
            return false;
        }
        if let Some(old) = queued.and_then(|version| self.queue.remove(&(version, state.key.clone()))) {
            self.queued_bytes -= old.weight();
        }
        self.queued.insert(state.key.clone(), state.version);
        self.queued_bytes += state.weight();
        self.queue.insert((state.version, state.key.clone()), state);
        true
    }

    /// Every live change at or below `revision` was offered, counted from the last
    /// [`begin_read`](Self::begin_read) on. Counts at once when no read is under way, and at its end otherwise.
    pub fn advance(&mut self, revision: Version) {
        let reached = self.held.as_mut().unwrap_or(&mut self.complete);
        *reached = revision.max(*reached);
    }

    /// A page of the read is in: every matching key whose version is at or below `revision` was offered, and those
    /// after it follow. Lets a long read be sent while it goes on; takes pages that are read in version order.
    pub fn page_read(&mut self, revision: Version) {
        self.complete = revision.max(self.complete);
    }

    /// The read is complete as of `revision`, which is no older than its beginning: everything up to there, or as far
    /// as the live changes got meanwhile, may be sent, and offers at or below are refused.
    ///
    /// True when changes were lost while it ran. They may lie between `revision` and the live changes, which are kept
    /// back on: the caller has to begin another read.
    #[must_use]
    pub fn end_read(&mut self, revision: Version) -> bool {
        if std::mem::take(&mut self.again) {
            self.page_read(revision);
            return true;
        }
        self.reading = false;
        let live = self.held.take().unwrap_or_default();
        self.complete = revision.max(live).max(self.complete);
        false
    }

    /// Takes the state to send next; `None` when nothing may be sent yet.
    #[allow(clippy::should_implement_trait, reason = "a queue that runs dry and fills again is no iterator")]
    pub fn next(&mut self) -> Option<Outgoing> {
        let first = self.queue.first_entry().filter(|first| first.key().0 <= self.complete)?;
        let state = first.remove();
        self.queued.remove(&state.key);
        self.queued_bytes -= state.weight();
        let last_of_version = self.queue.first_key_value().is_none_or(|((version, _), _)| *version > state.version);
        Some(Outgoing { state, last_of_version })
    }

    /// The point to resume after: every change at or below it was taken by [`next`](Self::next), or is superseded by
    /// a newer one. Never falls. After an overflow it stays where it was.
    #[must_use]
    pub fn cursor(&self) -> Version {
        match self.queue.first_key_value() {
            Some(((version, _), _)) if *version <= self.complete => version.previous(),
            _ => self.complete,
        }
    }

    /// True when nothing is queued, sendable or not.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// How many keys are queued.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// About how many bytes the queued states hold; states are shared with caches and other subscribers.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// True when more keys changed than there is room for. The queue is given up: reset the subscriber and start
    /// with a new outbox.
    #[must_use]
    pub fn overflowed(&self) -> bool {
        self.overflowed
    }

    fn overflow(&mut self) {
        // The cursor must not pass over what is thrown away here.
        self.complete = self.cursor();
        self.overflowed = true;
        self.held = Some(self.complete);
        self.queue.clear();
        self.queued.clear();
        self.queued_bytes = 0;
    }
}

#[cfg(test)]
mod tests;
