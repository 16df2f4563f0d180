//! What [`PeerLinks`](super::PeerLinks) is told and asked, and what it tells. Words only.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use actix::{Message, Recipient};
use callboard_protocol::clients::{ClientQuery, ClientSeen, NodePushes, Page, PushQuery};
use callboard_protocol::config::Version;
use callboard_protocol::member::{Incarnation, NodeId};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::transport::{FromPeer, PeerMessage};

/// Sets whom to link with, in place of whoever was set before; the own node is left out. Forgotten when the actor is
/// rebuilt: whoever sets the peers holds a subscription as well, and sets them anew when that is lost.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct SetPeers(pub BTreeMap<NodeId, SocketAddr>);

/// Subscribes the one who gets what peers say. The answer tells when the subscriber was forgotten.
#[derive(Debug, Message)]
#[rtype(result = "crate::subscription::Subscription")]
pub struct SubscribeMessages(pub Recipient<FromPeer>);

/// Subscribes to who can be reached: told at once, then at each change. The answer tells when the subscriber was
/// forgotten.
#[derive(Debug, Message)]
#[rtype(result = "crate::subscription::Subscription")]
pub struct SubscribeReach(pub Recipient<ReachChanged>);

/// These peers can be reached, both ways: a link to them lives, and on a link that they dialed they were heard within
/// the last three seconds.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct ReachChanged {
    /// Everybody who can be reached.
    pub nodes: BTreeSet<NodeId>,
}

/// Asks a peer.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<PeerReply, QueryError>")]
pub struct Query {
    /// Whom.
    pub node: NodeId,
    /// What.
    pub query: PeerQuery,
    /// How long to wait.
    pub deadline: Duration,
}

/// Why a peer gave no answer. It may have been asked all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// There is no link to it, or it went down meanwhile.
    #[error("there is no link to the node")]
    NotLinked,
    /// It did not answer in time.
    #[error("the node did not answer in time")]
    TimedOut,
    /// It speaks an older version, or nobody there answers such queries.
    #[error("the node does not answer such queries")]
    Unsupported,
    /// Too many queries wait for its answer, or too much waits to be sent to it. It was not asked.
    #[error("too much waits for the node already")]
    Busy,
}

/// Subscribes the one who answers what peers ask. The answer tells when the subscriber was forgotten.
#[derive(Debug, Message)]
#[rtype(result = "crate::subscription::Subscription")]
pub struct SubscribeQueries(pub Recipient<PeerAsked>);

/// A peer asks. A reply that is dropped says that there is no answer.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct PeerAsked {
    /// Who.
    pub from: NodeId,
    /// What.
    pub query: PeerQuery,
    /// Where the answer goes.
    pub reply: oneshot::Sender<PeerReply>,
}

/// What a peer can be asked. Spoken from version 2 on; a further variant needs a further version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerQuery {
    /// How it is.
    Status,
    /// A page of its clients. From version 4 on.
    Clients(Box<ClientQuery>),
    /// What became of a version there. From version 4 on.
    Pushes(Box<PushQuery>),
}

/// What a peer answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerReply {
    /// To [`PeerQuery::Status`].
    Status(PeerStatus),
    /// To [`PeerQuery::Clients`].
    Clients(Page<ClientSeen>),
    /// To [`PeerQuery::Pushes`].
    Pushes(Box<NodePushes>),
}

/// How a node is, in its own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// The revision it knows of.
    pub revision: Version,
    /// Its life as a member; `None` without a row.
    pub incarnation: Option<Incarnation>,
    /// The version of its program; at most 128 bytes.
    pub version: String,
    /// Its state, for people; at most 128 bytes.
    pub state: String,
}

/// To whom a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Audience {
    One(NodeId),
    Several(Vec<NodeId>),
    Everybody,
}

/// Says something to peers. Lost where there is no link and no room to wait for one.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct SendMessage {
    pub(super) to: Audience,
    pub(super) message: PeerMessage,
}
