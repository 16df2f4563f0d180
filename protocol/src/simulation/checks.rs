//! What must hold, seen from above: what clients are told, and what is true of the whole at each step.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::clients::{Asked, Caller};
use super::database::OpId;
use super::event_loop::{Act, Simulation, What};
use super::node::Run;
use super::plan::MILLISECOND;
use super::variants::Broken;
use super::work::{Task, Work};
use crate::cache::Lookup;
use crate::config::Version;
use crate::key::ConfigKey;
use crate::lease::LeaseMode;
use crate::publish::CallerId;
use crate::time::Mono;
use crate::write_request::RequestId;

/// How often what happened, so that nobody takes a quiet run for a proof.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counters {
    pub(super) events: u64,
    pub(super) published: u64,
    pub(super) failed: u64,
    pub(super) hits: u64,
    pub(super) fences: u64,
    pub(super) refusals: u64,
    pub(super) resumed: u64,
    pub(super) floors: u64,
    pub(super) poisoned: u64,
    pub(super) need_acks: u64,
    pub(super) unknown: u64,
    pub(super) zombies_committed: u64,
    pub(super) zombies_aborted: u64,
    pub(super) revokes: u64,
    pub(super) rejoins: u64,
    pub(super) seen_commits: u64,
    /// Refusals to mark.
    pub(super) nacks: u64,
    /// Commits in doubt whose own row was gone.
    pub(super) refused_floors: u64,
    /// Pages of the feed that were not the last.
    pub(super) pages: u64,
    /// Pages after which everybody has to look, for want of what was forgotten.
    pub(super) pruned: u64,
    /// The longest that any run took to settle, in microseconds.
    pub(super) slowest: u64,
}

impl Counters {
    pub(super) fn each(&self) -> [(&'static str, u64); 21] {
        [
            ("events", self.events),
            ("published", self.published),
            ("failed", self.failed),
            ("answered from memory", self.hits),
            ("fences", self.fences),
            ("refused renewals", self.refusals),
            ("resumed after a lapse", self.resumed),
            ("raised floors", self.floors),
            ("poisoned loads", self.poisoned),
            ("commits without all acks", self.need_acks),
            ("unknown outcomes", self.unknown),
            ("zombies that committed", self.zombies_committed),
            ("zombies that did not", self.zombies_aborted),
            ("revoked rows", self.revokes),
            ("rejoins", self.rejoins),
            ("commits", self.seen_commits),
            ("refusals to mark", self.nacks),
            ("commits in doubt without a row", self.refused_floors),
            ("pages with more behind them", self.pages),
            ("pages from below the floor", self.pruned),
            ("slowest to settle", self.slowest),
        ]
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.published += other.published;
        self.failed += other.failed;
        self.hits += other.hits;
        self.fences += other.fences;
        self.refusals += other.refusals;
        self.resumed += other.resumed;
        self.floors += other.floors;
        self.poisoned += other.poisoned;
        self.need_acks += other.need_acks;
        self.unknown += other.unknown;
        self.zombies_committed += other.zombies_committed;
        self.zombies_aborted += other.zombies_aborted;
        self.revokes += other.revokes;
        self.rejoins += other.rejoins;
        self.seen_commits += other.seen_commits;
        self.nacks += other.nacks;
        self.refused_floors += other.refused_floors;
        self.pages += other.pages;
        self.pruned += other.pruned;
        self.slowest = self.slowest.max(other.slowest);
    }
}

/// What is known from above.
pub(super) struct Checks {
    pub(super) violation: Option<String>,
    pub(super) counters: Counters,
    /// Only what clients can see counts: how a broken rule is judged.
    pub(super) client_only: bool,
    pub(super) asked: Vec<Asked>,
    pub(super) by_id: HashMap<RequestId, usize>,
    pub(super) callers: BTreeMap<CallerId, Caller>,
    pub(super) next_caller: u64,
    pub(super) zombies: HashSet<OpId>,
    pub(super) last_commit: Option<OpId>,
    /// The newest version of each key that any client has been told of.
    newest: BTreeMap<ConfigKey, Version>,
    revision: Version,
}

impl Checks {
    pub(super) fn new(broken: Broken, keys: &[ConfigKey]) -> Self {
        Self {
            violation: None,
            counters: Counters::default(),
            client_only: broken.variant.is_some(),
            asked: Vec::new(),
            by_id: HashMap::new(),
            callers: BTreeMap::new(),
            next_caller: 0,
            zombies: HashSet::new(),
            last_commit: None,
            newest: keys.iter().map(|key| (key.clone(), Version::ZERO)).collect(),
            revision: Version::ZERO,
        }
    }

    /// A promise is broken; the first one counts.
    pub(super) fn violated(&mut self, text: String) {
        self.violation.get_or_insert(text);
    }

    /// A client has been told of this version.
    pub(super) fn seen(&mut self, key: &ConfigKey, version: Version) {
        if let Some(newest) = self.newest.get_mut(key) {
            *newest = version.max(*newest);
        }
    }

