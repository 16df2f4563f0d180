//! A client's side of its work at the database: the steps of each transaction, and what the machines hear of its end.
//! A client that has waited long enough gives up; what it sent lives on.

use std::sync::Arc;

use super::database::{Answer, OnRow, OpId, Request};
use super::faults::Fault;
use super::mail::{Mail, ToNotify};
use super::plan::{MILLISECOND, SECOND};
use super::variants::Variant;
use super::world::{What, World};
use crate::cache::Token;
use crate::commit::{BatchId, Decision, Standing, decide};
use crate::config::{SharedState, Version};
use crate::key::ConfigKey;
use crate::lease::{self, FenceResult, JoinResult, Observation, RenewResult};
use crate::member::{Ack, AckNo, Incarnation, Timeline};
use crate::publish::{self, CommitResult, Resolution};
use crate::receiver::{self, FloorResult, Found, LookResult};
use crate::time::WallMillis;
use crate::unit::{Recorded, RequestId, Unit};

/// A look after a commit of unknown outcome.
#[derive(Debug, Clone)]
pub(super) struct Resolving {
    pub(super) batch: BatchId,
    pub(super) ids: Vec<RequestId>,
    pub(super) ack: Option<Ack>,
    pub(super) tries: usize,
    /// The own row is gone, so that no commit can land any more.
    pub(super) rowless: bool,
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum Task {
    Commit { batch: BatchId, units: Vec<Arc<Unit>>, timeline: Timeline, standing: Standing, acks: Vec<Ack> },
    Join(Incarnation),
    Floor { above: AckNo, incarnation: Incarnation, ids: Vec<RequestId>, keys: Vec<ConfigKey> },
    ResolveFloor(Resolving),
    ResolveLook(Resolving),
    Renew(Incarnation),
    Observe,
    Fence { node: usize, incarnation: Incarnation, seq: u64 },
    Revoke { node: usize, incarnation: Incarnation },
    Release(Incarnation),
    Load(Option<Token>),
    Look { batch: BatchId, ids: Vec<RequestId>, keys: Vec<ConfigKey> },
    Feed { after: Option<Version> },
    Session { subscriber: usize, connection: u32, after: Version },
}

/// Work under way.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) task: Task,
    stage: u8,
    pub(super) commit_sent: bool,
    decision: Option<Decision>,
    rows: Option<Observation>,
    found: Option<(Vec<(RequestId, Recorded)>, Vec<SharedState>)>,
    /// Whoever asked does not listen any more, but nobody has told the task.
    detached: bool,
}

impl Work {
    pub(super) fn renews(&self) -> bool {
        matches!(self.task, Task::Renew(_))
    }

    /// The one that asked is gone: the publisher, or the receiver.
    pub(super) fn forget(&mut self, publisher: bool) {
        let publishes =
            matches!(self.task, Task::Commit { .. } | Task::ResolveFloor(_) | Task::ResolveLook(_));
        let receives = matches!(self.task, Task::Floor { .. } | Task::Look { .. });
        self.detached |= if publisher { publishes } else { receives };
    }
}

/// What comes next.
enum Next {
    Ask(Request),
    /// The transaction is given up by its client, and this is the end.
    End,
}

