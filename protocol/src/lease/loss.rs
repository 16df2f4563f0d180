//! How a node finds that its database has lost commits, or is another one than it knew, and begins a new timeline: by
//! how far the database goes, by which one it says it is, by a row that is older than what was committed. Owns what the
//! node knew of the database, and when that is kept; the rule that judges it is [`LastKnown::judge`].

use super::message::{Announcement, BeginResult, CommitGate, Effect, Evidence, Observation};
use super::state::{Asked, Because, State, Then};
use super::{Lease, Mono};
use crate::config::Version;
use crate::extent::{DatabaseIdentity, Extent, Fingerprint, LastKnown, Loss};
use crate::key::ConfigKey;

/// What was known of the database.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// From before this process, until the database was found to be the same.
    last: Option<LastKnown>,
    /// The database, as it last said.
    identity: DatabaseIdentity,
    /// A commit that is not there any more.
    row: Option<(ConfigKey, Version)>,
    /// This node and another one had their leases in two databases, and it was this one here.
    was_split: Option<DatabaseIdentity>,
    /// What was kept last, and whether it outlives the machine.
    kept: Option<(LastKnown, bool)>,
}

impl Memory {
    pub(super) fn of(last: LastKnown) -> Self {
        Self { last: Some(last), ..Self::default() }
    }

    /// The database was asked, and nothing is lost.
    pub(super) fn see(&mut self, observation: &Observation) {
        (self.last, self.was_split) = (None, self.was_split.take().filter(|was| *was == observation.identity));
        self.identity.clone_from(&observation.identity);
    }

    pub(super) fn evidence(&self, because: Because) -> Evidence {
        match (because, &self.row) {
            (Because::Row, Some((key, version))) => Evidence::Row(key.clone(), *version),
            (Because::Foreign, _) => Evidence::Foreign,
            (Because::Behind | Because::Row, _) => Evidence::Behind,
        }
    }

    fn judge(&self, observation: &Observation) -> Option<Loss> {
        let extent = observation.extent();
        let was_split = self.was_split.as_ref().filter(|was| **was != observation.identity);
        match (&self.last, was_split) {
            (Some(last), _) => last.judge(&observation.identity, extent),
            // The other one may have given the same versions to other contents.
            (None, Some(_)) => self.kept.as_ref().and_then(|(kept, _)| kept.judge(&observation.identity, extent)),
            (None, None) => None,
        }
    }
}

impl Lease {
    /// What has to be done when the database is not what was known when it was asked.
    pub(super) fn loss(&self, asked: Asked, observation: &Observation) -> Option<Then> {
        let is_behind = observation.extent() < asked.known;
        let because = match self.memory.judge(observation) {
            Some(Loss::Foreign) => Because::Foreign,
            Some(Loss::Behind) => Because::Behind,
            None if is_behind => Because::Behind,
            None => return None,
        };
        Some(Then::Begin { lost: observation.timeline, known: asked.known, because })
    }

    pub(super) fn commit_observed(&mut self, extent: Extent, out: &mut Vec<Effect>) {
        if extent > self.known {
            self.known = extent;
            self.remember(false, out);
        }
    }

    pub(super) fn row_lost(&mut self, row: (ConfigKey, Version), out: &mut Vec<Effect>) {
        let Some(lost) = self.timeline else { return };
        self.memory.row = Some(row);
        self.start_over(Then::Begin { lost, known: self.known, because: Because::Row }, out);
    }

    pub(super) fn timeline_begun(&mut self, now: Mono, result: BeginResult) {
        match result {
            // What was known before is answered for.
            BeginResult::Begun => (self.memory.last, self.memory.was_split, self.memory.row) = (None, None, None),
            // It was of another server, or another node was faster.
            BeginResult::Missed => self.memory.row = None,
            // Nothing is forgotten yet: the next look finds the loss again.
            BeginResult::Failed => {}
        }
        if self.state == State::Beginning {
            self.next_ask = now.after(self.options.retry);
            self.state = State::Direct { join_at: self.may_join(self.next_ask) };
        }
    }

    pub(super) fn announced(&mut self, now: Mono, announcement: Announcement) {
        if announcement.node == self.node {
            return;
        }
        let own = self.peers.database();
        if own != Fingerprint::UNKNOWN && own == announcement.database {
            self.known.see(announcement.extent);
        }
        self.peers.note(now, announcement);
    }

    /// Tells of the gate when it has changed since it was last told.
    pub(super) fn tell_gate(&mut self, now: Mono, out: &mut Vec<Effect>) {
        self.peers.forget(now);
        if self.peers.gate(now, &self.linked) != self.gate {
            self.tell(now, out);
        }
    }

    /// The gate as it is told now.
    pub(super) fn note_gate(&mut self, gate: &CommitGate) {
        if matches!(gate, CommitGate::Split(_)) {
            self.memory.was_split = Some(self.memory.identity.clone());
        }
        self.gate.clone_from(gate);
    }

    /// Has what is known kept, unless it is already.
    pub(super) fn remember(&mut self, is_durable: bool, out: &mut Vec<Effect>) {
        self.keep(false, is_durable, out);
    }

    /// The node leaves in order: it acknowledges nothing more.
    pub(super) fn remember_all(&mut self, out: &mut Vec<Effect>) {
        self.keep(true, true, out);
    }

    fn keep(&mut self, is_complete: bool, is_durable: bool, out: &mut Vec<Effect>) {
        // What was known before stands until the database is found to be the same.
        if self.memory.last.is_some() || self.timeline.is_none() {
            return;
        }
        let known = LastKnown { extent: self.known, identity: self.memory.identity.clone(), is_complete };
        let is_kept = self.memory.kept.as_ref().is_some_and(|(kept, durable)| *kept == known && *durable >= is_durable);
        if !is_kept {
            self.memory.kept = Some((known.clone(), is_durable));
            out.push(Effect::Remember { known, is_durable });
        }
    }
}
