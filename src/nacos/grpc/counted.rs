//! The body of a request, counted against the memory of the node as it comes in, and timed. Owns that it is; reads
//! nothing.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use callboard_protocol::progress::Patience;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tonic::Status;

use crate::api::memory::Reservation;
use crate::socket::Watched;

/// A body that is counted until it is dropped.
pub(super) struct Counted {
    body: Incoming,
    reservation: Reservation,
    timed: Watched,
}

impl Counted {
    /// One whose client may send nothing of it for as long as `patience`.
    pub(super) fn new(body: Incoming, reservation: Reservation, patience: Duration) -> Self {
        let timed = Watched::new(Patience { silence: patience, total: Duration::MAX });
        Self { body, reservation, timed }
    }
}

impl Body for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = Pin::new(&mut self.body).poll_frame(task);
        if polled.is_pending() && self.timed.poll_too_slow(task).is_ready() {
            return Poll::Ready(Some(Err(Status::deadline_exceeded("the request did not come in time"))));
        }
        polled.map(|frame| {
            let frame = match frame? {
                Ok(frame) => frame,
                Err(error) => return Some(Err(Status::cancelled(error.to_string()))),
            };
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            self.timed.moved(bytes, false);
            match self.reservation.take(bytes) {
                Ok(()) => Some(Ok(frame)),
                Err(none) => Some(Err(Status::resource_exhausted(none.to_string()))),
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
