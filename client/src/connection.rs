//! A TCP connection that carries messages. Owns the bytes that were read and are no frame yet, and those that wait to
//! be written. Knows nothing of what the messages mean.

use std::io;

use bytes::BytesMut;
use callboard_proto::frame::{self, FrameError};
use callboard_proto::session::Envelope;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// Bytes waiting to be written from which on no further request is taken.
const ENOUGH: usize = 256 * 1024;
/// Room for bytes that is kept when nothing waits.
const KEPT: usize = 64 * 1024;

/// How every answer of an HTTP server begins, and no frame: as one it would hold a field that none can.
const HTTP: &[u8] = b"HTTP/";

/// Why a connection can't be used any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// The other end closed it.
    #[error("the node closed the connection")]
    Closed,
    /// The network failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// What came is no message.
    #[error("the node sent what is no message: {0}")]
    Frame(#[from] FrameError),
    /// An HTTP server listens there: some node's, most likely.
    #[error(
        "HTTP is spoken there; name the port for sessions, which is 8850 unless tcp.addr of the node says otherwise"
    )]
    Http,
}

/// Connects to `host:port`; each of its addresses is tried.
pub(crate) async fn connect(address: &str) -> Result<(Reader, Writer), Broken> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (read, write) = stream.into_split();
    Ok((Reader { half: read, buffer: BytesMut::new() }, Writer { half: write, waiting: BytesMut::new() }))
}

/// The end that reads.
#[derive(Debug)]
pub(crate) struct Reader {
    half: OwnedReadHalf,
    buffer: BytesMut,
}

impl Reader {
    /// Waits for more bytes. Nothing is lost when it is given up.
    pub(crate) async fn fill(&mut self) -> Result<(), Broken> {
        match self.half.read_buf(&mut self.buffer).await? {
            0 => Err(Broken::Closed),
            _ => Ok(()),
        }
    }

    /// The next message, when it is there as a whole.
    pub(crate) fn message(&mut self) -> Result<Option<Envelope>, Broken> {
        if self.buffer.starts_with(HTTP) {
            return Err(Broken::Http);
        }
        Ok(frame::split(&mut self.buffer)?.map(frame::decode).transpose()?)
    }

    /// Waits for the next message.
    pub(crate) async fn next(&mut self) -> Result<Envelope, Broken> {
        loop {
            if let Some(message) = self.message()? {
                return Ok(message);
            }
            self.fill().await?;
        }
    }
}

/// The end that writes.
#[derive(Debug)]
pub(crate) struct Writer {
    half: OwnedWriteHalf,
    waiting: BytesMut,
}

impl Writer {
    /// Lets a message wait to be written.
    ///
    /// # Errors
    /// It is longer than a frame can be; nothing waits then.
    pub(crate) fn push(&mut self, message: &Envelope) -> Result<(), FrameError> {
        self.waiting.extend_from_slice(&frame::encode(message)?);
        Ok(())
    }

    /// True when something waits.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// True when further requests may be taken.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.len() < ENOUGH
    }

    /// Writes some of what waits. Nothing is lost, or written twice, when it is given up.
    pub(crate) async fn write(&mut self) -> Result<(), Broken> {
        if self.half.write_buf(&mut self.waiting).await? == 0 {
            return Err(Broken::Closed);
        }
        if self.waiting.is_empty() && self.waiting.capacity() > KEPT {
            self.waiting = BytesMut::new();
        }
        Ok(())
    }

    /// Writes all that waits.
    pub(crate) async fn flush(&mut self) -> Result<(), Broken> {
        while self.is_waiting() {
            self.write().await?;
        }
        Ok(())
    }
}