impl World {
    /// Begins a piece of work of a node.
    pub(super) fn begin(&mut self, node: usize, task: Task) {
        let op = self.next_op(node);
        let request = match &task {
            Task::Commit { .. } | Task::Join(_) | Task::Floor { .. } => Request::Lock,
            Task::ResolveFloor(_) => Request::Lock,
            Task::ResolveLook(resolving) if self.broken.is(Variant::NoSelfFence) => {
                Request::Look(resolving.ids.clone(), Vec::new())
            }
            Task::ResolveLook(_) => Request::Lock,
            Task::Renew(life) => Request::Statement(node, OnRow::Renew(*life)),
            Task::Observe => Request::ReadRows,
            Task::Fence { node, incarnation, seq } => Request::Statement(*node, OnRow::Fence(*incarnation, *seq)),
            Task::Revoke { node, incarnation } => Request::Statement(*node, OnRow::Revoke(*incarnation)),
            Task::Release(life) => Request::Statement(node, OnRow::Release(*life)),
            Task::Load(Some(token)) => Request::Load(token.key().clone()),
            Task::Load(None) => return,
            Task::Look { ids, keys, .. } => Request::Look(ids.clone(), keys.clone()),
            Task::Feed { after } => Request::Feed(after.unwrap_or(Version(u64::MAX))),
            Task::Session { after, .. } => Request::Feed(*after),
        };
        let patience = match &task {
            Task::Load(_) => self.chance.between(SECOND, 5 * SECOND),
            _ => self.chance.between(SECOND, 6 * SECOND),
        };
        let slow = matches!(task, Task::Load(_)) && self.chance.permille(self.faults().slow_loads);
        let work =
            Work { task, stage: 0, commit_sent: false, decision: None, rows: None, found: None, detached: false };
        self.nodes[node].works.insert(op, work);
        self.after_for(node, patience, Mail::GiveUp(op));
        let mut delay = if slow { self.chance.spread(MILLISECOND, 2 * SECOND) } else { self.hop(node) };
        match request {
            Request::Statement(_, OnRow::Renew(_)) => self.moment(node),
            Request::Statement(other, OnRow::Fence(..)) if self.chance.permille(self.faults().races) => {
                // Whom it is about comes back at this very moment.
                let process = self.nodes[other].process;
                self.after(0, What::Fault(Fault::Resume(other, process)));
                self.racing = Some(other);
                delay += self.chance.spread(400, 50 * MILLISECOND);
            }
            _ => {}
        }
        self.after(delay, What::Arrive(op, request));
    }

    fn send_on(&mut self, op: OpId, request: Request) {
        let mut delay = self.hop(op.node);
        if matches!(request, Request::Commit) {
            if let Some(work) = self.nodes[op.node].works.get_mut(&op) {
                work.commit_sent = true;
            }
            if self.chance.permille(self.faults().broken_commits) {
                // The client's end breaks at once; the request goes on its way, or has been on it.
                delay = self.chance.spread(MILLISECOND, 2_900 * MILLISECOND);
                let soon = self.chance.spread(MILLISECOND, 500 * MILLISECOND);
                self.after_for(op.node, soon, Mail::Answer(op, Answer::Broken));
            }
            self.moment(op.node);
        }
        self.after(delay, What::Arrive(op, request));
    }

    /// The client has waited long enough. A task that was only asked by somebody else may not know it.
    pub(super) fn give_up(&mut self, op: OpId) {
        let Some(work) = self.nodes[op.node].works.get_mut(&op) else { return };
        let goes_on = matches!(work.task, Task::Join(_) | Task::Floor { .. } | Task::ResolveFloor(_));
        if work.detached {
            return;
        }
        if goes_on && self.chance.one_in(2) {
            work.detached = true;
            let task = work.task.repeated();
            return self.ended(op, task, None);
        }
        self.close(op);
    }

    /// The connection is given up: the task ends without an answer, and the database notices in time.
    fn close(&mut self, op: OpId) {
        let Some(work) = self.nodes[op.node].works.remove(&op) else { return };
        if work.commit_sent {
            self.checks.zombies.insert(op);
        }
        let noticed = self.chance.spread(MILLISECOND, 3 * SECOND);
        self.after(noticed, What::Closed(op));
        if !work.detached {
            let unknown = work.commit_sent;
            self.ended(op, work.task, unknown.then_some(Answer::Broken));
        }
    }

    /// The database has answered.
    pub(super) fn answered(&mut self, op: OpId, answer: Answer) {
        let node = op.node;
        let Some(mut work) = self.nodes[node].works.remove(&op) else { return };
        match answer {
            Answer::Broken => {
                self.nodes[node].works.insert(op, work);
                return self.close(op);
            }
            Answer::Undone => {
                if !work.detached {
                    self.ended(op, work.task, None);
                }
                return;
            }
            answer => match self.advance(op, &mut work, answer) {
                Next::Ask(request) => {
                    self.nodes[node].works.insert(op, work);
                    self.send_on(op, request);
                }
                Next::End => {}
            },
        }
    }

