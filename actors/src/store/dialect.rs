//! Where the three databases differ in SQL, and the builder that every statement of the store is written with.
//! Everything else is one text for all of them. Takes no decision and opens nothing.

use callboard_protocol::key::ConfigKey;
use sea_orm::{DbBackend, Statement, Value};

/// Which database stands behind the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Backend {
    /// A file, one process.
    Sqlite,
    /// PostgreSQL and what speaks like it.
    Postgres,
    /// MySQL and MariaDB.
    MySql,
}

impl Backend {
    /// The beginning of a select list that says as of when the answer is, and by whom: the revision and the timeline of
    /// `m`, the row of `cc_meta`, and `off` from a server that takes writes. Read by `Columns::head`.
    pub(super) fn head(self) -> &'static str {
        match self {
            Self::Sqlite => "m.rev, m.timeline, 'off'",
            Self::Postgres => "m.rev, m.timeline, CASE WHEN pg_is_in_recovery() THEN 'on' ELSE 'off' END",
            Self::MySql => "m.rev, m.timeline, CAST(@@global.read_only AS CHAR)",
        }
    }

    /// The name for logs and status pages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::MySql => "mysql",
        }
    }

    pub(super) fn sea(self) -> DbBackend {
        match self {
            Self::Sqlite => DbBackend::Sqlite,
            Self::Postgres => DbBackend::Postgres,
            Self::MySql => DbBackend::MySql,
        }
    }

    /// Most parameters of one statement.
    pub(super) fn max_parameters(self) -> usize {
        match self {
            Self::Sqlite => 32_766,
            Self::Postgres | Self::MySql => 65_535,
        }
    }

    /// Whether a commit is seen by others before it is durable: InnoDB gives its locks back before the log is synced, and
    /// takes back in a crash what was seen in between.
    pub(super) fn shows_before_durable(self) -> bool {
        matches!(self, Self::MySql)
    }

    /// The larger of two values.
    pub(super) fn greatest(self) -> &'static str {
        match self {
            Self::Sqlite => "MAX",
            Self::Postgres | Self::MySql => "GREATEST",
        }
    }

    /// The function that finds a text in another, case and all; its result is above zero when it is there.
    pub(super) fn position(self) -> &'static str {
        match self {
            Self::Sqlite | Self::MySql => "INSTR",
            Self::Postgres => "STRPOS",
        }
    }

    /// `table`, in conditions that must not choose the index: SQLite has no figures of its own and would walk all
    /// changes of a namespace instead of the few that are new.
    pub(super) fn unindexed(self, table: &str) -> String {
        match self {
            Self::Sqlite => format!("+{table}"),
            Self::Postgres | Self::MySql => table.to_owned(),
        }
    }

    /// The length in bytes of a content, read without reading the content.
    pub(super) fn byte_length(self, column: &str) -> String {
        match self {
            Self::Sqlite => format!("COALESCE(LENGTH({column}), 0)"),
            Self::Postgres => format!("CAST(COALESCE(OCTET_LENGTH({column}), 0) AS BIGINT)"),
            Self::MySql => format!("CAST(COALESCE(OCTET_LENGTH({column}), 0) AS SIGNED)"),
        }
    }

    /// Sends the transaction's limits and takes the row lock that orders all commits. One round trip; on SQLite the
    /// transaction is the lock and there is nothing to send.
    pub(super) fn lock_meta(self, limit_millis: u128) -> Option<String> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some(format!(
                "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = {limit_millis}; \
                 SET LOCAL statement_timeout = {limit_millis}; \
                 SET LOCAL idle_in_transaction_session_timeout = {limit_millis}; \
                 SELECT rev FROM cc_meta WHERE id = 1 FOR UPDATE"
            )),
            Self::MySql => Some("SELECT rev FROM cc_meta WHERE id = 1 FOR UPDATE".to_owned()),
        }
    }

    /// The tail that turns an insert into an upsert on `key`; every column of `updated` takes the new row's value.
    pub(super) fn upsert(self, key: &str, updated: &[&str]) -> String {
        let assignment = |column: &&str| match self {
            Self::Sqlite | Self::Postgres => format!("{column} = excluded.{column}"),
            Self::MySql => format!("{column} = VALUES({column})"),
        };
        let assignments = updated.iter().map(assignment).collect::<Vec<_>>().join(", ");
        match self {
            Self::Sqlite | Self::Postgres => format!(" ON CONFLICT ({key}) DO UPDATE SET {assignments}"),
            Self::MySql => format!(" ON DUPLICATE KEY UPDATE {assignments}"),
        }
    }
}

