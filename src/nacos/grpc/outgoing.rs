//! Answers on their way out: in pieces, counted against the memory for answers, and timed. HTTP/2 lets a client say
//! that it takes nothing while its connection lives, so what is written to the socket does not tell whether it reads.
//! Owns the form of an answer with a long content; the others are written by the library.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use callboard_proto::long;
use callboard_protocol::progress::{Patience, Progress};
use callboard_protocol::time::Mono;
use hyper::body::{Body as _, Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::Instant;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, HeaderValue, Response};

use crate::api::escaped::Escaped;
use crate::api::memory::Shared;

/// Bytes of an answer that are handed to the connection at a time.
const PIECE: usize = 32 * 1024;
/// How often it is looked whether a client reads.
const LOOK: Duration = Duration::from_secs(1);

/// The answers of one connection that are not written yet. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Outgoing(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    patience: Patience,
    begun: Instant,
    /// There is an answer where there was none.
    first: Notify,
}

#[derive(Debug)]
struct State {
    open: usize,
    progress: Progress,
}

impl Outgoing {
    /// Those of a connection whose client may read nothing for as long as `patience`.
    pub(super) fn new(patience: Duration) -> Self {
        let patience = Patience { silence: patience, total: Duration::MAX };
        let state = Mutex::new(State { open: 0, progress: Progress::new(patience) });
        Self(Arc::new(Inner { state, patience, begun: Instant::now(), first: Notify::new() }))
    }

    fn with<T>(&self, change: impl FnOnce(&mut State, Mono) -> T) -> T {
        let now = Mono(self.0.begun.elapsed());
        change(&mut self.0.state.lock().unwrap_or_else(PoisonError::into_inner), now)
    }

    /// An answer on its way: it is waited for from now on.
    pub(super) fn send(&self, answer: Response<Body>) -> Response<Body> {
        let (mut head, body) = answer.into_parts();
        let form = match head.extensions.remove::<LongAnswer>().and_then(LongAnswer::take) {
            Some((written, shared)) => Form::Long { written, _shared: shared, is_ended: false },
            None => Form::Short { body, pieces: VecDeque::new() },
        };
        let patience = self.0.patience;
        let is_first = self.with(|state, _| {
            state.open += 1;
            if state.open == 1 {
                state.progress = Progress::new(patience);
            }
            state.open == 1
        });
        if is_first {
            self.0.first.notify_one();
        }
        Response::from_parts(head, Body::new(Answer { form, outgoing: self.clone(), handed: None }))
    }

    /// Comes to an end when the client does not read what it asked for.
    pub(super) async fn until_stalled(&self) {
        loop {
            if self.with(|state, _| state.open) == 0 {
                self.0.first.notified().await;
            }
            tokio::time::sleep(LOOK).await;
            let is_too_slow = self.with(|state, now| {
                if state.open == 0 {
                    return false;
                }
                // From here on, if it did not count yet.
                state.progress.wait(now);
                state.progress.is_too_slow(now)
            });
            if is_too_slow {
                return;
            }
        }
    }
}

/// An answer with a long content, which the library would copy as a whole. It goes with the answer that the library
/// writes, in its place.
#[derive(Debug, Clone)]
pub(super) struct LongAnswer(Arc<Mutex<Option<Counted>>>);

/// With what it takes up.
type Counted = (Written, Option<Shared>);

impl LongAnswer {
    /// The answer of this class whose body is `json`, counted by `shared`. `length` is how long that is.
    pub(super) fn new(class: &str, json: Escaped, length: usize, shared: Option<Shared>) -> Self {
        let written = Written { head: long::payload(class, length), json };
        Self(Arc::new(Mutex::new(Some((written, shared)))))
    }

    fn take(self) -> Option<Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[derive(Debug)]
struct Written {
    head: Bytes,
    json: Escaped,
}

enum Form {
    /// As the library wrote it.
    Short { body: Body, pieces: VecDeque<Bytes> },
    /// With a long content.
    Long { written: Written, _shared: Option<Shared>, is_ended: bool },
}

/// The body of an answer. The connection asks it for more only when the client takes more.
struct Answer {
    form: Form,
    outgoing: Outgoing,
    /// Bytes that the connection has taken at last. Its first ones it takes whether its client does or not; that it
    /// asks for more says that they are gone.
    handed: Option<usize>,
}

type Polled = Poll<Option<Result<Frame<Bytes>, tonic::Status>>>;

impl Form {
    fn poll(&mut self, task: &mut Context<'_>) -> Polled {
        match self {
            Self::Short { body, pieces } => {
                if let Some(piece) = pieces.pop_front() {
                    return Poll::Ready(Some(Ok(Frame::data(piece))));
                }
                let polled = Pin::new(body).poll_frame(task);
                polled.map(|frame| Some(frame?.map(|frame| in_pieces(frame, pieces))))
            }
            Self::Long { is_ended: true, .. } => Poll::Ready(None),
            Self::Long { written, is_ended, .. } => {
                if !written.head.is_empty() {
                    return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut written.head)))));
                }
                if let Some(piece) = written.json.next_piece() {
                    return Poll::Ready(Some(Ok(Frame::data(piece))));
                }
                *is_ended = true;
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", HeaderValue::from_static("0"));
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
        }
    }
}

/// The first piece of a frame; the others are kept.
fn in_pieces(frame: Frame<Bytes>, pieces: &mut VecDeque<Bytes>) -> Frame<Bytes> {
    match frame.into_data() {
        Ok(mut data) if data.len() > PIECE => {
            let first = data.split_to(PIECE);
            while !data.is_empty() {
                pieces.push_back(data.split_to(PIECE.min(data.len())));
            }
            Frame::data(first)
        }
        Ok(data) => Frame::data(data),
        Err(frame) => frame,
    }
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Polled {
        if let Some(bytes) = self.handed.take() {
            self.outgoing.with(|state, now| state.progress.moved(now, bytes));
        }
        let polled = self.form.poll(task);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.handed = Some(frame.data_ref().map_or(0, Bytes::len));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.form {
            Form::Short { body, pieces } => pieces.is_empty() && body.is_end_stream(),
            Form::Long { is_ended, .. } => *is_ended,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.outgoing.with(|state, _| state.open = state.open.saturating_sub(1));
    }
}
