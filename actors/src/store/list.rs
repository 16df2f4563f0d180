//! Listing the configurations of a namespace, page by page, and the namespaces. A page begins after a key, not after a number of rows:
//! changes between two pages neither repeat nor hide a key that stays. Reads no content.

use std::collections::BTreeMap;

use callboard_protocol::config::{ConfigType, Version};
use callboard_protocol::content::Md5;
use callboard_protocol::key::{ConfigKey, PUBLIC_NAMESPACE};
use callboard_protocol::time::WallMillis;

use super::error::{Fault, ReadError};
use super::reader::Reader;
use super::rows::Columns;
use super::selector;

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
    /// The digest of its formal content.
    pub md5: Option<Md5>,
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

impl Reader {
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
        let size = self.backend().byte_length("c.content");
        let mut sql = self.sql(&format!(
            "SELECT c.tenant, c.grp, c.data_id, c.version, c.md5, c.kind, c.description, c.tags, c.application, \
             {size}, c.created_at, c.modified_at FROM cc_config c WHERE c.tenant = "
        ));
        sql.bind(filter.namespace.as_str()).push(" AND c.deleted = ").bind(false);
        if let Some(group) = &filter.group {
            sql.push(" AND c.grp = ").bind(group.as_str());
        }
        selector::with_prefix(&mut sql, "c", filter.data_id_prefix.as_deref().unwrap_or_default());
        if let Some(text) = filter.text.as_deref().filter(|text| !text.is_empty()) {
            let position = self.backend().position();
            sql.push(&format!(" AND ({position}(c.data_id, ")).bind(text);
            sql.push(&format!(") > 0 OR {position}(COALESCE(c.description, ''), ")).bind(text).push(") > 0)");
        }
        if let Some((group, data_id)) = after {
            sql.push(" AND c.grp >= ").bind(group.as_str()).push(" AND (c.grp > ").bind(group.as_str());
            sql.push(" OR c.data_id > ").bind(data_id.as_str()).push(")");
        }
        sql.push(" ORDER BY c.tenant, c.grp, c.data_id LIMIT ").bind(i64::from(limit));
        let mut summaries = Vec::new();
        for row in &self.ask(sql).await? {
            match summary(&mut Columns::of(row)) {
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
        let mut counts = self.sql("SELECT c.tenant, COUNT(*) FROM cc_config c WHERE c.deleted = ");
        counts.bind(false).push(" GROUP BY c.tenant");
        let mut found = BTreeMap::new();
        found.insert(PUBLIC_NAMESPACE.to_owned(), NamespaceSummary::unnamed(PUBLIC_NAMESPACE, 0));
        for row in &self.ask(counts).await? {
            let mut columns = Columns::of(row);
            let (id, configs) = (columns.take::<String>()?, columns.number()?);
            found.insert(id.clone(), NamespaceSummary::unnamed(&id, configs));
        }
        for row in &self.ask(self.sql("SELECT id, name, description FROM cc_namespace")).await? {
            let mut columns = Columns::of(row);
            let id = columns.take::<String>()?;
            let summary = found.entry(id.clone()).or_insert_with(|| NamespaceSummary::unnamed(&id, 0));
            summary.name = columns.take()?;
            summary.description = columns.take()?;
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

fn summary(columns: &mut Columns<'_>) -> Result<Summary, Fault> {
    Ok(Summary {
        key: columns.key()?,
        version: columns.version()?,
        md5: columns.md5()?,
        kind: columns.kind()?,
        description: columns.take()?,
        tags: columns.tags()?,
        application: columns.take()?,
        size: columns.number()?,
        created_at: columns.time()?,
        modified_at: columns.time()?,
    })
}
