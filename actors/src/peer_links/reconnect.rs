//! The life of the links: dialed, opened, kept alive, lost, dialed again. When and why is decided by
//! `callboard_protocol::link`; what is said on them stands elsewhere.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use actix::{AsyncContext, Handler};
use callboard_protocol::link::{Backlog, SILENCE, SPEAKS, is_heard};
use callboard_protocol::member::NodeId;

use super::answer::Accepted;
use super::peer::{Dialed, Next, OutgoingMessage, Outlet, Peer, State};
use super::{Call, Closed, DialFailed, Direction, Link, Opened, PeerLinks, ReachChanged, SetPeers, TICK, Tick};
use crate::runtime::Context;

/// A dial that told nothing for so long counts as failed.
const LOST_DIAL: Duration = Duration::from_secs(10);
/// Most peers that may have a link to this node.
const MAX_ACCEPTED: usize = 256;

impl PeerLinks {
    /// Begins to dial a peer.
    fn call(&self, peer: &NodeId, address: SocketAddr, context: &mut Context<Self>) -> Next {
        let link = Link::new(peer.clone(), Direction::Dialed);
        self.dialer.dial(Call { link: link.clone(), address, links: context.address() });
        Next::Open { link, since: self.now() }
    }

    /// Dials at once a peer that waits for the end of a pause.
    fn hurry(&mut self, node: &NodeId, context: &mut Context<Self>) {
        let Some(Peer { address, state: State::Down { next: Next::Dial(_), .. }, .. }) = self.peers.get(node) else {
            return;
        };
        let next = self.call(node, *address, context);
        if let Some(Peer { state: State::Down { next: waiting, .. }, .. }) = self.peers.get_mut(node)
            && let Next::Dial(timer) = std::mem::replace(waiting, next)
        {
            context.cancel_future(timer);
        }
    }

    /// Drops the link to a peer, if there is one, and dials again after a pause.
    fn retry(&mut self, node: &NodeId, context: &mut Context<Self>) {
        let Some(peer) = self.peers.get_mut(node) else { return };
        let pause = peer.backoff.pause(rand::random());
        let redialed = node.clone();
        let timer = context.run_later(pause, move |links, context| links.hurry(&redialed, context));
        match &mut peer.state {
            State::Down { next, .. } => *next = Next::Dial(timer),
            State::Linked(_) => {
                peer.state = State::Down { backlog: Backlog::default(), next: Next::Dial(timer) };
                self.metrics.linked.dec();
            }
        }
        self.tell_reach();
    }

    fn lose(&mut self, node: &NodeId, reason: &str, context: &mut Context<Self>) {
        tracing::info!(peer.id = %node, reason, "the link to a peer is lost");
        self.retry(node, context);
    }

    fn dial_failed(&mut self, node: &NodeId, reason: &str, context: &mut Context<Self>) {
        let Some(peer) = self.peers.get_mut(node) else { return };
        if peer.failure == reason {
            tracing::debug!(peer.id = %node, peer.address = %peer.address, reason, "still no link to a peer");
        } else {
            tracing::warn!(peer.id = %node, peer.address = %peer.address, reason, "no link to a peer");
            reason.clone_into(&mut peer.failure);
        }
        self.retry(node, context);
    }

    fn dialed(&mut self, Opened { link, version, software, pipe }: Opened) {
        let (now, outlet) = (self.now(), Outlet::new(pipe, self.metrics.clone()));
        let Some(peer) = self.peers.get_mut(&link.peer).filter(|peer| peer.awaits(&link)) else {
            tracing::debug!(peer.id = %link.peer, "a link is open that is not wanted any more");
            return;
        };
        tracing::info!(peer.id = %link.peer, peer.version = version, peer.software = software, "linked to a peer");
        self.metrics.linked.inc();
        if std::mem::replace(&mut peer.was_linked, true) {
            self.metrics.reconnects.inc();
        }
        peer.failure.clear();
        let mut dialed = Dialed::new(link, version, software, outlet);
        // The peer is to hear of this node at once, and a first answer proves the link.
        dialed.beat(now);
        if let State::Down { mut backlog, .. } = std::mem::replace(&mut peer.state, State::Linked(dialed)) {
            let (messages, dropped) = backlog.take(now);
            self.metrics.dropped.inc_by(dropped);
            messages.into_iter().for_each(|message| peer.send(&mut OutgoingMessage::new(message), now, &self.metrics));
        }
        self.tell_reach();
    }

    fn accepted(&mut self, opened: Opened, context: &mut Context<Self>) {
        let node = opened.link.peer.clone();
        if self.accepted.len() >= MAX_ACCEPTED && !self.accepted.contains_key(&node) {
            tracing::warn!(peer.id = %node, "a peer was turned away: {MAX_ACCEPTED} others have a link to this node");
            return;
        }
        let now = self.now();
        if self.accepted.get(&node).is_some_and(|older| now.since(older.heard) <= SPEAKS) {
            // A second process under the id of the peer, which must not take its place; or the peer, which dials again.
            tracing::info!(peer.id = %node, "a second link of a peer was turned away: the first one lives");
            return;
        }
        tracing::info!(peer.id = %node, peer.version = opened.version, peer.software = opened.software, "a peer has linked");
        // An older link of the same peer ends here: it has dialed anew because it gave that one up.
        self.accepted.insert(node.clone(), Accepted::new(opened, now, self.metrics.clone()));
        // A peer that dials can be dialed.
        self.hurry(&node, context);
    }

