//! Connections whose other end has not proved itself yet. Owns their bound: a newcomer takes the place of the one that
//! has waited longest, so that filling the lobby keeps nobody out who knocks with the key. Knows nothing of keys.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::rc::Rc;

use actix_rt::task::JoinHandle;

/// Connections that may wait.
pub(super) const SLOTS: usize = 64;

/// Those who wait, oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct PendingHandshakes {
    slots: Rc<RefCell<Slots>>,
}

#[derive(Debug, Default)]
struct Slots {
    next: u64,
    waiting: VecDeque<(u64, JoinHandle<()>)>,
}

/// A place in the lobby. Dropped once the other end has proved itself, or when the connection ends.
#[derive(Debug)]
pub(super) struct Slot {
    number: u64,
    slots: Rc<RefCell<Slots>>,
}

impl PendingHandshakes {
    /// Runs a connection that takes a place, and ends the oldest one if there is none.
    pub(super) fn admit<F: Future<Output = ()> + 'static>(&self, connection: impl FnOnce(Slot) -> F) {
        let number = {
            let mut slots = self.slots.borrow_mut();
            slots.next = slots.next.wrapping_add(1);
            slots.next
        };
        // A task does not run before the present one waits: it finds its slot taken.
        let task = actix_rt::spawn(connection(Slot { number, slots: Rc::clone(&self.slots) }));
        let oldest = {
            let mut slots = self.slots.borrow_mut();
            let oldest = if slots.waiting.len() >= SLOTS { slots.waiting.pop_front() } else { None };
            slots.waiting.push_back((number, task));
            oldest
        };
        if let Some((_, task)) = oldest {
            task.abort();
        }
    }

    /// How many wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.slots.borrow().waiting.len()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.borrow_mut().waiting.retain(|(number, _)| *number != self.number);
    }
}
