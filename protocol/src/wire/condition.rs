//! `If-Match` and `If-None-Match`: what must hold for a write, and what a reader has already. Owns the forms of
//! entity tags; compares with what it is given and looks nothing up.
//!
//! A tag is `"<md5>"` or `"v<version>"`. Source: RFC 9110, sections 8.8.3 and 13.1.

use crate::config::Version;
use crate::content::Md5;
use crate::write_request::{Condition, Expected};

use super::parse_version;

/// Why a condition was refused. Nothing was read or changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// The value has another form.
    #[error("{header} must be * or a comma-separated list of tags, each \"<md5>\" or \"v<version>\" with its quotes")]
    Malformed {
        /// Which header.
        header: &'static str,
    },
    /// A weak tag, which `If-Match` never matches.
    #[error("If-Match compares strongly, so a weak tag W/\"…\" never matches; send the tag without W/")]
    WeakTag,
    /// Both headers at once.
    #[error("send If-Match or If-None-Match, not both")]
    Both,
    /// A write with tags in `If-None-Match`.
    #[error("If-None-Match on PUT can only be * (create only)")]
    TagsOnPut,
    /// A delete with `If-None-Match`.
    #[error("If-None-Match has no meaning on DELETE; use If-Match")]
    NoneMatchOnDelete,
    /// A read with `If-Match`.
    #[error("If-Match has no meaning on a read; use If-None-Match")]
    MatchOnRead,
}

/// What a reader holds already.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ReadCondition {
    /// Nothing was said: always answer in full.
    #[default]
    Nothing,
    /// `*`: whatever exists.
    Anything,
    /// One of these.
    OneOf(Vec<Expected>),
}

impl ReadCondition {
    /// Reads the headers of a GET or HEAD. Tags compare weakly: `W/` makes no difference.
    ///
    /// # Errors
    /// [`ConditionError`] says what is allowed.
    pub fn of_read(if_match: Option<&[u8]>, if_none_match: Option<&[u8]>) -> Result<Self, ConditionError> {
        if if_match.is_some() {
            return Err(ConditionError::MatchOnRead);
        }
        let Some(value) = if_none_match else { return Ok(Self::Nothing) };
        Ok(match parse(IF_NONE_MATCH, value)? {
            Tags::Any => Self::Anything,
            Tags::List(tags) => Self::OneOf(tags.into_iter().map(|tag| tag.expected).collect()),
        })
    }

    /// True when the reader holds the state with this version and formal digest (`None`: absent), so that a reader
    /// who waits goes on waiting. An absent key has a version too, that of its removal, or zero.
    #[must_use]
    pub fn is_held(&self, version: Version, md5: Option<Md5>) -> bool {
        match self {
            Self::Nothing => false,
            Self::Anything => md5.is_some(),
            Self::OneOf(tags) => tags.iter().any(|tag| match tag {
                Expected::Version(held) => *held == version,
                Expected::Md5(held) => Some(*held) == md5,
            }),
        }
    }

    /// True when a read is to be answered 304. An absent key never is: it is answered 404 whatever the reader holds.
    #[must_use]
    pub fn not_modified(&self, version: Version, md5: Option<Md5>) -> bool {
        md5.is_some() && self.is_held(version, md5)
    }
}

/// Reads the headers of a PUT.
///
/// # Errors
/// [`ConditionError`] says what is allowed.
pub fn of_put(if_match: Option<&[u8]>, if_none_match: Option<&[u8]>) -> Result<Condition, ConditionError> {
    match (if_match, if_none_match) {
        (Some(_), Some(_)) => Err(ConditionError::Both),
        (if_match, None) => of_match(if_match),
        (None, Some(value)) => match parse(IF_NONE_MATCH, value)? {
            Tags::Any => Ok(Condition::Absent),
            Tags::List(_) => Err(ConditionError::TagsOnPut),
        },
    }
}

/// Reads the headers of a DELETE.
///
/// # Errors
/// [`ConditionError`] says what is allowed.
pub fn of_delete(if_match: Option<&[u8]>, if_none_match: Option<&[u8]>) -> Result<Condition, ConditionError> {
    match (if_match, if_none_match) {
        (Some(_), Some(_)) => Err(ConditionError::Both),
        (None, Some(_)) => Err(ConditionError::NoneMatchOnDelete),
        (if_match, None) => of_match(if_match),
    }
}

const IF_MATCH: &str = "If-Match";
const IF_NONE_MATCH: &str = "If-None-Match";

fn of_match(value: Option<&[u8]>) -> Result<Condition, ConditionError> {
    let Some(value) = value else { return Ok(Condition::None) };
    match parse(IF_MATCH, value)? {
        Tags::Any => Ok(Condition::Exists),
        Tags::List(tags) if tags.iter().any(|tag| tag.weak) => Err(ConditionError::WeakTag),
        Tags::List(tags) => Ok(Condition::Matches(tags.into_iter().map(|tag| tag.expected).collect())),
    }
}

enum Tags {
    Any,
    /// Never empty.
    List(Vec<Tag>),
}

struct Tag {
    weak: bool,
    expected: Expected,
}

/// Splits at commas without regard to quotes: no tag of ours holds a comma.
fn parse(header: &'static str, value: &[u8]) -> Result<Tags, ConditionError> {
    let malformed = ConditionError::Malformed { header };
    let Ok(text) = std::str::from_utf8(value) else { return Err(malformed) };
    if trim(text) == "*" {
        return Ok(Tags::Any);
    }
    // A list may hold empty elements (RFC 9110, 5.6.1.2).
    let elements = text.split(',').map(trim).filter(|element| !element.is_empty());
    let tags: Vec<Tag> = elements.map(parse_tag).collect::<Option<_>>().ok_or(malformed)?;
    if tags.is_empty() { Err(malformed) } else { Ok(Tags::List(tags)) }
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

fn parse_tag(text: &str) -> Option<Tag> {
    let (weak, quoted) = text.strip_prefix("W/").map_or((false, text), |rest| (true, rest));
    let opaque = quoted.strip_prefix('"')?.strip_suffix('"')?;
    let expected = match opaque.strip_prefix('v') {
        Some(number) => Expected::Version(parse_version(number)?),
        None => Expected::Md5(Md5::parse(opaque)?),
    };
    Some(Tag { weak, expected })
}

#[cfg(test)]
mod tests;
