//! A connection before it is served: whether it begins with TLS, the handshake, and the time that both may take. Runs
//! on the thread that will serve it. What fails is counted, and logged for those who look for it alone: strangers must
//! not be able to fill the log.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::files::Material;
use super::metrics::{Metrics, Refused};
use super::stream::Stream;
use crate::settings::TlsDoor;
use crate::socket::{Socket, drain};

/// How a TLS connection begins: a record of a handshake, of some version 3 (RFC 8446, section 5.1). No other protocol
/// that is spoken here begins so. A frame of a native session may be 22 bytes long, but no message in one begins with a
/// 3.
const BEGINNING: [u8; 2] = [0x16, 0x03];
/// The pause before another look when one byte came alone. Clients write a hello at once.
const ALONE: Duration = Duration::from_millis(20);
/// How long what a refused client still sends is read and dropped, so that the answer reaches it.
const LINGER: Duration = Duration::from_secs(1);

/// Takes connections of one door on; clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Acceptor {
    door: TlsDoor,
    /// `None` when there is no TLS at the door.
    material: Option<watch::Receiver<Arc<Material>>>,
    takes_plaintext: bool,
    refusal: fn() -> Vec<u8>,
    /// How long a client may take until its connection can be served.
    patience: Duration,
    metrics: Metrics,
}

impl Acceptor {
    pub(super) fn new(
        door: TlsDoor,
        material: Option<watch::Receiver<Arc<Material>>>,
        takes_plaintext: bool,
        (refusal, patience): (fn() -> Vec<u8>, Duration),
        metrics: Metrics,
    ) -> Self {
        Self { door, material, takes_plaintext, refusal, patience, metrics }
    }

    /// True when clients have to come with TLS, so that none understands what it is told without.
    pub(crate) fn needs_tls(&self) -> bool {
        self.material.is_some() && !self.takes_plaintext
    }

    /// Makes a connection ready to be served; `None` when it is not to be.
    pub(crate) async fn accept(&self, socket: Socket) -> Option<Stream> {
        let Some(material) = &self.material else { return Some(Stream::Plain(Box::new(socket))) };
        let config = material.borrow().config(self.door)?;
        let peer = socket.peer_addr();
        let begun = timeout(self.patience, self.begin(socket, TlsAcceptor::from(config))).await;
        match begun.unwrap_or(Err(Refused::Late)) {
            Ok(stream) => {
                self.metrics.accepted(self.door, stream.is_encrypted());
                Some(stream)
            }
            Err(refused) => {
                self.metrics.refused(self.door, &refused);
                let (door, reason) = (self.door.name(), refused.reason());
                tracing::debug!(door, client.address = ?peer.ok(), reason, error = %refused, "a connection was not taken on");
                None
            }
        }
    }

    async fn begin(&self, socket: Socket, tls: TlsAcceptor) -> Result<Stream, Refused> {
        let mut first = [0; 2];
        let is_tls = loop {
            match socket.tcp().peek(&mut first).await? {
                0 => return Err(Refused::Closed),
                1 if BEGINNING.starts_with(&first[..1]) => tokio::time::sleep(ALONE).await,
                _ => break first == BEGINNING,
            }
        };
        if is_tls {
            return Ok(Stream::Tls(Box::new(tls.accept(socket).await?)));
        }
        if self.takes_plaintext {
            return Ok(Stream::Plain(Box::new(socket)));
        }
        // A client that does not stay for the answer is refused all the same.
        drop(answer(socket, &(self.refusal)()).await);
        Err(Refused::Plaintext)
    }
}

/// Says why, and closes. Closing at once would take the answer away from a client that still sends.
async fn answer(mut socket: Socket, text: &[u8]) -> io::Result<()> {
    socket.write_all(text).await?;
    // A client that goes on sending is left to it.
    drop(timeout(LINGER, drain(&mut socket)).await);
    Ok(())
}
