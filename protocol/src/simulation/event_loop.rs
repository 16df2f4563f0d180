//! The event loop: true time, the queue of what happens next, and the way of everything that is sent. Goes from event
//! to event; whatever is decided is decided by the machines.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::checks::Checks;
use super::clients::Publisher;
use super::database::{Database, OpId, Request};
use super::faults::Fault;
use super::feed::Subscriber;
use super::mail::{Mail, Message};
use super::node::{Node, Run};
use super::plan::{Faults, MILLISECOND, Plan, SECOND};
use super::random::Rng;
use super::reading::Read;
use super::variants::{Broken, Variant};
use crate::key::ConfigKey;
use crate::lease::LeaseMode;

/// What happens at a point of true time.
#[derive(Debug)]
pub(super) enum What {
    /// A request reaches the database.
    Arrive(OpId, Request),
    /// A single statement is on the disk.
    Durable(OpId),
    /// A transaction has waited long enough, for a lock or for its client.
    Waited(OpId, u32),
    /// The database notices that a client is gone.
    Closed(OpId),
    /// Mail reaches this process.
    Process(usize, u32, Mail),
    /// A message reaches a node.
    Network(usize, usize, Message),
    Fault(Fault),
    /// A client that publishes goes on.
    Publish(usize),
    /// Somebody reads somewhere.
    Read,
    /// A subscriber connects.
    Connect(usize),
    /// A node looks at its links.
    Links(usize),
    /// The faults end.
    Heal,
    /// All should be well by now.
    Settle,
}

/// Where the run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Chaos,
    Healed,
    /// Everything is settled; each node publishes once more.
    LastPublishes,
    /// Everything is settled; the last reads are under way.
    LastReads,
    Done,
}

/// How much may happen before the faults end.
const MOST_EVENTS: u32 = 2_000;
/// How long after the faults everything may take to settle.
const SETTLES_WITHIN: u64 = 120 * SECOND;

/// A run.
pub(super) struct Simulation {
    pub(super) plan: Plan,
    pub(super) chance: Rng,
    pub(super) broken: Broken,
    pub(super) now: u64,
    pub(super) act: Act,
    pub(super) healed_at: u64,
    /// The last operation that was begun before.
    pub(super) last_faulty: u32,
    pub(super) db: Database,
    pub(super) nodes: Vec<Node>,
    pub(super) keys: Vec<ConfigKey>,
    /// From whom to whom nothing gets through.
    pub(super) cut: Vec<Vec<bool>>,
    pub(super) publishers: Vec<Publisher>,
    pub(super) subscribers: Vec<Subscriber>,
    pub(super) reads: Vec<Read>,
    pub(super) open_reads: usize,
    pub(super) checks: Checks,
    pub(super) events: u32,
    /// Something has changed that must be looked at.
    pub(super) dirty: bool,
    /// The next renewal of this node takes long to become durable.
    pub(super) racing: Option<usize>,
    quiet: Faults,
    pub(super) queue: BinaryHeap<Reverse<(u64, u64, usize)>>,
    pub(super) slots: Vec<Option<What>>,
    pub(super) free: Vec<usize>,
    pub(super) order: u64,
    pub(super) ops: u32,
    pub(super) immediate: VecDeque<(usize, Mail)>,
    log: Option<Vec<String>>,
}

impl Simulation {
    pub(super) fn new(seed: u64, broken: Broken, logs: bool) -> Self {
        let mut chance = Rng::new(seed);
        let plan = Plan::new(&mut chance);
        let names = ["x", "y", "z"].iter().take(plan.keys);
        let keys: Vec<ConfigKey> = names.filter_map(|name| ConfigKey::new("public", "g", name).ok()).collect();
        let nodes: Vec<Node> = (0..plan.nodes)
            .map(|index| {
                let terms = if plan.direct == Some(index) { LeaseMode::Direct } else { LeaseMode::Renewed };
                Node::new(index, plan.rates[index], chance.below(1 << 40), terms, broken)
            })
            .collect();
        let mut db = Database::new(nodes.iter().map(|node| node.name.clone()).collect(), &keys);
        db.laxity = broken.laxity();
        let mut simulation = Self {
            now: 0,
            act: Act::Chaos,
            healed_at: 0,
            last_faulty: 0,
            db,
            cut: vec![vec![false; plan.nodes]; plan.nodes],
            publishers: Vec::new(),
            subscribers: Vec::new(),
            reads: Vec::new(),
            open_reads: 0,
            checks: Checks::new(broken, &keys),
            events: 0,
            dirty: false,
            racing: None,
            quiet: Faults { proofs: 1_000, ..Faults::default() },
            queue: BinaryHeap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            order: 0,
            ops: 0,
            immediate: VecDeque::new(),
            log: logs.then(Vec::new),
            nodes,
            keys,
            plan,
            chance,
            broken,
        };
        simulation.log(|simulation| format!("{:?}", simulation.plan));
        simulation.prepare();
        simulation
    }

