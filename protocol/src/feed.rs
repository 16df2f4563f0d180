//! The change feed of a node: when the database is read, what a page of it proves, and what subscribers are told next.
//!
//! Commits are heard of as they happen; what was not heard of is read from the database, soon when a gap shows and once
//! in a while in any case. Owns the cursor of what was told, and the rules by which a page is whole or proves that the
//! database has lost commits. Reads nothing, tells nobody: [`ChangeFeed`] says what is to be done.
//!
//! The contract of the one who drives it:
//! 1. Effects are carried out in the order given. Each [`Effect::Read`] is answered by [`Event::PageRead`] or
//!    [`Event::ReadFailed`], once.
//! 2. A page is read in one snapshot, begun after the effect was given, and never ends within a revision.
//! 3. [`Event::Tick`] comes at [`ChangeFeed::next_wakeup`], or later.

use std::time::Duration;

use crate::config::{SharedState, Version};
use crate::key::ConfigKey;
use crate::member::Timeline;
use crate::rules::Rules;
use crate::time::Mono;

mod sequencer;

pub use sequencer::{Sequencer, Span};

/// How often the database is read, and how long a gap may last before that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How often the database is read in any case.
    pub poll: Duration,
    /// How long an earlier commit event may still be under way before the database is read.
    pub gap_grace: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { poll: Duration::from_secs(1), gap_grace: Duration::from_millis(20) }
    }
}

/// What the database says of the changes after a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Changes up to here may be missing: who asks for what comes after a lower revision has to begin anew.
    pub floor: Version,
    /// The revision of the last commit.
    pub revision: Version,
    /// The timeline.
    pub timeline: Timeline,
    /// The changes, in the order of their revisions.
    pub states: Vec<SharedState>,
    /// True when no change is left up to `revision`. Otherwise more come after the last of `states`.
    pub complete: bool,
}

/// What the machine is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A commit event brought these changes.
    Committed(Span),
    /// Something was committed that no event described, or may have been: read now.
    Poll,
    /// A read ended.
    PageRead(Page),
    /// A read ended without an answer.
    ReadFailed,
    /// Time has passed.
    Tick,
}

/// What the driver has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Read a page of the changes after this revision. `None` when only the end of the feed is wanted.
    Read {
        /// What is known already.
        after: Option<Version>,
    },
    /// The database is on this timeline by now: the cache gives up a lease of an earlier one.
    EndEarlier(Timeline),
    /// The database has lost commits: the membership has to be looked at, at once.
    HistoryLost {
        /// The timeline that the database is on.
        timeline: Timeline,
        /// The revision that it has.
        revision: Version,
        /// What subscribers had been told.
        cursor: Version,
    },
    /// These versions exist: the cache drops what is older.
    NoteVersions(Vec<(ConfigKey, Version)>),
    /// These states are the next ones, in revision order.
    Changed(Vec<SharedState>),
    /// What lies between is not known: every subscriber has to look for itself.
    Recheck,
    /// For the figures: how far behind the database a whole page found the cursor, and how many changes it brought that
    /// nobody had told of.
    Measured {
        /// In revisions.
        lag: u64,
        /// In changes.
        fetched: u64,
    },
}

/// A rule of this file that a test can switch off, to show that its absence is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// What lies below the floor may be missing.
    Floor,
    /// A page that is not complete says nothing of what comes after its last change.
    Page,
}

/// The machine. See the module's page for what it owes and is owed.
#[derive(Debug)]
pub struct ChangeFeed {
    options: Options,
    /// `None` until the database has said where the feed stands.
    order: Option<Sequencer>,
    /// The timeline of that order.
    timeline: Timeline,
    /// What the read under way was asked for.
    reading: Option<Option<Version>>,
    /// A read was asked for while one was under way.
    again: bool,
    next_poll: Mono,
    /// When the present gap has lasted long enough.
    gap_until: Option<Mono>,
    pub(crate) rules: Rules<Rule>,
}

impl ChangeFeed {
    /// A feed that knows nothing; it reads for the first time at `now`.
    #[must_use]
    pub fn new(options: Options, now: Mono) -> Self {
        Self {
            options,
            order: None,
            timeline: Timeline::default(),
            reading: None,
            again: false,
            next_poll: now,
            gap_until: None,
            rules: Rules::default(),
        }
    }

