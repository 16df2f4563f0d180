//! What a batch writes: a pure function of the batch and of what the transaction read under the lock.
//!
//! The store reads a [`Snapshot`], calls [`decide`], and writes what it says; it takes no decision of its own.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::config::{ConfigState, Metadata, SharedState, Version};
use crate::content::Md5;
use crate::extent::Extent;
use crate::gray::GrayRules;
use crate::key::ConfigKey;
use crate::member::{Ack, NodeId, NodeRow, Timeline};
use crate::time::WallMillis;
use crate::write_request::{
    Change, Condition, Effect, Expected, KeyOutcome, KeyWrite, Origin, Recorded, Refusal, RequestId, WriteOutcome,
    WriteRequest,
};

/// Names a batch on its way through notify, ack and commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BatchId(pub Uuid);

/// Whose row has to be among those that acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// The publisher is a member: its own row must be there, acknowledged.
    Member(NodeId),
    /// The publisher has no row and answers nothing from memory.
    Direct,
}

/// What the transaction read, after it had locked the meta row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The revision of the last commit.
    pub revision: Version,
    /// The timeline.
    pub timeline: Timeline,
    /// Every membership row.
    pub nodes: Vec<NodeRow>,
    /// The request ids of the batch that were used before.
    pub requests: HashMap<RequestId, Recorded>,
    /// The keys of the batch that have a row, removed ones included.
    pub rows: HashMap<ConfigKey, Row>,
    /// Whether there is a key to seal secrets with.
    pub can_seal: bool,
}

/// A configuration's row, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The revision of its last change.
    pub version: Version,
    /// The digest of its formal content; `None` when it has none.
    pub formal_md5: Option<Md5>,
    /// Its gray contents.
    pub gray: GrayRules,
    /// Its metadata.
    pub metadata: Metadata,
    /// When it came into being.
    pub created_at: WallMillis,
}

impl Row {
    fn is_absent(&self) -> bool {
        self.formal_md5.is_none() && self.gray.is_empty()
    }
}

named! {
    /// What happened to a key, in the feed.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Operation {
        /// Came into being.
        Create = "create",
        /// Changed.
        Update = "update",
        /// Went.
        Remove = "remove",
    }
}

/// A row of the change feed: the state that a change made, and who made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeRow {
    /// What happened.
    pub operation: Operation,
    /// The state after it; its version is the row's revision.
    pub state: SharedState,
    /// Who asked.
    pub origin: Origin,
    /// Under which request id.
    pub request_id: RequestId,
}

/// A request id to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRow {
    /// The id.
    pub request_id: RequestId,
    /// The unit's revision; the revision of the last commit when the unit changed nothing.
    pub revision: Version,
    /// What to answer to a repetition.
    pub recorded: Recorded,
    /// It tells of a secret.
    pub is_secret: bool,
}

/// What the transaction has to write, all of it or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writes {
    /// The new revision of the meta row; equal to the one read when no unit changed anything.
    pub revision: Version,
    /// The time to store with every row.
    pub at: WallMillis,
    /// The last state of each changed key: one upsert each.
    pub states: Vec<SharedState>,
    /// One feed row for each change, in revision order.
    pub changes: Vec<ChangeRow>,
    /// Request ids to keep.
    pub requests: Vec<RequestRow>,
    /// How each unit came out, in the batch's order; true once the transaction is durable.
    pub outcomes: Vec<WriteOutcome>,
}

impl Writes {
    /// True when there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.requests.is_empty()
    }

    /// True when an outcome says that something is done, now or earlier.
    #[must_use]
    pub fn tells_of_success(&self) -> bool {
        self.outcomes.iter().any(|outcome| matches!(outcome, WriteOutcome::Done { .. }))
    }
}

/// What a commit comes to under the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// These rows have not acknowledged, or took their ack back: write nothing, notify them.
    NeedAcks(Vec<NodeRow>),
    /// The publisher's own row is gone: write nothing, join again.
    NotMember,
    /// The database is on another timeline: write nothing.
    TimelineChanged(Timeline),
    /// One who acknowledged knows of this commit, and the database ends before it: it has lost commits. Write nothing.
    Behind(Extent),
    /// Write this.
    Write(Writes),
}

