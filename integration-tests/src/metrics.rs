//! Reads figures from the nodes' `/metrics`. Owns the parsing of the text format and the names that tests use.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::try_join_all;

use crate::client::Client;
use crate::cluster::Cluster;
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

/// The counters that tell what a cluster went through.
const TOLD: [&str; 7] = [
    "callboard_lease_operations_total{",
    "callboard_publishes_total{outcome=\"unknown\"",
    "callboard_store_failures_total{",
    "callboard_nacks_total ",
    "callboard_cache_poisoned_loads_total ",
    "callboard_cache_repairs_total ",
    "callboard_member_events_total{",
];

/// Adds up counters of nodes that are restarted now and then, and count anew. What a node counted between the last look
/// and its end is lost.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    last: BTreeMap<(String, String), f64>,
    sums: BTreeMap<String, f64>,
}

impl Tally {
    /// Looks at all running nodes of a cluster.
    ///
    /// # Errors
    /// One does not answer.
    pub async fn look(&mut self, cluster: &Cluster) -> anyhow::Result<()> {
        for member in cluster.members().filter(|member| member.node.runs()) {
            let text = member.client.get_path("/metrics").limit(LIMIT).send().await?.expect(200)?.text();
            self.take(&member.id(), &text);
        }
        Ok(())
    }

    fn take(&mut self, node: &str, text: &str) {
        for line in text.lines().filter(|line| TOLD.iter().any(|told| line.starts_with(told))) {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            let last = self.last.insert((node.to_owned(), series.to_owned()), value).unwrap_or_default();
            let came = if value < last { value } else { value - last };
            *self.sums.entry(series.to_owned()).or_default() += came;
        }
    }

    /// What came to pass at all, by series.
    pub fn counts(&self) -> impl Iterator<Item = (&str, f64)> {
        self.sums.iter().filter(|(_, count)| **count > 0.0).map(|(series, count)| (series.as_str(), *count))
    }
}

#[cfg(test)]
mod tests {
    use super::{Tally, sum};

    #[test]
    fn a_tally_goes_on_when_a_node_counts_anew() {
        let mut tally = Tally::default();
        for (node, count) in [("a", 3), ("b", 1), ("a", 5), ("a", 2)] {
            tally.take(node, &format!("other 7\ncallboard_nacks_total {count}\n"));
        }
        assert_eq!(tally.counts().collect::<Vec<_>>(), [("callboard_nacks_total", 8.0)]);
    }

    #[test]
    fn series_are_added_and_other_names_are_not() {
        let text = "# HELP a_total x\na_total 3\na_total{k=\"v\"} 4\na_total_b 9\nb_total{k=\"a b\"} 1.5 123\n";
        assert!((sum(text, "a_total") - 7.0).abs() < 1e-9);
        assert!((sum(text, "b_total") - 1.5).abs() < 1e-9);
        assert!(sum(text, "c").abs() < 1e-9);
    }
}
