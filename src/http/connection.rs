//! A connection as the framework gets to see it. Owns what the framework can't do.
//!
//! Its clients may write a whole configuration into the request line, as some SDKs of Nacos do. The framework takes no
//! target beyond 64 KiB, so a longer query is taken out of the line before the framework sees it, and kept beside the
//! connection for just this request, under a name that nobody can guess. Only `POST` of configurations is looked at.
//! Everything else passes as it is.
//!
//! What comes in is counted and timed ([`intake`]), for the framework times the first head alone and counts nothing.
//!
//! And a client that said all it will say, while it is held, is gone: nobody waits for the answer, so the connection
//! ends, and with it what was held. (A client that still reads can't be told from one that closed.) A request that is
//! not held is answered all the same.
//!
//! It decides nothing about what is allowed; a client can only change how its own requests are read.

mod framing;
mod intake;

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use actix_web::body::MessageBody as _;
use actix_web::{HttpMessage as _, HttpRequest};
use callboard_protocol::error_code::ErrorCode;
use callboard_protocol::share::ClientNetwork;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use uuid::Uuid;

use crate::api::error::ApiError;
use crate::http::connection::framing::{Framing, end_of_line};
use crate::http::connection::intake::{Account, Counted, Intake};
pub(crate) use crate::http::connection::intake::{Broken, IntakeOptions};
use crate::http::problem;
use crate::tls::Stream;

/// How the requests begin whose line may be long.
const BEGINNING: &[u8] = b"POST /nacos/v1/cs/configs";
/// What stands in the line in place of the query that was taken out, before a number that nobody can guess.
const MOVED: &str = "query-is-beside-the-connection-";
/// A line up to here is left as it is, in bytes.
const SHORT: usize = 32 * 1024;
/// A longer line than this is left to the framework, which refuses it: a mebibyte whose every byte is written as three,
/// and the names, in bytes.
const LONGEST: usize = 4 * 1024 * 1024;
/// Bytes read at once of a long line.
const PIECE: usize = 64 * 1024;

/// A query that was taken out of the line of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Moved {
    /// What stands in its place.
    name: String,
    query: String,
}

/// What handlers and their connection know of each other.
#[derive(Debug, Default)]
struct Beside {
    /// Of a request that no handler has yet.
    moved: RefCell<Option<Moved>>,
    /// Reads on when nothing is kept any more.
    reader: RefCell<Option<Waker>>,
    /// How many answers are held: one, as requests of a connection are answered in turn.
    held: Cell<usize>,
    /// The client says nothing more.
    has_ended: Cell<bool>,
    /// What came in.
    account: Account,
    /// The connection is there for those alone who ask how the node is.
    is_kept: Cell<bool>,
}

impl Beside {
    /// Gives out what is kept under `name`.
    fn take(&self, name: &str) -> Option<String> {
        let moved = self.moved.borrow_mut().take_if(|moved| moved.name == name)?;
        if let Some(reader) = self.reader.borrow_mut().take() {
            reader.wake();
        }
        Some(moved.query)
    }

    fn is_abandoned(&self) -> bool {
        self.has_ended.get() && self.held.get() > 0
    }
}

/// What of a client came, and was not yet passed on.
#[derive(Debug, Default)]
struct Kept {
    /// To be passed on, from this place.
    ready: Vec<u8>,
    from: usize,
    /// From the beginning of a request whose line may be long.
    line: Vec<u8>,
    /// The place of the end of its line, once it came.
    end: Option<usize>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Connection<S = Stream> {
    stream: S,
    framing: Framing,
    kept: Kept,
    beside: Rc<Beside>,
    /// `None` where nothing is limited.
    intake: Option<Intake>,
}

/// Marks the answer of a request as held, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Held(Option<Rc<Beside>>);

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(beside) = &self.0 {
            beside.held.set(beside.held.get().saturating_sub(1));
        }
    }
}

/// Says that the answer may take long: when the client goes meanwhile, the connection ends and the handler is dropped.
pub(crate) fn hold(request: &HttpRequest) -> Held {
    let beside = request.conn_data::<Rc<Beside>>().map(Rc::clone);
    if let Some(beside) = &beside {
        beside.held.set(beside.held.get() + 1);
    }
    Held(beside)
}

/// The query of a request that was too long for its line.
struct LongQuery(String);

/// Gives a request the query that was taken out of its line. Every request has to come by here: what is kept is kept
/// for one that is still to come.
pub(crate) fn settle(request: &HttpRequest) {
    let Some(beside) = request.conn_data::<Rc<Beside>>() else { return };
    if let Some(counted) = beside.account.settle() {
        request.extensions_mut().insert(InMemory { _counted: counted });
    }
    let name = request.query_string();
    if name.starts_with(MOVED)
        && let Some(query) = beside.take(name)
    {
        request.extensions_mut().insert(LongQuery(query));
    }
}

/// What a request takes up, for as long as the request is there.
struct InMemory {
    _counted: Counted,
}

