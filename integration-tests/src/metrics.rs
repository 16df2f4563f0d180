//! Reads figures from the nodes' `/metrics`. Owns the parsing of the text format and the names that tests use.

use std::time::Duration;

use futures_util::future::try_join_all;

use crate::client::Client;
use crate::poll;

const LIMIT: Duration = Duration::from_secs(5);

/// The sum of all series of a counter or gauge. A name that is not there counts as nothing.
#[must_use]
pub fn sum(text: &str, name: &str) -> f64 {
    let value = |line: &str| {
        let rest = line.strip_prefix(name)?;
        let rest = if rest.starts_with('{') { rest.split_once('}')?.1 } else { rest };
        rest.strip_prefix(' ')?.split(' ').next()?.parse::<f64>().ok()
    };
    text.lines().filter_map(value).sum()
}

/// Waits until a node holds at least `count` requests.
///
/// # Errors
/// It does not answer, or does not hold as many soon.
pub async fn until_held(client: &Client, count: u32) -> anyhow::Result<()> {
    poll::until(&format!("a node holds {count} requests"), poll::SOON, async || {
        let text = client.get_path("/metrics").limit(LIMIT).send().await?.expect(200)?.text();
        Ok((sum(&text, "callboard_held_requests") >= f64::from(count)).then_some(()))
    })
    .await
}

/// How reads were answered by the cache.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CacheReads {
    /// From memory.
    pub hits: f64,
    /// Nothing was in memory.
    pub misses: f64,
    /// The key was being published.
    pub marked: f64,
    /// Memory could not be trusted.
    pub untrusted: f64,
    /// Differences between cache and database that the refresh found.
    pub repairs: f64,
}

impl CacheReads {
    /// The sums over nodes.
    ///
    /// # Errors
    /// One does not answer.
    pub async fn of(clients: &[Client]) -> anyhow::Result<Self> {
        let texts = try_join_all(clients.iter().map(async |client| {
            anyhow::Ok(client.get_path("/metrics").limit(LIMIT).send().await?.expect(200)?.text())
        }));
        let text = texts.await?.join("\n");
        let total = |name: &str| sum(&text, &format!("callboard_cache_{name}_total"));
        Ok(Self {
            hits: total("hits"),
            misses: total("misses"),
            marked: total("marked_reads"),
            untrusted: total("untrusted_reads"),
            repairs: total("repairs"),
        })
    }

    /// What came since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            hits: self.hits - before.hits,
            misses: self.misses - before.misses,
            marked: self.marked - before.marked,
            untrusted: self.untrusted - before.untrusted,
            repairs: self.repairs - before.repairs,
        }
    }

    /// The share of reads that came from memory, of those whose key was not being published.
    #[must_use]
    pub fn share(&self) -> f64 {
        let asked = self.hits + self.misses + self.untrusted;
        if asked > 0.0 { self.hits / asked } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::sum;

    #[test]
    fn series_are_added_and_other_names_are_not() {
        let text = "# HELP a_total x\na_total 3\na_total{k=\"v\"} 4\na_total_b 9\nb_total{k=\"a b\"} 1.5 123\n";
        assert!((sum(text, "a_total") - 7.0).abs() < 1e-9);
        assert!((sum(text, "b_total") - 1.5).abs() < 1e-9);
        assert!(sum(text, "c").abs() < 1e-9);
    }
}