/// Decides what the batch writes.
///
/// Units are judged in order, each against what the units before it made: the same key twice in a batch is ordered,
/// and a unit that is refused leaves nothing behind while the others go on.
#[must_use]
pub fn decide(
    snapshot: Snapshot,
    units: &[Arc<WriteRequest>],
    timeline: Timeline,
    standing: &Standing,
    acks: &[Ack],
    at: WallMillis,
) -> Decision {
    if snapshot.timeline != timeline {
        return Decision::TimelineChanged(snapshot.timeline);
    }
    if let Standing::Member(node) = standing
        && !snapshot.nodes.iter().any(|row| row.node == *node)
    {
        return Decision::NotMember;
    }
    // Whoever is asked for an ack knows everything that anybody was answered on the strength of one.
    if let Some(known) = acks.iter().map(|ack| ack.known).max()
        && known > Extent::new(snapshot.timeline, snapshot.revision)
    {
        return Decision::Behind(known);
    }
    let missing: Vec<NodeRow> =
        snapshot.nodes.iter().filter(|row| !acks.iter().any(|ack| ack.satisfies(row))).cloned().collect();
    if !missing.is_empty() {
        return Decision::NeedAcks(missing);
    }
    let mut ledger = Ledger::new(snapshot, at);
    let outcomes = units.iter().map(|unit| ledger.judge(unit)).collect();
    Decision::Write(ledger.into_writes(outcomes))
}

/// The state of the keys as the units of a batch are applied one after the other.
struct Ledger {
    at: WallMillis,
    revision: Version,
    rows: HashMap<ConfigKey, Row>,
    can_seal: bool,
    recorded: HashMap<RequestId, Recorded>,
    latest: HashMap<ConfigKey, usize>,
    changes: Vec<ChangeRow>,
    requests: Vec<RequestRow>,
}

impl Ledger {
    fn new(snapshot: Snapshot, at: WallMillis) -> Self {
        Self {
            at,
            revision: snapshot.revision,
            rows: snapshot.rows,
            can_seal: snapshot.can_seal,
            recorded: snapshot.requests,
            latest: HashMap::new(),
            changes: Vec::new(),
            requests: Vec::new(),
        }
    }

    fn judge(&mut self, unit: &WriteRequest) -> WriteOutcome {
        if let Some(recorded) = self.recorded.get(&unit.request_id) {
            return if recorded.fingerprint == unit.fingerprint {
                WriteOutcome::Done { items: recorded.items.clone(), replayed: true }
            } else {
                WriteOutcome::Refused(Refusal::RequestIdReused { request_id: unit.request_id.clone() })
            };
        }
        for item in &unit.items {
            if let Err(refusal) = admits(item, self.rows.get(&item.key)) {
                return WriteOutcome::Refused(refusal);
            }
            if !self.can_seal && self.makes_secret(item) {
                return WriteOutcome::Refused(Refusal::NoKey { key: item.key.clone() });
            }
        }
        let is_secret = unit.items.iter().any(|item| self.makes_secret(item));
        let revision = self.revision.next();
        let changed_before = self.changes.len();
        let items: Vec<KeyOutcome> = unit.items.iter().map(|item| self.apply(unit, item, revision)).collect();
        let changed = self.changes.len() > changed_before;
        if changed {
            self.revision = revision;
        }
        if changed || unit.repeatable {
            let recorded = Recorded { fingerprint: unit.fingerprint, items: items.clone() };
            self.recorded.insert(unit.request_id.clone(), recorded.clone());
            let request_id = unit.request_id.clone();
            self.requests.push(RequestRow { request_id, revision: self.revision, recorded, is_secret });
        }
        WriteOutcome::Done { items, replayed: false }
    }

    /// Whether what an item puts is a secret: it says so, or what is there is one.
    fn makes_secret(&self, item: &KeyWrite) -> bool {
        let Change::Put { edit, .. } = &item.change else { return false };
        let present = self.rows.get(&item.key).filter(|row| !row.is_absent());
        edit.is_secret.unwrap_or_else(|| present.is_some_and(|row| row.metadata.is_secret))
    }

