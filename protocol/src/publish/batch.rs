//! One batch on its way: who has acknowledged, what phase it is in, and its timers. Owns the rule of when a batch may
//! be committed; never chooses what is in it.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::{CallerId, Effect, Membership, Options, PublishOutcome, is_same_life};
use crate::commit::{BatchId, Standing};
use crate::key::ConfigKey;
use crate::lease::CommitGate;
use crate::member::{Ack, AckNo, NodeId, NodeRow, Timeline};
use crate::time::Mono;
use crate::write_request::{Recorded, Refusal, RequestId, WriteOutcome, WriteRequest};

/// A unit whose caller waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) unit: Arc<WriteRequest>,
    pub(super) caller: CallerId,
    pub(super) deadline: Mono,
    /// The most units of a batch that it may be part of: fewer after each one that the database refused.
    pub(super) company: usize,
}

impl Waiting {
    pub(super) fn keys(&self) -> impl Iterator<Item = &ConfigKey> {
        self.unit.items.iter().map(|item| &item.key)
    }

    pub(super) fn reply(&self, outcome: PublishOutcome, out: &mut Vec<Effect>) {
        out.push(Effect::Reply { caller: self.caller, outcome });
    }

    pub(super) fn fail(&self, reason: &str, out: &mut Vec<Effect>) {
        self.reply(PublishOutcome::Failed { reason: reason.to_owned() }, out);
    }

    /// Answers with what the database keeps under the request id, or with `otherwise`. Whether the record is of this
    /// very commit or of an earlier one of the same request can't be told apart, and makes no difference to the caller.
    pub(super) fn reply_recorded(
        &self,
        landed: &[(RequestId, Recorded)],
        otherwise: PublishOutcome,
        out: &mut Vec<Effect>,
    ) {
        let recorded = landed.iter().find(|(request_id, _)| *request_id == self.unit.request_id);
        let outcome = match recorded {
            None => otherwise,
            Some((_, recorded)) if recorded.fingerprint == self.unit.fingerprint => {
                PublishOutcome::Settled(WriteOutcome::Done { items: recorded.items.clone(), replayed: false })
            }
            Some((request_id, _)) => PublishOutcome::Settled(WriteOutcome::Refused(Refusal::RequestIdReused {
                request_id: request_id.clone(),
            })),
        };
        self.reply(outcome, out);
    }
}

/// The timers of a round of notifications.
#[derive(Debug, Clone, Copy)]
pub(super) struct Round {
    since: Mono,
    resends: usize,
    next_send: Mono,
    /// When to ask one again who would not mark the batch a moment ago.
    ask_again: Option<Mono>,
    park_at: Mono,
}

impl Round {
    fn new(now: Mono, options: &Options) -> Self {
        let [first, _] = options.resend;
        let (next_send, park_at) = (now.after(first), now.after(options.ack_timeout));
        Self { since: now, resends: 0, next_send, ask_again: None, park_at }
    }

    /// A round that only repeats, now and then, what everybody has acknowledged.
    fn repeating(now: Mono, options: &Options) -> Self {
        let resends = options.resend.len();
        Self { resends, next_send: now.after(options.notify_repeat), ..Self::new(now, options) }
    }

    fn sent(&mut self, now: Mono, options: &Options) {
        self.resends += 1;
        let planned = options.resend.get(self.resends).map(|offset| self.since.after(*offset));
        self.next_send = planned.filter(|planned| *planned > now).unwrap_or(now.after(options.notify_repeat));
    }
}

/// Where a batch stands.
#[derive(Debug)]
pub(super) enum Phase {
    /// Notified; acks come in, or all are there and the commit waits for its turn.
    Gathering(Round),
    /// The commit is at the database.
    Committing {
        /// Repeats the notification meanwhile.
        round: Round,
        /// What it is committed on.
        timeline: Timeline,
        /// As whom.
        standing: Standing,
        /// When it was sent.
        sent: Mono,
    },
    /// The commit's outcome is being looked up.
    Resolving,
    /// Withdrawn because members did not acknowledge.
    Suspended {
        /// When to try again at the latest.
        until: Mono,
        /// Who did not acknowledge.
        lacking: Vec<NodeRow>,
    },
    /// Withdrawn, or never notified: waits for the next observation of the cluster.
    AwaitingMembership,
}

