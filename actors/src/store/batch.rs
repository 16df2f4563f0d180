//! The commit of a batch as the database sees it: what the transaction reads for the decision, and the few statements
//! that write what was decided. Decides nothing.

use std::collections::HashMap;
use std::sync::Arc;

use callboard_protocol::access::audit::chain::Record;
use callboard_protocol::commit::{ChangeRow, RequestRow, Row, Snapshot, Writes};
use callboard_protocol::config::{SharedState, Version};
use callboard_protocol::key::ConfigKey;
use callboard_protocol::member::{AckNo, NodeId, NodeRow, Timeline};
use callboard_protocol::time::WallMillis;
use callboard_protocol::write_request::{Recorded, RequestId, WriteRequest};
use sea_orm::{FromQueryResult, Value};

use super::audit;
use super::dialect::{self, Backend, names};
use super::error::Fault;
use super::rows::{self, AttributesRow, KeyRow};
use super::schema::{ATTRIBUTES, Column, KEY};
use super::seals::Seals;
use super::transaction::Transaction;
use crate::codec;

mod at_once;

/// Keys or request ids in one `SELECT`.
pub(super) const ASKED_AT_ONCE: usize = 256;

/// Reads what the decision about `units` rests on. The meta row is locked already; the membership rows are read by
/// a statement of their own after that, so that a join that waited for the lock is seen.
pub(super) async fn read(transaction: &Transaction, units: &[Arc<WriteRequest>]) -> Result<Snapshot, Fault> {
    // An id that was made up for this one request can't be there yet: a commit that may have landed is never repeated.
    let repeatable = units.iter().filter(|unit| unit.repeatable);
    let ids: Vec<&str> = repeatable.map(|unit| unit.request_id.as_str()).collect();
    let mut keys: Vec<ConfigKey> =
        units.iter().flat_map(|unit| unit.items.iter().map(|item| item.key.clone())).collect();
    keys.sort_unstable();
    keys.dedup();
    if transaction.backend() == Backend::Postgres && keys.len() <= ASKED_AT_ONCE {
        let requests = requests(transaction, &ids).await?;
        return at_once::read(transaction, &keys, requests).await;
    }
    let (revision, timeline, nodes) = members(transaction).await?;
    Ok(Snapshot {
        revision,
        timeline,
        nodes,
        requests: requests(transaction, &ids).await?,
        rows: config_rows(transaction, &keys).await?,
        can_seal: transaction.seals().can_seal(),
    })
}

/// The revision, the timeline and every membership row.
pub(super) async fn members(transaction: &Transaction) -> Result<(Version, Timeline, Vec<NodeRow>), Fault> {
    let sql = "SELECT m.rev, m.timeline, n.node, n.inc, n.ack_floor \
               FROM cc_meta m LEFT JOIN cc_node n ON 1 = 1 WHERE m.id = 1";
    let found = transaction.all::<MemberRow>(transaction.sql(sql)).await?;
    let first = found.first().ok_or_else(rows::no_meta)?;
    let (revision, timeline) = (rows::version(first.rev)?, rows::timeline(first.timeline)?);
    let nodes = found.into_iter().filter_map(|row| row.publisher.map(PublisherRow::node)).collect::<Result<_, _>>()?;
    Ok((revision, timeline, nodes))
}

/// The version of the present state of a key; zero when it has none.
pub(super) async fn version(transaction: &Transaction, key: &ConfigKey) -> Result<Version, Fault> {
    let rows = config_rows(transaction, std::slice::from_ref(key)).await?;
    Ok(rows.get(key).map_or(Version::ZERO, |row| row.version))
}

/// The meta row with each membership row.
#[derive(Debug, FromQueryResult)]
struct MemberRow {
    rev: i64,
    timeline: i64,
    #[sea_orm(nested)]
    publisher: Option<PublisherRow>,
}

/// What a publisher needs of a membership row.
#[derive(Debug, FromQueryResult)]
struct PublisherRow {
    node: String,
    inc: String,
    ack_floor: i64,
}

impl PublisherRow {
    fn node(self) -> Result<NodeRow, Fault> {
        let (incarnation, ack_floor) = (rows::incarnation(&self.inc)?, AckNo(rows::count(self.ack_floor)?));
        Ok(NodeRow { node: NodeId(self.node.into()), incarnation, ack_floor })
    }
}

