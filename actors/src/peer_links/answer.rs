//! What is heard on the links, and answered there: pings by pongs, queries by whoever subscribed to them; messages
//! about publishes are passed on. Understands frames; decides nothing about them.

use std::time::Duration;

use actix::fut::wrap_future;
use actix::{ActorFutureExt, AsyncContext, Handler};
use bytes::Bytes;
use callboard_protocol::time::Mono;
use tokio::sync::oneshot;

use super::peer::Outlet;
use super::wire::Frame;
use super::{Direction, Link, Opened, PeerAsked, PeerLinks, PeerQuery, PeerReply, Received};
use crate::metrics::PeerMetrics;
use crate::runtime::Context;
use crate::transport::{FromPeer, PeerMessage};

/// How long an answer to a peer's query may take.
const ANSWER: Duration = Duration::from_secs(10);
/// Queries of one peer that wait for their answer.
const MAX_ANSWERING: usize = 64;

/// A link that a peer dialed.
pub(super) struct Accepted {
    pub(super) link: Link,
    /// When the peer last said something on it.
    pub(super) heard: Mono,
    version: u16,
    outlet: Outlet,
    /// Queries that wait for their answer.
    answering: usize,
    /// Something was heard that is no frame; logged once.
    is_garbled: bool,
}

impl Accepted {
    pub(super) fn new(Opened { link, version, pipe, .. }: Opened, now: Mono, metrics: PeerMetrics) -> Self {
        let outlet = Outlet::new(pipe, metrics);
        Self { link, heard: now, version, outlet, answering: 0, is_garbled: false }
    }
}

impl PeerLinks {
    /// What a peer says on the link that it dialed.
    fn heard(&mut self, link: &Link, frames: &[Bytes], context: &mut Context<Self>) {
        let now = self.now();
        let Some(accepted) = self.accepted.get_mut(&link.peer).filter(|accepted| accepted.link == *link) else {
            return;
        };
        accepted.heard = now;
        if let Some(peer) = self.peers.get_mut(&link.peer) {
            peer.heard = Some(now);
        }
        if !self.reachable.contains(&link.peer) {
            self.tell_reach();
        }
        for frame in frames {
            let Some(accepted) = self.accepted.get_mut(&link.peer) else { return };
            match Frame::decode(frame, accepted.version) {
                Ok(Frame::Ping(number)) => {
                    accepted.outlet.push_frame(&Frame::Pong(number), accepted.version);
                }
                Ok(Frame::Message(message)) => self.pass_on(message),
                Ok(Frame::Request { id, query }) => self.answer(link, id, query, context),
                Ok(Frame::Pong(_) | Frame::Reply { .. }) => {
                    tracing::debug!(peer.id = %link.peer, "a peer answered what was not asked on this link");
                }
                Err(error) => {
                    // One frame is lost and repaired as any other; the next one begins where it should.
                    self.metrics.garbled.inc();
                    if !std::mem::replace(&mut accepted.is_garbled, true) {
                        tracing::warn!(peer.id = %link.peer, %error, "a peer said what can't be understood");
                    }
                }
            }
        }
    }

    fn pass_on(&self, message: PeerMessage) {
        let passed = self.subscribers.messages.as_ref().map(|(recipient, _)| recipient.try_send(FromPeer(message)));
        if !matches!(passed, Some(Ok(()))) {
            // Loss is repaired by the publish protocol: notifications are repeated, commits are looked for.
            self.metrics.dropped.inc();
        }
    }

    fn answer(&mut self, link: &Link, id: u64, query: PeerQuery, context: &mut Context<Self>) {
        let Some(accepted) = self.accepted.get_mut(&link.peer) else { return };
        let (reply, answer) = oneshot::channel();
        let asked = PeerAsked { from: link.peer.clone(), query, reply };
        let has_room = accepted.answering < MAX_ANSWERING;
        let answerer = self.subscribers.queries.as_ref().filter(|_| has_room);
        if answerer.is_none_or(|(recipient, _)| recipient.try_send(asked).is_err()) {
            accepted.outlet.push_frame(&Frame::Reply { id, reply: None }, accepted.version);
            return;
        }
        accepted.answering += 1;
        let link = link.clone();
        let waiting = wrap_future(tokio::time::timeout(ANSWER, answer));
        context.spawn(waiting.map(move |answer, links: &mut Self, _| {
            let reply: Option<PeerReply> = answer.ok().and_then(Result::ok);
            let still = links.accepted.get_mut(&link.peer).filter(|accepted| accepted.link == link);
            if let Some(accepted) = still {
                accepted.answering -= 1;
                accepted.outlet.push_frame(&Frame::Reply { id, reply }, accepted.version);
            }
        }));
    }

    /// What a peer answers on the link that this node dialed.
    fn answered(&mut self, link: &Link, frames: &[Bytes]) {
        let Some(peer) = self.peers.get_mut(&link.peer) else { return };
        for frame in frames {
            let Some(dialed) = peer.dialed(link) else { return };
            match Frame::decode(frame, dialed.version) {
                Ok(Frame::Pong(number)) => {
                    if dialed.pulse.pong(number) {
                        peer.backoff.reset();
                    }
                }
                Ok(Frame::Reply { id, reply }) => dialed.answered(id, reply),
                Ok(Frame::Ping(_) | Frame::Message(_) | Frame::Request { .. }) => {
                    tracing::debug!(peer.id = %link.peer, "a peer said something on a link where it only answers");
                }
                Err(error) => {
                    self.metrics.garbled.inc();
                    tracing::debug!(peer.id = %link.peer, %error, "a peer answered what can't be understood");
                }
            }
        }
    }
}

impl Handler<Received> for PeerLinks {
    type Result = ();

    fn handle(&mut self, Received { link, frames }: Received, context: &mut Context<Self>) {
        self.metrics.frames_in.inc_by(frames.len() as u64);
        self.metrics.bytes_in.inc_by(frames.iter().map(|frame| frame.len() as u64).sum());
        match link.direction {
            Direction::Dialed => self.answered(&link, &frames),
            Direction::Accepted => self.heard(&link, &frames, context),
        }
    }
}
