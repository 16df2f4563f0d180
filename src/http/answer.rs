//! What answers have in common: JSON bodies, header names, times. Decides no status.

use std::time::{Duration, UNIX_EPOCH};

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use callboard_protocol::time::WallMillis;
use serde::Serialize;

use super::problem::Problem;

/// The version that an answer is about.
pub(super) const VERSION: HeaderName = HeaderName::from_static("x-callboard-version");
/// The type of the content that an answer carries.
pub(super) const TYPE: HeaderName = HeaderName::from_static("x-callboard-type");

/// An answer with a JSON body that nobody may keep.
///
/// # Errors
/// A fault of ours when the body can't be written as JSON.
pub(super) fn json<T: Serialize>(status: StatusCode, body: &T) -> Result<HttpResponse, Problem> {
    let text = serde_json::to_vec(body).map_err(|error| {
        tracing::error!(%error, "an answer can't be written as JSON");
        Problem::internal()
    })?;
    let mut answer = HttpResponse::build(status);
    answer.insert_header((CONTENT_TYPE, HeaderValue::from_static("application/json")));
    answer.insert_header((CACHE_CONTROL, HeaderValue::from_static("no-store")));
    Ok(answer.body(text))
}

/// RFC 3339, UTC, with milliseconds. A time that no calendar has is shown as its start.
pub(super) fn rfc3339(at: WallMillis) -> String {
    /// The last millisecond of the year 9999.
    const LAST: u64 = 253_402_300_799_999;
    let millis = u64::try_from(at.0).unwrap_or_default().min(LAST);
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(millis)).to_string()
}
