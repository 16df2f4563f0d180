//! An error as the native interface tells it over HTTP: a problem document (RFC 9457). Owns that form.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use callboard_protocol::error_code::ErrorCode;
use serde_json::{Value, json};

use super::answer::VERSION;
use crate::api::error::{ApiError, entry_of};

/// The media type of every refusal.
pub(crate) const PROBLEM: &str = "application/problem+json";

/// The status of a code. The table holds statuses alone.
pub(crate) fn status_of(code: ErrorCode) -> StatusCode {
    StatusCode::from_u16(entry_of(code).http).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The answer.
pub(crate) fn response(error: ApiError) -> HttpResponse {
    let (code, entry) = (error.code(), error.entry());
    let status = status_of(code);
    let detail = error.detail().to_owned();
    let mut document = error.members;
    let common = [
        ("type", json!(format!("urn:callboard:problem:{}", code.as_str()))),
        ("title", json!(entry.title)),
        ("status", json!(status.as_u16())),
        ("detail", json!(detail)),
        ("code", json!(code.as_str())),
    ];
    document.extend(common.map(|(member, value)| (member.to_owned(), value)));
    let mut answer = HttpResponse::build(status);
    answer.insert_header((CONTENT_TYPE, HeaderValue::from_static(PROBLEM)));
    answer.insert_header((CACHE_CONTROL, HeaderValue::from_static("no-store")));
    if let Some(seconds) = entry.retry_after {
        answer.insert_header((RETRY_AFTER, HeaderValue::from(seconds)));
    }
    if status == StatusCode::UNAUTHORIZED {
        answer.insert_header((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer, Basic realm=\"callboard\"")));
    }
    if let Some(version) = error.version {
        answer.insert_header((VERSION, HeaderValue::from(version.0)));
    }
    if let Some(allow) = error.allow {
        answer.insert_header((ALLOW, allow));
    }
    if error.closes {
        answer.force_close();
    }
    answer.body(Value::Object(document).to_string())
}

#[cfg(test)]
mod tests;
