//! A client's side of its work at the database: the steps of each transaction, and what the machines hear of its end.
//! A client that has waited long enough gives up; what it sent lives on.

use std::sync::Arc;

use super::database::{Answer, OnRow, OpId, Request};
use super::event_loop::{Simulation, What};
use super::faults::Fault;
use super::mail::Mail;
use super::plan::{MILLISECOND, SECOND};
use super::variants::Variant;
use crate::cache::Token;
use crate::commit::{BatchId, Decision, Standing};
use crate::config::{SharedState, Version};
use crate::key::ConfigKey;
use crate::lease::Observation;
use crate::member::{Ack, AckNo, Incarnation, Timeline};
use crate::write_request::{Recorded, RequestId, WriteRequest};

/// What is to be done.
#[derive(Debug)]
pub(super) enum Task {
    Commit {
        batch: BatchId,
        units: Vec<Arc<WriteRequest>>,
        timeline: Timeline,
        standing: Standing,
        acks: Vec<Ack>,
    },
    Join(Incarnation),
    Floor {
        above: AckNo,
        incarnation: Incarnation,
        ids: Vec<RequestId>,
        keys: Vec<ConfigKey>,
    },
    /// Of the question of that number about a commit in doubt.
    DoubtFloor {
        question: u64,
        ack: Ack,
        ids: Vec<RequestId>,
    },
    DoubtLook {
        question: u64,
        ids: Vec<RequestId>,
    },
    Renew(Incarnation),
    Observe,
    Fence {
        node: usize,
        incarnation: Incarnation,
        seq: u64,
    },
    Revoke {
        node: usize,
        incarnation: Incarnation,
    },
    Release(Incarnation),
    Load(Option<Token>),
    Look {
        batch: BatchId,
        ids: Vec<RequestId>,
        keys: Vec<ConfigKey>,
    },
    Feed {
        after: Option<Version>,
    },
    Session {
        subscriber: usize,
        connection: u32,
        after: Version,
    },
}

/// What was found in the database under the request ids asked for, and the states of the keys.
pub(super) type Looked = Option<(Vec<(RequestId, Recorded)>, Vec<SharedState>)>;

/// Work under way.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) task: Task,
    pub(super) stage: u8,
    pub(super) commit_sent: bool,
    pub(super) decision: Option<Decision>,
    pub(super) rows: Option<Observation>,
    pub(super) found: Looked,
    /// Whoever asked does not listen any more, but nobody has told the task.
    pub(super) detached: bool,
}

impl Work {
    pub(super) fn renews(&self) -> bool {
        matches!(self.task, Task::Renew(_))
    }

    /// The one that asked is gone: the publisher, or the receiver.
    pub(super) fn forget(&mut self, publisher: bool) {
        let publishes = matches!(self.task, Task::Commit { .. });
        let receives = matches!(
            self.task,
            Task::Floor { .. } | Task::Look { .. } | Task::DoubtFloor { .. } | Task::DoubtLook { .. }
        );
        self.detached |= if publisher { publishes } else { receives };
    }
}

/// What comes next.
pub(super) enum Next {
    Ask(Request),
    /// The transaction is given up by its client, and this is the end.
    End,
}

impl Simulation {
    /// Begins a piece of work of a node.
    pub(super) fn begin(&mut self, node: usize, task: Task) {
        let op = self.next_op(node);
        let request = match &task {
            Task::Commit { .. } | Task::Join(_) | Task::Floor { .. } => Request::Lock,
            Task::DoubtFloor { .. } => Request::Lock,
            Task::DoubtLook { ids, .. } if self.broken.is(Variant::NoSelfFence) => {
                Request::Look(ids.clone(), Vec::new())
            }
            Task::DoubtLook { .. } => Request::Lock,
            Task::Renew(life) => Request::Statement(node, OnRow::Renew(*life)),
            Task::Observe => Request::ReadRows,
            Task::Fence { node, incarnation, seq } => Request::Statement(*node, OnRow::Fence(*incarnation, *seq)),
            Task::Revoke { node, incarnation } => Request::Statement(*node, OnRow::Revoke(*incarnation)),
            Task::Release(life) => Request::Statement(node, OnRow::Release(*life)),
            Task::Load(Some(token)) => Request::Load(token.key().clone()),
            Task::Load(None) => return,
            Task::Look { ids, keys, .. } => Request::Look(ids.clone(), keys.clone()),
            Task::Feed { after } => {
                Request::Page(after.unwrap_or(Version(u64::MAX)), 1 + self.chance.index(self.plan.most_of_a_page))
            }
            Task::Session { after, .. } => Request::ChangedSince(*after),
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
        let goes_on = matches!(work.task, Task::Join(_) | Task::Floor { .. } | Task::DoubtFloor { .. });
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
                self.close(op);
            }
            Answer::Undone => {
                if !work.detached {
                    self.ended(op, work.task, None);
                }
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
}

impl Task {
    /// The same task as its asker remembers it.
    fn repeated(&self) -> Self {
        match self {
            Self::Join(incarnation) => Self::Join(*incarnation),
            Self::Floor { above, incarnation, .. } => {
                Self::Floor { above: *above, incarnation: *incarnation, ids: Vec::new(), keys: Vec::new() }
            }
            Self::DoubtFloor { question, ack, .. } => {
                Self::DoubtFloor { question: *question, ack: ack.clone(), ids: Vec::new() }
            }
            _ => Self::Observe,
        }
    }
}
