//! The clients of the freshness check: publishers, readers, event streams and waits. Each records what it saw and
//! stops at the first answer that no client should get.

use std::time::Duration;

use anyhow::bail;
use callboard_protocol::content::Md5;
use callboard_protocol::key::ConfigKey;
use fastrand::Rng;
use uuid::Uuid;

use super::Testbed;
use crate::client::{Answer, Event};
use crate::heard::Heard;
use crate::history::{Outcome, Record, What};

/// Lengths of contents, in bytes.
const SIZES: [usize; 4] = [64, 300, 1_000, 3_000];

/// How often a subscriber looks up from an empty stream, to see whether publishing has ended.
const GLANCE: Duration = Duration::from_millis(200);

/// Publishes something unique of about `size` bytes.
pub(super) async fn publish(testbed: &Testbed, key: &ConfigKey, size: usize) -> anyhow::Result<Record> {
    let request = Uuid::new_v4();
    let content = format!("{request} {}", "x".repeat(size));
    let md5 = Some(Md5::of(content.as_bytes()));
    let begin = testbed.clock.now();
    let answer = testbed.client.put(key, content).send().await?;
    write_record(testbed, key, begin, (request, md5), &answer)
}

async fn remove(testbed: &Testbed, key: &ConfigKey) -> anyhow::Result<Option<Record>> {
    let begin = testbed.clock.now();
    let answer = testbed.client.delete(key).send().await?;
    // Somebody else removed it first.
    if answer.status == 404 {
        Ok(None)
    } else {
        write_record(testbed, key, begin, (Uuid::new_v4(), None), &answer).map(Some)
    }
}

fn write_record(
    testbed: &Testbed,
    key: &ConfigKey,
    begin: Duration,
    (request, md5): (Uuid, Option<Md5>),
    answer: &Answer,
) -> anyhow::Result<Record> {
    let outcome = Outcome::of(answer.status, answer.version());
    if !matches!(outcome, Outcome::Acknowledged(_)) {
        bail!("a write of {key} was answered {}: {}", answer.status, answer.text());
    }
    Ok(Record { key: key.clone(), begin, end: testbed.clock.now(), what: What::Publish { request, md5, outcome } })
}

/// Reads a key.
pub(super) async fn read(testbed: &Testbed, key: &ConfigKey) -> anyhow::Result<Record> {
    let begin = testbed.clock.now();
    let answer = testbed.client.get(key).send().await?;
    read_record(testbed, key, begin, &answer)
}

fn read_record(testbed: &Testbed, key: &ConfigKey, begin: Duration, answer: &Answer) -> anyhow::Result<Record> {
    let md5 = match answer.status {
        200 if answer.md5() != Some(Md5::of(&answer.body)) => {
            bail!("the ETag of {key} is not the digest of its content")
        }
        200 => answer.md5(),
        304 | 404 => answer.md5(),
        status => bail!("a read of {key} was answered {status}: {}", answer.text()),
    };
    let Some(version) = answer.version() else { bail!("a read of {key} was answered without a version") };
    Ok(Record { key: key.clone(), begin, end: testbed.clock.now(), what: What::Read { version, md5 } })
}

/// Publishes and sometimes removes hot keys until told to stop; reads each back at once.
pub(super) async fn keep_publishing(testbed: Testbed, mut rng: Rng) -> anyhow::Result<Vec<Record>> {
    let mut records = Vec::new();
    while !testbed.is_stopped() {
        let Some(key) = rng.choice(testbed.hot.iter()) else { break };
        if rng.u8(..16) == 0 {
            records.extend(remove(&testbed, key).await?);
        } else {
            let size = rng.choice(SIZES).unwrap_or_default();
            records.push(publish(&testbed, key, size).await?);
        }
        records.push(read(&testbed, key).await?);
    }
    Ok(records)
}

/// Reads until told to stop; mostly hot keys, and cold ones that push them out of the cache.
pub(super) async fn keep_reading(testbed: Testbed, mut rng: Rng) -> anyhow::Result<Vec<Record>> {
    let mut records = Vec::new();
    while !testbed.is_stopped() {
        let keys = if rng.u8(..4) == 0 { &testbed.cold } else { &testbed.hot };
        let Some(key) = rng.choice(keys.iter()) else { break };
        records.push(read(&testbed, key).await?);
    }
    Ok(records)
}

/// An event stream to listen to.
pub(super) struct Stream {
    pub(super) subscriber: usize,
    pub(super) keys: Vec<ConfigKey>,
    pub(super) query: String,
    /// Connects again after at most this many events.
    pub(super) reconnects: Option<u64>,
}

impl Stream {
    /// Listens until publishing has ended and the newest state was heard.
    pub(super) async fn keep_listening(self, testbed: Testbed, mut rng: Rng) -> anyhow::Result<Vec<Record>> {
        let mut records = Vec::new();
        let mut heard = Heard::default();
        let mut last_event_id = None;
        loop {
            let mut watch = testbed.client.watch(&self.query, last_event_id).await?;
            let mut left = self.reconnects.map_or(u64::MAX, |most| rng.u64(1..=most));
            while left > 0 {
                if heard.is_enough(&testbed.newest, &self.keys) {
                    return Ok(records);
                }
                let Some(event) = watch.next(GLANCE).await? else { continue };
                left -= 1;
                let (record, version) = self.record(&testbed, event)?;
                last_event_id = Some(version);
                heard.note(&record.key, version);
                records.push(record);
            }
        }
    }

    fn record(&self, testbed: &Testbed, event: Event) -> anyhow::Result<(Record, u64)> {
        let (key, version, md5) = match event {
            Event::Config { key, version, md5, content, .. } => {
                let digest = Md5::of(content.as_bytes());
                if digest.hex() != md5 {
                    bail!("an event of {key} names {md5} for a content of {digest}");
                }
                (key, version, Some(digest))
            }
            Event::Removed { key, version } => (key, version, None),
            Event::Reset => bail!("the feed was cut while it was listened to"),
        };
        if !self.keys.contains(&key) {
            bail!("nobody asked for {key}");
        }
        let now = testbed.clock.now();
        let what = What::Event { subscriber: self.subscriber, version, md5 };
        Ok((Record { key, begin: now, end: now, what }, version))
    }
}

/// Waits for each next state of `key` until publishing has ended and the newest one was heard.
pub(super) async fn keep_waiting(testbed: Testbed, subscriber: usize, key: ConfigKey) -> anyhow::Result<Vec<Record>> {
    let mut records = Vec::new();
    let mut heard = Heard::default();
    let mut known = 0;
    while !heard.is_enough(&testbed.newest, std::slice::from_ref(&key)) {
        let begin = testbed.clock.now();
        let answer = testbed.client.wait(&key, known, 1).send().await?;
        let record = read_record(&testbed, &key, begin, &answer)?;
        let What::Read { version, md5 } = record.what else { continue };
        if version != known {
            let what = What::Event { subscriber, version, md5 };
            records.push(Record { begin: record.end, what, ..record.clone() });
            heard.note(&key, version);
            known = version;
        }
        records.push(record);
    }
    Ok(records)
}
