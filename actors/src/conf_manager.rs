//! The door for all writes: queues publishes, packs them into batches and drives each through notify, ack and commit.
//!
//! Owns the publisher machine (`callboard_protocol::publish`), the reply channels of those who wait, and nothing else:
//! when a batch may commit, what it writes and how it is answered is decided in the protocol crate.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Handler, Message, Recipient};
use callboard_protocol::access::audit;
use callboard_protocol::commit::BatchId;
use callboard_protocol::error_code::ErrorCode;
use callboard_protocol::member::Ack;
use callboard_protocol::publish::{
    Again, CallerId, CommitResult, Effect, Event, Membership, Options, Outcome, PublishOutcome, Publisher,
};
use callboard_protocol::time::Mono;
use callboard_protocol::write_request::{Effect as KeyEffect, RequestId, WriteOutcome, WriteRequest};
use serde_json::json;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::audit::Trail;
use crate::clock::SharedClock;
use crate::cluster_notify::{self, Abort, Acked, ClusterNotify, Commit, FindOutcome, Nacked, Notify};
use crate::lease_keeper::{self, LeaseKeeper, MembershipChanged, Rejoin, Revoke};
use crate::metrics::{OutcomeLabel, PublishMetrics, StageLabel};
use crate::monitored;
use crate::runtime::{Alarm, Context, Observable};
use crate::store::{Cause, CommitError};
use crate::store_writer::WriteBatch;
use crate::subscription::keep_subscribed;

/// Publishes a unit. Sent with `do_send`: it is never skipped because its caller stopped waiting. When the reply
/// channel is dropped without a reply, the outcome is unknown.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Publish {
    /// What to publish.
    pub unit: Arc<WriteRequest>,
    /// Whom to answer.
    pub reply: oneshot::Sender<PublishOutcome>,
}

/// Asks how many publishes are queued or under way.
#[derive(Debug, Message)]
#[rtype(result = "usize")]
pub struct CountOpen;

/// Asks why publishes fail, if the last one that ended did so a moment ago. Nothing is said any more after a while
/// without another one: whether the next would succeed is not known then.
#[derive(Debug, Message)]
#[rtype(result = "Option<String>")]
pub struct GetStall;

/// How long a publish that failed says that others would.
const STALL_IS_NEWS_FOR: Duration = Duration::from_secs(30);

/// The actors below.
#[derive(Debug, Clone)]
pub struct Deps {
    /// Carries events between nodes.
    pub cluster_notify: Addr<ClusterNotify>,
    /// Every transaction.
    pub writer: Recipient<WriteBatch>,
    /// The membership.
    pub lease_keeper: Addr<LeaseKeeper>,
    /// Where it is told what was asked for and not written.
    pub audit: Trail,
}

struct Caller {
    unit: Arc<WriteRequest>,
    reply: oneshot::Sender<PublishOutcome>,
    since: Mono,
}

/// The door for writes.
pub struct ConfManager {
    publisher: Publisher,
    deps: Deps,
    clock: SharedClock,
    metrics: PublishMetrics,
    callers: HashMap<CallerId, Caller>,
    next_caller: u64,
    /// When each batch was notified, for the figures.
    notified: HashMap<BatchId, Mono>,
    /// When the last publish ended, and why, if that one failed before its commit.
    stall: Option<(Mono, String)>,
    alarm: Alarm<Mono>,
}

impl ConfManager {
    /// A manager that publishes through `deps`.
    #[must_use]
    pub fn new(options: Options, deps: Deps, clock: SharedClock, metrics: PublishMetrics) -> Self {
        Self {
            publisher: Publisher::new(options, Uuid::new_v4()),
            deps,
            clock,
            metrics,
            callers: HashMap::new(),
            next_caller: 0,
            notified: HashMap::new(),
            stall: None,
            alarm: Alarm::default(),
        }
    }

    /// Gives the machine an event and does what it says.
    fn step(&mut self, event: Event, context: &mut Context<Self>) {
        let now = self.clock.mono();
        let mut effects = Vec::new();
        self.publisher.step(now, event, &mut effects);
        for effect in effects {
            self.perform(now, effect, context);
        }
        self.metrics.queued.set(i64::try_from(self.publisher.queued()).unwrap_or(i64::MAX));
        self.metrics.queued_bytes.set(i64::try_from(self.publisher.queued_bytes()).unwrap_or(i64::MAX));
        let next = self.publisher.next_wakeup();
        self.alarm.set(next, |at| at.since(now), context, |manager, context| manager.step(Event::Tick, context));
    }

