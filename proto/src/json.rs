//! Messages as JSON, for WebSocket: the envelope's number and, beside it, one member named for the kind of message.
//! Owns that form; fields are in camel case, absent ones have their empty value, unknown ones are skipped.
//!
//! `{"id": 1, "get": {"key": {"group": "shop", "dataId": "prices.yaml"}}}`

use serde_json::{Map, Value};

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

/// The kinds of messages, as they are named.
pub const KINDS: [&str; 20] = [
    "hello",
    "get",
    "list",
    "publish",
    "delete",
    "watch",
    "unwatch",
    "applied",
    "rejected",
    "ping",
    "pong",
    "welcome",
    "config",
    "page",
    "published",
    "watching",
    "unwatched",
    "push",
    "goAway",
    "error",
];

/// The message that `text` holds; without a kind when it names none that is known.
///
/// # Errors
/// [`JsonError`] says what is wrong.
pub fn decode(text: &str) -> Result<Envelope, JsonError> {
    let mut members: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| JsonError::Malformed(error.to_string()))?;
    let id = match members.remove("id") {
        None => 0,
        Some(id) => id.as_u64().ok_or(JsonError::Id)?,
    };
    let mut known = members.into_iter().filter(|(name, _)| KINDS.contains(&name.as_str()));
    let Some((kind, message)) = known.next() else { return Ok(Envelope { id, kind: None }) };
    if let Some((second, _)) = known.next() {
        return Err(JsonError::Several(kind, second));
    }
    let named = Value::Object(Map::from_iter([(kind.clone(), message)]));
    match serde_json::from_value::<Kind>(named) {
        Ok(message) => Ok(Envelope { id, kind: Some(message) }),
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
