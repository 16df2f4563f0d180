//! A connection that carries messages, with TLS on it or without. Owns the bytes that were read and are no frame yet,
//! and those that wait to be written. Knows nothing of what the messages mean.

use std::fmt;
use std::io;

use bytes::BytesMut;
use callboard_proto::MAX_FRAME;
use callboard_proto::frame::{self, FrameError};
use callboard_proto::session::Envelope;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::tls::{Tls, TlsError};

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
    /// The node has no name that a certificate could be for.
    #[error(transparent)]
    Name(#[from] TlsError),
    /// What came is no message.
    #[error("the node sent what is no message: {0}")]
    Frame(#[from] FrameError),
    /// An HTTP server listens there: some node's, most likely.
    #[error(
        "HTTP is spoken there; name the port for sessions, which is 8850 unless tcp.addr of the node says otherwise"
    )]
    Http,
}

/// Connects to `host:port`, by TLS if there is some; each of its addresses is tried.
pub(crate) async fn connect(address: &str, tls: Option<&Tls>) -> Result<(Reader, Writer), Broken> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let Some(tls) = tls else {
        let (read, write) = stream.into_split();
        return Ok(ends(read, write));
    };
    let (read, write) = split(TlsConnector::from(tls.config()).connect(Tls::name_of(address)?, stream).await?);
    Ok(ends(read, write))
}

fn ends(
    read: impl AsyncRead + Send + Sync + Unpin + 'static,
    write: impl AsyncWrite + Send + Sync + Unpin + 'static,
) -> (Reader, Writer) {
    let reader = Reader { half: Box::new(read), buffer: BytesMut::new() };
    (reader, Writer { half: Box::new(write), waiting: BytesMut::new(), is_flushed: true })
}

/// The end that reads.
pub(crate) struct Reader {
    half: Box<dyn AsyncRead + Send + Sync + Unpin>,
    buffer: BytesMut,
}

impl fmt::Debug for Reader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Reader").field("buffered", &self.buffer.len()).finish_non_exhaustive()
    }
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
        Ok(frame::split(&mut self.buffer, MAX_FRAME)?.map(frame::decode).transpose()?)
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
pub(crate) struct Writer {
    half: Box<dyn AsyncWrite + Send + Sync + Unpin>,
    waiting: BytesMut,
    /// Under TLS, what was written may still be here.
    is_flushed: bool,
}

impl fmt::Debug for Writer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Writer").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
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
        !self.waiting.is_empty() || !self.is_flushed
    }

    /// True when further requests may be taken.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.len() < ENOUGH
    }

    /// Writes some of what waits. Nothing is lost, or written twice, when it is given up.
    pub(crate) async fn write(&mut self) -> Result<(), Broken> {
        if self.waiting.is_empty() {
            self.half.flush().await?;
            self.is_flushed = true;
            return Ok(());
        }
        if self.half.write_buf(&mut self.waiting).await? == 0 {
            return Err(Broken::Closed);
        }
        self.is_flushed = false;
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
