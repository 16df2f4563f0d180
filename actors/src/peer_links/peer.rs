//! A peer to link with: the link to it, or what waits for one. Encodes a message once for all peers that speak the same
//! version. Never dials; says when that is due.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use actix::SpawnHandle;
use bytes::Bytes;
use callboard_protocol::link::{Backlog, Backoff, Beat, Pulse};
use callboard_protocol::time::Mono;
use tokio::sync::oneshot;

use super::link_queue::{Link, LinkQueue};
use super::wire::{self, Frame};
use super::{PeerQuery, PeerReply, QueryError, WireError};
use crate::metrics::PeerMetrics;
use crate::transport::PeerMessage;

/// Queries that wait for the answer of one peer.
const MAX_ASKED: usize = 256;

/// How a query of this node ended.
pub(super) type Answer = Result<PeerReply, QueryError>;

/// A peer to link with.
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    pub(super) state: State,
    pub(super) backoff: Backoff,
    /// When it last said something on a link that it dialed.
    pub(super) heard: Option<Mono>,
    /// Why the last dial failed; empty once one did not.
    pub(super) failure: String,
    pub(super) was_linked: bool,
}

/// Whether there is a link to it.
pub(super) enum State {
    Down { backlog: Backlog<Arc<PeerMessage>>, next: Next },
    Linked(Dialed),
}

/// What brings the link about.
pub(super) enum Next {
    /// The end of a pause.
    Dial(SpawnHandle),
    /// The end of a dial.
    Open { link: Link, since: Mono },
}

/// A link that this node dialed.
pub(super) struct Dialed {
    pub(super) link: Link,
    pub(super) version: u16,
    pub(super) software: String,
    pub(super) pulse: Pulse,
    outlet: Outlet,
    asked: BTreeMap<u64, oneshot::Sender<Answer>>,
    next_query: u64,
}

/// A pipe with its figures.
pub(super) struct Outlet {
    pipe: LinkQueue,
    metrics: PeerMetrics,
}

impl Outlet {
    pub(super) fn new(pipe: LinkQueue, metrics: PeerMetrics) -> Self {
        Self { pipe, metrics }
    }

    /// Queues a frame; false when it was dropped.
    pub(super) fn push(&self, frame: Bytes) -> bool {
        let bytes = frame.len() as u64;
        let is_queued = self.pipe.push(frame);
        if is_queued {
            self.metrics.frames_out.inc();
            self.metrics.bytes_out.inc_by(bytes);
        } else {
            self.metrics.dropped.inc();
        }
        is_queued
    }

    /// Encodes and queues a frame; false when it was dropped.
    pub(super) fn push_frame(&self, frame: &Frame, version: u16) -> bool {
        match frame.encode(version) {
            Ok(bytes) => self.push(bytes),
            Err(error) => {
                self.metrics.dropped.inc();
                tracing::warn!(%error, "a frame can't be written");
                false
            }
        }
    }

    /// Frames and bytes that wait.
    pub(super) fn waiting(&self) -> (usize, usize) {
        (self.pipe.queued(), self.pipe.bytes())
    }
}

/// A message on its way to one or several peers.
pub(super) struct OutgoingMessage {
    message: Arc<PeerMessage>,
    encoded: Vec<(u16, Option<Bytes>)>,
}

impl OutgoingMessage {
    pub(super) fn new(message: Arc<PeerMessage>) -> Self {
        Self { message, encoded: Vec::new() }
    }

    /// The bytes in this version; `None` when it can't be written, which is logged once.
    fn bytes(&mut self, version: u16) -> Option<Bytes> {
        if let Some((_, bytes)) = self.encoded.iter().find(|(known, _)| *known == version) {
            return bytes.clone();
        }
        let bytes = wire::encode_message(&self.message, version)
            .inspect_err(|error| match error {
                // Older nodes are not told.
                WireError::NotInVersion(_) => tracing::debug!(%error, "a message is not for this peer"),
                error => tracing::warn!(%error, "a message to peers can't be written"),
            })
            .ok();
        self.encoded.push((version, bytes.clone()));
        bytes
    }
}

impl Peer {
    /// A peer that is being dialed for the first time.
    pub(super) fn new(address: SocketAddr, heard: Option<Mono>, next: Next) -> Self {
        Self {
            address,
            state: State::Down { backlog: Backlog::default(), next },
            backoff: Backoff::default(),
            heard,
            failure: String::new(),
            was_linked: false,
        }
    }

