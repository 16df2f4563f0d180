//! How a node becomes a member, stays one, loses its membership, and takes the rows of dead nodes away.
//!
//! A row in the membership table is the right to answer from memory, for as long as a lease lasts after the last
//! renewal was sent, by the holder's own clock. A row whose number has stood still for longer than any lease can last,
//! by the clock of whoever watched it, may be deleted. No clock is ever compared with another one.
//!
//! [`Lease`] is the machine. The contract of the one who drives it:
//! 1. Effects are carried out in the order given. Each `Join`, `Renew`, `Observe`, `Fence`, `Release`, `BeginTimeline`,
//!    `Admit` and `Flush` is answered by its event, once, however long that takes.
//! 2. The time is that of a clock that runs on while the machine sleeps, read when the event is handed over.
//! 3. [`Event::Tick`] comes at [`Lease::next_wakeup`], or later.
//!
//! **A lapse is not a flush.** A lease that ran out is leave to be fenced, no more. A renewal that succeeds in the same
//! life proves that nobody did: the cache is as exact as before.

use std::collections::BTreeSet;
use std::time::Duration;

use uuid::Uuid;

use crate::extent::{Extent, LastKnown};
use crate::member::{Incarnation, LeaseEnd, MemberRow, NodeId, ReadLease, Timeline};
use crate::rules::Rules;
use crate::time::Mono;

mod admission;
mod elsewhere;
mod ending;
mod loss;
mod message;
mod split;
mod state;
mod watched;

pub use admission::{Admission, Candidate, Occupant, admit};
pub use message::{
    Announcement, BeginResult, CommitGate, Effect, Event, Evidence, FenceResult, JoinResult, LeaseMode,
    LeaseObservation, Membership, Observation, Options, RenewResult, Split,
};

use elsewhere::Apart;
use loss::Memory;
use split::Peers;
use state::{Asked, State, Then};
use watched::Watched;

/// The machine. See the module's page for what it owes and is owed.
#[derive(Debug)]
pub struct Lease {
    options: Options,
    node: NodeId,
    first_life: u128,
    next_life: u128,
    state: State,
    asked: Option<Asked>,
    next_ask: Mono,
    watched: Watched,
    apart: Apart,
    timeline: Option<Timeline>,
    known: Extent,
    memory: Memory,
    peers: Peers,
    /// What was told last.
    gate: CommitGate,
    linked: BTreeSet<NodeId>,
    /// Until when a join has to wait for links to all living members; `None` for ever.
    barred_until: Option<Mono>,
    back_off: Duration,
    admitted_at: Mono,
    /// The last life whose row may be there although the node does not count on it.
    may_have_row: Option<Incarnation>,
    pub(crate) rules: Rules<Rule>,
}

/// A rule of this file that a test can switch off, to show that its absence is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// A lease counts from before its renewal was sent, not from when the answer came.
    CountedFromSending,
    /// A row is fenced only after it stood still on the own clock.
    OwnClock,
    /// The cache is emptied when a life ends.
    Flush,
}

impl Lease {
    /// A machine of `node` that starts at `now`. Lives are numbered up from `first_life`, which has to be random enough
    /// that no other process comes near it.
    #[must_use]
    pub fn new(options: Options, node: NodeId, first_life: Uuid, now: Mono) -> Self {
        // Room to count up.
        let first_life = first_life.as_u128() >> 1;
        let join_at = (options.terms != LeaseMode::Direct).then_some(now);
        let back_off = options.back_off[0];
        Self {
            barred_until: Some(now.after(options.join_patience)),
            watched: Watched::new(options.fenced_after(), options.longest_gap, now),
            apart: Apart::default(),
            memory: Memory::default(),
            peers: Peers::new(options.fenced_after()),
            gate: CommitGate::Open,
            may_have_row: None,
            options,
            node,
            first_life,
            next_life: first_life,
            state: State::Direct { join_at },
            asked: None,
            next_ask: now,
            timeline: None,
            known: Extent::default(),
            linked: BTreeSet::new(),
            back_off,
            admitted_at: now,
            rules: Rules::default(),
        }
    }

    /// The same, of a node that kept this of its database when it was last there.
    #[must_use]
    pub fn remembering(mut self, last: LastKnown) -> Self {
        self.known = last.extent;
        self.memory = Memory::of(last);
        self
    }

