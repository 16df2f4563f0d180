//! Random walks of one receiver beside its cache, a database and publishers that send, commit, abort, fall silent or
//! die at any moment. Messages are lost, late and doubled; the database fails now and then; the node is fenced.
//!
//! Checked at every step: a batch that commits on the strength of an ack finds the node's keys marked, and they stay
//! marked until the node has heard of the commit; no ack leaves that was taken back. At the end of each walk the
//! database answers, and no mark is left.

use std::collections::{HashSet, VecDeque};

use super::*;

/// A small generator of chance (xorshift), so that a walk is its seed.
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }

    fn take<T>(&mut self, all: &mut Vec<T>) -> Option<T> {
        if all.is_empty() { None } else { Some(all.swap_remove(self.below(all.len()))) }
    }
}

const ITEMS: [&str; 4] = ["w", "x", "y", "z"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Open,
    Landed,
    Dead,
}

struct Batch {
    event: NotifyEvent,
    ack: Option<Ack>,
    fate: Fate,
    /// What it changed, with the new versions.
    changes: Vec<CommittedChange>,
}

struct Testbed {
    machine: Receiver,
    now: u64,
    /// The row in the database: life and floor.
    row: Option<(u128, u64)>,
    /// The life whose grant the cache has.
    grant: Option<u128>,
    lives: u128,
    revision: u64,
    batches: Vec<Batch>,
    landed: HashSet<RequestId>,
    /// Which batch marks which key, in the cache.
    marks: HashSet<(BatchId, ConfigKey)>,
    /// Keys of landed batches that have to stay marked until they are applied.
    owed: HashSet<(BatchId, ConfigKey)>,
    cache: VecDeque<Effect>,
    answers: Vec<Event>,
    lookups: Vec<Effect>,
    acks: Vec<(BatchId, Ack)>,
    /// The highest number that was taken back.
    voided: u64,
    commits: usize,
}

impl Testbed {
    fn new() -> Self {
        Self {
            machine: Receiver::new(Options::default()),
            now: 0,
            row: None,
            grant: None,
            lives: 0,
            revision: 0,
            batches: Vec::new(),
            landed: HashSet::new(),
            marks: HashSet::new(),
            owed: HashSet::new(),
            cache: VecDeque::new(),
            answers: Vec::new(),
            lookups: Vec::new(),
            acks: Vec::new(),
            voided: 0,
            commits: 0,
        }
    }

    fn tell(&mut self, event: Event) -> Result<(), String> {
        let mut out = Vec::new();
        let now = Mono(Duration::from_millis(self.now));
        self.machine.step(now, event, &mut out);
        for effect in out {
            match effect {
                Effect::Mark { .. } | Effect::Commit { .. } | Effect::Abort { .. } => self.cache.push_back(effect),
                Effect::Ack { batch, ack, .. } => {
                    if ack.number.0 <= self.voided {
                        return Err(format!("ack {} leaves and is taken back", ack.number.0));
                    }
                    self.acks.push((batch, ack));
                }
                Effect::FindRequests { .. } => self.lookups.push(effect),
                Effect::RaiseFloor { above, .. } => {
                    self.voided = self.voided.max(above.0);
                    self.lookups.push(effect);
                }
                Effect::RefreshMembership => return Err("there is one database".to_owned()),
                Effect::LeaveAndRejoin => {
                    self.flush();
                    self.answers.push(Event::Left);
                }
                Effect::Nack { .. } | Effect::Ack2 { .. } => {}
            }
        }
        if self.machine.next_wakeup().is_some_and(|next| next <= now) {
            return Err(format!("at {} ms it wants to wake at once", self.now));
        }
        Ok(())
    }

    /// The cache loses its grant: it answers nothing, so nothing has to stay marked.
    fn flush(&mut self) {
        self.grant = None;
        self.marks.clear();
        self.owed.clear();
    }

