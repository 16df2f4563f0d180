//! What a client holds of each configuration that it listens to, as far as it has shown: by a digest that it reported,
//! or by what it was answered. A notice says only that something changed; from then on what the client holds is
//! unknown, until it asks or reports. Owns when a notice is due, and when one has not done what it should; sends and
//! reads nothing.
//!
//! # Driving [`Listens`]
//! 1. [`Listens::listen`], register for live changes of what is new, take [`Listens::moment`], read,
//!    [`Listens::compare`].
//! 2. Each live change: [`Listens::changed`]. Each answer to a query: [`Listens::given`], with the moment at which its
//!    read began.
//! 3. When the outbox gives a notice: [`Listens::sending`]. When it was acknowledged: [`Listens::acknowledged`].
//! 4. When live changes may have been lost: read everything, and [`Listens::recheck`].

use std::collections::HashMap;
use std::sync::Arc;

use super::{Outbox, Subject};
use crate::config::{ConfigState, Version};
use crate::content::{Md5, Reported};
use crate::key::ConfigKey;
use crate::push_ledger::PushStep;
use crate::session::client::Client;
use crate::session::position::{Mark, Position, Pushed, Reaction};
use crate::time::Mono;

/// A point in the sequence of live changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment(u64);

/// Something that became of a notice, for the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Of which configuration.
    pub key: ConfigKey,
    /// Of which version.
    pub version: Version,
    /// What.
    pub step: PushStep,
}

#[derive(Debug)]
struct Listen {
    /// As the client writes it.
    tenant: Box<str>,
    /// What the client said last.
    reported: Reported,
    /// The digest that the client has, if that is known.
    held: Option<Option<Md5>>,
    /// The newest state that is known.
    present: Option<Mark>,
    /// When it was told live.
    told: Moment,
    /// What the last query was answered.
    given: Option<Mark>,
    /// The version that the client was told of by the answer to its listening.
    answered: Option<Version>,
    /// The last version that the client proved to have.
    proven: Option<Mark>,
    noticed: Option<Pushed>,
}

impl Listen {
    /// Takes note of a state that was read since `began`. A live change in between is newer, and one before is not: a
    /// database may have lost it.
    fn learn(&mut self, mark: Mark, began: Moment) {
        let is_older = self.present.is_some_and(|present| present.version > mark.version);
        if !(is_older && self.told > began) {
            self.present = Some(mark);
        }
    }

    fn is_current(&self) -> bool {
        self.held.is_some_and(|held| self.present.is_some_and(|present| present.md5 == held))
    }
}

/// What a client listens to.
#[derive(Debug)]
pub struct Listens {
    client: Arc<Client>,
    keys: HashMap<ConfigKey, Listen>,
    now: Moment,
    steps: Vec<Step>,
}

impl Listens {
    /// Nothing yet.
    #[must_use]
    pub fn new(client: Arc<Client>) -> Self {
        Self { client, keys: HashMap::new(), now: Moment::default(), steps: Vec::new() }
    }

    /// The present moment: live changes told from here on are later.
    #[must_use]
    pub fn moment(&self) -> Moment {
        self.now
    }

    /// How many configurations are listened to.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// True when nothing is listened to.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// True when this one is.
    #[must_use]
    pub fn contains(&self, key: &ConfigKey) -> bool {
        self.keys.contains_key(key)
    }

    /// Everything that is listened to.
    pub fn keys(&self) -> impl Iterator<Item = &ConfigKey> {
        self.keys.keys()
    }

    /// The client listens, names the namespace so, and says what it holds. True when it did not listen before.
    pub fn listen(&mut self, key: &ConfigKey, tenant: &str, reported: Reported) -> bool {
        let held = match reported {
            Reported::Content(md5) => Some(md5),
            Reported::Other => None,
        };
        if let Some(listen) = self.keys.get_mut(key) {
            // What it was answered may still be on its way, and will take the place of what it has.
            let is_settled = listen.given.is_none_or(|given| held == Some(given.md5));
            (listen.reported, listen.held) = (reported, held.filter(|_| is_settled));
            if *listen.tenant != *tenant {
                listen.tenant = tenant.into();
            }
            return false;
        }
        let listen = Listen {
            tenant: tenant.into(),
            reported,
            held,
            present: None,
            told: self.now,
            given: None,
            answered: None,
            proven: None,
            noticed: None,
        };
        self.keys.insert(key.clone(), listen);
        true
    }

