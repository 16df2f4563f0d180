//! What clients do while a storage fails: a burst of publishes, each under an idempotency key of its own, and reads
//! beside them. Owns what was seen; judges only what no client should be answered at any time.

use std::time::Duration;

use callboard_protocol::content::Md5;
use callboard_protocol::key::ConfigKey;
use fastrand::Rng;
use futures_util::future::join_all;

use crate::client::Client;
use crate::crash::attempts::Attempt;
use crate::history::{Clock, Record, What};

/// Publishes that each publisher makes, one after the other.
const EACH: u32 = 2;
/// Reads beside them, all at once.
const READS: usize = 6;
/// Keys that all publishers share.
const SHARED_KEYS: u32 = 3;
/// Contents are up to so long, and one in `LONG` is `LONGEST`: it takes pages of its own.
const SIZE: usize = 2_000;
const LONG: u8 = 16;
const LONGEST: usize = 40_000;
/// Every publish is answered, or said to be unknown, within this time, whatever the storage does.
const ANSWERED_WITHIN: Duration = Duration::from_secs(20);

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) attempts: Vec<Attempt>,
    pub(super) reads: Vec<Record>,
    /// Reads that were refused.
    pub(super) refused_reads: Vec<String>,
    /// Publishes that were never answered.
    pub(super) unanswered: Vec<String>,
}

impl Seen {
    pub(super) fn add(&mut self, other: Self) {
        self.attempts.extend(other.attempts);
        self.reads.extend(other.reads);
        self.refused_reads.extend(other.refused_reads);
        self.unanswered.extend(other.unanswered);
    }
}

/// The clients of one stretch of injections, after which all is checked.
#[derive(Debug, Clone)]
pub(super) struct Clients {
    pub(super) clock: Clock,
    /// Stands in the names of their keys, so that all that was tried on a key is checked together.
    pub(super) stretch: u32,
    pub(super) publishers: u32,
}

impl Clients {
    /// One burst. Ends when everything was answered or cut off.
    pub(super) async fn burst(&self, client: &Client, rng: &mut Rng) -> anyhow::Result<Seen> {
        let publishers = join_all((0..self.publishers).map(|number| self.publish(client, number, rng.fork())));
        let reads = self.read(client, rng.fork());
        let (published, read) = tokio::join!(publishers, reads);
        let mut seen = read?;
        for one in published {
            seen.add(one?);
        }
        Ok(seen)
    }

    async fn publish(&self, client: &Client, number: u32, mut rng: Rng) -> anyhow::Result<Seen> {
        let mut seen = Seen::default();
        for _ in 0..EACH {
            let shared = rng.bool();
            let name = if shared { self.shared(rng.u32(..SHARED_KEYS)) } else { self.name("own", number) };
            let longest = if rng.u8(..LONG) == 0 { LONGEST } else { SIZE };
            let mut attempt = Attempt::new(key(&name)?, longest, &mut rng);
            // On a key that is there already this one is refused, and must leave nothing behind.
            attempt.create_only = shared && rng.u8(..8) == 0;
            self.try_to_publish(client, attempt, &mut seen).await;
        }
        Ok(seen)
    }

    /// Publishes once more, on a key of its own. Tells whether it was acknowledged.
    pub(super) async fn publish_once(&self, client: &Client, rng: &mut Rng, seen: &mut Seen) -> anyhow::Result<bool> {
        let attempt = Attempt::new(key(&self.name("again", 0))?, SIZE, rng);
        self.try_to_publish(client, attempt, seen).await;
        Ok(seen.attempts.last().is_some_and(Attempt::is_acknowledged))
    }

    async fn try_to_publish(&self, client: &Client, mut attempt: Attempt, seen: &mut Seen) {
        // No answer because the node is gone is what a kill does.
        let answered = tokio::time::timeout(ANSWERED_WITHIN, attempt.publish(client, self.clock)).await;
        if answered.is_err() {
            seen.unanswered.push(format!("{} was not answered within {ANSWERED_WITHIN:?}", attempt.request));
        }
        seen.attempts.push(attempt);
    }

    async fn read(&self, client: &Client, mut rng: Rng) -> anyhow::Result<Seen> {
        let names = (0..READS).map(|_| self.shared(rng.u32(..SHARED_KEYS)));
        let mut seen = Seen::default();
        for one in join_all(names.map(|name| self.read_once(client, name))).await {
            seen.add(one?);
        }
        Ok(seen)
    }

    async fn read_once(&self, client: &Client, name: String) -> anyhow::Result<Seen> {
        let mut seen = Seen::default();
        let key = key(&name)?;
        let begin = self.clock.now();
        // No answer because the node is gone is what a kill does.
        let Ok(answer) = client.get(&key).limit(ANSWERED_WITHIN).send().await else { return Ok(seen) };
        let end = self.clock.now();
        let md5 = (answer.status == 200).then(|| Md5::of(&answer.body));
        match (answer.status, answer.version()) {
            (200 | 404, Some(version)) => {
                seen.reads.push(Record { key, begin, end, what: What::Read { version, md5 } });
            }
            (status, _) => seen.refused_reads.push(format!("a read was answered {status}: {}", answer.text())),
        }
        Ok(seen)
    }

    fn shared(&self, number: u32) -> String {
        self.name("shared", number)
    }

    fn name(&self, whose: &str, number: u32) -> String {
        format!("stretch-{}-{whose}-{number}", self.stretch)
    }
}

fn key(name: &str) -> anyhow::Result<ConfigKey> {
    Ok(ConfigKey::new("public", "storage", name)?)
}
