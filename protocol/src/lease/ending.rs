//! How a life as a member ends: the cache is emptied first, then everybody hears of it, then the row is given back.
//! Owns that order, and what follows when it is done.

use super::{Effect, Lease, Mono, Rule, State, Then};

impl Lease {
    /// Ends the present life, if there is one.
    pub(super) fn start_over(&mut self, then: Then, out: &mut Vec<Effect>) {
        match self.state {
            State::Member { incarnation } | State::Admitting { incarnation, .. } => {
                self.state = State::Flushing { incarnation: Some(incarnation), then };
                if self.rules.keep(Rule::Flush) {
                    out.push(Effect::Flush);
                } else {
                    self.flushed(Mono::default(), out);
                }
            }
            State::Direct { .. } if matches!(then, Then::Begin { .. }) => {
                self.state = State::Flushing { incarnation: None, then };
                out.push(Effect::Flush);
            }
            // What is under way ends first; it begins a new life anyhow, and a pause before it is kept.
            State::Direct { .. }
            | State::Joining { .. }
            | State::Flushing { .. }
            | State::Releasing { .. }
            | State::Beginning
            | State::Left => {}
        }
    }

    pub(super) fn flushed(&mut self, now: Mono, out: &mut Vec<Effect>) {
        let State::Flushing { incarnation, then } = self.state else { return };
        // The others hear that the life is over before anything of the next one happens.
        out.push(Effect::Tell(self.membership(now, None)));
        match (then, incarnation) {
            (Then::Begin { lost, known, because }, _) => {
                self.state = State::Beginning;
                out.push(Effect::BeginTimeline { lost, known, evidence: self.memory.evidence(because) });
            }
            (_, Some(incarnation)) => {
                self.state = State::Releasing { then };
                out.push(Effect::Release { incarnation });
            }
            (Then::JoinAt(at), None) => self.state = State::Direct { join_at: self.may_join(at) },
            (Then::Leave, None) => self.left(out),
        }
    }

    pub(super) fn released(&mut self, now: Mono, out: &mut Vec<Effect>) {
        let State::Releasing { then } = self.state else { return };
        self.watched.forget(&self.node);
        match then {
            Then::Leave => self.left(out),
            Then::JoinAt(at) => {
                self.state = State::Direct { join_at: self.may_join(at) };
                self.next_ask = now;
            }
            // A new timeline takes all rows away; none is given back before it.
            Then::Begin { .. } => {}
        }
    }

    /// The row is given back: nothing is acknowledged any more.
    fn left(&mut self, out: &mut Vec<Effect>) {
        self.state = State::Left;
        self.remember_all(out);
        out.push(Effect::Left);
    }

    pub(super) fn leave(&mut self, out: &mut Vec<Effect>) {
        match self.state {
            State::Member { .. } | State::Admitting { .. } => self.start_over(Then::Leave, out),
            State::Flushing { incarnation, .. } => self.state = State::Flushing { incarnation, then: Then::Leave },
            State::Releasing { .. } => self.state = State::Releasing { then: Then::Leave },
            State::Joining { incarnation, asked, .. } => {
                self.state = State::Joining { incarnation, asked, leaving: true };
            }
            State::Direct { .. } | State::Beginning => match self.may_have_row {
                Some(incarnation) => {
                    self.state = State::Releasing { then: Then::Leave };
                    out.push(Effect::Release { incarnation });
                }
                None => self.left(out),
            },
            State::Left => {}
        }
    }
}
