//! The scheduled comparison of cache and database. Repairs differences through the guarded fill and counts them.
//!
//! A difference means that somebody wrote to the database past the server, or a fault: with all writes going through
//! the server there is none to find. Owns the schedule; never writes an entry itself.

use std::time::Duration;

use actix::fut::wrap_future;
use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Handler, Message, Recipient};
use callboard_protocol::cache::{Compared, compare};
use callboard_protocol::config::Version;
use callboard_protocol::content::Md5;
use callboard_protocol::key::ConfigKey;
use prometheus_client::metrics::counter::Counter;
use serde_json::json;

use crate::cache::writer::{CacheWriter, ListHeld, Reload, Stored};
use crate::monitored;
use crate::runtime::{Context, Observable, ask};
use crate::store_reader::GetVersions;

const DEADLINE: Duration = Duration::from_secs(10);
/// Keys compared by one statement.
const CHUNK: usize = 200;

/// Time to compare.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct CompareTick;

/// The scheduled comparison.
#[derive(Debug)]
pub struct CacheRefresh {
    cache: Addr<CacheWriter>,
    store: Recipient<GetVersions>,
    interval: Duration,
    repairs: Counter,
    rounds: u64,
    compared: u64,
}

impl CacheRefresh {
    /// Compares every `interval`, counting in `repairs`.
    #[must_use]
    pub fn new(cache: Addr<CacheWriter>, store: Recipient<GetVersions>, interval: Duration, repairs: Counter) -> Self {
        Self { cache, store, interval, repairs, rounds: 0, compared: 0 }
    }
}

/// Compares every shard; answers how many entries were compared. What fails is tried again in the next round.
async fn compare_all(cache: Addr<CacheWriter>, store: Recipient<GetVersions>, repairs: Counter) -> u64 {
    let mut compared = 0;
    for shard in 0.. {
        let Ok(Some(held)) = ask(&cache, ListHeld { shard }, DEADLINE).await else { break };
        for chunk in held.chunks(CHUNK) {
            let keys = chunk.iter().map(|(key, _, _)| key.clone()).collect();
            let Ok(Ok(stored)) = ask(&store, GetVersions { keys }, DEADLINE).await else { return compared };
            compared += chunk.len() as u64;
            let behind = differences(chunk, stored);
            if behind.is_empty() {
                continue;
            }
            // Many of these were committed between the two looks; the cache knows which it has learnt of meanwhile.
            if let Ok(begun) = ask(&cache, Reload { behind }, DEADLINE).await
                && begun > 0
            {
                repairs.inc_by(begun as u64);
                tracing::warn!(entries = begun, "the cache differed from the database and was repaired");
            }
        }
    }
    compared
}

/// The stored rows that are newer than the entry held, or the same version with another content.
fn differences(
    held: &[(ConfigKey, Version, Option<Md5>)],
    stored: Vec<(ConfigKey, Version, Option<Md5>)>,
) -> Vec<Stored> {
    let held: std::collections::HashMap<_, _> =
        held.iter().map(|(key, version, md5)| (key, (*version, *md5))).collect();
    stored
        .into_iter()
        .filter(|(key, version, md5)| {
            held.get(key).is_some_and(|held| compare(*held, (*version, *md5)) == Compared::Behind)
        })
        .map(|(key, version, md5)| Stored { key, version, md5 })
        .collect()
}

impl Actor for CacheRefresh {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.notify_later(CompareTick, self.interval);
    }
}

monitored!(CacheRefresh, "cache_refresh");

impl Observable for CacheRefresh {
    fn observe(&self) -> serde_json::Value {
        json!({ "rounds": self.rounds, "compared": self.compared, "repaired": self.repairs.get() })
    }
}

impl Handler<CompareTick> for CacheRefresh {
    type Result = ();

    fn handle(&mut self, CompareTick: CompareTick, context: &mut Context<Self>) {
        let (cache, store, repairs) = (self.cache.clone(), self.store.clone(), self.repairs.clone());
        let comparing = wrap_future(compare_all(cache, store, repairs));
        context.spawn(comparing.map(|compared, refresh: &mut Self, context: &mut Context<Self>| {
            refresh.rounds += 1;
            refresh.compared += compared;
            context.notify_later(CompareTick, refresh.interval);
        }));
    }
}

#[cfg(test)]
mod tests;
