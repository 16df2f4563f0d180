//! The batches that are marked here and have not ended, in the order of their acknowledgement numbers. Owns the
//! numbers: they only rise, and one that was taken back is never given again.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::message::{CommittedChange, Effect, Found, MarkNo, NotifyEvent};
use crate::commit::BatchId;
use crate::config::SharedState;
use crate::key::ConfigKey;
use crate::member::{AckNo, NodeId};
use crate::time::Mono;
use crate::write_request::RequestId;

/// What is being done to find out how a batch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing, until its time is over.
    Waiting,
    /// A plain look is under way.
    Looking,
    /// The look did not find it; its ack has to be taken back before its marks may go.
    Doubted,
}

/// A batch that is marked, or about to be.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) batch: BatchId,
    pub(super) publisher: NodeId,
    pub(super) number: AckNo,
    pub(super) until: Mono,
    pub(super) stage: Stage,
    /// The mark that was asked of the cache.
    pub(super) mark: MarkNo,
    /// True once the cache holds the marks: before that no ack may leave.
    pub(super) marked: bool,
    items: Vec<(ConfigKey, RequestId)>,
}

impl Entry {
    /// The keys, each once.
    pub(super) fn keys(&self) -> Vec<ConfigKey> {
        once(self.items.iter().map(|(key, _)| key))
    }

    /// The request ids, each once.
    pub(super) fn request_ids(&self) -> Vec<RequestId> {
        once(self.items.iter().map(|(_, request_id)| request_id))
    }

    /// True when these items hold a key that is not marked here.
    pub(super) fn lacks(&self, items: &[(ConfigKey, RequestId)]) -> bool {
        items.iter().any(|(key, _)| !self.items.iter().any(|(known, _)| known == key))
    }

    /// True when every request of the batch is in the database: nothing is left that it could change.
    pub(super) fn is_covered_by(&self, found: &Found) -> bool {
        self.items.iter().all(|(_, request_id)| found.landed.contains(request_id))
    }

    /// Ends the batch by what the database says of it: keys whose request landed are committed as they are now, the
    /// others are as they were.
    pub(super) fn conclude(self, found: &Found, out: &mut Vec<Effect>) {
        let has_landed = |state: &&SharedState| {
            self.items.iter().any(|(key, request_id)| *key == state.key && found.landed.contains(request_id))
        };
        let changes = found.states.iter().filter(has_landed).cloned().map(CommittedChange::found).collect();
        self.commit(changes, out);
    }

    /// Ends the batch by its changes: they are applied, and the marks of all other keys go.
    pub(super) fn commit(self, changes: Vec<CommittedChange>, out: &mut Vec<Effect>) {
        let changed: HashSet<ConfigKey> = changes.iter().map(|change| change.key.clone()).collect();
        let mut keys = self.keys();
        keys.retain(|key| !changed.contains(key));
        commit(self.batch, changes, out);
        if !keys.is_empty() {
            out.push(Effect::Abort { batch: self.batch, keys });
        }
    }
}

/// Applies the newest change of each key; says nothing when there is none.
pub(super) fn commit(batch: BatchId, changes: Vec<CommittedChange>, out: &mut Vec<Effect>) {
    let mut newest: BTreeMap<ConfigKey, CommittedChange> = BTreeMap::new();
    for change in changes {
        if newest.get(&change.key).is_none_or(|known| known.version < change.version) {
            newest.insert(change.key.clone(), change);
        }
    }
    if !newest.is_empty() {
        out.push(Effect::Commit { batch, changes: newest.into_values().collect() });
    }
}

/// The deque.
#[derive(Debug, Default)]
pub(super) struct Pending {
    entries: BTreeMap<AckNo, Entry>,
    numbers: HashMap<BatchId, AckNo>,
    last: AckNo,
}

impl Pending {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn push(&mut self, event: NotifyEvent, until: Mono) -> &Entry {
        let number = self.next_number();
        let NotifyEvent { batch, publisher, items, .. } = event;
        self.numbers.insert(batch, number);
        let (stage, mark) = (Stage::Waiting, MarkNo(number.0));
        let entry = Entry { batch, publisher, number, until, stage, mark, marked: false, items };
        self.entries.entry(number).or_insert(entry)
    }

    pub(super) fn get_mut(&mut self, batch: BatchId) -> Option<&mut Entry> {
        self.entries.get_mut(self.numbers.get(&batch)?)
    }

    pub(super) fn remove(&mut self, batch: BatchId) -> Option<Entry> {
        self.entries.remove(&self.numbers.remove(&batch)?)
    }

    /// Gives a batch whose number was taken back a new one.
    pub(super) fn renumber(&mut self, batch: BatchId) {
        let number = self.next_number();
        if let Some(mut entry) = self.remove(batch) {
            entry.number = number;
            self.numbers.insert(batch, number);
            self.entries.insert(number, entry);
        }
    }

    /// Those up to this number.
    pub(super) fn up_to(&self, above: AckNo) -> impl Iterator<Item = &Entry> {
        self.entries.range(..=above).map(|(_, entry)| entry)
    }

    /// Takes out those up to this number.
    pub(super) fn take_up_to(&mut self, above: AckNo) -> Vec<Entry> {
        let batches: Vec<BatchId> = self.up_to(above).map(|entry| entry.batch).collect();
        batches.into_iter().filter_map(|batch| self.remove(batch)).collect()
    }

    pub(super) fn take_all(&mut self) -> Vec<Entry> {
        self.numbers.clear();
        std::mem::take(&mut self.entries).into_values().collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.entries.values_mut()
    }

    fn next_number(&mut self) -> AckNo {
        self.last = AckNo(self.last.0 + 1);
        self.last
    }
}

/// The items in order, each once.
pub(super) fn once<'a, T: Clone + Eq + std::hash::Hash + 'a>(items: impl Iterator<Item = &'a T>) -> Vec<T> {
    let mut seen = HashSet::new();
    items.filter(|item| seen.insert(*item)).cloned().collect()
}
