//! A batch in two statements, for PostgreSQL: one reads, and one writes, in which each column is one array, whatever the
//! number of rows. Two exchanges with the server instead of six, one text to prepare for all that is written, and each content is
//! sent once, although two tables have it. Owns those statements; what is read and written is what the statements for the
//! other databases read and write.

use std::collections::HashMap;
use std::iter::Peekable;
use std::slice::Iter;
use std::sync::{Arc, LazyLock};

use callboard_protocol::commit::{ChangeRow, RequestRow, Snapshot, Writes};
use callboard_protocol::config::SharedState;
use callboard_protocol::key::ConfigKey;
use callboard_protocol::unit::{Recorded, RequestId};
use sea_orm::Value;

use super::super::dialect::{self, Backend, Sql};
use super::super::error::Fault;
use super::super::rows::{self, Columns, FACTS};
use super::super::transaction::Transaction;
use super::{CHANGE_COLUMNS, KEY, STATE_COLUMNS, change_values, config_row, member, no_meta, result_of};

/// What `cc_config` has and `cc_change` has not, or under another name: where it comes from.
const STATE_SOURCES: [(&str, &str); 2] = [("version", "rev"), ("modified_at", "at")];
/// What is sent besides the columns of `cc_change`.
const BESIDES: [&str; 2] = ["deleted", "is_newest"];

/// Columns that only rows of members have.
const OF_MEMBERS: usize = 5;

/// The meta row with each member, and the rows of keys: one text and one plan, whatever their number. A condition with each
/// key in it takes longer to plan than to run.
static READ: LazyLock<String> = LazyLock::new(|| {
    // The first fact is a flag, the others are texts.
    let of_configs = "NULL::text, NULL::text, NULL::text, NULL::int8, NULL::int8, NULL::bool";
    format!(
        "SELECT TRUE, m.rev, m.timeline, n.node, n.inc, n.ack_floor, {of_configs}{texts} \
         FROM cc_meta m LEFT JOIN cc_node n ON TRUE WHERE m.id = 1 \
         UNION ALL SELECT FALSE{of_members}, c.tenant, c.grp, c.data_id, c.version, c.created_at, {facts} \
         FROM UNNEST($1::text[], $2::text[], $3::text[]) AS k (tenant, grp, data_id) \
         JOIN cc_config c ON c.tenant = k.tenant AND c.grp = k.grp AND c.data_id = k.data_id",
        texts = ", NULL::text".repeat(FACTS.len() - 1),
        of_members = ", NULL".repeat(OF_MEMBERS),
        facts = rows::facts_of("c"),
    )
});

/// The statements before the last one, which write changes and states alone.
static SOME: LazyLock<String> = LazyLock::new(|| format!("WITH {} SELECT 1", of_changes()));
/// The last one.
static LAST: LazyLock<String> = LazyLock::new(|| {
    let first = columns().len() + 1;
    format!(
        "WITH {}, requests AS (INSERT INTO cc_request (request_id, rev, result, at) \
         SELECT q.request_id, q.rev, q.result, ${at} \
         FROM UNNEST(${first}::text[], ${rev}::int8[], ${result}::bytea[]) AS q (request_id, rev, result)) \
         UPDATE cc_meta SET rev = ${meta} WHERE id = 1",
        of_changes(),
        rev = first + 1,
        result = first + 2,
        at = first + 3,
        meta = first + 4,
    )
});

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
    fn of(column: &str) -> Self {
        match column {
            "rev" | "created_at" | "at" => Self::Number,
            "formal_present" | "deleted" | "is_newest" => Self::Flag,
            "content" => Self::Bytes,
            _ => Self::Text,
        }
    }

    fn array(self) -> &'static str {
        match self {
            Self::Text => "text[]",
            Self::Number => "int8[]",
            Self::Flag => "bool[]",
            Self::Bytes => "bytea[]",
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

fn columns() -> Vec<&'static str> {
    KEY.into_iter().chain(CHANGE_COLUMNS).chain(FACTS).chain(BESIDES).collect()
}

