//! What every node does with a publish, its own and those of others: mark, acknowledge, and end the marks.
//!
//! [`Receiver`] is the machine. A mark ends in three ways only: the batch's commit, its abort, or the database's word
//! after the ack was taken back. Time alone never ends one: whoever did not hear how a batch ended looks in the
//! database, and when it is not there raises the floor of its own row, so that no commit can count the ack any more.
//!
//! The contract of the one who drives it:
//! 1. Effects that concern the cache (`Mark`, `Commit`, `Abort`) are carried out in the order given; each `Mark` is
//!    answered by one [`Event::Marked`], each `FindRequests` by one [`Event::Looked`], each `RaiseFloor` by one
//!    [`Event::Floored`].
//! 2. The cache gets or loses its grant before the receiver hears [`Event::Joined`] or [`Event::Left`].
//! 3. [`Event::Tick`] comes at [`Receiver::next_wakeup`], or later.

use std::time::Duration;

use crate::commit::BatchId;
use crate::extent::{Extent, Fingerprint};
use crate::member::{Ack, AckNo, Incarnation, NodeId, Timeline};
use crate::rules::Rules;
use crate::time::Mono;

mod message;
mod pending;

pub use message::{
    Ack2, CommittedChange, Effect, Event, FindResult, FloorResult, Found, MarkNo, NotifyAbortEvent, NotifyCommitEvent,
    NotifyEvent,
};

use pending::{Entry, Pending, Stage};

/// How long to wait for the end of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How long after its last notification a batch may stay without an end.
    pub pending_timeout: Duration,
    /// At most this much is added to it, by chance.
    pub jitter: Duration,
    /// The pause after the database did not answer; doubled with each failure, up to eight times this.
    pub retry: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { pending_timeout: Duration::from_secs(3), jitter: Duration::from_secs(1), retry: Duration::from_secs(1) }
    }
}

/// The own membership.
#[derive(Debug, PartialEq, Eq)]
struct Member {
    node: NodeId,
    incarnation: Incarnation,
    timeline: Timeline,
}

impl Member {
    fn ack(&self, entry: &Entry, known: Extent) -> Effect {
        let ack = Ack { node: self.node.clone(), incarnation: self.incarnation, number: entry.number, known };
        Effect::Ack { to: entry.publisher.clone(), batch: entry.batch, ack }
    }
}

/// The machine. See the module's page for what it owes and is owed.
#[derive(Debug)]
pub struct Receiver {
    options: Options,
    member: Option<Member>,
    pending: Pending,
    /// Acks up to this number are taken back, or about to be.
    floor: AckNo,
    /// The floor that is being raised.
    raising: Option<AckNo>,
    /// The furthest commit that is known here.
    known: Extent,
    /// The database that this node asks.
    database: Fingerprint,
    failures: u32,
    pub(crate) rules: Rules<Rule>,
}

/// A rule of this file that a test can switch off, to show that its absence is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// A mark goes by the database's word only after the ack was taken back.
    Floor,
}

