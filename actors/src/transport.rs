//! The way to the peers, as a trait: a transport is an implementation, not a rewrite. Safety needs nothing from it:
//! messages may be lost, late, repeated or out of turn.

use std::future::{Future, pending};
use std::pin::Pin;

use actix::{MailboxError, Message, Recipient};
use callboard_protocol::commit::BatchId;
use callboard_protocol::lease::Announcement;
use callboard_protocol::member::{Ack, NodeId};
use callboard_protocol::receiver::{Ack2, NotifyCommitEvent, NotifyEvent};

use crate::subscription::Subscription;

/// What nodes say to each other about publishes.
#[derive(Debug, Clone)]
pub enum PeerMessage {
    /// A batch is about to be committed: mark its keys.
    Notify(NotifyEvent),
    /// Ack 1: the keys of the batch are marked.
    Ack {
        /// Which batch.
        batch: BatchId,
        /// By whom, in which life, under which number.
        ack: Ack,
    },
    /// The batch could not be marked.
    Nack {
        /// Which batch.
        batch: BatchId,
        /// Why.
        reason: String,
    },
    /// The batch is committed.
    Commit(NotifyCommitEvent),
    /// The batch can never commit.
    Abort(BatchId),
    /// Ack 2: the commit event has arrived.
    Ack2(Ack2),
    /// Where the sender has its lease.
    Announcement(Announcement),
}

/// A peer said something.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct FromPeer(pub PeerMessage);

/// Carries messages to other nodes.
pub trait Transport {
    /// Sends to one peer, which is not the local node. May lose the message.
    fn send(&self, to: &NodeId, message: PeerMessage);
    /// Sends the same to several peers, none of which is the local node. May lose any of the messages.
    fn send_each(&self, to: &[NodeId], message: PeerMessage) {
        to.iter().for_each(|node| self.send(node, message.clone()));
    }
    /// Sends to every peer. May lose the message.
    fn broadcast(&self, message: PeerMessage);
    /// Has `listener` told what peers say, until the transport forgets it.
    fn listen(&self, listener: Recipient<FromPeer>) -> Subscribing;
}

/// A subscription under way.
pub type Subscribing = Pin<Box<dyn Future<Output = Result<Subscription, MailboxError>>>>;

/// The transport of a node that is alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPeers;

impl Transport for NoPeers {
    fn send(&self, to: &NodeId, _message: PeerMessage) {
        tracing::debug!(peer.id = %to, "no way to this peer");
    }

    fn broadcast(&self, _message: PeerMessage) {}

    fn listen(&self, _listener: Recipient<FromPeer>) -> Subscribing {
        Box::pin(pending())
    }
}
