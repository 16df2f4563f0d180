//! The shards and the locks around them. Owns nothing but the distribution of keys; every rule is the shard's own.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use callboard_protocol::cache::{
    Begin, CommittedKey, Compared, Entries as _, Finished, Loaded, Lookup, Shard, Token, compare,
};
use callboard_protocol::commit::BatchId;
use callboard_protocol::config::{SharedState, Version};
use callboard_protocol::content::Md5;
use callboard_protocol::key::ConfigKey;
use callboard_protocol::member::{ReadLease, Timeline};
use tokio::sync::oneshot;

use super::ReadFailure;
use super::entries::QuickEntries;
use super::reader::Stale;
use super::writer::Stored;
use crate::clock::SharedClock;
use crate::metrics::CacheMetrics;

/// How large the cache may be.
#[derive(Debug, Clone, Copy)]
pub struct CacheOptions {
    /// Bytes of keys, contents and metadata, over all shards.
    pub max_bytes: u64,
}

/// What wakes a reader that waits.
#[derive(Debug)]
pub(super) enum Wake {
    /// The key is not marked any more: look again.
    Unmarked,
    /// The load it waited for is done.
    Loaded(Result<SharedState, ReadFailure>),
}

/// The end of a reader that waits.
pub(super) type Waiter = oneshot::Sender<Wake>;

type Locked<'a> = MutexGuard<'a, Shard<QuickEntries, Waiter>>;

/// The cache of a node. Cheap to clone; all clones are the same cache.
#[derive(Clone)]
pub struct Cache {
    shards: Arc<[Mutex<Shard<QuickEntries, Waiter>>]>,
    hasher: RandomState,
    clock: SharedClock,
    pub(super) metrics: CacheMetrics,
}

impl fmt::Debug for Cache {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Cache").field("shards", &self.shards.len()).finish_non_exhaustive()
    }
}

/// Below this size one shard is better than several: each must have room for large contents.
const SHARD_BYTES: u64 = 4 * 1024 * 1024;
const MOST_SHARDS: u64 = 16;

impl Cache {
    /// An empty cache.
    #[must_use]
    pub fn new(options: CacheOptions, clock: SharedClock, metrics: CacheMetrics) -> Self {
        let count = (options.max_bytes / SHARD_BYTES).clamp(1, MOST_SHARDS);
        let shards = (0..count)
            .map(|_| Mutex::new(Shard::new(QuickEntries::new(options.max_bytes / count, metrics.evictions.clone()))))
            .collect();
        Self { shards, hasher: RandomState::new(), clock, metrics }
    }

