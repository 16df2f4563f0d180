//! The commit of a batch as the database sees it: what the transaction reads for the decision, and the few statements
//! that write what was decided. Decides nothing.

use std::collections::HashMap;
use std::sync::Arc;

use callboard_protocol::commit::{ChangeRow, RequestRow, Row, Snapshot, Writes};
use callboard_protocol::config::{SharedState, Version};
use callboard_protocol::key::ConfigKey;
use callboard_protocol::member::{AckNo, Incarnation, NodeId, NodeRow, Timeline};
use callboard_protocol::time::WallMillis;
use callboard_protocol::unit::{Recorded, RequestId, Unit};
use sea_orm::Value;
use uuid::Uuid;

use super::dialect::{self, Backend};
use super::error::Fault;
use super::rows::{self, Columns, FACTS};
use super::transaction::Transaction;
use crate::codec;

mod at_once;

/// Keys or request ids in one `SELECT`.
pub(super) const ASKED_AT_ONCE: usize = 256;

/// Reads what the decision about `units` rests on. The meta row is locked already; the membership rows are read by
/// a statement of their own after that, so that a join that waited for the lock is seen.
pub(super) async fn read(transaction: &Transaction, units: &[Arc<Unit>]) -> Result<Snapshot, Fault> {
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
    })
}

/// The revision, the line of history and every membership row.
pub(super) async fn members(transaction: &Transaction) -> Result<(Version, Timeline, Vec<NodeRow>), Fault> {
    let sql = "SELECT m.rev, m.timeline, n.node, n.inc, n.ack_floor \
               FROM cc_meta m LEFT JOIN cc_node n ON 1 = 1 WHERE m.id = 1";
    let mut head = None;
    let mut nodes = Vec::new();
    for row in &transaction.rows(transaction.sql(sql)).await? {
        let mut columns = Columns::of(row);
        head = Some((columns.version()?, columns.timeline()?));
        nodes.extend(member(&mut columns)?);
    }
    let (revision, timeline) = head.ok_or_else(no_meta)?;
    Ok((revision, timeline, nodes))
}

fn no_meta() -> Fault {
    Fault::Broken("the row of cc_meta is missing".to_owned())
}

/// Reads a membership row, if there is one: node, incarnation, floor.
fn member(columns: &mut Columns<'_>) -> Result<Option<NodeRow>, Fault> {
    let Some(node) = columns.take::<Option<String>>()? else { return Ok(None) };
    let incarnation = incarnation(&columns.take::<String>()?)?;
    let ack_floor = AckNo(columns.number()?);
    Ok(Some(NodeRow { node: NodeId(node.into()), incarnation, ack_floor }))
}

pub(super) fn incarnation(text: &str) -> Result<Incarnation, Fault> {
    Uuid::parse_str(text).map(Incarnation).map_err(|_inner| Fault::Broken("a stored incarnation".to_owned()))
}

/// Reads a request id with what is kept under it.
pub(super) fn recorded(columns: &mut Columns<'_>) -> Result<(RequestId, Recorded), Fault> {
    let request_id = columns.request_id()?;
    let result = columns.take::<Vec<u8>>()?;
    let recorded = codec::decode(&result)
        .map_err(|error| Fault::Broken(format!("the result kept for request {request_id}: {error}")))?;
    Ok((request_id, recorded))
}

async fn requests(transaction: &Transaction, ids: &[&str]) -> Result<HashMap<RequestId, Recorded>, Fault> {
    let mut found = HashMap::new();
    for ids in ids.chunks(ASKED_AT_ONCE) {
        let mut sql = transaction.sql("SELECT request_id, result FROM cc_request WHERE request_id IN ");
        sql.list(ids);
        for row in &transaction.rows(sql).await? {
            let (request_id, recorded) = recorded(&mut Columns::of(row))?;
            found.insert(request_id, recorded);
        }
    }
    Ok(found)
}

async fn config_rows(transaction: &Transaction, keys: &[ConfigKey]) -> Result<HashMap<ConfigKey, Row>, Fault> {
    let facts = rows::facts_of("c");
    let mut found = HashMap::new();
    for keys in keys.chunks(ASKED_AT_ONCE) {
        let text =
            format!("SELECT c.tenant, c.grp, c.data_id, c.version, c.created_at, {facts} FROM cc_config c WHERE ");
        let mut sql = transaction.sql(&text);
        sql.keys("c", keys);
        for row in &transaction.rows(sql).await? {
            let mut columns = Columns::of(row);
            let (key, row) = config_row(&mut columns)?;
            found.insert(key, row);
        }
    }
    Ok(found)
}

