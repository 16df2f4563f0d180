//! The form in which nodes speak to each other: one frame, one encoded value. Owns the versions of that form and the
//! limits of what is sent along; decoding is total and checks whatever has rules. Carries nothing.
//!
//! A change of what is written here is a further version, with the former ones still spoken: nodes are upgraded one by
//! one. The hello alone never changes, since it is said before a version is agreed on.

mod event;

use std::borrow::Cow;

use bytes::Bytes;
use callboard_protocol::config::MetadataError;
use callboard_protocol::content::ContentError;
use callboard_protocol::key::KeyError;
use callboard_protocol::link::Versions;
use callboard_protocol::member::NodeId;
use callboard_protocol::write_request::BadRequestId;
use serde::{Deserialize, Serialize};

use self::event::Message;
use super::{PeerQuery, PeerReply};
use crate::codec::{self, CodecError};
use crate::transport::PeerMessage;

/// The versions this program speaks. Queries and their replies exist from version 2 on, those about clients from
/// version 4 on; from version 5 on messages say of which database they are.
pub const PEER_VERSIONS: Versions = Versions { min: 1, max: 5 };
/// The first version with queries.
const QUERIES: u16 = 2;
/// The first version with queries about clients.
const CLIENTS: u16 = 4;
/// The first version with databases.
const DATABASES: u16 = 5;
/// Longest frame, in bytes.
pub const MAX_FRAME: usize = codec::MAX_ENCODED;
/// Longest hello, in bytes.
pub const MAX_HELLO: usize = 512;
/// Longest id of a node, as in the settings.
const MAX_NODE_ID: usize = 64;
/// Longest text that a peer says of itself or as a reason.
const MAX_TEXT: usize = 128;

/// What one node sends to another.
#[derive(Debug, Clone)]
pub(super) enum Frame {
    /// Are you there? By the node that dialed.
    Ping(u64),
    /// The answer to the ping of this number.
    Pong(u64),
    /// A word about a publish; by the node that dialed.
    Message(PeerMessage),
    /// A query; by the node that dialed.
    Request {
        /// Numbers the queries of one link.
        id: u64,
        /// What is asked.
        query: PeerQuery,
    },
    /// The answer to a query.
    Reply {
        /// Of which number.
        id: u64,
        /// `None`: there is no answer.
        reply: Option<PeerReply>,
    },
}

/// What a node says first on a link, once it is authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Who it is.
    pub node: NodeId,
    /// What it speaks.
    pub versions: Versions,
    /// The version of its program, for people.
    pub software: String,
}