    fn prepare(&mut self) {
        for node in 0..self.nodes.len() {
            self.started(node);
        }
        for client in 0..self.plan.publishers {
            self.publishers.push(Publisher::default());
            let at = self.chance.between(10 * MILLISECOND, SECOND);
            self.after(at, What::Publish(client));
        }
        for subscriber in 0..self.plan.subscribers {
            self.subscribers.push(Subscriber::new());
            let at = self.chance.below(SECOND);
            self.after(at, What::Connect(subscriber));
        }
        self.after(10 * MILLISECOND, What::Read);
        self.plan_faults();
        let chaos = self.plan.chaos;
        self.after(chaos, What::Heal);
    }

    /// Goes on until everything is settled, or a promise is broken.
    pub(super) fn run(&mut self) {
        while self.act != Act::Done && self.checks.violation.is_none() {
            let Some(Reverse((at, _, slot))) = self.queue.pop() else {
                return self.checks.violated("nothing happens any more".to_owned());
            };
            self.now = at;
            self.free.push(slot);
            let Some(what) = self.slots[slot].take() else { continue };
            self.events += 1;
            self.happen(what);
            self.drain();
            self.look_around();
            if self.act == Act::Chaos && self.events >= MOST_EVENTS {
                self.heal();
                self.drain();
            }
            if self.act != Act::Chaos && self.now > self.healed_at + SETTLES_WITHIN {
                if self.checks.client_only {
                    // A broken rule need not settle; but a subscriber that is never told is told so by its own eyes.
                    if let Some(subscriber) = self.behind() {
                        self.checks.violated(format!("P3: subscriber {subscriber} never gets to the newest"));
                    }
                    return;
                }
                let reason = self.unsettled().unwrap_or_else(|| "the last reads are not answered".to_owned());
                self.checks.violated(format!("does not settle: {reason}"));
            }
        }
    }

    fn drain(&mut self) {
        while let Some((node, mail)) = self.immediate.pop_front() {
            self.handle(node, mail);
        }
    }

    fn happen(&mut self, what: What) {
        if self.log.is_some() && !matches!(what, What::Waited(..) | What::Settle | What::Read) {
            self.log(|_| format!("{what:?}"));
        }
        match what {
            What::Arrive(op, request) => self.arrive(op, request),
            What::Durable(op) => self.at_database(|db, out| db.durable(op, out)),
            What::Waited(op, step) => {
                let mut undone = false;
                self.at_database(|db, out| undone = db.time_out(op, step, out));
                if undone {
                    self.log(|_| format!("{op:?} was undone for waiting"));
                }
            }
            What::Closed(op) => self.at_database(|db, out| db.kill(op, out)),
            What::Process(node, process, mail) => self.deliver(node, process, mail),
            What::Network(from, to, message) => {
                if !self.cut[from][to] {
                    self.received(to, message);
                }
            }
            What::Fault(fault) => self.fault(fault),
            What::Publish(client) => self.client(client),
            What::Read => self.read_somewhere(),
            What::Connect(subscriber) => self.connect(subscriber),
            What::Links(node) => self.look_at_links(node),
            What::Heal => self.heal(),
            What::Settle => self.settle(),
        }
    }

    /// Mail comes to a process, which takes it when it runs.
    pub(super) fn deliver(&mut self, node: usize, process: u32, mail: Mail) {
        let to = &mut self.nodes[node];
        if to.process != process {
            return;
        }
        match (to.run, &mail) {
            (Run::Down, _) => {}
            (Run::Paused, Mail::Timer(..) | Mail::FlagDown) => to.late_timers.push_back(mail),
            (Run::Paused, _) => to.backlog.push_back(mail),
            (Run::Up, _) => self.handle(node, mail),
        }
    }

    /// A process that stood still takes what came in meanwhile, and its timers after that.
    pub(super) fn resume(&mut self, node: usize) {
        let to = &mut self.nodes[node];
        to.run = Run::Up;
        let waiting = to.backlog.drain(..).chain(to.late_timers.drain(..));
        self.immediate.extend(waiting.map(|mail| (node, mail)));
    }

    pub(super) fn next_op(&mut self, node: usize) -> OpId {
        self.ops += 1;
        OpId { node, process: self.nodes[node].process, number: self.ops }
    }

    /// The faults of this moment.
    pub(super) fn faults(&self) -> &Faults {
        if self.act == Act::Chaos { &self.plan.faults } else { &self.quiet }
    }

    pub(super) fn log(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.log.is_some() {
            let line = format!("{:>10.6} {}", self.now as f64 / SECOND as f64, line(self));
            if let Some(log) = &mut self.log {
                log.push(line);
            }
        }
    }

    pub(super) fn take_log(&mut self) -> Vec<String> {
        self.log.take().unwrap_or_default()
    }

    /// Something may happen to a node at one of its interesting moments.
    pub(super) fn moment(&mut self, node: usize) {
        if self.chance.permille(self.faults().moments) {
            let fault = self.fault_of(node);
            self.after(0, What::Fault(fault));
        }
    }

    /// The node a name stands for.
    pub(super) fn index_of(&self, name: &crate::member::NodeId) -> usize {
        usize::from(name.0.as_bytes()[0] - b'a')
    }

    pub(super) fn is_broken(&self, variant: Variant) -> bool {
        self.broken.is(variant)
    }
}
