//! The seeds by their names: `host:port` is resolved anew each time somebody asks, since what a name stands for
//! changes. Owns the names; decides nothing about when to ask.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use callboard_actors::gossip::{NameResolution, Seeds};
use futures_util::future::join_all;

/// How long one name may take.
const DEADLINE: Duration = Duration::from_secs(3);
/// Addresses that are taken of one name.
const MOST_ADDRESSES: usize = 16;

/// The names of the seeds.
#[derive(Debug)]
pub struct SeedNames {
    names: Vec<String>,
    /// Those that could not be resolved the last time, so that each is complained of once.
    failing: Arc<Mutex<BTreeSet<String>>>,
}

impl SeedNames {
    /// Seeds by `host:port`.
    #[must_use]
    pub fn new(names: Vec<String>) -> Self {
        Self { names, failing: Arc::default() }
    }
}

impl Seeds for SeedNames {
    fn resolve(&self) -> NameResolution {
        let (names, failing) = (self.names.clone(), Arc::clone(&self.failing));
        Box::pin(async move {
            let found = join_all(names.iter().map(|name| resolve(name, &failing))).await;
            found.into_iter().flatten().collect()
        })
    }
}

async fn resolve(name: &str, failing: &Mutex<BTreeSet<String>>) -> Vec<SocketAddr> {
    let reason = match tokio::time::timeout(DEADLINE, tokio::net::lookup_host(name)).await {
        Ok(Ok(addresses)) => {
            failing.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
            return addresses.take(MOST_ADDRESSES).collect();
        }
        Ok(Err(error)) => error.to_string(),
        Err(_elapsed) => "it takes too long".to_owned(),
    };
    if failing.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned()) {
        tracing::warn!(seed = name, reason, "a seed can't be resolved");
    }
    Vec::new()
}

#[cfg(test)]
mod tests;