    fn lock<'a>(&self, shard: &'a Mutex<Shard<QuickEntries, Waiter>>) -> Locked<'a> {
        // A panic under the lock is a bug of the rules, which leave a shard whole between their steps.
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shard(&self, key: &ConfigKey) -> Locked<'_> {
        let count = self.shards.len() as u64;
        let index = usize::try_from(self.hasher.hash_one(key) % count).unwrap_or_default();
        // The remainder lies below the number of shards, which is at least one.
        self.lock(self.shards.get(index).unwrap_or(&self.shards[0]))
    }

    pub(super) fn lookup(&self, key: &ConfigKey) -> Lookup {
        let looked = self.shard(key).lookup(key, || self.clock.lease());
        match &looked {
            Lookup::Hit(_) => self.metrics.hits.inc(),
            Lookup::Marked => self.metrics.marked.inc(),
            Lookup::Miss => self.metrics.misses.inc(),
            Lookup::Untrusted => self.metrics.untrusted.inc(),
        };
        looked
    }

    /// The entry of a key, whatever memory may be trusted with.
    pub(super) fn stale(&self, key: &ConfigKey) -> Option<Stale> {
        let now = self.clock.lease();
        let shard = self.shard(key);
        let state = shard.entries().peek(key)?;
        Some(Stale { state, age: shard.lapsed_for(now)? })
    }

    pub(super) fn wait_unmarked(&self, key: &ConfigKey, waiter: Waiter) -> Result<(), Waiter> {
        self.shard(key).wait_unmarked(key, waiter)
    }

    pub(super) fn begin(&self, key: &ConfigKey, waiter: Waiter) -> Begin {
        self.shard(key).begin(key, self.clock.lease(), waiter)
    }

    pub(super) fn begin_refresh(&self, key: &ConfigKey) -> Option<Token> {
        self.shard(key).begin_refresh(key)
    }

    pub(super) fn finish(&self, key: &ConfigKey, token: Token, loaded: Option<&Loaded>) -> Finished<Waiter> {
        let finished = self.shard(key).finish(token, loaded);
        if loaded.is_some() && !finished.stored {
            self.metrics.poisoned.inc();
        }
        finished
    }

    pub(super) fn mark(&self, batch: BatchId, key: &ConfigKey) {
        self.shard(key).mark(batch, key);
    }

    pub(super) fn commit(&self, batch: BatchId, change: &CommittedKey) {
        let woken = self.shard(&change.key).commit(batch, change);
        wake(woken);
    }

    pub(super) fn abort(&self, batch: BatchId, key: &ConfigKey) {
        let woken = self.shard(key).abort(batch, key);
        wake(woken);
    }

    pub(super) fn note_version(&self, key: &ConfigKey, version: Version) {
        self.shard(key).note_version(key, version);
    }

    pub(super) fn grant(&self, grant: Option<ReadLease>, timeline: Timeline, revision: Version) {
        for shard in self.shards.iter() {
            let mut shard = self.lock(shard);
            shard.set_timeline(timeline);
            shard.note_revision(revision);
            let woken = shard.grant(grant);
            drop(shard);
            wake(woken);
        }
    }

    /// Takes a leave that was given on an earlier timeline than this.
    pub(super) fn end_earlier(&self, timeline: Timeline) {
        for shard in self.shards.iter() {
            let woken = self.lock(shard).end_earlier(timeline);
            wake(woken);
        }
    }

    /// Moves the end of the leave of the same life.
    pub(super) fn extend(&self, grant: ReadLease) {
        for shard in self.shards.iter() {
            self.lock(shard).extend(grant);
        }
    }

    pub(super) fn shard_count(&self) -> usize {
        self.shards.len()
    }

    /// Key, version and digest of every entry of one shard.
    pub(super) fn held(&self, shard: usize) -> Vec<(ConfigKey, Version, Option<Md5>)> {
        let Some(shard) = self.shards.get(shard) else { return Vec::new() };
        let shard = self.lock(shard);
        shard.entries().states().map(|state| (state.key.clone(), state.version, digest(state))).collect()
    }

    /// Whether the entry of a key is older than `stored`, or of the same version with another content.
    pub(super) fn is_behind(&self, stored: &Stored) -> bool {
        let held = self.shard(&stored.key).entries().peek(&stored.key);
        held.is_some_and(|held| {
            compare((held.version, digest(&held)), (stored.version, stored.md5)) == Compared::Behind
        })
    }

    /// Bytes, entries, marks and running fills over all shards; also sets the gauges.
    pub(super) fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for shard in self.shards.iter() {
            let shard = self.lock(shard);
            totals.bytes += shard.entries().bytes();
            totals.entries += shard.entries().len();
            totals.marks += shard.marks();
            totals.fills += shard.fills();
        }
        self.metrics.bytes.set(i64::try_from(totals.bytes).unwrap_or(i64::MAX));
        self.metrics.entries.set(i64::try_from(totals.entries).unwrap_or(i64::MAX));
        totals
    }
}

/// What the cache holds.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub(super) struct Totals {
    pub(super) bytes: u64,
    pub(super) entries: usize,
    pub(super) marks: usize,
    pub(super) fills: usize,
}

fn digest(state: &SharedState) -> Option<Md5> {
    state.formal.as_ref().map(|content| content.md5())
}

fn wake(waiters: Vec<Waiter>) {
    for waiter in waiters {
        // A reader that has given up is not there to be woken.
        drop(waiter.send(Wake::Unmarked));
    }
}
