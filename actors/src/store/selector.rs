//! Which keys a snapshot or a feed is about: the translation of a selector into conditions.

use callboard_protocol::watch::{Selector, What};

use super::dialect::Sql;

/// Sorts after every character that a data id may hold.
const AFTER_ALL: char = '\u{7f}';

/// Appends the condition on the columns of `table`; without a selector every key fits.
pub(super) fn condition(selector: Option<&Selector>, sql: &mut Sql, table: &str) {
    let Some(selector) = selector else {
        sql.push("1 = 1");
        return;
    };
    sql.push(&format!("{table}.tenant = ")).bind(selector.namespace());
    if let Some(group) = selector.group() {
        sql.push(&format!(" AND {table}.grp = ")).bind(group);
    }
    match selector.what() {
        What::Prefix(prefix) => with_prefix(sql, table, prefix),
        What::Exact(ids) => {
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            sql.push(&format!(" AND {table}.data_id IN ")).list(&ids);
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
