//! A node: one process with its machines, its clock and what its actors remember between messages.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::database::OpId;
use super::in_doubt::Question;
use super::mail::Mail;
use super::variants::{Broken, Variant};
use super::work::Work;
use crate::cache::{Entries, Shard};
use crate::config::SharedState;
use crate::feed::{self, ChangeFeed};
use crate::key::ConfigKey;
use crate::lease::{self, Lease, LeaseMode, Membership};
use crate::member::{Incarnation, NodeId, Timeline};
use crate::publish::{self, Publisher};
use crate::receiver::{self, Receiver};
use crate::time::Mono;

/// Entries in a map; what is not pinned may go at any time.
#[derive(Default)]
pub(super) struct Map {
    entries: RefCell<HashMap<ConfigKey, (SharedState, bool)>>,
}

impl Map {
    fn evict(&self, key: &ConfigKey) {
        let mut entries = self.entries.borrow_mut();
        if entries.get(key).is_some_and(|(_, pinned)| !pinned) {
            entries.remove(key);
        }
    }
}

impl Entries for Map {
    fn get(&mut self, key: &ConfigKey) -> Option<SharedState> {
        self.peek(key)
    }
    fn peek(&self, key: &ConfigKey) -> Option<SharedState> {
        self.entries.borrow().get(key).map(|(state, _)| Arc::clone(state))
    }
    fn put(&mut self, state: SharedState, pinned: bool) {
        self.entries.get_mut().insert(state.key.clone(), (state, pinned));
    }
    fn remove(&mut self, key: &ConfigKey) {
        self.entries.get_mut().remove(key);
    }
    fn set_pinned(&mut self, key: &ConfigKey, pinned: bool) {
        if let Some((_, pin)) = self.entries.get_mut().get_mut(key) {
            *pin = pinned;
        }
    }
    fn clear(&mut self) {
        self.entries.get_mut().clear();
    }
}

/// A node's own clock: it runs on while the process stands still.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    /// Millionths of the true speed.
    rate: u64,
    /// What it showed at the beginning, in nanoseconds.
    origin: u64,
}

impl Clock {
    pub(super) fn new(rate: u64, origin: u64) -> Self {
        Self { rate, origin }
    }

    pub(super) fn at(self, micros: u64) -> Mono {
        Mono(Duration::from_nanos(self.origin + micros * self.rate / 1_000))
    }

    /// The first true time at which it shows `mono` or more.
    pub(super) fn reaches(self, mono: Mono) -> u64 {
        let nanos = u64::try_from(mono.0.as_nanos()).unwrap_or(u64::MAX / 2_000);
        (nanos.saturating_sub(self.origin) * 1_000).div_ceil(self.rate)
    }
}

/// Where mail is put.
pub(super) const MAILBOXES: usize = 5;

/// Which machine a timer belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Machine {
    Lease,
    Publisher,
    Receiver,
    Feed,
}

/// Whether the process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Run {
    Up,
    /// Stopped; what comes in waits.
    Paused,
    Down,
}

/// A node.
pub(super) struct Node {
    pub(super) name: NodeId,
    pub(super) clock: Clock,
    pub(super) terms: LeaseMode,
    pub(super) process: u32,
    pub(super) run: Run,
    pub(super) leaving: bool,
    /// While it stands still, its peers give up on it: what they send is lost.
    pub(super) deaf: bool,
    /// How long a step to the database may take on its way; zero when all is well.
    pub(super) link: u64,
    /// True when the process may replace a row that another process of the node has left.
    pub(super) has_proof: bool,
    pub(super) first_life: Incarnation,
    pub(super) lease: Lease,
    pub(super) publisher: Publisher,
    pub(super) receiver: Receiver,
    pub(super) shard: Shard<Map, usize>,
    /// What ClusterNotify knows of the membership.
    pub(super) incarnation: Option<Incarnation>,
    pub(super) timeline: Timeline,
    pub(super) feed: ChangeFeed,
    pub(super) linked: BTreeSet<NodeId>,
    pub(super) works: BTreeMap<OpId, Work>,
    /// Of commits in doubt, and how many there were.
    pub(super) questions: BTreeMap<u64, Question>,
    pub(super) asked: u64,
    pub(super) armed: [Option<Mono>; 4],
    /// Mail and timers of a process that stands still.
    pub(super) backlog: VecDeque<Mail>,
    pub(super) late_timers: VecDeque<Mail>,
    /// Until when each mailbox is behind.
    pub(super) behind: [u64; MAILBOXES],
    /// The membership as it was told last.
    pub(super) told: Option<Membership>,
    /// How often the publisher was rebuilt.
    pub(super) rebuilds: u32,
    /// Only a broken rule asks it.
    pub(super) flag: bool,
}