/// Reads key, version, time of creation and [`FACTS`].
fn config_row(columns: &mut Columns<'_>) -> Result<(ConfigKey, Row), Fault> {
    let (key, version, created_at) = (columns.key()?, columns.version()?, columns.time()?);
    let facts = columns.facts()?;
    let (formal_md5, gray, metadata) = (facts.md5, facts.gray, facts.metadata);
    Ok((key, Row { version, formal_md5, gray, metadata, created_at }))
}

/// The columns of a key.
const KEY: [&str; 3] = ["tenant", "grp", "data_id"];
/// The columns of `cc_config` besides the key and [`FACTS`].
const STATE_COLUMNS: [&str; 5] = ["version", "deleted", "created_at", "modified_at", "content"];
/// The columns of `cc_change` besides the key and [`FACTS`].
const CHANGE_COLUMNS: [&str; 11] = [
    "rev",
    "op",
    "channel",
    "operator",
    "source_address",
    "client_id",
    "note",
    "request_id",
    "created_at",
    "at",
    "content",
];

/// The values of a row of `cc_config`: [`KEY`], [`STATE_COLUMNS`] and [`FACTS`].
fn state_values(state: &SharedState) -> Result<impl Iterator<Item = Value>, Fault> {
    let others: [Value; STATE_COLUMNS.len()] = [
        rows::signed(state.version.0).into(),
        state.is_absent().into(),
        state.created_at.0.into(),
        state.modified_at.0.into(),
        rows::content_value(state),
    ];
    Ok(rows::key_values(&state.key).into_iter().chain(others).chain(rows::fact_values(state)?))
}

/// The values of a row of `cc_change`: [`KEY`], [`CHANGE_COLUMNS`] and [`FACTS`].
fn change_values(change: &ChangeRow, at: WallMillis) -> Result<impl Iterator<Item = Value>, Fault> {
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
        rows::content_value(state),
    ];
    Ok(rows::key_values(&state.key).into_iter().chain(others).chain(rows::fact_values(state)?))
}

/// How a request came out, as it is kept.
fn result_of(request: &RequestRow) -> Result<Vec<u8>, Fault> {
    codec::encode(&request.recorded).map_err(|error| Fault::Broken(error.to_string()))
}

/// Writes what was decided: in one statement where the database can, else in one each for states, changes, request ids and
/// the meta row, cut where the database's limits demand it.
pub(super) async fn write(transaction: &Transaction, writes: &Writes) -> Result<(), Fault> {
    if transaction.backend() == Backend::Postgres {
        return at_once::write(transaction, writes).await;
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
    let others: Vec<&str> = STATE_COLUMNS.into_iter().chain(FACTS).collect();
    let insert = format!("INSERT INTO cc_config ({}, {}) VALUES ", KEY.join(", "), others.join(", "));
    let upsert = transaction.backend().upsert(&KEY.join(", "), &others);
    let rows_at_once = transaction.backend().max_parameters() / (KEY.len() + others.len());
    for run in dialect::runs(transaction.backend(), states, rows_at_once, |state| rows::state_bytes(state)) {
        let mut sql = transaction.sql(&insert);
        for (index, state) in run.iter().enumerate() {
            sql.push(if index > 0 { ", " } else { "" }).tuple(state_values(state)?);
        }
        sql.push(&upsert);
        transaction.run(sql).await?;
    }
    Ok(())
}

async fn write_changes(transaction: &Transaction, writes: &Writes) -> Result<(), Fault> {
    let columns: Vec<&str> = KEY.into_iter().chain(CHANGE_COLUMNS).chain(FACTS).collect();
    let insert = format!("INSERT INTO cc_change ({}) VALUES ", columns.join(", "));
    let rows_at_once = transaction.backend().max_parameters() / columns.len();
    let weight = |change: &ChangeRow| rows::state_bytes(&change.state);
    for run in dialect::runs(transaction.backend(), &writes.changes, rows_at_once, weight) {
        let mut sql = transaction.sql(&insert);
        for (index, change) in run.iter().enumerate() {
            sql.push(if index > 0 { ", " } else { "" }).tuple(change_values(change, writes.at)?);
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
                result_of(request)?.into(),
                writes.at.0.into(),
            ];
            sql.push(if index > 0 { ", " } else { "" }).tuple(values);
        }
        transaction.run(sql).await?;
    }
    Ok(())
}
