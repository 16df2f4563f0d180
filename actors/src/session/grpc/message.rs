//! What a session of a Nacos client is asked and told, and says by itself. Words only: their form is made by whoever
//! serves the connection.

use std::collections::BTreeSet;
use std::time::Duration;

use actix::Message;
use callboard_protocol::config::SharedState;
use callboard_protocol::content::{Content, Reported};
use callboard_protocol::gray::Secrets;
use callboard_protocol::key::ConfigKey;
use callboard_protocol::nacos::Part;
use callboard_protocol::nacos::fuzzy::{Pattern, Sync};
use callboard_protocol::session::client::Client;
use callboard_protocol::write_request::WriteRequest;
use tokio::sync::mpsc;

pub use crate::session::native::message::Fault;

/// A request came: it is counted, and read on only when the client has set its connection up, and keeps to its pace.
/// Answers whether the connection is set up; when it is not, that has been waited for.
#[derive(Debug, Message)]
#[rtype(result = "bool")]
pub struct Enter {
    /// The class of the request, as it is counted.
    pub class: &'static str,
    /// How long it is, in bytes.
    pub bytes: usize,
    /// Whether the connection has to be set up for it.
    pub needs_setup: bool,
}

/// A request that came, and what it asks. `None` when the connection is not set up.
#[derive(Debug)]
pub struct Entered<M> {
    /// The request.
    pub enter: Enter,
    /// What it asks.
    pub asks: M,
}

impl<M: Message> Message for Entered<M> {
    type Result = Option<M::Result>;
}

/// The state of a configuration.
#[derive(Debug, Message)]
#[rtype(result = "Result<Found, Fault>")]
pub struct Query {
    /// Which.
    pub key: ConfigKey,
    /// The client gets the content for everybody: from then on it has that.
    pub is_for_all: bool,
    /// Which secrets whoever asks may see.
    pub secrets: Secrets,
}

/// The state of a configuration, and what this client gets of it.
#[derive(Debug, Clone)]
pub struct Found {
    /// The state.
    pub state: SharedState,
    /// The content.
    pub content: Option<Content>,
    /// Set when it may be old: for how long nothing newer could be known.
    pub age: Option<Duration>,
}

/// A change of one configuration. It runs on to its own end when its outcome is not known in time.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), Fault>")]
pub struct Make(pub Box<WriteRequest>);

/// What a client listens to.
#[derive(Debug, Clone)]
pub struct Listening {
    /// Which configuration; `None` for a name that none can have.
    pub key: Option<ConfigKey>,
    /// The namespace, as the client writes it.
    pub tenant: String,
    /// What it holds.
    pub reported: Reported,
}

/// Listens. Answers which of them are different from what the client holds, in order.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<bool>, Fault>")]
pub struct Listen(pub Vec<Listening>);

/// Does not listen to these any longer.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Unlisten(pub Vec<ConfigKey>);

/// Watches a pattern. Answers how many configurations it matches.
#[derive(Debug, Message)]
#[rtype(result = "Result<u64, Fault>")]
pub struct WatchPattern {
    /// As the client writes it.
    pub text: String,
    /// What it means.
    pub pattern: Pattern,
    /// The client watches it for the first time.
    pub is_initial: bool,
    /// What the client knows of.
    pub received: BTreeSet<ConfigKey>,
}

/// Does not watch a pattern any longer.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct UnwatchPattern(pub String);

/// Something that the node says by itself.
#[derive(Debug)]
pub enum Notice {
    /// The connection is set up.
    Ready(u64),
    /// Is the client there?
    Detection(u64),
    /// A configuration changed.
    Changed {
        /// The number of the notice.
        number: u64,
        /// Which configuration.
        key: ConfigKey,
        /// The namespace, as the client writes it.
        tenant: String,
    },
    /// A configuration came to be, or is gone, that a pattern matches.
    Matched {
        /// The number of the notice.
        number: u64,
        /// Which configuration.
        key: ConfigKey,
        /// Whether it is there.
        is_there: bool,
    },
    /// A part of what a pattern matches.
    Sync {
        /// The number of the notice.
        number: u64,
        /// The pattern, as the client writes it.
        pattern: String,
        /// Which part.
        part: Part,
        /// What it says.
        sync: Sync,
    },
}

/// The client opened a stream: it is told by it from now on. Answers the number of the stream.
#[derive(Debug, Message)]
#[rtype(result = "u64")]
pub struct OpenStream(pub mpsc::Sender<Box<Notice>>);

/// A message came over a stream.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct InboundMessage {
    /// The number of the stream.
    pub stream: u64,
    /// How long it is, in bytes.
    pub bytes: usize,
    /// What it says.
    pub message: StreamMessage,
}

/// What a client says over its stream.
#[derive(Debug)]
pub enum StreamMessage {
    /// Who it is.
    SetUp {
        /// Who.
        client: Box<Client>,
        /// Whether it waits for the notice that the connection is set up.
        wants_ready: bool,
    },
    /// It has taken in the notice of this number, or could not.
    Acknowledged(u64, bool),
    /// Something of no consequence.
    Other,
}

/// A stream ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct StreamEnded(pub u64);

/// The connection ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ConnectionEnded;

/// The node stops: a connection that is not set up has nothing to wait for.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Stopping;
