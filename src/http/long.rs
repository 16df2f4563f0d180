//! An answer with a long text in its JSON, which is written as it goes out. Owns how its length is known beforehand;
//! what is in it is the handler's.

use std::any::Any;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::{HttpResponse, HttpResponseBuilder};
use bytes::Bytes;

use crate::api::error::ApiError;
use crate::api::escaped::Escaped;

/// An answer whose body is `text`. `counted` counts what it takes up, and is kept until it was written.
///
/// # Errors
/// A fault of ours.
pub(crate) async fn answer(
    head: &mut HttpResponseBuilder,
    text: Escaped,
    counted: impl Any,
) -> Result<HttpResponse, ApiError> {
    // Ten mebibytes take milliseconds to look at, which others on this thread would wait for.
    let measured = tokio::task::spawn_blocking(move || (text.len(), text)).await;
    let (length, text) = measured.map_err(|_panicked| ApiError::internal())?;
    Ok(head.body(BoxBody::new(LongBody { length, text, _counted: Box::new(counted) })))
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
