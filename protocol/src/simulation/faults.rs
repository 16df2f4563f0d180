//! What goes wrong, and how it ends: processes that stand still, die, come back or leave, links that are cut in one
//! direction, and a database that is away.

use super::event_loop::{Act, Simulation, What};
use super::mail::Mail;
use super::node::{Machine, Run};
use super::plan::{MILLISECOND, SECOND, fault_lasts};
use crate::config::Version;
use crate::lease;

/// A kind of fault that comes again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Cut,
    Pause,
    Crash,
    Leave,
    Outage,
    Prune,
    Kill,
    Rebuild,
    Link,
}

const KINDS: [Kind; 9] = [
    Kind::Cut,
    Kind::Pause,
    Kind::Crash,
    Kind::Leave,
    Kind::Outage,
    Kind::Prune,
    Kind::Kill,
    Kind::Rebuild,
    Kind::Link,
];

/// Something that goes wrong, or well again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Again(Kind),
    Pause(usize, u64),
    Resume(usize, u32),
    Crash(usize),
    Restart(usize),
    Cut(usize, usize),
    Mend(usize, usize),
    LinkUp(usize),
    DatabaseUp,
}

impl Simulation {
    pub(super) fn plan_faults(&mut self) {
        for kind in KINDS {
            self.plan_next(kind);
        }
    }

