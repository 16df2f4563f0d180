//! What a caller asks to be published: units of one or more keys, and how each turned out. A unit takes one revision
//! and succeeds or fails as a whole. Owns the words and the rules of request ids; decides nothing about storage.

pub mod fingerprint;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::config::{MetadataEdit, MetadataError, Version, check_text};
use crate::content::{Content, Md5};
use crate::error_code::ErrorCode;
use crate::key::ConfigKey;

/// Longest request id, in bytes.
pub const MAX_REQUEST_ID: usize = 128;

/// Names one request so that it can be repeated without being done twice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(Arc<str>);

/// The text can't be a request id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a request id is 1 to {MAX_REQUEST_ID} visible ASCII characters")]
pub struct BadRequestId;

impl RequestId {
    /// Checks an id that a client chose.
    ///
    /// # Errors
    /// [`BadRequestId`] when it is empty, too long, or holds anything but visible ASCII.
    pub fn new(text: &str) -> Result<Self, BadRequestId> {
        let legal = (1..=MAX_REQUEST_ID).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if legal { Ok(Self(text.into())) } else { Err(BadRequestId) }
    }

    /// The id of a request whose client chose none.
    #[must_use]
    pub fn generated(id: Uuid) -> Self {
        Self(id.to_string().into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// A digest of what is asked: tells a repeated request from another one under the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub Md5);

/// What must be true of a key for its change to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    None,
    /// The key does not exist (`If-None-Match: *`).
    Absent,
    /// The key exists (`If-Match: *`).
    Exists,
    /// The key exists, at one of these versions or with one of these contents (`If-Match`).
    Matches(Vec<Expected>),
    /// Nacos's `casMd5`: the formal content has this digest, or the key is missing, which inserts.
    NacosCas(String),
}

/// One alternative of [`Condition::Matches`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// This version.
    Version(Version),
    /// This formal content.
    Md5(Md5),
}

/// What to do with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Publish this formal content.
    Put {
        /// The content.
        content: Content,
        /// What to do to the metadata.
        edit: Box<MetadataEdit>,
    },
    /// Remove the key as a whole.
    Remove,
}

/// One key of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyWrite {
    /// Which key.
    pub key: ConfigKey,
    /// On which condition.
    pub condition: Condition,
    /// What to do.
    pub change: Change,
}

named! {
    /// By which door a change came in; stored with it.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Source {
        /// The native REST interface.
        Rest = "rest",
        /// Nacos over HTTP.
        NacosHttp = "nacos_http",
        /// Nacos over gRPC.
        Grpc = "grpc",
        /// A native session over TCP.
        Session = "session",
        /// The server itself.
        System = "system",
        /// A native session over WebSocket.
        #[serde(rename = "websocket")]
        WebSocket = "websocket",
        /// The command line, on the machine of the node.
        Cli = "cli",
    }
}

/// Longest operator, client id and source address, in characters.
pub const MAX_ORIGIN_TEXT: usize = 128;
/// Longest note of a change, in characters.
pub const MAX_NOTE: usize = 1_024;

/// Who asked, from where and why; stored with the change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// By which door.
    pub channel: Source,
    /// The person or program that is responsible.
    pub operator: Option<String>,
    /// The caller's address.
    pub source_address: Option<String>,
    /// The client's own id.
    pub client_id: Option<String>,
    /// Why the change was made, in the caller's words.
    pub note: Option<String>,
}

impl Origin {
    /// Checks the texts that a client may set.
    ///
    /// # Errors
    /// [`MetadataError`] names the first text that is too long or holds a NUL.
    pub fn checked(self) -> Result<Self, MetadataError> {
        let texts = [
            ("operator", &self.operator, MAX_ORIGIN_TEXT),
            ("source address", &self.source_address, MAX_ORIGIN_TEXT),
            ("client id", &self.client_id, MAX_ORIGIN_TEXT),
            ("note", &self.note, MAX_NOTE),
        ];
        for (field, text, max) in texts {
            if let Some(text) = text {
                check_text(field, text, max)?;
            }
        }
        Ok(self)
    }
}

/// A request to publish: all its keys change under one revision, or none does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteRequest {
    /// Makes it safe to repeat.
    pub request_id: RequestId,
    /// True when the client chose the id and may come back with it: then even an answer that changed nothing is kept.
    pub repeatable: bool,
    /// Tells whether a repetition asks for the same.
    pub fingerprint: Fingerprint,
    /// At least one; no key twice.
    pub items: Vec<KeyWrite>,
    /// Who asked.
    pub origin: Origin,
}

impl WriteRequest {
    /// A request to change one key, under the id that the client chose, or one made of `fresh`.
    #[must_use]
    pub fn of_one(item: KeyWrite, chosen: Option<RequestId>, origin: Origin, fresh: Uuid) -> Self {
        let repeatable = chosen.is_some();
        let request_id = chosen.unwrap_or_else(|| RequestId::generated(fresh));
        let fingerprint = fingerprint::of(&item, origin.note.as_deref());
        Self { request_id, repeatable, fingerprint, items: vec![item], origin }
    }

    /// The bytes of content that it carries.
    #[must_use]
    pub fn content_bytes(&self) -> usize {
        self.items
            .iter()
            .map(|item| match &item.change {
                Change::Put { content, .. } => content.bytes().len(),
                Change::Remove => 0,
            })
            .sum()
    }
}

named! {
    /// What a unit did to one key.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Effect {
        /// The key did not exist before.
        Created = "created",
        /// Content or metadata changed.
        Updated = "updated",
        /// The same content and metadata were there already; nothing was written.
        Unchanged = "unchanged",
        /// The key is gone.
        Removed = "removed",
    }
}

/// How one key of a unit came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyOutcome {
    /// The key's version now: the unit's revision, or the present version when nothing changed.
    pub version: Version,
    /// The digest of the formal content; `None` when the key was removed.
    pub md5: Option<Md5>,
    /// What happened.
    pub effect: Effect,
}

/// Why a unit was refused. Nothing of it was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A condition does not hold.
    #[error("{key} is not as the condition demands")]
    Conflict {
        /// The key.
        key: ConfigKey,
        /// Its present version; zero when it never existed.
        version: Version,
        /// The digest of its present formal content.
        md5: Option<Md5>,
    },
    /// A key that is to be removed does not exist.
    #[error("{key} does not exist")]
    NotFound {
        /// The key.
        key: ConfigKey,
    },
    /// It is, or would be, a secret, and there is no key to seal it with.
    #[error("{key} is a secret, and this node has no key to seal it with: set secrets.key_file on every node")]
    NoKey {
        /// The key.
        key: ConfigKey,
    },
    /// The request id was used before, for something else.
    #[error("request id {request_id} was used before for another request")]
    RequestIdReused {
        /// The id.
        request_id: RequestId,
    },
}

impl Refusal {
    /// What kind of refusal it is for every interface.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Conflict { .. } => ErrorCode::ConditionFailed,
            Self::NotFound { .. } => ErrorCode::NotFound,
            Self::NoKey { .. } => ErrorCode::Rejected,
            Self::RequestIdReused { .. } => ErrorCode::IdempotencyKeyReused,
        }
    }
}

/// How a unit came out of a transaction that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteOutcome {
    /// Done, now or by an earlier request with the same id.
    Done {
        /// One for each item, in order.
        items: Vec<KeyOutcome>,
        /// True when this is the answer to an earlier request.
        replayed: bool,
    },
    /// Not done; nothing written.
    Refused(Refusal),
}

/// What is kept under a request id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// What was asked.
    pub fingerprint: Fingerprint,
    /// How it came out.
    pub items: Vec<KeyOutcome>,
}
