//! A batch in two statements, for PostgreSQL: one reads, and one writes, in which each column is one array, whatever
//! the number of rows. Two exchanges with the server instead of six, one text to prepare for all that is written, and
//! each content is sent once, although two tables have it. Owns those statements; what is read and written is what the
//! statements for the other databases read and write.

use std::collections::HashMap;
use std::iter::Peekable;
use std::slice::Iter;
use std::sync::{Arc, LazyLock};

use callboard_protocol::access::audit::chain::Record;
use callboard_protocol::commit::{ChangeRow, RequestRow, Snapshot, Writes};
use callboard_protocol::config::SharedState;
use callboard_protocol::key::ConfigKey;
use callboard_protocol::write_request::{Recorded, RequestId};
use sea_orm::{FromQueryResult, Iden as _, Value};

use super::super::audit;
use super::super::dialect::{self, Backend, Sql, names};
use super::super::error::Fault;
use super::super::rows;
use super::super::schema::{ATTRIBUTES, Column, KEY};
use super::super::seals::Seals;
use super::super::transaction::Transaction;
use super::{CHANGE_COLUMNS, ConfigRow, JUDGED, MemberRow, PublisherRow, STATE_COLUMNS, change_values, result_of};

/// What `cc_config` has and `cc_change` has not, or under another name: where it comes from.
const STATE_SOURCES: [(Column, Column); 2] = [(Column::Version, Column::Rev), (Column::ModifiedAt, Column::At)];

/// The meta row with each member, and the rows of keys: one text and one plan, whatever their number. A condition with
/// each key in it takes longer to plan than to run.
static READ: LazyLock<String> = LazyLock::new(|| {
    let of_config: Vec<Column> = KEY.into_iter().chain(JUDGED).chain(ATTRIBUTES).collect();
    let absent = |column: &Column| format!("NULL::{} AS {}", Kind::of(*column).name(), column.unquoted());
    let present = |column: &Column| format!("c.{}", column.unquoted());
    format!(
        "SELECT m.rev, m.timeline, n.node, n.inc, n.ack_floor, {absent} \
         FROM cc_meta m LEFT JOIN cc_node n ON TRUE WHERE m.id = 1 \
         UNION ALL SELECT NULL, NULL, NULL, NULL, NULL, {present} \
         FROM UNNEST($1::text[], $2::text[], $3::text[]) AS k (tenant, grp, data_id) \
         JOIN cc_config c ON c.tenant = k.tenant AND c.grp = k.grp AND c.data_id = k.data_id",
        absent = of_config.iter().map(absent).collect::<Vec<_>>().join(", "),
        present = of_config.iter().map(present).collect::<Vec<_>>().join(", "),
    )
});

/// A membership row or a configuration.
#[derive(Debug, FromQueryResult)]
struct ReadRow {
    #[sea_orm(nested)]
    member: Option<MemberRow>,
    #[sea_orm(nested)]
    config: Option<ConfigRow>,
}

/// The statements before the last one, which write changes and states alone.
static SOME: LazyLock<String> = LazyLock::new(|| format!("WITH {} SELECT 1", of_changes()));
/// The last one.
static LAST: LazyLock<String> = LazyLock::new(|| last(""));
/// The last one, with a record of what was written.
static RECORDED: LazyLock<String> = LazyLock::new(|| {
    // After what the last one has.
    let first = columns().len() + 7;
    let values: Vec<String> = (first..).take(audit::COLUMNS.len()).map(|place| format!("${place}")).collect();
    last(&format!(", record AS (INSERT INTO cc_audit ({}) VALUES ({}))", names(&audit::COLUMNS), values.join(", ")))
});

/// The last statement, with another part of it.
fn last(more: &str) -> String {
    // After the columns and the mark of the newest.
    let first = columns().len() + 2;
    format!(
        "WITH {}, requests AS (INSERT INTO cc_request (request_id, rev, result, at) \
         SELECT q.request_id, q.rev, q.result, ${at} \
         FROM UNNEST(${first}::text[], ${rev}::int8[], ${result}::bytea[]) AS q (request_id, rev, result)){more} \
         UPDATE cc_meta SET rev = ${meta} WHERE id = 1",
        of_changes(),
        rev = first + 1,
        result = first + 2,
        at = first + 3,
        meta = first + 4,
    )
}

