//! How a publish runs on the node that took it: queue, notify every member, gather their acks, commit, confirm.
//!
//! [`Publisher`] is the machine; it is told events and says effects, and touches neither network nor database. The one
//! who drives it carries the effects out in the order given, and owes these events:
//! 1. Every [`Effect::Commit`] is answered by one [`Event::Committed`], every [`Effect::Resolve`] by one
//!    [`Event::Resolved`], however long that takes.
//! 2. An [`Event::Acked`] names the batch id that the member was notified of.
//! 3. [`Event::Tick`] comes at [`Publisher::next_wakeup`], or later.
//!
//! **Batch ids.** A withdrawn batch lets members answer from memory again, so none of its acks may ever count. What is
//! published again after a withdrawal (parked, membership lost, another timeline) runs under a new batch id; acks bind
//! to the id. A batch that only lacks acks keeps its id, and with it the marks that stand.
//!
//! **Certainty.** A caller hears `Failed` only while no commit of its unit can land: before the first commit was sent,
//! after the database refused or undid it, or when a look that shut out the commit did not find it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::commit::{BatchId, ChangeRow, Decision, Standing, Writes};
use crate::config::Version;
use crate::key::ConfigKey;
use crate::member::{Ack, NodeRow, Timeline};
use crate::time::Mono;
use crate::unit::{Recorded, RequestId, Unit, UnitOutcome};

mod batch;
mod queue;

use batch::{Batch, Phase, Waiting};
use queue::Queue;

/// How much may wait, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Most units that wait for a batch; more are turned away.
    pub max_queued: usize,
    /// Most keys of a batch; a unit with more is a batch of its own.
    pub max_batch_items: usize,
    /// Most bytes of content in a batch; a unit with more is a batch of its own.
    pub max_batch_bytes: usize,
    /// Most batches at once, one of them in its commit. Without other members it is always one: there is no round trip
    /// to hide, and what waits makes the next batch larger.
    pub in_flight: usize,
    /// How long members may take to acknowledge before the batch is parked and they lose their rows.
    pub ack_timeout: Duration,
    /// When those that have not acknowledged are notified again, counted from the first time.
    pub resend: [Duration; 2],
    /// How often everybody is notified again after that, so that no member gives up the batch; also the first pause of
    /// a parked batch, doubled each time.
    pub notify_repeat: Duration,
    /// How long a unit may take until its commit is sent.
    pub deadline: Duration,
    /// How often a commit that the database undid is tried again.
    pub commit_retries: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_queued: 4_096,
            max_batch_items: 256,
            max_batch_bytes: 1024 * 1024,
            in_flight: 2,
            ack_timeout: Duration::from_secs(1),
            resend: [Duration::from_millis(250), Duration::from_millis(500)],
            notify_repeat: Duration::from_secs(1),
            deadline: Duration::from_secs(15),
            commit_retries: 3,
        }
    }
}

/// Names one who waits for an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallerId(pub u64);

/// The cluster as this node last saw it in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Whether this node is a member.
    pub standing: Standing,
    /// The line of history.
    pub timeline: Timeline,
    /// Every row, the own one included when there is one.
    pub nodes: Vec<NodeRow>,
}

/// What the machine is told.
#[derive(Debug)]
pub enum Event {
    /// A unit to publish.
    Publish {
        /// What to publish.
        unit: Arc<Unit>,
        /// Who gets the outcome, once.
        caller: CallerId,
    },
    /// A member has marked every key of a batch.
    Acked {
        /// The batch id it was notified of.
        batch: BatchId,
        /// Its ack 1.
        ack: Ack,
    },
    /// A commit ended.
    Committed {
        /// Which one.
        batch: BatchId,
        /// How.
        result: CommitResult,
    },
    /// A look after a commit of unknown outcome ended.
    Resolved {
        /// Which one.
        batch: BatchId,
        /// What it found.
        result: Resolution,
    },
    /// The cluster was observed, changed or not.
    Membership(Membership),
    /// Time has passed.
    Tick,
}

/// How a commit ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitResult {
    /// The transaction ended as decided; for [`Decision::Write`] it is durable.
    Decided(Decision),
    /// The transaction is undone: nothing was written.
    Aborted {
        /// What the database said.
        reason: String,
        /// True when trying again may help.
        retry: bool,
    },
    /// Nobody knows: the transaction may have landed, or may still.
    Unknown {
        /// What happened.
        reason: String,
    },
}

/// What a look after a commit of unknown outcome found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// The own ack is taken back, so the commit can't land any more. These request ids are in the database; the others
    /// never will be by this commit.
    Landed(Vec<(RequestId, Recorded)>),
    /// Without an own row the commit can't be shut out. These request ids are in the database; the others may still come.
    LandedUncertain(Vec<(RequestId, Recorded)>),
    /// The database did not answer.
    Unresolved {
        /// Why.
        reason: String,
    },
}

