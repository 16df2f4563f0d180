//! Reading the body of a request: up to a limit, and only as long as it makes progress. Owns the memory it is read
//! into; never looks at it.

use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap};
use bytes::{Bytes, BytesMut};
use callboard_protocol::error_code::ErrorCode;
use futures_util::StreamExt as _;
use tokio::time::timeout;

use crate::api::error::ApiError;

/// How a body is to be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// Longest body, in bytes.
    pub(crate) max: usize,
    /// How long it may go without progress.
    pub(crate) patience: Duration,
}

/// Reads a body as a whole, into memory of exactly its size: what is kept of it holds nothing else alive.
///
/// # Errors
/// A problem when it is encoded, too long, cut short or too slow.
pub(crate) async fn read(headers: &HeaderMap, payload: &mut Payload, options: Options) -> Result<Bytes, ApiError> {
    refuse_encoded(headers)?;
    let announced = announced(headers);
    if announced.is_some_and(|length| length > options.max) {
        return Err(too_large(options.max));
    }
    let mut body = BytesMut::new();
    loop {
        let chunk = match timeout(options.patience, payload.next()).await {
            Ok(Some(Ok(chunk))) => chunk,
            Ok(Some(Err(error))) => return Err(broken(&error)),
            Ok(None) => break,
            Err(_elapsed) => {
                let detail = format!("no byte of the body came for {}", humantime::format_duration(options.patience));
                return Err(ApiError::new(ErrorCode::BodyTimeout, detail).closing());
            }
        };
        if body.len() + chunk.len() > options.max {
            return Err(too_large(options.max));
        }
        if body.is_empty() {
            // Only once something came: an announcement alone takes no memory.
            body = BytesMut::with_capacity(announced.unwrap_or(chunk.len()));
        }
        body.extend_from_slice(&chunk);
    }
    if announced.is_some_and(|length| body.len() < length) {
        return Err(cut_short());
    }
    let grown = body.capacity() > body.len();
    Ok(if grown { Bytes::copy_from_slice(&body) } else { body.freeze() })
}

/// A length that can't be read is refused by the protocol before it comes here.
fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn refuse_encoded(headers: &HeaderMap) -> Result<(), ApiError> {
    let plain = |value: &[u8]| value.trim_ascii().is_empty() || value.trim_ascii().eq_ignore_ascii_case(b"identity");
    if headers.get_all(CONTENT_ENCODING).all(|value| plain(value.as_bytes())) {
        return Ok(());
    }
    Err(ApiError::new(ErrorCode::UnsupportedType, "the body must not be encoded; leave Content-Encoding out"))
}

fn too_large(max: usize) -> ApiError {
    ApiError::new(ErrorCode::TooLarge, format!("the body is longer than {max} bytes")).closing()
}

fn cut_short() -> ApiError {
    ApiError::new(ErrorCode::MalformedRequest, "the body broke off before its end").closing()
}

fn broken(error: &PayloadError) -> ApiError {
    match error {
        PayloadError::Incomplete(_) | PayloadError::Io(_) => cut_short(),
        _ => ApiError::new(ErrorCode::MalformedRequest, "the body is not framed as HTTP wants it").closing(),
    }
}

#[cfg(test)]
mod tests;