impl Receiver {
    /// A machine of a node that is no member yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options,
            member: None,
            pending: Pending::default(),
            floor: AckNo::default(),
            raising: None,
            known: Extent::default(),
            database: Fingerprint::UNKNOWN,
            failures: 0,
            rules: Rules::default(),
        }
    }

    /// How many batches are marked and have not ended.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// When time alone makes the machine act next.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Mono> {
        self.member.as_ref()?;
        self.pending.iter().filter(|entry| entry.stage == Stage::Waiting).map(|entry| entry.until).min()
    }

    /// Takes one event and appends what has to be done.
    pub fn step(&mut self, now: Mono, event: Event, out: &mut Vec<Effect>) {
        match event {
            Event::Notify { event, chance, known } => {
                self.known.see(known);
                self.notified(now, event, chance, out);
            }
            Event::Marked { batch, mark } => self.marked(batch, mark, out),
            Event::Commit(event) => self.committed(event, out),
            Event::Abort(NotifyAbortEvent { batch }) => {
                if let Some(entry) = self.pending.remove(batch) {
                    entry.commit(Vec::new(), out);
                }
            }
            Event::Looked { batch, result } => self.looked(now, batch, result, out),
            Event::Floored { above, result } => self.floored(now, above, result, out),
            Event::Raised { above } => self.floor = self.floor.max(above),
            Event::Joined { node, incarnation, timeline, database } => {
                self.database = database;
                let member = Member { node, incarnation, timeline };
                if self.member.as_ref() != Some(&member) {
                    self.start_over(Some(member), out);
                }
            }
            Event::Left => self.start_over(None, out),
            Event::Tick => {}
        }
        if self.member.is_some() {
            self.look_after_the_late(now, out);
            self.raise_floor(out);
        }
    }

    fn notified(&mut self, now: Mono, event: NotifyEvent, chance: u64, out: &mut Vec<Effect>) {
        let (batch, to) = (event.batch, event.publisher.clone());
        let Some(member) = &self.member else {
            return out.push(Effect::Nack { to, batch, reason: "not a member" });
        };
        if member.timeline != event.timeline {
            return out.push(Effect::Nack { to, batch, reason: "on another timeline" });
        }
        if event.database.differs_from(self.database) {
            out.push(Effect::Nack { to, batch, reason: "on another database" });
            return out.push(Effect::RefreshMembership);
        }
        let until = now.after(self.options.pending_timeout.saturating_add(share(self.options.jitter, chance)));
        let Some(entry) = self.pending.get_mut(batch) else {
            let entry = self.pending.push(event, until);
            return out.push(Effect::Mark { batch, mark: entry.mark, keys: entry.keys() });
        };
        if entry.lacks(&event.items) {
            return out.push(Effect::Nack { to, batch, reason: "the batch had other keys before" });
        }
        entry.until = until;
        if entry.stage == Stage::Doubted {
            entry.stage = Stage::Waiting;
        }
        if entry.number <= self.floor {
            self.pending.renumber(batch);
        }
        let known = self.known;
        if let Some(entry) = self.pending.get_mut(batch).filter(|entry| entry.marked) {
            out.push(member.ack(entry, known));
        }
    }

    /// The answer to an earlier mark of a batch that ended and came again says nothing: what it tells of was taken
    /// back.
    fn marked(&mut self, batch: BatchId, mark: MarkNo, out: &mut Vec<Effect>) {
        let (floor, known) = (self.floor, self.known);
        let entry = self.pending.get_mut(batch).filter(|entry| entry.mark == mark && !entry.marked);
        let (Some(member), Some(entry)) = (&self.member, entry) else { return };
        entry.marked = true;
        // An ack that is taken back already would only mislead; the next notification gets one that counts.
        if entry.number > floor {
            out.push(member.ack(entry, known));
        }
    }

    /// Ends a batch by its commit event. Without the notification there is nothing to end, but still to push.
    fn committed(&mut self, event: NotifyCommitEvent, out: &mut Vec<Effect>) {
        if event.database.differs_from(self.database) {
            return out.push(Effect::RefreshMembership);
        }
        let extent = event.extent();
        let NotifyCommitEvent { timeline, batch, changes, .. } = event;
        if self.member.as_ref().is_some_and(|member| member.timeline != timeline) {
            return;
        }
        self.known.see(extent);
        match self.pending.remove(batch) {
            Some(entry) => {
                let to = entry.publisher.clone();
                entry.commit(changes, out);
                out.push(Effect::Ack2 { to, batch });
            }
            None => pending::commit(batch, changes, out),
        }
    }

    /// A plain look ends a batch only when every request of it is there: while one is not, the commit may still come.
    fn looked(&mut self, now: Mono, batch: BatchId, result: FindResult, out: &mut Vec<Effect>) {
        let pause = self.pause(matches!(result, FindResult::Found(_)));
        let keeps_floor = self.rules.keep(Rule::Floor);
        let Some(entry) = self.pending.get_mut(batch).filter(|entry| entry.stage == Stage::Looking) else { return };
        let is_late = now >= entry.until;
        match result {
            FindResult::Found(found) if entry.is_covered_by(&found) || (is_late && !keeps_floor) => {
                if let Some(entry) = self.pending.remove(batch) {
                    entry.conclude(&found, out);
                }
            }
            FindResult::Found(_) if !is_late => entry.stage = Stage::Waiting,
            FindResult::Found(_) => entry.stage = Stage::Doubted,
            FindResult::Failed { .. } => {
                entry.stage = Stage::Waiting;
                entry.until = entry.until.max(now.after(pause));
            }
        }
    }

    /// The database's word: no commit counts an ack up to `above` any more, and what is not there now never will be.
    fn floored(&mut self, now: Mono, above: AckNo, result: FloorResult, out: &mut Vec<Effect>) {
        if self.raising != Some(above) {
            return;
        }
        self.raising = None;
        let pause = self.pause(matches!(result, FloorResult::Raised(_)));
        match result {
            FloorResult::Raised(found) => {
                self.pending.take_up_to(above).into_iter().for_each(|entry| entry.conclude(&found, out));
            }
            FloorResult::Refused => {
                self.member = None;
                out.push(Effect::LeaveAndRejoin);
            }
            FloorResult::Failed { .. } => {
                for entry in self.pending.iter_mut().filter(|entry| entry.stage == Stage::Doubted) {
                    entry.stage = Stage::Waiting;
                    entry.until = entry.until.max(now.after(pause));
                }
            }
        }
    }

    /// Another membership: acks and marks of the one before mean nothing, and the cache has dropped what they guarded.
    fn start_over(&mut self, member: Option<Member>, out: &mut Vec<Effect>) {
        self.member = member;
        self.raising = None;
        self.pending.take_all().into_iter().for_each(|entry| entry.commit(Vec::new(), out));
    }

    fn look_after_the_late(&mut self, now: Mono, out: &mut Vec<Effect>) {
        let late = |entry: &&mut Entry| entry.stage == Stage::Waiting && entry.until <= now;
        for entry in self.pending.iter_mut().filter(late) {
            entry.stage = Stage::Looking;
            out.push(Effect::FindRequests { batch: entry.batch, request_ids: entry.request_ids(), keys: entry.keys() });
        }
    }

    /// Takes back the acks up to the last doubted batch, one transaction at a time. It covers every batch before it,
    /// late or not: the publisher of one that goes on asks again and gets a new number.
    fn raise_floor(&mut self, out: &mut Vec<Effect>) {
        let doubted = self.pending.iter().filter(|entry| entry.stage == Stage::Doubted);
        let (None, Some(above)) = (self.raising, doubted.map(|entry| entry.number).max()) else { return };
        self.raising = Some(above);
        self.floor = self.floor.max(above);
        let (mut request_ids, mut keys) = (Vec::new(), Vec::new());
        for entry in self.pending.up_to(above) {
            request_ids.extend(entry.request_ids());
            keys.extend(entry.keys());
        }
        let (request_ids, keys) = (pending::once(request_ids.iter()), pending::once(keys.iter()));
        out.push(Effect::RaiseFloor { above, request_ids, keys });
    }

    /// Counts the database's failures in a row; the pause that follows from them.
    fn pause(&mut self, answered: bool) -> Duration {
        const MOST_DOUBLINGS: u32 = 3;
        let pause = self.options.retry.saturating_mul(1 << self.failures.min(MOST_DOUBLINGS));
        self.failures = if answered { 0 } else { self.failures.saturating_add(1) };
        pause
    }
}

/// The part of `most` that `chance` picks, evenly between nothing and all of it.
fn share(most: Duration, chance: u64) -> Duration {
    most.mul_f64(chance as f64 / u64::MAX as f64)
}

#[cfg(test)]
mod tests;