/// What the driver has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send a `NotifyEvent` to these members, the own node among them.
    Notify {
        /// The batch.
        batch: BatchId,
        /// Its keys, each with the request that changes it; a key may stand twice.
        keys: Vec<(ConfigKey, RequestId)>,
        /// To whom.
        to: Vec<NodeRow>,
    },
    /// Run the commit transaction.
    Commit {
        /// The batch.
        batch: BatchId,
        /// Its units, in order.
        units: Vec<Arc<Unit>>,
        /// The timeline that must still be.
        timeline: Timeline,
        /// Whose own row has to be there.
        standing: Standing,
        /// The acks at hand.
        acks: Vec<Ack>,
    },
    /// Find out what became of a commit: with an own ack raise the own floor above its number and look in the same
    /// transaction; without one only look. The receiver is to be told of the raised floor.
    Resolve {
        /// The batch.
        batch: BatchId,
        /// Its request ids, each once.
        request_ids: Vec<RequestId>,
        /// The own ack that the commit stood on; `None` without an own row.
        ack: Option<Ack>,
    },
    /// Tell a caller how its unit came out.
    Reply {
        /// Who.
        caller: CallerId,
        /// How.
        outcome: PublishOutcome,
    },
    /// Send a `NotifyCommitEvent` to every member, the own node among them.
    Confirm {
        /// The batch.
        batch: BatchId,
        /// The timeline it was committed on.
        timeline: Timeline,
        /// What it changed; may be nothing.
        changes: Vec<ChangeRow>,
        /// The revision after it.
        revision: Version,
    },
    /// Send a `NotifyAbortEvent` to every member: the batch can never commit.
    Withdraw {
        /// The batch.
        batch: BatchId,
    },
    /// Revoke the rows of members that do not answer.
    Revoke {
        /// Which rows.
        rows: Vec<NodeRow>,
    },
    /// The own row is gone, or stands on another timeline: join again.
    Rejoin,
}

/// What a caller hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublishOutcome {
    /// Done or refused, for good.
    Settled(UnitOutcome),
    /// Turned away: too much waits already. Nothing was written.
    Busy,
    /// Given up. Nothing was written, nor will be.
    Failed {
        /// Why.
        reason: String,
    },
    /// It may have been written, or may yet be; a repetition with the same request id finds out.
    Unknown {
        /// Why.
        reason: String,
    },
}

/// The machine. See the module's page for what it owes and is owed.
#[derive(Debug)]
pub struct Publisher {
    options: Options,
    membership: Option<Membership>,
    queue: Queue,
    /// Oldest first.
    batches: VecDeque<Batch>,
    next_batch: u128,
}

impl Publisher {
    /// A machine that waits for its first [`Event::Membership`]. Batch ids count up from `first_batch`, which has to be
    /// random enough that no other node or life of this one comes near it.
    #[must_use]
    pub fn new(options: Options, first_batch: Uuid) -> Self {
        let (queue, batches) = (Queue::default(), VecDeque::new());
        Self { options, membership: None, queue, batches, next_batch: first_batch.as_u128() }
    }