    /// Sends it on the link, or keeps it for one.
    pub(super) fn send(&mut self, outgoing: &mut OutgoingMessage, now: Mono, metrics: &PeerMetrics) {
        match &mut self.state {
            State::Linked(dialed) => match outgoing.bytes(dialed.version) {
                // What is dropped is counted, and repaired by the publish protocol.
                Some(bytes) => {
                    dialed.outlet.push(bytes);
                }
                None => {
                    metrics.dropped.inc();
                }
            },
            State::Down { backlog, .. } => {
                let dropped = backlog.push(now, weight(&outgoing.message), Arc::clone(&outgoing.message));
                metrics.dropped.inc_by(dropped);
            }
        }
    }

    /// The link, when it is this one.
    pub(super) fn dialed(&mut self, link: &Link) -> Option<&mut Dialed> {
        match &mut self.state {
            State::Linked(dialed) if dialed.link == *link => Some(dialed),
            State::Linked(_) | State::Down { .. } => None,
        }
    }

    /// True when this dial is the one under way.
    pub(super) fn awaits(&self, link: &Link) -> bool {
        matches!(&self.state, State::Down { next: Next::Open { link: awaited, .. }, .. } if awaited == link)
    }
}

impl Dialed {
    pub(super) fn new(link: Link, version: u16, software: String, outlet: Outlet) -> Self {
        Self { link, version, software, pulse: Pulse::default(), outlet, asked: BTreeMap::new(), next_query: 0 }
    }

    /// Pings if that is due. False when the link is dead.
    pub(super) fn beat(&mut self, now: Mono) -> bool {
        match self.pulse.beat(now) {
            Beat::Rest => true,
            Beat::Ping(number) => {
                // A ping without room is one without an answer: the link is dropped, and what clogs it.
                self.outlet.push_frame(&Frame::Ping(number), self.version);
                true
            }
            Beat::Dead => false,
        }
    }

    /// Asks the peer: the number of the query and its answer to come.
    pub(super) fn ask(&mut self, query: PeerQuery) -> Result<(u64, oneshot::Receiver<Answer>), QueryError> {
        if self.asked.len() >= MAX_ASKED {
            return Err(QueryError::Busy);
        }
        let id = self.next_query;
        let frame = match (Frame::Request { id, query }).encode(self.version) {
            Ok(frame) => frame,
            Err(error) => {
                tracing::debug!(peer.id = %self.link.peer, %error, "a query can't be sent");
                return Err(QueryError::Unsupported);
            }
        };
        if !self.outlet.push(frame) {
            return Err(QueryError::Busy);
        }
        self.next_query = id.wrapping_add(1);
        let (sender, receiver) = oneshot::channel();
        self.asked.insert(id, sender);
        Ok((id, receiver))
    }

    /// Forgets a query whose time is over.
    pub(super) fn forget(&mut self, id: u64) {
        self.asked.remove(&id);
    }

    /// The peer answered; `None` says that it has no answer.
    pub(super) fn answered(&mut self, id: u64, reply: Option<PeerReply>) {
        let Some(asker) = self.asked.remove(&id) else { return };
        // An asker that is gone needs no answer.
        drop(asker.send(reply.ok_or(QueryError::Unsupported)));
    }

    /// Frames and bytes that wait.
    pub(super) fn waiting(&self) -> (usize, usize) {
        self.outlet.waiting()
    }
}

/// About how many bytes a message takes in memory.
fn weight(message: &PeerMessage) -> usize {
    const FIXED: usize = 256;
    FIXED
        + match message {
            PeerMessage::Notify(event) => {
                event.items.iter().map(|(key, id)| key.weight() + id.as_str().len() + 64).sum()
            }
            PeerMessage::Commit(event) => {
                let state = |state: &callboard_protocol::config::SharedState| state.weight();
                event.changes.iter().map(|change| 128 + change.state.as_ref().map_or(0, state)).sum()
            }
            PeerMessage::Nack { reason, .. } => reason.len(),
            PeerMessage::Ack { .. } | PeerMessage::Abort(_) | PeerMessage::Ack2(_) | PeerMessage::Announcement(_) => 0,
        }
}
