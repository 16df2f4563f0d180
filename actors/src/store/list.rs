//! Listing the configurations of a namespace, page by page, and the namespaces. A page begins after a key, not after a
//! number of rows: changes between two pages neither repeat nor hide a key that stays. Reads no content.

use std::collections::BTreeMap;

use callboard_protocol::config::{ConfigType, Version};
use callboard_protocol::content::Md5;
use callboard_protocol::key::{ConfigKey, PUBLIC_NAMESPACE};
use callboard_protocol::time::WallMillis;

use sea_orm::FromQueryResult;
use sea_orm::sea_query::{Asterisk, Expr, ExprTrait as _, Func, Order, Query};

use super::conditions::{has_prefix, is_after};
use super::error::{Fault, ReadError};
use super::reader::ReadPool;
use super::rows::{self, KeyRow};
use super::schema::{Alias, Column, KEY, Table};

/// What a listing shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListFilter {
    /// The namespace.
    pub namespace: String,
    /// Only this group.
    pub group: Option<String>,
    /// Only data ids that begin with this.
    pub data_id_prefix: Option<String>,
    /// Only when the data id or the description holds this text, case and all.
    pub text: Option<String>,
}

/// A configuration in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Its key.
    pub key: ConfigKey,
    /// The revision of its last change.
    pub version: Version,
    /// The digest of its formal content; that of a secret is not shown.
    pub md5: Option<Md5>,
    /// Its content is a secret.
    pub is_secret: bool,
    /// The kind of text.
    pub kind: ConfigType,
    /// For people.
    pub description: Option<String>,
    /// Labels.
    pub tags: Vec<String>,
    /// The application it belongs to.
    pub application: Option<String>,
    /// The length of its formal content in bytes.
    pub size: u64,
    /// When it came into being.
    pub created_at: WallMillis,
    /// When it was last changed.
    pub modified_at: WallMillis,
}

impl ReadPool {
    /// Up to `limit` configurations in the order of their keys, beginning after the (group, data id) of `after`.
    ///
    /// # Errors
    /// [`ReadError`]. A row that can't be read is left out, with a warning.
    pub async fn list(
        &self,
        filter: &ListFilter,
        after: Option<&(String, String)>,
        limit: u32,
    ) -> Result<Vec<Summary>, ReadError> {
        let column = |column| Expr::col((Table::Config, column));
        let mut select = Query::select();
        select.columns(KEY.into_iter().chain(SUMMARY).map(|column| (Table::Config, column))).from(Table::Config);
        select.expr_as(self.backend().content_length(Table::Config), Alias::Size);
        select.and_where(column(Column::Tenant).eq(filter.namespace.as_str()));
        select.and_where(column(Column::Deleted).eq(false));
        select.and_where_option(filter.group.as_deref().map(|group| column(Column::Grp).eq(group)));
        select.and_where_option(has_prefix(column, filter.data_id_prefix.as_deref().unwrap_or_default()));
        if let Some(text) = filter.text.as_deref().filter(|text| !text.is_empty()) {
            let description = Func::coalesce([column(Column::Description), "".into()]);
            let in_data_id = self.backend().contains(column(Column::DataId), text);
            select.and_where(in_data_id.or(self.backend().contains(description, text)));
        }
        select.and_where_option(after.map(is_after)).limit(limit.into());
        select.order_by_columns(KEY.map(|column| ((Table::Config, column), Order::Asc)));
        let mut summaries = Vec::new();
        for row in &self.rows(&select).await? {
            match rows::read::<SummaryRow>(row).and_then(SummaryRow::summary) {
                Ok(summary) => summaries.push(summary),
                Err(fault) => {
                    let reason = ReadError::from(fault).to_string();
                    tracing::warn!(store.namespace = filter.namespace, reason, "a row is left out of a listing");
                }
            }
        }
        Ok(summaries)
    }

    /// Every namespace with the number of its configurations: `public` first, the others by id. One that nobody named
    /// is there as soon as something was published in it.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn namespaces(&self) -> Result<Vec<NamespaceSummary>, ReadError> {
        let mut counts = Query::select();
        counts.column(Column::Tenant).expr_as(Expr::col(Asterisk).count(), Alias::Number).from(Table::Config);
        counts.and_where(Expr::col(Column::Deleted).eq(false)).group_by_col(Column::Tenant);
        let mut found = BTreeMap::new();
        found.insert(PUBLIC_NAMESPACE.to_owned(), NamespaceSummary::unnamed(PUBLIC_NAMESPACE, 0));
        for row in self.all::<NamespaceCountRow>(&counts).await? {
            let summary = NamespaceSummary::unnamed(&row.tenant, rows::count(row.number)?);
            found.insert(row.tenant, summary);
        }
        let mut named = Query::select();
        named.columns([Column::Id, Column::Name, Column::Description]).from(Table::Namespace);
        for NamespaceRow { id, name, description } in self.all(&named).await? {
            let summary = found.entry(id.clone()).or_insert_with(|| NamespaceSummary::unnamed(&id, 0));
            (summary.name, summary.description) = (name, description);
        }
        let first = found.remove(PUBLIC_NAMESPACE);
        Ok(first.into_iter().chain(found.into_values()).collect())
    }
}

/// A namespace in the list of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceSummary {
    /// Its id.
    pub id: String,
    /// Its name for people; the id when nobody gave it one.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// How many configurations are in it.
    pub configs: u64,
}

impl NamespaceSummary {
    fn unnamed(id: &str, configs: u64) -> Self {
        Self { id: id.to_owned(), name: id.to_owned(), description: None, configs }
    }
}

/// What a summary has besides its key and its length.
const SUMMARY: [Column; 9] = [
    Column::Version,
    Column::Md5,
    Column::Sealed,
    Column::Kind,
    Column::Description,
    Column::Tags,
    Column::Application,
    Column::CreatedAt,
    Column::ModifiedAt,
];

#[derive(Debug, FromQueryResult)]
struct SummaryRow {
    #[sea_orm(nested)]
    key: KeyRow,
    version: i64,
    md5: Option<String>,
    sealed: Option<String>,
    kind: String,
    description: Option<String>,
    tags: String,
    application: Option<String>,
    size: i64,
    created_at: i64,
    modified_at: i64,
}

impl SummaryRow {
    fn summary(self) -> Result<Summary, Fault> {
        Ok(Summary {
            key: self.key.key()?,
            version: rows::version(self.version)?,
            md5: rows::md5(self.md5.as_deref())?,
            is_secret: self.sealed.is_some(),
            kind: rows::kind(&self.kind)?,
            description: self.description,
            tags: rows::tags(&self.tags)?,
            application: self.application,
            size: rows::content_length(self.size, self.sealed.is_some())?,
            created_at: WallMillis(self.created_at),
            modified_at: WallMillis(self.modified_at),
        })
    }
}

#[derive(Debug, FromQueryResult)]
struct NamespaceCountRow {
    tenant: String,
    number: i64,
}

#[derive(Debug, FromQueryResult)]
struct NamespaceRow {
    id: String,
    name: String,
    description: Option<String>,
}
