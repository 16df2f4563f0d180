//! Requests that come before their connection is set up: until its client has said who it is, a message is as long as
//! a stranger's may be. Owns that limit; a long request may arrive a moment before what sets its connection up, and
//! waits.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hyper::body::{Body, Frame, SizeHint};
use tonic::Status;
use tonic::codegen::http::HeaderMap;

use super::service::Peer;

/// The header that says how a message is compressed.
pub(super) const ENCODING: &str = "grpc-encoding";
/// Longest message of a stranger, in bytes.
pub(super) const MAX_EARLY: usize = 64 * 1024;
/// What stands around a message.
const HEAD: usize = 5;

/// Whether a message may be longer than the bytes that come. What is compressed in another way, the library refuses.
pub(super) fn is_compressed(headers: &HeaderMap) -> bool {
    headers.get(ENCODING).is_some_and(|encoding| encoding.as_bytes() == b"gzip")
}

/// A body of which nothing beyond [`MAX_EARLY`] is read before its connection is set up.
pub(super) struct Early<B> {
    body: B,
    peer: Arc<Peer>,
    bytes: usize,
    /// What came beyond, and whether the connection is set up in time.
    waiting: Option<(Frame<Bytes>, BoxFuture<'static, bool>)>,
}

impl<B> Early<B> {
    pub(super) fn new(body: B, peer: Arc<Peer>) -> Self {
        Self { body, peer, bytes: 0, waiting: None }
    }
}

impl<B: Body<Data = Bytes, Error = Status> + Unpin> Body for Early<B> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if this.waiting.is_none() {
            let frame = match ready!(Pin::new(&mut this.body).poll_frame(task)) {
                Some(Ok(frame)) => frame,
                other => return Poll::Ready(other),
            };
            this.bytes = this.bytes.saturating_add(frame.data_ref().map_or(0, Bytes::len));
            if this.bytes <= MAX_EARLY + HEAD || this.peer.is_set_up() {
                return Poll::Ready(Some(Ok(frame)));
            }
            let peer = Arc::clone(&this.peer);
            this.waiting = Some((frame, Box::pin(async move { peer.sets_up_in_time().await })));
        }
        let Some((frame, mut setup)) = this.waiting.take() else { return Poll::Ready(None) };
        match setup.as_mut().poll(task) {
            Poll::Pending => {
                this.waiting = Some((frame, setup));
                Poll::Pending
            }
            Poll::Ready(true) => Poll::Ready(Some(Ok(frame))),
            Poll::Ready(false) => {
                let text = format!("before the connection is set up a message has at most {MAX_EARLY} bytes");
                Poll::Ready(Some(Err(Status::resource_exhausted(text))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.waiting.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    //! A long message waits for the set-up, and not for long.
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::collections::VecDeque;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::{Context, Poll};

    use bytes::Bytes;
    use futures_util::FutureExt as _;
    use futures_util::future::poll_fn;
    use hyper::body::{Body, Frame};
    use tonic::{Code, Status};

    use super::{Early, HEAD, MAX_EARLY};
    use crate::nacos::grpc::service::Peer;

    struct Pieces(VecDeque<usize>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Poll::Ready(self.0.pop_front().map(|length| Ok(Frame::data(vec![0; length].into()))))
        }
    }

    fn peer() -> Arc<Peer> {
        Arc::new(Peer::new("id".to_owned(), "10.0.0.9".to_owned(), None))
    }

    /// How many bytes come, or why no more.
    async fn read(peer: &Arc<Peer>, pieces: &[usize]) -> Result<usize, Status> {
        let mut body = Early::new(Pieces(pieces.iter().copied().collect()), Arc::clone(peer));
        let mut bytes = 0;
        while let Some(frame) = poll_fn(|task| Pin::new(&mut body).poll_frame(task)).await {
            bytes += frame?.data_ref().map_or(0, Bytes::len);
        }
        Ok(bytes)
    }

    #[tokio::test(start_paused = true)]
    async fn a_stranger_is_heard_so_far_and_no_further() {
        let (peer, most) = (peer(), MAX_EARLY + HEAD);
        assert_eq!(read(&peer, &[most - 1, 1]).await.unwrap(), most);
        assert_eq!(read(&peer, &[most, 1]).await.unwrap_err().code(), Code::ResourceExhausted);
        assert_eq!(read(&peer, &[32 * 1024 * 1024]).await.unwrap_err().code(), Code::ResourceExhausted);
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_who_it_is_is_heard_to_the_end() {
        let peer = peer();
        let mut reading = Box::pin(read(&peer, &[100_000, 100_000, 100_000]));
        assert!(reading.as_mut().now_or_never().is_none());
        peer.sets_up();
        assert_eq!(reading.await.unwrap(), 300_000);
        assert_eq!(read(&peer, &[1_000_000]).now_or_never().unwrap().unwrap(), 1_000_000);
    }
}