    fn plan_next(&mut self, kind: Kind) {
        let faults = self.faults();
        let mean = match kind {
            Kind::Cut => faults.cuts,
            Kind::Pause => faults.pauses,
            Kind::Crash => faults.crashes,
            Kind::Leave => faults.leaves,
            Kind::Outage => faults.outages,
            Kind::Prune => faults.prunes,
            Kind::Kill => faults.killed_transactions,
            Kind::Rebuild => faults.rebuilds,
            Kind::Link => faults.slow_links,
        };
        if mean > 0 {
            let after = self.chance.between(MILLISECOND, 2 * mean);
            self.after(after, What::Fault(Fault::Again(kind)));
        }
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::Again(kind) => self.again(kind),
            Fault::Pause(node, lasts) => self.pause(node, lasts),
            Fault::Resume(node, process) => {
                if self.nodes[node].process == process && self.nodes[node].run == Run::Paused {
                    self.resume(node);
                    self.links_changed(node);
                }
            }
            Fault::Crash(node) => self.crash(node),
            Fault::Restart(node) => self.restart(node),
            Fault::Cut(from, to) => {
                self.cut[from][to] = self.act == Act::Chaos;
                self.links_changed(from);
                let lasts = fault_lasts(&mut self.chance);
                self.after(lasts, What::Fault(Fault::Mend(from, to)));
            }
            Fault::Mend(from, to) => {
                self.cut[from][to] = false;
                self.links_changed(from);
            }
            Fault::LinkUp(node) => self.nodes[node].link = 0,
            Fault::DatabaseUp => self.db.is_down = false,
        }
    }

    fn again(&mut self, kind: Kind) {
        if self.act != Act::Chaos {
            return;
        }
        let node = self.chance.index(self.nodes.len());
        let lasts = fault_lasts(&mut self.chance);
        match kind {
            Kind::Cut => {
                let other = (node + 1 + self.chance.index(self.nodes.len() - 1)) % self.nodes.len();
                self.fault(Fault::Cut(node, other));
                if self.chance.one_in(2) {
                    self.fault(Fault::Cut(other, node));
                }
            }
            Kind::Pause => self.pause(node, lasts),
            Kind::Crash => self.crash(node),
            Kind::Leave => {
                let process = self.nodes[node].process;
                self.nodes[node].leaving = true;
                self.deliver(node, process, Mail::Lease(lease::Event::Leave));
            }
            Kind::Outage => {
                if !self.db.is_down {
                    self.at_database(|db, out| db.stop(out));
                    self.after(lasts, What::Fault(Fault::DatabaseUp));
                }
            }
            Kind::Rebuild => self.rebuild(node),
            Kind::Link => {
                self.nodes[node].link = if self.chance.one_in(3) { 20 * SECOND } else { 4 * SECOND };
                self.after(lasts, What::Fault(Fault::LinkUp(node)));
            }
            Kind::Prune => {
                let kept = self.chance.below(1 + self.db.revision.0.min(8));
                self.db.prune(Version(self.db.revision.0 - kept));
            }
            Kind::Kill => {
                let open = self.db.open();
                if !open.is_empty() {
                    let op = open[self.chance.index(open.len())];
                    self.at_database(|db, out| {
                        db.kill(op, out);
                        out.push(super::database::Outcome::Answer(op, super::database::Answer::Broken));
                    });
                }
            }
        }
        self.plan_next(kind);
    }

    /// An actor is lost to a panic and built anew; whoever asked the database for it hears of no answer.
    fn rebuild(&mut self, node: usize) {
        if self.nodes[node].run != Run::Up {
            return;
        }
        let publishes = self.chance.one_in(2);
        self.log(|simulation| format!("  {} rebuilds, publisher: {publishes}", simulation.nodes[node].name));
        for work in self.nodes[node].works.values_mut() {
            work.forget(publishes);
        }
        if publishes {
            self.callers_lost(node);
            self.nodes[node].rebuild_publisher();
            self.arm(node, Machine::Publisher);
        } else {
            self.questions_lost(node);
            self.nodes[node].rebuild_receiver();
            self.mail(node, Mail::Lease(lease::Event::Rejoin));
            self.arm(node, Machine::Receiver);
        }
        if let Some(membership) = self.nodes[node].told.clone() {
            self.pass_on(node, membership);
        }
    }

    /// What happens to a node at one of its moments.
    pub(super) fn fault_of(&mut self, node: usize) -> Fault {
        match self.chance.below(8) {
            0 | 1 => Fault::Crash(node),
            2 => {
                let other = (node + 1 + self.chance.index(self.nodes.len() - 1)) % self.nodes.len();
                Fault::Cut(node, other)
            }
            _ => Fault::Pause(node, fault_lasts(&mut self.chance)),
        }
    }

    fn pause(&mut self, node: usize, lasts: u64) {
        if self.act != Act::Chaos || self.nodes[node].run != Run::Up {
            return;
        }
        self.nodes[node].run = Run::Paused;
        self.nodes[node].deaf = self.chance.one_in(2);
        self.links_changed(node);
        let process = self.nodes[node].process;
        self.after(lasts, What::Fault(Fault::Resume(node, process)));
    }

    fn crash(&mut self, node: usize) {
        if self.act != Act::Chaos || self.nodes[node].run == Run::Down {
            return;
        }
        self.log(|simulation| format!("  {} dies", simulation.nodes[node].name));
        self.gone(node);
        let lasts = fault_lasts(&mut self.chance);
        self.after(lasts, What::Fault(Fault::Restart(node)));
    }

    /// A process has left in good order.
    pub(super) fn stopped(&mut self, node: usize) {
        self.gone(node);
        let lasts = if self.act == Act::Chaos { fault_lasts(&mut self.chance) } else { MILLISECOND };
        self.after(lasts, What::Fault(Fault::Restart(node)));
    }

    /// A process is no more. What it has sent to the database lives on until that notices.
    fn gone(&mut self, node: usize) {
        self.callers_lost(node);
        self.reads_lost(node);
        self.nodes[node].run = Run::Down;
        let works = std::mem::take(&mut self.nodes[node].works);
        for op in works.into_keys() {
            let noticed = self.chance.spread(MILLISECOND, 3 * SECOND);
            self.after(noticed, What::Closed(op));
        }
        self.disconnected(node);
        self.links_changed(node);
    }

    fn restart(&mut self, node: usize) {
        if self.nodes[node].run != Run::Down {
            return;
        }
        let has_proof = self.chance.permille(self.faults().proofs);
        let (now, broken) = (self.now, self.broken);
        self.nodes[node].start(node, now, has_proof, broken);
        self.log(|simulation| format!("  {} starts, proof: {has_proof}", simulation.nodes[node].name));
        self.started(node);
    }

    /// All faults end.
    pub(super) fn heal(&mut self) {
        if self.act != Act::Chaos {
            return;
        }
        self.act = Act::Healed;
        (self.healed_at, self.last_faulty) = (self.now, self.ops);
        self.log(|_| "all faults end".to_owned());
        self.cut.iter_mut().flatten().for_each(|cut| *cut = false);
        self.db.is_down = false;
        self.nodes.iter_mut().for_each(|node| node.link = 0);
        for node in 0..self.nodes.len() {
            match self.nodes[node].run {
                Run::Up => {}
                Run::Paused => self.resume(node),
                Run::Down => self.restart(node),
            }
        }
        self.links_changed(0);
        self.reconnect();
        self.after(500 * MILLISECOND, What::Settle);
    }
}