impl Node {
    pub(super) fn new(index: usize, rate: u64, origin: u64, terms: LeaseMode, broken: Broken) -> Self {
        let name = NodeId(["a", "b", "c", "d"][index].into());
        let clock = Clock::new(rate, origin);
        let mut node = Self {
            lease: Lease::new(lease::Options::default(), name.clone(), Uuid::nil(), Mono::default()),
            publisher: Publisher::new(publish::Options::default(), Uuid::nil()),
            receiver: Receiver::new(receiver::Options::default()),
            shard: Shard::new(Map::default()),
            name,
            clock,
            terms,
            process: 0,
            run: Run::Down,
            leaving: false,
            deaf: false,
            link: 0,
            has_proof: false,
            first_life: Incarnation(Uuid::nil()),
            incarnation: None,
            timeline: Timeline::default(),
            feed: ChangeFeed::new(feed::Options::default(), Mono::default()),
            linked: BTreeSet::new(),
            works: BTreeMap::new(),
            questions: BTreeMap::new(),
            asked: 0,
            armed: [None; 4],
            backlog: VecDeque::new(),
            late_timers: VecDeque::new(),
            behind: [0; MAILBOXES],
            told: None,
            rebuilds: 0,
            flag: false,
        };
        node.start(index, 0, true, broken);
        node
    }

    /// A new process that knows nothing of the one before.
    pub(super) fn start(&mut self, index: usize, now: u64, has_proof: bool, broken: Broken) {
        self.process += 1;
        let first = ((index as u128 + 1) << 96) | (u128::from(self.process) << 64);
        // Shorter than it is: nodes come back before they know of dead links.
        let back_off = [Duration::from_secs(1), Duration::from_secs(60)];
        let options = lease::Options { terms: self.terms, back_off, ..lease::Options::default() };
        self.lease = Lease::new(options, self.name.clone(), Uuid::from_u128(first), self.clock.at(now));
        self.first_life = Incarnation(Uuid::from_u128(first >> 1));
        self.publisher = Publisher::new(publish::Options::default(), Uuid::from_u128(first));
        self.receiver = Receiver::new(receiver::Options::default());
        self.shard = Shard::new(Map::default());
        self.feed = ChangeFeed::new(feed::Options::default(), self.clock.at(now));
        broken.install(self);
        (self.run, self.leaving, self.has_proof) = (Run::Up, false, has_proof);
        (self.incarnation, self.timeline) = (None, Timeline::default());
        self.linked.clear();
        self.works.clear();
        self.questions.clear();
        self.armed = [None; 4];
        self.backlog.clear();
        self.late_timers.clear();
        self.behind = [0; MAILBOXES];
        self.told = None;
        self.flag = false;
    }

    /// A publisher that knows nothing of the batches before.
    pub(super) fn rebuild_publisher(&mut self) {
        self.rebuilds += 1;
        let first = (self.first_life.0.as_u128() << 1) | (u128::from(self.rebuilds) << 32);
        self.publisher = Publisher::new(publish::Options::default(), Uuid::from_u128(first));
    }

    /// A receiver that knows nothing of the acks before.
    pub(super) fn rebuild_receiver(&mut self) {
        let rules = self.receiver.rules;
        self.receiver = Receiver::new(receiver::Options::default());
        self.receiver.rules = rules;
        (self.incarnation, self.timeline) = (None, Timeline::default());
    }

    /// The store is full and drops an entry, unless it is pinned.
    pub(super) fn evict(&self, key: &ConfigKey) {
        self.shard.entries().evict(key);
    }

    pub(super) fn now(&self, micros: u64) -> Mono {
        self.clock.at(micros)
    }

    /// The clock that the cache reads.
    pub(super) fn trusted_now(&self, micros: u64, broken: Broken) -> Mono {
        match broken.variant {
            Some(Variant::LeaseFlag) if self.flag => Mono::default(),
            Some(Variant::LeaseFlag) => Mono(Duration::MAX),
            _ => self.clock.at(micros),
        }
    }

    /// True when the cache trusts itself at this moment, by the clock.
    pub(super) fn is_trusting(&self, micros: u64) -> bool {
        self.run != Run::Down && self.shard.lease().is_some_and(|grant| grant.is_valid(self.clock.at(micros)))
    }
}
