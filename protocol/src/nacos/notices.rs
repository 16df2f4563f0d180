//! Notices that are sent until they are acknowledged: one at a time for each subject, so that a newer one takes the
//! place of one that waits. A notice that is not acknowledged in time, or has not done what it should, is repeated
//! after a pause that grows, and given up silently after a few times: some clients never acknowledge, and are none the
//! worse for it. Repetitions are spread: a client that overlooks those which come close together hears each, and one
//! that is slow is not flooded. Owns times and counts; what a notice says is made when it is sent.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use crate::time::Mono;

/// How patient one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How long an acknowledgement may take.
    pub patience: Duration,
    /// The pause before the first repetition of one that was not acknowledged; the second is twice as long, and so on.
    pub step: Duration,
    /// The pause before the first repetition of one that was acknowledged and has not done what it should. Those that
    /// follow are longer, by steps.
    pub first: Duration,
    /// The time between two repetitions at least, whatever they are about: more than a client takes to ask what one is
    /// about.
    pub spread: Duration,
    /// How often one is sent at most.
    pub tries: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(3),
            step: Duration::from_secs(2),
            first: Duration::from_secs(1),
            spread: Duration::from_millis(10),
            tries: 5,
        }
    }
}

/// Where a notice is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// To be sent, at this time at the earliest.
    Due(Mono),
    /// A repetition that is due, and is sent when it is its turn.
    Turn(Mono),
    /// Sent under this number; to be acknowledged by then.
    Sent(u64, Mono),
}

#[derive(Debug, Clone, Copy)]
struct Standing {
    stage: Stage,
    /// How often it was sent.
    tries: u32,
    /// Something happened since it was sent.
    again: bool,
}

impl Standing {
    fn at(&self) -> Mono {
        match self.stage {
            Stage::Due(at) | Stage::Turn(at) | Stage::Sent(_, at) => at,
        }
    }
}

/// A notice to be sent now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sending<S> {
    /// Its number: no other one of the connection has it.
    pub number: u64,
    /// What about.
    pub subject: S,
    /// It was sent before, and not acknowledged.
    pub is_repeated: bool,
}

/// A notice that was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged<S> {
    /// What about.
    pub subject: S,
    /// How often it was sent.
    pub tries: u32,
    /// It is sent again, because something happened since.
    pub again: bool,
}

/// The notices of one connection.
#[derive(Debug)]
pub struct Notices<S> {
    policy: Policy,
    last: u64,
    standing: BTreeMap<S, Standing>,
    /// When something is to be done about which.
    times: BTreeSet<(Mono, S)>,
    sent: HashMap<u64, S>,
    /// When the next repetition may be sent.
    next_turn: Mono,
    given_up: u64,
}

