//! Subscribers of a round: event streams and long waits that connect to another node again and again, and go on where
//! they were. Each ends when it has heard the newest state of its keys, or when that is overdue.

use std::time::Duration;

use callboard_protocol::content::Md5;
use callboard_protocol::key::ConfigKey;
use fastrand::Rng;

use super::testbed::{Recording, Target, Testbed, read_answer};
use crate::client::{Event, Watch};
use crate::heard::Heard;
use crate::history::{Record, What};

/// How often a subscriber looks up, to see whether publishing has ended.
const GLANCE: Duration = Duration::from_millis(200);
/// Longest time for a stream to open, and for a wait beyond what it asked for.
const OPEN_LIMIT: Duration = Duration::from_secs(3);
/// Seconds that a wait asks for.
const WAIT: u32 = 2;
/// Pause after a node that does not answer.
const AFTER_REFUSAL: Duration = Duration::from_millis(50);
/// How long a stream is kept, in milliseconds.
const KEPT: std::ops::Range<u64> = 300..4_000;

/// Listens to all keys of the round until publishing has ended and the newest states were heard.
pub(super) async fn keep_listening(testbed: Testbed, subscriber: usize, mut rng: Rng) -> Recording {
    let mut recording = Recording::default();
    let mut heard = Heard::default();
    let mut last_event_id = None;
    let keys = testbed.keys.clone();
    let query = format!("namespace=public&group={}&prefix=", testbed.group);
    while !heard.is_enough(&testbed.newest, &keys) {
        let Some(node) = testbed.any_node(&mut rng, None) else { break };
        let opened = tokio::time::timeout(OPEN_LIMIT, node.client.watch(&query, last_event_id)).await;
        let mut watch = match opened {
            Ok(Ok(watch)) => watch,
            Ok(Err(error)) if error.to_string().starts_with("watch was answered 400") => {
                recording.odd.push(format!("{}: {error:#}", node.name));
                break;
            }
            Ok(Err(error)) if error.to_string().starts_with("watch was answered 500") => {
                recording.odd.push(format!("{}: {error:#}", node.name));
                recording.broken += 1;
                tokio::time::sleep(AFTER_REFUSAL).await;
                continue;
            }
            Ok(Err(_)) | Err(_) => {
                tokio::time::sleep(AFTER_REFUSAL).await;
                continue;
            }
        };
        let until = tokio::time::Instant::now() + Duration::from_millis(rng.u64(KEPT));
        while tokio::time::Instant::now() < until && !heard.is_enough(&testbed.newest, &keys) {
            let Some(event) = next_event(&mut watch, &node, &mut recording).await else { break };
            let Some(event) = event else { continue };
            let Some(record) = record(&testbed, &node, subscriber, event, &mut recording) else { break };
            if let What::Event { version, .. } = record.what {
                last_event_id = Some(version);
                heard.note(&record.key, version);
            }
            recording.records.push(record);
        }
    }
    recording
}

/// The next event, nothing when none came, or none at all when the stream has ended.
async fn next_event(watch: &mut Watch, node: &Target, recording: &mut Recording) -> Option<Option<Event>> {
    match watch.next(GLANCE).await {
        Ok(event) => Some(event),
        Err(error) => {
            // Streams end with their node; an event that can't be read is another matter.
            if !error.is::<reqwest::Error>() && !error.to_string().contains("the event stream ended") {
                recording.odd.push(format!("{} sent an event that can't be read: {error:#}", node.name));
            }
            None
        }
    }
}

fn record(
    testbed: &Testbed,
    node: &Target,
    subscriber: usize,
    event: Event,
    recording: &mut Recording,
) -> Option<Record> {
    let (key, version, md5) = match event {
        Event::Config { key, version, md5, content, .. } => {
            let digest = Md5::of(content.as_bytes());
            if digest.hex() != md5 {
                recording.odd.push(format!("an event of {} names {md5} for a content of {digest}", node.name));
                return None;
            }
            (key, version, Some(digest))
        }
        Event::Removed { key, version } => (key, version, None),
        Event::Reset => {
            recording.odd.push(format!("{} cut the feed while it was listened to", node.name));
            return None;
        }
    };
    let now = testbed.clock.now();
    Some(Record { key, begin: now, end: now, what: What::Event { subscriber, version, md5 } })
}

/// Waits for each next state of `key`, each time on some node, until publishing has ended and the newest was heard.
pub(super) async fn keep_waiting(testbed: Testbed, subscriber: usize, key: ConfigKey, mut rng: Rng) -> Recording {
    let mut recording = Recording::default();
    let mut heard = Heard::default();
    let mut known = 0;
    while !heard.is_enough(&testbed.newest, std::slice::from_ref(&key)) {
        let Some(node) = testbed.any_node(&mut rng, None) else { break };
        let begin = testbed.clock.now();
        let limit = OPEN_LIMIT + Duration::from_secs(WAIT.into());
        let answer = node.client.wait(&key, known, WAIT).limit(limit).send().await;
        let Some(what) = answer.ok().and_then(|answer| read_answer(&node.name, &key, &answer, &mut recording)) else {
            tokio::time::sleep(AFTER_REFUSAL).await;
            continue;
        };
        let end = testbed.clock.now();
        if let What::Read { version, md5 } = what
            && version != known
        {
            let what = What::Event { subscriber, version, md5 };
            recording.records.push(Record { key: key.clone(), begin: end, end, what });
            heard.note(&key, version);
            known = version;
        }
        recording.records.push(Record { key: key.clone(), begin, end, what });
    }
    recording
}
