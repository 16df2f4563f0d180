//! Carries out what the change feed of each node says, and subscribers that move from node to node with what they have
//! seen. Decides nothing: what a page proves is decided by the feed's machine.

use std::collections::BTreeMap;

use super::event_loop::{Act, Simulation, What};
use super::mail::{Mail, ToCache};
use super::node::{Machine, Run};
use super::plan::{MILLISECOND, SECOND};
use super::variants::Variant;
use super::work::Task;
use crate::config::{SharedState, Version};
use crate::feed;
use crate::key::ConfigKey;
use crate::lease;
use crate::receiver::NotifyCommitEvent;
use crate::watch::Outbox;

/// Somebody who wants to hear of every key.
pub(super) struct Subscriber {
    /// Where it is connected, and to which process.
    pub(super) at: Option<(usize, u32)>,
    connection: u32,
    outbox: Outbox,
    resume: Version,
    /// The last version it was sent of each key.
    pub(super) held: BTreeMap<ConfigKey, Version>,
    moves: bool,
}

impl Subscriber {
    pub(super) fn new() -> Self {
        Self {
            at: None,
            connection: 0,
            outbox: Outbox::new(Version::ZERO, 16),
            resume: Version::ZERO,
            held: BTreeMap::new(),
            moves: false,
        }
    }
}

impl Simulation {
    pub(super) fn step_feed(&mut self, node: usize, event: feed::Event) {
        let mut out = Vec::new();
        let to = &mut self.nodes[node];
        let now = to.now(self.now);
        to.feed.step(now, event, &mut out);
        for effect in out {
            self.perform_feed(node, effect);
        }
        self.arm(node, Machine::Feed);
    }

    fn perform_feed(&mut self, node: usize, effect: feed::Effect) {
        use feed::Effect;
        match effect {
            Effect::Read { after } => self.begin(node, Task::Feed { after }),
            Effect::EndEarlier(timeline) => self.mail(node, Mail::Cache(ToCache::EndEarlier(timeline))),
            Effect::HistoryLost { .. } => self.mail(node, Mail::Lease(lease::Event::Refresh)),
            Effect::NoteVersions(versions) => self.mail(node, Mail::Cache(ToCache::Note(versions))),
            Effect::Changed(states) => self.tell_subscribers(node, &states),
            Effect::Recheck => self.recheck(node),
            Effect::Measured { .. } => {}
        }
    }

    fn tell_subscribers(&mut self, node: usize, states: &[SharedState]) {
        let Some(through) = states.last().map(|state| state.version) else { return };
        for subscriber in self.connected_to(node) {
            let outbox = &mut self.subscribers[subscriber].outbox;
            for state in states {
                outbox.offer(state.clone());
            }
            outbox.advance(through);
            self.pump(subscriber);
        }
    }

    fn connected_to(&self, node: usize) -> Vec<usize> {
        let here = Some((node, self.nodes[node].process));
        (0..self.subscribers.len()).filter(|index| self.subscribers[*index].at == here).collect()
    }

    fn recheck(&mut self, node: usize) {
        for subscriber in self.connected_to(node) {
            self.look_for(subscriber);
        }
    }

    /// A subscriber connects to some node, with the last it has seen.
    pub(super) fn connect(&mut self, index: usize) {
        let up: Vec<usize> = (0..self.nodes.len()).filter(|node| self.nodes[*node].run == Run::Up).collect();
        let subscriber = &mut self.subscribers[index];
        subscriber.moves = false;
        subscriber.connection += 1;
        if up.is_empty() {
            subscriber.at = None;
            return self.move_on(index, 200 * MILLISECOND);
        }
        let node = up[self.chance.index(up.len())];
        subscriber.at = Some((node, self.nodes[node].process));
        subscriber.outbox = Outbox::new(subscriber.resume, 16);
        self.log(|simulation| format!("  subscriber {index} is at {}", simulation.nodes[node].name));
        if self.is_broken(Variant::ConnectUnguarded) {
            for key in self.keys.clone() {
                use crate::cache::Entries as _;
                if let Some(entry) = self.nodes[node].shard.entries().peek(&key) {
                    self.pushed(index, &key, entry.version);
                }
            }
        }
        self.look_for(index);
        let mean = self.faults().moves;
        if mean > 0 {
            let after = self.chance.between(MILLISECOND, 2 * mean);
            self.move_on(index, after);
        }
    }

