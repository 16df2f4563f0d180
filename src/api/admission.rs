//! How many sessions may be open, over every interface that has sessions. Owns the count and the numbers that sessions
//! have; a session gives its place back by dropping it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use callboard_protocol::push_ledger::SessionNumber;

/// The places of all sessions of a node.
#[derive(Debug)]
pub(crate) struct Admission {
    next: AtomicU64,
    open: Arc<AtomicUsize>,
    max: usize,
}

/// A place among the sessions; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Admission {
    /// Room for `max` sessions, none of which is open.
    pub(crate) fn new(max: usize) -> Self {
        Self { next: AtomicU64::new(1), open: Arc::new(AtomicUsize::new(0)), max }
    }

    /// How many are open.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// A place for one more; `None` when as many are open as may be.
    pub(crate) fn admit(&self) -> Option<Place> {
        let before = self.open.fetch_add(1, Ordering::AcqRel);
        let place = Place(Arc::clone(&self.open));
        (before < self.max).then_some(place)
    }

    /// A number for one more session.
    pub(crate) fn number(&self) -> SessionNumber {
        SessionNumber(self.next.fetch_add(1, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    //! Places are counted, and given back.

    use super::Admission;

    #[test]
    fn there_are_so_many_places_and_they_are_given_back() {
        let admission = Admission::new(1);
        let first = admission.admit();
        assert!(first.is_some() && admission.admit().is_none());
        assert_eq!(admission.open(), 1);
        drop(first);
        assert!(admission.open() == 0 && admission.admit().is_some());
        assert_ne!(admission.number(), admission.number());
    }
}
