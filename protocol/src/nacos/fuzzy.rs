//! The patterns that a client watches: which configurations each matches, which of them the client has been told of,
//! and the batches in which it is told. A pattern tells that a configuration came to be or is gone, never that its
//! content changed. Owns the form of a pattern and of a name in a message, and the order of notices; reads and sends
//! nothing.
//!
//! # Driving [`Fuzzy`]
//! 1. [`Fuzzy::watch`] a pattern, register for live changes of it, read what it matches, [`Fuzzy::matched`].
//! 2. Each live change: [`Fuzzy::changed`].
//! 3. When the outbox gives a notice: [`Fuzzy::sync`] or [`Fuzzy::is_there`]. When one was acknowledged:
//!    [`Fuzzy::acknowledged`].
//! 4. When live changes may have been lost: [`Fuzzy::recheck`], read, [`Fuzzy::matched`].

use std::collections::{BTreeMap, BTreeSet};

use super::{Outbox, Part, Subject};
use crate::config::ConfigState;
use crate::key::{ConfigKey, namespace_of};
use crate::time::Mono;

/// Most patterns of one client.
pub const MAX_PATTERNS: usize = 20;
/// Most configurations of a pattern that a client is told of when it begins.
pub const MAX_MATCHES: usize = 500;
/// Longest pattern, in bytes.
pub const MAX_PATTERN: usize = 512;
/// Configurations named in one batch.
const BATCH: usize = 20;

/// Which configurations of a namespace are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// The namespace.
    pub namespace: String,
    /// What the group has to be like: `*` at either end stands for anything.
    pub group: String,
    /// What the data id has to be like.
    pub data_id: String,
}

/// The text is no pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a pattern is namespace>>group>>dataId, at most {MAX_PATTERN} bytes")]
pub struct InvalidPattern;

impl Pattern {
    /// Reads `namespace>>group>>dataId`.
    ///
    /// # Errors
    /// [`InvalidPattern`] when it has not three parts, or a blank one where a name should be, or is too long.
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        let mut parts = text.split(">>");
        let (Some(namespace), Some(group), Some(data_id), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(InvalidPattern);
        };
        let is_blank = |part: &str| part.trim().is_empty();
        if is_blank(group) || is_blank(data_id) || text.len() > MAX_PATTERN || text.contains('\0') {
            return Err(InvalidPattern);
        }
        let namespace = namespace_of(Some(namespace)).to_owned();
        Ok(Self { namespace, group: group.to_owned(), data_id: data_id.to_owned() })
    }

    /// True when it matches this configuration.
    #[must_use]
    pub fn matches(&self, key: &ConfigKey) -> bool {
        self.namespace == key.namespace() && is_like(&self.group, key.group()) && is_like(&self.data_id, key.data_id())
    }
}

fn is_like(pattern: &str, text: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(""), _) => true,
        (Some(rest), Some(_)) => rest.strip_suffix('*').is_some_and(|middle| text.contains(middle)),
        (Some(end), None) => text.ends_with(end),
        (None, Some(begin)) => text.starts_with(begin),
        (None, None) => pattern == text,
    }
}

/// How a configuration is named in these messages: `dataId+group+namespace`.
#[must_use]
pub fn group_key(key: &ConfigKey) -> String {
    let escaped = |part: &str| part.replace('%', "%25").replace('+', "%2B");
    format!("{}+{}+{}", escaped(key.data_id()), escaped(key.group()), escaped(key.namespace()))
}

/// The configuration that is named so; `None` when there can be none.
#[must_use]
pub fn key_of(group_key: &str) -> Option<ConfigKey> {
    let plain = |part: &str| part.replace("%2B", "+").replace("%25", "%");
    let mut parts = group_key.split('+').map(plain);
    let (data_id, group, namespace) = (parts.next()?, parts.next()?, parts.next());
    if parts.next().is_some() {
        return None;
    }
    ConfigKey::new(namespace_of(namespace.as_deref()), &group, &data_id).ok()
}