    /// Up to which revision subscribers have been told; `None` before the database was first read.
    #[must_use]
    pub fn cursor(&self) -> Option<Version> {
        self.order.as_ref().map(Sequencer::cursor)
    }

    /// True when a later change waits for an earlier one.
    #[must_use]
    pub fn has_gap(&self) -> bool {
        self.order.as_ref().is_some_and(Sequencer::has_gap)
    }

    /// When time alone makes the machine act next.
    #[must_use]
    pub fn next_wakeup(&self) -> Mono {
        self.gap_until.map_or(self.next_poll, |at| at.min(self.next_poll))
    }

    /// Takes one event and appends what has to be done.
    pub fn step(&mut self, now: Mono, event: Event, out: &mut Vec<Effect>) {
        match event {
            Event::Committed(span) => self.receive(now, span, out),
            Event::Poll => self.read(out),
            Event::PageRead(page) => self.page_read(now, page, out),
            // The next poll tries again.
            Event::ReadFailed => self.reading = None,
            Event::Tick => self.tick(now, out),
        }
    }

    fn tick(&mut self, now: Mono, out: &mut Vec<Effect>) {
        let (polls, lasts) = (now >= self.next_poll, self.gap_until.is_some_and(|until| now >= until));
        if polls {
            self.next_poll = now.after(self.options.poll);
        }
        if lasts {
            self.gap_until = None;
        }
        if polls || lasts {
            self.read(out);
        }
    }

    fn read(&mut self, out: &mut Vec<Effect>) {
        if self.reading.is_some() {
            self.again = true;
            return;
        }
        let after = self.cursor();
        self.reading = Some(after);
        out.push(Effect::Read { after });
    }

    fn receive(&mut self, now: Mono, span: Span, out: &mut Vec<Effect>) {
        let Some(order) = &mut self.order else { return };
        let ready = order.receive(span);
        if order.has_gap() {
            self.gap_until.get_or_insert(now.after(self.options.gap_grace));
        } else {
            self.gap_until = None;
        }
        if !ready.is_empty() {
            out.push(Effect::Changed(ready));
        }
    }

    fn page_read(&mut self, now: Mono, page: Page, out: &mut Vec<Effect>) {
        let Some(after) = self.reading.take() else { return };
        let lost = after.filter(|after| page.timeline != self.timeline || page.revision < *after);
        if let Some(cursor) = lost {
            // Before anybody looks.
            out.push(Effect::EndEarlier(page.timeline));
            out.push(Effect::HistoryLost { timeline: page.timeline, revision: page.revision, cursor });
        }
        let known = after.filter(|after| lost.is_none() && self.is_whole(*after, page.floor));
        let again = match known {
            Some(after) => self.take_page(now, after, page, out),
            None => {
                // The first read, or what lay between is no longer in the feed, or was never what was told.
                (self.order, self.timeline) = (Some(Sequencer::new(page.revision)), page.timeline);
                self.gap_until = None;
                out.push(Effect::Recheck);
                false
            }
        };
        if std::mem::take(&mut self.again) || again {
            self.read(out);
        }
    }

    /// True when no change after this revision was removed from the feed.
    fn is_whole(&self, after: Version, floor: Version) -> bool {
        after >= floor || floor == Version::ZERO || !self.rules.keep(Rule::Floor)
    }

    /// Takes what follows `after` without a hole. True when the next page is to be read.
    fn take_page(&mut self, now: Mono, after: Version, page: Page, out: &mut Vec<Effect>) -> bool {
        let Page { revision, states, complete, .. } = page;
        let cursor = self.cursor().unwrap_or(after);
        let fetched = states.iter().filter(|state| state.version > cursor).count() as u64;
        out.push(Effect::Measured { lag: revision.0.saturating_sub(cursor.0), fetched });
        out.push(Effect::NoteVersions(states.iter().map(|state| (state.key.clone(), state.version)).collect()));
        let last = states.last().map_or(after, |state| state.version);
        let through = if complete || !self.rules.keep(Rule::Page) { revision } else { last };
        let span = Span { after, through: through.max(after), states };
        self.receive(now, span, out);
        // A page without a change would be read for ever.
        !complete && through > after
    }
}

#[cfg(test)]
mod tests;