    /// How many units wait for a batch.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// How many batches are under way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.batches.len()
    }

    /// When time alone makes the machine act next.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Mono> {
        let batches = self.batches.iter().filter_map(Batch::next_wakeup);
        batches.chain(self.queue.next_deadline()).min()
    }

    /// Takes one event and appends what has to be done.
    pub fn step(&mut self, now: Mono, event: Event, out: &mut Vec<Effect>) {
        match event {
            Event::Publish { unit, caller } => self.take(now, unit, caller, out),
            Event::Acked { batch, ack } => self.acked(now, batch, ack, out),
            Event::Committed { batch, result } => self.committed(now, batch, result, out),
            Event::Resolved { batch, result } => self.resolved(batch, result, out),
            Event::Membership(membership) => self.observe(now, membership, out),
            Event::Tick => {}
        }
        self.expire(now, out);
        self.run_timers(now, out);
        self.form_batches(now, out);
        self.start_commit(now, out);
    }

    fn take(&mut self, now: Mono, unit: Arc<Unit>, caller: CallerId, out: &mut Vec<Effect>) {
        if self.queue.len() >= self.options.max_queued {
            out.push(Effect::Reply { caller, outcome: PublishOutcome::Busy });
            return;
        }
        self.queue.push(Waiting { unit, caller, deadline: now.after(self.options.deadline) });
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
        let Phase::Committing { timeline, standing, .. } = &batch.phase else { return };
        let (timeline, own_ack) = (*timeline, batch.own_ack(standing));
        match result {
            CommitResult::Decided(Decision::Write(writes)) => {
                self.remove(index, |batch| settle(batch, timeline, writes, out));
            }
            CommitResult::Decided(Decision::NeedAcks(rows)) => batch.demand(now, &self.options, rows, out),
            CommitResult::Decided(Decision::NotMember | Decision::TimelineChanged(_)) => {
                batch.withdraw(Phase::Adrift, out);
                out.push(Effect::Rejoin);
            }
            CommitResult::Aborted { retry: true, .. } if batch.aborts < self.options.commit_retries => {
                batch.gather_again(now, &self.options);
            }
            CommitResult::Aborted { reason, .. } => self.remove(index, |batch| {
                batch.waiting.iter().for_each(|waiting| waiting.fail(&reason, out));
                out.push(Effect::Withdraw { batch: batch.id });
            }),
            CommitResult::Unknown { .. } => {
                batch.phase = Phase::Resolving;
                out.push(Effect::Resolve { batch: id, request_ids: batch.request_ids(), ack: own_ack });
            }
        }
    }

    /// Answers the callers of a commit whose outcome was unknown. When some of it landed, nobody here knows the changes:
    /// the marks stay, and each member finds them by its own look when it has waited long enough.
    fn resolved(&mut self, id: BatchId, result: Resolution, out: &mut Vec<Effect>) {
        let resolving = |batch: &Batch| batch.id == id && matches!(batch.phase, Phase::Resolving);
        let Some(index) = self.batches.iter().position(resolving) else { return };
        self.remove(index, |batch| match result {
            Resolution::Landed(landed) => {
                if landed.is_empty() {
                    out.push(Effect::Withdraw { batch: id });
                }
                let reason = "the commit was lost before it reached the database; nothing was written".to_owned();
                batch.waiting.iter().for_each(|waiting| {
                    waiting.reply_recorded(&landed, PublishOutcome::Failed { reason: reason.clone() }, out);
                });
            }
            Resolution::LandedUncertain(landed) => {
                let reason = "the connection to the database was lost during the commit".to_owned();
                batch.waiting.iter().for_each(|waiting| {
                    waiting.reply_recorded(&landed, PublishOutcome::Unknown { reason: reason.clone() }, out);
                });
            }
            Resolution::Unresolved { reason } => batch.waiting.iter().for_each(|waiting| {
                waiting.reply(PublishOutcome::Unknown { reason: reason.clone() }, out);
            }),
        });
    }

    fn observe(&mut self, now: Mono, membership: Membership, out: &mut Vec<Effect>) {
        let moved = self.membership.as_ref().is_some_and(|known| known.timeline != membership.timeline);
        let nodes = membership.nodes.clone();
        self.membership = Some(membership);
        for index in 0..self.batches.len() {
            let Some(batch) = self.batches.get_mut(index) else { return };
            match &batch.phase {
                Phase::Gathering(_) if moved => {
                    batch.withdraw(Phase::Adrift, out);
                    self.notify_anew(now, index, out);
                }
                Phase::Gathering(_) => batch.observe(now, &self.options, &nodes, out),
                Phase::Adrift => self.notify_anew(now, index, out),
                Phase::Parked { lacking, .. } => {
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
        const REASON: &str = "no commit could be sent in time; nothing was written";
        self.queue.expire(now).iter().for_each(|waiting| waiting.fail(REASON, out));
        for batch in &mut self.batches {
            if batch.is_at_the_database() {
                continue;
            }
            batch.waiting.extract_if(.., |waiting| waiting.deadline <= now).for_each(|late| late.fail(REASON, out));
            if batch.waiting.is_empty() && matches!(batch.phase, Phase::Gathering(_)) {
                out.push(Effect::Withdraw { batch: batch.id });
            }
        }
        self.batches.retain(|batch| !batch.waiting.is_empty());
    }

    fn run_timers(&mut self, now: Mono, out: &mut Vec<Effect>) {
        let Some(membership) = &self.membership else { return };
        for batch in &mut self.batches {
            batch.run_timers(now, &self.options, &membership.standing, out);
        }
        for index in 0..self.batches.len() {
            if self.batches.get(index).is_some_and(|batch| batch.is_rested(now)) {
                self.notify_anew(now, index, out);
            }
        }
    }

    fn form_batches(&mut self, now: Mono, out: &mut Vec<Effect>) {
        let Some(membership) = &self.membership else { return };
        let alone = membership.nodes.iter().all(|row| membership.standing == Standing::Member(row.node.clone()));
        let most = if alone { 1 } else { self.options.in_flight };
        while self.batches.len() < most {
            let taken = self.batches.iter().flat_map(Batch::keys).cloned().collect();
            let waiting = self.queue.next_batch(taken, self.options.max_batch_items, self.options.max_batch_bytes);
            if waiting.is_empty() {
                return;
            }
            self.batches.push_back(Batch::new(waiting));
            self.notify_anew(now, self.batches.len() - 1, out);
        }
    }

    /// Sends the oldest batch that everybody acknowledged to the database, unless another is there.
    fn start_commit(&mut self, now: Mono, out: &mut Vec<Effect>) {
        let Some(membership) = &self.membership else { return };
        if self.batches.iter().any(Batch::is_at_the_database) {
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
    out.push(Effect::Confirm { batch: batch.id, timeline, changes: writes.changes, revision: writes.revision });
}

fn is_same_life(one: &NodeRow, other: &NodeRow) -> bool {
    one.node == other.node && one.incarnation == other.incarnation
}

#[cfg(test)]
mod tests;