/// A batch of what a pattern matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sync {
    /// True while the client is told for the first time.
    pub is_initial: bool,
    /// Configurations, and whether each is there. None for the last word.
    pub keys: Vec<(ConfigKey, bool)>,
    /// How many batches there are.
    pub total: u32,
}

/// A point in the sequence of live changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment(u64);

#[derive(Debug)]
struct Watched {
    pattern: Pattern,
    /// What matches, as far as the client was told or is about to be.
    known: BTreeSet<ConfigKey>,
    /// What the client says that it knows: it is to be told the difference. `None` when it has been.
    received: Option<BTreeSet<ConfigKey>>,
    /// Reads that are under way, and what happened since the first of them began.
    reads: u32,
    /// One of them succeeded.
    was_read: bool,
    told: BTreeMap<ConfigKey, (Moment, bool)>,
    is_initial: bool,
    batches: BTreeMap<u32, Vec<(ConfigKey, bool)>>,
    total: u32,
}

impl Watched {
    fn read_ended(&mut self) {
        self.reads = self.reads.saturating_sub(1);
        if self.reads == 0 {
            self.told = BTreeMap::new();
        }
    }
}

/// The patterns of one client.
#[derive(Debug, Default)]
pub struct Fuzzy {
    patterns: BTreeMap<Box<str>, Watched>,
    now: Moment,
}

/// What a read of what a pattern matches brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The configurations, or the first of them.
    pub keys: BTreeSet<ConfigKey>,
    /// Whether there are no others.
    pub is_complete: bool,
    /// When the read began.
    pub began: Moment,
}

impl Fuzzy {
    /// How many patterns are watched.
    #[must_use]
    pub fn len(&self) -> usize {
        self.patterns.len()
    }

    /// True when no pattern is watched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// True when this one is watched.
    #[must_use]
    pub fn contains(&self, text: &str) -> bool {
        self.patterns.contains_key(text)
    }

    /// Every pattern, with its text.
    pub fn patterns(&self) -> impl Iterator<Item = (&str, &Pattern)> {
        self.patterns.iter().map(|(text, watched)| (&**text, &watched.pattern))
    }

    /// The client watches a pattern, and says which configurations it knows of. A read of what it matches begins after
    /// this moment.
    pub fn watch(&mut self, text: &str, pattern: Pattern, is_initial: bool, received: BTreeSet<ConfigKey>) -> Moment {
        let new = Watched {
            pattern,
            known: BTreeSet::new(),
            received: None,
            reads: 0,
            was_read: false,
            told: BTreeMap::new(),
            is_initial: false,
            batches: BTreeMap::new(),
            total: 0,
        };
        let watched = self.patterns.entry(text.into()).or_insert(new);
        watched.is_initial |= is_initial;
        watched.received = Some(received);
        watched.reads += 1;
        self.now
    }

    /// Everything is about to be read again, from this moment on.
    pub fn recheck(&mut self) -> Moment {
        for watched in self.patterns.values_mut() {
            watched.reads += 1;
        }
        self.now
    }

    /// A read failed. True when nothing was ever read of what the pattern matches, and no read is under way: nobody was
    /// told that it is watched.
    pub fn not_found(&mut self, text: &str) -> bool {
        let Some(watched) = self.patterns.get_mut(text) else { return false };
        watched.read_ended();
        !watched.was_read && watched.reads == 0
    }

    /// The client watches it no longer.
    pub fn cancel(&mut self, text: &str, outbox: &mut Outbox) -> bool {
        self.drop_batches(text, outbox);
        self.patterns.remove(text).is_some()
    }

    fn drop_batches(&mut self, text: &str, outbox: &mut Outbox) {
        let Some(watched) = self.patterns.get_mut(text) else { return };
        for batch in std::mem::take(&mut watched.batches).into_keys() {
            outbox.forget(&Subject::Sync(text.into(), Part::Batch(batch)));
        }
        outbox.forget(&Subject::Sync(text.into(), Part::Finish));
    }

