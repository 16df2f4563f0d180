//! Entries of one shard, kept by `quick_cache`: bounded by bytes, resistant to scans; a marked key stays.

use std::hash::RandomState;

use callboard_protocol::cache::Entries;
use callboard_protocol::config::SharedState;
use callboard_protocol::key::ConfigKey;
use prometheus_client::metrics::counter::Counter;
use quick_cache::unsync::Cache;
use quick_cache::{Lifecycle, Weighter};

/// An entry and whether it may be pushed out.
#[derive(Debug, Clone)]
struct Slot {
    state: SharedState,
    pinned: bool,
}

#[derive(Debug, Clone)]
struct ByBytes;

impl Weighter<ConfigKey, Slot> for ByBytes {
    fn weight(&self, _key: &ConfigKey, slot: &Slot) -> u64 {
        u64::try_from(slot.state.weight()).unwrap_or(u64::MAX)
    }
}

/// Keeps marked keys and counts those pushed out.
#[derive(Debug, Clone)]
struct KeepMarked {
    evictions: Counter,
}

impl Lifecycle<ConfigKey, Slot> for KeepMarked {
    type RequestState = ();

    fn is_pinned(&self, _key: &ConfigKey, slot: &Slot) -> bool {
        slot.pinned
    }

    fn on_evict(&self, _state: &mut Self::RequestState, _key: ConfigKey, _slot: Slot) {
        self.evictions.inc();
    }
}

/// The entries of one shard.
#[derive(Debug)]
pub(super) struct QuickEntries {
    cache: Cache<ConfigKey, Slot, ByBytes, RandomState, KeepMarked>,
}

impl QuickEntries {
    /// Room for `max_bytes`, counted by [`ConfigState::weight`](callboard_protocol::config::ConfigState::weight).
    pub(super) fn new(max_bytes: u64, evictions: Counter) -> Self {
        const TYPICAL_BYTES: u64 = 1_024;
        let items = usize::try_from(max_bytes / TYPICAL_BYTES).unwrap_or(usize::MAX).max(16);
        Self { cache: Cache::with(items, max_bytes, ByBytes, RandomState::new(), KeepMarked { evictions }) }
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> u64 {
        self.cache.weight()
    }

    /// Entries held.
    pub(super) fn len(&self) -> usize {
        self.cache.len()
    }

    /// Every entry, in no order.
    pub(super) fn states(&self) -> impl Iterator<Item = &SharedState> {
        self.cache.iter().map(|(_key, slot)| &slot.state)
    }
}

impl Entries for QuickEntries {
    fn get(&mut self, key: &ConfigKey) -> Option<SharedState> {
        self.cache.get(key).map(|slot| SharedState::clone(&slot.state))
    }

    fn peek(&self, key: &ConfigKey) -> Option<SharedState> {
        self.cache.peek(key).map(|slot| SharedState::clone(&slot.state))
    }

    fn put(&mut self, state: SharedState, pinned: bool) {
        // In place, since an insert over an entry would count that as pushed out.
        if let Some(mut slot) = self.cache.peek_mut(&state.key) {
            *slot = Slot { state, pinned };
            return;
        }
        self.cache.insert(state.key.clone(), Slot { state, pinned });
    }

    fn remove(&mut self, key: &ConfigKey) {
        drop(self.cache.remove(key));
    }

    fn set_pinned(&mut self, key: &ConfigKey, pinned: bool) {
        if let Some(mut slot) = self.cache.peek_mut(key) {
            slot.pinned = pinned;
        }
    }

    fn clear(&mut self) {
        self.cache.clear();
    }
}
