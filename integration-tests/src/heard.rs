//! What a subscriber of a proof has heard, and whether it may stop listening. Owns the versions heard and the time
//! since publishing ended. Never judges what was heard: that is for the checker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use callboard_protocol::key::ConfigKey;
use tokio::sync::watch;

use crate::poll;

/// The newest version of each key; `None` until publishing has ended.
pub type Newest = Option<Arc<BTreeMap<ConfigKey, u64>>>;

/// What a subscriber has heard so far.
#[derive(Debug, Default)]
pub struct Heard {
    versions: BTreeMap<ConfigKey, u64>,
    ended: Option<Instant>,
}

impl Heard {
    /// The subscriber was told this version of `key`.
    pub fn note(&mut self, key: &ConfigKey, version: u64) {
        self.versions.insert(key.clone(), version);
    }

    /// True when publishing has ended and the newest version of every one of `keys` was heard, or is overdue. Call it
    /// again and again: what is overdue counts from the first call after the end.
    pub fn is_enough(&mut self, newest: &watch::Receiver<Newest>, keys: &[ConfigKey]) -> bool {
        let Some(newest) = newest.borrow().clone() else { return false };
        let overdue = self.ended.get_or_insert_with(Instant::now).elapsed() > poll::SOON;
        overdue || keys.iter().all(|key| self.versions.get(key) >= newest.get(key))
    }
}
