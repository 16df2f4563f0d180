//! The socket of gossip: carries sealed datagrams. Owns both ends of it; knows nothing of what they say.
//!
//! Sending goes through a plain socket that does not block, at once: a datagram that the system has no room for is
//! lost, as it could be on the way. What comes in and can't be opened is dropped and counted; nothing is ever answered.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use actix::Recipient;
use actix::dev::SendError;
use callboard_actors::gossip::{Datagram, Outlet};
use callboard_actors::metrics::{GossipMetrics, RefusalLabel};

use crate::peer::datagram::{MAX_SEALED, Sealing};

/// How long the socket is left alone after it failed.
const PAUSE: Duration = Duration::from_millis(100);

/// The way out.
#[derive(Debug)]
pub struct UdpSender {
    socket: UdpSocket,
    sealing: Arc<Sealing>,
}

/// The way in. Nothing comes in before [`UdpReceiver::run`].
#[derive(Debug)]
pub struct UdpReceiver {
    socket: UdpSocket,
    sealing: Arc<Sealing>,
    metrics: GossipMetrics,
}

/// Makes the two ends of a bound socket.
///
/// # Errors
/// The system refuses a second handle of the socket, or to make it one that does not block.
pub fn split(socket: UdpSocket, sealing: Sealing, metrics: GossipMetrics) -> io::Result<(UdpSender, UdpReceiver)> {
    // Both handles are one socket to the system, and so is this.
    socket.set_nonblocking(true)?;
    let sealing = Arc::new(sealing);
    let sender = UdpSender { socket: socket.try_clone()?, sealing: Arc::clone(&sealing) };
    Ok((sender, UdpReceiver { socket, sealing, metrics }))
}

impl Outlet for UdpSender {
    fn send(&self, to: SocketAddr, datagram: &[u8]) {
        let sealed = match self.sealing.seal(datagram) {
            Ok(sealed) => sealed,
            Err(error) => {
                tracing::warn!(%error, "a datagram could not be sealed");
                return;
            }
        };
        if let Err(error) = self.socket.send_to(&sealed, to) {
            tracing::debug!(%error, peer.address = %to, "a datagram was not sent");
        }
    }
}

impl UdpReceiver {
    /// Hands what comes in and can be opened to `to`, until that is gone. Has to run where tokio's timers and sockets
    /// do.
    ///
    /// # Errors
    /// The socket can't be waited for. That its use fails later is logged and tried again.
    pub async fn run(self, to: Recipient<Datagram>) -> io::Result<()> {
        let socket = tokio::net::UdpSocket::from_std(self.socket)?;
        // A byte more than is legal tells a longer datagram from one that fits.
        let mut buffer = [0; MAX_SEALED + 1];
        let refused = |reason| self.metrics.refused.get_or_create(&RefusalLabel { reason }).inc();
        loop {
            let (length, from) = match socket.recv_from(&mut buffer).await {
                Ok(received) => received,
                Err(error) => {
                    tracing::warn!(%error, "the socket of gossip failed");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let sealed = buffer.get(..length).unwrap_or_default().to_vec();
            let Some(opened) = self.sealing.open(sealed) else {
                tracing::debug!(peer.address = %from, "a datagram that no key opens was dropped");
                refused("sealed");
                continue;
            };
            match to.try_send(Datagram(opened)) {
                Ok(()) => {}
                Err(SendError::Full(_)) => {
                    refused("busy");
                }
                Err(SendError::Closed(_)) => return Ok(()),
            }
        }
    }
}

#[cfg(test)]
mod tests;