    fn perform(&mut self, now: Mono, effect: Effect, context: &mut Context<Self>) {
        match effect {
            Effect::Notify { batch, keys, to } => {
                self.notified.entry(batch).or_insert(now);
                // Loss is repaired: the machine notifies again until every ack is in.
                self.deps.cluster_notify.do_send(Notify { batch, items: keys, to });
            }
            Effect::WriteBatch { batch, units, timeline, standing, acks } => {
                if let Some(notified) = self.notified.remove(&batch) {
                    self.observe("acks", now.since(notified));
                }
                self.commit(batch, WriteBatch { units, timeline, standing, acks, at: self.clock.wall() }, context);
            }
            Effect::FindOutcome { batch, request_ids, ack } => self.resolve(batch, request_ids, ack, context),
            Effect::Reply { caller, outcome } => self.reply(now, caller, outcome),
            // Loss is repaired: who misses it looks in the database when its mark times out, and in the feed.
            Effect::Commit { batch, timeline, changes, revision } => {
                self.notified.remove(&batch);
                self.deps.cluster_notify.do_send(Commit { batch, timeline, changes, revision });
            }
            // Loss is repaired: who misses it looks in the database when its mark times out.
            Effect::Abort { batch } => {
                self.notified.remove(&batch);
                self.deps.cluster_notify.do_send(Abort { batch });
            }
            // Loss is repaired: the batch is parked again and the rows are revoked then.
            Effect::Revoke { rows } => self.deps.lease_keeper.do_send(Revoke { rows }),
            // Loss is repaired: whoever is asked for an ack again knows the same.
            Effect::CommitObserved(extent) => {
                self.deps.lease_keeper.do_send(lease_keeper::CommitObserved(extent));
                self.deps.lease_keeper.do_send(lease_keeper::RefreshMembership);
            }
            Effect::Rejoin => self.deps.lease_keeper.do_send(Rejoin),
        }
    }

    fn commit(&mut self, batch: BatchId, commit: WriteBatch, context: &mut Context<Self>) {
        let writer = self.deps.writer.clone();
        // No deadline: the outcome of a commit is waited for until it is known; the machine answers callers in time.
        let committing = async move { writer.send(commit).await };
        context.spawn(wrap_future(committing).map(move |result, manager: &mut Self, context| {
            let result = match result {
                Ok(Ok(decision)) => CommitResult::Decided(decision),
                // What the database said is in the log; callers are told the kind.
                Ok(Err(CommitError::Aborted { cause, .. })) => {
                    CommitResult::Aborted { reason: cause.to_string(), again: again_after(cause) }
                }
                Ok(Err(CommitError::Unknown { cause, .. })) => CommitResult::Unknown { reason: cause.to_string() },
                Err(error) => CommitResult::Unknown { reason: error.to_string() },
            };
            // What the database does not do the writer of the store knows, and when it does it again.
            let stall = matches!(result, CommitResult::Aborted { .. }).then(|| manager.stall.take());
            manager.step(Event::Committed { batch, result }, context);
            if let Some(before) = stall {
                manager.stall = before;
            }
        }));
    }

    /// Has a commit looked for, and waits for what comes of it: until then nothing else is committed.
    fn resolve(&self, batch: BatchId, request_ids: Vec<RequestId>, ack: Option<Ack>, context: &mut Context<Self>) {
        let (reply, found) = oneshot::channel();
        self.deps.cluster_notify.do_send(FindOutcome { request_ids, ack, reply });
        context.spawn(wrap_future(found).map(move |found, manager: &mut Self, context| {
            // It was notified again while it committed, for as long as nothing was known of it.
            manager.notified.remove(&batch);
            let result = found.unwrap_or_else(|_dropped| Outcome::Unresolved {
                reason: "the look for the commit was broken off".to_owned(),
            });
            manager.step(Event::Resolved { batch, result }, context);
        }));
    }

    fn reply(&mut self, now: Mono, caller: CallerId, outcome: PublishOutcome) {
        let Some(caller) = self.callers.remove(&caller) else { return };
        match &outcome {
            PublishOutcome::Settled(_) => self.stall = None,
            PublishOutcome::Failed { reason } => self.stall = Some((now, reason.clone())),
            PublishOutcome::Rejected { .. } | PublishOutcome::Busy | PublishOutcome::Unknown { .. } => {}
        }
        let label = match &outcome {
            PublishOutcome::Settled(WriteOutcome::Done { .. }) => "done",
            PublishOutcome::Settled(WriteOutcome::Refused(_)) => "refused",
            PublishOutcome::Busy => "busy",
            PublishOutcome::Failed { .. } => "failed",
            PublishOutcome::Rejected { .. } => "rejected",
            PublishOutcome::Unknown { .. } => "unknown",
        };
        self.metrics.outcomes.get_or_create(&OutcomeLabel { outcome: label }).inc();
        self.observe("total", now.since(caller.since));
        self.tell_of_unwritten(&caller.unit, &outcome);
        // A caller that went away has its request id to come back with.
        drop(caller.reply.send(outcome));
    }

