//! Messages as JSON, for WebSocket: the envelope's number and, beside it, one member named for the kind of message.
//! Owns that form; fields are in camel case, absent ones have their empty value, unknown ones are skipped, and
//! lists are read as far as they may be long.
//!
//! `{"id": 1, "get": {"key": {"group": "shop", "dataId": "prices.yaml"}}}`

use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::session::Envelope;
use crate::session::envelope::Kind;

/// Why a text is no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// It is no JSON object.
    #[error("not a JSON object: {0}")]
    Malformed(String),
    /// The number of the request is none.
    #[error("id must be a whole number, not negative")]
    Id,
    /// There is more than one kind of message in it.
    #[error("more than one kind of message: {0} and {1}")]
    Several(String, String),
    /// A kind of message does not have the form it should have.
    #[error("{kind}: {reason}")]
    Kind {
        /// The number of the request.
        id: u64,
        /// Which kind.
        kind: String,
        /// What is wrong.
        reason: String,
    },
}

/// Names the kinds of messages, and reads each.
macro_rules! kinds {
    ($($name:literal => $kind:ident,)*) => {
        /// The kinds of messages, as they are named.
        pub const KINDS: [&str; 21] = [$($name),*];

        /// A message of the kind of this name, which is known.
        fn read(name: &str, message: &RawValue) -> Result<Option<Kind>, serde_json::Error> {
            Ok(match name {
                $($name => Some(Kind::$kind(serde_json::from_str(message.get())?)),)*
                _ => None,
            })
        }
    };
}

kinds! {
    "hello" => Hello,
    "get" => Get,
    "list" => List,
    "publish" => Publish,
    "delete" => Delete,
    "watch" => Watch,
    "unwatch" => Unwatch,
    "applied" => Applied,
    "rejected" => Rejected,
    "ping" => Ping,
    "pong" => Pong,
    "hold" => Hold,
    "welcome" => Welcome,
    "config" => Config,
    "page" => Page,
    "published" => Published,
    "watching" => Watching,
    "unwatched" => Unwatched,
    "push" => Push,
    "goAway" => GoAway,
    "error" => Error,
}

/// The members of a message, where they stand in its text: nothing of them is taken out of it yet.
#[derive(Default)]
struct Members<'a> {
    id: Option<&'a RawValue>,
    message: Option<(String, &'a RawValue)>,
    /// The name of a second kind.
    another: Option<String>,
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_map(Object)
    }
}

struct Object;

impl<'de> Visitor<'de> for Object {
    type Value = Members<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut source: A) -> Result<Self::Value, A::Error> {
        let mut members = Members::default();
        while let Some(name) = source.next_key::<String>()? {
            if name == "id" {
                members.id = Some(source.next_value()?);
            } else if KINDS.contains(&name.as_str()) {
                let message = source.next_value()?;
                match &members.message {
                    // Of what is said twice, the last counts.
                    Some((first, _)) if *first != name => members.another = Some(name),
                    _ => members.message = Some((name, message)),
                }
            } else {
                source.next_value::<IgnoredAny>()?;
            }
        }
        Ok(members)
    }
}

/// The message that `text` holds; without a kind when it names none that is known.
///
/// # Errors
/// [`JsonError`] says what is wrong.
pub fn decode(text: &str) -> Result<Envelope, JsonError> {
    let Members { id, message, another } =
        serde_json::from_str(text).map_err(|error| JsonError::Malformed(error.to_string()))?;
    let id = id.map_or(Ok(0), |id| id.get().parse()).map_err(|_no_number| JsonError::Id)?;
    let Some((kind, message)) = message else { return Ok(Envelope { id, kind: None }) };
    if let Some(second) = another {
        return Err(JsonError::Several(kind, second));
    }
    match read(&kind, message) {
        Ok(kind) => Ok(Envelope { id, kind }),
        Err(error) => Err(JsonError::Kind { id, kind, reason: error.to_string() }),
    }
}

/// The text of a message.
///
/// # Errors
/// Never in practice; the serialiser's own.
pub fn encode(envelope: &Envelope) -> Result<String, serde_json::Error> {
    serde_json::to_string(envelope)
}

#[cfg(test)]
mod tests;
