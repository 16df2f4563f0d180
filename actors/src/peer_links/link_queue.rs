//! The seam between the links and whoever owns sockets: how a link is dialed, what it tells, and the bounded queue into
//! it. Owns the bound; opens nothing and knows nothing of what the frames say.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use actix::{Addr, Message};
use bytes::Bytes;
use callboard_protocol::member::NodeId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use uuid::Uuid;

use super::PeerLinks;
use super::wire::MAX_FRAME;
use crate::subscription::{Subscription, SubscriptionGuard, subscription};

/// Frames that wait for one link at most, those that are being written included.
pub(super) const MAX_FRAMES: usize = 1_024;
/// Bytes that they take together at most: the longest frame fits.
pub(super) const MAX_BYTES: usize = MAX_FRAME;

/// Opens connections to peers. Implemented where sockets are.
pub trait Dialer {
    /// Begins to dial, without waiting. How it ends is told to `call.links`, by [`Opened`] or [`DialFailed`].
    fn dial(&self, call: Call);
}

/// A link to be opened.
#[derive(Debug, Clone)]
pub struct Call {
    /// The link, when there is one.
    pub link: Link,
    /// Where the peer listens.
    pub address: SocketAddr,
    /// Who is told.
    pub links: Addr<PeerLinks>,
}

/// Names one connection, that is or that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The peer at its other end.
    pub peer: NodeId,
    /// Who dialed.
    pub direction: Direction,
    id: Uuid,
}

/// Who dialed. A dialed link carries what this node says, an accepted one what the peer says; answers go back on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// This node did.
    Dialed,
    /// The peer did.
    Accepted,
}

impl Link {
    /// A link that no other is mistaken for.
    #[must_use]
    pub fn new(peer: NodeId, direction: Direction) -> Self {
        Self { peer, direction, id: Uuid::new_v4() }
    }
}

/// A link is open: the peer is authenticated, and both agreed on a version.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Opened {
    /// The link.
    pub link: Link,
    /// The version that is spoken on it.
    pub version: u16,
    /// The version of the peer's program, for people.
    pub software: String,
    /// The way into it. Its drop ends the link.
    pub pipe: LinkQueue,
}

/// A link that was to be dialed is not open.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct DialFailed {
    /// The link.
    pub link: Link,
    /// Why, for people.
    pub reason: String,
}

/// Frames have arrived, in order. Whoever sends this waits until it is handled before it reads on.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Received {
    /// On which link.
    pub link: Link,
    /// Whole frames.
    pub frames: Vec<Bytes>,
}

/// A link has ended by itself.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Closed {
    /// Which.
    pub link: Link,
    /// Why, for people.
    pub reason: String,
}

/// The way into a link. Dropped, it ends the link.
pub struct LinkQueue {
    frames: mpsc::Sender<Queued>,
    room: Arc<Semaphore>,
    _open: SubscriptionGuard,
}

impl fmt::Debug for LinkQueue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Pipe").field("frames", &self.queued()).field("bytes", &self.bytes()).finish()
    }
}

/// The other end of a [`LinkQueue`], for whoever owns the socket.
#[derive(Debug)]
pub struct LinkQueueReader {
    /// What is to be written.
    pub frames: mpsc::Receiver<Queued>,
    /// Is lost when the link is to end.
    pub open: Subscription,
}

/// A frame that waits to be written. It counts against the bound until it is dropped.
#[derive(Debug)]
pub struct Queued {
    /// The frame.
    pub frame: Bytes,
    _room: OwnedSemaphorePermit,
}

/// Makes the two ends of a bounded queue into a link.
#[must_use]
pub fn pipe() -> (LinkQueue, LinkQueueReader) {
    let (sender, frames) = mpsc::channel(MAX_FRAMES);
    let (holder, open) = subscription();
    (
        LinkQueue { frames: sender, room: Arc::new(Semaphore::new(MAX_BYTES)), _open: holder },
        LinkQueueReader { frames, open },
    )
}

impl LinkQueue {
    /// Queues a frame. False when there is no room; the frame is lost then.
    pub(super) fn push(&self, frame: Bytes) -> bool {
        let Ok(bytes) = u32::try_from(frame.len()) else { return false };
        let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(bytes) else { return false };
        self.frames.try_send(Queued { frame, _room: room }).is_ok()
    }

    /// Frames that wait.
    pub(super) fn queued(&self) -> usize {
        self.frames.max_capacity() - self.frames.capacity()
    }

    /// Bytes that wait or are being written.
    pub(super) fn bytes(&self) -> usize {
        MAX_BYTES - self.room.available_permits()
    }
}
