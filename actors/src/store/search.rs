//! Searching a namespace by patterns, page by numbered page, with the number of all that fit. Pages count rows: a
//! change between two of them may repeat or hide a key. Reads no content.

use callboard_protocol::config::ConfigType;
use callboard_protocol::key::ConfigKey;

use super::dialect::{Backend, Sql};
use super::error::{Fault, ReadError};
use super::reader::Reader;
use super::rows::Columns;

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

impl Reader {
    /// The keys that fit, in their order.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn search(&self, search: &Search) -> Result<Found, ReadError> {
        let mut count = self.sql("SELECT COUNT(*) FROM cc_config c WHERE ");
        condition(search, self.backend(), &mut count)?;
        let total = match self.ask(count).await?.first() {
            Some(row) => Columns::of(row).number()?,
            None => return Err(Fault::Broken("a count without a row".to_owned()).into()),
        };
        if search.skip >= total {
            return Ok(Found { total, page: Vec::new() });
        }
        let size = self.backend().byte_length("c.content");
        let mut sql = self.sql(&format!("SELECT c.tenant, c.grp, c.data_id, {size} FROM cc_config c WHERE "));
        condition(search, self.backend(), &mut sql)?;
        sql.push(" ORDER BY c.tenant, c.grp, c.data_id LIMIT ").bind(i64::from(search.limit));
        sql.push(" OFFSET ").bind(i64::try_from(search.skip).unwrap_or(i64::MAX));
        let mut page = Vec::new();
        for row in &self.ask(sql).await? {
            let mut columns = Columns::of(row);
            page.push((columns.key()?, columns.number()?));
        }
        Ok(Found { total, page })
    }
}

fn condition(search: &Search, backend: Backend, sql: &mut Sql) -> Result<(), Fault> {
    sql.push("c.tenant = ").bind(search.namespace.as_str()).push(" AND c.deleted = ").bind(false);
    for (column, wanted) in [("grp", &search.group), ("data_id", &search.data_id), ("application", &search.application)]
    {
        match wanted {
            Pattern::Any => {}
            Pattern::Exactly(text) => {
                sql.push(&format!(" AND c.{column} = ")).bind(text.as_str());
            }
            Pattern::Wildcard(text) => {
                let (operator, pattern, end) = wildcard(backend, text);
                sql.push(&format!(" AND c.{column} {operator} ")).bind(pattern).push(end);
            }
        }
    }
    if let Some((group, data_id)) = &search.after {
        sql.push(" AND c.grp >= ").bind(group.as_str()).push(" AND (c.grp > ").bind(group.as_str());
        sql.push(" OR c.data_id > ").bind(data_id.as_str()).push(")");
    }
    if !search.kinds.is_empty() {
        let kinds: Vec<&str> = search.kinds.iter().map(|kind| kind.as_str()).collect();
        sql.push(" AND c.kind IN ").list(&kinds);
    }
    for (index, tag) in search.tags.iter().enumerate() {
        // Tags are kept as a list of JSON texts.
        let tag = serde_json::to_string(tag).map_err(|_inner| Fault::Broken("a tag to search for".to_owned()))?;
        sql.push(if index == 0 { " AND (" } else { " OR " });
        sql.push(&format!("{}(c.tags, ", backend.position())).bind(tag).push(") > 0");
    }
    if !search.tags.is_empty() {
        sql.push(")");
    }
    Ok(())
}

/// The operator that respects case, `text` in its words, and what comes after. Nothing but `*` has a meaning.
fn wildcard(backend: Backend, text: &str) -> (&'static str, String, &'static str) {
    let mut pattern = String::with_capacity(text.len() + 8);
    let mut last = None;
    for sign in text.chars() {
        match (backend, sign) {
            // Two in a row say no more than one, and cost more.
            (_, '*') if last == Some('*') => {}
            (Backend::Sqlite, '*') => pattern.push('*'),
            (Backend::Sqlite, '?' | '[') => pattern.extend(['[', sign, ']']),
            (Backend::Postgres | Backend::MySql, '*') => pattern.push('%'),
            (Backend::Postgres | Backend::MySql, '%' | '_' | '!') => pattern.extend(['!', sign]),
            _ => pattern.push(sign),
        }
        last = Some(sign);
    }
    match backend {
        Backend::Sqlite => ("GLOB", pattern, ""),
        Backend::Postgres | Backend::MySql => ("LIKE", pattern, " ESCAPE '!'"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Backend, wildcard};

    #[test]
    fn nothing_but_the_star_has_a_meaning() {
        assert_eq!(wildcard(Backend::Sqlite, "a**b?[c]_%!"), ("GLOB", "a*b[?][[]c]_%!".to_owned(), ""));
        assert_eq!(wildcard(Backend::MySql, "a*b?[c]_%!"), ("LIKE", "a%b?[c]!_!%!!".to_owned(), " ESCAPE '!'"));
    }
}
