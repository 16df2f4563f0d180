//! What waits to be written down. What anybody can make happen is summed, and there is an end to how much waits: what
//! finds no room is counted. Knows no time; whoever writes takes all of it at once.

use std::collections::HashMap;

use super::{Event, Outcome, Target, What, Who};
use crate::error_code::ErrorCode;
use crate::time::WallMillis;

/// What summed events have in common.
type Kind = (What, Who, Option<ErrorCode>);

/// The events that wait.
#[derive(Debug)]
pub struct Tally {
    events: Vec<Event>,
    summed: HashMap<Kind, usize>,
    most: usize,
    left_out: u64,
}

impl Tally {
    /// One in which `most` events find room.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { events: Vec::new(), summed: HashMap::new(), most, left_out: 0 }
    }

    /// Adds an event; false when it found no room.
    pub fn add(&mut self, event: Event) -> bool {
        let kind = event.what.is_summed().then(|| (event.what, event.who.clone(), event.code));
        let alike = kind.as_ref().and_then(|kind| self.summed.get(kind));
        if let Some(alike) = alike.and_then(|place| self.events.get_mut(*place)) {
            alike.count = alike.count.saturating_add(event.count);
            return true;
        }
        // Strangers leave room for the others.
        let is_full = kind.is_some() && self.summed.len() >= self.most.div_ceil(4);
        if is_full || self.events.len() >= self.most {
            self.left_out = self.left_out.saturating_add(event.count);
            return false;
        }
        if let Some(kind) = kind {
            self.summed.insert(kind, self.events.len());
        }
        self.events.push(event);
        true
    }

    /// Counts what found no room elsewhere.
    pub fn leave_out(&mut self, count: u64) {
        self.left_out = self.left_out.saturating_add(count);
    }

    /// True when nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.left_out == 0
    }

    /// How many events wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Takes what waits, with an event for what found no room.
    pub fn take(&mut self, now: WallMillis) -> Vec<Event> {
        self.summed.clear();
        let mut events = std::mem::take(&mut self.events);
        let count = std::mem::take(&mut self.left_out);
        if count > 0 {
            let left_out = Event::done(now, What::LeftOut, Who::SERVER, Target::default());
            events.push(Event { count, ..left_out.ended(Outcome::Unknown, None) });
        }
        events
    }

    /// Takes back what could not be written, before all else.
    pub fn put_back(&mut self, events: Vec<Event>) {
        let since = std::mem::take(&mut self.events);
        self.summed.clear();
        for event in events.into_iter().chain(since) {
            if event.what == What::LeftOut {
                self.leave_out(event.count);
            } else {
                self.add(event);
            }
        }
    }
}

#[cfg(test)]
mod tests;
