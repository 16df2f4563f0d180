//! Random walks of one node's shard beside a model of the database, in every order that the contract of the driver
//! allows. Two promises are checked at each answer: a hit is the newest commit, and a load gives no reader anything
//! older than the newest commit at the moment the reader came. Each rule is then switched off in turn, and the walks
//! have to notice.

use super::*;
use crate::rules::Rules;

const LEASE: u64 = 6;
const KEYS: usize = 3;

/// A small generator of chance (xorshift), so that a walk is its seed.
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }
}

/// A reader: which key it wants, and the newest commit when it came.
type Reader = (usize, u64);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    Committed(u64),
}

/// A publish of one or two keys.
struct Publish {
    batch: BatchId,
    keys: Vec<usize>,
    /// The life in which the node acknowledged it.
    acked: Option<u128>,
    stage: Stage,
}

struct Load {
    token: Token,
    brought: Option<Loaded>,
}

struct Testbed {
    shard: Shard<Map, Reader>,
    keys: Vec<ConfigKey>,
    now: u64,
    newest: Vec<u64>,
    revision: u64,
    /// The node's row in the database: its life and the latest end of its lease.
    row: Option<(u128, u64)>,
    /// The life that the node believes in.
    life: Option<u128>,
    lives: u128,
    batches: u128,
    publishes: Vec<Publish>,
    loads: Vec<Load>,
    hits: usize,
}

impl Testbed {
    fn new(broken: Option<Rule>) -> Self {
        let mut shard = Shard::new(Map::default());
        shard.rules = Rules::without(broken);
        Self {
            shard,
            keys: ["a", "b", "c"].map(key).to_vec(),
            now: 0,
            newest: vec![0; KEYS],
            revision: 0,
            row: None,
            life: None,
            lives: 0,
            batches: 0,
            publishes: Vec::new(),
            loads: Vec::new(),
            hits: 0,
        }
    }

    fn clock(&self) -> Mono {
        Mono(Duration::from_secs(self.now))
    }

    fn step(&mut self, chance: &mut Rng) -> Result<(), String> {
        let at = chance.below(KEYS);
        match chance.below(16) {
            0..=3 => self.read(at),
            4 => {
                if let Some(token) = self.shard.begin_refresh(&self.keys[at]) {
                    self.loads.push(Load { token, brought: None });
                }
                Ok(())
            }
            5 | 6 => self.select(chance),
            7 | 8 => self.finish(chance),
            9 => {
                self.shard.entries.evict(&self.keys[at]);
                Ok(())
            }
            10 => {
                self.publish(at, chance);
                Ok(())
            }
            11 => {
                self.commit(chance);
                Ok(())
            }
            12 | 13 => {
                self.end(chance);
                Ok(())
            }
            14 => {
                self.membership(chance);
                Ok(())
            }
            _ => {
                self.now += chance.below(4) as u64;
                Ok(())
            }
        }
    }

    /// A read: a hit is checked, anything else waits for a load.
    fn read(&mut self, at: usize) -> Result<(), String> {
        let (now, key) = (self.clock(), self.keys[at].clone());
        if let Lookup::Hit(state) = self.shard.lookup(&key, || now) {
            self.hits += 1;
            if state.version.0 != self.newest[at] {
                return Err(format!("{key} answered {} when {} was committed", state.version, self.newest[at]));
            }
            return Ok(());
        }
        if let Begin::Lead(token) = self.shard.begin(&key, now, (at, self.newest[at])) {
            self.loads.push(Load { token, brought: None });
        }
        Ok(())
    }

    /// The database answers a load; the answer is still on its way.
    fn select(&mut self, chance: &mut Rng) -> Result<(), String> {
        let Some(index) = pick(&self.loads, chance, |load| load.brought.is_none()) else { return Ok(()) };
        let wanted = &self.loads[index].token.key;
        let at = self.keys.iter().position(|key| key == wanted).unwrap();
        self.loads[index].brought = Some(loaded(&self.keys[at], self.newest[at], self.revision));
        Ok(())
    }

    /// The answer of a load comes in, or its failure.
    fn finish(&mut self, chance: &mut Rng) -> Result<(), String> {
        let fails = chance.below(8) == 0;
        let Some(index) = pick(&self.loads, chance, |load| fails || load.brought.is_some()) else { return Ok(()) };
        let Load { token, brought } = self.loads.swap_remove(index);
        let brought = brought.filter(|_| !fails);
        let finished = self.shard.finish(token, brought.as_ref());
        self.loads.extend(finished.next.map(|token| Load { token, brought: None }));
        for (at, newest) in finished.answered {
            if let Some(loaded) = &brought
                && loaded.state.version.0 < newest
            {
                return Err(format!("a reader of {} that came after {newest} was given less", self.keys[at]));
            }
        }
        Ok(())
    }

