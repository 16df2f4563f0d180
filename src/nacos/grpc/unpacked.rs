//! The body of a request that its client compressed, unpacked before the library sees it: elsewhere than on the worker,
//! which has other clients, and counted as it grows, for kilobytes become megabytes. Owns the limit of what it becomes;
//! reads nothing of it.

use std::io::Read as _;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut as _, Bytes, BytesMut};
use flate2::bufread::GzDecoder;
use futures_util::future::BoxFuture;
use hyper::body::{Body, Frame, SizeHint};
use tonic::Status;

use crate::api::memory::Reservation;
use crate::api::off_worker;

/// What stands in front of a message: whether it is compressed, and its length.
const HEAD: usize = 5;
/// Bytes that are unpacked at a time.
const PIECE: usize = 64 * 1024;

/// See the module.
pub(super) struct Unpacked<B> {
    body: B,
    /// Longest message, unpacked, in bytes.
    most: usize,
    state: State,
}

/// A message, and what counts it.
type Message = (Bytes, Reservation);

enum State {
    /// It comes.
    Coming(BytesMut, Reservation),
    /// It is unpacked.
    Unpacking(BoxFuture<'static, Result<Message, Status>>),
    /// It was handed on.
    Done(#[allow(dead_code, reason = "counts for as long as it lives")] Option<Reservation>),
}

impl<B> Unpacked<B> {
    /// The message in `body`, which may become `most` bytes.
    pub(super) fn new(body: B, most: usize, reservation: Reservation) -> Self {
        Self { body, most, state: State::Coming(BytesMut::new(), reservation) }
    }
}

/// The message of a body, with a head that says that it is not compressed.
fn unpack(packed: &[u8], most: usize, mut reservation: Reservation) -> Result<Message, Status> {
    let Some((head, message)) = packed.split_at_checked(HEAD) else {
        return Ok((Bytes::copy_from_slice(packed), reservation));
    };
    if head.first() != Some(&1) {
        return Ok((Bytes::copy_from_slice(packed), reservation));
    }
    let (mut decoder, mut piece, mut out) = (GzDecoder::new(message), vec![0; PIECE], BytesMut::new());
    out.put_bytes(0, HEAD);
    loop {
        let count = decoder.read(&mut piece).map_err(|error| Status::internal(format!("not compressed: {error}")))?;
        if count == 0 {
            break;
        }
        if out.len() - HEAD + count > most {
            return Err(Status::resource_exhausted(format!("a message is longer than {most} bytes")));
        }
        // The library copies it before it is read.
        reservation.take(2 * count).map_err(|none| Status::resource_exhausted(none.to_string()))?;
        out.extend_from_slice(piece.get(..count).unwrap_or_default());
    }
    let length = u32::try_from(out.len() - HEAD).unwrap_or(u32::MAX).to_be_bytes();
    if let Some(place) = out.get_mut(1..HEAD) {
        place.copy_from_slice(&length);
    }
    Ok((out.freeze(), reservation))
}

impl<B: Body<Data = Bytes, Error = Status> + Unpin> Body for Unpacked<B> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        loop {
            match &mut this.state {
                State::Coming(packed, _) => match ready!(Pin::new(&mut this.body).poll_frame(task)) {
                    Some(Ok(frame)) => {
                        let Ok(data) = frame.into_data() else { continue };
                        if packed.len() + data.len() > this.most + HEAD {
                            let text = format!("a message is longer than {} bytes", this.most);
                            return Poll::Ready(Some(Err(Status::resource_exhausted(text))));
                        }
                        packed.extend_from_slice(&data);
                    }
                    Some(Err(status)) => return Poll::Ready(Some(Err(status))),
                    None => {
                        let State::Coming(packed, reservation) = mem::replace(&mut this.state, State::Done(None))
                        else {
                            return Poll::Ready(None);
                        };
                        let most = this.most;
                        // However short: how long it becomes is not known before.
                        let unpacking = off_worker::run(usize::MAX, move || unpack(&packed, most, reservation));
                        this.state = State::Unpacking(Box::pin(unpacking));
                    }
                },
                State::Unpacking(unpacking) => {
                    let unpacked = ready!(unpacking.as_mut().poll(task));
                    this.state = State::Done(None);
                    return Poll::Ready(Some(unpacked.map(|(message, reservation)| {
                        this.state = State::Done(Some(reservation));
                        Frame::data(message)
                    })));
                }
                State::Done(_) => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Done(_))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
