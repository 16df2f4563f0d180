//! The names of configurations, and which of them a watch is for. Owns the client's own types for both; whether a name
//! is allowed is decided by the node, which answers [`Error::Invalid`](crate::Error::Invalid).

use std::fmt;
use std::sync::Arc;

use callboard_proto::session as wire;

/// The namespace that an empty one stands for, and others.
pub(crate) const PUBLIC: &str = "public";
/// Longest part of a name that is taken from a node, in bytes; far above what any node allows.
const MAX_PART: usize = 1_024;

/// The name of a configuration. Cheap to clone; ordered by namespace, then group, then data id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConfigKey {
    namespace: Arc<str>,
    group: Arc<str>,
    data_id: Arc<str>,
}

impl ConfigKey {
    /// Names a configuration; an empty namespace stands for `public`, and so does `null`, in any case.
    #[must_use]
    pub fn new(namespace: &str, group: &str, data_id: &str) -> Self {
        Self { namespace: or_public(namespace).into(), group: group.into(), data_id: data_id.into() }
    }

    /// Names a configuration of the namespace `public`.
    #[must_use]
    pub fn public(group: &str, data_id: &str) -> Self {
        Self::new(PUBLIC, group, data_id)
    }

    /// The namespace; never empty.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The group.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The data id.
    #[must_use]
    pub fn data_id(&self) -> &str {
        &self.data_id
    }

    pub(crate) fn to_wire(&self) -> wire::Key {
        wire::Key {
            namespace: self.namespace().to_owned(),
            group: self.group().to_owned(),
            data_id: self.data_id().to_owned(),
        }
    }

    /// `None` when there is no name, or one that no node would allow.
    pub(crate) fn from_wire(key: Option<&wire::Key>) -> Option<Self> {
        let key = key?;
        let fits = [&key.namespace, &key.group, &key.data_id].iter().all(|part| part.len() <= MAX_PART);
        (fits && !key.data_id.is_empty()).then(|| Self::new(&key.namespace, &key.group, &key.data_id))
    }
}

/// `namespace/group/dataId`.
impl fmt::Display for ConfigKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}/{}", self.namespace, self.group, self.data_id)
    }
}

/// All data ids of a namespace that begin with a text, in one group or in all.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    namespace: Arc<str>,
    /// Empty for all groups.
    group: Arc<str>,
    prefix: Arc<str>,
}

impl Prefix {
    /// Names them; an empty namespace stands for `public`, an empty group for all groups, an empty prefix for all
    /// data ids.
    #[must_use]
    pub fn new(namespace: &str, group: &str, prefix: &str) -> Self {
        Self { namespace: or_public(namespace).into(), group: group.into(), prefix: prefix.into() }
    }

    /// True when `key` is one of them.
    #[must_use]
    pub fn matches(&self, key: &ConfigKey) -> bool {
        self.namespace == key.namespace
            && (self.group.is_empty() || self.group == key.group)
            && key.data_id.starts_with(&*self.prefix)
    }

    pub(crate) fn to_wire(&self) -> wire::Prefix {
        wire::Prefix {
            namespace: self.namespace.as_ref().to_owned(),
            group: self.group.as_ref().to_owned(),
            prefix: self.prefix.as_ref().to_owned(),
        }
    }
}

/// One thing to be watched: a configuration, or all with a prefix.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// One configuration, whether it exists or not.
    Key(ConfigKey),
    /// All that begin so.
    Prefix(Prefix),
}

impl Target {
    /// True when `key` is what is watched, or among it.
    #[must_use]
    pub fn matches(&self, key: &ConfigKey) -> bool {
        match self {
            Self::Key(own) => own == key,
            Self::Prefix(prefix) => prefix.matches(key),
        }
    }
}

/// What a watch is for: any number of configurations and prefixes. Made from one of either, from a list, or step by
/// step.
///
/// ```
/// use callboard_client::{ConfigKey, Prefix, Selection};
/// let one: Selection = ConfigKey::public("shop", "prices.yaml").into();
/// let more = one.and(Prefix::new("public", "shop", "feature-"));
/// # assert_eq!(more.targets().len(), 2);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    targets: Vec<Target>,
}

impl Selection {
    /// Adds something to watch; what is there already counts once.
    #[must_use]
    pub fn and(mut self, target: impl Into<Target>) -> Self {
        let target = target.into();
        if !self.targets.contains(&target) {
            self.targets.push(target);
        }
        self
    }

    /// What is to be watched, each once.
    #[must_use]
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }
}

impl From<ConfigKey> for Target {
    fn from(key: ConfigKey) -> Self {
        Self::Key(key)
    }
}

impl From<&ConfigKey> for Target {
    fn from(key: &ConfigKey) -> Self {
        Self::Key(key.clone())
    }
}

impl From<Prefix> for Target {
    fn from(prefix: Prefix) -> Self {
        Self::Prefix(prefix)
    }
}

impl<T: Into<Target>> From<T> for Selection {
    fn from(target: T) -> Self {
        Self::default().and(target)
    }
}

impl<T: Into<Target>> FromIterator<T> for Selection {
    fn from_iter<I: IntoIterator<Item = T>>(targets: I) -> Self {
        targets.into_iter().fold(Self::default(), Self::and)
    }
}

/// The namespace that is meant, by the rule of the nodes: blank, `public` and `null`, in any case, are one.
pub(crate) fn or_public(namespace: &str) -> &str {
    let text = namespace.trim();
    let is = |name: &str| text.eq_ignore_ascii_case(name);
    if text.is_empty() || is(PUBLIC) || is("null") { PUBLIC } else { text }
}

#[cfg(test)]
mod tests;
