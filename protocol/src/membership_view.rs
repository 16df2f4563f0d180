//! The roster: what this node makes of every node, from what gossip says and from the rows of the database.
//!
//! For people, for metrics, and for finding the way to peers. It never counts for safety: who has to acknowledge a
//! publish, and whose lease may be ended, is read from the database alone. [`MembershipView`] is told the complete
//! picture of either source each time, so a report that is lost is made good by the next.
//!
//! Gossip goes first: who answers is `joining`, `up` or `leaving` by its own word, or `suspect`. Who does not is
//! `down`, and `removed` when it had said that it leaves, when its row is gone as well, or when it was down for
//! [`REMOVE_AFTER`] without a row. A node that has a row and was never heard of is `down`. Whoever is removed can come
//! back as anything; one that does not is forgotten after [`FORGET_AFTER`].
//!
//! Gossip may see one id at several addresses: the node has moved, or a second process was started under its id. Which
//! sighting counts is decided by [`foremost`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::member::{Incarnation, NodeId};
use crate::time::Mono;

mod observation;
mod view;

pub use observation::{Addresses, GossipObservation, Life, ProtocolRange, RowObservation, Status, foremost};
pub use view::{MemberEvent, NodeState, NodeView, elsewhere};

/// A node that is down and has no row is removed after this long.
pub const REMOVE_AFTER: Duration = Duration::from_secs(60);
/// A removed node stays listed for this long.
pub const FORGET_AFTER: Duration = Duration::from_secs(600);
/// A node that gossip stopped naming counts as down after this long: gossip that lost its state finds the others again
/// well before.
pub const MISSING_AFTER: Duration = Duration::from_secs(10);

/// What the roster is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Every node that gossip knows at present, the local one included; several sightings of one that is seen at
    /// several addresses.
    Gossip(Vec<GossipObservation>),
    /// Every membership row at present.
    Rows(Vec<RowObservation>),
    /// Time has passed. Due about once a second.
    Tick,
}

/// The machine. See the module's page for its rules.
#[derive(Debug)]
pub struct MembershipView {
    me: NodeId,
    nodes: BTreeMap<NodeId, Known>,
}

/// What is known of one node.
#[derive(Debug)]
struct Known {
    /// Every sighting that gossip has of it at present.
    sightings: Vec<GossipObservation>,
    /// The one of them that counts, or the last that did.
    sighting: Option<GossipObservation>,
    /// Since when gossip names it no more, although it was not down.
    missing_since: Option<Mono>,
    row: Option<RowObservation>,
    /// It had a row since it was last taken for removed.
    had_row: bool,
    /// The row that it had when it left; the row of a later life means that it is back.
    row_when_left: Option<Incarnation>,
    state: NodeState,
    since: Mono,
}

impl MembershipView {
    /// A roster that knows of the local node alone.
    #[must_use]
    pub fn new(me: NodeId, now: Mono) -> Self {
        let nodes = BTreeMap::from([(me.clone(), Known::new(NodeState::Joining, now))]);
        Self { me, nodes }
    }

    /// Takes one notice and appends what happened, in the order in which it did.
    pub fn step(&mut self, now: Mono, notice: Notice, out: &mut Vec<MemberEvent>) {
        match notice {
            Notice::Gossip(sightings) => self.take_sightings(now, sightings, out),
            Notice::Rows(rows) => self.take_rows(now, rows),
            Notice::Tick => {}
        }
        for (id, known) in &mut self.nodes {
            known.judge(now, *id == self.me, id, out);
        }
        self.nodes.retain(|id, known| *id == self.me || !known.is_forgotten(now));
    }

    /// What an operator sees, ordered by node, the local one included.
    #[must_use]
    pub fn view(&self) -> Vec<NodeView> {
        self.nodes.iter().map(|(id, known)| known.view(id, &self.me)).collect()
    }

    /// Where other nodes are reached: everybody who is not removed, or still has a row.
    #[must_use]
    pub fn peers(&self) -> BTreeMap<NodeId, SocketAddr> {
        let others = self.nodes.iter().filter(|(id, _)| **id != self.me);
        let reached = others.filter(|(_, known)| known.state != NodeState::Removed || known.row.is_some());
        reached.filter_map(|(id, known)| Some((id.clone(), known.addresses().peer?))).collect()
    }

    fn take_sightings(&mut self, now: Mono, sightings: Vec<GossipObservation>, out: &mut Vec<MemberEvent>) {
        let mut present: BTreeMap<NodeId, Vec<GossipObservation>> = BTreeMap::new();
        for sighting in sightings {
            present.entry(sighting.node.clone()).or_default().push(sighting);
        }
        for (id, known) in &mut self.nodes {
            known.see(now, present.remove(id).unwrap_or_default());
        }
        for (id, sightings) in present {
            // A node that was down before it was heard of is nobody's business, unless it has a row.
            let Some(state) = foremost(&sightings, None).and_then(state_in_life) else { continue };
            out.extend(MemberEvent::entering(state, id.clone()));
            let mut known = Known::new(state, now);
            known.see(now, sightings);
            self.nodes.insert(id, known);
        }
    }

