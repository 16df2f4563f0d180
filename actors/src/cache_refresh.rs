//! The scheduled comparison of cache and database. Repairs differences through the guarded fill and counts them.
//!
//! A difference means that somebody wrote to the database past the server, or a fault: with all writes going through
//! the server there is none to find. Owns the schedule; never writes an entry itself.

use std::collections::HashMap;
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
use crate::lease_keeper::RowLost;
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

/// The actors below.
#[derive(Debug, Clone)]
pub struct Deps {
    /// Whose entries are compared.
    pub cache: Addr<CacheWriter>,
    /// With what.
    pub store: Recipient<GetVersions>,
    /// Told of what the database has lost.
    pub membership: Recipient<RowLost>,
}

/// The scheduled comparison.
#[derive(Debug)]
pub struct CacheRefresh {
    deps: Deps,
    interval: Duration,
    repairs: Counter,
    rounds: u64,
    compared: u64,
}

impl CacheRefresh {
    /// Compares every `interval`, counting in `repairs`.
    #[must_use]
    pub fn new(deps: Deps, interval: Duration, repairs: Counter) -> Self {
        Self { deps, interval, repairs, rounds: 0, compared: 0 }
    }
}

/// Compares every shard; answers how many entries were compared. What fails is tried again in the next round.
async fn compare_all(Deps { cache, store, membership }: Deps, repairs: Counter) -> u64 {
    let mut compared = 0;
    for shard in 0.. {
        let Ok(Some(held)) = ask(&cache, ListHeld { shard }, DEADLINE).await else { break };
        for chunk in held.chunks(CHUNK) {
            let keys = chunk.iter().map(|(key, _, _)| key.clone()).collect();
            let Ok(Ok(stored)) = ask(&store, GetVersions { keys }, DEADLINE).await else { return compared };
            compared += chunk.len() as u64;
            if let Some((key, version)) = lost(chunk, &stored) {
                tracing::error!(config.key = %key, config.version = version.0, "the database has lost this version");
                // Loss is repaired: the next round finds the same.
                membership.do_send(RowLost { key, version });
                return compared;
            }
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

/// A key whose entry is newer than the row that was read after it. Of one that was removed the row may be gone for
/// good.
fn lost(
    held: &[(ConfigKey, Version, Option<Md5>)],
    stored: &[(ConfigKey, Version, Option<Md5>)],
) -> Option<(ConfigKey, Version)> {
    let stored: HashMap<_, _> = stored.iter().map(|(key, version, md5)| (key, (*version, *md5))).collect();
    let is_lost = |(key, version, md5): &&(ConfigKey, Version, Option<Md5>)| match stored.get(key) {
        Some(stored) => compare((*version, *md5), *stored) == Compared::Ahead,
        None => md5.is_some(),
    };
    held.iter().find(is_lost).map(|(key, version, _)| (key.clone(), *version))
}

/// The stored rows that are newer than the entry held, or the same version with another content.
fn differences(
    held: &[(ConfigKey, Version, Option<Md5>)],
    stored: Vec<(ConfigKey, Version, Option<Md5>)>,
) -> Vec<Stored> {
    let held: HashMap<_, _> = held.iter().map(|(key, version, md5)| (key, (*version, *md5))).collect();
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
        let comparing = wrap_future(compare_all(self.deps.clone(), self.repairs.clone()));
        context.spawn(comparing.map(|compared, refresh: &mut Self, context: &mut Context<Self>| {
            refresh.rounds += 1;
            refresh.compared += compared;
            context.notify_later(CompareTick, refresh.interval);
        }));
    }
}

#[cfg(test)]
mod tests;
