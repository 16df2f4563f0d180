//! What a client says of itself, checked once.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::config::{MAX_APPLICATION, MetadataError, check_text};
use crate::gray::ClientIdentity;

/// Longest id of a client, in bytes.
pub const MAX_CLIENT_ID: usize = 128;
/// Most labels of a client.
pub const MAX_LABELS: usize = 16;
/// Longest name and value of a label, in characters.
pub const MAX_LABEL: usize = 64;
/// Longest name of a client's program, in characters.
pub const MAX_SOFTWARE: usize = 128;
/// Longest reason of a client that can't use a version, in characters.
pub const MAX_REASON: usize = 1_024;

/// The name that a client gives itself. Two connections may give the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientId(pub Arc<str>);

impl fmt::Display for ClientId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Why what a client says of itself was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The id breaks its rule.
    #[error("clientId must be 1 to {MAX_CLIENT_ID} visible ASCII characters")]
    Id,
    /// More labels than [`MAX_LABELS`].
    #[error("{0} labels given; at most {MAX_LABELS} are allowed")]
    TooManyLabels(usize),
    /// A text is too long or holds a NUL.
    #[error(transparent)]
    Text(#[from] MetadataError),
}

impl ClientId {
    /// Checks an id that a client gave.
    ///
    /// # Errors
    /// [`ClientError::Id`].
    pub fn new(text: &str) -> Result<Self, ClientError> {
        let legal = (1..=MAX_CLIENT_ID).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if legal { Ok(Self(text.into())) } else { Err(ClientError::Id) }
    }
}

/// How a client is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientKind {
    /// A native session over TCP.
    Tcp,
    /// A native session over WebSocket.
    WebSocket,
    /// A stream of server-sent events.
    Stream,
    /// A long poll.
    LongPoll,
    /// A client of Nacos over gRPC.
    Grpc,
}

impl ClientKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Tcp, Self::WebSocket, Self::Stream, Self::LongPoll, Self::Grpc];

    /// True for those that say what they made of a push.
    #[must_use]
    pub fn is_session(self) -> bool {
        matches!(self, Self::Tcp | Self::WebSocket | Self::Grpc)
    }

    /// The name as it is shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::WebSocket => "websocket",
            Self::Stream => "stream",
            Self::LongPoll => "long_poll",
            Self::Grpc => "grpc",
        }
    }
}

/// A connected client: who it says it is, and how it is connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Its id.
    pub id: ClientId,
    /// How it is connected.
    pub kind: ClientKind,
    /// What a content is chosen by: address, application, labels.
    pub identity: ClientIdentity,
    /// Its program and version, for people.
    pub software: String,
}

impl Client {
    /// Checks what a client says of itself; labels are put in order.
    ///
    /// # Errors
    /// [`ClientError`] names the rule that is broken.
    pub fn checked(mut self) -> Result<Self, ClientError> {
        let labels = &mut self.identity.labels;
        if labels.len() > MAX_LABELS {
            return Err(ClientError::TooManyLabels(labels.len()));
        }
        for (name, value) in &*labels {
            check_text("the name of a label", name, MAX_LABEL)?;
            check_text("a label", value, MAX_LABEL)?;
        }
        labels.sort_unstable();
        if let Some(application) = &self.identity.application {
            check_text("application", application, MAX_APPLICATION)?;
        }
        check_text("software", &self.software, MAX_SOFTWARE)?;
        Ok(self)
    }
}

#[cfg(test)]
mod tests;