    /// The client does not listen any longer. True when it did.
    pub fn unlisten(&mut self, key: &ConfigKey, outbox: &mut Outbox) -> bool {
        outbox.forget(&Subject::Config(key.clone()));
        self.keys.remove(key).is_some()
    }

    /// A state that was read after the client said what it holds: has it something else? It is told so at once, by the
    /// answer. In case it does not listen to that, a notice follows when it has not asked for a while.
    pub fn compare(&mut self, now: Mono, outbox: &mut Outbox, state: &ConfigState, began: Moment) -> bool {
        let mark = Mark::of(state, &self.client);
        let Some(listen) = self.keys.get_mut(&state.key) else { return false };
        listen.learn(mark, began);
        let subject = Subject::Config(state.key.clone());
        if listen.present.is_some_and(|present| listen.reported == Reported::Content(present.md5)) {
            if listen.is_current() {
                outbox.settle(&subject);
            }
            listen.proven = listen.present;
            self.react(&state.key, Reaction::Applied);
            return false;
        }
        listen.answered = listen.present.map(|present| present.version);
        if !outbox.holds(&subject) {
            outbox.want_later(now, subject);
        }
        true
    }

    /// A query was answered with what was read since `began`. It may have been asked by another part of the client than
    /// the one that listens: a version of which that was told nothing is told all the same.
    pub fn given(&mut self, now: Mono, outbox: &mut Outbox, state: &ConfigState, began: Moment) {
        let mark = Mark::of(state, &self.client);
        let Some(listen) = self.keys.get_mut(&state.key) else { return };
        listen.learn(mark, began);
        let was_told = listen.noticed.is_some_and(|noticed| noticed.version == mark.version)
            || listen.answered == Some(mark.version)
            || listen.held == Some(mark.md5);
        (listen.held, listen.given) = (Some(mark.md5), Some(mark));
        let subject = Subject::Config(state.key.clone());
        if listen.is_current() && was_told {
            listen.proven = listen.present;
            outbox.settle(&subject);
            self.react(&state.key, Reaction::Received);
        } else {
            outbox.want(now, subject);
        }
    }

    /// A query was answered with what may be old: what the client has is not known.
    pub fn given_old(&mut self, state: &ConfigState) {
        let mark = Mark::of(state, &self.client);
        if let Some(listen) = self.keys.get_mut(&state.key) {
            (listen.held, listen.given) = (None, Some(mark));
        }
    }

    /// A change that was told live.
    pub fn changed(&mut self, now: Mono, outbox: &mut Outbox, state: &ConfigState) {
        self.now.0 += 1;
        let mark = Mark::of(state, &self.client);
        let Some(listen) = self.keys.get_mut(&state.key) else { return };
        if listen.present.is_some_and(|present| present.version >= mark.version) {
            return;
        }
        (listen.present, listen.told) = (Some(mark), self.now);
        let subject = Subject::Config(state.key.clone());
        if listen.is_current() {
            outbox.settle(&subject);
        } else {
            outbox.want(now, subject);
        }
    }

    /// A state that was read since `began` because live changes may have been lost.
    pub fn recheck(&mut self, now: Mono, outbox: &mut Outbox, state: &ConfigState, began: Moment) {
        let mark = Mark::of(state, &self.client);
        let Some(listen) = self.keys.get_mut(&state.key) else { return };
        listen.learn(mark, began);
        let subject = Subject::Config(state.key.clone());
        let is_under_way = outbox.holds(&subject)
            && listen
                .noticed
                .is_some_and(|noticed| listen.present.is_some_and(|present| present.version == noticed.version));
        if listen.is_current() {
            outbox.settle(&subject);
        } else if !is_under_way {
            // It may have asked in vain after an earlier notice.
            outbox.want(now, subject);
        }
    }

