//! The clients of one round: publishers on all nodes, readers that read every node the moment a publish returns, and
//! subscribers that connect to another node again and again. Owns how many there are of each, and when they begin and
//! end. What goes wrong meanwhile is done by others; judges nothing.

use std::collections::BTreeMap;

use callboard_protocol::key::ConfigKey;
use fastrand::Rng;
use tokio::task::JoinSet;

use super::testbed::{self, Controller, Recording, Testbed};
use super::{publishers, subscribers};
use crate::cluster::Cluster;
use crate::history::{Clock, History, Stored, What};
use crate::poll;

/// Keys of a round: one is hot, four are warm.
const KEYS: usize = 40;
/// Publishers on each node.
const PUBLISHERS: usize = 2;
const READERS: usize = 3;
/// Subscribers: streams over all keys, and waits for one of the first keys each.
const STREAMS: usize = 4;
const WAITS: usize = 5;

type Clients = JoinSet<Recording>;

/// The clients of a round, and what they have seen.
#[derive(Debug)]
pub(crate) struct Load {
    controller: Controller,
    testbed: Testbed,
    seen: Recording,
    history: History,
    clients: Clients,
    subscribers: Clients,
}

impl Load {
    /// Publishes every key of `group` once and reads it on every node. No client runs yet.
    ///
    /// # Errors
    /// A publish fails.
    pub(crate) async fn open(cluster: &Cluster, group: &str) -> anyhow::Result<Self> {
        let keys = (0..KEYS).map(|n| ConfigKey::new("public", group, &format!("k{n}")));
        let (controller, testbed) = Controller::open(cluster, group, keys.collect::<Result<Vec<_>, _>>()?);
        let mut seen = first_contents(&testbed).await?;
        for key in testbed.keys.iter() {
            for node in testbed.nodes().iter() {
                testbed.read(node, key, &mut seen).await;
            }
        }
        let (history, clients, subscribers) = (History::default(), JoinSet::new(), JoinSet::new());
        Ok(Self { controller, testbed, seen, history, clients, subscribers })
    }

    /// Starts publishers, readers and subscribers, and notes who must end on the newest state of what.
    pub(crate) fn start(&mut self, rng: &mut Rng) {
        let testbed = &self.testbed;
        for place in 0..PUBLISHERS * testbed.nodes().len() {
            self.clients.spawn(publishers::keep_publishing(testbed.clone(), place, rng.fork()));
        }
        for _ in 0..READERS {
            self.clients.spawn(publishers::keep_reading(testbed.clone(), rng.fork()));
        }
        for subscriber in 0..STREAMS {
            self.history.subscriptions.extend(testbed.keys.iter().map(|key| (subscriber, key.clone())));
            self.subscribers.spawn(subscribers::keep_listening(testbed.clone(), subscriber, rng.fork()));
        }
        for (subscriber, key) in (STREAMS..STREAMS + WAITS).zip(testbed.keys.iter()) {
            self.history.subscriptions.push((subscriber, key.clone()));
            self.subscribers.spawn(subscribers::keep_waiting(testbed.clone(), subscriber, key.clone(), rng.fork()));
        }
    }

    /// What the clients share.
    pub(super) fn testbed(&self) -> &Testbed {
        &self.testbed
    }

    /// Who tells the clients of nodes that come and go.
    pub(super) fn controller(&self) -> &Controller {
        &self.controller
    }

    /// The clock of everything that is seen.
    pub(crate) fn clock(&self) -> Clock {
        self.testbed.clock
    }

    /// Ends the clients, lets subscribers hear of the newest states, and reads every node once more. The recording has
    /// all records; the history has everything else but the revisions.
    ///
    /// # Errors
    /// A node does not answer although all is at rest.
    pub(crate) async fn finish(mut self, cluster: &Cluster) -> anyhow::Result<(Recording, History)> {
        self.controller.stop();
        while let Some(recording) = self.clients.join_next().await {
            self.seen.add(recording?);
        }
        self.controller.tell_newest(read_last(cluster, &self.testbed, &mut self.seen, &mut self.history).await?);
        while let Some(recording) = self.subscribers.join_next().await {
            self.seen.add(recording?);
        }
        self.history.stored = stored(cluster, &self.testbed).await?;
        Ok((self.seen, self.history))
    }
}

/// Publishes every key once.
async fn first_contents(testbed: &Testbed) -> anyhow::Result<Recording> {
    let mut recording = Recording::default();
    let nodes = testbed.nodes();
    for (key, node) in testbed.keys.iter().zip(nodes.iter().cycle()) {
        let request = uuid::Uuid::new_v4();
        let content = Some(format!("{request} first").into());
        let publish = testbed::Publish { request, key: key.clone(), content };
        let attempt = testbed.attempt(node, &publish, &mut recording).await;
        let answered = recording.records.last();
        anyhow::ensure!(attempt == testbed::Attempt::Done, "without any fault: {answered:?} {:?}", recording.odd);
        recording.published += 1;
    }
    Ok(recording)
}

/// Reads every key on every node now that everything is at rest; gives the newest version of each.
async fn read_last(
    cluster: &Cluster,
    testbed: &Testbed,
    seen: &mut Recording,
    history: &mut History,
) -> anyhow::Result<BTreeMap<ConfigKey, u64>> {
    let mut newest: BTreeMap<ConfigKey, u64> = BTreeMap::new();
    for node in testbed.nodes().iter() {
        for key in testbed.keys.iter() {
            let what = format!("{} answers a read of {key}", node.name);
            let read = poll::until(&what, poll::SOON, async || {
                Ok(testbed.read(node, key, seen).await.then(|| seen.records.last().cloned()).flatten())
            });
            let What::Read { version, .. } = read.await?.what else { continue };
            history.last_reads.push((node.name.clone(), key.clone(), version));
            let known = newest.entry(key.clone()).or_default();
            *known = version.max(*known);
        }
    }
    anyhow::ensure!(cluster.numbers().len() == testbed.nodes().len(), "the clients know other nodes than there are");
    Ok(newest)
}

async fn stored(cluster: &Cluster, testbed: &Testbed) -> anyhow::Result<Vec<Stored>> {
    let client = &cluster.member(1)?.client;
    let mut stored = Vec::new();
    for key in testbed.keys.iter() {
        for row in client.whole_history(key).await? {
            stored.push(Stored::from_row(key, &row)?);
        }
    }
    Ok(stored)
}
