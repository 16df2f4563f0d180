//! Changes that a program asks for: publishing and removing. Owns the requests, their conditions and their outcome.

use callboard_proto::session as wire;

use crate::key::ConfigKey;

/// What must hold for a change to be made; otherwise it fails with
/// [`Error::ConditionFailed`](crate::Error::ConditionFailed).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// The present version is this one.
    IfVersion(u64),
    /// The present content has this digest.
    IfMd5(String),
    /// The configuration does not exist.
    IfAbsent,
}

impl Condition {
    fn to_wire(&self) -> wire::Condition {
        let none = wire::Condition::default();
        match self {
            Self::IfVersion(version) => wire::Condition { if_version: *version, ..none },
            Self::IfMd5(md5) => wire::Condition { if_md5: md5.clone(), ..none },
            Self::IfAbsent => wire::Condition { if_absent: true, ..none },
        }
    }
}

/// A publish that is asked for. Made by [`Publish::new`]; what is not said otherwise stays as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    key: ConfigKey,
    content: String,
    kind: String,
    condition: Option<Condition>,
    idempotency_key: Option<String>,
    note: String,
    description: Option<String>,
    secret: Option<bool>,
}

impl Publish {
    /// Asks that `key` has this content.
    #[must_use]
    pub fn new(key: &ConfigKey, content: impl Into<String>) -> Self {
        Self {
            key: key.clone(),
            content: content.into(),
            kind: String::new(),
            condition: None,
            idempotency_key: None,
            note: String::new(),
            description: None,
            secret: None,
        }
    }

    /// Gives it a type, such as `yaml`.
    #[must_use]
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = kind.into();
        self
    }

    /// Asks for it under a condition only.
    #[must_use]
    pub fn condition(mut self, condition: Condition) -> Self {
        self.condition = Some(condition);
        self
    }

    /// Names the request, so that repeating it within a day changes nothing: 1 to 128 visible ASCII characters. The
    /// client chooses one for each request that has none.
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// Says why, for the history.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// Describes the configuration.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Says whether the content is a secret.
    #[must_use]
    pub fn secret(mut self, is_secret: bool) -> Self {
        self.secret = Some(is_secret);
        self
    }

    /// The message, and the idempotency key that is in it.
    pub(crate) fn into_wire(self, chosen: impl FnOnce() -> String) -> (wire::Publish, String) {
        let idempotency_key = self.idempotency_key.unwrap_or_else(chosen);
        let message = wire::Publish {
            key: Some(self.key.to_wire()),
            content: self.content,
            r#type: self.kind,
            condition: self.condition.as_ref().map(Condition::to_wire),
            idempotency_key: idempotency_key.clone(),
            note: self.note,
            description: self.description,
            secret: self.secret,
        };
        (message, idempotency_key)
    }

    pub(crate) fn key(&self) -> &ConfigKey {
        &self.key
    }
}

/// A removal that is asked for. Made by [`Delete::new`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delete {
    key: ConfigKey,
    condition: Option<Condition>,
    idempotency_key: Option<String>,
    note: String,
}

impl Delete {
    /// Asks that `key` does not exist any longer.
    #[must_use]
    pub fn new(key: &ConfigKey) -> Self {
        Self { key: key.clone(), condition: None, idempotency_key: None, note: String::new() }
    }

    /// Asks for it under a condition only.
    #[must_use]
    pub fn condition(mut self, condition: Condition) -> Self {
        self.condition = Some(condition);
        self
    }

    /// Names the request, as in [`Publish::idempotency_key`].
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// Says why, for the history.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// The message, and the idempotency key that is in it.
    pub(crate) fn into_wire(self, chosen: impl FnOnce() -> String) -> (wire::Delete, String) {
        let idempotency_key = self.idempotency_key.unwrap_or_else(chosen);
        let message = wire::Delete {
            key: Some(self.key.to_wire()),
            condition: self.condition.as_ref().map(Condition::to_wire),
            idempotency_key: idempotency_key.clone(),
            note: self.note,
        };
        (message, idempotency_key)
    }

    pub(crate) fn key(&self) -> &ConfigKey {
        &self.key
    }
}

/// What a publish or a removal did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// What was changed.
    pub key: ConfigKey,
    /// The version of the configuration now.
    pub version: u64,
    /// The digest of its content now, in hexadecimal; empty once removed.
    pub md5: String,
    /// What happened.
    pub effect: Effect,
    /// True when this is the answer to an earlier request with the same idempotency key, of this call or another.
    pub replayed: bool,
}

/// What happened to a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// It did not exist before.
    Created,
    /// It has another content, type or description.
    Updated,
    /// It was so already; the version is the one it had.
    Unchanged,
    /// It does not exist any longer.
    Removed,
    /// The node says something that this client does not know.
    Unknown,
}

impl Published {
    pub(crate) fn from_wire(key: ConfigKey, published: wire::Published) -> Self {
        let effect = match published.effect.as_str() {
            "created" => Effect::Created,
            "updated" => Effect::Updated,
            "unchanged" => Effect::Unchanged,
            "removed" => Effect::Removed,
            _ => Effect::Unknown,
        };
        Self { key, version: published.version, md5: published.md5, effect, replayed: published.replayed }
    }
}
