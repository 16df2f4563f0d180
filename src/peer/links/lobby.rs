//! Connections whose other end has not proved itself yet. Owns their bound: a newcomer takes the place of the one that
//! has waited longest, so that filling the lobby keeps nobody out who knocks with the key. Knows nothing of keys.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::rc::Rc;

use actix_rt::task::JoinHandle;

/// Connections that may wait.
pub(super) const SEATS: usize = 64;

/// Those who wait, oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Lobby {
    seats: Rc<RefCell<Seats>>,
}

#[derive(Debug, Default)]
struct Seats {
    next: u64,
    waiting: VecDeque<(u64, JoinHandle<()>)>,
}

/// A place in the lobby. Dropped once the other end has proved itself, or when the connection ends.
#[derive(Debug)]
pub(super) struct Seat {
    number: u64,
    seats: Rc<RefCell<Seats>>,
}

impl Lobby {
    /// Runs a connection that takes a place, and ends the oldest one if there is none.
    pub(super) fn admit<F: Future<Output = ()> + 'static>(&self, connection: impl FnOnce(Seat) -> F) {
        let number = {
            let mut seats = self.seats.borrow_mut();
            seats.next = seats.next.wrapping_add(1);
            seats.next
        };
        // A task does not run before the present one waits: it finds its seat taken.
        let task = actix_rt::spawn(connection(Seat { number, seats: Rc::clone(&self.seats) }));
        let oldest = {
            let mut seats = self.seats.borrow_mut();
            let oldest = if seats.waiting.len() >= SEATS { seats.waiting.pop_front() } else { None };
            seats.waiting.push_back((number, task));
            oldest
        };
        if let Some((_, task)) = oldest {
            task.abort();
        }
    }

    /// How many wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.seats.borrow().waiting.len()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.borrow_mut().waiting.retain(|(number, _)| *number != self.number);
    }
}
