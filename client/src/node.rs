//! What a program is told about its connection.

use std::time::{Duration, SystemTime};

use callboard_proto::session as wire;

use crate::error::text;

/// Addresses that are kept of those that a node names.
const MAX_NODES: usize = 64;

/// The node of a session, as it introduced itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its id.
    pub id: String,
    /// Where it was reached, `host:port`.
    pub address: String,
    /// Where it serves HTTP; empty when it did not say.
    pub http: String,
    /// Where the nodes of its cluster are reached over this protocol, itself included.
    pub nodes: Vec<String>,
    /// It closes a connection on which nothing came for so long.
    pub idle_timeout: Duration,
    /// Keys and prefixes that may be watched at once.
    pub max_watches: u32,
}

impl Node {
    pub(crate) fn from_wire(address: &str, welcome: &wire::Welcome) -> Self {
        Self {
            id: text(&welcome.node),
            address: address.to_owned(),
            http: text(&welcome.http),
            nodes: welcome.nodes.iter().take(MAX_NODES).map(|node| text(node)).collect(),
            idle_timeout: Duration::from_millis(welcome.idle_timeout_ms),
            max_watches: welcome.max_watches,
        }
    }
}

/// Whether a session is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    /// The first tries are under way; no node has failed yet, or not all.
    Connecting,
    /// A session is there, with this node.
    Connected(Node),
    /// No session is there; nodes are tried in the background.
    Disconnected {
        /// When the last session ended, or the first tries failed.
        since: SystemTime,
        /// Why the last session or try ended, for people.
        reason: String,
    },
    /// No session is there, and none will be: a node does not take the credentials.
    Denied {
        /// What programs look at.
        code: String,
        /// For people.
        message: String,
    },
}
