//! The body of a request, counted against the memory of the node as it comes in. Owns that it is counted; reads
//! nothing.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tonic::Status;

use callboard_protocol::share::ClientNetwork;

use crate::api::memory::{MemoryBudget, Reservation};

/// A body that is counted until it is dropped.
pub(super) struct Counted {
    body: Incoming,
    reservation: Reservation,
}

impl Counted {
    pub(super) fn new(body: Incoming, memory: &MemoryBudget, network: ClientNetwork) -> Self {
        Self { body, reservation: memory.reserve(network) }
    }
}

impl Body for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = Pin::new(&mut self.body).poll_frame(task);
        polled.map(|frame| {
            let frame = match frame? {
                Ok(frame) => frame,
                Err(error) => return Some(Err(Status::cancelled(error.to_string()))),
            };
            let bytes = frame.data_ref().map_or(0, Bytes::len);
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