async fn requests(transaction: &Transaction, ids: &[&str]) -> Result<HashMap<RequestId, Recorded>, Fault> {
    let mut found = HashMap::new();
    for ids in ids.chunks(ASKED_AT_ONCE) {
        let mut sql = transaction.sql("SELECT request_id, result FROM cc_request WHERE request_id IN ");
        sql.list(ids);
        for row in transaction.all::<rows::RequestRow>(sql).await? {
            let (request_id, recorded) = row.recorded(transaction.seals())?;
            found.insert(request_id, recorded);
        }
    }
    Ok(found)
}

async fn config_rows(transaction: &Transaction, keys: &[ConfigKey]) -> Result<HashMap<ConfigKey, Row>, Fault> {
    let columns: Vec<Column> = KEY.into_iter().chain(JUDGED).chain(ATTRIBUTES).collect();
    let text = format!("SELECT {} FROM cc_config WHERE ", names(&columns));
    let mut found = HashMap::new();
    for keys in keys.chunks(ASKED_AT_ONCE) {
        let mut sql = transaction.sql(&text);
        sql.keys(keys);
        for row in transaction.all::<ConfigRow>(sql).await? {
            let (key, row) = row.row(transaction.seals())?;
            found.insert(key, row);
        }
    }
    Ok(found)
}

/// The columns of `cc_config` that a decision rests on besides the key and [`ATTRIBUTES`].
const JUDGED: [Column; 2] = [Column::Version, Column::CreatedAt];

/// A configuration as a decision sees it.
#[derive(Debug, FromQueryResult)]
struct ConfigRow {
    #[sea_orm(nested)]
    key: KeyRow,
    version: i64,
    created_at: i64,
    #[sea_orm(nested)]
    attributes: AttributesRow,
}

impl ConfigRow {
    fn row(self, seals: &dyn Seals) -> Result<(ConfigKey, Row), Fault> {
        let key = self.key.key()?;
        let rows::Attributes { md5: formal_md5, gray, metadata } = self.attributes.attributes(&key, seals)?;
        let (version, created_at) = (rows::version(self.version)?, WallMillis(self.created_at));
        Ok((key, Row { version, formal_md5, gray, metadata, created_at }))
    }
}

/// The columns of `cc_config` besides the key and [`ATTRIBUTES`].
const STATE_COLUMNS: [Column; 5] =
    [Column::Version, Column::Deleted, Column::CreatedAt, Column::ModifiedAt, Column::Content];
/// The columns of `cc_change` besides the key and [`ATTRIBUTES`].
const CHANGE_COLUMNS: [Column; 11] = [
    Column::Rev,
    Column::Op,
    Column::Channel,
    Column::Operator,
    Column::SourceAddress,
    Column::ClientId,
    Column::Note,
    Column::RequestId,
    Column::CreatedAt,
    Column::At,
    Column::Content,
];

/// The values of a row of `cc_config`: [`KEY`], [`STATE_COLUMNS`] and [`ATTRIBUTES`].
fn state_values(state: &SharedState, seals: &dyn Seals) -> Result<impl Iterator<Item = Value> + use<>, Fault> {
    let others: [Value; STATE_COLUMNS.len()] = [
        rows::signed(state.version.0).into(),
        state.is_absent().into(),
        state.created_at.0.into(),
        state.modified_at.0.into(),
        rows::content_value(state, seals)?,
    ];
    Ok(rows::key_values(&state.key).into_iter().chain(others).chain(rows::fact_values(state, seals)?))
}

/// The values of a row of `cc_change`: [`KEY`], [`CHANGE_COLUMNS`] and [`ATTRIBUTES`].
fn change_values(
    change: &ChangeRow,
    at: WallMillis,
    seals: &dyn Seals,
) -> Result<impl Iterator<Item = Value> + use<>, Fault> {
    let (state, origin) = (&change.state, &change.origin);
    let others: [Value; CHANGE_COLUMNS.len()] = [
        rows::signed(state.version.0).into(),
        change.operation.as_str().into(),
        origin.channel.as_str().into(),
        origin.operator.clone().into(),
        origin.source_address.clone().into(),
        origin.client_id.clone().into(),
        origin.note.clone().into(),
        change.request_id.as_str().into(),
        state.created_at.0.into(),
        at.0.into(),
        rows::content_value(state, seals)?,
    ];
    Ok(rows::key_values(&state.key).into_iter().chain(others).chain(rows::fact_values(state, seals)?))
}

