//! What the clients of one round share: the nodes, the keys, the clock, and when to stop. Owns how a request is sent
//! and what its answer means; what each client does stands in `publishers.rs`, `readers.rs` and `subscribers.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use callboard_protocol::content::Md5;
use callboard_protocol::key::ConfigKey;
use fastrand::Rng;
use tokio::sync::{Semaphore, watch};
use uuid::Uuid;

use crate::client::{Answer, Client};
use crate::cluster::Cluster;
use crate::heard::Newest;
use crate::history::{Clock, Outcome, Record, What};

/// Longest time for an attempt to publish: longer than any stall that is promised.
const PUBLISH_LIMIT: Duration = Duration::from_secs(12);
/// Longest time for a read.
const READ_LIMIT: Duration = Duration::from_secs(4);
/// Reads that may be under way on one node besides those of readers: a node that answers nothing takes no more.
const BURST: usize = 24;

/// A node to talk to.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) name: String,
    pub(super) client: Client,
    pub(super) burst: Arc<Semaphore>,
}

/// What all clients share.
#[derive(Debug, Clone)]
pub(super) struct Testbed {
    pub(super) clock: Clock,
    pub(super) keys: Arc<Vec<ConfigKey>>,
    /// The group of all keys of the round.
    pub(super) group: Arc<str>,
    pub(super) newest: watch::Receiver<Newest>,
    nodes: watch::Receiver<Arc<Vec<Target>>>,
    stopped: Arc<AtomicBool>,
}

/// The other end of a [`Testbed`].
#[derive(Debug)]
pub(super) struct Controller {
    nodes: watch::Sender<Arc<Vec<Target>>>,
    newest: watch::Sender<Newest>,
    stopped: Arc<AtomicBool>,
}

impl Controller {
    /// A testbed for the keys of `group`, and its controller.
    pub(super) fn open(cluster: &Cluster, group: &str, keys: Vec<ConfigKey>) -> (Self, Testbed) {
        let (nodes, nodes_seen) = watch::channel(targets(cluster));
        let (newest, newest_seen) = watch::channel(None);
        let stopped = Arc::new(AtomicBool::new(false));
        let testbed = Testbed {
            clock: Clock::start(),
            keys: Arc::new(keys),
            group: group.into(),
            newest: newest_seen,
            nodes: nodes_seen,
            stopped: stopped.clone(),
        };
        (Self { nodes, newest, stopped }, testbed)
    }

    /// Tells clients of nodes that came or went.
    pub(super) fn tell_nodes(&self, cluster: &Cluster) {
        self.nodes.send_replace(targets(cluster));
    }

    /// Ends publishers and readers.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Ends subscribers as soon as they have heard of these versions.
    pub(super) fn tell_newest(&self, newest: BTreeMap<ConfigKey, u64>) {
        self.newest.send_replace(Some(Arc::new(newest)));
    }
}

fn targets(cluster: &Cluster) -> Arc<Vec<Target>> {
    let target = |member: &crate::cluster::Member| Target {
        name: member.id(),
        client: member.client.clone(),
        burst: Arc::new(Semaphore::new(BURST)),
    };
    Arc::new(cluster.members().map(target).collect())
}

/// What clients saw, and how often they got what they asked for.
#[derive(Debug, Default)]
pub(crate) struct Recording {
    pub(crate) records: Vec<Record>,
    /// Publishes that were acknowledged, on the first or another node.
    pub(crate) published: usize,
    /// Publishes that were refused wherever they were tried.
    pub(crate) failed: usize,
    /// Publishes whose fate nobody told.
    pub(crate) unknown: usize,
    /// Reads that were answered, old ones included.
    pub(crate) read: usize,
    /// Reads that one node did not answer.
    pub(super) unanswered: usize,
    /// Reads that another node did not answer either.
    pub(crate) lost: usize,
    /// Answers with status 500, which nobody should get: they are among `odd` as well.
    pub(crate) broken: usize,
    /// Answers that nobody should get.
    pub(crate) odd: Vec<String>,
}

impl Recording {
    pub(super) fn add(&mut self, other: Self) {
        self.records.extend(other.records);
        self.odd.extend(other.odd);
        self.published += other.published;
        self.failed += other.failed;
        self.unknown += other.unknown;
        self.read += other.read;
        self.unanswered += other.unanswered;
        self.lost += other.lost;
        self.broken += other.broken;
    }
}