/// One batch. See the module's page.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) id: BatchId,
    pub(super) waiting: Vec<Waiting>,
    pub(super) phase: Phase,
    /// How many of its commits the database undid.
    pub(super) aborts: u32,
    rows: Vec<NodeRow>,
    acks: BTreeMap<NodeId, Ack>,
    parks: u32,
    /// Acks of other lives than the known ones were tried at the database.
    has_assumed_acks: bool,
}

impl Batch {
    /// A batch that has no id yet: it gets one when it is notified.
    pub(super) fn new(waiting: Vec<Waiting>) -> Self {
        let (id, rows, acks) = (BatchId(Uuid::nil()), Vec::new(), BTreeMap::new());
        Self { id, waiting, phase: Phase::AwaitingMembership, aborts: 0, rows, acks, parks: 0, has_assumed_acks: false }
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &ConfigKey> {
        self.waiting.iter().flat_map(Waiting::keys)
    }

    /// The request ids, each once.
    pub(super) fn request_ids(&self) -> Vec<RequestId> {
        let mut seen = HashSet::new();
        let ids = self.waiting.iter().map(|waiting| &waiting.unit.request_id);
        ids.filter(|id| seen.insert(*id)).cloned().collect()
    }

    /// True while a commit may land without anything more from here.
    pub(super) fn is_at_the_database(&self) -> bool {
        matches!(self.phase, Phase::Committing { .. } | Phase::Resolving)
    }

    /// True when every known row has acknowledged, a member's own row among them.
    pub(super) fn is_ready(&self, standing: &Standing) -> bool {
        let own = match standing {
            Standing::Member(node) => self.rows.iter().any(|row| row.node == *node),
            Standing::Direct => true,
        };
        matches!(self.phase, Phase::Gathering(_)) && own && self.missing().is_empty()
    }

    /// True when the batch is parked and this ack shows that one who was silent is back. The ack itself is void.
    pub(super) fn is_waiting_for(&self, ack: &Ack) -> bool {
        match &self.phase {
            Phase::Suspended { lacking, .. } => lacking.iter().any(|row| ack.satisfies(row)),
            Phase::Gathering(_) | Phase::Committing { .. } | Phase::Resolving | Phase::AwaitingMembership => false,
        }
    }

    /// True when a parked batch has waited long enough.
    pub(super) fn backoff_elapsed(&self, now: Mono) -> bool {
        matches!(self.phase, Phase::Suspended { until, .. } if until <= now)
    }

    /// When time alone moves it; a batch in its commit keeps no deadline. `is_open`: it may be parked.
    pub(super) fn next_wakeup(&self, is_open: bool) -> Option<Mono> {
        let deadline = self.waiting.iter().map(|waiting| waiting.deadline).min();
        let timer = match &self.phase {
            Phase::Committing { round, .. } => return Some(round.next_send),
            Phase::Resolving => return None,
            Phase::Gathering(round) if self.missing().is_empty() => Some(round.next_send),
            Phase::Gathering(round) => {
                [Some(round.next_send), Some(round.park_at).filter(|_| is_open), round.ask_again]
                    .into_iter()
                    .flatten()
                    .min()
            }
            Phase::Suspended { until, .. } => Some(*until),
            Phase::AwaitingMembership => None,
        };
        deadline.into_iter().chain(timer).min()
    }

    /// Takes an ack for the present id. One that satisfies the row as it is known is not given up for one that does
    /// not.
    pub(super) fn take_ack(&mut self, ack: Ack) {
        if matches!(self.phase, Phase::Suspended { .. } | Phase::AwaitingMembership) {
            return;
        }
        let row = self.rows.iter().find(|row| row.node == ack.node);
        let better = |present: &Ack| {
            row.is_some_and(|row| present.satisfies(row) && (!ack.satisfies(row) || ack.number < present.number))
        };
        if !self.acks.get(&ack.node).is_some_and(better) {
            self.acks.insert(ack.node.clone(), ack);
        }
    }

    /// A member would not mark the batch: it is just joining and will in a moment, or leaving and will be gone.
    pub(super) fn ask_again_soon(&mut self, now: Mono) {
        const MOMENT: Duration = Duration::from_millis(25);
        if let Phase::Gathering(round) = &mut self.phase {
            round.ask_again = round.ask_again.or(Some(now.after(MOMENT)));
        }
    }

    /// The own ack, which a look takes back.
    pub(super) fn own_ack(&self, standing: &Standing) -> Option<Ack> {
        match standing {
            Standing::Member(node) => self.acks.get(node).cloned(),
            Standing::Direct => None,
        }
    }

    /// Starts from nothing under a new id.
    pub(super) fn notify_anew(
        &mut self,
        now: Mono,
        options: &Options,
        id: BatchId,
        rows: Vec<NodeRow>,
        out: &mut Vec<Effect>,
    ) {
        self.id = id;
        self.acks.clear();
        self.has_assumed_acks = false;
        self.rows.clone_from(&rows);
        self.phase = Phase::Gathering(Round::new(now, options));
        self.send(rows, out);
    }

    /// The database says that these rows have not acknowledged: notifies them again and keeps the other acks.
    pub(super) fn demand(&mut self, now: Mono, options: &Options, rows: Vec<NodeRow>, out: &mut Vec<Effect>) {
        self.rows.retain(|known| !rows.iter().any(|row| row.node == known.node));
        self.rows.extend(rows);
        self.phase = Phase::Gathering(Round::new(now, options));
        self.send(self.missing(), out);
    }

    /// The cluster was observed while acks come in: rows that are gone count no more, new ones are notified. A floor
    /// never falls within one life, so an older observation does not undo what a commit has found.
    pub(super) fn observe(&mut self, now: Mono, options: &Options, nodes: &[NodeRow], out: &mut Vec<Effect>) {
        let merged = nodes.iter().map(|node| {
            let known = self.rows.iter().find(|row| is_same_life(row, node));
            let ack_floor = known.map_or(node.ack_floor, |row| row.ack_floor.max(node.ack_floor));
            NodeRow { ack_floor, ..node.clone() }
        });
        let merged: Vec<NodeRow> = merged.collect();
        let before = std::mem::replace(&mut self.rows, merged);
        let new = self.missing().into_iter().filter(|row| !before.iter().any(|known| is_same_life(known, row)));
        let new: Vec<NodeRow> = new.collect();
        if !new.is_empty() {
            self.phase = Phase::Gathering(Round::new(now, options));
            self.send(new, out);
        }
    }

    /// The database undid the commit: everything is as it was before it.
    pub(super) fn gather_again(&mut self, now: Mono, options: &Options) {
        self.aborts += 1;
        self.phase = Phase::Gathering(Round::repeating(now, options));
    }

    /// Takes the notification back; no ack for this id counts from now on.
    pub(super) fn abort(&mut self, next: Phase, out: &mut Vec<Effect>) {
        out.push(Effect::Abort { batch: self.id });
        self.phase = next;
    }

    /// Sends the commit.
    pub(super) fn commit(&mut self, now: Mono, options: &Options, membership: &Membership, out: &mut Vec<Effect>) {
        let (timeline, standing) = (membership.timeline, membership.standing.clone());
        self.phase = Phase::Committing { round: Round::repeating(now, options), timeline, standing, sent: now };
        out.push(Effect::WriteBatch {
            batch: self.id,
            units: self.waiting.iter().map(|waiting| Arc::clone(&waiting.unit)).collect(),
            timeline,
            standing: membership.standing.clone(),
            acks: self.acks.values().cloned().collect(),
        });
    }

    /// Those that have not acknowledged have followed to this database by now: they are asked again, and have all their
    /// time.
    pub(super) fn ask_again(&mut self, now: Mono, options: &Options, out: &mut Vec<Effect>) {
        self.phase = Phase::Gathering(Round::new(now, options));
        self.send(self.missing(), out);
    }

    /// Repeats the notification, or parks the batch, when its time has come. While a node may be about to follow to
    /// this database, nobody is taken for silent.
    pub(super) fn run_timers(&mut self, now: Mono, options: &Options, membership: &Membership, out: &mut Vec<Effect>) {
        let (missing, is_open) = (self.missing(), membership.gate == CommitGate::Open);
        let (round, committing) = match &mut self.phase {
            Phase::Gathering(round) => (round, false),
            Phase::Committing { round, .. } => (round, true),
            Phase::Resolving | Phase::Suspended { .. } | Phase::AwaitingMembership => return,
        };
        if !committing && !missing.is_empty() && is_open && round.park_at <= now {
            if self.assumes_acks(&missing) {
                self.phase = Phase::Gathering(Round::repeating(now, options));
                return;
            }
            self.park(now, options, &membership.standing, missing, out);
        } else if round.ask_again.is_some_and(|at| at <= now) {
            round.ask_again = None;
            self.send(missing, out);
        } else if round.next_send <= now {
            let everybody = round.resends >= options.resend.len();
            round.sent(now, options);
            let to = if everybody { self.rows.clone() } else { missing };
            self.send(to, out);
        }
    }

    /// Nobody keeps silent, but some acknowledged in another life than the one that was seen in the database: takes
    /// their word for it, once, and lets the commit find out.
    fn assumes_acks(&mut self, missing: &[NodeRow]) -> bool {
        let other_life = |row: &NodeRow| {
            self.acks.get(&row.node).map(|ack| ack.incarnation).filter(|incarnation| *incarnation != row.incarnation)
        };
        if self.has_assumed_acks || !missing.iter().all(|row| other_life(row).is_some()) {
            return false;
        }
        let believed = self.rows.iter().map(|row| match other_life(row) {
            Some(incarnation) => NodeRow { node: row.node.clone(), incarnation, ack_floor: AckNo::default() },
            None => row.clone(),
        });
        (self.rows, self.has_assumed_acks) = (believed.collect(), true);
        true
    }

    /// Lets the others answer from memory again. The rows of those that keep silent are revoked, but only when the own
    /// ack is there and at least as many acknowledged as keep silent: a node that is cut off from most of the others
    /// must not take their rows away. It fails its units when it parks them again, and a publisher without a row, which
    /// is no part of the cluster, does so at once: their callers ask another node.
    fn park(
        &mut self,
        now: Mono,
        options: &Options,
        standing: &Standing,
        lacking: Vec<NodeRow>,
        out: &mut Vec<Effect>,
    ) {
        const MOST_DOUBLINGS: u32 = 3;
        let is_cut_off = lacking.len() * 2 > self.rows.len();
        let own_is_silent = lacking.iter().any(|row| *standing == Standing::Member(row.node.clone()));
        let must_fail = *standing == Standing::Direct || (is_cut_off && !own_is_silent && self.parks > 0);
        if must_fail {
            let names: Vec<&str> = lacking.iter().map(|row| &*row.node.0).collect();
            let names = names.join(", ");
            let reason = format!("no acknowledgement came from {names}; ask another node");
            self.abort(Phase::AwaitingMembership, out);
            self.waiting.drain(..).for_each(|waiting| waiting.fail(&reason, out));
            return;
        }
        let rows = if is_cut_off || own_is_silent { Vec::new() } else { lacking.clone() };
        let pause = options.notify_repeat.saturating_mul(1 << self.parks.min(MOST_DOUBLINGS));
        self.parks += 1;
        self.abort(Phase::Suspended { until: now.after(pause), lacking }, out);
        if !rows.is_empty() {
            out.push(Effect::Revoke { rows });
        }
    }

    fn missing(&self) -> Vec<NodeRow> {
        let acked = |row: &NodeRow| self.acks.get(&row.node).is_some_and(|ack| ack.satisfies(row));
        self.rows.iter().filter(|row| !acked(row)).cloned().collect()
    }

    fn send(&self, to: Vec<NodeRow>, out: &mut Vec<Effect>) {
        if to.is_empty() {
            return;
        }
        let keys = self
            .waiting
            .iter()
            .flat_map(|waiting| waiting.keys().map(|key| (key.clone(), waiting.unit.request_id.clone())));
        out.push(Effect::Notify { batch: self.id, keys: keys.collect(), to });
    }
}