    /// Tells the subscribers who can be reached, if that has changed.
    pub(super) fn tell_reach(&mut self) {
        let now = self.now();
        let is_reachable = |peer: &Peer| matches!(peer.state, State::Linked(_)) && is_heard(peer.heard, now);
        let nodes: BTreeSet<NodeId> =
            self.peers.iter().filter(|(_, peer)| is_reachable(peer)).map(|(node, _)| node.clone()).collect();
        if nodes == self.reachable {
            return;
        }
        tracing::debug!(reachable = nodes.len(), peers = self.peers.len(), "other peers can be reached than before");
        self.subscribers.reach.retain(|(recipient, _)| recipient.connected());
        for (recipient, _) in &self.subscribers.reach {
            // A subscriber that fails on it subscribes anew, and is told at once.
            recipient.do_send(ReachChanged { nodes: nodes.clone() });
        }
        self.reachable = nodes;
    }
}

impl Handler<SetPeers> for PeerLinks {
    type Result = ();

    fn handle(&mut self, SetPeers(mut wanted): SetPeers, context: &mut Context<Self>) {
        wanted.remove(&self.node);
        // Dropping the link ends it, and whoever waits for an answer on it is told.
        let gone = self.peers.extract_if(.., |node, peer| wanted.get(node) != Some(&peer.address));
        for (node, peer) in gone.collect::<Vec<_>>() {
            match peer.state {
                State::Linked(_) => {
                    self.metrics.linked.dec();
                }
                State::Down { next: Next::Dial(timer), .. } => {
                    context.cancel_future(timer);
                }
                State::Down { next: Next::Open { .. }, .. } => {}
            }
            tracing::debug!(peer.id = %node, peer.address = %peer.address, "no link to this address any more");
        }
        for (node, address) in wanted {
            if !self.peers.contains_key(&node) {
                let heard = self.accepted.get(&node).map(|accepted| accepted.heard);
                let next = self.call(&node, address, context);
                self.peers.insert(node, Peer::new(address, heard, next));
            }
        }
        self.tell_reach();
    }
}

impl Handler<Opened> for PeerLinks {
    type Result = ();

    fn handle(&mut self, opened: Opened, context: &mut Context<Self>) {
        match opened.link.direction {
            Direction::Dialed => self.dialed(opened),
            Direction::Accepted => self.accepted(opened, context),
        }
    }
}

impl Handler<DialFailed> for PeerLinks {
    type Result = ();

    fn handle(&mut self, DialFailed { link, reason }: DialFailed, context: &mut Context<Self>) {
        if self.peers.get(&link.peer).is_some_and(|peer| peer.awaits(&link)) {
            self.dial_failed(&link.peer, &reason, context);
        }
    }
}

impl Handler<Closed> for PeerLinks {
    type Result = ();

    fn handle(&mut self, Closed { link, reason }: Closed, context: &mut Context<Self>) {
        match link.direction {
            Direction::Dialed => {
                if self.peers.get_mut(&link.peer).is_some_and(|peer| peer.dialed(&link).is_some()) {
                    self.lose(&link.peer, &reason, context);
                }
            }
            Direction::Accepted => {
                if self.accepted.get(&link.peer).is_some_and(|accepted| accepted.link == link) {
                    self.accepted.remove(&link.peer);
                    tracing::info!(peer.id = %link.peer, reason, "a link of a peer has ended");
                }
            }
        }
    }
}

impl Handler<Tick> for PeerLinks {
    type Result = ();

    fn handle(&mut self, Tick: Tick, context: &mut Context<Self>) {
        context.notify_later(Tick, TICK);
        let now = self.now();
        let (mut dead, mut lost) = (Vec::new(), Vec::new());
        for (node, peer) in &mut self.peers {
            match &mut peer.state {
                State::Linked(dialed) => {
                    if !dialed.beat(now) {
                        dead.push(node.clone());
                    }
                }
                State::Down { next: Next::Open { since, .. }, .. } if now.since(*since) >= LOST_DIAL => {
                    lost.push(node.clone());
                }
                State::Down { .. } => {}
            }
        }
        dead.iter().for_each(|node| self.lose(node, "it did not answer a ping", context));
        lost.iter().for_each(|node| self.dial_failed(node, "the dial told nothing", context));
        for (node, _) in self.accepted.extract_if(.., |_, accepted| now.since(accepted.heard) >= SILENCE) {
            tracing::info!(peer.id = %node, "a link of a peer has ended: nothing was heard on it");
        }
        self.tell_reach();
    }
}
