//! Loading entries: one statement for all keys of a caller, one load for all who wait for a key.
//!
//! Owns the way of a fill token from `begin` to `finish`: whatever happens to the load, every token comes back and
//! every waiter is answered. The rules of what may be stored are the shard's.

use std::time::Duration;

use actix::Recipient;
use callboard_protocol::cache::{Finished, Loaded, Token};
use callboard_protocol::config::SharedState;
use callboard_protocol::key::ConfigKey;

use super::ReadFailure;
use super::shards::{Cache, Waiter, Wake};
use crate::runtime::{AskError, ask};
use crate::store_reader::Fill;

/// How long a load may take before its readers are told.
pub(super) const LOAD_DEADLINE: Duration = Duration::from_secs(5);

/// A fill that has begun; ends as failed when it is dropped.
pub(super) struct Filling {
    cache: Cache,
    key: ConfigKey,
    token: Option<Token>,
}

impl Filling {
    pub(super) fn new(cache: &Cache, key: ConfigKey, token: Token) -> Self {
        Self { cache: cache.clone(), key, token: Some(token) }
    }

    /// Hands the result in, answers those who waited, and returns the fill that others have queued for meanwhile.
    fn end(mut self, loaded: Result<Loaded, ReadFailure>) -> Option<Self> {
        let token = self.token.take()?;
        let finished = self.cache.finish(&self.key, token, loaded.as_ref().ok());
        let next = answer(finished, &loaded.map(|loaded| loaded.state));
        next.map(|token| Self::new(&self.cache, self.key.clone(), token))
    }
}

impl Drop for Filling {
    /// The load was given up, by a panic or a stop: those who wait must not wait for ever.
    fn drop(&mut self) {
        let mut token = self.token.take();
        let failure = Err(ReadFailure::Unavailable { reason: "the load was given up".to_owned() });
        while let Some(present) = token {
            token = answer(self.cache.finish(&self.key, present, None), &failure);
        }
    }
}

fn answer(finished: Finished<Waiter>, result: &Result<SharedState, ReadFailure>) -> Option<Token> {
    for waiter in finished.answered {
        // A reader that has given up does not need the answer.
        drop(waiter.send(Wake::Loaded(result.clone())));
    }
    finished.next
}

/// Loads all of `fillings` by one statement, and again for those who queued meanwhile, until nobody waits.
pub(super) async fn load(mut fillings: Vec<Filling>, store: Recipient<Fill>) {
    while !fillings.is_empty() {
        if let Some(first) = fillings.first() {
            first.cache.metrics.loads.inc();
        }
        let keys: Vec<ConfigKey> = fillings.iter().map(|filling| filling.key.clone()).collect();
        let filled = match ask(&store, Fill { keys }, LOAD_DEADLINE).await {
            Ok(filled) => filled,
            Err(AskError::TimedOut) => Err(ReadFailure::TimedOut),
            Err(AskError::Closed) => Err(ReadFailure::Unavailable { reason: "the store is restarting".to_owned() }),
        };
        fillings = match filled {
            Ok(filled) => {
                let (revision, timeline) = (filled.revision, filled.timeline);
                let loaded = filled.states.into_iter().map(|state| Ok(Loaded { revision, timeline, state }));
                fillings.into_iter().zip(loaded).filter_map(|(filling, loaded)| filling.end(loaded)).collect()
            }
            Err(failure) => fillings.into_iter().filter_map(|filling| filling.end(Err(failure.clone()))).collect(),
        };
    }
}
