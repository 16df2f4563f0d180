//! Telling whoever brought the store to a server that it is the wrong one. Owns no decision: the connection is refused
//! by the store, and where the next one goes is for others to say.

use std::sync::Arc;

/// What is called after a new connection turned out to lead to a server that can't be used: a standby.
#[derive(Clone, Default)]
pub struct OnRefusal(Option<Arc<dyn Fn() + Send + Sync>>);

impl OnRefusal {
    /// Calls `act`, on whichever thread, before the next connection is tried.
    #[must_use]
    pub fn new(act: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(act)))
    }

    /// Passes a verdict on, and acts upon it.
    pub(super) fn tell<E>(&self, verdict: Result<(), E>) -> Result<(), E> {
        if let (Err(_), Some(act)) = (&verdict, &self.0) {
            act();
        }
        verdict
    }
}
