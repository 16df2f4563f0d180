//! The name of a configuration: namespace, group and data id, checked once at the edge and trusted afterwards.
//! Owns the naming rules of the Nacos parameter checker, and the names of the one namespace that has several; never
//! lets an unchecked name through.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The id of the namespace everybody has.
pub const PUBLIC_NAMESPACE: &str = "public";

/// Longest namespace id, in bytes.
pub const MAX_NAMESPACE: usize = 64;
/// Longest group, in bytes.
pub const MAX_GROUP: usize = 128;
/// Longest data id, in bytes.
pub const MAX_DATA_ID: usize = 256;

/// Which part of a name was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The namespace id (Nacos: tenant).
    Namespace,
    /// The group.
    Group,
    /// The data id.
    DataId,
}

impl fmt::Display for Part {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Namespace => "namespace",
            Self::Group => "group",
            Self::DataId => "dataId",
        })
    }
}

/// Why a name was refused. Nothing was looked up or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The part is absent, empty or blank.
    #[error("{0} is missing or blank")]
    Blank(Part),
    /// The part is longer than `max` bytes.
    #[error("{part} is {length} bytes long; at most {max} are allowed")]
    TooLong {
        /// Which part.
        part: Part,
        /// Its length in bytes.
        length: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// The part holds a character outside its alphabet.
    #[error("{part} holds an illegal character; allowed are {allowed}")]
    Illegal {
        /// Which part.
        part: Part,
        /// The alphabet, in words.
        allowed: &'static str,
    },
    /// The part is one that a path leaves out (RFC 3986, 5.2.4): no client could ask for it.
    #[error("{0} is . or .., which no path can name")]
    Dots(Part),
}

impl KeyError {
    /// The part of the name that was refused.
    #[must_use]
    pub fn part(&self) -> Part {
        match self {
            Self::Blank(part) | Self::Dots(part) | Self::TooLong { part, .. } | Self::Illegal { part, .. } => *part,
        }
    }
}

const NAMESPACE_ALPHABET: &str = "ASCII letters, digits, '_' and '-'";
const NAME_ALPHABET: &str = "ASCII letters, digits, '_', '-', '.' and ':'";

fn check(part: Part, text: &str, max: usize, allowed: &'static str, legal: fn(u8) -> bool) -> Result<(), KeyError> {
    if text.trim().is_empty() {
        return Err(KeyError::Blank(part));
    }
    if text.len() > max {
        return Err(KeyError::TooLong { part, length: text.len(), max });
    }
    if !text.bytes().all(legal) {
        return Err(KeyError::Illegal { part, allowed });
    }
    Ok(())
}

fn namespace_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

fn name_byte(byte: u8) -> bool {
    namespace_byte(byte) || byte == b'.' || byte == b':'
}

/// The namespace that is meant by `text`, on every door: none, blank, `public` and `null` (in any case) are the one
/// that everybody has, as they are for clients of Nacos.
#[must_use]
pub fn namespace_of(text: Option<&str>) -> &str {
    match text.map(str::trim) {
        None | Some("") => PUBLIC_NAMESPACE,
        Some(text) if text.eq_ignore_ascii_case("public") || text.eq_ignore_ascii_case("null") => PUBLIC_NAMESPACE,
        Some(text) => text,
    }
}

/// The namespace that is [meant](namespace_of) by `text`, checked.
///
/// # Errors
/// [`KeyError`] names the rule that is broken.
pub fn namespace(text: &str) -> Result<&str, KeyError> {
    let meant = namespace_of(Some(text));
    check_stored_namespace(meant)?;
    Ok(meant)
}

/// Checks a group.
///
/// # Errors
/// [`KeyError`] names the rule that is broken.
pub fn check_group(text: &str) -> Result<(), KeyError> {
    check_stored_group(text)?;
    check_dots(Part::Group, text)
}

/// Checks a data id.
///
/// # Errors
/// [`KeyError`] names the rule that is broken.
pub fn check_data_id(text: &str) -> Result<(), KeyError> {
    check_prefix(text)?;
    check_dots(Part::DataId, text)
}

