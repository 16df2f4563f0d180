//! Random walks of one publisher among members and a database that decides with the real [`decide`]: messages are
//! lost, late and doubled, commits of unknown outcome land later or never, members come, go, and take acks back.
//!
//! Checked at every step: a batch lands only while every row's node holds its mark; a batch that is aborted has not
//! landed and never does; nothing that was reported as failed lands; nobody is answered twice; a unit is turned away if
//! and only if too many wait, or too much. At the end of each walk the database answers and everybody has an answer.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::*;
use crate::commit::{Row, Snapshot, decide};
use crate::time::WallMillis;

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

const NAMES: [&str; 3] = ["a", "b", "c"];
const MAX_QUEUED: usize = 6;
const MAX_QUEUED_BYTES: usize = 100;
const KEYS: [&str; 4] = ["w", "x", "y", "z"];

#[derive(Clone)]
enum Message {
    Notify { batch: BatchId, to: NodeRow },
    Abort { batch: BatchId, to: NodeId },
    Ack { batch: BatchId, ack: Ack },
}

struct Commit {
    batch: BatchId,
    units: Vec<Arc<WriteRequest>>,
    timeline: Timeline,
    standing: Standing,
    acks: Vec<Ack>,
}

struct Testbed {
    machine: Publisher,
    now: u64,
    rows: BTreeMap<&'static str, NodeRow>,
    lives: u128,
    numbers: u64,
    timeline: u64,
    revision: Version,
    states: HashMap<ConfigKey, Row>,
    requests: HashMap<RequestId, Recorded>,
    /// Which batches each node has marked, under which number.
    marks: HashMap<(NodeId, BatchId), u64>,
    messages: Vec<Message>,
    commits: Vec<Commit>,
    zombies: Vec<Commit>,
    looks: Vec<(BatchId, Vec<RequestId>, Option<Ack>)>,
    asked: u64,
    answered: BTreeSet<u64>,
    failed: HashSet<RequestId>,
    turned_away: HashSet<u64>,
    landed: HashSet<BatchId>,
    aborted: HashSet<BatchId>,
}

impl Testbed {
    fn new() -> Self {
        let options = Options { max_queued: MAX_QUEUED, max_queued_bytes: MAX_QUEUED_BYTES, ..Options::default() };
        Self {
            machine: Publisher::new(options, Uuid::from_u128(FIRST)),
            now: 0,
            rows: BTreeMap::new(),
            lives: 0,
            numbers: 0,
            timeline: 1,
            revision: Version::ZERO,
            states: HashMap::new(),
            requests: HashMap::new(),
            marks: HashMap::new(),
            messages: Vec::new(),
            commits: Vec::new(),
            zombies: Vec::new(),
            looks: Vec::new(),
            asked: 0,
            answered: BTreeSet::new(),
            failed: HashSet::new(),
            turned_away: HashSet::new(),
            landed: HashSet::new(),
            aborted: HashSet::new(),
        }
    }

    fn tell(&mut self, event: Event) -> Result<(), String> {
        let mut out = Vec::new();
        self.machine.step(Mono(Duration::from_millis(self.now)), event, &mut out);
        for effect in out {
            self.carry_out(effect)?;
        }
        let wakeup = self.machine.next_wakeup();
        if wakeup.is_some_and(|next| next <= Mono(Duration::from_millis(self.now))) {
            return Err(format!("at {} ms it wants to wake at {wakeup:?}", self.now));
        }
        Ok(())
    }

    fn carry_out(&mut self, effect: Effect) -> Result<(), String> {
        match effect {
            Effect::Notify { batch, to, .. } => {
                self.messages.extend(to.into_iter().map(|to| Message::Notify { batch, to }));
            }
            Effect::Abort { batch } => {
                self.aborted.insert(batch);
                if self.landed.contains(&batch) {
                    return Err(format!("{batch:?} has landed and is aborted"));
                }
                self.messages.extend(NAMES.map(|name| Message::Abort { batch, to: node(name) }));
            }
            Effect::WriteBatch { batch, units, timeline, standing, acks } => {
                if let Some(unit) = units.iter().find(|unit| self.failed.contains(&unit.request_id)) {
                    return Err(format!("{} was reported as failed and is committed", unit.request_id));
                }
                self.commits.push(Commit { batch, units, timeline, standing, acks });
            }
            Effect::FindOutcome { batch, request_ids, ack } => self.looks.push((batch, request_ids, ack)),
            Effect::Reply { caller, outcome } => return self.answer(caller, &outcome),
            Effect::Revoke { rows } => {
                for row in rows {
                    self.rows.retain(|_, present| !is_same_life(present, &row) || self.numbers.is_multiple_of(2));
                }
            }
            Effect::Commit { .. } | Effect::Rejoin => {}
            Effect::CommitObserved(known) => return Err(format!("nothing was lost: {known}")),
        }
        Ok(())
    }

