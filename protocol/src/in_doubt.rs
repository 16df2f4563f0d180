//! What became of a commit whose outcome is not known: how the database is asked, how often and how soon, and what each
//! answer proves. Owns one such question from its beginning to its end; what the outcome means for the batch is for the
//! publisher.
//!
//! With an own ack the node takes that back first, by raising the floor of its row and looking under the same lock:
//! what is not there then never will be. Without one it can only look.
//!
//! The contract of the one who drives it:
//! 1. Each effect but [`Effect::End`] is answered by the event that it names, once. The database is asked under the
//!    lock that every commit takes.
//! 2. After [`Effect::End`] the receiver of the node hears what may be void before the publisher hears the outcome.

use std::time::Duration;

use crate::member::{Ack, AckNo};
use crate::publish::Outcome;
use crate::rules::Rules;
use crate::write_request::{Recorded, RequestId};

/// The pauses before each try to find out what became of a batch: soon again and again, for nothing is committed until
/// it is known, and a database that is restarted is back within a second or two.
const PAUSES: [Duration; 9] = [
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(300),
    Duration::from_millis(400),
    Duration::from_millis(500),
    Duration::from_millis(500),
    Duration::from_millis(500),
    Duration::from_millis(500),
];

/// How a question to the database ended: with the request ids that are there, if it was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The pause is over.
    Paused,
    /// Raising the floor ended; `None` when there is no row of that life any more.
    Floored(Result<Option<Vec<(RequestId, Recorded)>>, String>),
    /// The look ended.
    Looked(Result<Vec<(RequestId, Recorded)>, String>),
}

/// What the driver has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Wait so long, then say [`Event::Paused`].
    Pause(Duration),
    /// Raise the floor of the row of this ack above its number and look for the request ids in the same transaction;
    /// answered by [`Event::Floored`].
    RaiseFloor(Ack),
    /// Look for the request ids; answered by [`Event::Looked`].
    FindRequests,
    /// Nothing more is asked.
    End {
        /// Own acks up to this number may be void: the receiver is told so.
        raised: Option<AckNo>,
        /// The publisher is told that.
        outcome: Outcome,
    },
}

/// A rule of this file that a test can switch off, to show that its absence is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// The own ack is taken back before it is said that a commit is not there.
    SelfFence,
    /// A floor that is refused says that nothing lands any more, not that nothing has landed.
    LookWithoutRow,
}

/// Where the question stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Pausing,
    Flooring,
    /// `is_shut_out`: the own row is gone, so that no commit of this node can land any more.
    Looking {
        is_shut_out: bool,
    },
    Ended,
}

/// One question. See the module's page for what it owes and is owed.
#[derive(Debug, Clone)]
pub struct InDoubt {
    ack: Option<Ack>,
    state: State,
    /// How many pauses have been made.
    paused: usize,
    /// Why the last try did not end it.
    reason: String,
    pub(crate) rules: Rules<Rule>,
}

impl InDoubt {
    /// A question about a commit that stood on this own ack, or on none. Begins with [`InDoubt::begin`].
    #[must_use]
    pub fn new(ack: Option<Ack>) -> Self {
        Self { ack, state: State::Pausing, paused: 0, reason: String::new(), rules: Rules::default() }
    }

    /// What is to be done first.
    pub fn begin(&mut self) -> Effect {
        self.pause()
    }

    /// Takes one event and says what is to be done next; `None` when the event answers nothing that was asked.
    pub fn step(&mut self, event: Event) -> Option<Effect> {
        match (event, &self.state) {
            (Event::Paused, State::Pausing) => Some(self.ask()),
            (Event::Floored(result), State::Flooring) => Some(match result {
                Ok(Some(landed)) => self.end(Outcome::Landed(landed)),
                // Without its row no commit of this node can land: what is found by a look is all there is.
                Ok(None) if self.rules.keep(Rule::LookWithoutRow) => self.look(true),
                Ok(None) => self.end(Outcome::Landed(Vec::new())),
                Err(reason) => self.again(reason),
            }),
            (Event::Looked(result), State::Looking { is_shut_out }) => Some(match result {
                Ok(landed) if *is_shut_out || !self.rules.keep(Rule::SelfFence) => self.end(Outcome::Landed(landed)),
                Ok(landed) => self.end(Outcome::LandedUncertain(landed)),
                Err(reason) => self.again(reason),
            }),
            (
                Event::Paused | Event::Floored(_) | Event::Looked(_),
                State::Pausing | State::Flooring | State::Looking { .. } | State::Ended,
            ) => None,
        }
    }

    fn ask(&mut self) -> Effect {
        match &self.ack {
            Some(ack) if self.rules.keep(Rule::SelfFence) => {
                self.state = State::Flooring;
                Effect::RaiseFloor(ack.clone())
            }
            Some(_) | None => self.look(false),
        }
    }

    fn look(&mut self, is_shut_out: bool) -> Effect {
        self.state = State::Looking { is_shut_out };
        Effect::FindRequests
    }

    fn again(&mut self, reason: String) -> Effect {
        self.reason = reason;
        self.pause()
    }

    fn pause(&mut self) -> Effect {
        match PAUSES.get(self.paused) {
            Some(pause) => {
                self.paused += 1;
                self.state = State::Pausing;
                Effect::Pause(*pause)
            }
            None => {
                let reason = std::mem::take(&mut self.reason);
                self.end(Outcome::Unresolved { reason })
            }
        }
    }

    fn end(&mut self, outcome: Outcome) -> Effect {
        self.state = State::Ended;
        // Also when nobody knows whether the floor was raised: an ack that may be void is given no more.
        let raised = self.ack.as_ref().filter(|_| self.rules.keep(Rule::SelfFence)).map(|ack| ack.number);
        Effect::End { raised, outcome }
    }
}

#[cfg(test)]
mod tests;