/// Checks a non-empty prefix of data ids.
///
/// # Errors
/// [`KeyError`] names the rule that is broken.
pub fn check_prefix(text: &str) -> Result<(), KeyError> {
    check(Part::DataId, text, MAX_DATA_ID, NAME_ALPHABET, name_byte)
}

fn check_dots(part: Part, text: &str) -> Result<(), KeyError> {
    if matches!(text, "." | "..") { Err(KeyError::Dots(part)) } else { Ok(()) }
}

fn check_stored_namespace(text: &str) -> Result<(), KeyError> {
    check(Part::Namespace, text, MAX_NAMESPACE, NAMESPACE_ALPHABET, namespace_byte)
}

fn check_stored_group(text: &str) -> Result<(), KeyError> {
    check(Part::Group, text, MAX_GROUP, NAME_ALPHABET, name_byte)
}

/// The identity of one configuration. Cheap to clone; ordered by namespace, then group, then data id.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "(String, String, String)", into = "(String, String, String)")]
pub struct ConfigKey {
    /// The three parts joined by a byte that no part can hold.
    joined: Arc<str>,
    group_at: u16,
    data_id_at: u16,
}

const SEPARATOR: char = '\u{1}';

impl ConfigKey {
    /// Checks the three parts and makes a key of them; the namespace is the one that is [meant](namespace_of).
    ///
    /// # Errors
    /// [`KeyError`] names the first part that breaks its rule.
    pub fn new(namespace: &str, group: &str, data_id: &str) -> Result<Self, KeyError> {
        let namespace = self::namespace(namespace)?;
        check_group(group)?;
        check_data_id(data_id)?;
        Self::stored(namespace, group, data_id)
    }

    /// Makes a key of three parts that a database or another node holds, as they are: what was let in by the rules of
    /// an earlier version can still be read.
    ///
    /// # Errors
    /// [`KeyError`] names the first part that no version ever let in.
    pub fn stored(namespace: &str, group: &str, data_id: &str) -> Result<Self, KeyError> {
        check_stored_namespace(namespace)?;
        check_stored_group(group)?;
        check_prefix(data_id)?;
        let mut joined = String::with_capacity(namespace.len() + group.len() + data_id.len() + 2);
        joined.push_str(namespace);
        joined.push(SEPARATOR);
        joined.push_str(group);
        joined.push(SEPARATOR);
        joined.push_str(data_id);
        // The checks above bound the three lengths far below u16::MAX.
        let group_at = (namespace.len() + 1) as u16;
        let data_id_at = group_at + (group.len() + 1) as u16;
        Ok(Self { joined: joined.into(), group_at, data_id_at })
    }

    /// The namespace id.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.joined.get(..usize::from(self.group_at) - 1).unwrap_or_default()
    }

    /// The group.
    #[must_use]
    pub fn group(&self) -> &str {
        self.joined.get(usize::from(self.group_at)..usize::from(self.data_id_at) - 1).unwrap_or_default()
    }

    /// The data id.
    #[must_use]
    pub fn data_id(&self) -> &str {
        self.joined.get(usize::from(self.data_id_at)..).unwrap_or_default()
    }

    /// The bytes the key holds on the heap.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.joined.len()
    }
}

impl PartialOrd for ConfigKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ConfigKey {
    /// The separator sorts below every legal byte, so the joined text sorts as the three parts do.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.joined.cmp(&other.joined)
    }
}

impl fmt::Debug for ConfigKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "ConfigKey({self})")
    }
}

/// `namespace/group/dataId`, for logs and messages.
impl fmt::Display for ConfigKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}/{}", self.namespace(), self.group(), self.data_id())
    }
}

impl TryFrom<(String, String, String)> for ConfigKey {
    type Error = KeyError;

    fn try_from((namespace, group, data_id): (String, String, String)) -> Result<Self, KeyError> {
        Self::stored(&namespace, &group, &data_id)
    }
}

impl From<ConfigKey> for (String, String, String) {
    fn from(key: ConfigKey) -> Self {
        (key.namespace().to_owned(), key.group().to_owned(), key.data_id().to_owned())
    }
}

#[cfg(test)]
mod tests;
