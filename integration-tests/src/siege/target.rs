//! What attackers and good clients know of the node under attack: where its doors are, and what may be shown there.
//! Owns how a door is reached, with TLS or without, and the count of what is sent; knows no attack.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use anyhow::Context as _;
use callboard_client::Tls;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpSocket;

use crate::tls;

/// Room of a client for what it does not read, in bytes.
const NARROW: u32 = 4 * 1024;
/// Longest head of an answer that is read.
const MAX_HEAD: usize = 64 * 1024;

/// A way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    /// HTTP, which is also WebSocket.
    Http,
    /// Native sessions over TCP.
    Native,
    /// Clients of Nacos.
    Grpc,
}

impl Door {
    pub(super) const ALL: [Self; 3] = [Self::Http, Self::Native, Self::Grpc];
}

/// The node, as its clients see it.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) http: SocketAddr,
    pub(super) native: SocketAddr,
    pub(super) grpc: SocketAddr,
    /// How clients trust it, where it takes TLS.
    pub(super) tls: Option<Tls>,
    /// What proves who a client is, where callers have to be known.
    pub(super) token: Option<String>,
    /// Configurations that are stored besides the few that are always there.
    pub(super) stored: usize,
    /// Connections that it takes over HTTP.
    pub(super) places: usize,
    /// Bytes that were sent to it, before TLS.
    pub(super) sent: Arc<AtomicU64>,
}

impl Target {
    /// The same node, for clients whose bytes are not counted.
    pub(super) fn uncounted(&self) -> Self {
        Self { sent: Arc::default(), ..self.clone() }
    }

    /// Connects.
    pub(super) async fn connect(&self, door: Door) -> anyhow::Result<Line> {
        self.reach(door, None).await
    }

    /// Connects with little room for what is not read.
    pub(super) async fn connect_narrow(&self, door: Door) -> anyhow::Result<Line> {
        self.reach(door, Some(NARROW)).await
    }

    /// Where a door is.
    pub(super) fn address(&self, door: Door) -> SocketAddr {
        match door {
            Door::Http => self.http,
            Door::Native => self.native,
            Door::Grpc => self.grpc,
        }
    }

    /// What the attacker of this number shows: every other one has nothing to show.
    pub(super) fn token_of(&self, attacker: usize) -> Option<&str> {
        self.token.as_deref().filter(|_| attacker.is_multiple_of(2))
    }

    /// The head of a request, up to the line that ends it, as the attacker of this number sends it.
    pub(super) fn head(&self, attacker: usize, line: &str) -> String {
        let shown = self.token_of(attacker).map(|token| format!("Authorization: Bearer {token}\r\n"));
        format!("{line} HTTP/1.1\r\nHost: localhost\r\n{}", shown.unwrap_or_default())
    }

    async fn reach(&self, door: Door, room: Option<u32>) -> anyhow::Result<Line> {
        let socket = TcpSocket::new_v4()?;
        if let Some(room) = room {
            socket.set_recv_buffer_size(room)?;
        }
        let stream = socket.connect(self.address(door)).await?;
        stream.set_nodelay(true)?;
        // Its port is free again as soon as it is gone: there are fewer ports than a siege has connections.
        stream.set_zero_linger()?;
        let protocols: &[&[u8]] = match door {
            Door::Http => &[b"http/1.1"],
            Door::Native => &[],
            Door::Grpc => &[b"h2"],
        };
        let io: Box<dyn Io> = match &self.tls {
            Some(tls) => Box::new(tls::over(stream, tls, protocols).await?),
            None => Box::new(stream),
        };
        Ok(Line { io, sent: Arc::clone(&self.sent) })
    }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection to a door.
pub(super) struct Line {
    io: Box<dyn Io>,
    sent: Arc<AtomicU64>,
}

impl Line {
    /// Sends bytes at once.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.write_all(bytes).await?;
        Ok(self.flush().await?)
    }

    /// Sends `filler` again and again until so many bytes are sent.
    pub(super) async fn fill(&mut self, filler: &[u8], bytes: usize) -> anyhow::Result<()> {
        let mut left = bytes;
        while left > 0 {
            let piece = filler.get(..left).unwrap_or(filler);
            self.write_all(piece).await?;
            left -= piece.len();
        }
        Ok(self.flush().await?)
    }

    /// Reads what comes next, whatever it is.
    ///
    /// # Errors
    /// The connection ended.
    pub(super) async fn read_some(&mut self) -> anyhow::Result<()> {
        let read = self.read(&mut [0; 16 * 1024]).await?;
        anyhow::ensure!(read > 0, "the node closed the connection");
        Ok(())
    }

    /// Reads everything until the connection ends.
    pub(super) async fn drain(&mut self) -> anyhow::Result<()> {
        tokio::io::copy(&mut *self, &mut tokio::io::sink()).await?;
        Ok(())
    }

    /// Reads an answer of HTTP whose length is in its head, and gives its status.
    pub(super) async fn answer(&mut self) -> anyhow::Result<u16> {
        let (status, length, come) = self.answer_head().await?;
        let left = length.saturating_sub(come) as u64;
        let read = tokio::io::copy(&mut (&mut *self).take(left), &mut tokio::io::sink()).await?;
        anyhow::ensure!(read == left, "an answer is cut short");
        Ok(status)
    }

    /// Reads the head of an answer: its status, the length of its body, and how much of that has come with it.
    pub(super) async fn answer_head(&mut self) -> anyhow::Result<(u16, usize, usize)> {
        let mut bytes = Vec::with_capacity(1024);
        let end = loop {
            if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            anyhow::ensure!(bytes.len() < MAX_HEAD, "an answer has no head");
            anyhow::ensure!(self.read_buf(&mut bytes).await? > 0, "the node closed the connection");
        };
        let head = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).to_ascii_lowercase();
        let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok());
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        Ok((status.context("an answer has a status")?, length.unwrap_or_default(), bytes.len() - end))
    }
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, task: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(task, room)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(task, bytes))?;
        self.sent.fetch_add(written as u64, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(task)
    }
}
