//! Reading the body of a request: up to a limit, and only as long as it makes progress. Owns the memory it is read
//! into, which is counted by the connection; never looks at it.

use std::mem;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap};
use bytes::{Bytes, BytesMut};
use callboard_protocol::error_code::ErrorCode;
use callboard_protocol::progress::LEAST_RATE;
use futures_util::StreamExt as _;
use tokio::time::timeout;

use crate::api::error::ApiError;
use crate::api::off_worker;
use crate::http::connection::{self, Broken};

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
pub(crate) async fn read(request: &HttpRequest, payload: &mut Payload, options: Options) -> Result<Bytes, ApiError> {
    let headers = request.headers();
    refuse_encoded(headers)?;
    let announced = announced(headers);
    if announced.is_some_and(|length| length > options.max) {
        return Err(too_large(options.max));
    }
    let mut body = Blocks::default();
    loop {
        let chunk = match timeout(options.patience, payload.next()).await {
            Ok(Some(Ok(chunk))) => chunk,
            Ok(Some(Err(error))) => return Err(broken(request, &error)),
            Ok(None) => break,
            Err(_elapsed) => {
                let detail = format!("no byte of the body came for {}", humantime::format_duration(options.patience));
                return Err(ApiError::new(ErrorCode::BodyTimeout, detail).closing());
            }
        };
        if body.length + chunk.len() > options.max {
            return Err(too_large(options.max));
        }
        body.add(&chunk);
    }
    if announced.is_some_and(|length| body.length < length) {
        return Err(unless_refused(request));
    }
    Ok(off_worker::run(body.length, || body.join()).await)
}

/// Bytes of a block.
const BLOCK: usize = 64 * 1024;

/// A body as it comes: an announcement alone takes no memory, and nothing that came is moved before all of it did.
#[derive(Default)]
struct Blocks {
    full: Vec<BytesMut>,
    last: BytesMut,
    length: usize,
}

impl Blocks {
    fn add(&mut self, mut chunk: &[u8]) {
        self.length += chunk.len();
        while !chunk.is_empty() {
            if self.last.len() == BLOCK {
                self.full.push(mem::replace(&mut self.last, BytesMut::with_capacity(BLOCK)));
            }
            let (now, rest) = chunk.split_at(chunk.len().min(BLOCK - self.last.len()));
            self.last.extend_from_slice(now);
            chunk = rest;
        }
    }

    /// All of it, in memory of exactly its size. Each block is given back once it was copied.
    fn join(self) -> Bytes {
        let mut body = Vec::with_capacity(self.length);
        for block in self.full.into_iter().chain([self.last]) {
            body.extend_from_slice(&block);
        }
        body.into()
    }
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

/// Why a body broke off: what its connection says, else its client.
fn unless_refused(request: &HttpRequest) -> ApiError {
    match connection::broken(request) {
        Some(Broken::NoRoom(none)) => ApiError::from(none).closing(),
        Some(Broken::TooSlow) => {
            let detail = format!("the body came more slowly than {LEAST_RATE} bytes a second, or not at all");
            ApiError::new(ErrorCode::BodyTimeout, detail).closing()
        }
        None => cut_short(),
    }
}

fn broken(request: &HttpRequest, error: &PayloadError) -> ApiError {
    match error {
        PayloadError::Incomplete(_) | PayloadError::Io(_) => unless_refused(request),
        _ => ApiError::new(ErrorCode::MalformedRequest, "the body is not framed as HTTP wants it").closing(),
    }
}

#[cfg(test)]
mod tests;