impl<S: Ord + Clone> Notices<S> {
    /// None yet.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            last: 0,
            standing: BTreeMap::new(),
            times: BTreeSet::new(),
            sent: HashMap::new(),
            next_turn: Mono::default(),
            given_up: 0,
        }
    }

    /// A number for a message that is no notice.
    pub fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// There is something to tell. One that waits is sent at once; one that is under way is sent again afterwards.
    pub fn want(&mut self, now: Mono, subject: S) {
        match self.standing.get_mut(&subject) {
            Some(standing) if matches!(standing.stage, Stage::Sent(..)) => standing.again = true,
            _ => self.place(subject, Standing { stage: Stage::Due(now), tries: 0, again: false }),
        }
    }

    /// The notice was acknowledged and has not done what it should: it is to be repeated after a pause, unless it turns
    /// out before that it has. False when it was sent often enough, and is not.
    pub fn repeat(&mut self, now: Mono, subject: S, tries: u32) -> bool {
        if tries >= self.policy.tries {
            self.given_up += 1;
            return false;
        }
        let pause = if tries <= 1 { self.policy.first } else { self.policy.step * (tries - 1) };
        self.place(subject, Standing { stage: Stage::Due(now.after(pause)), tries, again: false });
        true
    }

    /// The client was told in another way. In case it has not listened to that, a notice follows after a pause.
    pub fn want_later(&mut self, now: Mono, subject: S) {
        let stage = Stage::Due(now.after(self.policy.step));
        self.place(subject, Standing { stage, tries: 1, again: false });
    }

    /// There is nothing to tell any more. What is under way stays so, and is not repeated at once.
    pub fn settle(&mut self, subject: &S) {
        match self.standing.get_mut(subject) {
            Some(standing) if matches!(standing.stage, Stage::Sent(..)) => standing.again = false,
            Some(_) => self.forget(subject),
            None => {}
        }
    }

    /// The subject is no longer the client's. An acknowledgement that comes is of nothing.
    pub fn forget(&mut self, subject: &S) {
        if let Some(standing) = self.standing.remove(subject) {
            self.times.remove(&(standing.at(), subject.clone()));
            if let Stage::Sent(number, _) = standing.stage {
                self.sent.remove(&number);
            }
        }
    }

    /// Subjects that are waiting or under way, in order from this one on.
    pub fn from<'a>(&'a self, first: &S) -> impl Iterator<Item = &'a S> + use<'a, S> {
        self.standing.range(first.clone()..).map(|(subject, _)| subject)
    }

    /// True when a notice about it waits or is under way.
    #[must_use]
    pub fn holds(&self, subject: &S) -> bool {
        self.standing.contains_key(subject)
    }

    /// How many wait or are under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.standing.len()
    }

    /// True when none waits or is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.standing.is_empty()
    }

    /// How many were given up since the last call.
    pub fn take_given_up(&mut self) -> u64 {
        std::mem::take(&mut self.given_up)
    }

    /// When the next thing is to be done.
    #[must_use]
    pub fn wakeup(&self) -> Option<Mono> {
        self.times.first().map(|(at, _)| *at)
    }

    /// The next notice that is to be sent now. It counts as sent from here on.
    pub fn next(&mut self, now: Mono) -> Option<Sending<S>> {
        loop {
            let (at, subject) = self.times.first()?.clone();
            if at > now {
                return None;
            }
            let standing = self.standing.get(&subject).copied()?;
            match standing.stage {
                Stage::Due(_) if standing.tries > 0 => {
                    let turn = self.next_turn.max(now);
                    self.next_turn = turn.after(self.policy.spread);
                    self.place(subject, Standing { stage: Stage::Turn(turn), ..standing });
                }
                Stage::Due(_) | Stage::Turn(_) => {
                    let number = self.number();
                    let stage = Stage::Sent(number, now.after(self.policy.patience));
                    let tries = standing.tries + 1;
                    self.place(subject.clone(), Standing { stage, tries, again: false });
                    self.sent.insert(number, subject.clone());
                    return Some(Sending { number, subject, is_repeated: standing.tries > 0 });
                }
                Stage::Sent(number, _) => {
                    self.sent.remove(&number);
                    if standing.again {
                        let stage = Stage::Due(now);
                        self.place(subject, Standing { stage, tries: 0, again: false });
                    } else if standing.tries >= self.policy.tries {
                        self.given_up += 1;
                        self.forget(&subject);
                    } else {
                        let stage = Stage::Due(now.after(self.policy.step * standing.tries));
                        self.place(subject, Standing { stage, ..standing });
                    }
                }
            }
        }
    }

    /// The client acknowledged the notice of this number, or said that it failed. `None` when there is none, or when it
    /// is as good as not acknowledged.
    pub fn acknowledge(&mut self, now: Mono, number: u64, is_good: bool) -> Option<Acknowledged<S>> {
        let subject = self.sent.remove(&number)?;
        let standing = *self.standing.get(&subject)?;
        if standing.again {
            self.place(subject.clone(), Standing { stage: Stage::Due(now), tries: 0, again: false });
        } else if is_good {
            self.forget(&subject);
        } else {
            // As one whose time is over.
            self.sent.insert(number, subject.clone());
            self.place(subject, Standing { stage: Stage::Sent(number, now), ..standing });
            return None;
        }
        is_good.then_some(Acknowledged { subject, tries: standing.tries, again: standing.again })
    }

    fn place(&mut self, subject: S, standing: Standing) {
        if let Some(before) = self.standing.insert(subject.clone(), standing) {
            self.times.remove(&(before.at(), subject.clone()));
        }
        self.times.insert((standing.at(), subject));
    }
}

#[cfg(test)]
mod tests;