    fn advance(&mut self, op: OpId, work: &mut Work, answer: Answer) -> Next {
        work.stage += 1;
        match (&mut work.task, work.stage, answer) {
            (Task::Commit { units, .. }, 1, Answer::Done) => {
                let ids = units.iter().map(|unit| unit.request_id.clone()).collect();
                let keys = units.iter().flat_map(|unit| unit.items.iter().map(|item| item.key.clone())).collect();
                Next::Ask(Request::ReadBatch(ids, keys))
            }
            (Task::Commit { units, timeline, standing, acks, .. }, 2, Answer::Batch(mut snapshot)) => {
                self.moment(op.node);
                if self.broken.is(Variant::AckNoIncarnation) {
                    for row in &mut snapshot.nodes {
                        let known = acks.iter().find(|ack| ack.node == row.node);
                        row.incarnation = known.map_or(row.incarnation, |ack| ack.incarnation);
                    }
                }
                if self.broken.is(Variant::NacosLike) {
                    snapshot.nodes.retain(|row| Standing::Member(row.node.clone()) == *standing);
                    acks.clear();
                    acks.extend(snapshot.nodes.iter().map(|row| Ack {
                        node: row.node.clone(),
                        incarnation: row.incarnation,
                        number: row.ack_floor,
                    }));
                }
                let decision = decide(*snapshot, units, *timeline, standing, acks, WallMillis(0));
                match &decision {
                    Decision::Write(writes) => {
                        let writes = Box::new(writes.clone());
                        work.decision = Some(decision);
                        Next::Ask(Request::WriteBatch(writes))
                    }
                    Decision::NeedAcks(_) | Decision::NotMember | Decision::TimelineChanged(_) => {
                        work.decision = Some(decision);
                        self.finish(op, work, true)
                    }
                }
            }
            (Task::Commit { .. }, 3, Answer::Done) => Next::Ask(Request::Commit),
            (Task::Join(_), 1, Answer::Done) => Next::Ask(Request::ReadRows),
            (Task::Join(incarnation), 2, Answer::Rows(rows)) => {
                let me = &self.nodes[op.node];
                let may_replace = |life: Incarnation| {
                    let own = me.first_life <= life && life <= *incarnation;
                    let other = life < me.first_life;
                    own || other && me.has_proof
                };
                let old = rows.rows.iter().find(|row| row.node == me.name);
                if old.is_some_and(|row| !may_replace(row.incarnation)) {
                    self.ended_with(op, work, JoinResult::Held(rows));
                    self.rollback(op);
                    return Next::End;
                }
                Next::Ask(Request::WriteRow(op.node, OnRow::Join(*incarnation)))
            }
            (Task::Join(_), 3, Answer::Changed(_)) => Next::Ask(Request::ReadRows),
            (Task::Join(_), 4, Answer::Rows(rows)) => {
                work.rows = Some(rows);
                Next::Ask(Request::Commit)
            }
            (Task::Floor { above, incarnation, .. }, 1, Answer::Done) => {
                Next::Ask(Request::WriteRow(op.node, OnRow::Floor(*incarnation, AckNo(above.0 + 1))))
            }
            (Task::Floor { ids, keys, .. }, 2, Answer::Changed(true)) => {
                Next::Ask(Request::Look(ids.clone(), keys.clone()))
            }
            (Task::ResolveFloor(Resolving { ack: Some(ack), .. }), 1, Answer::Done) => {
                let floor = OnRow::Floor(ack.incarnation, AckNo(ack.number.0 + 1));
                Next::Ask(Request::WriteRow(op.node, floor))
            }
            (Task::ResolveFloor(resolving), 2, Answer::Changed(true)) => {
                Next::Ask(Request::Look(resolving.ids.clone(), Vec::new()))
            }
            (Task::Floor { .. } | Task::ResolveFloor(_), 2, Answer::Changed(false)) => self.finish(op, work, true),
            (Task::Floor { .. } | Task::ResolveFloor(_), 3, Answer::Found(landed, states)) => {
                work.found = Some((landed, states));
                Next::Ask(Request::Commit)
            }
            (Task::ResolveLook(resolving), 1, Answer::Done) => {
                Next::Ask(Request::Look(resolving.ids.clone(), Vec::new()))
            }
            (Task::ResolveLook(_), _, Answer::Found(landed, states)) => {
                work.found = Some((landed, states));
                self.finish(op, work, true)
            }
            (_, _, answer) => {
                let task = std::mem::replace(&mut work.task, Task::Observe);
                if work.detached {
                    return Next::End;
                }
                match (task, answer) {
                    (Task::Renew(incarnation), Answer::Renewed(renewed, rows)) => {
                        let rows = (!self.chance.one_in(50)).then_some(rows);
                        let result = if renewed { RenewResult::Renewed(rows) } else { RenewResult::Refused(rows) };
                        self.checks.counters.refusals += u64::from(!renewed);
                        self.mail(op.node, Mail::Lease(lease::Event::Renewed { incarnation, result }));
                    }
                    (Task::Join(incarnation), Answer::Done) => {
                        if let Some(rows) = work.rows.take() {
                            let result = JoinResult::Joined(rows);
                            self.mail(op.node, Mail::Lease(lease::Event::Joined { incarnation, result }));
                        }
                    }
                    (task, answer) => {
                        let (found, decision) = (work.found.take(), work.decision.take());
                        self.succeeded(op.node, task, answer, found, decision);
                    }
                }
                Next::End
            }
        }
    }

