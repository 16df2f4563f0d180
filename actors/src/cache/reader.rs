//! The reader of one worker thread: answers reads from memory, or from the database when memory may not answer.
//!
//! Owns nothing: the cache is shared by all readers. Never changes an entry but by a guarded fill.

use std::time::Duration;

use actix::fut::wrap_future;
use actix::{Actor, ActorResponse, Handler, Message, MessageResult, Recipient};
use callboard_protocol::cache::{Begin, Lookup};
use callboard_protocol::config::SharedState;
use callboard_protocol::key::ConfigKey;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::fill::{Filling, LOAD_DEADLINE, load};
use super::shards::Wake;
use super::{Cache, ReadFailure};
use crate::monitored;
use crate::runtime::{Context, Observable};
use crate::store_reader::Fill;

/// Asks for the present state of one key; a missing key has a state too. Linearizable: never older than what any
/// publish made that returned before the question was asked.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<SharedState, ReadFailure>")]
pub struct Get {
    /// Which key.
    pub key: ConfigKey,
}

/// Asks for many keys; all misses are loaded by one statement. Answers in the order asked.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Vec<SharedState>, ReadFailure>")]
pub struct GetMany {
    /// Which keys.
    pub keys: Vec<ConfigKey>,
}

/// Asks for what memory holds of a key although it may be old, for a caller that was told that nothing better can be
/// had. Never used for anything that must be right.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Option<Stale>")]
pub struct GetStale {
    /// Which key.
    pub key: ConfigKey,
}

/// A state that may be old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stale {
    /// The state.
    pub state: SharedState,
    /// How long ago memory could last be trusted.
    pub age: Duration,
}

/// The reader of one worker.
#[derive(Debug)]
pub struct CacheReader {
    cache: Cache,
    store: Recipient<Fill>,
    /// How long a read waits for the mark of its key to go before it asks the database.
    mark_wait: Duration,
}

impl CacheReader {
    /// A reader over `cache` that loads through `store`, which should live on the same thread.
    #[must_use]
    pub fn new(cache: Cache, store: Recipient<Fill>, mark_wait: Duration) -> Self {
        Self { cache, store, mark_wait }
    }
}

impl Actor for CacheReader {
    type Context = Context<Self>;
}

monitored!(CacheReader, "reader");

impl Observable for CacheReader {
    fn observe(&self) -> serde_json::Value {
        json!({ "cache": self.cache.totals() })
    }
}

impl Handler<Get> for CacheReader {
    type Result = ActorResponse<Self, Result<SharedState, ReadFailure>>;

    fn handle(&mut self, Get { key }: Get, _: &mut Context<Self>) -> Self::Result {
        let looked = self.cache.lookup(&key);
        if let Lookup::Hit(state) = looked {
            return ActorResponse::reply(Ok(state));
        }
        let (cache, store, mark_wait) = (self.cache.clone(), self.store.clone(), self.mark_wait);
        ActorResponse::r#async(wrap_future(async move {
            if matches!(looked, Lookup::Marked)
                && let Some(state) = after_mark(&cache, &key, mark_wait).await
            {
                return Ok(state);
            }
            let (loading, answer) = begin(&cache, key);
            spawn_load(loading.into_iter().collect(), store);
            loaded(answer).await
        }))
    }
}

impl Handler<GetStale> for CacheReader {
    type Result = MessageResult<GetStale>;

    fn handle(&mut self, GetStale { key }: GetStale, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.cache.stale(&key))
    }
}

impl Handler<GetMany> for CacheReader {
    type Result = ActorResponse<Self, Result<Vec<SharedState>, ReadFailure>>;

    fn handle(&mut self, GetMany { keys }: GetMany, _: &mut Context<Self>) -> Self::Result {
        enum Answer {
            Known(SharedState),
            Coming(oneshot::Receiver<Wake>),
        }
        let mut fillings = Vec::new();
        let answers: Vec<Answer> = keys
            .into_iter()
            .map(|key| match self.cache.lookup(&key) {
                Lookup::Hit(state) => Answer::Known(state),
                Lookup::Marked | Lookup::Miss | Lookup::Untrusted => {
                    let (filling, coming) = begin(&self.cache, key);
                    fillings.extend(filling);
                    Answer::Coming(coming)
                }
            })
            .collect();
        spawn_load(fillings, self.store.clone());
        ActorResponse::r#async(wrap_future(async move {
            let mut states = Vec::with_capacity(answers.len());
            for answer in answers {
                states.push(match answer {
                    Answer::Known(state) => state,
                    Answer::Coming(coming) => loaded(coming).await?,
                });
            }
            Ok(states)
        }))
    }
}

/// Waits for the mark of `key` to go and looks again; `None` when it did not go in time or memory can't answer.
async fn after_mark(cache: &Cache, key: &ConfigKey, mark_wait: Duration) -> Option<SharedState> {
    let end = tokio::time::Instant::now() + mark_wait;
    loop {
        let (sender, receiver) = oneshot::channel();
        if cache.wait_unmarked(key, sender).is_ok() {
            // Either way the key is looked up again, or the database is asked.
            tokio::time::timeout_at(end, receiver).await.ok()?.ok()?;
        }
        match cache.lookup(key) {
            Lookup::Hit(state) => return Some(state),
            Lookup::Marked => {}
            Lookup::Miss | Lookup::Untrusted => return None,
        }
    }
}

/// Joins or begins the load of `key`; the filling, when there is one, is the caller's to load.
fn begin(cache: &Cache, key: ConfigKey) -> (Option<Filling>, oneshot::Receiver<Wake>) {
    let (sender, receiver) = oneshot::channel();
    let filling = match cache.begin(&key, sender) {
        Begin::Lead(token) => Some(Filling::new(cache, key, token)),
        Begin::Joined => None,
    };
    (filling, receiver)
}

/// Loads apart from the reader: the load goes on for those who joined it when this reader's caller goes away.
fn spawn_load(fillings: Vec<Filling>, store: Recipient<Fill>) {
    if !fillings.is_empty() {
        drop(actix_rt::spawn(load(fillings, store)));
    }
}

async fn loaded(answer: oneshot::Receiver<Wake>) -> Result<SharedState, ReadFailure> {
    // Two loads may be needed: one that runs already and may not be joined, and the next.
    match timeout(LOAD_DEADLINE * 2, answer).await {
        Ok(Ok(Wake::Loaded(result))) => result,
        Ok(Ok(Wake::Unmarked) | Err(_)) => Err(ReadFailure::Unavailable { reason: "the load was given up".to_owned() }),
        Err(_elapsed) => Err(ReadFailure::TimedOut),
    }
}
