//! A cluster of engines under virtual time, over a network that delays, loses and cuts. Everything follows from a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use callboard_protocol::member::NodeId;
use callboard_protocol::membership_view::{GossipObservation, Life, ProtocolRange, Status, foremost};
use callboard_protocol::time::Mono;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::super::engine::Engine;
use super::super::identity::Identity;

/// How often a node is polled, as the actor does.
const POLL: Duration = Duration::from_millis(250);

pub(super) fn address(index: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, u8::try_from(index).unwrap()], 8851))
}

/// Another address under which node `index` is reached, which it does not know of.
pub(super) fn alias(index: usize) -> SocketAddr {
    SocketAddr::from(([192, 168, 0, u8::try_from(index).unwrap()], 8851))
}

pub(super) fn name(index: usize) -> NodeId {
    NodeId(format!("0192f0c1-2d3e-7a4b-8c5d-6e7f8a9b0c{index:02}").into())
}

pub(super) fn identity(index: usize, generation: u64) -> Identity {
    Identity {
        node: name(index),
        generation,
        peer: address(index),
        http: SocketAddr::from(([10, 0, 0, u8::try_from(index).unwrap()], 8848)),
        grpc: None,
        session: None,
        status: Status::Up,
        protocols: ProtocolRange { min: 1, max: 1 },
        version: "0.1.0".into(),
    }
}

/// A process.
enum Process {
    Running,
    /// Stopped by a signal: the kernel keeps what comes in.
    Paused(Vec<Bytes>),
    Dead,
}

struct Node {
    engine: Engine,
    process: Process,
    next_poll: Mono,
    seeds: Vec<SocketAddr>,
}

pub(super) struct Testbed {
    pub(super) now: Mono,
    pub(super) loss: f64,
    /// The side of each node; datagrams stay on their side.
    pub(super) sides: BTreeMap<usize, u8>,
    /// Nodes that hear nothing and are heard.
    pub(super) deaf: BTreeSet<usize>,
    chance: StdRng,
    nodes: BTreeMap<usize, Node>,
    wire: BTreeMap<(Mono, u64), (usize, usize, Bytes)>,
    sent: u64,
}