    fn ended_with(&mut self, op: OpId, work: &Work, result: JoinResult) {
        if let (Task::Join(incarnation), false) = (&work.task, work.detached) {
            self.mail(op.node, Mail::Lease(lease::Event::Joined { incarnation: *incarnation, result }));
        }
    }

    fn rollback(&mut self, op: OpId) {
        let delay = self.hop(op.node);
        self.after(delay, What::Arrive(op, Request::Rollback));
    }

    /// The client is done with a transaction that wrote nothing.
    fn finish(&mut self, op: OpId, work: &mut Work, _wrote_nothing: bool) -> Next {
        self.rollback(op);
        if !work.detached {
            let task = std::mem::replace(&mut work.task, Task::Observe);
            let (found, decision) = (work.found.take(), work.decision.take());
            self.succeeded(op.node, task, Answer::Changed(false), found, decision);
        }
        Next::End
    }

    /// A piece of work was carried out.
    fn succeeded(
        &mut self,
        node: usize,
        task: Task,
        answer: Answer,
        found: Option<(Vec<(RequestId, Recorded)>, Vec<SharedState>)>,
        decision: Option<Decision>,
    ) {
        let as_found = |landed: Vec<(RequestId, Recorded)>, states| Found {
            landed: landed.into_iter().map(|(id, _)| id).collect(),
            states,
        };
        match (task, answer) {
            (Task::Commit { batch, .. }, _) => {
                let Some(decision) = decision else { return };
                self.checks.counters.need_acks += u64::from(matches!(decision, Decision::NeedAcks(_)));
                let result = CommitResult::Decided(decision);
                self.mail(node, Mail::Publisher(publish::Event::Committed { batch, result }));
            }
            (Task::Floor { above, .. }, _) => {
                self.checks.counters.floors += u64::from(found.is_some());
                let result = found
                    .map_or(FloorResult::Refused, |(landed, states)| FloorResult::Raised(as_found(landed, states)));
                self.mail(node, Mail::Notify(ToNotify::Event(receiver::Event::Floored { above, result })));
            }
            (Task::ResolveFloor(resolving), _) => match found {
                Some((landed, _)) => self.resolved(node, &resolving, Resolution::Landed(landed)),
                None => self.begin(node, Task::ResolveLook(Resolving { rowless: true, ..resolving })),
            },
            (Task::ResolveLook(resolving), _) => {
                let landed = found.map_or_else(Vec::new, |(landed, _)| landed);
                let sure = resolving.rowless || self.broken.is(Variant::NoSelfFence);
                let resolution = if sure { Resolution::Landed(landed) } else { Resolution::LandedUncertain(landed) };
                self.resolved(node, &resolving, resolution);
            }
            (Task::Observe, Answer::Rows(rows)) => self.mail(node, Mail::Lease(lease::Event::Observed(Some(rows)))),
            (Task::Fence { node: other, .. }, Answer::Changed(fenced)) => {
                let node_id = self.nodes[other].name.clone();
                let result = if fenced { FenceResult::Fenced } else { FenceResult::Missed };
                self.mail(node, Mail::Lease(lease::Event::Fenced { node: node_id, result }));
            }
            (Task::Revoke { .. }, Answer::Changed(revoked)) => self.checks.counters.revokes += u64::from(revoked),
            (Task::Release(_), _) => self.mail(node, Mail::Lease(lease::Event::Released)),
            (Task::Load(token), Answer::Loaded(loaded)) => self.loaded(node, token, Some(&loaded)),
            (Task::Look { batch, .. }, Answer::Found(landed, states)) => {
                let result = LookResult::Found(as_found(landed, states));
                self.mail(node, Mail::Notify(ToNotify::Event(receiver::Event::Looked { batch, result })));
            }
            (Task::Feed { after }, Answer::Feed(revision, states)) => self.feed_read(node, after, revision, states),
            (Task::Session { subscriber, connection, .. }, Answer::Feed(revision, states)) => {
                self.session_read(subscriber, connection, Some((revision, states)));
            }
            (task, answer) => self.checks.violated(format!("no such answer: {task:?} {answer:?}")),
        }
    }

