//! A model of the database: the rows, who holds which lock, and what was committed. Transactions have separate steps,
//! and live on or die when their clients do not listen any more. Knows the rules of locks; judges no batch.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use crate::cache::Loaded;
use crate::commit::{Row as ConfigRow, Snapshot, Writes};
use crate::config::{ConfigState, SharedState, Version};
use crate::feed::Page;
use crate::key::ConfigKey;
use crate::lease::Observation;
use crate::member::{AckNo, Incarnation, MemberRow, NodeId, Timeline};
use crate::write_request::{Recorded, RequestId};

mod locks;

pub(super) use locks::Outcome;

/// Names a client's piece of work, and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct OpId {
    pub(super) node: usize,
    pub(super) process: u32,
    pub(super) number: u32,
}

/// A membership row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) incarnation: Incarnation,
    pub(super) renew_seq: u64,
    pub(super) ack_floor: AckNo,
    pub(super) revoked: bool,
}

/// A statement on one membership row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum OnRow {
    Join(Incarnation),
    Floor(Incarnation, AckNo),
    Renew(Incarnation),
    Revoke(Incarnation),
    Fence(Incarnation, u64),
    Release(Incarnation),
}

impl OnRow {
    /// The row after the statement; `None` when it finds none to change.
    fn applied(&self, row: Option<&Row>) -> Option<Option<Row>> {
        if let Self::Join(incarnation) = self {
            let (incarnation, ack_floor) = (*incarnation, AckNo::default());
            return Some(Some(Row { incarnation, renew_seq: 1, ack_floor, revoked: false }));
        }
        let row = row?;
        let owns = |incarnation: &Incarnation| row.incarnation == *incarnation;
        match self {
            Self::Join(_) => None,
            Self::Floor(life, floor) => {
                owns(life).then(|| Some(Row { ack_floor: row.ack_floor.max(*floor), ..row.clone() }))
            }
            Self::Renew(life) => {
                (owns(life) && !row.revoked).then(|| Some(Row { renew_seq: row.renew_seq + 1, ..row.clone() }))
            }
            Self::Revoke(life) => owns(life).then(|| Some(Row { revoked: true, ..row.clone() })),
            Self::Fence(life, seq) => (owns(life) && row.renew_seq == *seq).then_some(None),
            Self::Release(life) => owns(life).then_some(None),
        }
    }
}

/// What a client asks.
#[derive(Debug, Clone)]
pub(super) enum Request {
    /// Begin a transaction and lock the meta row.
    Lock,
    /// Everything that a batch is judged by.
    ReadBatch(Vec<RequestId>, Vec<ConfigKey>),
    /// A row, in a transaction.
    WriteRow(usize, OnRow),
    WriteBatch(Box<Writes>),
    Commit,
    Rollback,
    /// A row, in a statement of its own.
    Statement(usize, OnRow),
    /// All rows.
    ReadRows,
    Load(ConfigKey),
    Look(Vec<RequestId>, Vec<ConfigKey>),
    /// What was changed after a revision, in pages of at most so many revisions.
    Page(Version, usize),
    /// The newest of every key that was changed after a revision.
    ChangedSince(Version),
}

/// What the database answers.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    Done,
    Changed(bool),
    Batch(Box<Snapshot>),
    Rows(Observation),
    /// Whether a renewal was carried out, and the rows after it.
    Renewed(bool, Observation),
    Loaded(Loaded),
    Found(Vec<(RequestId, Recorded)>, Vec<SharedState>),
    Page(Page),
    ChangedSince(Version, Vec<SharedState>),
    /// A lock was not to be had in time; all is undone.
    Undone,
    /// The connection is gone.
    Broken,
}

/// A connection with something under way.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// Counts requests, so that an old timer is known.
    pub(super) step: u32,
    /// A single statement.
    single: bool,
    /// The row statement that waits for a lock.
    waits: Option<(usize, OnRow)>,
    row: Option<(usize, Option<Row>)>,
    writes: Option<Box<Writes>>,
    /// The rows at the time when the transaction was sent: only a rule that is broken looks at them.
    early: Vec<Option<Row>>,
    /// What the fence saw before it waited, likewise.
    decided: bool,
}

#[derive(Debug, Default)]
struct Lock {
    holder: Option<OpId>,
    queue: VecDeque<OpId>,
}

/// Rules of the database that a variant breaks.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Laxity {
    pub(super) joins_without_lock: bool,
    pub(super) fences_by_snapshot: bool,
    pub(super) rows_read_before_the_lock: bool,
}

/// The database.
pub(super) struct Database {
    pub(super) revision: Version,
    pub(super) timeline: Timeline,
    pub(super) rows: Vec<Option<Row>>,
    pub(super) newest: BTreeMap<ConfigKey, SharedState>,
    /// Every state that was committed, in order.
    pub(super) history: Vec<SharedState>,
    /// The feed has forgotten what was committed up to here.
    pub(super) floor: Version,
    pub(super) requests: HashMap<RequestId, Recorded>,
    pub(super) is_down: bool,
    pub(super) laxity: Laxity,
    /// What was committed since it was last asked, and the rows that were there when it was judged.
    pub(super) committed: Vec<(OpId, Box<Writes>)>,
    /// Rows that were deleted by a fence since it was last asked.
    pub(super) fenced: u64,
    sessions: HashMap<OpId, Session>,
    meta: Lock,
    row_locks: Vec<Lock>,
    names: Vec<NodeId>,
}