    fn apply(&mut self, unit: &WriteRequest, item: &KeyWrite, revision: Version) -> KeyOutcome {
        let present = self.rows.get(&item.key).filter(|row| !row.is_absent());
        let (state, operation) = match &item.change {
            Change::Put { content, edit } => {
                let is_same = present.is_some_and(|row| row.formal_md5 == Some(content.md5()));
                let metadata = edit.applied_to(present.map_or(&Metadata::default(), |row| &row.metadata), is_same);
                if let Some(row) = present
                    && is_same
                    && row.metadata == metadata
                {
                    return KeyOutcome { version: row.version, md5: row.formal_md5, effect: Effect::Unchanged };
                }
                let state = ConfigState {
                    key: item.key.clone(),
                    version: revision,
                    formal: Some(content.clone()),
                    gray: present.map_or_else(GrayRules::default, |row| row.gray.clone()),
                    metadata,
                    created_at: present.map_or(self.at, |row| row.created_at),
                    modified_at: self.at,
                };
                (state, if present.is_some() { Operation::Update } else { Operation::Create })
            }
            Change::Remove => {
                let gone = ConfigState { modified_at: self.at, ..ConfigState::absent(item.key.clone(), revision) };
                (gone, Operation::Remove)
            }
        };
        self.record(unit, Arc::new(state), operation)
    }

    fn record(&mut self, unit: &WriteRequest, state: SharedState, operation: Operation) -> KeyOutcome {
        let formal_md5 = state.formal.as_ref().map(|content| content.md5());
        let row = Row {
            version: state.version,
            formal_md5,
            gray: state.gray.clone(),
            metadata: state.metadata.clone(),
            created_at: state.created_at,
        };
        let version = state.version;
        self.rows.insert(state.key.clone(), row);
        self.latest.insert(state.key.clone(), self.changes.len());
        let (origin, request_id) = (unit.origin.clone(), unit.request_id.clone());
        self.changes.push(ChangeRow { operation, state, origin, request_id });
        let effect = match operation {
            Operation::Create => Effect::Created,
            Operation::Update => Effect::Updated,
            Operation::Remove => Effect::Removed,
        };
        KeyOutcome { version, md5: formal_md5, effect }
    }

    fn into_writes(self, outcomes: Vec<WriteOutcome>) -> Writes {
        let states = self
            .changes
            .iter()
            .enumerate()
            .filter(|(index, change)| self.latest.get(&change.state.key) == Some(index))
            .map(|(_, change)| Arc::clone(&change.state))
            .collect();
        Writes {
            revision: self.revision,
            at: self.at,
            states,
            changes: self.changes,
            requests: self.requests,
            outcomes,
        }
    }
}

/// Whether an item's condition holds for the row as it is.
fn admits(item: &KeyWrite, row: Option<&Row>) -> Result<(), Refusal> {
    let present = row.filter(|row| !row.is_absent());
    let formal_md5 = present.and_then(|row| row.formal_md5);
    let holds = match &item.condition {
        Condition::None => true,
        Condition::Absent => present.is_none(),
        Condition::Exists => present.is_some(),
        Condition::Matches(expected) => present.is_some_and(|row| {
            expected.iter().any(|expected| match expected {
                Expected::Version(version) => row.version == *version,
                Expected::Md5(md5) => formal_md5 == Some(*md5),
            })
        }),
        Condition::NacosCas(expected) => {
            formal_md5.is_none_or(|md5| Md5::parse(expected).is_some_and(|expected| expected == md5))
        }
    };
    if !holds {
        return Err(Refusal::Conflict {
            key: item.key.clone(),
            version: row.map_or(Version::ZERO, |row| row.version),
            // The digest of a secret would tell who guesses it that he is right.
            md5: formal_md5.filter(|_| present.is_some_and(|row| !row.metadata.is_secret)),
        });
    }
    if matches!(item.change, Change::Remove) && present.is_none() {
        return Err(Refusal::NotFound { key: item.key.clone() });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
