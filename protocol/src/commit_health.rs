//! Whether commits go through, as one node sees it: when an outage of the database begins, what is said of it, when it
//! is over, and when a try of its own has to find that out. Knows nothing of what is committed, and repairs nothing.
//!
//! The driver tells [`CommitHealth`] of the begin and the end of each commit, and calls [`CommitHealth::tick`] at
//! [`CommitHealth::next_wakeup`], or later. A try that it is asked for ([`Step::probe`]) is a commit like any other.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::time::Mono;

/// When to say what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// A commit without an answer for so long hangs.
    pub hangs_after: Duration,
    /// How long after a try failed, or hung, the next one begins.
    pub probe_every: Duration,
    /// A commit that went through proves for so long that commits do.
    pub proves_for: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            hangs_after: Duration::from_secs(3),
            probe_every: Duration::from_secs(1),
            proves_for: Duration::from_secs(5),
        }
    }
}

/// Names a commit under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// How a commit ended, as far as the database's health goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It is durable.
    Durable,
    /// The database could not do it, for this reason.
    Failed(String),
    /// It says nothing of the database: nothing was to be written, or what was asked is to blame.
    Neutral,
}

/// What is worth a line in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// Commits begin to fail, or to hang, for this reason.
    Began {
        /// What the database said, or that it said nothing.
        reason: String,
    },
    /// Commits go through again.
    Over {
        /// How long they did not.
        lasted: Duration,
        /// How many failed.
        failed: u64,
    },
}

/// What the driver has to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Step {
    /// To be logged.
    pub note: Option<Note>,
    /// Whether to try a commit that changes nothing that anybody sees.
    pub probe: bool,
}

#[derive(Debug)]
struct Outage {
    since: Mono,
    reason: String,
    failed: u64,
    next_probe: Mono,
}

/// The machine.
#[derive(Debug)]
pub struct CommitHealth {
    options: Options,
    /// Since when each commit is under way.
    under_way: BTreeMap<Ticket, Mono>,
    next_ticket: u64,
    last_durable: Option<Mono>,
    outage: Option<Outage>,
}

impl CommitHealth {
    /// A machine that has seen nothing.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options, under_way: BTreeMap::new(), next_ticket: 0, last_durable: None, outage: None }
    }

    /// A commit begins.
    pub fn begun(&mut self, now: Mono) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.under_way.insert(ticket, now);
        ticket
    }

    /// A commit ended.
    pub fn ended(&mut self, now: Mono, ticket: Ticket, end: End) -> Step {
        self.under_way.remove(&ticket);
        match end {
            End::Neutral => Step::default(),
            End::Failed(reason) => Step { note: self.failed(now, reason), probe: false },
            End::Durable => {
                self.last_durable = Some(now);
                let over = self
                    .outage
                    .take()
                    .map(|outage| Note::Over { lasted: now.since(outage.since), failed: outage.failed });
                Step { note: over, probe: false }
            }
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Mono) -> Step {
        let mut step = Step::default();
        let hangs = self.oldest().is_some_and(|begun| now >= begun.after(self.options.hangs_after));
        if hangs && self.outage.is_none() {
            let waited = self.options.hangs_after;
            step.note = self.begin(now, format!("a commit has had no answer for {waited:?}"));
        }
        // While one hangs, another would only hang behind it.
        if let Some(outage) = &mut self.outage
            && self.under_way.is_empty()
            && outage.next_probe <= now
        {
            outage.next_probe = now.after(self.options.probe_every);
            step.probe = true;
        }
        step
    }

    /// When time alone makes the machine act next.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Mono> {
        match (&self.outage, self.oldest()) {
            (None, oldest) => oldest.map(|begun| begun.after(self.options.hangs_after)),
            (Some(outage), None) => Some(outage.next_probe),
            (Some(_), Some(_)) => None,
        }
    }

    /// Why commits do not go through, and since when; `None` as long as nothing says so.
    #[must_use]
    pub fn trouble(&self) -> Option<(&str, Mono)> {
        self.outage.as_ref().map(|outage| (outage.reason.as_str(), outage.since))
    }

    /// True when a commit went through so lately that another need not be tried.
    #[must_use]
    pub fn is_proven(&self, now: Mono) -> bool {
        self.outage.is_none() && self.last_durable.is_some_and(|at| now < at.after(self.options.proves_for))
    }

    fn oldest(&self) -> Option<Mono> {
        self.under_way.values().min().copied()
    }

    fn failed(&mut self, now: Mono, reason: String) -> Option<Note> {
        let note = self.begin(now, reason);
        if let Some(outage) = &mut self.outage {
            outage.failed += 1;
        }
        note
    }

    fn begin(&mut self, now: Mono, reason: String) -> Option<Note> {
        let next_probe = now.after(self.options.probe_every);
        if let Some(outage) = &mut self.outage {
            // Only the first reason is worth a line; the last one is what is told to who asks.
            (outage.reason, outage.next_probe) = (reason, next_probe);
            return None;
        }
        self.outage = Some(Outage { since: now, reason: reason.clone(), failed: 0, next_probe });
        Some(Note::Began { reason })
    }
}

#[cfg(test)]
mod tests;