/// What a column holds. A missing text, and a missing content, can't be an element of an array here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Sent as an empty text when it is missing, else with a mark before it.
    Text,
    Number,
    Flag,
    /// A content is never empty: an empty one is a missing one.
    Bytes,
}

impl Kind {
    fn of(column: Column) -> Self {
        match column {
            Column::Rev | Column::Version | Column::CreatedAt | Column::At => Self::Number,
            Column::FormalPresent | Column::Deleted => Self::Flag,
            Column::Content => Self::Bytes,
            _ => Self::Text,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Number => "int8",
            Self::Flag => "bool",
            Self::Bytes => "bytea",
        }
    }

    /// The value of a column that was sent so.
    fn read(self, column: &str) -> String {
        match self {
            Self::Text => format!("SUBSTR(NULLIF({column}, ''), 2)"),
            Self::Bytes => format!("NULLIF({column}, ''::bytea)"),
            Self::Number | Self::Flag => column.to_owned(),
        }
    }
}

/// What is sent of a change; after it goes a mark whether its state is the newest of its key.
fn columns() -> Vec<Column> {
    KEY.into_iter().chain(CHANGE_COLUMNS).chain(ATTRIBUTES).chain([Column::Deleted]).collect()
}

fn of_changes() -> String {
    let sent = columns();
    let arrays: Vec<String> = sent
        .iter()
        .enumerate()
        .map(|(index, column)| format!("${}::{}[]", index + 1, Kind::of(*column).name()))
        .collect();
    let read = |columns: &[Column]| {
        let source = |column: &Column| {
            let renamed = STATE_SOURCES.iter().find(|(name, _)| name == column).map(|(_, source)| *source);
            let source = renamed.unwrap_or(*column);
            Kind::of(source).read(source.unquoted())
        };
        columns.iter().map(source).collect::<Vec<_>>().join(", ")
    };
    let change: Vec<Column> = KEY.into_iter().chain(CHANGE_COLUMNS).chain(ATTRIBUTES).collect();
    let others: Vec<Column> = STATE_COLUMNS.into_iter().chain(ATTRIBUTES).collect();
    let state: Vec<Column> = KEY.into_iter().chain(others.iter().copied()).collect();
    format!(
        "sent AS (SELECT * FROM UNNEST({arrays}, ${newest}::bool[]) AS s ({sent}, is_newest)), \
         changes AS (INSERT INTO cc_change ({change_columns}) SELECT {change_values} FROM sent), \
         states AS (INSERT INTO cc_config ({state_columns}) SELECT {state_values} FROM sent WHERE is_newest{upsert})",
        newest = sent.len() + 1,
        arrays = arrays.join(", "),
        sent = names(&sent),
        change_columns = names(&change),
        change_values = read(&change),
        state_columns = names(&state),
        state_values = read(&state),
        upsert = Backend::Postgres.upsert(&others),
    )
}

/// Reads what the decision rests on besides `requests`. The meta row is locked by a statement before.
pub(super) async fn read(
    transaction: &Transaction,
    keys: &[ConfigKey],
    requests: HashMap<RequestId, Recorded>,
) -> Result<Snapshot, Fault> {
    let mut sql = transaction.sql("");
    let part = |of: fn(&ConfigKey) -> &str| keys.iter().map(|key| of(key).to_owned()).collect::<Vec<_>>();
    sql.bind(part(ConfigKey::namespace)).bind(part(ConfigKey::group)).bind(part(ConfigKey::data_id));
    let (mut head, mut nodes, mut found) = (None, Vec::new(), HashMap::new());
    for row in transaction.all::<ReadRow>(sql.with_text(&READ)).await? {
        if let Some(row) = row.member {
            head = Some((rows::version(row.rev)?, rows::timeline(row.timeline)?));
            nodes.extend(row.publisher.map(PublisherRow::node).transpose()?);
        }
        if let Some(row) = row.config {
            let (key, row) = row.row(transaction.seals())?;
            found.insert(key, row);
        }
    }
    let (revision, timeline) = head.ok_or_else(rows::no_meta)?;
    let can_seal = transaction.seals().can_seal();
    Ok(Snapshot { revision, timeline, nodes, requests, rows: found, can_seal })
}

