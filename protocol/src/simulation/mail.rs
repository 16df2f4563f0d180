//! What the actors of one process are sent. Each mailbox keeps its order; nothing is promised between two of them.

use super::database::{Answer, OpId};
use super::node::Machine;
use crate::cache::CommittedKey;
use crate::commit::{BatchId, ChangeRow};
use crate::config::Version;
use crate::feed;
use crate::in_doubt;
use crate::key::ConfigKey;
use crate::lease;
use crate::member::{Ack, Incarnation, NodeRow, ReadLease, Timeline};
use crate::publish;
use crate::receiver::{self, MarkNo, NotifyCommitEvent, NotifyEvent};
use crate::time::Mono;
use crate::write_request::RequestId;

/// From node to node.
#[derive(Debug, Clone)]
pub(super) enum Message {
    Notify(NotifyEvent),
    Ack(BatchId, Ack),
    Nack(BatchId),
    Commit(NotifyCommitEvent),
    Abort(BatchId),
}

/// To the keeper of the cache.
#[derive(Debug)]
pub(super) enum ToCache {
    /// With a number, the receiver hears that it is done.
    Mark(BatchId, Vec<ConfigKey>, Option<MarkNo>),
    Commit(BatchId, Vec<CommittedKey>),
    Abort(BatchId, Vec<ConfigKey>),
    ReadLease(ReadLease, Timeline, Version),
    Extend(ReadLease),
    EndEarlier(Timeline),
    Flush,
    Note(Vec<(ConfigKey, Version)>),
}

/// To ClusterNotify.
#[derive(Debug)]
pub(super) enum ToNotify {
    Notify(BatchId, Vec<(ConfigKey, RequestId)>, Vec<NodeRow>),
    Commit(BatchId, Timeline, Vec<ChangeRow>, Version),
    Abort(BatchId),
    FindOutcome(BatchId, Vec<RequestId>, Option<Ack>),
    Peer(Message),
    Membership(Option<Incarnation>, Timeline),
    Event(receiver::Event),
}

/// Mail of a process.
#[derive(Debug)]
pub(super) enum Mail {
    Lease(lease::Event),
    Publisher(publish::Event),
    Notify(ToNotify),
    Cache(ToCache),
    Feed(feed::Event),
    /// The database has answered.
    Answer(OpId, Answer),
    /// The client has waited long enough.
    GiveUp(OpId),
    /// A pause before a piece of work is tried again is over.
    Retry(super::work::Task),
    /// Something happens to a question about a commit in doubt.
    InDoubt(u64, in_doubt::Event),
    /// Somebody reads.
    Read(usize),
    /// A read has waited for the end of a mark.
    ReadOn(usize),
    /// A timer of a machine.
    Timer(Machine, Mono),
    /// Only a broken rule sets it.
    FlagDown,
}

impl Mail {
    /// The actor that gets it, when it goes through a mailbox.
    pub(super) fn mailbox(&self) -> Option<usize> {
        match self {
            Self::Lease(_) => Some(0),
            Self::Publisher(_) => Some(1),
            Self::Notify(_) => Some(2),
            Self::Cache(_) => Some(3),
            Self::Feed(_) => Some(4),
            Self::Answer(..)
            | Self::GiveUp(_)
            | Self::Retry(_)
            | Self::InDoubt(..)
            | Self::Read(_)
            | Self::ReadOn(_)
            | Self::Timer(..)
            | Self::FlagDown => None,
        }
    }
}
