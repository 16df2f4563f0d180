//! The socket under a connection of a client, whatever is spoken on it: its place among the connections of its door,
//! and the time that a client may take to read what is written to it. Owns both; knows nothing of what is said.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use callboard_protocol::progress::{Patience, Progress};
use callboard_protocol::time::Mono;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::api::places::Place;
use crate::api::turns::Turns;

/// See the module.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    place: Place,
    writing: Watched,
    /// Those of reading and of writing.
    turns: [Turns; 2],
}

/// Bytes that the system takes ahead for a client, beyond those that are on their way to it.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 128 * 1024;

impl Socket {
    /// A socket that was accepted, in this place. Its client may read nothing for as long as `patience`.
    pub(crate) fn new(stream: TcpStream, place: Place, patience: Duration) -> Self {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection goes on without TCP_NODELAY");
        }
        #[cfg(target_os = "linux")]
        if let Err(error) = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT) {
            tracing::debug!(%error, "a connection goes on without TCP_NOTSENT_LOWAT");
        }
        let writing = Watched::new(Patience { silence: patience, total: Duration::MAX });
        Self { stream, place, writing, turns: <[Turns; 2]>::default() }
    }

    /// The address at the other end.
    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }

    /// What is under it.
    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.stream
    }

    /// Where it is among the connections of its door.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    fn written(
        &mut self,
        task: &mut Context<'_>,
        asked: usize,
        polled: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match polled {
            Poll::Ready(Ok(count)) => {
                let [_, writing] = &mut self.turns;
                writing.passed(count);
                self.writing.moved(count, count == asked);
                Poll::Ready(Ok(count))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending if self.writing.poll_too_slow(task).is_ready() => Poll::Ready(Err(too_slow())),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// What a client is that does not read.
fn too_slow() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the client does not read what it asked for")
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, task: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.place.is_lost(task) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let [reading, _] = &mut self.turns;
        ready!(reading.poll(task));
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(task, buffer))?;
        let [reading, _] = &mut self.turns;
        reading.passed(buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let [_, writing] = &mut self.turns;
        ready!(writing.poll(task));
        let polled = Pin::new(&mut self.stream).poll_write(task, bytes);
        self.written(task, bytes.len(), polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let [_, writing] = &mut self.turns;
        ready!(writing.poll(task));
        let polled = Pin::new(&mut self.stream).poll_write_vectored(task, parts);
        self.written(task, parts.iter().map(|part| part.len()).sum(), polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(task)
    }
}

/// The progress of a client, with the clock that tells when it is too slow.
#[derive(Debug)]
pub(crate) struct Watched {
    patience: Patience,
    progress: Progress,
    begun: Instant,
    /// There only while a client is waited for, or was before.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Watched {
    /// A client that has this much time.
    pub(crate) fn new(patience: Patience) -> Self {
        Self { patience, progress: Progress::new(patience), begun: Instant::now(), alarm: None }
    }

    fn now(&self) -> Mono {
        Mono(self.begun.elapsed())
    }

    /// So many bytes moved; with `all`, there is nothing more to be waited for.
    pub(crate) fn moved(&mut self, bytes: usize, all: bool) {
        if all && self.alarm.is_none() {
            return;
        }
        if all {
            self.alarm = None;
            self.progress = Progress::new(self.patience);
        } else {
            self.progress.moved(self.now(), bytes);
        }
    }

    /// The client is waited for; ready when it is too slow.
    pub(crate) fn poll_too_slow(&mut self, task: &mut Context<'_>) -> Poll<()> {
        let until = self.begun + self.progress.wait(self.now()).0.min(FAR);
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if alarm.deadline() != until {
            alarm.as_mut().reset(until);
        }
        alarm.as_mut().poll(task)
    }
}

/// A time that nothing lasts: what a clock can't hold is none.
const FAR: Duration = Duration::from_secs(30 * 365 * 86_400);

/// Bytes that are read of a client which is told its last word.
const LAST: usize = 256 * 1024;

/// Ends the own direction, and reads what the client still sends, up to its end or a limit: closing at once would take
/// the last word away from it.
///
/// # Errors
/// The connection is gone.
pub(crate) async fn drain(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
    stream.shutdown().await?;
    let (mut scratch, mut left) = ([0; 4096], LAST);
    while left > 0 {
        let count = stream.read(&mut scratch).await?;
        if count == 0 {
            break;
        }
        left = left.saturating_sub(count);
    }
    Ok(())
}
