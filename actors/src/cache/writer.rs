//! The keeper of the cache: applies marks, commits and grants, for all shards.
//!
//! Owns the write side of the cache besides guarded fills. Decides nothing: the rules are the shard's.

use std::sync::Arc;

use actix::{Actor, Handler, Message, MessageResult, Recipient};
use callboard_protocol::cache::CommittedKey;
use callboard_protocol::commit::BatchId;
use callboard_protocol::config::Version;
use callboard_protocol::content::Md5;
use callboard_protocol::key::ConfigKey;
use callboard_protocol::member::{ReadLease, Timeline};
use tokio::sync::oneshot;

use super::Cache;
use super::fill::{Filling, load};
use crate::monitored;
use crate::runtime::{Context, Observable};
use crate::store_reader::Fill;
use crate::subscription::{Subscription, SubscriptionGuard, subscription};

/// Marks keys for a batch. Once told so, no read of them is served from memory until the batch is applied or dropped.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Mark {
    /// For which batch.
    pub batch: BatchId,
    /// Which keys.
    pub keys: Arc<[ConfigKey]>,
    /// Told when all are marked.
    pub marked: oneshot::Sender<()>,
}

/// Asks to be told, by the end of the subscription, when the keeper was rebuilt: marks may then be lost or left over.
#[derive(Debug, Message)]
#[rtype(result = "Subscription")]
pub struct Follow;

/// Applies what a batch committed, and takes its marks.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Commit {
    /// Which batch.
    pub batch: BatchId,
    /// The newest state of each key that it changed.
    pub changes: Arc<[CommittedKey]>,
}

/// Takes the marks of a batch that did not and will not commit.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Abort {
    /// Which batch.
    pub batch: BatchId,
    /// Which keys.
    pub keys: Arc<[ConfigKey]>,
}

/// Moves the end of the read lease. Of another life than the present one it is ignored.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Extend {
    /// The leave.
    pub grant: ReadLease,
}

/// Sets the read lease. Another incarnation, or none, empties the cache.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct SetReadLease {
    /// The leave.
    pub grant: Option<ReadLease>,
    /// The timeline it is for.
    pub timeline: Timeline,
    /// The revision that the database had when the leave was given: nothing older is kept.
    pub revision: Version,
}

/// Says on which timeline the database is: memory of an earlier one is not trusted any more, whether the
/// membership has noticed or not.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct EndEarlier(pub Timeline);

/// Says which versions exist: an older entry is dropped, never written.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct NoteVersions {
    /// Key and version.
    pub versions: Vec<(ConfigKey, Version)>,
}

/// Asks what one shard holds; `None` when there is no such shard.
#[derive(Debug, Message)]
#[rtype(result = "Option<Vec<(ConfigKey, Version, Option<Md5>)>>")]
pub struct ListHeld {
    /// Counted from zero.
    pub shard: usize,
}

/// A row as the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Which key.
    pub key: ConfigKey,
    /// Its version.
    pub version: Version,
    /// The digest of its formal content.
    pub md5: Option<Md5>,
}

/// Loads keys anew, through guarded fills, whose entries are still behind what the database has. Answers how many
/// loads were begun: entries that caught up meanwhile, are marked, or are being loaded need none.
#[derive(Debug, Message)]
#[rtype(result = "usize")]
pub struct Reload {
    /// What the database has.
    pub behind: Vec<Stored>,
}

/// The keeper.
#[derive(Debug)]
pub struct CacheWriter {
    cache: Cache,
    store: Recipient<Fill>,
    /// Their drop tells that the keeper was rebuilt.
    followers: Vec<SubscriptionGuard>,
}

impl CacheWriter {
    /// The keeper of `cache`, which reloads through `store`.
    #[must_use]
    pub fn new(cache: Cache, store: Recipient<Fill>) -> Self {
        Self { cache, store, followers: Vec::new() }
    }
}

impl Actor for CacheWriter {
    type Context = Context<Self>;
}

monitored!(CacheWriter, "cache");

impl Observable for CacheWriter {
    fn observe(&self) -> serde_json::Value {
        serde_json::json!({ "held": self.cache.totals(), "shards": self.cache.shard_count() })
    }
}

impl Handler<Mark> for CacheWriter {
    type Result = ();

    fn handle(&mut self, Mark { batch, keys, marked }: Mark, _: &mut Context<Self>) {
        for key in keys.iter() {
            self.cache.mark(batch, key);
        }
        if marked.send(()).is_err() {
            // The marks end with the life of the membership that the one who asked has given up.
            tracing::debug!(batch.id = %batch.0, "nobody waits for these marks any more");
        }
    }
}

impl Handler<Follow> for CacheWriter {
    type Result = MessageResult<Follow>;

    fn handle(&mut self, Follow: Follow, _: &mut Context<Self>) -> Self::Result {
        let (holder, held) = subscription();
        self.followers.push(holder);
        MessageResult(held)
    }
}

impl Handler<Commit> for CacheWriter {
    type Result = ();

    fn handle(&mut self, Commit { batch, changes }: Commit, _: &mut Context<Self>) {
        for change in changes.iter() {
            self.cache.commit(batch, change);
        }
    }
}

impl Handler<Abort> for CacheWriter {
    type Result = ();

    fn handle(&mut self, Abort { batch, keys }: Abort, _: &mut Context<Self>) {
        for key in keys.iter() {
            self.cache.abort(batch, key);
        }
    }
}

impl Handler<SetReadLease> for CacheWriter {
    type Result = ();

    fn handle(&mut self, SetReadLease { grant, timeline, revision }: SetReadLease, _: &mut Context<Self>) {
        self.cache.grant(grant, timeline, revision);
    }
}

impl Handler<Extend> for CacheWriter {
    type Result = ();

    fn handle(&mut self, Extend { grant }: Extend, _: &mut Context<Self>) {
        self.cache.extend(grant);
    }
}

impl Handler<EndEarlier> for CacheWriter {
    type Result = ();

    fn handle(&mut self, EndEarlier(timeline): EndEarlier, _: &mut Context<Self>) {
        self.cache.end_earlier(timeline);
    }
}

impl Handler<NoteVersions> for CacheWriter {
    type Result = ();

    fn handle(&mut self, NoteVersions { versions }: NoteVersions, _: &mut Context<Self>) {
        for (key, version) in &versions {
            self.cache.note_version(key, *version);
        }
    }
}

impl Handler<ListHeld> for CacheWriter {
    type Result = MessageResult<ListHeld>;

    fn handle(&mut self, ListHeld { shard }: ListHeld, _: &mut Context<Self>) -> Self::Result {
        self.cache.totals();
        MessageResult((shard < self.cache.shard_count()).then(|| self.cache.held(shard)))
    }
}

impl Handler<Reload> for CacheWriter {
    type Result = usize;

    fn handle(&mut self, Reload { behind }: Reload, _: &mut Context<Self>) -> usize {
        let fillings: Vec<Filling> = behind
            .into_iter()
            .filter(|stored| self.cache.is_behind(stored))
            .filter_map(|stored| {
                let token = self.cache.begin_refresh(&stored.key)?;
                Some(Filling::new(&self.cache, stored.key, token))
            })
            .collect();
        let begun = fillings.len();
        if begun > 0 {
            drop(actix_rt::spawn(load(fillings, self.store.clone())));
        }
        begun
    }
}
