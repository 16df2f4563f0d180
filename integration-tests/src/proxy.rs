//! A network between the processes of a cluster that can be cut: a proxy in front of every node's peer address, for TCP
//! and UDP, and one in front of the database for each node. Needs no privileges: all of 127.0.0.0/8 is loopback on
//! Linux. Owns the addresses of one run and every forwarder; knows nothing of what passes.
//!
//! In run `r` node `i` binds 127.0.r.i and advertises 127.0.r.(100+i), where the proxy listens with the same port; its
//! database is 127.0.r.(200+i). Who opens a connection or sends a datagram is told by its source address.

mod datagrams;
mod stream;
mod wires;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

use self::datagrams::Sockets;
pub use self::wires::Wire;
use self::wires::Wires;
use crate::database_server::free_port;

/// Most nodes of one network.
pub const MOST_NODES: u8 = 50;
/// What is added to a node's last byte for the address it advertises, and for its database.
const PUBLIC: u8 = 100;
const DATABASE: u8 = 200;
/// Whoever holds this port of the run's last address holds the run.
const CLAIM: u16 = 19_999;

/// Addresses of one run, that no other process of the tests uses. Given back when dropped.
#[derive(Debug)]
pub struct Run {
    number: u8,
    port: u16,
    _claim: std::net::TcpListener,
}

impl Run {
    /// Claims free addresses.
    ///
    /// # Errors
    /// All are taken, or this system is not Linux.
    pub fn claim() -> anyhow::Result<Self> {
        let first = fastrand::u8(..);
        let candidates = (0..=u8::MAX).map(|step| first.wrapping_add(step)).filter(|number| *number > 0);
        let claim = |number| {
            let listener = std::net::TcpListener::bind((Ipv4Addr::new(127, 0, number, 254), CLAIM)).ok()?;
            Some((number, listener))
        };
        let claimed = candidates.into_iter().find_map(claim);
        let (number, claim) = claimed.context("no addresses of 127.0.0.0/8 are free")?;
        Ok(Self { number, port: free_port()?, _claim: claim })
    }

    fn address(&self, last: u8, port: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::new(127, 0, self.number, last), port))
    }

    /// Where a node listens for peers.
    #[must_use]
    pub fn peer(&self, node: u8) -> SocketAddr {
        self.address(node, self.port)
    }

    /// Where a node serves HTTP.
    #[must_use]
    pub fn http(&self, node: u8) -> SocketAddr {
        self.address(node, self.port + 1)
    }

    /// Where a node serves native sessions.
    #[must_use]
    pub fn session(&self, node: u8) -> SocketAddr {
        self.address(node, self.port + 2)
    }

    /// Where a node serves clients of Nacos over gRPC.
    #[must_use]
    pub fn grpc(&self, node: u8) -> SocketAddr {
        self.address(node, self.port + 3)
    }

    /// Where the proxy listens for a node's peers.
    #[must_use]
    pub fn public_peer(&self, node: u8) -> SocketAddr {
        self.address(PUBLIC + node, self.port)
    }

    /// Where the proxy listens for a node's way to the database.
    #[must_use]
    pub fn database(&self, node: u8) -> SocketAddr {
        self.address(DATABASE + node, self.port)
    }
}

/// The node that an address of a run belongs to.
fn number_of(address: IpAddr) -> Option<u8> {
    let IpAddr::V4(address) = address else { return None };
    let [_, _, _, last] = address.octets();
    (1..=MOST_NODES).contains(&last).then_some(last)
}

/// The proxies. Ends all of them, and every connection, when dropped.
#[derive(Debug)]
pub struct Network {
    wires: Wires,
    sockets: Sockets,
    database: SocketAddr,
    late: Duration,
    nodes: Vec<u8>,
    forwarders: JoinSet<()>,
}

impl Network {
    /// A network without nodes before the database server at `database`.
    #[must_use]
    pub fn new(database: SocketAddr) -> Self {
        Self::distant(database, Duration::ZERO)
    }

    /// The same, of places so far apart: an answer takes that long, from the database and between nodes. Timers tick in
    /// milliseconds, so it takes up to one more. Datagrams are not delayed.
    #[must_use]
    pub fn distant(database: SocketAddr, round_trip: Duration) -> Self {
        let sockets = Arc::new(RwLock::new(HashMap::new()));
        let (nodes, forwarders) = (Vec::new(), JoinSet::new());
        Self { wires: Wires::default(), sockets, database, late: round_trip, nodes, forwarders }
    }

    /// Puts the proxies in front of a node. They stay when it leaves, for the next one of its number.
    ///
    /// # Errors
    /// An address is taken.
    pub async fn add(&mut self, run: &Run, node: u8) -> anyhow::Result<()> {
        anyhow::ensure!((1..=MOST_NODES).contains(&node), "node {node} is out of range");
        if self.nodes.contains(&node) {
            return Ok(());
        }
        let (public, real) = (run.public_peer(node), run.peer(node));
        let links = TcpListener::bind(public).await.with_context(|| format!("listen on {public}"))?;
        let gossip = Arc::new(UdpSocket::bind(public).await.with_context(|| format!("bind {public}"))?);
        let database = run.database(node);
        let database = TcpListener::bind(database).await.with_context(|| format!("listen on {database}"))?;

        let peers = move |from| {
            let from = number_of(from)?;
            Some((Wire::Peer { from, to: node }, Wire::Peer { from: node, to: from }))
        };
        self.forwarders.spawn(stream::forward(links, real, self.wires.clone(), Box::new(peers), self.late));
        let routes = move |_| Some((Wire::ToDatabase(node), Wire::FromDatabase(node)));
        self.forwarders.spawn(stream::forward(
            database,
            self.database,
            self.wires.clone(),
            Box::new(routes),
            self.late,
        ));
        self.sockets.write().unwrap_or_else(PoisonError::into_inner).insert(node, gossip.clone());
        let (sockets, wires) = (self.sockets.clone(), self.wires.clone());
        self.forwarders.spawn(datagrams::forward(node, gossip, real, sockets, wires, number_of));
        self.nodes.push(node);
        Ok(())
    }

    /// Cuts a wire: streams stop and stay open, new ones hang, datagrams are lost.
    pub fn cut(&self, wire: Wire) {
        self.wires.set_cut(wire, true);
    }

    /// Ends the connections that use a wire.
    pub fn reset(&self, wire: Wire) {
        self.wires.reset(wire);
    }

    /// Opens a wire again. Bytes that were held back go on.
    pub fn heal(&self, wire: Wire) {
        self.wires.set_cut(wire, false);
    }

    /// Opens all wires again.
    pub fn heal_all(&self) {
        self.wires.heal_all();
    }

    /// Everything that a node sends to other nodes.
    #[must_use]
    pub fn from_node(&self, node: u8) -> Vec<Wire> {
        let others = self.nodes.iter().copied().filter(|other| *other != node);
        others.flat_map(|to| [Wire::Gossip { from: node, to }, Wire::Peer { from: node, to }]).collect()
    }

    /// Everything that other nodes send to a node.
    #[must_use]
    pub fn to_node(&self, node: u8) -> Vec<Wire> {
        let others = self.nodes.iter().copied().filter(|other| *other != node);
        others.flat_map(|from| [Wire::Gossip { from, to: node }, Wire::Peer { from, to: node }]).collect()
    }
}

#[cfg(test)]
mod tests;