/// One publish, or removal when there is no content.
#[derive(Debug, Clone)]
pub(super) struct Publish {
    pub(super) request: Uuid,
    pub(super) key: ConfigKey,
    pub(super) content: Option<Bytes>,
}

/// What an attempt came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    Done,
    /// There was nothing to remove.
    Moot,
    Refused,
    Open,
}

impl Testbed {
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub(super) fn nodes(&self) -> Arc<Vec<Target>> {
        self.nodes.borrow().clone()
    }

    /// Any node, or any but `avoided` when there is another.
    pub(super) fn any_node(&self, rng: &mut Rng, avoided: Option<&str>) -> Option<Target> {
        let nodes = self.nodes();
        let others = nodes.iter().filter(|node| Some(node.name.as_str()) != avoided);
        rng.choice(others.collect::<Vec<_>>()).or_else(|| nodes.first()).cloned()
    }

    /// Makes one attempt and records it.
    pub(super) async fn attempt(&self, node: &Target, publish: &Publish, recording: &mut Recording) -> Attempt {
        let Publish { request, key, content } = publish;
        let (begin, md5) = (self.clock.now(), content.as_ref().map(|content| Md5::of(content)));
        let sent = match content {
            Some(content) => node.client.put(key, content.clone()),
            None => node.client.delete(key),
        };
        let sent = sent.header("Idempotency-Key", &request.to_string()).limit(PUBLISH_LIMIT).send().await;
        let (outcome, attempt) = match sent {
            Ok(answer) if answer.status == 404 && content.is_none() => (Outcome::Failed, Attempt::Moot),
            Ok(answer) => {
                if !matches!(answer.status, 200..=299 | 408 | 429 | 503 | 504) {
                    let odd = format!("{} answered a publish {}: {}", node.name, answer.status, answer.text());
                    recording.odd.push(odd);
                    recording.broken += usize::from(answer.status == 500);
                }
                let outcome = Outcome::of(answer.status, answer.version());
                (outcome, Attempt::of(outcome))
            }
            Err(error) => {
                // Without a connection nothing was asked.
                let refused = error.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_connect);
                if refused { (Outcome::Failed, Attempt::Refused) } else { (Outcome::Unknown, Attempt::Open) }
            }
        };
        let what = What::Publish { request: *request, md5, outcome };
        recording.records.push(Record { key: key.clone(), begin, end: self.clock.now(), what });
        attempt
    }

    /// Reads a key and records what was answered. False when nothing was.
    pub(super) async fn read(&self, node: &Target, key: &ConfigKey, recording: &mut Recording) -> bool {
        let begin = self.clock.now();
        let answer = node.client.get(key).limit(READ_LIMIT).send().await;
        let Some(what) = answer.ok().and_then(|answer| read_answer(&node.name, key, &answer, recording)) else {
            recording.unanswered += 1;
            return false;
        };
        recording.read += 1;
        recording.records.push(Record { key: key.clone(), begin, end: self.clock.now(), what });
        true
    }
}

impl Attempt {
    fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Acknowledged(_) => Self::Done,
            Outcome::Failed => Self::Refused,
            Outcome::Unknown => Self::Open,
        }
    }
}

/// The state that an answer shows. None when it shows none, as 503 does; what should not be is noted.
pub(super) fn read_answer(node: &str, key: &ConfigKey, answer: &Answer, recording: &mut Recording) -> Option<What> {
    recording.broken += usize::from(answer.status == 500);
    let mut odd = |what: &str| recording.odd.push(format!("{node} answered a read of {key} {what}"));
    match answer.status {
        200 if answer.md5() != Some(Md5::of(&answer.body)) => {
            odd("with an ETag that is not the digest of its content");
            return None;
        }
        200 | 304 | 404 => {}
        // 408: the node was stopped in its tracks while the request waited, and has not looked at it.
        408 | 429 | 503 | 504 => return None,
        status => {
            odd(&format!("{status}: {}", answer.text()));
            return None;
        }
    }
    let Some(version) = answer.version() else {
        odd(&format!("{} without a version", answer.status));
        return None;
    };
    let md5 = answer.md5();
    let old = !answer.header("X-Callboard-Stale").is_empty();
    Some(if old { What::StaleRead { version, md5 } } else { What::Read { version, md5 } })
}
