//! An answer with a long text in its JSON, which is written as it goes out. Owns how its length is known beforehand;
//! what is in it is the handler's.

use std::any::Any;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::{HttpResponse, HttpResponseBuilder};
use bytes::Bytes;

use crate::api::escaped::Escaped;
use crate::api::off_worker;

/// An answer whose body is `text`. `counted` counts what it takes up, and is kept until it was written.
pub(crate) async fn answer(head: &mut HttpResponseBuilder, text: Escaped, counted: impl Any) -> HttpResponse {
    let (length, text) = off_worker::run(text.text_len(), move || (text.len(), text)).await;
    head.body(BoxBody::new(LongBody { length, text, _counted: Box::new(counted) }))
}

struct LongBody {
    length: usize,
    text: Escaped,
    _counted: Box<dyn Any>,
}

impl MessageBody for LongBody {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.length as u64)
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        Poll::Ready(self.text.next_piece().map(Ok))
    }
}