impl Testbed {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            now: Mono(Duration::from_secs(1)),
            loss: 0.0,
            sides: BTreeMap::new(),
            deaf: BTreeSet::new(),
            chance: StdRng::seed_from_u64(seed),
            nodes: BTreeMap::new(),
            wire: BTreeMap::new(),
            sent: 0,
        }
    }

    /// `nodes` nodes that know of each other.
    pub(super) fn settled(seed: u64, nodes: usize) -> Self {
        let mut testbed = Self::new(seed);
        for index in 0..nodes {
            testbed.start(index);
        }
        let complete = testbed.until(Duration::from_secs(5), |testbed| testbed.all_see(Life::Alive));
        assert!(complete.is_some(), "seed {seed}: no complete cluster of {nodes}");
        // So that the phases of the probes differ.
        let pause = testbed.chance.random_range(1_000..4_000);
        testbed.run(Duration::from_millis(pause));
        testbed
    }

    /// Starts or restarts a node, whose generation is its wall clock.
    pub(super) fn start(&mut self, index: usize) {
        let generation = u64::try_from(self.now.0.as_millis()).unwrap() + 1_000_000;
        self.start_at(index, generation, (0..3).map(address).collect());
    }

    pub(super) fn start_at(&mut self, index: usize, generation: u64, seeds: Vec<SocketAddr>) {
        self.start_as(index, identity(index, generation), seeds);
    }

    /// Starts a process at the address of `index` under the id of another node.
    pub(super) fn start_under_id_of(&mut self, index: usize, other: usize, generation: u64) {
        let seeds = (0..3).map(address).collect();
        self.start_as(index, Identity { node: name(other), ..identity(index, generation) }, seeds);
    }

    fn start_as(&mut self, index: usize, identity: Identity, seeds: Vec<SocketAddr>) {
        let chance = StdRng::seed_from_u64(self.chance.random());
        let engine = Engine::new(identity, chance);
        let node = Node { engine, process: Process::Running, next_poll: self.now, seeds };
        self.nodes.insert(index, node);
    }

    pub(super) fn kill(&mut self, index: usize) {
        self.nodes.get_mut(&index).unwrap().process = Process::Dead;
    }

    pub(super) fn pause(&mut self, index: usize) {
        self.nodes.get_mut(&index).unwrap().process = Process::Paused(Vec::new());
    }

    /// Timers go first, which is the worse order.
    pub(super) fn resume(&mut self, index: usize) {
        let node = self.nodes.get_mut(&index).unwrap();
        let Process::Paused(inbox) = std::mem::replace(&mut node.process, Process::Running) else { return };
        node.engine.tick(self.now);
        for datagram in inbox {
            node.engine.datagram(self.now, &datagram).unwrap();
        }
        self.flush(index);
    }

    /// Does something with an engine.
    pub(super) fn with(&mut self, index: usize, act: impl FnOnce(&mut Engine, Mono)) {
        act(&mut self.nodes.get_mut(&index).unwrap().engine, self.now);
        self.flush(index);
    }

    /// How `observer` sees `node`.
    pub(super) fn sees(&self, observer: usize, node: usize) -> Option<GossipObservation> {
        let mut sightings = self.nodes.get(&observer)?.engine.sightings();
        sightings.retain(|seen| seen.node == name(node));
        foremost(&sightings, None).cloned()
    }

    pub(super) fn life(&self, observer: usize, node: usize) -> Option<Life> {
        self.sees(observer, node).map(|seen| seen.life)
    }

    pub(super) fn running(&self) -> Vec<usize> {
        let running = self.nodes.iter().filter(|(_, node)| matches!(node.process, Process::Running));
        running.map(|(index, _)| *index).collect()
    }

    /// Every running node sees every other running node so.
    pub(super) fn all_see(&self, life: Life) -> bool {
        let running = self.running();
        running.iter().all(|one| running.iter().all(|other| one == other || self.life(*one, *other) == Some(life)))
    }

    /// Every running node sees this one so.
    pub(super) fn seen_by_all(&self, node: usize, life: Life) -> bool {
        self.running().into_iter().filter(|one| *one != node).all(|one| self.life(one, node) == Some(life))
    }

    pub(super) fn run(&mut self, time: Duration) {
        assert_eq!(self.until(time, |_| false), None);
    }

    /// Lets time pass until `holds`, at most `limit`; returns how long it took.
    pub(super) fn until(&mut self, limit: Duration, holds: impl Fn(&Self) -> bool) -> Option<Duration> {
        let (begin, end) = (self.now, self.now.after(limit));
        loop {
            if holds(self) {
                return Some(self.now.since(begin));
            }
            match self.next_event() {
                Some(at) if at <= end => self.happen(at),
                _ => {
                    self.now = end;
                    return None;
                }
            }
        }
    }

    fn next_event(&self) -> Option<Mono> {
        let running = self.nodes.values().filter(|node| matches!(node.process, Process::Running));
        let wakeups = running.flat_map(|node| [Some(node.next_poll), node.engine.next_wakeup()]).flatten();
        let arrivals = self.wire.keys().next().map(|(at, _)| *at);
        wakeups.chain(arrivals).min().map(|at| at.max(self.now))
    }

    fn happen(&mut self, at: Mono) {
        self.now = at;
        while let Some(entry) = self.wire.first_entry() {
            if entry.key().0 > at {
                break;
            }
            let (from, to, datagram) = entry.remove();
            self.arrive(from, to, datagram);
        }
        for index in self.running() {
            let node = self.nodes.get_mut(&index).unwrap();
            if node.engine.next_wakeup().is_some_and(|due| due <= at) {
                node.engine.tick(at);
            }
            if node.next_poll <= at {
                node.next_poll = at.after(POLL);
                if node.engine.round_is_due(at) {
                    node.engine.begin_round(at);
                    node.engine.set_seeds(at, node.seeds.clone());
                }
                node.engine.overtake(at);
            }
            self.flush(index);
        }
    }

    fn arrive(&mut self, from: usize, to: usize, datagram: Bytes) {
        if self.sides.get(&from) != self.sides.get(&to) || self.deaf.contains(&to) {
            return;
        }
        let Some(node) = self.nodes.get_mut(&to) else { return };
        match &mut node.process {
            Process::Running => {
                node.engine.datagram(self.now, &datagram).unwrap();
                self.flush(to);
            }
            Process::Paused(inbox) => inbox.push(datagram),
            Process::Dead => {}
        }
    }

    fn flush(&mut self, from: usize) {
        let sends = self.nodes.get_mut(&from).unwrap().engine.take_sends();
        let indices: BTreeSet<usize> = self.nodes.keys().copied().collect();
        for (address_of, datagram) in sends {
            let to = indices.iter().find(|index| [address(**index), alias(**index)].contains(&address_of));
            let Some(to) = to else { continue };
            if self.chance.random_bool(self.loss) {
                continue;
            }
            self.sent += 1;
            let delay = Duration::from_micros(self.chance.random_range(100..5_000));
            self.wire.insert((self.now.after(delay), self.sent), (from, *to, datagram));
        }
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent
    }
}
