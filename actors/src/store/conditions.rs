//! Conditions that several statements share: which keys, and which of some values. The same number of values makes the
//! same text, so that few statements occur and each is prepared once.

use callboard_protocol::key::ConfigKey;
use callboard_protocol::watch::{Selector, What};
use sea_orm::sea_query::{Cond, Expr, ExprTrait as _, IntoCondition as _};
use sea_orm::{Condition, Value};

use super::schema::{Column, KEY, Table};

/// Sorts after every character that a data id may hold.
const AFTER_ALL: char = '\u{7f}';

/// Always true.
pub(super) fn always() -> Expr {
    Expr::cust("1 = 1")
}

/// Never true.
pub(super) fn never() -> Expr {
    Expr::cust("1 = 0")
}

/// Whether `column` is one of `values`; never when there are none.
pub(super) fn among<V: Into<Value> + Clone>(column: (Table, Column), values: &[V]) -> Expr {
    if values.is_empty() { never() } else { Expr::col(column).is_in(padded(values).cloned().map(|value| value.into())) }
}

/// Whether the row of `table` has one of `keys`; never when there are none.
pub(super) fn has_key(table: Table, keys: &[ConfigKey]) -> Condition {
    // Not `IN` with row values: only some of the databases would use the index for it.
    let mut any = Cond::any();
    for key in padded(keys) {
        let [tenant, group, data_id] = KEY.map(|column| Expr::col((table, column)));
        let is_it = tenant.eq(key.namespace()).and(group.eq(key.group())).and(data_id.eq(key.data_id()));
        any = any.add(is_it);
    }
    if keys.is_empty() { never().into_condition() } else { any }
}

/// The conditions that a selector puts on the columns of a key, as `column` names them; without a selector every key
/// fits.
pub(super) fn selected(selector: Option<&Selector>, column: impl Fn(Column) -> Expr) -> Condition {
    let Some(selector) = selector else { return always().into_condition() };
    let mut all = Cond::all().add(column(Column::Tenant).eq(selector.namespace()));
    if let Some(group) = selector.group() {
        all = all.add(column(Column::Grp).eq(group));
    }
    match selector.what() {
        What::Prefix(prefix) => all.add_option(has_prefix(column, prefix)),
        What::Exact(ids) => {
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            all.add(column(Column::DataId).is_in(padded(&ids).copied()))
        }
    }
}

/// Whether a data id begins with `prefix`: a range, so that an index can serve it; names sort byte by byte.
pub(super) fn has_prefix(column: impl Fn(Column) -> Expr, prefix: &str) -> Option<Expr> {
    let range = column(Column::DataId).gte(prefix).and(column(Column::DataId).lt(format!("{prefix}{AFTER_ALL}")));
    (!prefix.is_empty()).then_some(range)
}

/// Whether a configuration comes after this group and data id of its namespace.
pub(super) fn is_after((group, data_id): &(String, String)) -> Expr {
    let column = |column| Expr::col((Table::Config, column));
    let later = column(Column::Grp).gt(group.as_str()).or(column(Column::DataId).gt(data_id.as_str()));
    column(Column::Grp).gte(group.as_str()).and(later)
}

/// `items`, the last repeated up to the next power of two.
pub(super) fn padded<T>(items: &[T]) -> impl Iterator<Item = &T> {
    let length = if items.is_empty() { 0 } else { items.len().next_power_of_two() };
    items.iter().chain(items.last().into_iter().cycle()).take(length)
}