fn of_changes() -> String {
    let sent = columns();
    let arrays: Vec<String> = sent
        .iter()
        .enumerate()
        .map(|(index, column)| format!("${}::{}", index + 1, Kind::of(column).array()))
        .collect();
    let read = |columns: &[&str]| {
        let source = |column: &&str| {
            let renamed = STATE_SOURCES.iter().find(|(name, _)| name == column).map(|(_, source)| *source);
            let source = renamed.unwrap_or(column);
            Kind::of(source).read(source)
        };
        columns.iter().map(source).collect::<Vec<_>>().join(", ")
    };
    let change: Vec<&str> = KEY.into_iter().chain(CHANGE_COLUMNS).chain(FACTS).collect();
    let others: Vec<&str> = STATE_COLUMNS.into_iter().chain(FACTS).collect();
    let state: Vec<&str> = KEY.into_iter().chain(others.iter().copied()).collect();
    let upsert = Backend::Postgres.upsert(&KEY.join(", "), &others);
    format!(
        "sent AS (SELECT * FROM UNNEST({arrays}) AS s ({sent})), \
         changes AS (INSERT INTO cc_change ({change_columns}) SELECT {change_values} FROM sent), \
         states AS (INSERT INTO cc_config ({state_columns}) SELECT {state_values} FROM sent WHERE is_newest{upsert})",
        arrays = arrays.join(", "),
        sent = sent.join(", "),
        change_columns = change.join(", "),
        change_values = read(&change),
        state_columns = state.join(", "),
        state_values = read(&state),
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
    for row in &transaction.rows(sql.with_text(&READ)).await? {
        let mut columns = Columns::of(row);
        if columns.take::<bool>()? {
            head = Some((columns.version()?, columns.timeline()?));
            nodes.extend(member(&mut columns)?);
        } else {
            columns.skip(OF_MEMBERS);
            let (key, row) = config_row(&mut columns)?;
            found.insert(key, row);
        }
    }
    let (revision, timeline) = head.ok_or_else(no_meta)?;
    Ok(Snapshot { revision, timeline, nodes, requests, rows: found })
}

/// Writes what was decided.
pub(super) async fn write(transaction: &Transaction, writes: &Writes) -> Result<(), Fault> {
    // The newest of each key, in the order of the changes.
    let mut states = writes.states.iter().peekable();
    let mut runs =
        dialect::runs(Backend::Postgres, &writes.changes, usize::MAX, |change| rows::state_bytes(&change.state));
    let last = runs.pop().unwrap_or_default();
    for run in runs {
        let mut sql = transaction.sql("");
        bind_changes(&mut sql, run, writes, &mut states)?;
        transaction.rows(sql.with_text(&SOME)).await?;
    }
    let mut sql = transaction.sql("");
    bind_changes(&mut sql, last, writes, &mut states)?;
    bind_requests(&mut sql, &writes.requests)?;
    sql.bind(writes.at.0).bind(rows::signed(writes.revision.0));
    let found = transaction.run(sql.with_text(&LAST)).await?;
    if states.next().is_some() {
        return Err(Fault::Broken("a state of a batch has no change".to_owned()));
    }
    match found {
        1 => Ok(()),
        found => Err(Fault::Broken(format!("cc_meta has {found} rows"))),
    }
}

fn bind_changes(
    sql: &mut Sql,
    changes: &[ChangeRow],
    writes: &Writes,
    states: &mut Peekable<Iter<'_, SharedState>>,
) -> Result<(), Fault> {
    let mut arrays: Vec<Vec<Value>> = columns().iter().map(|_| Vec::with_capacity(changes.len())).collect();
    for change in changes {
        let is_newest = states.next_if(|state| Arc::ptr_eq(state, &change.state)).is_some();
        let besides = [Value::from(change.state.is_absent()), Value::from(is_newest)];
        for (array, value) in arrays.iter_mut().zip(change_values(change, writes.at)?.chain(besides)) {
            array.push(value);
        }
    }
    for (column, array) in columns().into_iter().zip(arrays) {
        match Kind::of(column) {
            Kind::Text => sql.bind(array.into_iter().map(marked).collect::<Result<Vec<_>, _>>()?),
            Kind::Number => sql.bind(array.into_iter().map(number).collect::<Result<Vec<_>, _>>()?),
            Kind::Flag => sql.bind(array.into_iter().map(flag).collect::<Result<Vec<_>, _>>()?),
            Kind::Bytes => sql.bind(array.into_iter().map(bytes).collect::<Result<Vec<_>, _>>()?),
        };
    }
    Ok(())
}

fn bind_requests(sql: &mut Sql, requests: &[RequestRow]) -> Result<(), Fault> {
    let results = requests.iter().map(result_of).collect::<Result<Vec<_>, _>>()?;
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