/// Writes what was decided, and the record of it.
pub(super) async fn write(transaction: &Transaction, writes: &Writes, record: Option<&Record>) -> Result<(), Fault> {
    // The newest of each key, in the order of the changes.
    let mut states = writes.states.iter().peekable();
    let mut runs =
        dialect::runs(Backend::Postgres, &writes.changes, usize::MAX, |change| rows::state_bytes(&change.state));
    let last = runs.pop().unwrap_or_default();
    for run in runs {
        let mut sql = transaction.sql("");
        bind_changes((&mut sql, transaction.seals()), run, writes, &mut states)?;
        transaction.rows(sql.with_text(&SOME)).await?;
    }
    let mut sql = transaction.sql("");
    bind_changes((&mut sql, transaction.seals()), last, writes, &mut states)?;
    bind_requests(&mut sql, &writes.requests, transaction.seals())?;
    sql.bind(writes.at.0).bind(rows::signed(writes.revision.0));
    let text = match record {
        Some(record) => {
            audit::values(record).into_iter().for_each(|value| {
                sql.bind(value);
            });
            &RECORDED
        }
        None => &LAST,
    };
    let found = transaction.run(sql.with_text(text)).await?;
    if states.next().is_some() {
        return Err(Fault::Broken("a state of a batch has no change".to_owned()));
    }
    match found {
        1 => Ok(()),
        found => Err(Fault::Broken(format!("cc_meta has {found} rows"))),
    }
}

fn bind_changes(
    (sql, seals): (&mut Sql, &dyn Seals),
    changes: &[ChangeRow],
    writes: &Writes,
    states: &mut Peekable<Iter<'_, SharedState>>,
) -> Result<(), Fault> {
    let columns = columns();
    let mut arrays: Vec<Vec<Value>> = columns.iter().map(|_| Vec::with_capacity(changes.len())).collect();
    let mut are_newest = Vec::with_capacity(changes.len());
    for change in changes {
        are_newest.push(states.next_if(|state| Arc::ptr_eq(state, &change.state)).is_some());
        let is_absent = Value::from(change.state.is_absent());
        for (array, value) in arrays.iter_mut().zip(change_values(change, writes.at, seals)?.chain([is_absent])) {
            array.push(value);
        }
    }
    for (column, array) in columns.into_iter().zip(arrays) {
        match Kind::of(column) {
            Kind::Text => sql.bind(array.into_iter().map(marked).collect::<Result<Vec<_>, _>>()?),
            Kind::Number => sql.bind(array.into_iter().map(number).collect::<Result<Vec<_>, _>>()?),
            Kind::Flag => sql.bind(array.into_iter().map(flag).collect::<Result<Vec<_>, _>>()?),
            Kind::Bytes => sql.bind(array.into_iter().map(bytes).collect::<Result<Vec<_>, _>>()?),
        };
    }
    sql.bind(are_newest);
    Ok(())
}

fn bind_requests(sql: &mut Sql, requests: &[RequestRow], seals: &dyn Seals) -> Result<(), Fault> {
    let results = requests.iter().map(|request| result_of(request, seals)).collect::<Result<Vec<_>, _>>()?;
    sql.bind(requests.iter().map(|request| request.request_id.as_str().to_owned()).collect::<Vec<_>>());
    sql.bind(requests.iter().map(|request| rows::signed(request.revision.0)).collect::<Vec<_>>());
    sql.bind(results);
    Ok(())
}

fn marked(value: Value) -> Result<String, Fault> {
    match value {
        Value::String(None) => Ok(String::new()),
        Value::String(Some(text)) => Ok(format!("+{text}")),
        _ => Err(unexpected()),
    }
}

fn number(value: Value) -> Result<i64, Fault> {
    if let Value::BigInt(Some(number)) = value { Ok(number) } else { Err(unexpected()) }
}

fn flag(value: Value) -> Result<bool, Fault> {
    if let Value::Bool(Some(flag)) = value { Ok(flag) } else { Err(unexpected()) }
}

fn bytes(value: Value) -> Result<Vec<u8>, Fault> {
    match value {
        Value::Bytes(bytes) => Ok(bytes.unwrap_or_default()),
        _ => Err(unexpected()),
    }
}

fn unexpected() -> Fault {
    Fault::Broken("a column of a batch holds something else than its kind".to_owned())
}