    /// A piece of work ended without an answer; with one that says nothing when it may have been carried out.
    fn ended(&mut self, op: OpId, task: Task, unknown: Option<Answer>) {
        let (node, reason) = (op.node, String::new());
        match task {
            Task::Commit { batch, .. } => {
                self.checks.counters.unknown += u64::from(unknown.is_some());
                let result = match unknown {
                    Some(_) => CommitResult::Unknown { reason },
                    None => CommitResult::Aborted { reason, retry: true },
                };
                self.mail(node, Mail::Publisher(publish::Event::Committed { batch, result }));
            }
            Task::Join(incarnation) => {
                let result = JoinResult::Failed;
                self.mail(node, Mail::Lease(lease::Event::Joined { incarnation, result }));
            }
            Task::Floor { above, .. } => {
                let event = receiver::Event::Floored { above, result: FloorResult::Failed { reason } };
                self.mail(node, Mail::Notify(ToNotify::Event(event)));
            }
            Task::ResolveFloor(resolving) | Task::ResolveLook(resolving) => self.resolve_again(node, resolving),
            Task::Renew(incarnation) => {
                let result = RenewResult::Failed;
                self.mail(node, Mail::Lease(lease::Event::Renewed { incarnation, result }));
            }
            Task::Observe => self.mail(node, Mail::Lease(lease::Event::Observed(None))),
            Task::Fence { node: other, .. } => {
                let result = FenceResult::Failed;
                let other = self.nodes[other].name.clone();
                self.mail(node, Mail::Lease(lease::Event::Fenced { node: other, result }));
            }
            Task::Revoke { .. } => {}
            Task::Release(_) => self.mail(node, Mail::Lease(lease::Event::Released)),
            Task::Load(token) => self.loaded(node, token, None),
            Task::Look { batch, .. } => {
                let event = receiver::Event::Looked { batch, result: LookResult::Failed { reason } };
                self.mail(node, Mail::Notify(ToNotify::Event(event)));
            }
            Task::Feed { .. } => self.feed_failed(node),
            Task::Session { subscriber, connection, .. } => self.session_read(subscriber, connection, None),
        }
    }

    /// Finds out what became of a batch, by the floor if there is an own ack.
    pub(super) fn resolve(&mut self, node: usize, resolving: Resolving) {
        let by_floor = resolving.ack.is_some() && !self.broken.is(Variant::NoSelfFence);
        let task = if by_floor { Task::ResolveFloor(resolving) } else { Task::ResolveLook(resolving) };
        self.begin(node, task);
    }

    fn resolve_again(&mut self, node: usize, resolving: Resolving) {
        const PAUSES: [u64; 3] = [100 * MILLISECOND, 400 * MILLISECOND, 2 * SECOND];
        match PAUSES.get(resolving.tries) {
            Some(pause) => {
                let again = Resolving { tries: resolving.tries + 1, rowless: false, ..resolving };
                self.after_for(node, *pause, Mail::Retry(Task::ResolveFloor(again)));
            }
            None => self.resolved(node, &resolving, Resolution::Unresolved { reason: String::new() }),
        }
    }

    /// The floor may have been raised by any try: the receiver hears so before anybody acts on the result.
    fn resolved(&mut self, node: usize, resolving: &Resolving, result: Resolution) {
        if let Some(ack) = resolving.ack.as_ref().filter(|_| !self.broken.is(Variant::NoSelfFence)) {
            let raised = receiver::Event::Raised { above: ack.number };
            self.mail(node, Mail::Notify(ToNotify::Event(raised)));
        }
        self.mail(node, Mail::Publisher(publish::Event::Resolved { batch: resolving.batch, result }));
    }
}

impl Task {
    /// The same task as its asker remembers it.
    fn repeated(&self) -> Self {
        match self {
            Self::Join(incarnation) => Self::Join(*incarnation),
            Self::Floor { above, incarnation, .. } => {
                Self::Floor { above: *above, incarnation: *incarnation, ids: Vec::new(), keys: Vec::new() }
            }
            Self::ResolveFloor(resolving) => Self::ResolveFloor(resolving.clone()),
            _ => Self::Observe,
        }
    }
}