    pub(super) fn newest_seen(&self, key: &ConfigKey) -> Version {
        self.newest.get(key).copied().unwrap_or_default()
    }
}

impl Simulation {
    /// Looks at what was committed just now.
    pub(super) fn committed(&mut self) {
        self.dirty = true;
        self.checks.counters.fences += std::mem::take(&mut self.db.fenced);
        for (op, writes) in std::mem::take(&mut self.db.committed) {
            self.checks.counters.seen_commits += 1;
            self.checks.last_commit = Some(op);
            let mut expected = self.checks.revision;
            for change in &writes.changes {
                let version = change.state.version;
                if version != expected && version != expected.next() {
                    self.checks.violated(format!("I4: {version} was committed after {expected}"));
                }
                expected = version;
            }
            if writes.revision != expected {
                self.checks.violated(format!("I4: the revision is {} after {expected}", writes.revision));
            }
            self.checks.revision = expected;
            self.landed(&writes);
            self.all_marked(&writes);
            let what: Vec<String> = writes.states.iter().map(|state| state.key.data_id().to_owned()).collect();
            self.log(|_| format!("  {op:?} commits {what:?} as {}", writes.revision));
        }
    }

    /// I1: whoever has acknowledged holds the marks when the commit comes.
    fn all_marked(&mut self, writes: &crate::commit::Writes) {
        if self.checks.client_only {
            return;
        }
        for (node, row) in self.nodes.iter_mut().zip(&self.db.rows) {
            let life = row.as_ref().map(|row| row.incarnation);
            if node.run == Run::Down || life.is_none() || node.shard.lease().map(|grant| grant.incarnation) != life {
                continue;
            }
            for state in &writes.states {
                if node.shard.lookup(&state.key, Mono::default) != Lookup::Marked {
                    let (name, key) = (&node.name, state.key.data_id());
                    self.checks.violated(format!("I1: {name} has no mark on {key} when it is committed"));
                }
            }
        }
    }

    fn landed(&mut self, writes: &crate::commit::Writes) {
        for request in &writes.requests {
            let Some(index) = self.checks.by_id.get(&request.request_id).copied() else { continue };
            let asked = &mut self.checks.asked[index];
            asked.landed += 1;
            let (failed, landed) = (asked.failed, asked.landed);
            if failed {
                self.checks.violated(format!("P2: r{index} was answered as failed and landed after that"));
            }
            if landed > 1 {
                self.checks.violated(format!("P2: r{index} landed twice"));
            }
        }
    }

    /// Looks at every node after something has changed.
    pub(super) fn look_around(&mut self) {
        if !std::mem::take(&mut self.dirty) || self.checks.client_only {
            return;
        }
        for index in 0..self.nodes.len() {
            let node = &mut self.nodes[index];
            let Some(grant) = node.shard.lease().filter(|_| node.run != Run::Down) else { continue };
            let has_row = self.db.rows[index].as_ref().is_some_and(|row| row.incarnation == grant.incarnation);
            if !has_row {
                if node.is_trusting(self.now) {
                    let name = node.name.clone();
                    return self.checks.violated(format!("I2: {name} answers from memory and has no row"));
                }
                continue;
            }
            for key in &self.keys {
                if let Lookup::Hit(state) = node.shard.lookup(key, Mono::default)
                    && state.version != self.db.version(key)
                {
                    let (name, version, key) = (node.name.clone(), state.version, key.data_id());
                    return self.checks.violated(format!("I3: {name} holds {version} of {key}, unmarked"));
                }
            }
        }
    }

    /// Why it can't be said that all is well; `None` when it is.
    pub(super) fn unsettled(&self) -> Option<String> {
        for node in &self.nodes {
            let name = &node.name;
            if node.run != Run::Up || node.leaving {
                return Some(format!("{name} does not run"));
            }
            if node.terms == LeaseMode::Renewed && !node.is_trusting(self.now) {
                return Some(format!("{name} is no member: {:?}", node.lease));
            }
            if node.publisher.queued() + node.publisher.in_flight() > 0 {
                return Some(format!("{name} still publishes: {:?}", node.publisher));
            }
            if node.receiver.pending() > 0 || node.shard.marks() > 0 {
                let (pending, marks) = (node.receiver.pending(), node.shard.marks());
                return Some(format!("{name} has {pending} batches open and {marks} marks"));
            }
        }
        if let Some((_, caller)) = self.checks.callers.first_key_value() {
            return Some(format!("{caller:?} has no answer"));
        }
        self.behind().map(|subscriber| format!("P3: subscriber {subscriber} is behind"))
    }

    fn awaits_lost_renewal(&self) -> bool {
        let lost = |(op, work): (&OpId, &Work)| op.number <= self.last_faulty && matches!(work.task, Task::Renew(_));
        self.nodes.iter().any(|node| node.works.iter().any(lost))
    }

    /// Looks whether all is well; if so, everything is read once more.
    pub(super) fn settle(&mut self) {
        match self.act {
            // A transaction that its client gave up holds its lock for a while yet, and a renewal that was lost is
            // waited for, perhaps until its lease is over: until they end, something is wrong.
            Act::Healed if self.unsettled().is_none() && self.db.open().is_empty() && !self.awaits_lost_renewal() => {
                self.act = Act::LastPublishes;
                self.checks.counters.slowest = self.now - self.healed_at;
                self.publish_everywhere();
            }
            Act::LastPublishes if self.unsettled().is_none() => {
                self.act = Act::LastReads;
                for key in self.keys.clone() {
                    let newest = self.db.version(&key);
                    self.checks.seen(&key, newest);
                    for node in 0..self.nodes.len() {
                        self.start_read(node, &key);
                    }
                }
            }
            Act::LastReads if self.open_reads == 0 => self.act = Act::Done,
            Act::Chaos | Act::Healed | Act::LastPublishes | Act::LastReads | Act::Done => {}
        }
        if self.act != Act::Done {
            self.after(250 * MILLISECOND, What::Settle);
        }
    }
}
