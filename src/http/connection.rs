//! A connection whose clients may write a whole configuration into the request line, as some SDKs of Nacos do. The
//! framework takes no target beyond 64 KiB, so a longer query is taken out of the line before the framework sees it,
//! and kept beside the connection until the request's handler asks for it. Everything else passes as it is.
//!
//! It looks at the bytes that come first on a connection or first after an answer, and only at `POST` of
//! configurations: a request that was sent ahead of the answer to the one before is left to the framework. It decides
//! nothing about what is allowed; a client can only change how its own requests are read.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_web::HttpRequest;
use actix_web::rt::net::TcpStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How the requests begin whose line may be long.
const BEGINNING: &[u8] = b"POST /nacos/v1/cs/configs";
/// What stands in the line in place of the query that was taken out.
const MOVED: &str = "query-is-beside-the-connection";
/// A line up to here is left as it is, in bytes.
const SHORT: usize = 32 * 1024;
/// A longer line than this is left to the framework, which refuses it: a mebibyte whose every byte is written as three,
/// and the names, in bytes.
const LONGEST: usize = 4 * 1024 * 1024;
/// Bytes read at once of a long line.
const PIECE: usize = 64 * 1024;
/// An answer that only asks for the body of the same request.
const CONTINUE: &[u8] = b"HTTP/1.1 100";

/// The query that was taken out of the line of the present request.
#[derive(Debug, Clone, Default)]
struct Moved(Rc<RefCell<Option<String>>>);

/// What the next bytes from the client are.
#[derive(Debug)]
enum Incoming {
    /// Perhaps the first of a request.
    First,
    /// The rest of a request.
    Rest,
    /// The first of a long line, up to here.
    Line(Vec<u8>),
    /// Already here; passed on from this place.
    Ready(Vec<u8>, usize),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Connection<S = TcpStream> {
    stream: S,
    incoming: Incoming,
    moved: Moved,
}

impl<S> Connection<S> {
    /// Reads and writes through `stream`.
    pub(super) fn new(stream: S) -> Self {
        Self { stream, incoming: Incoming::First, moved: Moved::default() }
    }

    /// What is under it.
    pub(super) fn stream(&self) -> &S {
        &self.stream
    }

    /// Makes the long queries known to the handlers.
    pub(super) fn remember(&self, data: &mut actix_web::dev::Extensions) {
        data.insert(self.moved.clone());
    }

    /// The line has its end there: what goes on is known.
    fn hand_on(&mut self, bytes: Vec<u8>, end: usize) {
        let (bytes, query) = shortened(bytes, end);
        *self.moved.0.borrow_mut() = query;
        self.incoming = Incoming::Ready(bytes, 0);
    }

    /// After an answer comes another request.
    fn answered(&mut self, bytes: &[u8]) {
        if matches!(self.incoming, Incoming::Rest) && !bytes.starts_with(CONTINUE) {
            self.incoming = Incoming::First;
        }
    }
}

/// Takes the query of the request that was too long for its line.
pub(super) fn take_moved_query(request: &HttpRequest) -> Option<String> {
    if request.query_string() != MOVED {
        return None;
    }
    request.conn_data::<Moved>()?.0.borrow_mut().take()
}

fn end_of_line(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| *byte == b'\n')
}

/// Takes the query out of a finished line, with what came after it, when it is long enough.
fn shortened(bytes: Vec<u8>, end: usize) -> (Vec<u8>, Option<String>) {
    let split = || {
        let line = std::str::from_utf8(bytes.get(..end).filter(|line| line.len() > SHORT)?).ok()?;
        let (target, version) = line.rsplit_once(' ')?;
        let (path, query) = target.split_once('?')?;
        Some((format!("{path}?{MOVED} {version}"), query.to_owned()))
    };
    let Some((line, query)) = split() else { return (bytes, None) };
    let mut rest = line.into_bytes();
    rest.extend_from_slice(bytes.get(end..).unwrap_or_default());
    (rest, Some(query))
}

impl<S: AsyncRead + Unpin> Connection<S> {
    /// Reads on until the line has its end, or can't have it any more.
    fn poll_line(&mut self, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !matches!(self.incoming, Incoming::Line(_)) {
            return Poll::Ready(Ok(()));
        }
        let mut piece = vec![0; PIECE];
        while let Incoming::Line(line) = &mut self.incoming {
            let mut read = ReadBuf::new(&mut piece);
            ready!(Pin::new(&mut self.stream).poll_read(task, &mut read))?;
            let end = end_of_line(read.filled()).map(|at| line.len() + at);
            line.extend_from_slice(read.filled());
            if let Some(end) = end {
                let line = std::mem::take(line);
                self.hand_on(line, end);
            } else if read.filled().is_empty() || line.len() > LONGEST {
                self.incoming = Incoming::Ready(std::mem::take(line), 0);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(mut self: Pin<&mut Self>, task: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if matches!(this.incoming, Incoming::First) {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(task, buffer))?;
            let first = buffer.filled().get(before..).unwrap_or_default();
            if first.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let end = if first.starts_with(BEGINNING) { end_of_line(first) } else { Some(0) };
            if end.is_some_and(|end| end <= SHORT) {
                this.incoming = Incoming::Rest;
                return Poll::Ready(Ok(()));
            }
            let first = first.to_vec();
            buffer.set_filled(before);
            match end {
                Some(end) => this.hand_on(first, end),
                None => this.incoming = Incoming::Line(first),
            }
        }
        ready!(this.poll_line(task))?;
        if let Incoming::Ready(bytes, from) = &mut this.incoming {
            let left = bytes.get(*from..).unwrap_or_default();
            let now = left.len().min(buffer.remaining());
            buffer.put_slice(left.get(..now).unwrap_or_default());
            *from += now;
            if *from == bytes.len() {
                this.incoming = Incoming::Rest;
            }
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.stream).poll_read(task, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(mut self: Pin<&mut Self>, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(task, bytes))?;
        self.answered(bytes);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(task, parts))?;
        self.answered(parts.first().map(|part| &**part).unwrap_or_default());
        Poll::Ready(Ok(written))
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

#[cfg(test)]
mod tests;