/// A statement in the making: text and values grow together.
pub(super) struct Sql {
    backend: Backend,
    text: String,
    values: Vec<Value>,
}

impl Sql {
    pub(super) fn new(backend: Backend, text: &str) -> Self {
        Self { backend, text: text.to_owned(), values: Vec::new() }
    }

    /// Appends plain text.
    pub(super) fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Appends a placeholder and its value.
    pub(super) fn bind(&mut self, value: impl Into<Value>) -> &mut Self {
        self.values.push(value.into());
        match self.backend {
            Backend::Postgres => self.text.push_str(&format!("${}", self.values.len())),
            Backend::Sqlite | Backend::MySql => self.text.push('?'),
        }
        self
    }

    /// Appends `(a, b, …)`: placeholders for `values`.
    pub(super) fn tuple(&mut self, values: impl IntoIterator<Item = Value>) -> &mut Self {
        let mut separator = "(";
        for value in values {
            self.push(separator).bind(value);
            separator = ", ";
        }
        self.push(")")
    }

    /// Appends a list for `IN`, filled up by repetition so that few lengths, and so few statements, occur.
    pub(super) fn list(&mut self, values: &[&str]) -> &mut Self {
        self.tuple(padded(values).map(|value| Value::from(*value)))
    }

    /// Appends the condition that the row of `table` has one of `keys`; never true when there are none.
    pub(super) fn keys(&mut self, table: &str, keys: &[ConfigKey]) -> &mut Self {
        if keys.is_empty() {
            return self.push("1 = 0");
        }
        // Not `IN` with row values: only some of the databases would use the index for it.
        for (index, key) in padded(keys).enumerate() {
            self.push(if index > 0 { ") OR (" } else { "((" });
            self.push(&format!("{table}.tenant = ")).bind(key.namespace());
            self.push(&format!(" AND {table}.grp = ")).bind(key.group());
            self.push(&format!(" AND {table}.data_id = ")).bind(key.data_id());
        }
        self.push("))")
    }

    /// The same values for another text, which has their places.
    pub(super) fn with_text(mut self, text: &str) -> Self {
        text.clone_into(&mut self.text);
        self
    }

    pub(super) fn statement(self) -> Statement {
        Statement::from_sql_and_values(self.backend.sea(), self.text, self.values)
    }
}

/// `items`, the last repeated up to the next power of two.
fn padded<T>(items: &[T]) -> impl Iterator<Item = &T> {
    let length = if items.is_empty() { 0 } else { items.len().next_power_of_two() };
    items.iter().chain(items.last().into_iter().cycle()).take(length)
}

/// Cuts `items` into runs that fit one statement: at most `rows` items, and about a mebibyte of `bytes`. An item
/// that is larger than that goes alone. On SQLite a run is as long as a power of two, so that few statements occur and
/// each is prepared once: preparing a long one costs more than running several short ones. The others, which answer
/// over a network, get as few as can be.
pub(super) fn runs<T>(backend: Backend, items: &[T], rows: usize, bytes: impl Fn(&T) -> usize) -> Vec<&[T]> {
    const RUN_BYTES: usize = 1024 * 1024;
    let mut runs = Vec::new();
    let mut rest = items;
    while !rest.is_empty() {
        let mut length = 0_usize;
        let mut total = 0_usize;
        for item in rest.iter().take(rows.max(1)) {
            total = total.saturating_add(bytes(item));
            if length > 0 && total > RUN_BYTES {
                break;
            }
            length += 1;
        }
        if backend == Backend::Sqlite {
            length = 1 << length.max(1).ilog2();
        }
        let (run, others) = rest.split_at(length);
        runs.push(run);
        rest = others;
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::{Backend, runs};

    #[test]
    fn a_run_ends_at_its_row_limit_and_a_large_item_goes_alone() {
        let mebibyte = 1024 * 1024;
        let lengths = [1, 2, mebibyte + 1, 3, 4, 5];
        let cut: Vec<Vec<usize>> =
            runs(Backend::Postgres, &lengths, 2, |length| *length).into_iter().map(<[usize]>::to_vec).collect();
        assert_eq!(cut, [vec![1, 2], vec![mebibyte + 1], vec![3, 4], vec![5]]);
    }

    #[test]
    fn on_sqlite_a_run_is_as_long_as_a_power_of_two() {
        let items = [(); 45];
        let cut: Vec<usize> = runs(Backend::Sqlite, &items, 40, |()| 0).into_iter().map(<[()]>::len).collect();
        assert_eq!(cut, [32, 8, 4, 1]);
    }
}