    fn take_rows(&mut self, now: Mono, rows: Vec<RowObservation>) {
        let mut present: BTreeMap<NodeId, RowObservation> =
            rows.into_iter().map(|row| (row.node.clone(), row)).collect();
        for (id, known) in &mut self.nodes {
            known.row = present.remove(id);
            known.had_row |= known.row.is_some();
            known.choose();
        }
        for (id, row) in present {
            self.nodes.insert(id, Known { row: Some(row), had_row: true, ..Known::new(NodeState::Down, now) });
        }
    }
}

impl Known {
    fn new(state: NodeState, now: Mono) -> Self {
        Self {
            sightings: Vec::new(),
            sighting: None,
            missing_since: None,
            row: None,
            had_row: false,
            row_when_left: None,
            state,
            since: now,
        }
    }

    /// Takes what gossip says, which may be nothing.
    fn see(&mut self, now: Mono, sightings: Vec<GossipObservation>) {
        self.sightings = sightings;
        self.choose();
        if !self.sightings.is_empty() {
            self.missing_since = None;
        } else if self.in_life().is_some() {
            self.missing_since.get_or_insert(now);
        }
    }

    /// Finds the sighting that counts. Without any the last one stays.
    fn choose(&mut self) {
        let row = self.row.as_ref().and_then(|row| row.peer);
        if let Some(sighting) = foremost(&self.sightings, row) {
            self.sighting = Some(sighting.clone());
        }
    }

    /// Finds the present state and tells of the way there.
    fn judge(&mut self, now: Mono, is_me: bool, id: &NodeId, out: &mut Vec<MemberEvent>) {
        self.give_up_missing(now);
        let next = self.next_state(now, is_me);
        if next == self.state {
            return;
        }
        let died = next == NodeState::Removed && self.state != NodeState::Down && !self.has_left();
        if died {
            out.extend(MemberEvent::entering(NodeState::Down, id.clone()));
        }
        if next == NodeState::Removed {
            self.row_when_left = self.row.as_ref().map(|row| row.incarnation);
            self.had_row = false;
        }
        (self.state, self.since) = (next, now);
        out.extend(MemberEvent::entering(next, id.clone()));
    }

    fn give_up_missing(&mut self, now: Mono) {
        if self.missing_since.is_some_and(|since| now.since(since) >= MISSING_AFTER) {
            self.missing_since = None;
            if let Some(sighting) = &mut self.sighting {
                sighting.life = Life::Down;
            }
        }
    }

    fn next_state(&self, now: Mono, is_me: bool) -> NodeState {
        if let Some(state) = self.in_life() {
            return state;
        }
        match &self.row {
            // Without gossip the own row is all there is to go by.
            Some(_) if is_me && self.sighting.is_none() => NodeState::Up,
            None if is_me && self.sighting.is_none() => NodeState::Joining,
            Some(row) if self.has_left() && !self.is_back_as(row.incarnation) => NodeState::Removed,
            Some(_) => NodeState::Down,
            None if self.has_left() || self.had_row || self.state == NodeState::Removed => NodeState::Removed,
            None if self.state == NodeState::Down && now.since(self.since) >= REMOVE_AFTER => NodeState::Removed,
            None => NodeState::Down,
        }
    }

    /// Its state when gossip says that it lives.
    fn in_life(&self) -> Option<NodeState> {
        self.sighting.as_ref().and_then(state_in_life)
    }

    /// It said that it leaves, and does not answer any more.
    fn has_left(&self) -> bool {
        self.sighting.as_ref().is_some_and(|seen| seen.life == Life::Down && seen.status == Status::Leaving)
    }

    /// After it left, a row that it did not leave with belongs to another life.
    fn is_back_as(&self, incarnation: Incarnation) -> bool {
        match self.state {
            NodeState::Removed => self.row_when_left != Some(incarnation),
            NodeState::Down => true,
            NodeState::Joining | NodeState::Up | NodeState::Suspect | NodeState::Leaving => false,
        }
    }

    fn is_forgotten(&self, now: Mono) -> bool {
        self.state == NodeState::Removed && self.row.is_none() && now.since(self.since) >= FORGET_AFTER
    }

    /// Gossip goes first while it sees the node alive; else the row is the later word.
    fn addresses(&self) -> Addresses {
        let row = self.row.as_ref().map(RowObservation::addresses).unwrap_or_default();
        let seen = self.sighting.as_ref().map(|seen| seen.addresses).unwrap_or_default();
        if self.in_life().is_some() { seen.or(row) } else { row.or(seen) }
    }

    fn view(&self, id: &NodeId, me: &NodeId) -> NodeView {
        let suspects = self.state == NodeState::Suspect;
        NodeView {
            id: id.clone(),
            state: self.state,
            generation: self.sighting.as_ref().map(|seen| seen.generation),
            incarnation: self.row.as_ref().map(|row| row.incarnation),
            addresses: self.addresses(),
            lease: self.row.as_ref().map(|row| row.lease),
            suspected_by: if suspects { vec![me.clone()] } else { Vec::new() },
            version: self.sighting.as_ref().map(|seen| seen.version.clone()),
            protocols: self.sighting.as_ref().map(|seen| seen.protocols),
        }
    }
}

/// The state of a node that answers, or may; `None` for one that is down.
fn state_in_life(sighting: &GossipObservation) -> Option<NodeState> {
    match sighting.life {
        Life::Alive => Some(sighting.status.into()),
        Life::Suspect => Some(NodeState::Suspect),
        Life::Down => None,
    }
}

#[cfg(test)]
mod tests;
