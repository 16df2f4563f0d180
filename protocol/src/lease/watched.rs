//! The rows as they were last seen, and since when each stands still. Owns the janitor's rule: a row may be deleted
//! when its number has not moved for longer than any lease lasts, counted on the own clock from when that was first
//! seen.

use std::collections::BTreeMap;
use std::time::Duration;

use super::message::LeaseObservation;
use crate::member::{Incarnation, MemberRow, NodeId};
use crate::time::Mono;

#[derive(Debug)]
struct Seen {
    row: MemberRow,
    /// When the present number was first seen; never earlier than it was there.
    since: Mono,
    /// Not to be fenced before.
    not_before: Mono,
    /// A fence was sent and not answered.
    fencing: bool,
    /// It was seen to be renewed in this life.
    is_renewed: bool,
}

/// The rows.
#[derive(Debug)]
pub(super) struct Watched {
    fenced_after: Duration,
    /// The longest time between two looks after which a row that is the same was surely watched all along.
    longest_gap: Duration,
    last_look: Mono,
    /// When it was last asked what may be fenced.
    checked: Mono,
    seen: BTreeMap<NodeId, Seen>,
    own: Option<Incarnation>,
}

impl Watched {
    pub(super) fn new(fenced_after: Duration, longest_gap: Duration, now: Mono) -> Self {
        Self { fenced_after, longest_gap, last_look: now, checked: now, seen: BTreeMap::new(), own: None }
    }

    /// Takes the complete rows of one answer that came in at `now`.
    ///
    /// Who could not look for a while, as when the database was gone, gives everybody time to renew: the others could
    /// not do that either.
    pub(super) fn see(&mut self, now: Mono, rows: &[MemberRow]) {
        if now.since(self.last_look) > self.longest_gap {
            self.seen.values_mut().for_each(|seen| seen.since = now);
        }
        self.last_look = now;
        self.seen.retain(|node, _| rows.iter().any(|row| row.node == *node));
        for row in rows {
            match self.seen.get_mut(&row.node) {
                Some(seen) if seen.row.incarnation == row.incarnation && seen.row.renew_seq == row.renew_seq => {
                    seen.row = row.clone();
                }
                before => {
                    let is_renewed = before.is_some_and(|before| before.row.incarnation == row.incarnation);
                    let seen = Seen { row: row.clone(), since: now, not_before: now, fencing: false, is_renewed };
                    self.seen.insert(row.node.clone(), seen);
                }
            }
        }
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = &MemberRow> {
        self.seen.values().map(|seen| &seen.row)
    }

    /// The rows that have moved within the time of a lease.
    pub(super) fn living(&self, now: Mono) -> impl Iterator<Item = &MemberRow> {
        let after = self.fenced_after;
        self.seen.values().filter(move |seen| now.since(seen.since) < after).map(|seen| &seen.row)
    }

    /// The row of `node` when it was seen to be renewed, and was within the time of a lease: its process lives.
    pub(super) fn renewed(&self, now: Mono, node: &NodeId) -> Option<&MemberRow> {
        let seen = self.seen.get(node).filter(|seen| seen.is_renewed && !seen.row.revoked)?;
        (now.since(seen.since) < self.fenced_after).then_some(&seen.row)
    }

    /// The rows that have stood still long enough, each told once until it is answered; never the row of `own` life.
    pub(super) fn due(&mut self, now: Mono, own: Option<Incarnation>, waits: bool) -> Vec<(NodeId, Incarnation, u64)> {
        (self.own, self.checked) = (own, now);
        let (after, is_fresh) = (self.fenced_after, now.since(self.last_look) <= self.longest_gap);
        let due = |seen: &&mut Seen| {
            let still = is_fresh && now >= seen.since.after(after) && now >= seen.not_before;
            Some(seen.row.incarnation) != own && !seen.fencing && (still || !waits)
        };
        let due = self.seen.values_mut().filter(due);
        due.map(|seen| {
            seen.fencing = true;
            (seen.row.node.clone(), seen.row.incarnation, seen.row.renew_seq)
        })
        .collect()
    }

    /// When the next row may be fenced. One that might have been before, and was not for want of a look, waits for one.
    pub(super) fn next_deadline(&self) -> Option<Mono> {
        let others = self.seen.values().filter(|seen| !seen.fencing && Some(seen.row.incarnation) != self.own);
        let due = others.map(|seen| seen.since.after(self.fenced_after).max(seen.not_before));
        due.filter(|at| *at > self.checked).min()
    }

    pub(super) fn forget(&mut self, node: &NodeId) {
        self.seen.remove(node);
    }

    /// A fence has taken the row; not the one that was seen there since.
    pub(super) fn fenced(&mut self, node: &NodeId) {
        if self.seen.get(node).is_some_and(|seen| seen.fencing) {
            self.seen.remove(node);
        }
    }

    /// The row moved, or is another one: counted from now on.
    pub(super) fn start_over(&mut self, now: Mono, node: &NodeId) {
        if let Some(seen) = self.seen.get_mut(node).filter(|seen| seen.fencing) {
            (seen.since, seen.fencing) = (now, false);
        }
    }

    pub(super) fn put_off(&mut self, until: Mono, node: &NodeId) {
        if let Some(seen) = self.seen.get_mut(node).filter(|seen| seen.fencing) {
            (seen.not_before, seen.fencing) = (until, false);
        }
    }

    pub(super) fn clear(&mut self) {
        self.seen.clear();
    }

    /// Every row with how it stands. The own row counts as held: the cache looks at its lease itself.
    pub(super) fn sights(&self, now: Mono, own: Option<Incarnation>) -> Vec<(MemberRow, LeaseObservation)> {
        let sight = |seen: &Seen| match seen {
            Seen { row, .. } if row.revoked => LeaseObservation::Revoked,
            Seen { row, .. } if Some(row.incarnation) == own => LeaseObservation::Held,
            Seen { since, .. } if now.since(*since) >= self.fenced_after => LeaseObservation::Lapsed,
            Seen { .. } => LeaseObservation::Held,
        };
        self.seen.values().map(|seen| (seen.row.clone(), sight(seen))).collect()
    }
}
