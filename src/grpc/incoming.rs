//! What requests take up, while they come in and until they are answered: counted against what all requests of the node may
//! take up together, so that nobody can make the node hold more by sending many messages and ending none, or by messages
//! that are long once they are unpacked. Owns that count; reads nothing.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tonic::Status;

/// What all requests of the node may take up, in bytes.
const MAX_COMING: usize = 256 * 1024 * 1024;

/// What requests take up, over all connections of a node. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Coming(Arc<AtomicUsize>);

impl Coming {
    /// The body, counted until it is dropped.
    pub(super) fn counted(&self, body: Incoming) -> Counted {
        Counted { body, share: self.share() }
    }

    /// A share of the whole that is nothing yet.
    pub(super) fn share(&self) -> Share {
        Share { coming: self.clone(), taken: 0 }
    }
}

/// What one request has taken of the whole.
pub(super) struct Share {
    coming: Coming,
    taken: usize,
}

impl Share {
    /// Takes more; false when there is no room.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        self.taken += bytes;
        self.coming.0.fetch_add(bytes, Ordering::Relaxed) + bytes <= MAX_COMING
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.coming.0.fetch_sub(self.taken, Ordering::Relaxed);
    }
}

/// A body that is counted.
pub(super) struct Counted {
    body: Incoming,
    share: Share,
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
            if self.share.take(bytes) {
                return Some(Ok(frame));
            }
            Some(Err(Status::resource_exhausted("too many long requests are on their way; send it again")))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    //! What is taken is given back.

    use super::{Coming, MAX_COMING};

    #[test]
    fn there_is_room_for_so_much_and_it_is_given_back() {
        let coming = Coming::default();
        let (mut one, mut other) = (coming.share(), coming.share());
        assert!(one.take(MAX_COMING - 1) && other.take(1) && !other.take(1));
        drop(one);
        assert!(other.take(MAX_COMING - 2));
        drop(other);
        assert_eq!(coming.0.load(super::Ordering::Relaxed), 0);
    }
}