    /// A notice goes out: the tenant to name. `None` when the client does not listen any more.
    pub fn sending(&mut self, key: &ConfigKey) -> Option<&str> {
        let listen = self.keys.get_mut(key)?;
        listen.held = None;
        let version = listen.present.map_or(Version::ZERO, |present| present.version);
        let before = listen.noticed.filter(|before| before.version != version);
        if let Some(before) = before
            && before.reaction == Reaction::Unanswered
        {
            self.steps.push(Step { key: key.clone(), version: before.version, step: PushStep::Superseded });
        }
        if before.is_some() || listen.noticed.is_none() {
            listen.noticed = Some(Pushed { version, reaction: Reaction::Unanswered });
            self.steps.push(Step { key: key.clone(), version, step: PushStep::Sent });
        }
        Some(&listen.tenant)
    }

    /// A notice was acknowledged, sent for the time `tries`. As long as the client was last answered something else
    /// than what is there, it may have overlooked that notice: an answer that was on its way overtook it. So it may
    /// when it was answered nothing yet, and has not reported that it has what is there.
    pub fn acknowledged(&mut self, now: Mono, outbox: &mut Outbox, key: &ConfigKey, tries: u32) {
        self.react(key, Reaction::Received);
        let Some(listen) = self.keys.get(key) else { return };
        let present = listen.present.map(|present| present.md5);
        let is_behind = present.is_some_and(|present| match listen.given {
            Some(given) => given.md5 != present,
            None => listen.reported != Reported::Content(present),
        });
        if is_behind {
            outbox.repeat(now, Subject::Config(key.clone()), tries);
        }
    }

    /// What became of notices since the last call, in order.
    pub fn take_steps(&mut self) -> Vec<Step> {
        std::mem::take(&mut self.steps)
    }

    /// Notices that were neither acknowledged nor followed by a question.
    pub fn unanswered(&self) -> impl Iterator<Item = (&ConfigKey, Version)> {
        self.keys.iter().filter_map(|(key, listen)| {
            let noticed = listen.noticed.filter(|noticed| noticed.reaction == Reaction::Unanswered)?;
            Some((key, noticed.version))
        })
    }

    /// How far the client is with a configuration that it listens to.
    #[must_use]
    pub fn position(&self, key: &ConfigKey) -> Option<Position> {
        self.keys.get(key).map(|listen| Position { holds: listen.proven, pushed: listen.noticed })
    }

    /// How far it is with the first of them, and how many there are.
    #[must_use]
    pub fn positions(&self, limit: usize) -> (Vec<(ConfigKey, Position)>, usize) {
        let mut keys: Vec<&ConfigKey> = self.keys.keys().collect();
        keys.sort_unstable();
        let first = keys.iter().take(limit).filter_map(|key| Some(((*key).clone(), self.position(key)?)));
        (first.collect(), keys.len())
    }

    /// The client showed that it knows of the present version.
    fn react(&mut self, key: &ConfigKey, reaction: Reaction) {
        let Some(listen) = self.keys.get_mut(key) else { return };
        let Some(noticed) = &mut listen.noticed else { return };
        let is_of_present = listen.present.is_some_and(|present| present.version == noticed.version);
        let (is_news, step) = match reaction {
            Reaction::Applied => (noticed.reaction != Reaction::Applied && is_of_present, PushStep::Applied),
            Reaction::Unanswered | Reaction::Received | Reaction::Rejected => {
                (noticed.reaction == Reaction::Unanswered, PushStep::Received)
            }
        };
        if is_news {
            noticed.reaction = reaction;
            self.steps.push(Step { key: key.clone(), version: noticed.version, step });
        }
    }
}

#[cfg(test)]
mod tests;
