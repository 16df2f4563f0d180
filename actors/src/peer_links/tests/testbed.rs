//! Links without sockets, on paused time: the test is the one who dials, and the peer at the other end.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use actix::{Actor, Addr, Handler, Message, Recipient};
use bytes::Bytes;
use callboard_protocol::commit::BatchId;
use callboard_protocol::member::NodeId;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::super::wire::Frame;
use super::super::{
    Call, Closed, DialFailed, Dialer, Direction, Link, LinkQueueReader, LinkTransport, Opened, PeerLinks, ReachChanged,
    Received, SetPeers, SubscribeReach, pipe,
};
use crate::metrics::PeerMetrics;
use crate::runtime::{Registry, Spec, start};
use crate::transport::PeerMessage;

/// Long enough for anything that is to come.
pub(super) const SOON: Duration = Duration::from_secs(30);

pub(super) fn node(id: &str) -> NodeId {
    NodeId(id.into())
}

pub(super) fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

pub(super) fn abort(number: u128) -> PeerMessage {
    PeerMessage::Abort(BatchId(Uuid::from_u128(number)))
}

/// The number of an [`abort`].
pub(super) fn number(frame: &Frame) -> Option<u128> {
    match frame {
        Frame::Message(PeerMessage::Abort(batch)) => Some(batch.0.as_u128()),
        _ => None,
    }
}

/// Passes on what it is told.
pub(super) struct MessageReader<M>(pub(super) mpsc::UnboundedSender<M>);

impl<M: Unpin + 'static> Actor for MessageReader<M> {
    type Context = actix::Context<Self>;
}

impl<M: Message<Result = ()> + Unpin + 'static> Handler<M> for MessageReader<M> {
    type Result = ();

    fn handle(&mut self, message: M, _: &mut Self::Context) {
        drop(self.0.send(message));
    }
}

pub(super) fn inbox<M>() -> (Recipient<M>, mpsc::UnboundedReceiver<M>)
where
    M: Message<Result = ()> + Send + Unpin + 'static,
{
    let (sender, heard) = mpsc::unbounded_channel();
    (MessageReader(sender).start().recipient(), heard)
}

#[derive(Clone)]
struct FakeDialer(mpsc::UnboundedSender<Call>);

impl Dialer for FakeDialer {
    fn dial(&self, call: Call) {
        drop(self.0.send(call));
    }
}

pub(super) struct Testbed {
    pub(super) links: Addr<PeerLinks>,
    pub(super) transport: LinkTransport,
    pub(super) metrics: PeerMetrics,
    calls: mpsc::UnboundedReceiver<Call>,
    _registry: Registry,
}

/// An open link, as whoever owns the socket sees it.
pub(super) struct Wire {
    pub(super) link: Link,
    pub(super) end: LinkQueueReader,
    links: Addr<PeerLinks>,
    version: u16,
}

impl Testbed {
    /// The links of node `me`, on paused time.
    pub(super) fn start() -> Self {
        tokio::time::pause();
        let (registry, metrics) = (Registry::new(), PeerMetrics::default());
        let (sender, calls) = mpsc::unbounded_channel();
        let (dialer, counts) = (FakeDialer(sender), metrics.clone());
        let links = start(&Spec::new(&registry, "peer_links").capacity(4_096), move |_| {
            PeerLinks::new(node("me"), Box::new(dialer.clone()), counts.clone())
        });
        let transport = LinkTransport::new(links.clone(), metrics.clone());
        Self { links, transport, metrics, calls, _registry: registry }
    }

    pub(super) fn set_peers(&self, peers: &[(&str, u16)]) {
        let peers: BTreeMap<_, _> = peers.iter().map(|(id, port)| (node(id), address(*port))).collect();
        self.links.do_send(SetPeers(peers));
    }

    pub(super) async fn next_call(&mut self) -> Call {
        tokio::time::timeout(SOON, self.calls.recv()).await.expect("nobody is dialed").unwrap()
    }

    /// True when nobody is dialed for a while.
    pub(super) async fn is_quiet(&mut self, long: Duration) -> bool {
        tokio::time::timeout(long, self.calls.recv()).await.is_err()
    }

    pub(super) fn fail(&self, call: &Call) {
        self.links.do_send(DialFailed { link: call.link.clone(), reason: "a test".to_owned() });
    }

    pub(super) fn open(&self, link: Link, version: u16) -> Wire {
        let (into, end) = pipe();
        let software = "0.0.0".to_owned();
        self.links.do_send(Opened { link: link.clone(), version, software, pipe: into });
        Wire { link, end, links: self.links.clone(), version }
    }

    /// Links with one peer, which listens at port 1.
    pub(super) async fn linked(&mut self, id: &str, version: u16) -> Wire {
        self.set_peers(&[(id, 1)]);
        let call = self.next_call().await;
        self.open(call.link, version)
    }

    pub(super) fn accept(&self, id: &str) -> Wire {
        self.open(Link::new(node(id), Direction::Accepted), 2)
    }

    pub(super) async fn reach(&self) -> mpsc::UnboundedReceiver<ReachChanged> {
        let (recipient, heard) = inbox();
        // The subscription is held by the actor; its loss is looked at by another test.
        drop(self.links.send(SubscribeReach(recipient)).await.unwrap());
        heard
    }
}

impl Wire {
    pub(super) async fn next_bytes(&mut self) -> Bytes {
        let queued = tokio::time::timeout(SOON, self.end.frames.recv()).await.expect("nothing is sent");
        queued.expect("the link is ended").frame
    }

    pub(super) async fn next(&mut self) -> Frame {
        let bytes = self.next_bytes().await;
        Frame::decode(&bytes, self.version).unwrap()
    }

    /// The next frame that is no ping; pings are answered.
    pub(super) async fn next_word(&mut self) -> Frame {
        loop {
            match self.next().await {
                Frame::Ping(number) => self.send(&Frame::Pong(number)).await,
                frame => return frame,
            }
        }
    }

    pub(super) async fn send(&self, frame: &Frame) {
        self.say_bytes(frame.encode(self.version).unwrap()).await;
    }

    pub(super) async fn say_bytes(&self, bytes: Bytes) {
        self.links.send(Received { link: self.link.clone(), frames: vec![bytes] }).await.unwrap();
    }

    pub(super) fn close(&self) {
        self.links.do_send(Closed { link: self.link.clone(), reason: "a test".to_owned() });
    }

    /// Waits until the actor has ended the link.
    pub(super) async fn ended(self) {
        tokio::time::timeout(SOON, self.end.open.lost()).await.expect("the link is not ended");
    }
}
