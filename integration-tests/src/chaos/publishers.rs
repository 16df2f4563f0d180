//! Publishers and readers of a round. A publish that is not acknowledged is tried once more on another node under the
//! same idempotency key; the moment one is acknowledged, the key is read on every node.

use std::sync::Arc;
use std::time::Duration;

use callboard_protocol::key::ConfigKey;
use fastrand::Rng;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::testbed::{Attempt, Publish, Recording, Target, Testbed};

/// Lengths of contents, in bytes.
const SIZES: [usize; 4] = [64, 300, 1_000, 3_000];
/// One in so many contents is this long.
const LONG: (u32, usize) = (50, 100 * 1024);
/// One in so many publishes is a removal.
const REMOVALS: u32 = 16;
/// One in so many acknowledged publishes is repeated on another node.
const REPETITIONS: u32 = 10;
/// Pauses of a publisher and of a reader, at most, in milliseconds.
const PUBLISHER_PAUSE: u64 = 40;
const READER_PAUSE: u64 = 8;

/// Publishes until told to stop, first on the node that has this place in the list.
pub(super) async fn keep_publishing(testbed: Testbed, place: usize, mut rng: Rng) -> Recording {
    let mut recording = Recording::default();
    let mut bursts = JoinSet::new();
    while !testbed.is_stopped() {
        let nodes = testbed.nodes();
        let Some(home) = nodes.get(place % nodes.len().max(1)) else { break };
        let Some(publish) = next(&testbed, &mut rng) else { break };
        let mut attempts = vec![testbed.attempt(home, &publish, &mut recording).await];
        if matches!(attempts.as_slice(), [Attempt::Refused | Attempt::Open])
            && let Some(other) = testbed.any_node(&mut rng, Some(&home.name))
        {
            attempts.push(testbed.attempt(&other, &publish, &mut recording).await);
        }
        if attempts.contains(&Attempt::Done) {
            recording.published += 1;
            read_everywhere(&testbed, &publish.key, &mut bursts);
            if rng.u32(..REPETITIONS) == 0
                && let Some(other) = testbed.any_node(&mut rng, Some(&home.name))
            {
                repeat_soon(&testbed, other, publish, &mut bursts);
            }
        } else if attempts.contains(&Attempt::Open) {
            recording.unknown += 1;
        } else if attempts.last() != Some(&Attempt::Moot) {
            recording.failed += 1;
        }
        while let Some(read) = bursts.try_join_next() {
            take(&mut recording, read);
        }
        tokio::time::sleep(Duration::from_millis(rng.u64(..PUBLISHER_PAUSE))).await;
    }
    while let Some(read) = bursts.join_next().await {
        take(&mut recording, read);
    }
    recording
}

/// Repeats a publish on a node, beside everything else: the publisher does not wait for a node that answers nothing.
fn repeat_soon(testbed: &Testbed, node: Target, publish: Publish, bursts: &mut JoinSet<Recording>) {
    let Ok(permit) = Arc::clone(&node.burst).try_acquire_owned() else { return };
    let testbed = testbed.clone();
    bursts.spawn(async move {
        let mut recording = Recording::default();
        testbed.attempt(&node, &publish, &mut recording).await;
        drop(permit);
        recording
    });
}

fn take(recording: &mut Recording, read: Result<Recording, tokio::task::JoinError>) {
    match read {
        Ok(read) => recording.add(read),
        Err(error) => recording.odd.push(format!("a reader failed: {error}")),
    }
}

fn next(testbed: &Testbed, rng: &mut Rng) -> Option<Publish> {
    let key = some_key(testbed, rng)?;
    let request = uuid::Builder::from_random_bytes(rng.u128(..).to_be_bytes()).into_uuid();
    let content = (rng.u32(..REMOVALS) > 0).then(|| content(request, rng).into());
    Some(Publish { request, key, content })
}

fn content(request: Uuid, rng: &mut Rng) -> String {
    let (one_in, long) = LONG;
    let size = if rng.u32(..one_in) == 0 { long } else { rng.choice(SIZES).unwrap_or_default() };
    format!("{request} {}", "x".repeat(size))
}

/// The first key half of the time, the next few often, the rest seldom.
fn some_key(testbed: &Testbed, rng: &mut Rng) -> Option<ConfigKey> {
    let among = match rng.u8(..8) {
        0..4 => 1,
        4..7 => 5,
        _ => testbed.keys.len(),
    };
    rng.choice(testbed.keys.iter().take(among).collect::<Vec<_>>()).cloned()
}

/// Sends a read to every node at once, except to those that leave too many unanswered.
pub(super) fn read_everywhere(testbed: &Testbed, key: &ConfigKey, bursts: &mut JoinSet<Recording>) {
    for node in testbed.nodes().iter() {
        read_soon(testbed, node, key, bursts);
    }
}

/// Sends a read to a node, unless it leaves too many unanswered.
pub(super) fn read_soon(testbed: &Testbed, node: &Target, key: &ConfigKey, bursts: &mut JoinSet<Recording>) {
    let Ok(permit) = Arc::clone(&node.burst).try_acquire_owned() else { return };
    let (testbed, node, key) = (testbed.clone(), node.clone(), key.clone());
    bursts.spawn(async move {
        let mut recording = Recording::default();
        testbed.read(&node, &key, &mut recording).await;
        drop(permit);
        recording
    });
}

/// Reads until told to stop. A read that a node does not answer is tried once more on another.
pub(super) async fn keep_reading(testbed: Testbed, mut rng: Rng) -> Recording {
    let mut recording = Recording::default();
    while !testbed.is_stopped() {
        let (Some(key), Some(node)) = (some_key(&testbed, &mut rng), testbed.any_node(&mut rng, None)) else { break };
        if !testbed.read(&node, &key, &mut recording).await {
            let other = testbed.any_node(&mut rng, Some(&node.name));
            let answered = match other {
                Some(other) => testbed.read(&other, &key, &mut recording).await,
                None => false,
            };
            recording.lost += usize::from(!answered);
        }
        tokio::time::sleep(Duration::from_millis(rng.u64(..READER_PAUSE))).await;
    }
    recording
}
