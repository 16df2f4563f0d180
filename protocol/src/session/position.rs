//! How far a client is with a key: what it holds, what it was pushed last, and what it made of that. Values alone, the
//! same for every kind of session. Owns no rule: how a position changes is decided where clients are told of changes.

use super::client::Client;
use crate::config::{ConfigState, Version};
use crate::content::{Content, Md5};
use crate::gray;

/// What a client holds of a key: the version, and the digest of the content; none for a key that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The version.
    pub version: Version,
    /// The digest.
    pub md5: Option<Md5>,
}

impl Mark {
    /// What a client holds once it was sent `state`.
    #[must_use]
    pub fn of(state: &ConfigState, client: &Client) -> Self {
        Self { version: state.version, md5: content_for(state, client).map(Content::md5) }
    }
}

/// The content that this client gets of a state.
#[must_use]
pub fn content_for<'a>(state: &'a ConfigState, client: &Client) -> Option<&'a Content> {
    gray::select(state, &client.identity).map(|(_, content)| content)
}

/// What a client made of the last version it was pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// It has not said.
    Unanswered,
    /// It heard of it, or asked for it; what it made of it is not known.
    Received,
    /// It uses it.
    Applied,
    /// It can't use it.
    Rejected,
}

/// The last version of a key that a session pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pushed {
    /// The version.
    pub version: Version,
    /// What the client made of it.
    pub reaction: Reaction,
}

/// How far a client is with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// What it was sent, or said to hold when it came; `None` when it may know nothing.
    pub holds: Option<Mark>,
    /// What this session pushed last.
    pub pushed: Option<Pushed>,
}
