//! What the connections of one store know of the database together: how far it goes, that a server has lost its role,
//! and whether reads are answered. Owns when connections are too old to be used; decides nothing else.
//!
//! It is shared by the pools, which live on several threads, and private to this module's parent.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use callboard_protocol::extent::Extent;

/// See the module. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Outlook(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    known: Extent,
    /// Connections that were opened before are closed instead of used.
    emptied: Option<Instant>,
    /// The same of connections that write.
    distrusted: Option<Instant>,
    /// Since when no read was answered.
    unread_since: Option<Instant>,
}

/// How far the database is known to go, for those who neither read nor write.
#[derive(Debug, Clone, Default)]
pub struct KnownExtent(pub(super) Outlook);

impl KnownExtent {
    /// The furthest commit that is known.
    #[must_use]
    pub fn get(&self) -> Extent {
        self.0.known()
    }
}

impl Outlook {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Each change is whole before the guard is dropped.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far the database is known to go.
    pub(super) fn known(&self) -> Extent {
        self.inner().known
    }

    /// A commit, or an answer, was as of this.
    pub(super) fn saw(&self, extent: Extent) {
        self.inner().known.see(extent);
    }

    /// A server is not what it was: no pool uses a connection any more that is open now.
    pub(super) fn empty_pools(&self, reason: &str) {
        let mut inner = self.inner();
        // Those that were under way meet the same; one line is enough for all of them.
        const ONE_EVENT: Duration = Duration::from_secs(1);
        if inner.emptied.is_none_or(|at| at.elapsed() > ONE_EVENT) {
            tracing::warn!(reason, "the connections to the database are given up and opened anew");
        }
        inner.emptied = Some(Instant::now());
    }

    /// A transaction could not be begun or ended: whatever the driver takes its connection for, it may be something
    /// else. SQLite, for one, keeps the error of a storage that has long recovered. Connections that read are let be:
    /// to open one takes room that may not be there.
    pub(super) fn distrust_writers(&self) {
        self.inner().distrusted = Some(Instant::now());
    }

    /// Whether a connection of this age may be used to read.
    pub(super) fn may_read(&self, age: Duration) -> bool {
        is_after(age, self.inner().emptied)
    }

    /// Whether a connection of this age may be used to write.
    pub(super) fn may_write(&self, age: Duration) -> bool {
        let inner = self.inner();
        is_after(age, inner.emptied) && is_after(age, inner.distrusted)
    }

    /// A read was answered.
    pub(super) fn read(&self) {
        let since = self.inner().unread_since.take();
        if let Some(since) = since {
            let seconds = format!("{:.1}", since.elapsed().as_secs_f64());
            tracing::info!(outage.seconds = seconds, "the database answers reads again");
        }
    }

    /// A read was not answered.
    pub(super) fn unread(&self, reason: &str) {
        let is_first = {
            let mut inner = self.inner();
            let is_first = inner.unread_since.is_none();
            inner.unread_since.get_or_insert_with(Instant::now);
            is_first
        };
        if is_first {
            tracing::warn!(reason, "the database does not answer reads");
        }
    }
}

/// Whether a connection of this age was opened after this event.
fn is_after(age: Duration, event: Option<Instant>) -> bool {
    event.is_none_or(|at| age < at.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_from_before_a_server_lost_its_role_are_not_used() {
        let outlook = Outlook::default();
        let old = Duration::from_secs(3_600);
        assert!(outlook.may_read(old) && outlook.may_write(old));
        outlook.distrust_writers();
        assert!(outlook.may_read(old) && !outlook.may_write(old));
        outlook.empty_pools("it is read-only");
        assert!(!outlook.may_read(old) && !outlook.may_write(old));
        while !outlook.may_write(Duration::ZERO) {
            std::thread::yield_now();
        }
    }
}
