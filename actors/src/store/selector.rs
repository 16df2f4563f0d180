//! Which keys a listing, a snapshot or a feed is about. Owns the words and their translation into conditions.

use super::dialect::Sql;

/// Selects keys of one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    /// The namespace.
    pub namespace: String,
    /// Only this group; `None` for all.
    pub group: Option<String>,
    /// Which data ids.
    pub data_id: DataIds,
}

/// The data ids that a [`Selector`] selects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataIds {
    /// Exactly these.
    Exact(Vec<String>),
    /// All that begin with this; the empty prefix selects all.
    Prefix(String),
}

/// Sorts after every character that a data id may hold.
const AFTER_ALL: char = '\u{7f}';

impl Selector {
    /// Appends the condition on the columns of `table`.
    pub(super) fn condition(&self, sql: &mut Sql, table: &str) {
        sql.push(&format!("{table}.tenant = ")).bind(self.namespace.as_str());
        if let Some(group) = &self.group {
            sql.push(&format!(" AND {table}.grp = ")).bind(group.as_str());
        }
        match &self.data_id {
            DataIds::Prefix(prefix) => with_prefix(sql, table, prefix),
            DataIds::Exact(ids) if ids.is_empty() => {
                sql.push(" AND 1 = 0");
            }
            DataIds::Exact(ids) => {
                let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
                sql.push(&format!(" AND {table}.data_id IN ")).list(&ids);
            }
        }
    }
}

/// A range, so that an index can serve it; names sort byte by byte.
pub(super) fn with_prefix(sql: &mut Sql, table: &str, prefix: &str) {
    if prefix.is_empty() {
        return;
    }
    sql.push(&format!(" AND {table}.data_id >= ")).bind(prefix);
    sql.push(&format!(" AND {table}.data_id < ")).bind(format!("{prefix}{AFTER_ALL}"));
}
