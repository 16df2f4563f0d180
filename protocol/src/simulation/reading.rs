//! Readers, as the reader actor serves them: from memory, after a mark has gone, or by a load.

use super::event_loop::{Act, Simulation, What};
use super::mail::Mail;
use super::node::Run;
use super::plan::MILLISECOND;
use super::work::Task;
use crate::cache::{Begin, Loaded, Lookup, Token};
use crate::config::{SharedState, Version};
use crate::content::Content;
use crate::key::ConfigKey;

/// Where a read stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Begun,
    Waiting,
    Loading,
    Over,
}

/// A read.
#[derive(Debug)]
pub(super) struct Read {
    key: ConfigKey,
    node: usize,
    process: u32,
    /// Nothing older may be answered.
    least: Version,
    stage: Stage,
}

impl Simulation {
    /// Somebody reads some key somewhere; the store drops what it likes.
    pub(super) fn read_somewhere(&mut self) {
        if self.act == Act::LastReads || self.act == Act::Done {
            return;
        }
        let (node, key) = (self.chance.index(self.nodes.len()), self.chance.index(self.keys.len()));
        let key = self.keys[key].clone();
        if self.chance.permille(self.plan.evicted) {
            self.nodes[node].evict(&key);
        }
        if self.nodes[node].run != Run::Down {
            if self.chance.one_in(20)
                && self.nodes[node].run == Run::Up
                && let Some(token) = self.nodes[node].shard.begin_refresh(&key)
            {
                self.begin(node, Task::Load(Some(token)));
            }
            self.start_read(node, &key);
        }
        let pause = self.chance.between(MILLISECOND, 2 * self.plan.read_every);
        let pause = if self.act == Act::Chaos { pause } else { pause * 4 };
        self.after(pause, What::Read);
    }

    pub(super) fn start_read(&mut self, node: usize, key: &ConfigKey) {
        let (process, least) = (self.nodes[node].process, self.checks.newest_seen(key));
        self.reads.push(Read { key: key.clone(), node, process, least, stage: Stage::Begun });
        self.open_reads += 1;
        self.deliver(node, process, Mail::Read(self.reads.len() - 1));
    }

    /// A read looks into memory, for the first time or again.
    pub(super) fn read(&mut self, index: usize) {
        let Read { key, node, stage, .. } = &self.reads[index];
        if !matches!(stage, Stage::Begun | Stage::Waiting) {
            return;
        }
        let (key, node, first) = (key.clone(), *node, *stage == Stage::Begun);
        let now = self.nodes[node].trusted_now(self.now, self.broken);
        match self.nodes[node].shard.lookup(&key, || now) {
            Lookup::Hit(state) => {
                self.checks.counters.hits += 1;
                self.answer_read(index, Some(&state));
            }
            Lookup::Marked => {
                self.reads[index].stage = Stage::Waiting;
                if self.nodes[node].shard.wait_unmarked(&key, index).is_err() {
                    return self.checks.violated("a mark that was there is not".to_owned());
                }
                if first {
                    let wait = self.chance.between(100 * MILLISECOND, 1_000 * MILLISECOND);
                    self.after_for(node, wait, Mail::ReadOn(index));
                }
            }
            Lookup::Miss | Lookup::Untrusted => self.load_for(index),
        }
    }

    /// The mark did not go in time: asks the database.
    pub(super) fn read_on(&mut self, index: usize) {
        if self.reads[index].stage == Stage::Waiting {
            self.load_for(index);
        }
    }

    fn load_for(&mut self, index: usize) {
        let (node, key) = (self.reads[index].node, self.reads[index].key.clone());
        self.reads[index].stage = Stage::Loading;
        let now = self.nodes[node].trusted_now(self.now, self.broken);
        match self.nodes[node].shard.begin(&key, now, index) {
            Begin::Lead(token) => self.begin(node, Task::Load(Some(token))),
            Begin::Joined => {}
        }
    }

    /// A load has ended.
    pub(super) fn loaded(&mut self, node: usize, token: Option<Token>, loaded: Option<&Loaded>) {
        let Some(token) = token else { return };
        self.dirty = true;
        let finished = self.nodes[node].shard.finish(token, loaded);
        let poisoned = loaded.is_some() && !finished.stored && self.nodes[node].shard.lease().is_some();
        self.checks.counters.poisoned += u64::from(poisoned);
        for index in finished.answered {
            self.answer_read(index, loaded.map(|loaded| &loaded.state));
        }
        if let Some(token) = finished.next {
            self.begin(node, Task::Load(Some(token)));
        }
    }

    /// Those who waited for a mark look again.
    pub(super) fn wake(&mut self, readers: Vec<usize>) {
        for index in readers {
            let node = self.reads[index].node;
            self.mail(node, Mail::Read(index));
        }
    }

    fn answer_read(&mut self, index: usize, state: Option<&SharedState>) {
        let Read { key, least, node, stage, .. } = &mut self.reads[index];
        if *stage == Stage::Over {
            return;
        }
        let loaded = *stage == Stage::Loading;
        *stage = Stage::Over;
        self.open_reads -= 1;
        let (key, least, node) = (key.clone(), *least, *node);
        let Some(state) = state else {
            if self.act == Act::LastReads {
                // The database is there; only a load that was under way before can fail.
                self.start_read(node, &key);
            }
            return;
        };
        let (name, from) = (self.nodes[node].name.clone(), if loaded { "the database" } else { "memory" });
        self.log(|_| format!("  {name} answers {} = {} from {from}", key.data_id(), state.version));
        if state.version < least {
            let (key, version) = (key.data_id(), state.version);
            let text = format!("P1: {name} answered {version} of {key} from {from} when {least} was known before");
            self.checks.violated(text);
        }
        let newest = self.db.version(&key);
        if !loaded && state.version != newest && !self.checks.client_only {
            let version = state.version;
            self.checks.violated(format!("P1: {name} answered {version} from memory when {newest} was committed"));
        }
        if state.version > newest {
            self.checks.violated(format!("C1: {name} answered {} which is not committed", state.version));
        }
        let at = self.db.history.partition_point(|known| known.version < state.version);
        let is_known = self.db.history[at..].iter().take_while(|known| known.version == state.version).any(|known| {
            known.key == key && known.formal.as_ref().map(Content::md5) == state.formal.as_ref().map(Content::md5)
        });
        if !is_known && state.version > Version::ZERO {
            self.checks.violated(format!("C0: {name} answered {} with a content it never had", state.version));
        }
        self.checks.seen(&key, state.version);
    }

    /// The reads of a process are gone with it.
    pub(super) fn reads_lost(&mut self, node: usize) {
        let process = self.nodes[node].process;
        for read in &mut self.reads {
            if read.node == node && read.process == process && read.stage != Stage::Over {
                read.stage = Stage::Over;
                self.open_reads -= 1;
            }
        }
    }
}
