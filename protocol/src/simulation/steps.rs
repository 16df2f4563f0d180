//! The steps of each piece of work: what is asked next when the database has answered.

use super::database::{Answer, OnRow, OpId, Request};
use super::event_loop::{Simulation, What};
use super::mail::Mail;
use super::variants::Variant;
use super::work::{Next, Task, Work};
use crate::commit::{Decision, Snapshot, Standing, decide};
use crate::lease::{self, Admission, Candidate, JoinResult, Observation, Occupant, RenewResult};
use crate::member::{Ack, AckNo, Incarnation, MemberRow};
use crate::time::WallMillis;

/// What every node here speaks.
const VERSIONS: (u16, u16) = (1, 1);

impl Simulation {
    pub(super) fn advance(&mut self, op: OpId, work: &mut Work, answer: Answer) -> Next {
        work.stage += 1;
        match (&mut work.task, work.stage, answer) {
            (Task::Commit { units, .. }, 1, Answer::Done) => {
                let ids = units.iter().map(|unit| unit.request_id.clone()).collect();
                let keys = units.iter().flat_map(|unit| unit.items.iter().map(|item| item.key.clone())).collect();
                Next::Ask(Request::ReadBatch(ids, keys))
            }
            (Task::Commit { .. }, 2, Answer::Batch(snapshot)) => self.judge(op, work, *snapshot),
            (Task::Commit { .. }, 3, Answer::Done) => Next::Ask(Request::Commit),
            (Task::Join(_), 1, Answer::Done) => Next::Ask(Request::ReadRows),
            (Task::Join(incarnation), 2, Answer::Rows(rows)) => {
                let incarnation = *incarnation;
                self.join(op, work, incarnation, rows)
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
            (Task::DoubtFloor { ack, .. }, 1, Answer::Done) => {
                let floor = OnRow::Floor(ack.incarnation, AckNo(ack.number.0 + 1));
                Next::Ask(Request::WriteRow(op.node, floor))
            }
            (Task::DoubtFloor { ids, .. }, 2, Answer::Changed(true)) => {
                Next::Ask(Request::Look(ids.clone(), Vec::new()))
            }
            (Task::Floor { .. } | Task::DoubtFloor { .. }, 2, Answer::Changed(false)) => self.finish(op, work),
            (Task::Floor { .. } | Task::DoubtFloor { .. }, 3, Answer::Found(landed, states)) => {
                work.found = Some((landed, states));
                Next::Ask(Request::Commit)
            }
            (Task::DoubtLook { ids, .. }, 1, Answer::Done) => Next::Ask(Request::Look(ids.clone(), Vec::new())),
            (Task::DoubtLook { .. }, _, Answer::Found(landed, states)) => {
                work.found = Some((landed, states));
                self.finish(op, work)
            }
            (_, _, answer) => {
                if !work.detached {
                    self.last_step(op, work, answer);
                }
                Next::End
            }
        }
    }

    /// What the transaction has read decides what it writes.
    fn judge(&mut self, op: OpId, work: &mut Work, mut snapshot: Snapshot) -> Next {
        self.moment(op.node);
        let Task::Commit { units, timeline, standing, acks, .. } = &mut work.task else { return Next::End };
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
                known: crate::extent::Extent::default(),
            }));
        }
        let decision = decide(snapshot, units, *timeline, standing, acks, WallMillis(0));
        work.decision = Some(decision.clone());
        match decision {
            Decision::Write(writes) => Next::Ask(Request::WriteBatch(Box::new(writes))),
            Decision::NeedAcks(_) | Decision::NotMember | Decision::TimelineChanged(_) | Decision::Behind(_) => {
                self.finish(op, work)
            }
        }
    }

    /// Takes the node's place in the membership, if nobody else may sit there.
    fn join(&mut self, op: OpId, work: &Work, incarnation: Incarnation, rows: Observation) -> Next {
        let me = &self.nodes[op.node];
        let name_of = |is_proven| if is_proven { "here" } else { "elsewhere" }.to_owned();
        let candidate = Candidate {
            node: me.name.clone(),
            incarnation,
            first_life: me.first_life,
            boot_id: name_of(me.has_proof),
            versions: VERSIONS,
            is_alone: false,
            database_member: String::new(),
        };
        let occupant = |row: &MemberRow| Occupant {
            node: row.node.clone(),
            incarnation: row.incarnation,
            boot_id: name_of(true),
            versions: VERSIONS,
            database_member: row.database_member.clone(),
        };
        let occupants: Vec<_> = rows.rows.iter().map(occupant).collect();
        if matches!(lease::admit(&candidate, &occupants), Admission::Admitted { .. }) {
            return Next::Ask(Request::WriteRow(op.node, OnRow::Join(incarnation)));
        }
        if !work.detached {
            let result = JoinResult::Held(rows);
            self.mail(op.node, Mail::Lease(lease::Event::Joined { incarnation, result }));
        }
        self.rollback(op);
        Next::End
    }

    fn last_step(&mut self, op: OpId, work: &mut Work, answer: Answer) {
        let task = std::mem::replace(&mut work.task, Task::Observe);
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
    }

    fn rollback(&mut self, op: OpId) {
        let delay = self.hop(op.node);
        self.after(delay, What::Arrive(op, Request::Rollback));
    }

    /// The client is done with a transaction that wrote nothing.
    fn finish(&mut self, op: OpId, work: &mut Work) -> Next {
        self.rollback(op);
        if !work.detached {
            self.last_step(op, work, Answer::Changed(false));
        }
        Next::End
    }
}
