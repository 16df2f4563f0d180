//! What requests take up, while they come in and until they are answered: counted against what all requests of the node
//! may take up together, so that nobody can make the node hold more by sending many messages and ending none, or by
//! messages that are long once they are unpacked. Owns that count; reads nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What all requests of the node may take up, in bytes.
const MAX: usize = 256 * 1024 * 1024;

/// What requests take up, over all connections of a node. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryBudget(Arc<AtomicUsize>);

impl MemoryBudget {
    /// A reservation of nothing yet.
    pub(crate) fn reserve(&self) -> Reservation {
        Reservation { budget: self.clone(), taken: 0 }
    }
}

/// What one request has taken of the budget; given back when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: MemoryBudget,
    taken: usize,
}

impl Reservation {
    /// Takes so many bytes more; false when there is no room.
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        self.taken += bytes;
        self.budget.0.fetch_add(bytes, Ordering::Relaxed) + bytes <= MAX
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.0.fetch_sub(self.taken, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    //! What is taken is given back.

    use std::sync::atomic::Ordering;

    use super::{MAX, MemoryBudget};

    #[test]
    fn there_is_room_for_so_much_and_it_is_given_back() {
        let budget = MemoryBudget::default();
        let (mut one, mut other) = (budget.reserve(), budget.reserve());
        assert!(one.take(MAX - 1) && other.take(1) && !other.take(1));
        drop(one);
        assert!(other.take(MAX - 2));
        drop(other);
        assert_eq!(budget.0.load(Ordering::Relaxed), 0);
    }
}