impl Database {
    pub(super) fn new(names: Vec<NodeId>, keys: &[ConfigKey]) -> Self {
        let absent = |key: &ConfigKey| (key.clone(), Arc::new(ConfigState::absent(key.clone(), Version::ZERO)));
        Self {
            revision: Version::ZERO,
            timeline: Timeline(1),
            rows: vec![None; names.len()],
            newest: keys.iter().map(absent).collect(),
            history: Vec::new(),
            floor: Version::ZERO,
            requests: HashMap::new(),
            is_down: false,
            laxity: Laxity::default(),
            committed: Vec::new(),
            fenced: 0,
            sessions: HashMap::new(),
            meta: Lock::default(),
            row_locks: names.iter().map(|_| Lock::default()).collect(),
            names,
        }
    }

    pub(super) fn version(&self, key: &ConfigKey) -> Version {
        self.newest.get(key).map_or(Version::ZERO, |state| state.version)
    }

    /// Everything that is open, oldest first.
    pub(super) fn open(&self) -> Vec<OpId> {
        let mut open: Vec<OpId> = self.sessions.keys().copied().collect();
        open.sort_unstable();
        open
    }

    /// True while the connection has something under way, and this was its last request.
    pub(super) fn is_at(&self, op: OpId, step: u32) -> bool {
        self.sessions.get(&op).is_some_and(|session| session.step == step)
    }

    /// The own row of `op`'s open transaction is as it wrote it, all others as they are committed.
    pub(super) fn observation(&self, op: OpId) -> Observation {
        let own = self.sessions.get(&op).and_then(|session| session.row.as_ref());
        let row = |(index, row): (usize, &Option<Row>)| {
            let row = own.filter(|(node, _)| *node == index).map_or(row.as_ref(), |(_, row)| row.as_ref())?;
            Some(MemberRow {
                node: self.names[index].clone(),
                incarnation: row.incarnation,
                renew_seq: row.renew_seq,
                ack_floor: row.ack_floor,
                revoked: row.revoked,
                address: String::new(),
                database_member: String::new(),
            })
        };
        let rows = self.rows.iter().enumerate().filter_map(row).collect();
        let identity = crate::extent::DatabaseIdentity::default();
        Observation { revision: self.revision, timeline: self.timeline, rows, identity }
    }

    fn snapshot(&self, op: OpId, ids: &[RequestId], keys: &[ConfigKey]) -> Snapshot {
        let early = self.sessions.get(&op).filter(|_| self.laxity.rows_read_before_the_lock);
        let rows = early.map_or(&self.rows, |session| &session.early);
        let nodes = rows.iter().enumerate().filter_map(|(index, row)| {
            let Row { incarnation, ack_floor, .. } = row.as_ref()?.clone();
            Some(crate::member::NodeRow { node: self.names[index].clone(), incarnation, ack_floor })
        });
        let kept = |key: &ConfigKey| {
            let state = self.newest.get(key).filter(|state| state.version > Version::ZERO)?;
            let row = ConfigRow {
                version: state.version,
                formal_md5: state.formal.as_ref().map(|content| content.md5()),
                gray: state.gray.clone(),
                metadata: state.metadata.clone(),
                created_at: state.created_at,
            };
            Some((key.clone(), row))
        };
        Snapshot {
            can_seal: false,
            revision: self.revision,
            timeline: self.timeline,
            nodes: nodes.collect(),
            requests: self.found(ids).into_iter().collect(),
            rows: keys.iter().filter_map(kept).collect(),
        }
    }

    fn found(&self, ids: &[RequestId]) -> Vec<(RequestId, Recorded)> {
        let kept = |id: &RequestId| self.requests.get(id).map(|recorded| (id.clone(), recorded.clone()));
        ids.iter().filter_map(kept).collect()
    }

    fn states(&self, keys: &[ConfigKey]) -> Vec<SharedState> {
        let states = keys.iter().filter_map(|key| self.newest.get(key));
        states.filter(|state| state.version > Version::ZERO).cloned().collect()
    }

    /// What the feed still has of the changes after a revision: so many at most, but never a part of a revision.
    fn page(&self, after: Version, limit: usize) -> Page {
        let first = self.history.partition_point(|state| state.version <= after.max(self.floor));
        let newer = &self.history[first..];
        let states = match newer.get(limit) {
            Some(torn) => {
                let whole = newer.partition_point(|state| state.version < torn.version);
                let all = newer.partition_point(|state| state.version <= torn.version);
                &newer[..if whole > 0 { whole } else { all }]
            }
            None => newer,
        };
        let complete = states.len() == newer.len();
        Page { floor: self.floor, revision: self.revision, timeline: self.timeline, states: states.to_vec(), complete }
    }

    /// The feed forgets what was committed up to a revision.
    pub(super) fn prune(&mut self, through: Version) {
        self.floor = self.floor.max(through.min(self.revision));
    }

    /// Makes everything of a transaction true at once.
    fn apply(&mut self, op: OpId, session: &mut Session) {
        if let Some((node, row)) = session.row.take() {
            self.rows[node] = row;
        }
        let Some(writes) = session.writes.take() else { return };
        self.revision = writes.revision;
        for state in &writes.states {
            self.newest.insert(state.key.clone(), Arc::clone(state));
        }
        self.history.extend(writes.changes.iter().map(|change| Arc::clone(&change.state)));
        for request in &writes.requests {
            self.requests.insert(request.request_id.clone(), request.recorded.clone());
        }
        self.committed.push((op, writes));
    }
}
