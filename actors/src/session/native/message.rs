//! What a native session receives and sends, and the two ends of its connection. Words only: their form on the wire is
//! made by whoever hands the ends in.

use std::io;
use std::sync::Arc;

use callboard_protocol::config::{SharedState, Version};
use callboard_protocol::content::Content;
use callboard_protocol::error_code::ErrorCode;
use callboard_protocol::key::ConfigKey;
use callboard_protocol::link::Versions;
use callboard_protocol::session::conversation::Breach;
pub use callboard_protocol::session::conversation::Hello;
use callboard_protocol::session::pace;
use callboard_protocol::session::position::Mark;
use callboard_protocol::watch::{Selector, What};
use callboard_protocol::wire::cursor::FilterDigest;
use callboard_protocol::write_request::{KeyOutcome, Refusal, RequestId, WriteRequest};
use futures_util::future::LocalBoxFuture;

use crate::cache::ReadFailure;
use crate::coordinator::WatchRefused;
use crate::runtime::AskError;
use crate::store::{ListFilter, Summary};

/// A message that came.
#[derive(Debug)]
pub struct InboundMessage {
    /// The number of the request; 0 for what has no answer.
    pub id: u64,
    /// How long it was, in bytes.
    pub bytes: usize,
    /// What it asks, or why it can't be taken.
    pub request: Result<Request, Fault>,
}

/// What a client asks or says.
#[derive(Debug)]
pub enum Request {
    /// Who it is.
    Hello(Box<Hello>),
    /// The state of a configuration.
    Get(ConfigKey),
    /// A page of a listing.
    List(Box<Listing>),
    /// A change of one configuration.
    Change(Box<WriteRequest>),
    /// Watch these.
    Watch(Vec<Selector>),
    /// Do not watch these any longer.
    Unwatch(Vec<Selector>),
    /// It uses this version.
    Applied(ConfigKey, Version),
    /// What it holds besides what its hello named.
    Hold(Vec<(ConfigKey, Mark)>),
    /// It can't use this version, for this reason.
    Rejected(ConfigKey, Version, Arc<str>),
    /// Is the node there?
    Ping(u64),
    /// It is there.
    Pong,
}

impl Request {
    /// The kind, as it is counted.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Hello(_) => "hello",
            Self::Get(_) => "get",
            Self::List(_) => "list",
            Self::Change(_) => "change",
            Self::Watch(_) => "watch",
            Self::Unwatch(_) => "unwatch",
            Self::Applied(..) => "applied",
            Self::Hold(_) => "hold",
            Self::Rejected(..) => "rejected",
            Self::Ping(_) => "ping",
            Self::Pong => "pong",
        }
    }

    /// What it costs, in keys.
    #[must_use]
    pub fn work(&self) -> u32 {
        match self {
            Self::Watch(selectors) | Self::Unwatch(selectors) => {
                selectors.iter().map(work_of).fold(0, u32::saturating_add)
            }
            Self::List(_) => pace::SEARCH,
            Self::Hold(held) => u32::try_from(held.len()).unwrap_or(u32::MAX).max(pace::KEY),
            Self::Hello(hello) => u32::try_from(hello.held.len()).unwrap_or(u32::MAX).max(pace::KEY),
            Self::Get(_) | Self::Change(_) | Self::Applied(..) | Self::Rejected(..) | Self::Ping(_) | Self::Pong => {
                pace::KEY
            }
        }
    }
}

fn work_of(selector: &Selector) -> u32 {
    match selector.what() {
        What::Exact(data_ids) => u32::try_from(data_ids.len()).unwrap_or(u32::MAX),
        What::Prefix(_) => pace::SEARCH,
    }
}

/// A page of a listing that is asked for.
#[derive(Debug)]
pub struct Listing {
    /// Which configurations.
    pub filter: ListFilter,
    /// Group and data id after which the page begins.
    pub after: Option<(String, String)>,
    /// How many at most.
    pub limit: u32,
    /// Binds the next cursor to the filter.
    pub digest: FilterDigest,
}

/// A message on its way out.
#[derive(Debug)]
pub struct OutboundMessage {
    /// The number of the request that it answers; 0 for what nobody asked for.
    pub id: u64,
    /// What is said.
    pub answer: Answer,
}

