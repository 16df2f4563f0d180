//! Permissions as Nacos writes them, a resource `namespace:group:config/dataId` with `*` and the letters `r` and `w`,
//! as grants and back. Owns the form, and that what can't be told in it is refused or left out; decides nothing about
//! access.

use std::collections::BTreeSet;

use crate::access::grant::{Action, Grant, Pattern, Scope};
use crate::key::{PUBLIC_NAMESPACE, namespace_of};

/// What stands before the data id.
const CONFIG: &str = ":config/";
/// Ends a resource that is about all data ids.
const ANY: &str = ":*";

/// The text is no permission that could be granted here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPermission {
    /// The resource is about something else than configurations, or is written otherwise.
    #[error("the resource must be namespace:group:config/dataId or namespace:group:*, each part a name or a pattern")]
    Resource,
    /// The action is another one.
    #[error("the action must be r, w or rw")]
    Action,
}

/// A grant in the words of Nacos.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// Where.
    pub resource: String,
    /// `r`, `w` or `rw`.
    pub action: &'static str,
}

/// The grant that Nacos writes so. An empty namespace, `public` and `null` are the one that everybody has.
///
/// # Errors
/// [`InvalidPermission`].
pub fn grant_of(resource: &str, action: &str) -> Result<Grant, InvalidPermission> {
    let (namespace, rest) = resource.split_once(':').ok_or(InvalidPermission::Resource)?;
    // Groups and data ids may hold colons, but no slash.
    let (group, data_id) = match rest.split_once(CONFIG) {
        Some(parts) => parts,
        None => (rest.strip_suffix(ANY).ok_or(InvalidPermission::Resource)?, "*"),
    };
    let pattern = |text| Pattern::new(text).map_err(|_invalid| InvalidPermission::Resource);
    let scope = Scope {
        namespace: pattern(namespace_of(Some(namespace)))?,
        group: pattern(group)?,
        data_id: pattern(data_id)?,
    };
    let actions = match action {
        "r" => BTreeSet::from([Action::Read]),
        "w" => BTreeSet::from([Action::Write]),
        "rw" => BTreeSet::from([Action::Read, Action::Write]),
        _ => return Err(InvalidPermission::Action),
    };
    Ok(Grant { scope, actions })
}

/// How Nacos writes a grant, with `default` for the namespace that everybody has. `None` for one that it has no words
/// for; actions without a letter are left out.
#[must_use]
pub fn permission_of(grant: &Grant, default: &str) -> Option<Permission> {
    let Grant { scope: Scope { namespace, group, data_id }, actions } = grant;
    let action = match (actions.contains(&Action::Read), actions.contains(&Action::Write)) {
        (true, true) => "rw",
        (true, false) => "r",
        (false, true) => "w",
        (false, false) => return None,
    };
    let namespace = if namespace.as_str() == PUBLIC_NAMESPACE { default } else { namespace.as_str() };
    let data_id = if data_id.as_str() == "*" { "*".to_owned() } else { format!("config/{}", data_id.as_str()) };
    let resource = format!("{namespace}:{}:{data_id}", group.as_str());
    // A pattern of ours can look like another resource.
    let is_same = grant_of(&resource, action).is_ok_and(|read| read.scope == grant.scope);
    is_same.then_some(Permission { resource, action })
}

#[cfg(test)]
mod tests;