/// Why nothing more came of a request, when that was not its client's will.
pub(crate) fn broken(request: &HttpRequest) -> Option<Broken> {
    request.conn_data::<Rc<Beside>>()?.account.broken.get()
}

/// True when the connection is there for those alone who ask how the node is.
pub(crate) fn is_kept(request: &HttpRequest) -> bool {
    request.conn_data::<Rc<Beside>>().is_some_and(|beside| beside.is_kept.get())
}

/// What comes from here on is no request, and whoever reads it counts and times it.
pub(crate) fn begin_session(request: &HttpRequest) {
    if let Some(beside) = request.conn_data::<Rc<Beside>>() {
        beside.account.is_session.set(true);
    }
    request.extensions_mut().remove::<InMemory>();
}

/// Takes the query of the request that was too long for its line.
pub(crate) fn take_moved_query(request: &HttpRequest) -> Option<String> {
    request.extensions_mut().remove::<LongQuery>().map(|LongQuery(query)| query)
}

/// What a client is told that speaks HTTP in clear text where TLS is required.
pub(crate) fn needs_tls() -> Vec<u8> {
    last_words(ApiError::new(ErrorCode::MalformedRequest, "this port takes TLS alone; use https://"))
}

/// What a client is told for whom there is no place.
pub(crate) fn full() -> Vec<u8> {
    last_words(ApiError::new(ErrorCode::Overloaded, "as many connections are open as may be; try again"))
}

/// An answer to whatever was asked, as it goes over the wire.
fn last_words(error: ApiError) -> Vec<u8> {
    let answer = problem::response(error);
    let status = answer.status();
    // It is there as a whole.
    let body = answer.into_body().try_into_bytes().unwrap_or_default();
    let (kind, length) = (problem::PROBLEM, body.len());
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    [head.as_bytes(), &body].concat()
}

/// Takes the query out of a line that is long enough, up to its end. Gives the line that is left.
fn shortened(line: &[u8]) -> Option<(String, Moved)> {
    let line = std::str::from_utf8(line).ok().filter(|line| line.len() > SHORT)?;
    let (target, version) = line.rsplit_once(' ')?;
    let (path, query) = target.split_once('?')?;
    let name = format!("{MOVED}{}", Uuid::new_v4().simple());
    Some((format!("{path}?{name} {version}"), Moved { name, query: query.to_owned() }))
}

impl<S> Connection<S> {
    /// Reads and writes through `stream`.
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, framing: Framing::new(BEGINNING), kept: Kept::default(), beside: Rc::default(), intake: None }
    }

    /// Counts and times what `network` sends.
    pub(crate) fn limited(mut self, limits: IntakeOptions, network: ClientNetwork) -> Self {
        self.intake = Some(Intake::new(limits, network));
        self
    }

    /// It is there for those alone who ask how the node is.
    pub(crate) fn keep(self) -> Self {
        self.beside.is_kept.set(true);
        self
    }

    /// So many bytes came, and were sorted.
    fn came(&mut self, bytes: usize) {
        let place = self.framing.place(!self.kept.line.is_empty());
        if let Some(intake) = &mut self.intake {
            intake.came(bytes, place, &self.beside.account);
        }
    }

    /// Nothing more is read, for this reason.
    fn break_off(&self, broken: Broken) {
        self.beside.account.broken.set(Some(broken));
    }

    /// What is under it.
    pub(crate) fn stream(&self) -> &S {
        &self.stream
    }

    /// Makes what is beside the connection known to the handlers.
    pub(crate) fn remember(&self, data: &mut actix_web::dev::Extensions) {
        data.insert(Rc::clone(&self.beside));
    }

    /// Bytes came; those before a line that may be long can be passed on. Returns how many.
    fn look(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        loop {
            at += self.framing.pass(bytes.get(at..).unwrap_or_default());
            let rest = bytes.get(at..).unwrap_or_default();
            match end_of_line(rest).filter(|end| *end <= SHORT && rest.starts_with(BEGINNING)) {
                Some(end) => {
                    self.framing.begun();
                    at += end + 1;
                }
                None => return at,
            }
        }
    }

    /// More of a line came, from the place `new` on.
    fn look_for_end(&mut self, new: usize) {
        let fresh = self.kept.line.get(new..).unwrap_or_default();
        self.kept.end = end_of_line(fresh).map(|end| new + end);
        let line = &self.kept.line;
        let may_be = line.starts_with(BEGINNING) || BEGINNING.starts_with(line);
        if !may_be || (self.kept.end.is_none() && line.len() > LONGEST) {
            self.pass_on(!may_be);
        }
    }

    /// What is kept is no line that is looked for. With `goes_on`, others may follow.
    fn pass_on(&mut self, goes_on: bool) {
        let line = std::mem::take(&mut self.kept.line);
        self.kept.end = None;
        if !goes_on {
            self.framing.give_up();
        }
        self.sort(&line);
    }

    /// Passes on what can be, and keeps the rest.
    fn sort(&mut self, bytes: &[u8]) {
        let passed = self.look(bytes);
        self.kept.ready.extend_from_slice(bytes.get(..passed).unwrap_or_default());
        self.kept.line = bytes.get(passed..).unwrap_or_default().to_vec();
        self.kept.end = end_of_line(&self.kept.line);
    }

    /// Passes on a line that has its end, without its query if it is long, as soon as none is kept of a request before.
    fn poll_hand_on(&mut self, task: &mut Context<'_>) -> Poll<()> {
        let Some(end) = self.kept.end else { return Poll::Ready(()) };
        if end > SHORT && self.beside.moved.borrow().is_some() {
            *self.beside.reader.borrow_mut() = Some(task.waker().clone());
            return Poll::Pending;
        }
        let bytes = std::mem::take(&mut self.kept.line);
        let (line, rest) = bytes.split_at_checked(end).unwrap_or((&bytes, b""));
        match shortened(line) {
            Some((line, moved)) => {
                self.kept.ready.extend_from_slice(line.as_bytes());
                *self.beside.moved.borrow_mut() = Some(moved);
            }
            None => self.kept.ready.extend_from_slice(line),
        }
        let (line_break, rest) = rest.split_at_checked(1).unwrap_or((rest, b""));
        self.kept.ready.extend_from_slice(line_break);
        self.framing.begun();
        self.sort(rest);
        Poll::Ready(())
    }
}