/// What the node says.
#[derive(Debug)]
pub enum Answer {
    /// The session is open, in this version of the protocol.
    Welcome(u16),
    /// The state of a configuration, and the content that this client gets.
    Config(SharedState, Option<Content>),
    /// A page: one more item than asked for when others follow.
    Page(Vec<Summary>, Box<Listing>),
    /// A change was made.
    Published {
        /// Of which configuration.
        key: ConfigKey,
        /// What it did.
        outcome: KeyOutcome,
        /// True when this is the answer to an earlier request.
        replayed: bool,
    },
    /// A watch is complete.
    Watching,
    /// A watch has ended.
    Unwatched,
    /// A configuration changed.
    Push {
        /// Its state.
        state: SharedState,
        /// The content that this client gets.
        content: Option<Content>,
        /// The client has to take it although it is not newer.
        reset: bool,
    },
    /// Is the client there?
    Ping(u64),
    /// The node is there.
    Pong(u64),
    /// Go to one of these.
    GoAway(Arc<[String]>),
    /// The request failed, or the session.
    Failed(Fault),
}

impl Answer {
    /// About how many bytes it takes.
    #[must_use]
    pub fn weight(&self) -> usize {
        const FIXED: usize = 256;
        FIXED
            + match self {
                Self::Config(_, content) => content.as_ref().map_or(0, |content| content.bytes().len()),
                Self::Page(found, _) => found.len() * FIXED,
                Self::Welcome(_)
                | Self::Published { .. }
                | Self::Watching
                | Self::Unwatched
                | Self::Push { .. }
                | Self::Ping(_)
                | Self::Pong(_)
                | Self::GoAway(_)
                | Self::Failed(_) => 0,
            }
    }
}

/// Why a request failed, or a session ended.
#[derive(Debug)]
pub enum Fault {
    /// It breaks a rule of the form, which this code names; the text is for people.
    Form(ErrorCode, String),
    /// Something else than hello came first.
    HelloExpected,
    /// No hello came in time.
    HelloLate,
    /// The client speaks none of these versions.
    Versions(Versions),
    /// Nothing was heard for too long.
    Idle,
    /// The client watches as many as it may.
    TooManyWatches(usize),
    /// What it watches selects more configurations than it may hear of.
    TooManyKeys(usize),
    /// As many sessions are open as may be.
    TooManySessions,
    /// A version was answered that was not sent.
    NotPushed,
    /// The state could not be read.
    Read(ReadFailure),
    /// An actor did not answer.
    Ask(AskError),
    /// The coordinator takes no more.
    Watch(WatchRefused),
    /// The change was refused; nothing was written.
    Refused(Refusal),
    /// Too many publishes wait; nothing was written.
    Busy,
    /// The publish failed, for this reason; nothing was written.
    Failed(String),
    /// The database refuses what the change holds, and will again; nothing was written.
    Rejected(String),
    /// It is not known whether the change was made.
    Unknown(RequestId),
    /// The node takes no more changes.
    Leaving,
}

impl Fault {
    /// True when what came has not the form of a message.
    pub(super) fn is_malformed(&self) -> bool {
        matches!(self, Self::Form(ErrorCode::MalformedRequest, _))
    }
}

impl From<Breach> for Fault {
    fn from(breach: Breach) -> Self {
        match breach {
            Breach::HelloExpected => Self::HelloExpected,
            Breach::HelloLate => Self::HelloLate,
            Breach::HelloAgain => Self::Form(ErrorCode::UnknownRequest, "hello was said already".to_owned()),
            Breach::Versions(spoken) => Self::Versions(spoken),
            Breach::TooManyKeys(most) => Self::TooManyKeys(most),
            Breach::TooManyWatches(most) => Self::TooManyWatches(most),
        }
    }
}

/// What ends a connection from the other side.
#[derive(Debug)]
pub enum Broken {
    /// It failed.
    Connection(io::Error),
    /// What came has not the form it should have: this code and this text are the last word.
    Form(ErrorCode, String),
}

/// The end of a connection from which messages of the client are read.
pub trait MessageReader {
    /// The next message; `None` when the client has closed.
    fn next(&mut self) -> LocalBoxFuture<'_, Option<Result<InboundMessage, Broken>>>;

    /// What counts the memory that the message takes up which came last; kept until it is answered.
    fn take_guard(&mut self) -> Option<Box<dyn std::any::Any>> {
        None
    }
}

/// The end of a connection to which messages for the client are written.
pub trait MessageWriter {
    /// Sends all of it, in order. An error when the client takes nothing for too long, or the connection fails: nothing
    /// more can be sent then.
    fn send(&mut self, said: Vec<OutboundMessage>) -> LocalBoxFuture<'_, io::Result<()>>;

    /// Closes the connection in good order.
    fn close(&mut self) -> LocalBoxFuture<'_, ()>;
}
