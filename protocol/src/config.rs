//! A configuration as a whole: what is stored under one key and one version. Owns the metadata rules and how an edit
//! changes them; knows nothing of databases or formats.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::content::Content;
use crate::gray::GrayRules;
use crate::key::ConfigKey;
use crate::time::WallMillis;

/// A point in the one order of all changes: the revision of the transaction that made the change.
///
/// Zero stands for "before the first change". Revisions rise strictly in commit order; a key's version is the
/// revision of its last change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub u64);

impl Version {
    /// The version of a key that has never existed.
    pub const ZERO: Self = Self(0);

    /// The next version.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The version before; zero has none and stays.
    #[must_use]
    pub fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, out)
    }
}

named! {
    /// What kind of text a content is. Contents are not validated against it.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    pub enum ConfigType {
        /// Plain text; what a configuration is when nobody said.
        #[default]
        Text = "text",
        /// Java properties.
        Properties = "properties",
        /// XML.
        Xml = "xml",
        /// JSON.
        Json = "json",
        /// HTML.
        Html = "html",
        /// YAML.
        Yaml = "yaml",
        /// TOML.
        Toml = "toml",
        /// Deliberately without a type.
        Unset = "unset",
    }
}

impl fmt::Display for ConfigType {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// The text names no [`ConfigType`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown type; known are text, properties, xml, json, html, yaml, toml and unset")]
pub struct UnknownType;

impl FromStr for ConfigType {
    type Err = UnknownType;

    fn from_str(text: &str) -> Result<Self, UnknownType> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(UnknownType)
    }
}

/// What is known of a configuration besides its content.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Metadata {
    /// The kind of text.
    pub kind: ConfigType,
    /// For people.
    pub description: Option<String>,
    /// Labels, sorted, without repetition.
    pub tags: Vec<String>,
    /// The application it belongs to.
    pub application: Option<String>,
    /// Nacos's `use`.
    pub usage: Option<String>,
    /// Nacos's `effect`.
    pub effect: Option<String>,
    /// Nacos's `schema`.
    pub schema: Option<String>,
    /// The data key of a content that its client encrypted.
    pub encrypted_data_key: Option<String>,
    /// The content is a secret: it is sealed in the database, and shown to whom a grant for secrets allows it. Nodes do
    /// not send each other what is one.
    #[serde(skip)]
    pub is_secret: bool,
}

/// What a publish says of the metadata. `None` keeps what is stored (of the data key, that of the same content alone);
/// an empty text clears it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MetadataEdit {
    /// See [`Metadata::kind`].
    pub kind: Option<ConfigType>,
    /// See [`Metadata::description`].
    pub description: Option<String>,
    /// See [`Metadata::tags`].
    pub tags: Option<Vec<String>>,
    /// See [`Metadata::application`].
    pub application: Option<String>,
    /// See [`Metadata::usage`].
    pub usage: Option<String>,
    /// See [`Metadata::effect`].
    pub effect: Option<String>,
    /// See [`Metadata::schema`].
    pub schema: Option<String>,
    /// See [`Metadata::encrypted_data_key`].
    pub encrypted_data_key: Option<String>,
    /// See [`Metadata::is_secret`].
    #[serde(skip)]
    pub is_secret: Option<bool>,
}

/// Most tags of one configuration.
pub const MAX_TAGS: usize = 5;
/// Longest tag, in characters.
pub const MAX_TAG: usize = 64;
/// Longest description, in characters.
pub const MAX_DESCRIPTION: usize = 128;
/// Longest application name, in characters.
pub const MAX_APPLICATION: usize = 128;
/// Longest `use` and `effect`, in characters.
pub const MAX_SHORT_TEXT: usize = 32;
/// Longest schema, in characters.
pub const MAX_SCHEMA: usize = 32_768;
/// Longest data key of an encrypted content, in characters.
pub const MAX_DATA_KEY: usize = 1_024;

/// Why metadata was refused. Nothing was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// A text is longer than its limit.
    #[error("{field} is {length} characters long; at most {max} are allowed")]
    TooLong {
        /// Which text.
        field: &'static str,
        /// Its length in characters.
        length: usize,
        /// The limit in characters.
        max: usize,
    },
    /// A text holds a NUL.
    #[error("{field} holds a NUL character")]
    Nul {
        /// Which text.
        field: &'static str,
    },
    /// More tags than [`MAX_TAGS`].
    #[error("{count} tags given; at most {MAX_TAGS} are allowed")]
    TooManyTags {
        /// How many.
        count: usize,
    },
}

