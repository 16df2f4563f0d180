//! The sockets of the links to other nodes: dials peers, listens for them, and carries frames between a socket and the
//! actor that gives them their meaning (`callboard_actors::peer_links`).
//!
//! Owns the sockets and their limits: how long a dial and a handshake may take, how many connections may be open whose
//! other end has not proved itself. Never looks into a frame and decides nothing; without a cluster key none of this
//! runs.

mod link_io;
mod pending_handshakes;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use actix_rt::ArbiterHandle;
use callboard_actors::metrics::PeerMetrics;
use callboard_actors::peer_links::{Call, DialFailed, Dialer, Direction, Link, Opened, PeerLinks, pipe};
use pending_handshakes::PendingHandshakes;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

pub use super::handshake::Identity;
use crate::peer::handshake;
use crate::peer::handshake::Authenticated;

/// How long a peer may take to accept a connection.
const DIAL: Duration = Duration::from_secs(2);
/// How long the other end may take to prove itself.
const HANDSHAKE: Duration = Duration::from_secs(3);
/// How long accepting rests when the system has no more connections to give.
const REST: Duration = Duration::from_millis(100);

/// How a node takes part in links.
#[derive(Debug, Clone)]
pub struct LinkConfig {
    /// Who it is.
    pub identity: Identity,
    /// Where it listens. Links to peers come from this IP address, unless it is unspecified.
    pub bind: SocketAddr,
}

/// Dials peers by TCP. Works on the arbiter of the actor that calls it.
#[derive(Debug, Clone)]
pub struct TcpDialer {
    config: Arc<LinkConfig>,
}

impl TcpDialer {
    /// A dialer for this node.
    #[must_use]
    pub fn new(config: Arc<LinkConfig>) -> Self {
        Self { config }
    }
}

impl Dialer for TcpDialer {
    fn dial(&self, call: Call) {
        actix_rt::spawn(dial(Arc::clone(&self.config), call));
    }
}

/// Listens for peers on `listener`, as tasks on `arbiter`, until that stops.
///
/// # Errors
/// When the listener can't be made to wait without blocking.
pub fn listen(
    arbiter: &ArbiterHandle,
    listener: std::net::TcpListener,
    config: Arc<LinkConfig>,
    links: Addr<PeerLinks>,
    metrics: PeerMetrics,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let is_spawned = arbiter.spawn_fn(move || match TcpListener::from_std(listener) {
        Ok(listener) => {
            actix_rt::spawn(accept(listener, config, links, metrics));
        }
        Err(error) => tracing::error!(%error, "peers can't be listened for"),
    });
    if is_spawned { Ok(()) } else { Err(io::Error::other("the arbiter has stopped")) }
}

async fn dial(config: Arc<LinkConfig>, Call { link, address, links }: Call) {
    match open(&config, &link, address).await {
        Ok((stream, peer)) => carry(stream, peer, link, links).await,
        // An actor that does not hear of it gives the dial up after a while.
        Err(reason) => links.do_send(DialFailed { link, reason }),
    }
}

/// Connects to a peer and lets it prove itself; else says why not.
async fn open(config: &LinkConfig, link: &Link, address: SocketAddr) -> Result<(TcpStream, Authenticated), String> {
    let connected = timeout(DIAL, connect(config.bind, address)).await;
    let mut stream = connected
        .map_err(|_elapsed| "it did not accept the connection in time".to_owned())?
        .map_err(|error| error.to_string())?;
    let met = timeout(HANDSHAKE, handshake::initiate(&mut stream, &config.identity)).await;
    let peer =
        met.map_err(|_elapsed| "it did not prove itself in time".to_owned())?.map_err(|error| error.to_string())?;
    if peer.hello.node != link.peer {
        return Err(format!("node {} answers at its address", peer.hello.node));
    }
    Ok((stream, peer))
}

async fn connect(bind: SocketAddr, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if !bind.ip().is_unspecified() && bind.is_ipv4() == address.is_ipv4() {
        socket.bind(SocketAddr::new(bind.ip(), 0))?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn accept(listener: TcpListener, config: Arc<LinkConfig>, links: Addr<PeerLinks>, metrics: PeerMetrics) {
    let lobby = PendingHandshakes::default();
    loop {
        match listener.accept().await {
            Ok((mut stream, from)) => {
                let (config, links, metrics) = (Arc::clone(&config), links.clone(), metrics.clone());
                lobby.admit(|slot| async move {
                    match receive(&mut stream, &config).await {
                        Ok(peer) => {
                            drop(slot);
                            let link = Link::new(peer.hello.node.clone(), Direction::Accepted);
                            carry(stream, peer, link, links).await;
                        }
                        Err(reason) => {
                            metrics.refused.inc();
                            tracing::debug!(peer.address = %from, reason, "a connection was turned away");
                        }
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection of a peer can't be accepted");
                actix_rt::time::sleep(REST).await;
            }
        }
    }
}

/// Lets the other end of a connection prove itself; else says why not.
async fn receive(stream: &mut TcpStream, config: &LinkConfig) -> Result<Authenticated, String> {
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let met = timeout(HANDSHAKE, handshake::respond(stream, &config.identity)).await;
    met.map_err(|_elapsed| "it did not prove itself in time".to_owned())?.map_err(|error| error.to_string())
}

/// Tells of an open link and carries its frames until it ends.
async fn carry(stream: TcpStream, peer: Authenticated, link: Link, links: Addr<PeerLinks>) {
    let (into, end) = pipe();
    let Authenticated { hello, version, sealer, opener } = peer;
    // Without this the pipe is dropped, and the link ends.
    links.do_send(Opened { link: link.clone(), version, software: hello.software, pipe: into });
    link_io::run(stream, (sealer, opener), end, link, links).await;
}

#[cfg(test)]
mod tests;