    /// The own life as a member, while there is one.
    #[must_use]
    pub fn incarnation(&self) -> Option<Incarnation> {
        if let State::Member { incarnation } = self.state { Some(incarnation) } else { None }
    }

    /// When time alone makes the machine act next.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Mono> {
        let ask = (self.asked.is_none() && self.asks()).then_some(self.next_ask);
        let join = if let State::Direct { join_at: Some(at) } = self.state
            && self.asked.is_none()
        {
            self.join_time(at)
        } else {
            None
        };
        let fence = if self.asks() { self.watched.next_deadline() } else { None };
        let gate = self.peers.next_change();
        [ask, join, fence, gate].into_iter().flatten().min()
    }

    /// Takes one event and appends what has to be done.
    pub fn step(&mut self, now: Mono, event: Event, out: &mut Vec<Effect>) {
        match event {
            Event::Joined { incarnation, result } => self.joined(now, incarnation, result, out),
            Event::Renewed { incarnation, result } => self.renewed(now, incarnation, result, out),
            Event::Observed(observation) => self.observed(now, observation, out),
            Event::Flushed => self.flushed(now, out),
            Event::Admitted => self.admitted(out),
            Event::Fenced { node, result } => self.fenced(now, &node, result),
            Event::Released => self.released(now, out),
            Event::TimelineBegun(result) => self.timeline_begun(now, result),
            Event::Linked(nodes) => self.linked = nodes,
            Event::CommitObserved(extent) => self.commit_observed(extent, out),
            Event::RowLost { key, version } => self.row_lost((key, version), out),
            Event::PeerAnnouncement(announcement) => self.announced(now, announcement),
            Event::Rejoin => self.start_over(Then::JoinAt(now), out),
            Event::Refresh => self.next_ask = self.next_ask.min(now),
            Event::Leave => self.leave(out),
            Event::Tick => {}
        }
        self.act(now, out);
        self.tell_gate(now, out);
    }

    fn joined(&mut self, now: Mono, incarnation: Incarnation, result: JoinResult, out: &mut Vec<Effect>) {
        let State::Joining { incarnation: own, asked, leaving } = self.state else { return };
        if own != incarnation {
            return;
        }
        if leaving {
            // Whatever the answer, the row may be there.
            self.state = State::Releasing { then: Then::Leave };
            return out.push(Effect::Release { incarnation });
        }
        match result {
            JoinResult::Joined(observation) => {
                if let Some(then) = self.loss(asked, &observation) {
                    self.state = State::Flushing { incarnation: Some(incarnation), then };
                    return out.push(Effect::Flush);
                }
                self.see(now, asked, &observation);
                // The rows of the join itself count, not those seen before it.
                if self.is_barred(now) && !self.reaches_all(now) {
                    self.state = State::Releasing { then: Then::JoinAt(self.pause(now)) };
                    return out.push(Effect::Release { incarnation });
                }
                self.state = State::Admitting { incarnation, sent: asked.sent };
                let grant = self.grant(incarnation, asked.sent, now);
                out.push(Effect::Admit { grant, timeline: observation.timeline, revision: observation.revision });
            }
            JoinResult::Held(observation) => self.wait(now, asked, &observation, out),
            JoinResult::Elsewhere { observation, ours } => {
                self.apart.is_at(&ours);
                self.wait(now, asked, &observation, out);
            }
            JoinResult::Incompatible { .. } => self.state = State::Direct { join_at: Some(self.pause(now)) },
            JoinResult::Failed => {
                self.may_have_row = Some(incarnation);
                self.state = State::Direct { join_at: Some(now.after(self.options.retry)) };
            }
        }
    }

    /// There are rows beside which this node can't have its own: they are looked at until they go.
    fn wait(&mut self, now: Mono, asked: Asked, observation: &Observation, out: &mut Vec<Effect>) {
        self.next_ask = now.after(self.options.renew_every);
        self.state = State::Direct { join_at: Some(self.next_ask) };
        self.take(now, asked, observation, out);
    }

    fn admitted(&mut self, out: &mut Vec<Effect>) {
        let State::Admitting { incarnation, sent } = self.state else { return };
        self.state = State::Member { incarnation };
        self.admitted_at = sent;
        self.barred_until = Some(Mono::default());
        self.next_ask = sent.after(self.options.renew_every);
        self.tell(sent, out);
        self.remember(true, out);
    }

    fn renewed(&mut self, now: Mono, incarnation: Incarnation, result: RenewResult, out: &mut Vec<Effect>) {
        let Some(asked) = self.asked.take() else { return };
        if self.incarnation() != Some(incarnation) {
            // A life that is over; the flush it ended with is under way.
            return;
        }
        match result {
            RenewResult::Renewed(observation) => {
                self.next_ask = asked.sent.after(self.options.renew_every).max(now);
                if now.since(self.admitted_at) >= self.options.back_off[1] {
                    self.back_off = self.options.back_off[0];
                }
                out.push(Effect::Extend { grant: self.grant(incarnation, asked.sent, now) });
                if let Some(observation) = observation {
                    self.take(now, asked, &observation, out);
                }
                self.remember(true, out);
            }
            RenewResult::Refused(observation) => {
                // Without the rows the worse is taken for granted.
                let revoked = observation.as_ref().is_none_or(|observation| {
                    observation.rows.iter().any(|row| row.incarnation == incarnation && row.revoked)
                });
                if let Some(observation) = observation {
                    self.see(now, asked, &observation);
                }
                // Whoever took the right away could not reach this node: it comes back when links are there.
                self.barred_until = (!revoked).then_some(now.after(self.options.join_patience));
                let at = if revoked { self.pause(now) } else { now };
                self.start_over(Then::JoinAt(at), out);
            }
            RenewResult::Failed => self.next_ask = now.after(self.options.retry),
        }
    }

    fn observed(&mut self, now: Mono, observation: Option<Observation>, out: &mut Vec<Effect>) {
        let Some(asked) = self.asked.take() else { return };
        match observation {
            Some(observation) => {
                self.next_ask = asked.sent.after(self.options.renew_every).max(now);
                self.take(now, asked, &observation, out);
                self.remember(true, out);
            }
            None => self.next_ask = now.after(self.options.retry),
        }
    }

    /// Takes note of an observation and of what it says about the timeline.
    fn take(&mut self, now: Mono, asked: Asked, observation: &Observation, out: &mut Vec<Effect>) {
        if let Some(then) = self.loss(asked, observation) {
            return self.start_over(then, out);
        }
        let moved = self.timeline.is_some_and(|known| known != observation.timeline);
        self.see(now, asked, observation);
        if moved {
            self.start_over(Then::JoinAt(now), out);
        }
        if matches!(self.state, State::Member { .. } | State::Direct { .. }) {
            self.tell(now, out);
        }
    }

    fn see(&mut self, now: Mono, asked: Asked, observation: &Observation) {
        if self.timeline != Some(observation.timeline) {
            // Another timeline: its rows are other rows.
            if self.timeline.replace(observation.timeline).is_some() {
                self.watched.clear();
            }
        }
        self.known.see(observation.extent());
        self.memory.see(observation);
        self.peers.see(asked.sent, observation);
        self.watched.see(now, &observation.rows);
        if let Some(own) = observation.rows.iter().find(|row| self.is_own(row.incarnation)) {
            self.apart.is_at(&own.database_member);
        }
        self.apart.see(observation.rows.iter().filter(|row| row.node != self.node));
        if self.watched.rows().any(|row| row.revoked && Some(row.incarnation) != self.incarnation()) {
            self.next_ask = self.next_ask.min(now.after(self.options.look_soon));
        }
    }

    fn fenced(&mut self, now: Mono, node: &NodeId, result: FenceResult) {
        match result {
            FenceResult::Fenced => self.watched.fenced(node),
            FenceResult::Missed => self.watched.start_over(now, node),
            FenceResult::Failed => self.watched.put_off(now.after(self.options.retry), node),
        }
        self.next_ask = self.next_ask.min(now);
    }

    /// What time and state demand.
    fn act(&mut self, now: Mono, out: &mut Vec<Effect>) {
        if self.asks() {
            for (node, incarnation, renew_seq) in
                self.watched.due(now, self.incarnation(), self.rules.keep(Rule::OwnClock))
            {
                out.push(Effect::Fence { node, incarnation, renew_seq });
            }
        }
        if self.asked.is_some() {
            return;
        }
        match self.state {
            State::Direct { join_at: Some(at) } if self.join_time(at).is_some_and(|at| at <= now) => {
                self.join(now, out)
            }
            State::Direct { .. } if self.asks() && self.next_ask <= now => {
                self.asked = Some(Asked { sent: now, known: self.known });
                out.push(Effect::Observe);
            }
            State::Member { incarnation } if self.asks() && self.next_ask <= now => {
                self.asked = Some(Asked { sent: now, known: self.known });
                out.push(Effect::Renew { incarnation });
            }
            State::Beginning
            | State::Direct { .. }
            | State::Joining { .. }
            | State::Admitting { .. }
            | State::Member { .. }
            | State::Flushing { .. }
            | State::Releasing { .. }
            | State::Left => {}
        }
    }

    fn join(&mut self, now: Mono, out: &mut Vec<Effect>) {
        let incarnation = Incarnation(Uuid::from_u128(self.next_life));
        self.next_life += 1;
        let asked = Asked { sent: now, known: self.known };
        self.state = State::Joining { incarnation, asked, leaving: false };
        out.push(Effect::Join { incarnation, first_life: Incarnation(Uuid::from_u128(self.first_life)) });
    }

    /// True when the rows are looked at: not by a node that is alone for ever, nor by one that is on its way.
    fn asks(&self) -> bool {
        self.options.terms != LeaseMode::Forever && matches!(self.state, State::Direct { .. } | State::Member { .. })
    }

    fn may_join(&self, at: Mono) -> Option<Mono> {
        (self.options.terms != LeaseMode::Direct).then_some(at)
    }

    /// When a join planned for `at` may be sent; `None` as long as links are missing.
    fn join_time(&self, at: Mono) -> Option<Mono> {
        if self.options.terms == LeaseMode::Forever {
            return Some(at);
        }
        match self.barred_until {
            // Nothing was seen yet: the first look comes first.
            Some(until) if self.timeline.is_none() => Some(at.max(until)),
            None if self.timeline.is_none() => None,
            _ if self.reaches_all(self.next_ask) => Some(at),
            until => until.map(|until| at.max(until)),
        }
    }

    fn is_barred(&self, now: Mono) -> bool {
        self.options.terms == LeaseMode::Renewed && self.barred_until.is_none_or(|until| now < until)
    }

    /// True when every other living member is linked to this node.
    fn reaches_all(&self, now: Mono) -> bool {
        let mut others = self.watched.living(now).filter(|row| row.node != self.node);
        others.all(|row| self.linked.contains(&row.node))
    }

    fn grant(&self, incarnation: Incarnation, sent: Mono, now: Mono) -> ReadLease {
        let from = if self.rules.keep(Rule::CountedFromSending) { sent } else { now };
        let ends = match self.options.terms {
            LeaseMode::Forever => LeaseEnd::Never,
            LeaseMode::Renewed | LeaseMode::Direct => LeaseEnd::At(from.after(self.options.trusted_for())),
        };
        ReadLease { incarnation, ends }
    }

    /// The pause before the next join of a node whose row was taken away; doubled each time.
    fn pause(&mut self, now: Mono) -> Mono {
        let at = now.after(self.back_off);
        self.back_off = self.back_off.saturating_mul(2).min(self.options.back_off[1]);
        at
    }

    fn tell(&mut self, now: Mono, out: &mut Vec<Effect>) {
        let membership = self.membership(now, self.incarnation());
        self.note_gate(&membership.gate);
        out.push(Effect::Tell(membership));
    }

    fn membership(&self, now: Mono, incarnation: Option<Incarnation>) -> Membership {
        let rows: Vec<(MemberRow, LeaseObservation)> = self.watched.sights(now, incarnation);
        let namesake = self.watched.renewed(now, &self.node).filter(|row| !self.is_own(row.incarnation));
        Membership {
            incarnation,
            timeline: self.timeline.unwrap_or_default(),
            revision: self.known.revision,
            rows,
            namesake: namesake.map(|row| row.address.clone()),
            elsewhere: self.apart.told(self.watched.living(now)),
            database: self.peers.database(),
            gate: self.peers.gate(now, &self.linked),
        }
    }

    /// A life of this process.
    fn is_own(&self, incarnation: Incarnation) -> bool {
        (self.first_life..self.next_life).contains(&incarnation.0.as_u128())
    }
}

#[cfg(test)]
mod tests;