/// Why a frame can't be written or read. Nothing else happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The bytes hold no frame, or the frame is too long.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The version that both ends agreed on has no such frame.
    #[error("version {0} has no such frame")]
    NotInVersion(u16),
    /// A text breaks its rule.
    #[error("{0} is empty, too long or holds an illegal character")]
    Text(&'static str),
    /// A key breaks its rules.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A request id breaks its rules.
    #[error(transparent)]
    RequestId(#[from] BadRequestId),
    /// A content breaks its rules.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// Metadata breaks its rules.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}

/// Frames as they are written. The order of the variants is part of the form.
#[derive(Serialize, Deserialize)]
enum Written<'a> {
    Ping(u64),
    Pong(u64),
    Message(Message<'a>),
    Request { id: u64, query: Cow<'a, PeerQuery> },
    Reply { id: u64, reply: Option<Cow<'a, PeerReply>> },
}

/// The hello as it is written.
#[derive(Serialize, Deserialize)]
struct WrittenHello<'a> {
    node: Cow<'a, str>,
    min: u16,
    max: u16,
    software: Cow<'a, str>,
}

impl Written<'_> {
    fn encode(&self, version: u16) -> Result<Bytes, WireError> {
        if !self.is_in(version) {
            return Err(WireError::NotInVersion(version));
        }
        Ok(codec::encode(self)?.into())
    }

    fn is_in(&self, version: u16) -> bool {
        match self {
            Self::Ping(_) | Self::Pong(_) => true,
            Self::Message(message) => message.is_in(version),
            Self::Request { query, .. } => match **query {
                PeerQuery::Status => version >= QUERIES,
                PeerQuery::Clients(_) | PeerQuery::Pushes(_) => version >= CLIENTS,
            },
            Self::Reply { reply, .. } => match reply.as_deref() {
                None | Some(PeerReply::Status(_)) => version >= QUERIES,
                Some(PeerReply::Clients(_) | PeerReply::Pushes(_)) => version >= CLIENTS,
            },
        }
    }
}

/// The bytes of a message, in this version.
///
/// # Errors
/// [`WireError`] when it is too long.
pub(super) fn encode_message(message: &PeerMessage, version: u16) -> Result<Bytes, WireError> {
    Written::Message(Message::of(message, version)).encode(version)
}

impl Frame {
    /// The bytes of the frame, in this version.
    ///
    /// # Errors
    /// [`WireError`] when it is too long, or the version does not have it.
    pub(super) fn encode(&self, version: u16) -> Result<Bytes, WireError> {
        let written = match self {
            Self::Ping(number) => Written::Ping(*number),
            Self::Pong(number) => Written::Pong(*number),
            Self::Message(message) => Written::Message(Message::of(message, version)),
            Self::Request { id, query } => Written::Request { id: *id, query: Cow::Borrowed(query) },
            Self::Reply { id, reply } => Written::Reply { id: *id, reply: reply.as_ref().map(Cow::Borrowed) },
        };
        written.encode(version)
    }

    /// The frame that `bytes` hold, in this version.
    ///
    /// # Errors
    /// [`WireError`] when they hold none, or one that breaks a rule.
    pub(super) fn decode(bytes: &[u8], version: u16) -> Result<Self, WireError> {
        let written: Written<'_> = codec::decode(bytes)?;
        if !written.is_in(version) {
            return Err(WireError::NotInVersion(version));
        }
        Ok(match written {
            Written::Ping(number) => Self::Ping(number),
            Written::Pong(number) => Self::Pong(number),
            Written::Message(message) => Self::Message(message.checked()?),
            Written::Request { id, query } => Self::Request { id, query: query.into_owned() },
            Written::Reply { id, reply } => {
                let reply = reply.map(Cow::into_owned);
                if let Some(PeerReply::Status(status)) = &reply {
                    text("version", &status.version)?;
                    text("state", &status.state)?;
                }
                Self::Reply { id, reply }
            }
        })
    }
}

impl Hello {
    /// Its bytes, at most [`MAX_HELLO`].
    ///
    /// # Errors
    /// [`WireError`] when a text is too long.
    pub fn encode(&self) -> Result<Bytes, WireError> {
        text("software version", &self.software)?;
        let Versions { min, max } = self.versions;
        let (node, software) = (Cow::Borrowed(&*self.node.0), Cow::Borrowed(self.software.as_str()));
        Ok(codec::encode(&WrittenHello { node, min, max, software })?.into())
    }

    /// The hello that `bytes` hold.
    ///
    /// # Errors
    /// [`WireError`] when they hold none, or one that breaks a rule.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let WrittenHello { node, min, max, software } = codec::decode(bytes)?;
        text("software version", &software)?;
        Ok(Self { node: node_id(&node)?, versions: Versions { min, max }, software: software.into_owned() })
    }
}

fn text(what: &'static str, text: &str) -> Result<(), WireError> {
    if text.len() > MAX_TEXT || text.chars().any(char::is_control) { Err(WireError::Text(what)) } else { Ok(()) }
}

fn node_id(text: &str) -> Result<NodeId, WireError> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if (1..=MAX_NODE_ID).contains(&text.len()) && text.bytes().all(legal) {
        Ok(NodeId(text.into()))
    } else {
        Err(WireError::Text("node id"))
    }
}

#[cfg(test)]
mod tests;
