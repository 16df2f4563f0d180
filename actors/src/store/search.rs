//! Searching a namespace by patterns, page by numbered page, with the number of all that fit. Pages count rows: a
//! change between two of them may repeat or hide a key. Reads no content.

use callboard_protocol::config::ConfigType;
use callboard_protocol::key::ConfigKey;

use sea_orm::sea_query::{Asterisk, Cond, Expr, ExprTrait as _, Order, Query};
use sea_orm::{Condition, FromQueryResult};

use super::conditions::{among, is_after};
use super::dialect::Backend;
use super::error::{Fault, ReadError};
use super::reader::ReadPool;
use super::rows::{self, CountRow, KeyRow};
use super::schema::{Alias, Column, KEY, Table};

/// What a text must look like.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Pattern {
    /// Like anything.
    #[default]
    Any,
    /// Like this, case and all.
    Exactly(String),
    /// Like this, where `*` stands for any characters, or none.
    Wildcard(String),
}

/// What to search for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Search {
    /// The namespace.
    pub namespace: String,
    /// The data id.
    pub data_id: Pattern,
    /// The group.
    pub group: Pattern,
    /// The application it belongs to.
    pub application: Pattern,
    /// One of these kinds; none for every kind.
    pub kinds: Vec<ConfigType>,
    /// At least one of these labels; none for every configuration.
    pub tags: Vec<String>,
    /// Only those that come after this group and data id.
    pub after: Option<(String, String)>,
    /// How many to pass over.
    pub skip: u64,
    /// How many at most.
    pub limit: u32,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// How many fit: of a search that goes on after a key, those that come after it.
    pub total: u64,
    /// Those of the page, in the order of their keys, each with the length of its formal content in bytes.
    pub page: Vec<(ConfigKey, u64)>,
}

impl ReadPool {
    /// The keys that fit, in their order.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn search(&self, search: &Search) -> Result<Found, ReadError> {
        let fits = condition(search, self.backend())?;
        let mut count = Query::select();
        count.expr_as(Expr::col(Asterisk).count(), Alias::Number).from(Table::Config).cond_where(fits.clone());
        let total = CountRow::of(self.all(&count).await?.into_iter().next())?;
        if search.skip >= total {
            return Ok(Found { total, page: Vec::new() });
        }
        let mut select = Query::select();
        select.columns(KEY.map(of_config)).expr_as(self.backend().content_length(Table::Config), Alias::Size);
        select.from(Table::Config).cond_where(fits).limit(search.limit.into());
        // The rows above are no more than a signed number counts.
        select.offset(search.skip).order_by_columns(KEY.map(|column| (of_config(column), Order::Asc)));
        let rows = self.all::<FoundRow>(&select).await?.into_iter();
        let page = rows.map(|row| Ok((row.key.key()?, rows::count(row.size)?))).collect::<Result<_, Fault>>()?;
        Ok(Found { total, page })
    }
}

#[derive(Debug, FromQueryResult)]
struct FoundRow {
    #[sea_orm(nested)]
    key: KeyRow,
    size: i64,
}

fn of_config(column: Column) -> (Table, Column) {
    (Table::Config, column)
}

fn condition(search: &Search, backend: Backend) -> Result<Condition, Fault> {
    let column = |column| Expr::col(of_config(column));
    let mut all = Cond::all().add(column(Column::Tenant).eq(search.namespace.as_str()));
    all = all.add(column(Column::Deleted).eq(false));
    let patterns =
        [(Column::Grp, &search.group), (Column::DataId, &search.data_id), (Column::Application, &search.application)];
    for (name, wanted) in patterns {
        match wanted {
            Pattern::Any => {}
            Pattern::Exactly(text) => all = all.add(column(name).eq(text.as_str())),
            Pattern::Wildcard(text) => all = all.add(backend.is_like(column(name), text)),
        }
    }
    all = all.add_option(search.after.as_ref().map(is_after));
    if !search.kinds.is_empty() {
        let kinds: Vec<&str> = search.kinds.iter().map(|kind| kind.as_str()).collect();
        all = all.add(among(of_config(Column::Kind), &kinds));
    }
    if search.tags.is_empty() {
        return Ok(all);
    }
    let mut any = Cond::any();
    for tag in &search.tags {
        // Tags are kept as a list of JSON texts.
        let tag = serde_json::to_string(tag).map_err(|_inner| Fault::Broken("a tag to search for".to_owned()))?;
        any = any.add(backend.contains(column(Column::Tags), &tag));
    }
    Ok(all.add(any))
}
