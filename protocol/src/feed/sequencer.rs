//! Putting changes into the one order. Commit events may be lost, late or out of turn; revisions have no gaps, so what
//! is missing is known, and is fetched from the change feed.
//!
//! Owns the cursor of what was delivered. Everything at or below the cursor was delivered, in order, once.

use std::collections::BTreeMap;

use crate::config::{SharedState, Version};

/// Spans kept while an earlier one is missing; beyond, they are dropped and fetched later.
const MAX_WAITING: usize = 1_024;

/// A stretch of revisions with everything that changed in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The revision before the first of the stretch.
    pub after: Version,
    /// The last revision of the stretch.
    pub through: Version,
    /// Every state made in the stretch, in revision order.
    pub states: Vec<SharedState>,
}

/// Delivers spans in order.
#[derive(Debug)]
pub struct Sequencer {
    cursor: Version,
    waiting: BTreeMap<Version, Span>,
}

impl Sequencer {
    /// Starts after `cursor`: what was changed up to there is known otherwise.
    #[must_use]
    pub fn new(cursor: Version) -> Self {
        Self { cursor, waiting: BTreeMap::new() }
    }

    /// The last revision delivered.
    #[must_use]
    pub fn cursor(&self) -> Version {
        self.cursor
    }

    /// True when something is known to be missing: a later span waits for an earlier one.
    #[must_use]
    pub fn has_gap(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Takes a span, from an event or from the feed, and returns what can now be delivered, in revision order.
    pub fn receive(&mut self, span: Span) -> Vec<SharedState> {
        let mut ready = Vec::new();
        self.take(span, &mut ready);
        while let Some((&after, _)) = self.waiting.first_key_value()
            && after <= self.cursor
            && let Some(span) = self.waiting.remove(&after)
        {
            self.take(span, &mut ready);
        }
        ready
    }

    fn take(&mut self, span: Span, ready: &mut Vec<SharedState>) {
        if span.through <= self.cursor {
            return;
        }
        if span.after > self.cursor {
            if self.waiting.len() >= MAX_WAITING {
                self.waiting.clear();
            }
            self.waiting.insert(span.after, span);
            return;
        }
        let known = self.cursor;
        ready.extend(span.states.into_iter().filter(|state| state.version > known));
        self.cursor = span.through;
    }
}

#[cfg(test)]
mod tests;
