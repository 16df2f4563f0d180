//! Requests that count as under way until their answers were taken. Owns when a body is through; closes nothing.

use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::HttpResponse;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use bytes::Bytes;

use crate::api::draining::Counted;

/// A body of at most this size is written together with its head.
const SMALL: u64 = 32 * 1024;

/// Goes on counting until a long body or a stream has been taken.
pub(crate) fn follow(counted: Counted, response: HttpResponse) -> HttpResponse {
    match response.body().size() {
        BodySize::None => response,
        BodySize::Sized(length) if length <= SMALL => response,
        BodySize::Sized(_) | BodySize::Stream => {
            response.map_body(|_, body| BoxBody::new(CountedBody { body, _counted: counted }))
        }
    }
}

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
