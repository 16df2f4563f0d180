//! The forms that answers of Nacos have in common: bare words, objects, and objects in the envelope of version 1.

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, EXPIRES, HeaderValue, PRAGMA};
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde::Serialize;

use crate::api::error::ApiError;
use crate::nacos::http::Answer;

/// The media type of everything that does not set its own, whatever it is.
pub(super) const JSON: &str = "application/json;charset=UTF-8";
/// The media type of plain text.
pub(super) const TEXT: &str = "text/plain;charset=UTF-8";

/// The envelope of version 1.
#[derive(Serialize)]
struct RestResult<T> {
    code: u16,
    message: Option<&'static str>,
    data: T,
}

/// The envelope of version 3, and of a few answers of version 1.
#[derive(Serialize)]
struct Outcome<T> {
    code: u16,
    message: &'static str,
    data: T,
}

/// Whether a path is of version 3.
pub(super) fn is_v3(path: &str) -> bool {
    path.starts_with("/nacos/v3/") || path.starts_with("/v3/")
}

/// An answer of 200 with `body` as it is.
pub(super) fn word(media_type: &'static str, body: &'static str) -> HttpResponse {
    HttpResponse::Ok().insert_header((CONTENT_TYPE, HeaderValue::from_static(media_type))).body(body)
}

/// `true` or `false`, bare: clients compare the whole body.
pub(super) fn truth(value: bool) -> HttpResponse {
    word(JSON, if value { "true" } else { "false" })
}

/// An object without an envelope.
pub(super) fn bare<T: Serialize>(body: &T) -> Answer {
    let body = serde_json::to_vec(body).map_err(|error| {
        tracing::error!(%error, "an answer can't be written as JSON");
        ApiError::internal()
    })?;
    Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, HeaderValue::from_static(JSON))).body(body))
}

/// An object in the envelope of version 1.
pub(super) fn enveloped<T: Serialize>(data: T) -> Answer {
    bare(&RestResult { code: StatusCode::OK.as_u16(), message: None, data })
}

/// An object in the envelope of version 3.
pub(super) fn outcome<T: Serialize>(data: T) -> Answer {
    bare(&Outcome { code: 0, message: "success", data })
}

/// Says in every way there is that nobody may keep the answer.
pub(super) fn uncached(answer: &mut HttpResponseBuilder) -> &mut HttpResponseBuilder {
    answer
        .insert_header((PRAGMA, HeaderValue::from_static("no-cache")))
        .insert_header((EXPIRES, HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT")))
        .insert_header((CACHE_CONTROL, HeaderValue::from_static("no-cache,no-store")))
}
