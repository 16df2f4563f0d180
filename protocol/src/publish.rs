//! How a publish runs on the node that took it: queue, notify every member, gather their acks, commit, confirm.
//!
//! [`Publisher`] is the machine; it is told events and says effects, and touches neither network nor database. The one
//! who drives it carries the effects out in the order given, and owes these events:
//! 1. Every [`Effect::WriteBatch`] is answered by one [`Event::Committed`], every [`Effect::FindOutcome`] by one
//!    [`Event::Resolved`], however long that takes.
//! 2. An [`Event::Acked`] names the batch id that the member was notified of.
//! 3. [`Event::Tick`] comes at [`Publisher::next_wakeup`], or later.
//!
//! **Batch ids.** A aborted batch lets members answer from memory again, so none of its acks may ever count. What is
//! published again after an abort (suspended, membership lost, another timeline) runs under a new batch id; acks bind
//! to the id. A batch that only lacks acks keeps its id, and with it the marks that stand.
//!
//! **Certainty.** A caller hears `Failed` only while no commit of its unit can land: before the first commit was sent,
//! after the database refused or undid it, or when a look that shut out the commit did not find it.

use std::collections::VecDeque;
use std::sync::Arc;

use uuid::Uuid;

use crate::commit::{BatchId, Decision, Standing, Writes};
use crate::lease::CommitGate;
use crate::member::{Ack, NodeRow, Timeline};
use crate::time::Mono;
use crate::write_request::WriteRequest;

mod batch;
mod message;
mod queue;

pub use message::{Again, CallerId, CommitResult, Effect, Event, Membership, Options, Outcome, PublishOutcome};

use batch::{Batch, Phase, Waiting};
use queue::Queue;

/// The machine. See the module's page for what it owes and is owed.
#[derive(Debug)]
pub struct Publisher {
    options: Options,
    membership: Option<Membership>,
    queue: Queue,
    /// Oldest first.
    batches: VecDeque<Batch>,
    next_batch: u128,
    linger: Option<Linger>,
}

/// The wait for the callers of a large batch to come back.
#[derive(Debug, Clone, Copy)]
struct Linger {
    until: Mono,
    /// Units queued that end the wait.
    enough: usize,
}

/// A batch from this size on is worth waiting for its callers.
const REGROUP_FROM: usize = 8;
/// See [`Options::linger`].
const REGROUP_SHARE: u32 = 8;

impl Publisher {
    /// A machine that waits for its first [`Event::Membership`]. Batch ids count up from `first_batch`, which has to be
    /// random enough that no other node or life of this one comes near it.
    #[must_use]
    pub fn new(options: Options, first_batch: Uuid) -> Self {
        let (queue, batches) = (Queue::default(), VecDeque::new());
        Self { options, membership: None, queue, batches, next_batch: first_batch.as_u128(), linger: None }
    }