    fn move_on(&mut self, index: usize, after: u64) {
        if !std::mem::replace(&mut self.subscribers[index].moves, true) {
            self.after(after, What::Connect(index));
        }
    }

    /// The process of a node is gone, and with it its connections.
    pub(super) fn disconnected(&mut self, node: usize) {
        for index in 0..self.subscribers.len() {
            if self.subscribers[index].at.is_some_and(|(at, _)| at == node) {
                self.subscribers[index].at = None;
                self.subscribers[index].connection += 1;
                let after = self.chance.spread(MILLISECOND, SECOND);
                self.subscribers[index].moves = false;
                self.move_on(index, after);
            }
        }
    }

    fn look_for(&mut self, index: usize) {
        if self.subscribers[index].at.is_some() && self.subscribers[index].outbox.begin_read() {
            self.read_for(index);
        }
    }

    fn read_for(&mut self, index: usize) {
        let subscriber = &self.subscribers[index];
        let Some((node, _)) = subscriber.at else { return };
        let (connection, after) = (subscriber.connection, subscriber.outbox.cursor());
        self.begin(node, Task::Session { subscriber: index, connection, after });
    }

    pub(super) fn session_read(&mut self, index: usize, connection: u32, read: Option<(Version, Vec<SharedState>)>) {
        let subscriber = &mut self.subscribers[index];
        if subscriber.connection != connection {
            return;
        }
        let Some((revision, states)) = read else {
            let (Some((node, _)), after) = (subscriber.at, subscriber.outbox.cursor()) else { return };
            let task = Task::Session { subscriber: index, connection, after };
            return self.after_for(node, 100 * MILLISECOND, Mail::Retry(task));
        };
        for state in states {
            subscriber.outbox.offer(state);
        }
        if subscriber.outbox.end_read(revision) {
            self.read_for(index);
        }
        self.pump(index);
    }

    fn pump(&mut self, index: usize) {
        let lenient = self.is_broken(Variant::PushUnguarded) || self.is_broken(Variant::ConnectUnguarded);
        while let Some(outgoing) = self.subscribers[index].outbox.next() {
            self.subscribers[index].resume = outgoing.event_id();
            let (key, version) = (&outgoing.state.key, outgoing.state.version);
            // What a broken rule has pushed besides does not count twice.
            if !lenient || self.subscribers[index].held.get(key).is_none_or(|held| *held < version) {
                self.pushed(index, key, version);
            }
        }
    }

    /// A broken rule pushes whatever comes in.
    pub(super) fn push_unguarded(&mut self, node: usize, event: &NotifyCommitEvent) {
        for subscriber in self.connected_to(node) {
            for change in &event.changes {
                self.pushed(subscriber, &change.key, change.version);
            }
        }
    }

    fn pushed(&mut self, index: usize, key: &ConfigKey, version: Version) {
        let lenient = self.is_broken(Variant::PushUnguarded) || self.is_broken(Variant::ConnectUnguarded);
        let held = self.subscribers[index].held.insert(key.clone(), version);
        let back = held.is_some_and(|held| if lenient { version < held } else { version <= held });
        if back {
            let (held, key) = (held.unwrap_or_default(), key.data_id());
            self.checks.violated(format!("P3: subscriber {index} was sent {version} of {key} after {held}"));
        }
        self.log(|_| format!("  subscriber {index} is sent {version} of {}", key.data_id()));
        self.checks.seen(key, version);
    }

    /// A subscriber that does not hold the newest of everything.
    pub(super) fn behind(&self) -> Option<usize> {
        let lacks = |subscriber: &Subscriber| {
            self.keys.iter().any(|key| {
                let newest = self.db.version(key);
                newest > Version::ZERO && subscriber.held.get(key) != Some(&newest)
            })
        };
        self.subscribers.iter().position(lacks)
    }

    /// The faults are over; whoever is not connected connects.
    pub(super) fn reconnect(&mut self) {
        if self.act == Act::Healed {
            for index in 0..self.subscribers.len() {
                if self.subscribers[index].at.is_none() {
                    self.move_on(index, MILLISECOND);
                }
            }
        }
    }
}