    /// What a pattern matches, read since [`Self::watch`] or [`Self::recheck`]. What a read leaves out that is not
    /// complete says nothing: it is there as far as is known.
    pub fn matched(&mut self, now: Mono, outbox: &mut Outbox, text: &str, found: Found) {
        let Some(watched) = self.patterns.get_mut(text) else { return };
        let Found { mut keys, is_complete, began } = found;
        if !is_complete {
            let received = watched.received.iter().flatten();
            keys.extend(watched.known.iter().chain(received).filter(|key| watched.pattern.matches(key)).cloned());
        }
        for (key, (_, is_there)) in watched.told.iter().filter(|(_, (moment, _))| *moment > began) {
            if *is_there {
                keys.insert(key.clone());
            } else {
                keys.remove(key);
            }
        }
        watched.read_ended();
        watched.was_read = true;
        let before = std::mem::replace(&mut watched.known, keys);
        let Some(received) = watched.received.take() else {
            for key in before.symmetric_difference(&watched.known) {
                outbox.want(now, Subject::Match(key.clone()));
            }
            return;
        };
        let added = watched.known.difference(&received).map(|key| (key.clone(), true));
        let gone = received.difference(&watched.known).filter(|key| watched.pattern.matches(key));
        let told: Vec<_> = added.chain(gone.map(|key| (key.clone(), false))).collect();
        self.drop_batches(text, outbox);
        let Some(watched) = self.patterns.get_mut(text) else { return };
        watched.batches = (1..).zip(told.chunks(BATCH).map(<[_]>::to_vec)).collect();
        watched.total = u32::try_from(watched.batches.len()).unwrap_or(u32::MAX);
        for batch in watched.batches.keys() {
            outbox.want(now, Subject::Sync(text.into(), Part::Batch(*batch)));
        }
        if watched.batches.is_empty() && watched.is_initial {
            outbox.want(now, Subject::Sync(text.into(), Part::Finish));
        }
    }

    /// A change that was told live.
    pub fn changed(&mut self, now: Mono, outbox: &mut Outbox, state: &ConfigState) {
        let (key, is_there) = (&state.key, !state.is_absent());
        self.now.0 += 1;
        let mut is_news = false;
        for watched in self.patterns.values_mut().filter(|watched| watched.pattern.matches(key)) {
            if watched.reads > 0 {
                watched.told.insert(key.clone(), (self.now, is_there));
            } else if is_there {
                is_news |= watched.known.insert(key.clone());
            } else {
                is_news |= watched.known.remove(key);
            }
        }
        if is_news {
            outbox.want(now, Subject::Match(key.clone()));
        }
    }

    /// Whether a configuration is there; `None` when no pattern matches it any more.
    #[must_use]
    pub fn is_there(&self, key: &ConfigKey) -> Option<bool> {
        let mut matching = self.patterns.values().filter(|watched| watched.pattern.matches(key)).peekable();
        matching.peek()?;
        Some(matching.any(|watched| watched.known.contains(key)))
    }

    /// What a notice of a pattern says; `None` when there is nothing to say any more.
    #[must_use]
    pub fn sync(&self, text: &str, part: Part) -> Option<Sync> {
        let watched = self.patterns.get(text)?;
        match part {
            Part::Batch(batch) => {
                let keys = watched.batches.get(&batch)?.clone();
                Some(Sync { is_initial: watched.is_initial, keys, total: watched.total })
            }
            Part::Finish => Some(Sync { is_initial: true, keys: Vec::new(), total: 0 }),
        }
    }

    /// A notice of a pattern was acknowledged. After the last one of the first time comes the word that it was the
    /// last.
    pub fn acknowledged(&mut self, now: Mono, outbox: &mut Outbox, text: &str, part: Part) {
        let Some(watched) = self.patterns.get_mut(text) else { return };
        match part {
            Part::Batch(batch) => {
                watched.batches.remove(&batch);
                if watched.batches.is_empty() && watched.is_initial {
                    outbox.want(now, Subject::Sync(text.into(), Part::Finish));
                }
            }
            Part::Finish => watched.is_initial = false,
        }
    }
}

#[cfg(test)]
mod tests;