    fn run_cache(&mut self) -> Result<(), String> {
        match self.cache.pop_front() {
            Some(Effect::Mark { batch, mark, keys }) => {
                self.marks.extend(keys.into_iter().map(|key| (batch, key)));
                self.answers.push(Event::Marked { batch, mark });
            }
            Some(Effect::Commit { batch, changes }) => {
                for change in changes {
                    self.marks.remove(&(batch, change.key.clone()));
                    self.owed.remove(&(batch, change.key));
                }
            }
            Some(Effect::Abort { batch, keys }) => {
                for key in keys {
                    self.marks.remove(&(batch, key.clone()));
                    if self.owed.contains(&(batch, key.clone())) {
                        return Err(format!("{key} of {batch:?} landed and is unmarked"));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn publish(&mut self, chance: &mut Rng) -> Result<(), String> {
        let number = self.batches.len() as u128 + 1;
        let at = chance.below(ITEMS.len());
        let items: Vec<String> =
            (at..=at + chance.below(2)).map(|at| format!("{}/b{number}r{at}", ITEMS[at % ITEMS.len()])).collect();
        let items: Vec<&str> = items.iter().map(String::as_str).collect();
        let mut event = notification(number, 1, &items);
        if chance.below(4) == 0 {
            // Somebody repeats an earlier request, through another batch.
            let earlier = self.batches.last().and_then(|batch| batch.event.items.first().cloned());
            event.items.extend(earlier.filter(|(key, _)| !event.items.iter().any(|(known, _)| known == key)));
        }
        self.batches.push(Batch { event: event.clone(), ack: None, fate: Fate::Open, changes: Vec::new() });
        if chance.below(6) == 0 {
            Ok(())
        } else {
            self.tell(Event::Notify { event, chance: 0, known: Extent::default() })
        }
    }

    /// The database commits a batch if the row allows it; some of its requests may be refused there.
    fn commit(&mut self, at: usize, chance: &mut Rng) -> Result<(), String> {
        let Some(batch) = self.batches.get_mut(at).filter(|batch| batch.fate == Fate::Open) else { return Ok(()) };
        let id = batch.event.batch;
        if let Some((number, floor)) = self.row {
            let counts = |ack: &Ack| ack.incarnation == life(number) && ack.number.0 >= floor;
            if !batch.ack.as_ref().is_some_and(counts) {
                return Ok(());
            }
        }
        batch.fate = Fate::Landed;
        self.commits += 1;
        for (key, request_id) in &batch.event.items {
            let place = (id, key.clone());
            if self.row.is_some() && !self.marks.contains(&place) {
                return Err(format!("{key} of {id:?} lands and is not marked"));
            }
            if !self.landed.contains(request_id) && chance.below(4) > 0 {
                self.revision += 1;
                self.landed.insert(request_id.clone());
                batch.changes.push(CommittedChange::found(state(key.data_id(), self.revision)));
                if self.row.is_some() {
                    self.owed.insert(place);
                }
            }
        }
        Ok(())
    }

    /// The publisher tells how its batch ended, or gives it up and tells that.
    fn end(&mut self, at: usize) -> Result<(), String> {
        let Some(batch) = self.batches.get_mut(at) else { return Ok(()) };
        let id = batch.event.batch;
        match batch.fate {
            Fate::Landed => {
                let changes = batch.changes.clone();
                let timeline = Timeline(1);
                self.tell(Event::Commit(NotifyCommitEvent {
                    timeline,
                    batch: id,
                    revision: Version(0),
                    changes,
                    database: Fingerprint::UNKNOWN,
                }))
            }
            Fate::Open | Fate::Dead => {
                batch.fate = Fate::Dead;
                self.tell(Event::Abort(NotifyAbortEvent { batch: id }))
            }
        }
    }

    fn found(&self, request_ids: &[RequestId], keys: &[ConfigKey]) -> Found {
        Found {
            landed: request_ids.iter().filter(|id| self.landed.contains(id)).cloned().collect(),
            states: keys.iter().map(|key| state(key.data_id(), self.revision)).collect(),
        }
    }

    /// The database answers; `fails` out of 8 times it does not.
    fn answer_lookup(&mut self, fails: usize, chance: &mut Rng) {
        let reason = || "down".to_owned();
        let (failed, anyway) = (chance.below(8) < fails, chance.below(2) == 0);
        let answer = match chance.take(&mut self.lookups) {
            Some(Effect::FindRequests { batch, .. }) if failed => {
                Event::Looked { batch, result: FindResult::Failed { reason: reason() } }
            }
            Some(Effect::FindRequests { batch, request_ids, keys }) => {
                Event::Looked { batch, result: FindResult::Found(self.found(&request_ids, &keys)) }
            }
            Some(Effect::RaiseFloor { above, request_ids, keys }) => {
                let result = match &mut self.row {
                    _ if failed && !anyway => FloorResult::Failed { reason: reason() },
                    Some((number, floor)) if Some(*number) == self.grant => {
                        *floor = (*floor).max(above.0 + 1);
                        FloorResult::Raised(self.found(&request_ids, &keys))
                    }
                    _ => FloorResult::Refused,
                };
                let result = if failed { FloorResult::Failed { reason: reason() } } else { result };
                Event::Floored { above, result }
            }
            _ => return,
        };
        self.answers.push(answer);
    }

    /// The row is fenced, the node learns that it lost it, or it joins.
    fn membership(&mut self) -> Result<(), String> {
        match (self.row, self.grant) {
            (Some(_), Some(_)) => {
                self.row = None;
                // The lease is over by now: the cache answers nothing.
                self.owed.clear();
                Ok(())
            }
            (None, Some(_)) => {
                self.flush();
                self.tell(Event::Left)
            }
            (_, None) => {
                self.lives += 1;
                (self.row, self.grant) = (Some((self.lives, 0)), Some(self.lives));
                let incarnation = life(self.lives);
                self.tell(Event::Joined {
                    node: node("n"),
                    incarnation,
                    timeline: Timeline(1),
                    database: Fingerprint::UNKNOWN,
                })
            }
        }
    }

    fn step(&mut self, chance: &mut Rng) -> Result<(), String> {
        let at = self.batches.len().saturating_sub(1 + chance.below(4));
        match chance.below(24) {
            0..=2 => self.publish(chance),
            3 | 4 => {
                let Some(event) = self.batches.get(at).map(|batch| batch.event.clone()) else { return Ok(()) };
                let chance = chance.below(1 << 40) as u64 * (1 << 24);
                self.tell(Event::Notify { event, chance, known: Extent::default() })
            }
            5..=8 => self.run_cache(),
            9..=11 => {
                let Some(event) = chance.take(&mut self.answers) else { return Ok(()) };
                self.tell(event)
            }
            12 | 13 => {
                let Some((batch, ack)) = chance.take(&mut self.acks) else { return Ok(()) };
                if let Some(known) = self.batches.iter_mut().find(|known| known.event.batch == batch) {
                    known.ack = Some(ack);
                }
                Ok(())
            }
            14 | 15 => self.commit(at, chance),
            16 | 17 => self.end(at),
            18 | 19 => {
                self.answer_lookup(2, chance);
                Ok(())
            }
            20 if chance.below(8) == 0 => self.membership(),
            _ => {
                self.now += [10, 500, 3_000][chance.below(3)];
                self.tell(Event::Tick)
            }
        }
    }

    /// Publishers are silent from now on; cache and database answer.
    fn settle(&mut self, chance: &mut Rng) -> Result<(), String> {
        for _ in 0..100 {
            self.now += 1_000;
            self.tell(Event::Tick)?;
            while !self.cache.is_empty() {
                self.run_cache()?;
            }
            self.answer_lookup(0, chance);
            while let Some(event) = self.answers.pop() {
                self.tell(event)?;
            }
            if self.row.is_none() || self.grant.is_none() {
                self.membership()?;
            }
        }
        if self.machine.pending() > 0 || !self.marks.is_empty() || !self.owed.is_empty() {
            return Err(format!("left: {:?}; {:?}; {:?}", self.machine, self.marks, self.owed));
        }
        Ok(())
    }
}

fn walk(seed: u64) -> Result<usize, String> {
    let mut chance = Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let mut testbed = Testbed::new();
    testbed.membership()?;
    for _ in 0..300 {
        testbed.step(&mut chance)?;
    }
    testbed.settle(&mut chance)?;
    Ok(testbed.commits)
}

#[test]
fn invariant_marks_cover_every_commit_and_none_is_left() {
    let mut commits = 0;
    for seed in 1..=4_000 {
        commits += walk(seed).map_err(|broken| format!("seed {seed}: {broken}")).unwrap();
    }
    assert!(commits > 10_000, "only {commits} commits: the walks say little");
}
