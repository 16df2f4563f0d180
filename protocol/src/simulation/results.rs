//! What the machines hear of the end of each piece of work.

use super::database::{Answer, OpId};
use super::event_loop::Simulation;
use super::mail::{Mail, ToNotify};
use super::work::{Looked, Task};
use crate::commit::Decision;
use crate::feed;
use crate::in_doubt;
use crate::lease::{self, FenceResult, JoinResult, RenewResult};
use crate::publish::{self, Again, CommitResult};
use crate::receiver::{self, FindResult, FloorResult, Found};
use crate::write_request::{Recorded, RequestId};

impl Simulation {
    /// A piece of work was carried out.
    pub(super) fn succeeded(
        &mut self,
        node: usize,
        task: Task,
        answer: Answer,
        found: Looked,
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
            (Task::DoubtFloor { question, .. }, _) => {
                self.checks.counters.refused_floors += u64::from(found.is_none());
                let result = Ok(found.map(|(landed, _)| landed));
                self.step_in_doubt(node, question, in_doubt::Event::Floored(result));
            }
            (Task::DoubtLook { question, .. }, _) => {
                let result = Ok(found.map_or_else(Vec::new, |(landed, _)| landed));
                self.step_in_doubt(node, question, in_doubt::Event::Looked(result));
            }
            (Task::Observe, Answer::Rows(rows)) => self.mail(node, Mail::Lease(lease::Event::Observed(Some(rows)))),
            (Task::Fence { node: other, .. }, Answer::Changed(fenced)) => {
                let node_id = self.nodes[other].name.clone();
                let result = if fenced { FenceResult::Fenced } else { FenceResult::Missed };
                self.mail(node, Mail::Lease(lease::Event::Fenced { node: node_id, result }));
            }
            (Task::Revoke { .. }, Answer::Changed(revoked)) => {
                self.checks.counters.revokes += u64::from(revoked);
                self.mail(node, Mail::Lease(lease::Event::Refresh));
            }
            (Task::Release(_), _) => self.mail(node, Mail::Lease(lease::Event::Released)),
            (Task::Load(token), Answer::Loaded(loaded)) => self.loaded(node, token, Some(&loaded)),
            (Task::Look { batch, .. }, Answer::Found(landed, states)) => {
                let result = FindResult::Found(as_found(landed, states));
                self.mail(node, Mail::Notify(ToNotify::Event(receiver::Event::Looked { batch, result })));
            }
            (Task::Feed { after }, Answer::Page(page)) => {
                self.checks.counters.pages += u64::from(!page.complete);
                self.checks.counters.pruned += u64::from(after.is_some_and(|after| after < page.floor));
                self.mail(node, Mail::Feed(feed::Event::PageRead(page)));
            }
            (Task::Session { subscriber, connection, .. }, Answer::ChangedSince(revision, states)) => {
                self.session_read(subscriber, connection, Some((revision, states)));
            }
            (task, answer) => self.checks.violated(format!("no such answer: {task:?} {answer:?}")),
        }
    }

    /// A piece of work ended without an answer; with one that says nothing when it may have been carried out.
    pub(super) fn ended(&mut self, op: OpId, task: Task, unknown: Option<Answer>) {
        let (node, reason) = (op.node, String::new());
        match task {
            Task::Commit { batch, .. } => {
                self.checks.counters.unknown += u64::from(unknown.is_some());
                let result = match unknown {
                    Some(_) => CommitResult::Unknown { reason },
                    None => CommitResult::Aborted { reason, again: Again::MayHelp },
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
            Task::DoubtFloor { question, .. } => {
                self.step_in_doubt(node, question, in_doubt::Event::Floored(Err(reason)));
            }
            Task::DoubtLook { question, .. } => {
                self.step_in_doubt(node, question, in_doubt::Event::Looked(Err(reason)));
            }
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
            Task::Revoke { .. } => self.mail(node, Mail::Lease(lease::Event::Refresh)),
            Task::Release(_) => self.mail(node, Mail::Lease(lease::Event::Released)),
            Task::Load(token) => self.loaded(node, token, None),
            Task::Look { batch, .. } => {
                let event = receiver::Event::Looked { batch, result: FindResult::Failed { reason } };
                self.mail(node, Mail::Notify(ToNotify::Event(event)));
            }
            Task::Feed { .. } => self.mail(node, Mail::Feed(feed::Event::ReadFailed)),
            Task::Session { subscriber, connection, .. } => self.session_read(subscriber, connection, None),
        }
    }
}
