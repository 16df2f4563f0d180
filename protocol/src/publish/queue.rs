//! The units that wait for a batch, in the order they came. Owns the choice of what goes into a batch: changes of one
//! key never overtake each other.

use std::collections::{HashSet, VecDeque};

use super::batch::Waiting;
use crate::key::ConfigKey;
use crate::time::Mono;

/// Units in order of arrival, which is also the order of their deadlines.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Waiting>,
    /// Of their contents.
    bytes: usize,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Bytes of content of all that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push(&mut self, waiting: Waiting) {
        self.bytes += waiting.unit.content_bytes();
        self.waiting.push_back(waiting);
    }

    /// Puts units that were taken out back where they were, by their deadlines.
    pub(super) fn put_back(&mut self, units: impl DoubleEndedIterator<Item = Waiting>) {
        for unit in units.rev() {
            self.bytes += unit.unit.content_bytes();
            let place = self.waiting.partition_point(|waiting| waiting.deadline < unit.deadline);
            self.waiting.insert(place, unit);
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Mono> {
        self.waiting.front().map(|waiting| waiting.deadline)
    }

    /// Takes out those whose deadline has come.
    pub(super) fn expire(&mut self, now: Mono) -> Vec<Waiting> {
        let late = self.waiting.iter().take_while(|waiting| waiting.deadline <= now).count();
        let expired: Vec<Waiting> = self.waiting.drain(..late).collect();
        self.bytes -= content_bytes(&expired);
        expired
    }

    /// Takes out everything.
    pub(super) fn take_all(&mut self) -> Vec<Waiting> {
        self.bytes = 0;
        std::mem::take(&mut self.waiting).into()
    }

    /// Takes out the next batch: as much as fits, without the units that touch a key of `taken` or of a unit that was
    /// left behind before them. A key may stand twice in it. A unit that is larger than a batch goes alone.
    pub(super) fn next_batch(
        &mut self,
        mut taken: HashSet<ConfigKey>,
        max_items: usize,
        max_bytes: usize,
    ) -> Vec<Waiting> {
        let (mut chosen, mut left) = (Vec::new(), VecDeque::new());
        let (mut items, mut bytes, mut company) = (0, 0, usize::MAX);
        while let Some(waiting) = self.waiting.pop_front() {
            if waiting.keys().any(|key| taken.contains(key)) {
                taken.extend(waiting.keys().cloned());
                left.push_back(waiting);
                continue;
            }
            items += waiting.unit.items.len();
            bytes += waiting.unit.content_bytes();
            company = company.min(waiting.company);
            if !chosen.is_empty() && (items > max_items || bytes > max_bytes || chosen.len() >= company) {
                left.push_back(waiting);
                break;
            }
            chosen.push(waiting);
        }
        left.append(&mut self.waiting);
        self.waiting = left;
        self.bytes -= content_bytes(&chosen);
        chosen
    }
}

fn content_bytes(units: &[Waiting]) -> usize {
    units.iter().map(|waiting| waiting.unit.content_bytes()).sum()
}