    /// What was written is in a record of its transaction.
    fn tell_of_unwritten(&self, unit: &WriteRequest, outcome: &PublishOutcome) {
        let (came, code) = match outcome {
            PublishOutcome::Settled(WriteOutcome::Done { items, replayed }) => {
                let is_news = !replayed && items.iter().all(|item| item.effect == KeyEffect::Unchanged);
                if !is_news {
                    return;
                }
                (audit::Outcome::Unchanged, None)
            }
            PublishOutcome::Settled(WriteOutcome::Refused(refusal)) => (audit::Outcome::Refused, Some(refusal.code())),
            PublishOutcome::Busy => (audit::Outcome::Refused, Some(ErrorCode::Overloaded)),
            PublishOutcome::Failed { .. } => (audit::Outcome::Refused, Some(ErrorCode::Unavailable)),
            PublishOutcome::Rejected { .. } => (audit::Outcome::Refused, Some(ErrorCode::Rejected)),
            PublishOutcome::Unknown { .. } => (audit::Outcome::Unknown, Some(ErrorCode::OutcomeUnknown)),
        };
        if self.deps.audit.is_on() {
            for event in audit::Event::of_unwritten(unit, self.clock.wall(), came, code) {
                self.deps.audit.note(|_| event);
            }
        }
    }

    fn observe(&self, stage: &'static str, took: Duration) {
        self.metrics.stage_seconds.get_or_create(&StageLabel { stage }).observe(took.as_secs_f64());
    }
}

/// What to expect of a transaction that was undone for this.
fn again_after(cause: Cause) -> Again {
    match cause {
        Cause::Refused => Again::RefusesOne,
        cause if cause.passes() => Again::MayHelp,
        _ => Again::IsFutile,
    }
}

impl Actor for ConfManager {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let (notify, keeper) = (self.deps.cluster_notify.clone(), self.deps.lease_keeper.clone());
        keep_subscribed(context, async move |me| {
            let (acks, nacks) = (me.clone().recipient(), me.recipient());
            notify.send(cluster_notify::Subscribe { acks, nacks }).await
        });
        keep_subscribed(context, async move |me| keeper.send(lease_keeper::Subscribe(me.recipient())).await);
    }
}

monitored!(ConfManager, "conf_manager");

impl Observable for ConfManager {
    fn observe(&self) -> serde_json::Value {
        json!({
            "queued": self.publisher.queued(),
            "queued_bytes": self.publisher.queued_bytes(),
            "in_flight": self.publisher.in_flight(),
            "waiting_callers": self.callers.len(),
            "timed_batches": self.notified.len(),
        })
    }
}

impl Handler<Publish> for ConfManager {
    type Result = ();

    fn handle(&mut self, Publish { unit, reply }: Publish, context: &mut Context<Self>) {
        self.next_caller += 1;
        let caller = CallerId(self.next_caller);
        self.callers.insert(caller, Caller { unit: Arc::clone(&unit), reply, since: self.clock.mono() });
        self.step(Event::Publish { unit, caller }, context);
    }
}

impl Handler<Acked> for ConfManager {
    type Result = ();

    fn handle(&mut self, Acked { batch, ack }: Acked, context: &mut Context<Self>) {
        self.step(Event::Acked { batch, ack }, context);
    }
}

impl Handler<Nacked> for ConfManager {
    type Result = ();

    fn handle(&mut self, Nacked { batch }: Nacked, context: &mut Context<Self>) {
        self.step(Event::Nacked { batch }, context);
    }
}

impl Handler<MembershipChanged> for ConfManager {
    type Result = ();

    fn handle(&mut self, changed: MembershipChanged, context: &mut Context<Self>) {
        let MembershipChanged { node, incarnation, timeline, rows, gate, .. } = changed;
        self.step(Event::Membership(Membership::of(&node, incarnation, timeline, (&rows, gate))), context);
    }
}

impl Handler<GetStall> for ConfManager {
    type Result = Option<String>;

    fn handle(&mut self, GetStall: GetStall, _: &mut Context<Self>) -> Option<String> {
        let is_news = |since: Mono| self.clock.mono().since(since) < STALL_IS_NEWS_FOR;
        self.stall.as_ref().filter(|(since, _)| is_news(*since)).map(|(_, reason)| reason.clone())
    }
}

impl Handler<CountOpen> for ConfManager {
    type Result = usize;

    fn handle(&mut self, CountOpen: CountOpen, _: &mut Context<Self>) -> usize {
        self.callers.len()
    }
}

#[cfg(test)]
mod tests;
