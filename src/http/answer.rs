//! What answers have in common: JSON bodies, header names, times, and the forms that a method or an old client needs.
//! Decides no status.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, UNIX_EPOCH};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, StatusCode};
use actix_web::{HttpResponse, HttpResponseBuilder};
use bytes::Bytes;
use callboard_protocol::content::Md5;
use callboard_protocol::time::WallMillis;
use serde::Serialize;

use crate::api::error::ApiError;

/// The version that an answer is about.
pub(crate) const VERSION: HeaderName = HeaderName::from_static("x-callboard-version");
/// The type of the content that an answer carries.
pub(crate) const TYPE: HeaderName = HeaderName::from_static("x-callboard-type");

/// An answer with a JSON body that nobody may keep.
///
/// # Errors
/// A fault of ours when the body can't be written as JSON.
pub(crate) fn json<T: Serialize>(status: StatusCode, body: &T) -> Result<HttpResponse, ApiError> {
    let text = serde_json::to_vec(body).map_err(|error| {
        tracing::error!(%error, "an answer can't be written as JSON");
        ApiError::internal()
    })?;
    Ok(json_head(status).body(text))
}

/// The head of an answer with a JSON body that nobody may keep.
pub(crate) fn json_head(status: StatusCode) -> HttpResponseBuilder {
    let mut answer = HttpResponse::build(status);
    answer.insert_header((CONTENT_TYPE, HeaderValue::from_static("application/json")));
    answer.insert_header((CACHE_CONTROL, HeaderValue::from_static("no-store")));
    answer
}

/// `"<md5>"`.
pub(crate) fn entity_tag(md5: Md5) -> String {
    format!("\"{md5}\"")
}

/// RFC 3339, UTC, with milliseconds. A time that no calendar has is shown as its start.
pub(crate) fn rfc3339(at: WallMillis) -> String {
    /// The last millisecond of the year 9999.
    const LAST: u64 = 253_402_300_799_999;
    let millis = u64::try_from(at.0).unwrap_or_default().min(LAST);
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(millis)).to_string()
}

/// The head of an answer that is a stream.
struct NoStream;

impl MessageBody for NoStream {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        Poll::Ready(None)
    }
}

/// The answer to `HEAD`: the framework sends no body of a known size, but a stream would go on for as long as it lives.
pub(crate) fn without_body(answer: HttpResponse) -> HttpResponse {
    match answer.body().size() {
        BodySize::Stream => answer.set_body(BoxBody::new(NoStream)),
        BodySize::None | BodySize::Sized(_) => answer,
    }
}

/// The answer to a client of HTTP/1.0, which knows no chunks: a stream ends with its connection.
pub(crate) fn in_one_piece(answer: HttpResponse) -> HttpResponse {
    if answer.body().size() != BodySize::Stream || answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        return answer;
    }
    let mut answer = actix_http::Response::from(answer);
    answer.head_mut().no_chunking(true);
    answer.head_mut().set_connection_type(ConnectionType::Close);
    answer.into()
}
