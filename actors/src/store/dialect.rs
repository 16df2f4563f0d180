//! Where the three databases differ in SQL, and the raw statements that the query builder can't say as well; which
//! these are and why stands in docs/adr/0015-raw-sql.md. Takes no decision and opens nothing.

use callboard_protocol::key::ConfigKey;
use sea_orm::sea_query::{BinOper, Expr, ExprTrait as _, Func, LikeExpr, Query, SelectStatement};
use sea_orm::{DbBackend, Iden as _, Statement, StatementBuilder, Value};

use super::conditions::padded;
use super::schema::{Alias, Column, KEY, Table};

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
    /// A select that says as of when the answer is, and by whom: what of `cc_meta` goes before every other column, and
    /// `off` from a server that takes writes. Read as a [`HeadRow`](super::rows::HeadRow).
    pub(super) fn head(self) -> SelectStatement {
        let of_meta = |column| Expr::col((Table::Meta, column));
        let read_only = match self {
            Self::Sqlite => Expr::cust("'off'"),
            Self::Postgres => Expr::cust("CASE WHEN pg_is_in_recovery() THEN 'on' ELSE 'off' END"),
            Self::MySql => Expr::cust("CAST(@@global.read_only AS CHAR)"),
        };
        Query::select()
            .expr_as(of_meta(Column::Rev), Alias::HeadRev)
            .expr_as(of_meta(Column::Timeline), Alias::HeadTimeline)
            .expr_as(of_meta(Column::PrunedRev), Alias::HeadFloor)
            .expr_as(read_only, Alias::HeadReadOnly)
            .from(Table::Meta)
            .and_where(of_meta(Column::Id).eq(1))
            .take()
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

    /// Whether a commit is seen by others before it is durable: InnoDB gives its locks back before the log is synced,
    /// and takes back in a crash what was seen in between.
    pub(super) fn shows_before_durable(self) -> bool {
        matches!(self, Self::MySql)
    }

    /// Whether `text` stands in another, case and all.
    pub(super) fn contains(self, text: impl Into<Expr>, part: &str) -> Expr {
        let function = match self {
            Self::Sqlite | Self::MySql => "INSTR",
            Self::Postgres => "STRPOS",
        };
        Func::cust(function).arg(text).arg(part).gt(0)
    }

    /// Whether a text is like `pattern`, case and all, in which `*` stands for any characters, or none.
    pub(super) fn is_like(self, text: Expr, pattern: &str) -> Expr {
        match self {
            Self::Sqlite => text.binary(BinOper::Custom("GLOB"), self.wildcard(pattern)),
            Self::Postgres | Self::MySql => text.like(LikeExpr::new(self.wildcard(pattern)).escape('!')),
        }
    }

    /// `text` in the words of the operator that respects case. Nothing but `*` has a meaning.
    fn wildcard(self, text: &str) -> String {
        let mut pattern = String::with_capacity(text.len() + 8);
        let mut last = None;
        for sign in text.chars() {
            match (self, sign) {
                // Two in a row say no more than one, and cost more.
                (_, '*') if last == Some('*') => {}
                (Self::Sqlite, '*') => pattern.push('*'),
                (Self::Sqlite, '?' | '[') => pattern.extend(['[', sign, ']']),
                (Self::Postgres | Self::MySql, '*') => pattern.push('%'),
                (Self::Postgres | Self::MySql, '%' | '_' | '!') => pattern.extend(['!', sign]),
                _ => pattern.push(sign),
            }
            last = Some(sign);
        }
        pattern
    }

    /// A column in conditions that must not choose the index: SQLite has no figures of its own and would walk all
    /// changes of a namespace instead of the few that are new.
    pub(super) fn unindexed(self, column: (Table, Column)) -> Expr {
        match self {
            Self::Sqlite => Expr::cust_with_expr("+?", Expr::col(column)),
            Self::Postgres | Self::MySql => Expr::col(column),
        }
    }

    /// The length in bytes of the content of a row of `table`, read without reading the content.
    pub(super) fn content_length(self, table: Table) -> Expr {
        let (length, number) = match self {
            Self::Sqlite => ("LENGTH", "INTEGER"),
            Self::Postgres => ("OCTET_LENGTH", "BIGINT"),
            Self::MySql => ("OCTET_LENGTH", "SIGNED"),
        };
        let length = Func::cust(length).arg(Expr::col((table, Column::Content)));
        Func::cast_as(Func::coalesce([length.into(), Expr::cust("0")]), number).into()
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

    /// The tail that turns an insert into an upsert by the key; every column of `updated` takes the new row's value.
    pub(super) fn upsert(self, updated: &[Column]) -> String {
        let assignment = |column: &Column| match (self, column.unquoted()) {
            (Self::Sqlite | Self::Postgres, column) => format!("{column} = excluded.{column}"),
            (Self::MySql, column) => format!("{column} = VALUES({column})"),
        };
        let assignments = updated.iter().map(assignment).collect::<Vec<_>>().join(", ");
        match self {
            Self::Sqlite | Self::Postgres => format!(" ON CONFLICT ({}) DO UPDATE SET {assignments}", names(&KEY)),
            Self::MySql => format!(" ON DUPLICATE KEY UPDATE {assignments}"),
        }
    }
}

/// The names of columns, for a list of them.
pub(super) fn names(columns: &[Column]) -> String {
    columns.iter().map(|column| column.unquoted()).collect::<Vec<_>>().join(", ")
}

/// What can be sent to a database: what the query builder made, or raw text with its values.
pub(super) trait IntoStatement {
    fn into_statement(self, backend: Backend) -> Statement;
}

impl<S: StatementBuilder> IntoStatement for &S {
    fn into_statement(self, backend: Backend) -> Statement {
        StatementBuilder::build(self, &backend.sea())
    }
}

impl<S: StatementBuilder> IntoStatement for &mut S {
    fn into_statement(self, backend: Backend) -> Statement {
        StatementBuilder::build(self, &backend.sea())
    }
}

impl IntoStatement for Sql {
    fn into_statement(self, backend: Backend) -> Statement {
        Statement::from_sql_and_values(backend.sea(), self.text, self.values)
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

    /// Appends the condition that a row has one of `keys`; never true when there are none.
    pub(super) fn keys(&mut self, keys: &[ConfigKey]) -> &mut Self {
        if keys.is_empty() {
            return self.push("1 = 0");
        }
        // Not `IN` with row values: only some of the databases would use the index for it.
        for (index, key) in padded(keys).enumerate() {
            self.push(if index > 0 { ") OR (tenant = " } else { "((tenant = " }).bind(key.namespace());
            self.push(" AND grp = ").bind(key.group()).push(" AND data_id = ").bind(key.data_id());
        }
        self.push("))")
    }

    /// The same values for another text, which has their places.
    pub(super) fn with_text(mut self, text: &str) -> Self {
        text.clone_into(&mut self.text);
        self
    }
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
    fn nothing_but_the_star_has_a_meaning() {
        assert_eq!(Backend::Sqlite.wildcard("a**b?[c]_%!"), "a*b[?][[]c]_%!");
        assert_eq!(Backend::MySql.wildcard("a**b?[c]_%!"), "a%b?[c]!_!%!!");
    }

    #[test]
    fn on_sqlite_a_run_is_as_long_as_a_power_of_two() {
        let items = [(); 45];
        let cut: Vec<usize> = runs(Backend::Sqlite, &items, 40, |()| 0).into_iter().map(<[()]>::len).collect();
        assert_eq!(cut, [32, 8, 4, 1]);
    }
}
