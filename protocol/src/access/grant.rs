//! What is allowed where, and the one decision whether a demand is covered. Deny is the default: what no grant covers
//! is refused. Owns the form of patterns; knows no users.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::key::ConfigKey;

/// Longest pattern, in bytes: the longest data id.
pub const MAX_PATTERN: usize = 256;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Read, list, search, watch; history.
    Read,
    /// Publish and remove.
    Write,
    /// Publish for some clients only.
    Gray,
    /// See the contents that are secrets, where reading is allowed, too.
    Secret,
    /// Look at clients and pushes, change namespaces.
    Manage,
    /// Everything, and where the grant is for everything: users, roles, the cluster.
    Admin,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Read, Self::Write, Self::Gray, Self::Secret, Self::Manage, Self::Admin];

    /// Its name in every interface.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Gray => "gray",
            Self::Secret => "secret",
            Self::Manage => "manage",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// The text names no action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an action is read, write, gray, secret, manage or admin")]
pub struct UnknownAction;

impl FromStr for Action {
    type Err = UnknownAction;

    fn from_str(text: &str) -> Result<Self, UnknownAction> {
        Self::ALL.into_iter().find(|action| action.as_str() == text).ok_or(UnknownAction)
    }
}

/// A name, or what names are like: `*` stands for any text, also for none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pattern(String);

/// The text is no pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a pattern is 1 to {MAX_PATTERN} of letters, digits, '_', '-', '.', ':' and '*'")]
pub struct InvalidPattern;

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`InvalidPattern`] when it is empty, too long, or holds what no name can.
    pub fn new(text: &str) -> Result<Self, InvalidPattern> {
        let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:*".contains(&byte);
        let is_fit = (1..=MAX_PATTERN).contains(&text.len()) && text.bytes().all(is_legal);
        if is_fit { Ok(Self(text.to_owned())) } else { Err(InvalidPattern) }
    }

    /// What every name is like.
    #[must_use]
    pub fn any() -> Self {
        Self("*".to_owned())
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True when every name fits.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.0.bytes().all(|byte| byte == b'*')
    }

    /// True when `name` fits. Takes time proportional to the product of both lengths at the most.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        is_like(self.0.as_bytes(), name.as_bytes())
    }

    /// True when every name that begins with `prefix` fits.
    #[must_use]
    pub fn covers_prefix(&self, prefix: &str) -> bool {
        // What ends in a star and fits the beginning fits whatever follows.
        self.0.ends_with('*') && self.matches(prefix)
    }
}

/// True when `text` is as `pattern` says, whose `*` stand for anything. Compares with one step back to the last star: a
/// text that fits is found by the shortest stretch for each.
#[must_use]
pub fn is_like(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut place, mut last) = (0, 0, None);
    while let Some(byte) = text.get(place) {
        match pattern.get(at) {
            Some(b'*') => {
                last = Some((at, place));
                at += 1;
            }
            Some(wanted) if wanted == byte => {
                at += 1;
                place += 1;
            }
            _ => {
                let Some((star, from)) = last else { return false };
                last = Some((star, from + 1));
                at = star + 1;
                place = from + 1;
            }
        }
    }
    pattern.get(at..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

/// Which configurations a grant is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scope {
    /// The namespaces.
    pub namespace: Pattern,
    /// The groups.
    pub group: Pattern,
    /// The data ids.
    pub data_id: Pattern,
}

impl Scope {
    /// Everything.
    #[must_use]
    pub fn everything() -> Self {
        Self { namespace: Pattern::any(), group: Pattern::any(), data_id: Pattern::any() }
    }

    fn is_everything(&self) -> bool {
        self.namespace.is_any() && self.group.is_any() && self.data_id.is_any()
    }

    fn holds(&self, key: &ConfigKey) -> bool {
        self.namespace.matches(key.namespace())
            && self.group.matches(key.group())
            && self.data_id.matches(key.data_id())
    }

    fn covers(&self, area: &Area<'_>) -> bool {
        let group = match area.group {
            Some(Names::One(group)) => self.group.matches(group),
            Some(Names::Beginning(prefix)) => self.group.covers_prefix(prefix),
            None => self.group.is_any(),
        };
        let data_id = match area.data_id {
            Some(Names::One(data_id)) => self.data_id.matches(data_id),
            Some(Names::Beginning(prefix)) => self.data_id.covers_prefix(prefix),
            None => self.data_id.is_any(),
        };
        self.namespace.matches(area.namespace) && group && data_id
    }
}

/// Some actions, some place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// Where.
    #[serde(flatten)]
    pub scope: Scope,
    /// What.
    pub actions: BTreeSet<Action>,
}

impl Grant {
    /// Everything, everywhere.
    #[must_use]
    pub fn of_everything() -> Self {
        Self { scope: Scope::everything(), actions: BTreeSet::from([Action::Admin]) }
    }

    fn is_for(&self, action: Action) -> bool {
        self.actions.contains(&action) || self.actions.contains(&Action::Admin)
    }
}

/// Which names are meant, of groups or of data ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names<'a> {
    /// Just this one.
    One(&'a str),
    /// All that begin so.
    Beginning(&'a str),
}

impl<'a> Names<'a> {
    /// What a pattern with stars asks for at the most: all that begins as it does before its first star. `None`: any.
    #[must_use]
    pub fn of_pattern(text: &'a str) -> Option<Self> {
        match text.split_once('*') {
            None => Some(Self::One(text)),
            Some(("", _)) => None,
            Some((prefix, _)) => Some(Self::Beginning(prefix)),
        }
    }
}

/// Configurations that are asked for together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Area<'a> {
    /// Of this namespace.
    pub namespace: &'a str,
    /// Of these groups; `None` for all.
    pub group: Option<Names<'a>>,
    /// With these data ids; `None` for all.
    pub data_id: Option<Names<'a>>,
}

impl<'a> Area<'a> {
    /// All of a namespace.
    #[must_use]
    pub fn of_namespace(namespace: &'a str) -> Self {
        Self { namespace, group: None, data_id: None }
    }
}

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand<'a> {
    /// Something with one configuration.
    Key(Action, &'a ConfigKey),
    /// Something with all of an area.
    Area(Action, Area<'a>),
    /// To know that a namespace is there: whoever may do something in it may know.
    Namespace(&'a str),
    /// Something with the whole cluster.
    Cluster(Action),
}

/// What a caller is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// By his roles.
    pub granted: Arc<[Grant]>,
    /// What the token that he comes with is limited to; `None` for no limit.
    pub limit: Option<Arc<[Grant]>>,
}

impl Rights {
    /// True when `demand` is covered, by one grant of the caller and by one of his token.
    #[must_use]
    pub fn allow(&self, demand: &Demand<'_>) -> bool {
        covers(&self.granted, demand) && self.limit.as_deref().is_none_or(|limit| covers(limit, demand))
    }

    /// True for who may do everything.
    #[must_use]
    pub fn are_all(&self) -> bool {
        self.allow(&Demand::Cluster(Action::Admin))
    }
}

/// The one decision.
#[must_use]
pub fn covers(grants: &[Grant], demand: &Demand<'_>) -> bool {
    grants.iter().any(|grant| match demand {
        Demand::Key(action, key) => grant.is_for(*action) && grant.scope.holds(key),
        Demand::Area(action, area) => grant.is_for(*action) && grant.scope.covers(area),
        Demand::Namespace(namespace) => !grant.actions.is_empty() && grant.scope.namespace.matches(namespace),
        Demand::Cluster(action) => grant.is_for(*action) && grant.scope.is_everything(),
    })
}

#[cfg(test)]
mod tests;
