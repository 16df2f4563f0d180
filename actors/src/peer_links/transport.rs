//! The transport over peer links: hands over what is to be said and never waits.

use actix::prelude::SendError;
use actix::{Addr, Recipient};
use callboard_protocol::member::NodeId;

use super::message::{Audience, SendMessage};
use super::{PeerLinks, SubscribeMessages};
use crate::metrics::PeerMetrics;
use crate::transport::{FromPeer, PeerMessage, Subscribing, Transport};

/// Carries messages over [`PeerLinks`].
#[derive(Debug, Clone)]
pub struct LinkTransport {
    links: Addr<PeerLinks>,
    metrics: PeerMetrics,
}

impl LinkTransport {
    /// A transport over these links.
    #[must_use]
    pub fn new(links: Addr<PeerLinks>, metrics: PeerMetrics) -> Self {
        Self { links, metrics }
    }

    fn enqueue(&self, to: Audience, message: PeerMessage) {
        match self.links.try_send(SendMessage { to, message }) {
            Ok(()) => {}
            // Loss is repaired by the publish protocol: notifications are repeated, commits are looked for.
            Err(SendError::Full(_)) => {
                self.metrics.dropped.inc();
            }
            Err(SendError::Closed(_)) => tracing::debug!("the node stops: nothing more is said to peers"),
        }
    }
}

impl Transport for LinkTransport {
    fn send(&self, to: &NodeId, message: PeerMessage) {
        self.enqueue(Audience::One(to.clone()), message);
    }

    fn send_each(&self, to: &[NodeId], message: PeerMessage) {
        match to {
            [] => {}
            [one] => self.send(one, message),
            several => self.enqueue(Audience::Several(several.to_vec()), message),
        }
    }

    fn broadcast(&self, message: PeerMessage) {
        self.enqueue(Audience::Everybody, message);
    }

    fn listen(&self, listener: Recipient<FromPeer>) -> Subscribing {
        Box::pin(self.links.send(SubscribeMessages(listener)))
    }
}
