//! One keep-alive connection: a request out, an answer in. Owns the socket and its buffer; never sends a second request
//! before the first is answered, and never connects again by itself.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::answer::{self, Malformed, Reply};

/// An answer that takes longer than this does not count as one.
const PATIENCE: Duration = Duration::from_secs(10);
/// Room for one read; grows with the answers.
const BUFFER: usize = 2 * 1024;

/// No answer came. The connection is of no more use; whether the server acted on the request is unknown.
#[derive(Debug, Error)]
pub(super) enum Broken {
    /// The system says so.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// Something came, but no HTTP.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The server sent more than one answer.
    #[error("bytes follow the answer that nobody asked for")]
    Surplus,
    /// Nothing came in time.
    #[error("no answer within {PATIENCE:?}")]
    Stalled,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    closes: bool,
}

impl Connection {
    /// Connects.
    pub(super) async fn open(address: SocketAddr) -> Result<Self, Broken> {
        let stream = timeout(PATIENCE, TcpStream::connect(address)).await.map_err(|_elapsed| Broken::Stalled)??;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: Vec::with_capacity(BUFFER), closes: false })
    }

    /// Whether the server said that it closes this connection.
    pub(super) fn closes(&self) -> bool {
        self.closes
    }

    /// Writes a whole request.
    pub(super) async fn send(&mut self, request: &[u8]) -> Result<(), Broken> {
        self.received.clear();
        Ok(self.stream.write_all(request).await?)
    }

    /// Waits for the answer to what was sent, as long as it takes.
    pub(super) async fn receive(&mut self) -> Result<Reply<'_>, Broken> {
        let mut ended = false;
        let answer = loop {
            if let Some(answer) = answer::parse(&self.received, ended)? {
                break answer;
            }
            self.received.reserve(BUFFER / 2);
            ended = self.stream.read_buf(&mut self.received).await? == 0;
        };
        if answer.length < self.received.len() {
            return Err(Broken::Surplus);
        }
        self.closes = answer.closes;
        Ok(answer.within(&self.received))
    }

    /// Sends a request and waits for its answer.
    pub(super) async fn exchange(&mut self, request: &[u8]) -> Result<Reply<'_>, Broken> {
        let exchange = async {
            self.send(request).await?;
            self.receive().await
        };
        timeout(PATIENCE, exchange).await.map_err(|_elapsed| Broken::Stalled)?
    }
}
