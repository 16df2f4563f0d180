//! The way of everything that is sent: mail within a process, timers, messages over the network, and requests to the
//! database.

use std::cmp::Reverse;

use super::database::{Answer, Database, OpId, Outcome, Request};
use super::event_loop::{Simulation, What};
use super::mail::{Mail, Message};
use super::node::{Machine, Run};
use super::plan::{MILLISECOND, SECOND};
use super::work::{Task, Work};
use crate::{feed, lease, publish, receiver};

impl Simulation {
    /// Puts mail into a mailbox of the own process: at once, or after a while, but never before what came earlier.
    pub(super) fn mail(&mut self, node: usize, mail: Mail) {
        let Some(mailbox) = mail.mailbox() else { return self.immediate.push_back((node, mail)) };
        let slow = self.chance.permille(self.faults().slow_mail);
        let delay = if slow { self.chance.spread(10, 300 * MILLISECOND) } else { 0 };
        let to = &mut self.nodes[node];
        let at = (self.now + delay).max(to.behind[mailbox]);
        // At the moment up to which the mailbox is behind, earlier mail may still be on its way into it.
        if delay == 0 && to.behind[mailbox] < self.now {
            return self.immediate.push_back((node, mail));
        }
        to.behind[mailbox] = at;
        let process = to.process;
        self.after(at - self.now, What::Process(node, process, mail));
    }

    /// Something happens to the present process of a node after a while.
    pub(super) fn after_for(&mut self, node: usize, delay: u64, mail: Mail) {
        let process = self.nodes[node].process;
        self.after(delay, What::Process(node, process, mail));
    }

    pub(super) fn after(&mut self, delay: u64, what: What) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(what);
        self.order += 1;
        self.queue.push(Reverse((self.now + delay, self.order, slot)));
    }

    /// Sees to it that the machines are stepped when they next have something to do by themselves.
    pub(super) fn arm(&mut self, node: usize, machine: Machine) {
        let to = &self.nodes[node];
        let next = match machine {
            Machine::Lease => to.lease.next_wakeup(),
            Machine::Publisher => to.publisher.next_wakeup(),
            Machine::Receiver => to.receiver.next_wakeup(),
            Machine::Feed => Some(to.feed.next_wakeup()),
        };
        if to.armed[machine as usize] == next {
            return;
        }
        self.nodes[node].armed[machine as usize] = next;
        if let Some(next) = next {
            let at = self.nodes[node].clock.reaches(next);
            self.after_for(node, at.saturating_sub(self.now), Mail::Timer(machine, next));
        }
    }

    pub(super) fn fired(&mut self, node: usize, machine: Machine, at: crate::time::Mono) {
        if self.nodes[node].armed[machine as usize] != Some(at) {
            return;
        }
        self.nodes[node].armed[machine as usize] = None;
        match machine {
            Machine::Lease => self.step_lease(node, lease::Event::Tick),
            Machine::Publisher => self.step_publisher(node, publish::Event::Tick),
            Machine::Receiver => self.step_receiver(node, receiver::Event::Tick),
            Machine::Feed => self.step_feed(node, feed::Event::Tick),
        }
    }

    /// Sends to another node; the way loses, doubles, delays and reorders.
    pub(super) fn send(&mut self, from: usize, to: usize, message: Message) {
        let faults = self.faults();
        let (lost, doubled, late) = (faults.lost, faults.doubled, faults.late);
        if self.cut[from][to] || self.chance.permille(lost) {
            return;
        }
        if self.chance.permille(doubled) {
            let again = self.chance.spread(100, 5 * SECOND);
            self.after(again, What::Network(from, to, message.clone()));
        }
        let slow = self.chance.permille(late);
        let delay = if slow { self.chance.spread(MILLISECOND, 8 * SECOND) } else { self.chance.between(100, 2_000) };
        self.after(delay, What::Network(from, to, message));
    }

    pub(super) fn arrive(&mut self, op: OpId, request: Request) {
        let joins = matches!(request, Request::Lock)
            && self.db.laxity.joins_without_lock
            && self.nodes[op.node].works.get(&op).is_some_and(|work| matches!(work.task, Task::Join(_)));
        let zombie = matches!(request, Request::Commit) && self.is_zombie(op);
        let before = self.db.committed.len();
        self.at_database(|db, out| if joins { db.begin_unlocked(op, out) } else { db.arrive(op, request, out) });
        if zombie {
            let committed = self.checks.counters.seen_commits > before as u64 && self.checks.last_commit == Some(op);
            self.checks.counters.zombies_committed += u64::from(committed);
            self.checks.counters.zombies_aborted += u64::from(!committed);
        }
    }

    /// True when nobody waits for this work any more.
    fn is_zombie(&self, op: OpId) -> bool {
        let node = &self.nodes[op.node];
        node.process != op.process || node.run == Run::Down || !node.works.contains_key(&op)
    }

    /// Lets the database do something, and sees to what follows.
    pub(super) fn at_database(&mut self, act: impl FnOnce(&mut Database, &mut Vec<Outcome>)) {
        let mut out = Vec::new();
        act(&mut self.db, &mut out);
        self.committed();
        for outcome in out {
            match outcome {
                Outcome::Answer(op, answer) => {
                    let answer = self.with_rows(op, answer);
                    let breaks = self.chance.permille(self.faults().broken_steps);
                    let answer = if breaks { Answer::Broken } else { answer };
                    let slow = matches!(answer, Answer::Loaded(_)) && self.chance.permille(self.faults().slow_loads);
                    let delay = if slow { self.chance.spread(MILLISECOND, 2 * SECOND) } else { self.hop(op.node) };
                    self.after(delay, What::Process(op.node, op.process, Mail::Answer(op, answer)));
                }
                Outcome::Durable(op) => {
                    let races = self.racing == Some(op.node);
                    self.racing = self.racing.filter(|_| !races);
                    let slow = races || self.chance.permille(self.faults().slow_steps);
                    let delay = if slow { self.chance.spread(MILLISECOND, 3 * SECOND) } else { 50 };
                    self.after(delay, What::Durable(op));
                }
                Outcome::Waits(op, step) => {
                    if self.db.is_at(op, step) {
                        self.after(3 * SECOND, What::Waited(op, step));
                    }
                }
            }
        }
    }

    /// A renewal is answered with the rows as they are after it.
    fn with_rows(&self, op: OpId, answer: Answer) -> Answer {
        let work = self.nodes[op.node].works.get(&op);
        match answer {
            Answer::Changed(renewed) if work.is_some_and(Work::renews) => {
                Answer::Renewed(renewed, self.db.observation(op))
            }
            answer => answer,
        }
    }

    /// The time between a client and the database.
    pub(super) fn hop(&mut self, node: usize) -> u64 {
        let link = self.nodes[node].link;
        if link > 0 {
            return self.chance.spread(link / 16, link);
        }
        if self.chance.permille(self.faults().slow_steps) {
            self.chance.spread(MILLISECOND, 3 * SECOND)
        } else {
            self.chance.between(50, 500)
        }
    }
}