    /// A publish begins. A node that has a row marks it (or the message comes late, or never).
    fn publish(&mut self, at: usize, chance: &mut Rng) {
        self.batches += 1;
        let mut keys = vec![at];
        if chance.below(3) == 0 {
            keys.push((at + 1) % KEYS);
        }
        let batch = BatchId(Uuid::from_u128(self.batches));
        let mut publish = Publish { batch, keys, acked: None, stage: Stage::Open };
        if let Some(life) = self.life
            && chance.below(5) > 0
        {
            publish.keys.iter().for_each(|at| self.shard.mark(batch, &self.keys[*at]));
            publish.acked = Some(life);
        }
        self.publishes.push(publish);
    }

    /// The database commits a publish that has the ack of the row, if there is one.
    fn commit(&mut self, chance: &mut Rng) {
        let row = self.row.map(|(life, _)| life);
        let Some(index) = pick(&self.publishes, chance, |publish| {
            publish.stage == Stage::Open && (row.is_none() || publish.acked == row)
        }) else {
            return;
        };
        self.revision += 1;
        self.publishes[index].stage = Stage::Committed(self.revision);
        for at in &self.publishes[index].keys {
            self.newest[*at] = self.revision;
        }
    }

    /// The node hears how a publish ended, in any order; with the content, without it, twice, or from the feed as well.
    fn end(&mut self, chance: &mut Rng) {
        let Some(index) = pick(&self.publishes, chance, |_| true) else { return };
        let publish = &self.publishes[index];
        let (batch, stage, keys) = (publish.batch, publish.stage, publish.keys.clone());
        for key in keys.iter().map(|at| &self.keys[*at]) {
            match stage {
                Stage::Open => self.shard.abort(batch, key),
                Stage::Committed(version) => {
                    if chance.below(6) == 0 {
                        self.shard.note_version(key, Version(version));
                    }
                    let known = committed(key, version);
                    let state = known.state.filter(|_| chance.below(4) > 0);
                    self.shard.commit(batch, &CommittedKey { state, ..known })
                }
            };
        }
        if stage == Stage::Open || chance.below(4) > 0 {
            self.publishes.swap_remove(index);
        }
    }

    /// A join, a renewal, or the removal of a row whose lease is over.
    fn membership(&mut self, chance: &mut Rng) {
        let ends = self.now + LEASE;
        let lease = |life: u128| ReadLease {
            incarnation: Incarnation(Uuid::from_u128(life)),
            ends: LeaseEnd::At(Mono(Duration::from_secs(ends))),
        };
        match self.row {
            Some((_, ends)) if ends <= self.now && chance.below(2) == 0 => self.row = None,
            Some((life, _)) if self.life == Some(life) => {
                self.row = Some((life, ends));
                self.shard.grant(Some(lease(life)));
            }
            Some((life, ends)) => {
                // The answer to the join arrives: the lease counts from before it was sent.
                self.life = Some(life);
                self.shard
                    .grant(Some(ReadLease { ends: LeaseEnd::At(Mono(Duration::from_secs(ends))), ..lease(life) }));
            }
            None => {
                if self.life.is_some() && chance.below(2) == 0 {
                    self.life = None;
                    self.shard.grant(None);
                }
                self.lives += 1;
                self.row = Some((self.lives, ends));
            }
        }
    }
}

/// One of those that satisfy `fits`.
fn pick<T>(all: &[T], chance: &mut Rng, fits: impl Fn(&T) -> bool) -> Option<usize> {
    let fitting: Vec<usize> = (0..all.len()).filter(|index| fits(&all[*index])).collect();
    if fitting.is_empty() { None } else { Some(fitting[chance.below(fitting.len())]) }
}

/// Walks with the seeds `1..=walks`; the first broken promise with its seed, or how many hits were checked.
fn walk(broken: Option<Rule>, walks: u64) -> Result<usize, String> {
    let mut hits = 0;
    for seed in 1..=walks {
        let mut chance = Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut testbed = Testbed::new(broken);
        for step in 0..150 {
            testbed.step(&mut chance).map_err(|broken| format!("seed {seed}, step {step}: {broken}"))?;
        }
        hits += testbed.hits;
    }
    Ok(hits)
}

#[test]
fn invariant_memory_answers_with_the_newest_commit() {
    let hits = walk(None, 20_000).unwrap();
    assert!(hits > 10_000, "only {hits} hits: the walks say little");
}

fn assert_noticed(rule: Rule) {
    let noticed = walk(Some(rule), 20_000);
    assert!(noticed.is_err(), "without {rule:?} nothing was noticed in 20,000 walks");
}

#[test]
fn storing_a_poisoned_load_is_caught() {
    assert_noticed(Rule::FillGuard);
}

#[test]
fn guarding_loads_on_notify_only_is_caught() {
    assert_noticed(Rule::BornPoisoned);
}

#[test]
fn joining_a_poisoned_load_is_caught() {
    assert_noticed(Rule::JoinGuard);
}

#[test]
fn a_commit_that_creates_an_entry_is_caught() {
    assert_noticed(Rule::UpdateOnly);
}

#[test]
fn a_commit_that_clears_every_mark_is_caught() {
    assert_noticed(Rule::OwnMark);
}

#[test]
fn keeping_entries_over_a_rejoin_is_caught() {
    assert_noticed(Rule::Flush);
}

#[test]
fn trusting_without_reading_the_clock_is_caught() {
    assert_noticed(Rule::Lease);
}