    fn answer(&mut self, caller: CallerId, outcome: &PublishOutcome) -> Result<(), String> {
        if !self.answered.insert(caller.0) {
            return Err(format!("caller {} was answered twice", caller.0));
        }
        let id = RequestId::new(&format!("r{}", caller.0)).unwrap();
        let present = self.requests.contains_key(&id);
        if matches!(outcome, PublishOutcome::Busy) {
            self.turned_away.insert(caller.0);
        }
        match outcome {
            PublishOutcome::Failed { .. } | PublishOutcome::Rejected { .. } | PublishOutcome::Busy if present => {
                Err(format!("{id} landed and failed"))
            }
            PublishOutcome::Settled(_) if !present => Err(format!("{id} is done and not there")),
            PublishOutcome::Failed { .. } | PublishOutcome::Rejected { .. } | PublishOutcome::Busy => {
                self.failed.insert(id);
                Ok(())
            }
            PublishOutcome::Settled(_) | PublishOutcome::Unknown { .. } => Ok(()),
        }
    }

    /// The transaction, as the database runs it now.
    fn land(&mut self, commit: &Commit) -> Result<Decision, String> {
        let snapshot = Snapshot {
            can_seal: false,
            revision: self.revision,
            timeline: Timeline(self.timeline),
            nodes: self.rows.values().cloned().collect(),
            requests: self.requests.clone(),
            rows: self.states.clone(),
        };
        let decision =
            decide(snapshot, &commit.units, commit.timeline, &commit.standing, &commit.acks, WallMillis::default());
        let Decision::Write(writes) = &decision else { return Ok(decision) };
        for row in self.rows.values() {
            if !writes.changes.is_empty() && !self.marks.contains_key(&(row.node.clone(), commit.batch)) {
                return Err(format!("{:?} landed without the mark of {}", commit.batch, row.node));
            }
        }
        self.landed.insert(commit.batch);
        if self.aborted.contains(&commit.batch) {
            return Err(format!("{:?} was aborted and has landed", commit.batch));
        }
        self.revision = writes.revision;
        for request in &writes.requests {
            if self.failed.contains(&request.request_id) {
                return Err(format!("{} landed after it was reported as failed", request.request_id));
            }
            self.requests.insert(request.request_id.clone(), request.recorded.clone());
        }
        for state in &writes.states {
            let row = Row {
                version: state.version,
                formal_md5: state.formal.as_ref().map(Content::md5),
                gray: state.gray.clone(),
                metadata: state.metadata.clone(),
                created_at: state.created_at,
            };
            self.states.insert(state.key.clone(), row);
        }
        Ok(decision)
    }

    fn deliver(&mut self, message: Message) -> Result<(), String> {
        match message {
            Message::Notify { batch, to } => {
                let Some(row) = self.rows.values().find(|row| is_same_life(row, &to)).cloned() else { return Ok(()) };
                let number = self.marks.entry((row.node.clone(), batch)).or_default();
                if *number < row.ack_floor.0.max(1) {
                    self.numbers = self.numbers.max(row.ack_floor.0) + 1;
                    *number = self.numbers;
                }
                let ack = Ack {
                    node: row.node,
                    incarnation: row.incarnation,
                    number: AckNo(*number),
                    known: Extent::default(),
                };
                self.messages.push(Message::Ack { batch, ack });
                Ok(())
            }
            Message::Abort { batch, to } => {
                self.marks.remove(&(to, batch));
                Ok(())
            }
            Message::Ack { batch, ack } => self.tell(Event::Acked { batch, ack }),
        }
    }

    fn observe(&mut self) -> Result<(), String> {
        let standing = if self.rows.contains_key("a") { Standing::Member(node("a")) } else { Standing::Direct };
        let nodes = self.rows.values().cloned().collect();
        self.tell(Event::Membership(Membership {
            standing,
            timeline: Timeline(self.timeline),
            nodes,
            gate: CommitGate::Open,
        }))
    }

    /// The answer of the database to a commit, or none that is of use.
    fn answer_commit(&mut self, chance: &mut Rng) -> Result<(), String> {
        let Some(commit) = chance.take(&mut self.commits) else { return Ok(()) };
        let batch = commit.batch;
        let result = match chance.below(8) {
            0 => {
                let again = match chance.below(4) {
                    0 => Again::IsFutile,
                    1 => Again::RefusesOne,
                    _ => Again::MayHelp,
                };
                CommitResult::Aborted { reason: "lock".into(), again }
            }
            1 => {
                self.zombies.push(commit);
                CommitResult::Unknown { reason: "lost".into() }
            }
            2 => {
                self.land(&commit)?;
                CommitResult::Unknown { reason: "lost".into() }
            }
            _ => CommitResult::Decided(self.land(&commit)?),
        };
        self.tell(Event::Committed { batch, result })
    }