/// How a request came out, as it is kept.
fn result_of(request: &RequestRow, seals: &dyn Seals) -> Result<Vec<u8>, Fault> {
    let result = codec::encode(&request.recorded).map_err(|error| Fault::Broken(error.to_string()))?;
    if request.is_secret { rows::sealed_result(&request.request_id, &result, seals) } else { Ok(result) }
}

/// Writes what was decided: in one statement where the database can, else in one each for states, changes, request ids
/// and the meta row, cut where the database's limits demand it. `record` tells of it.
pub(super) async fn write(transaction: &Transaction, writes: &Writes, record: Option<&Record>) -> Result<(), Fault> {
    if transaction.backend() == Backend::Postgres {
        return at_once::write(transaction, writes, record).await;
    }
    if let Some(record) = record {
        audit::insert(transaction, record).await?;
    }
    write_states(transaction, &writes.states).await?;
    write_changes(transaction, writes).await?;
    write_requests(transaction, writes).await?;
    let mut sql = transaction.sql("UPDATE cc_meta SET rev = ");
    sql.bind(rows::signed(writes.revision.0)).push(" WHERE id = 1");
    match transaction.run(sql).await? {
        1 => Ok(()),
        found => Err(Fault::Broken(format!("cc_meta has {found} rows"))),
    }
}

async fn write_states(transaction: &Transaction, states: &[SharedState]) -> Result<(), Fault> {
    let others: Vec<Column> = STATE_COLUMNS.into_iter().chain(ATTRIBUTES).collect();
    let insert = format!("INSERT INTO cc_config ({}, {}) VALUES ", names(&KEY), names(&others));
    let upsert = transaction.backend().upsert(&others);
    let rows_at_once = transaction.backend().max_parameters() / (KEY.len() + others.len());
    for run in dialect::runs(transaction.backend(), states, rows_at_once, |state| rows::state_bytes(state)) {
        let mut sql = transaction.sql(&insert);
        for (index, state) in run.iter().enumerate() {
            sql.push(if index > 0 { ", " } else { "" }).tuple(state_values(state, transaction.seals())?);
        }
        sql.push(&upsert);
        transaction.run(sql).await?;
    }
    Ok(())
}

async fn write_changes(transaction: &Transaction, writes: &Writes) -> Result<(), Fault> {
    let columns: Vec<Column> = KEY.into_iter().chain(CHANGE_COLUMNS).chain(ATTRIBUTES).collect();
    let insert = format!("INSERT INTO cc_change ({}) VALUES ", names(&columns));
    let rows_at_once = transaction.backend().max_parameters() / columns.len();
    let weight = |change: &ChangeRow| rows::state_bytes(&change.state);
    for run in dialect::runs(transaction.backend(), &writes.changes, rows_at_once, weight) {
        let mut sql = transaction.sql(&insert);
        for (index, change) in run.iter().enumerate() {
            sql.push(if index > 0 { ", " } else { "" }).tuple(change_values(change, writes.at, transaction.seals())?);
        }
        transaction.run(sql).await?;
    }
    Ok(())
}

async fn write_requests(transaction: &Transaction, writes: &Writes) -> Result<(), Fault> {
    const COLUMNS: usize = 4;
    let rows_at_once = transaction.backend().max_parameters() / COLUMNS;
    for run in dialect::runs(transaction.backend(), &writes.requests, rows_at_once, |_| 0) {
        let mut sql = transaction.sql("INSERT INTO cc_request (request_id, rev, result, at) VALUES ");
        for (index, request) in run.iter().enumerate() {
            let values: [Value; COLUMNS] = [
                request.request_id.as_str().into(),
                rows::signed(request.revision.0).into(),
                result_of(request, transaction.seals())?.into(),
                writes.at.0.into(),
            ];
            sql.push(if index > 0 { ", " } else { "" }).tuple(values);
        }
        transaction.run(sql).await?;
    }
    Ok(())
}