    /// How many units wait for a batch.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Bytes of content of the units that wait for a batch.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queue.bytes()
    }

    /// How many batches are under way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.batches.len()
    }

    /// When time alone makes the machine act next.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Mono> {
        let is_open = self.membership.as_ref().is_none_or(|membership| membership.gate == CommitGate::Open);
        let batches = self.batches.iter().filter_map(|batch| batch.next_wakeup(is_open));
        let linger = self.linger.filter(|_| self.queue.len() > 0).map(|linger| linger.until);
        batches.chain(self.queue.next_deadline()).chain(linger).min()
    }

    /// Takes one event and appends what has to be done.
    pub fn step(&mut self, now: Mono, event: Event, out: &mut Vec<Effect>) {
        match event {
            Event::Publish { unit, caller } => self.take(now, unit, caller, out),
            Event::Acked { batch, ack } => self.acked(now, batch, ack, out),
            Event::Nacked { batch } => {
                if let Some(batch) = self.batches.iter_mut().find(|known| known.id == batch) {
                    batch.ask_again_soon(now);
                }
            }
            Event::Committed { batch, result } => self.committed(now, batch, result, out),
            Event::Resolved { batch, result } => self.resolved(batch, result, out),
            Event::Membership(membership) => self.observe(now, membership, out),
            Event::Tick => {}
        }
        self.expire(now, out);
        self.refuse_while_split(out);
        self.run_timers(now, out);
        self.form_batches(now, out);
        self.start_commit(now, out);
    }

    fn take(&mut self, now: Mono, unit: Arc<WriteRequest>, caller: CallerId, out: &mut Vec<Effect>) {
        let bytes = self.queue.bytes().saturating_add(unit.content_bytes());
        let is_too_much = self.queue.len() > 0 && bytes > self.options.max_queued_bytes;
        if is_too_much || self.queue.len() >= self.options.max_queued {
            out.push(Effect::Reply { caller, outcome: PublishOutcome::Busy });
            return;
        }
        let deadline = now.after(self.options.deadline);
        self.queue.push(Waiting { unit, caller, deadline, company: usize::MAX });
    }

    fn acked(&mut self, now: Mono, batch: BatchId, ack: Ack, out: &mut Vec<Effect>) {
        let Some(index) = self.batches.iter().position(|known| known.id == batch) else { return };
        let Some(batch) = self.batches.get_mut(index) else { return };
        if batch.is_waiting_for(&ack) {
            self.notify_anew(now, index, out);
        } else {
            batch.take_ack(ack);
        }
    }

    fn committed(&mut self, now: Mono, id: BatchId, result: CommitResult, out: &mut Vec<Effect>) {
        let Some(index) = self.batches.iter().position(|batch| batch.id == id) else { return };
        let Some(batch) = self.batches.get_mut(index) else { return };
        let Phase::Committing { timeline, standing, sent, .. } = &batch.phase else { return };
        let (timeline, own_ack, took) = (*timeline, batch.own_ack(standing), now.since(*sent));
        match result {
            CommitResult::Decided(Decision::Write(writes)) => {
                let answered = batch.waiting.len();
                let [least, most] = self.options.linger;
                if answered >= REGROUP_FROM && !most.is_zero() {
                    // Most of them are enough: some callers have nothing more to publish.
                    let enough = self.queue.len() + answered - answered / 4;
                    let enough = enough.min(self.options.max_batch_items);
                    self.linger = Some(Linger { until: now.after((took / REGROUP_SHARE).clamp(least, most)), enough });
                }
                self.remove(index, |batch| settle(batch, timeline, writes, out));
            }
            CommitResult::Decided(Decision::NeedAcks(rows)) => batch.demand(now, &self.options, rows, out),
            CommitResult::Decided(Decision::NotMember | Decision::TimelineChanged(_)) => {
                batch.abort(Phase::AwaitingMembership, out);
                out.push(Effect::Rejoin);
            }
            // The acks bind to what the database was; it begins another timeline before anything is committed.
            CommitResult::Decided(Decision::Behind(known)) => {
                batch.abort(Phase::AwaitingMembership, out);
                out.push(Effect::CommitObserved(known));
            }
            CommitResult::Aborted { again: Again::MayHelp, .. } if batch.aborts < self.options.commit_retries => {
                batch.gather_again(now, &self.options);
            }
            CommitResult::Aborted { again, .. } if again != Again::MayHelp && batch.waiting.len() > 1 => {
                self.isolate(index, out);
            }
            CommitResult::Aborted { again: Again::RefusesOne, reason } => self.remove(index, |batch| {
                let outcome = PublishOutcome::Rejected { reason };
                batch.waiting.iter().for_each(|waiting| waiting.reply(outcome.clone(), out));
                out.push(Effect::Abort { batch: batch.id });
            }),
            CommitResult::Aborted { reason, .. } => self.remove(index, |batch| {
                batch.waiting.iter().for_each(|waiting| waiting.fail(&reason, out));
                out.push(Effect::Abort { batch: batch.id });
            }),
            CommitResult::Unknown { .. } => {
                batch.phase = Phase::Resolving;
                out.push(Effect::FindOutcome { batch: id, request_ids: batch.request_ids(), ack: own_ack });
            }
        }
    }

    /// The database does not take one unit of the batch: halves of it are tried by themselves, and halves of those,
    /// until the guilty one is alone. The others go through.
    fn isolate(&mut self, index: usize, out: &mut Vec<Effect>) {
        let Some(batch) = self.batches.remove(index) else { return };
        out.push(Effect::Abort { batch: batch.id });
        let company = batch.waiting.len() / 2;
        self.queue.put_back(batch.waiting.into_iter().map(|waiting| Waiting { company, ..waiting }));
    }

    /// Answers the callers of a commit whose outcome was unknown. When some of it landed, nobody here knows the
    /// changes: the marks stay, and each member finds them by its own look when it has waited long enough.
    fn resolved(&mut self, id: BatchId, result: Outcome, out: &mut Vec<Effect>) {
        let resolving = |batch: &Batch| batch.id == id && matches!(batch.phase, Phase::Resolving);
        let Some(index) = self.batches.iter().position(resolving) else { return };
        self.remove(index, |batch| match result {
            Outcome::Landed(landed) => {
                if landed.is_empty() {
                    out.push(Effect::Abort { batch: id });
                }
                let reason = "the commit was lost before it reached the database".to_owned();
                batch.waiting.iter().for_each(|waiting| {
                    waiting.reply_recorded(&landed, PublishOutcome::Failed { reason: reason.clone() }, out);
                });
            }
            Outcome::LandedUncertain(landed) => {
                let reason = "the connection to the database was lost during the commit".to_owned();
                batch.waiting.iter().for_each(|waiting| {
                    waiting.reply_recorded(&landed, PublishOutcome::Unknown { reason: reason.clone() }, out);
                });
            }
            Outcome::Unresolved { reason } => batch.waiting.iter().for_each(|waiting| {
                waiting.reply(PublishOutcome::Unknown { reason: reason.clone() }, out);
            }),
        });
    }

    fn observe(&mut self, now: Mono, membership: Membership, out: &mut Vec<Effect>) {
        let moved = self.membership.as_ref().is_some_and(|known| known.timeline != membership.timeline);
        let was_shut = self.membership.as_ref().is_some_and(|known| known.gate != CommitGate::Open);
        let opens = was_shut && membership.gate == CommitGate::Open;
        let nodes = membership.nodes.clone();
        self.membership = Some(membership);
        for index in 0..self.batches.len() {
            let Some(batch) = self.batches.get_mut(index) else { return };
            match &batch.phase {
                Phase::Gathering(_) if moved => {
                    batch.abort(Phase::AwaitingMembership, out);
                    self.notify_anew(now, index, out);
                }
                Phase::Gathering(_) => {
                    batch.observe(now, &self.options, &nodes, out);
                    if opens {
                        batch.ask_again(now, &self.options, out);
                    }
                }
                Phase::AwaitingMembership => self.notify_anew(now, index, out),
                Phase::Suspended { lacking, .. } => {
                    let remains = |row: &NodeRow| nodes.iter().any(|node| is_same_life(node, row));
                    if !lacking.iter().any(remains) {
                        self.notify_anew(now, index, out);
                    }
                }
                Phase::Committing { .. } | Phase::Resolving => {}
            }
        }
    }

    /// Fails the units whose time is up and whose commit is not under way.
    fn expire(&mut self, now: Mono, out: &mut Vec<Effect>) {
        const REASON: &str = "no commit could be sent in time";
        self.queue.expire(now).iter().for_each(|waiting| waiting.fail(REASON, out));
        for batch in &mut self.batches {
            if batch.is_at_the_database() {
                continue;
            }
            batch.waiting.extract_if(.., |waiting| waiting.deadline <= now).for_each(|late| late.fail(REASON, out));
            if batch.waiting.is_empty() && matches!(batch.phase, Phase::Gathering(_)) {
                out.push(Effect::Abort { batch: batch.id });
            }
        }
        self.batches.retain(|batch| !batch.waiting.is_empty());
    }

    /// Fails everything that is not at the database while another node has its lease in another one: whatever was
    /// committed here would not be there.
    fn refuse_while_split(&mut self, out: &mut Vec<Effect>) {
        let Some(CommitGate::Split(split)) = self.membership.as_ref().map(|membership| &membership.gate) else {
            return;
        };
        let reason = split.to_string();
        self.queue.take_all().iter().for_each(|waiting| waiting.fail(&reason, out));
        for batch in self.batches.iter_mut().filter(|batch| !batch.is_at_the_database()) {
            batch.waiting.drain(..).for_each(|waiting| waiting.fail(&reason, out));
            out.push(Effect::Abort { batch: batch.id });
        }
        self.batches.retain(|batch| !batch.waiting.is_empty());
    }

    fn run_timers(&mut self, now: Mono, out: &mut Vec<Effect>) {
        let Some(membership) = &self.membership else { return };
        for batch in &mut self.batches {
            batch.run_timers(now, &self.options, membership, out);
        }
        self.batches.retain(|batch| !batch.waiting.is_empty());
        for index in 0..self.batches.len() {
            if self.batches.get(index).is_some_and(|batch| batch.backoff_elapsed(now)) {
                self.notify_anew(now, index, out);
            }
        }
    }

    fn form_batches(&mut self, now: Mono, out: &mut Vec<Effect>) {
        let Some(membership) = &self.membership else { return };
        if self.linger.is_some_and(|linger| now < linger.until && self.queue.len() < linger.enough) {
            return;
        }
        self.linger = None;
        let alone = membership.nodes.iter().all(|row| membership.standing == Standing::Member(row.node.clone()));
        let most = if alone { 1 } else { self.options.in_flight };
        while self.batches.len() < most && self.is_worth_a_batch() {
            let taken = self.batches.iter().flat_map(Batch::keys).cloned().collect();
            let waiting = self.queue.next_batch(taken, self.options.max_batch_items, self.options.max_batch_bytes);
            if waiting.is_empty() {
                return;
            }
            self.batches.push_back(Batch::new(waiting));
            self.notify_anew(now, self.batches.len() - 1, out);
        }
    }

    /// Commits of all nodes take turns at the database: what waits there anyhow is better spent on a larger batch. So
    /// beside a batch of some size the next one is notified only when it will be much larger.
    fn is_worth_a_batch(&self) -> bool {
        const SMALL: usize = 4;
        let under_way: usize = self.batches.iter().map(|batch| batch.waiting.len()).sum();
        under_way <= SMALL || self.queue.len() >= (2 * under_way).min(self.options.max_batch_items)
    }

    /// Sends the oldest batch that everybody acknowledged to the database, unless another is there.
    fn start_commit(&mut self, now: Mono, out: &mut Vec<Effect>) {
        let Some(membership) = &self.membership else { return };
        if membership.gate != CommitGate::Open || self.batches.iter().any(Batch::is_at_the_database) {
            return;
        }
        let ready = self.batches.iter_mut().find(|batch| batch.is_ready(&membership.standing));
        if let Some(batch) = ready {
            batch.commit(now, &self.options, membership, out);
        }
    }

    /// Notifies every known row of a batch whose id nobody has heard yet.
    fn notify_anew(&mut self, now: Mono, index: usize, out: &mut Vec<Effect>) {
        let id = self.next_id();
        let nodes = self.membership.as_ref().map_or_else(Vec::new, |membership| membership.nodes.clone());
        if let Some(batch) = self.batches.get_mut(index) {
            batch.notify_anew(now, &self.options, id, nodes, out);
        }
    }

    fn next_id(&mut self) -> BatchId {
        let id = BatchId(Uuid::from_u128(self.next_batch));
        self.next_batch = self.next_batch.wrapping_add(1);
        id
    }

    fn remove(&mut self, index: usize, end: impl FnOnce(Batch)) {
        if let Some(batch) = self.batches.remove(index) {
            end(batch);
        }
    }
}

/// Answers the callers of a durable commit, then confirms it to the members.
fn settle(batch: Batch, timeline: Timeline, writes: Writes, out: &mut Vec<Effect>) {
    let mut outcomes = writes.outcomes.into_iter();
    for waiting in &batch.waiting {
        let outcome = outcomes.next().map_or_else(
            || PublishOutcome::Unknown { reason: "the commit told no outcome".to_owned() },
            PublishOutcome::Settled,
        );
        waiting.reply(outcome, out);
    }
    out.push(Effect::Commit { batch: batch.id, timeline, changes: writes.changes, revision: writes.revision });
}

fn is_same_life(one: &NodeRow, other: &NodeRow) -> bool {
    one.node == other.node && one.incarnation == other.incarnation
}

#[cfg(test)]
mod tests;