    fn answer_look(&mut self, chance: &mut Rng) -> Result<(), String> {
        let Some((batch, ids, ack)) = chance.take(&mut self.looks) else { return Ok(()) };
        let found = |requests: &HashMap<RequestId, Recorded>| {
            ids.iter().filter_map(|id| requests.get(id).map(|recorded| (id.clone(), recorded.clone()))).collect()
        };
        let result = match ack {
            _ if chance.below(6) == 0 => Outcome::Unresolved { reason: "down".into() },
            None => Outcome::LandedUncertain(found(&self.requests)),
            Some(ack) => {
                let own = self.rows.values_mut().find(|row| row.node == ack.node);
                if let Some(row) = own.filter(|row| row.incarnation == ack.incarnation) {
                    row.ack_floor = row.ack_floor.max(AckNo(ack.number.0 + 1));
                }
                Outcome::Landed(found(&self.requests))
            }
        };
        self.tell(Event::Resolved { batch, result })
    }

    /// A member joins, is removed, or takes its acks back and drops its marks.
    fn shake(&mut self, chance: &mut Rng) {
        let name = NAMES[chance.below(NAMES.len())];
        match (chance.below(3), self.rows.get_mut(name)) {
            (0, Some(row)) => {
                self.numbers += 1;
                row.ack_floor = AckNo(self.numbers);
                let node = row.node.clone();
                self.marks.retain(|(holder, _), _| *holder != node);
            }
            (1, Some(_)) => {
                self.rows.remove(name);
            }
            _ => {
                self.lives += 1;
                self.rows.insert(name, row(name, self.lives, 0));
                self.marks.retain(|(holder, _), _| *holder != node(name));
            }
        }
    }

    fn publish(&mut self, chance: &mut Rng) -> Result<(), String> {
        self.asked += 1;
        let at = chance.below(KEYS.len());
        let keys = if chance.below(4) == 0 { vec![KEYS[at], KEYS[(at + 1) % KEYS.len()]] } else { vec![KEYS[at]] };
        let unit = unit(self.asked, &keys, [10, 30, 150][chance.below(3)]);
        let (waited, bytes) = (self.machine.queued(), self.machine.queued_bytes() + unit.content_bytes());
        let has_room = waited == 0 || waited < MAX_QUEUED && bytes <= MAX_QUEUED_BYTES;
        self.tell(Event::Publish { unit, caller: CallerId(self.asked) })?;
        match self.turned_away.contains(&self.asked) {
            is_away if is_away == has_room => Err(format!("{waited} wait, {bytes} bytes with it: away {is_away}")),
            _ => Ok(()),
        }
    }

    fn step(&mut self, chance: &mut Rng) -> Result<(), String> {
        match chance.below(20) {
            0..=3 => self.publish(chance),
            4..=9 => {
                let Some(message) = chance.take(&mut self.messages) else { return Ok(()) };
                match chance.below(8) {
                    0 => return Ok(()),
                    1 => self.messages.push(message.clone()),
                    _ => {}
                }
                self.deliver(message)
            }
            10..=12 => self.answer_commit(chance),
            13 => self.answer_look(chance),
            14 => {
                let Some(zombie) = chance.take(&mut self.zombies) else { return Ok(()) };
                self.land(&zombie).map(drop)
            }
            15 => {
                self.shake(chance);
                Ok(())
            }
            16 | 17 => self.observe(),
            18 if chance.below(20) == 0 => {
                self.timeline += 1;
                self.rows.clear();
                Ok(())
            }
            _ => {
                self.now += [10, 200, 400, 3_000][chance.below(4)];
                self.tell(Event::Tick)
            }
        }
    }

    /// Everything still under way comes in, and the zombies too.
    fn settle(&mut self, chance: &mut Rng) -> Result<(), String> {
        for _ in 0..200 {
            self.now += 200;
            self.tell(Event::Tick)?;
            self.observe()?;
            while let Some(message) = self.messages.pop() {
                self.deliver(message)?;
            }
            self.answer_commit(chance)?;
            self.answer_look(chance)?;
            if let Some(zombie) = chance.take(&mut self.zombies) {
                self.land(&zombie)?;
            }
        }
        if self.answered.len() as u64 != self.asked
            || self.machine.queued() + self.machine.queued_bytes() + self.machine.in_flight() > 0
        {
            return Err(format!("{} asked, {} answered: {:?}", self.asked, self.answered.len(), self.machine));
        }
        Ok(())
    }
}

fn walk(seed: u64) -> Result<usize, String> {
    let mut chance = Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let mut testbed = Testbed::new();
    testbed.shake(&mut chance);
    testbed.observe()?;
    for _ in 0..250 {
        testbed.step(&mut chance)?;
    }
    testbed.settle(&mut chance)?;
    Ok(testbed.landed.len())
}

#[test]
fn invariant_failed_never_lands_marks_cover_commits_and_everybody_is_answered_once() {
    let mut landed = 0;
    for seed in 1..=4_000 {
        landed += walk(seed).map_err(|broken| format!("seed {seed}: {broken}")).unwrap();
    }
    assert!(landed > 10_000, "only {landed} commits: the walks say little");
}
