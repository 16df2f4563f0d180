//! Answers on their way out: a long one goes out in pieces, for the framework copies what it is given, is counted
//! against the memory for answers, and its request counts as under way until it was taken. Closes nothing.

use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::HttpResponse;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use bytes::Bytes;
use callboard_protocol::share::ClientNetwork;

use crate::api::draining::Counted;
use crate::api::memory::{MemoryBudget, NoRoom, Shared};

/// A body of at most this size is written together with its head, and no piece of a longer one is longer.
const SMALL: usize = 32 * 1024;

/// Goes on counting until a long body or a stream has been taken. `network` is who takes it.
///
/// # Errors
/// There is no room for an answer of this length.
pub(crate) async fn follow(
    counted: Counted,
    response: HttpResponse,
    (memory, network): (&MemoryBudget, ClientNetwork),
) -> Result<HttpResponse, NoRoom> {
    match response.body().size() {
        BodySize::None => return Ok(response),
        BodySize::Sized(length) if length <= SMALL as u64 => return Ok(response),
        BodySize::Sized(_) | BodySize::Stream => {}
    }
    let (head, body) = response.into_parts();
    let body = match body.try_into_bytes() {
        Ok(bytes) => {
            let shared = memory.share(network, &bytes).await?;
            BoxBody::new(Pieces { bytes, _counted: (counted, shared) })
        }
        Err(body) => BoxBody::new(CountedBody { body, _counted: counted }),
    };
    Ok(head.set_body(body))
}

/// A long body, in pieces.
struct Pieces {
    bytes: Bytes,
    _counted: (Counted, Option<Shared>),
}

impl MessageBody for Pieces {
    type Error = std::convert::Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.bytes.len() as u64)
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let length = self.bytes.len().min(SMALL);
        Poll::Ready((length > 0).then(|| Ok(self.bytes.split_to(length))))
    }
}

/// A stream, counted.
struct CountedBody {
    body: BoxBody,
    _counted: Counted,
}

impl MessageBody for CountedBody {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(task)
    }
}