/// Checks a text that a client may set: its length in characters, and that no NUL hides in it.
///
/// # Errors
/// [`MetadataError`] names the field and the rule.
pub fn check_text(field: &'static str, text: &str, max: usize) -> Result<(), MetadataError> {
    let length = text.chars().count();
    if length > max {
        return Err(MetadataError::TooLong { field, length, max });
    }
    if text.contains('\0') {
        return Err(MetadataError::Nul { field });
    }
    Ok(())
}

impl MetadataEdit {
    /// Checks every text and brings tags into their stored form (trimmed, sorted, each once, blanks dropped).
    ///
    /// # Errors
    /// [`MetadataError`] names the first field that breaks its rule.
    pub fn checked(mut self) -> Result<Self, MetadataError> {
        let texts = [
            ("description", &self.description, MAX_DESCRIPTION),
            ("application", &self.application, MAX_APPLICATION),
            ("use", &self.usage, MAX_SHORT_TEXT),
            ("effect", &self.effect, MAX_SHORT_TEXT),
            ("schema", &self.schema, MAX_SCHEMA),
            ("encryptedDataKey", &self.encrypted_data_key, MAX_DATA_KEY),
        ];
        for (field, text, max) in texts {
            if let Some(text) = text {
                check_text(field, text, max)?;
            }
        }
        if let Some(tags) = &mut self.tags {
            for tag in tags.iter_mut() {
                *tag = tag.trim().to_owned();
                check_text("tag", tag, MAX_TAG)?;
            }
            tags.retain(|tag| !tag.is_empty());
            tags.sort_unstable();
            tags.dedup();
            if tags.len() > MAX_TAGS {
                return Err(MetadataError::TooManyTags { count: tags.len() });
            }
        }
        Ok(self)
    }

    /// The metadata that this edit makes of `stored`, with a content that is the stored one or another. A data key
    /// belongs to the content that came with it: another content without one has none.
    #[must_use]
    pub fn applied_to(&self, stored: &Metadata, is_same_content: bool) -> Metadata {
        let text = |edit: &Option<String>, kept: &Option<String>| match edit {
            None => kept.clone(),
            Some(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        };
        let kept_key = if is_same_content { &stored.encrypted_data_key } else { &None };
        Metadata {
            kind: self.kind.unwrap_or(stored.kind),
            description: text(&self.description, &stored.description),
            tags: self.tags.clone().unwrap_or_else(|| stored.tags.clone()),
            application: text(&self.application, &stored.application),
            usage: text(&self.usage, &stored.usage),
            effect: text(&self.effect, &stored.effect),
            schema: text(&self.schema, &stored.schema),
            encrypted_data_key: text(&self.encrypted_data_key, kept_key),
            is_secret: self.is_secret.unwrap_or(stored.is_secret),
        }
    }
}

/// The whole state of a key under one version: what a cache entry holds and what a commit makes known.
///
/// `formal` and `gray` both empty means that the key does not exist; the version is then that of its removal, or
/// [`Version::ZERO`] when it never existed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigState {
    /// The key.
    pub key: ConfigKey,
    /// The revision of the last change.
    pub version: Version,
    /// The content that everybody gets who is not selected by a gray rule.
    pub formal: Option<Content>,
    /// Contents for some clients.
    pub gray: GrayRules,
    /// What is known besides.
    pub metadata: Metadata,
    /// When it came into being, by the publisher's wall clock.
    pub created_at: WallMillis,
    /// When it was last changed, by the publisher's wall clock.
    pub modified_at: WallMillis,
}

impl ConfigState {
    /// The state of a key that does not exist as of `version`.
    #[must_use]
    pub fn absent(key: ConfigKey, version: Version) -> Self {
        Self {
            key,
            version,
            formal: None,
            gray: GrayRules::default(),
            metadata: Metadata::default(),
            created_at: WallMillis::default(),
            modified_at: WallMillis::default(),
        }
    }

    /// True when there is neither formal nor gray content.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.formal.is_none() && self.gray.is_empty()
    }

    /// About how many bytes the state takes in memory.
    #[must_use]
    pub fn weight(&self) -> usize {
        // Measured: the tables, the allocations of the parts and their rounding.
        const FIXED: usize = 768;
        let texts = [
            &self.metadata.description,
            &self.metadata.application,
            &self.metadata.usage,
            &self.metadata.effect,
            &self.metadata.schema,
            &self.metadata.encrypted_data_key,
        ];
        FIXED
            + self.key.weight()
            + self.formal.as_ref().map_or(0, |content| content.bytes().len())
            + texts.into_iter().flatten().map(String::len).sum::<usize>()
            + self.metadata.tags.iter().map(|tag| tag.len() + 24).sum::<usize>()
    }
}

/// A state that caches, coordinators and sessions share.
pub type SharedState = Arc<ConfigState>;

#[cfg(test)]
mod tests;