impl Kept {
    /// Passes on as much as there is room for.
    fn pass(&mut self, buffer: &mut ReadBuf<'_>) {
        let left = self.ready.get(self.from..).unwrap_or_default();
        let now = left.len().min(buffer.remaining());
        buffer.put_slice(left.get(..now).unwrap_or_default());
        self.from += now;
        if self.from == self.ready.len() {
            (self.ready, self.from) = (Vec::new(), 0);
        }
    }
}

impl<S: AsyncRead + Unpin> Connection<S> {
    /// Reads what comes, as long as there is room for it and its client goes on. Nothing more comes of one that does
    /// not.
    fn poll_more(&mut self, task: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.beside.account.broken.get().is_some() {
            return Poll::Ready(Ok(()));
        }
        let Some(intake) = &mut self.intake else { return Pin::new(&mut self.stream).poll_read(task, buffer) };
        if let Err(broken) = ready!(intake.poll_room(task)) {
            self.break_off(broken);
            return Poll::Ready(Ok(()));
        }
        let read = Pin::new(&mut self.stream).poll_read(task, buffer);
        if read.is_pending() && intake.poll_too_slow(task, &self.beside.account).is_ready() {
            self.break_off(Broken::TooSlow);
            return Poll::Ready(Ok(()));
        }
        read
    }

    /// Reads on in a line that has no end yet.
    fn poll_line(&mut self, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut piece = vec![0; PIECE];
        let mut read = ReadBuf::new(&mut piece);
        ready!(self.poll_more(task, &mut read))?;
        if read.filled().is_empty() {
            self.pass_on(false);
            return Poll::Ready(Ok(()));
        }
        let (new, count) = (self.kept.line.len(), read.filled().len());
        self.kept.line.extend_from_slice(read.filled());
        self.look_for_end(new);
        self.came(count);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(mut self: Pin<&mut Self>, task: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if !this.kept.ready.is_empty() {
                this.kept.pass(buffer);
                return Poll::Ready(Ok(()));
            }
            if this.kept.end.is_some() {
                ready!(this.poll_hand_on(task));
                continue;
            }
            if !this.kept.line.is_empty() {
                ready!(this.poll_line(task))?;
                continue;
            }
            let before = buffer.filled().len();
            ready!(this.poll_more(task, buffer))?;
            let fresh = buffer.filled().get(before..).unwrap_or_default();
            if fresh.is_empty() {
                this.beside.has_ended.set(true);
                return Poll::Ready(Ok(()));
            }
            let (passed, count) = (this.look(fresh), fresh.len());
            if passed < count {
                this.kept.line = fresh.get(passed..).unwrap_or_default().to_vec();
                this.kept.end = end_of_line(&this.kept.line);
                buffer.set_filled(before + passed);
            }
            this.came(count);
            if passed > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

/// Nobody waits for what would be written.
fn gone() -> Poll<io::Result<()>> {
    Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(mut self: Pin<&mut Self>, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.beside.is_abandoned() {
            ready!(gone())?;
        }
        Pin::new(&mut self.stream).poll_write(task, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.beside.is_abandoned() {
            ready!(gone())?;
        }
        Pin::new(&mut self.stream).poll_write_vectored(task, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// The framework asks for it each time it has looked at the connection and at the answer, whether it wrote or not.
    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.beside.is_abandoned() {
            return gone();
        }
        Pin::new(&mut self.stream).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(task)
    }
}

#[cfg(test)]
mod tests;
