//! The timers that foca asked for: handed back in the order in which they are due. Owns the queue and the mending of a
//! pause of the whole process; reads no clock.

use std::collections::BTreeMap;
use std::time::Duration;

use callboard_protocol::time::Mono;

/// A timer that is this late tells that the process stood still, not that it is busy.
const STOOD_STILL: Duration = Duration::from_millis(750);

/// A queue of timers.
#[derive(Debug)]
pub(super) struct Timers<T> {
    queue: BTreeMap<(Mono, u64), T>,
    next: u64,
}

impl<T> Timers<T> {
    pub(super) fn new() -> Self {
        Self { queue: BTreeMap::new(), next: 0 }
    }

    pub(super) fn add(&mut self, due: Mono, timer: T) {
        self.next += 1;
        self.queue.insert((due, self.next), timer);
    }

    /// When the next one is due.
    pub(super) fn next_due(&self) -> Option<Mono> {
        self.queue.keys().next().map(|(due, _)| *due)
    }

    /// The next one that is due.
    pub(super) fn take_due(&mut self, now: Mono) -> Option<T> {
        if self.next_due().is_none_or(|due| due > now) {
            return None;
        }
        self.queue.pop_first().map(|(_, timer)| timer)
    }

    /// After a pause of the process (stopped, swapped out, a frozen machine) moves every timer by it: peers that
    /// answered meanwhile wait to be read, and must not be taken for silent first.
    pub(super) fn mend_pause(&mut self, now: Mono) {
        let Some(due) = self.next_due() else { return };
        let late = now.since(due);
        if late >= STOOD_STILL {
            let moved = std::mem::take(&mut self.queue);
            self.queue = moved.into_iter().map(|((due, order), timer)| ((due.after(late), order), timer)).collect();
        }
    }
}
