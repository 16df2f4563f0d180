//! Forwards datagrams between nodes. Each node's public address is one socket of ours: what comes in there goes to that
//! node, and leaves from the public address of the node that sent it, so that answers come back the same way. A cut
//! drops.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, RwLock};

use tokio::net::UdpSocket;

use super::wires::{Wire, Wires};

/// Longest datagram of IP.
const LONGEST: usize = 65_536;

/// The public sockets by node. Grows when a node is added.
pub(super) type Sockets = Arc<RwLock<HashMap<u8, Arc<UdpSocket>>>>;

/// Forwards what comes in at the public socket of node `to` to its real address until dropped.
pub(super) async fn forward(
    to: u8,
    socket: Arc<UdpSocket>,
    real: SocketAddr,
    sockets: Sockets,
    wires: Wires,
    number_of: fn(IpAddr) -> Option<u8>,
) {
    let mut datagram = vec![0; LONGEST];
    loop {
        // An error is the report that an earlier datagram found nobody: as lost as any.
        let Ok((length, sender)) = socket.recv_from(&mut datagram).await else { continue };
        let Some(from) = number_of(sender.ip()) else { continue };
        if !wires.is_open(Wire::Gossip { from, to }) {
            continue;
        }
        let outgoing = sockets.read().ok().and_then(|sockets| sockets.get(&from).cloned());
        if let (Some(outgoing), Some(datagram)) = (outgoing, datagram.get(..length)) {
            // Datagrams may be lost.
            drop(outgoing.send_to(datagram, real).await);
        }
    }
}
