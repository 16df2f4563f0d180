//! The description of the interface, served. Owns nothing: it is made of the routes.

use std::sync::OnceLock;

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use bytes::Bytes;
use callboard_protocol::error_code::ErrorCode;

use crate::http::openapi::{Described, describe_all};
use crate::http::route::{Answer, Call};

/// `GET /openapi.json`.
pub(super) async fn document(call: Call) -> Answer {
    static DOCUMENT: OnceLock<Bytes> = OnceLock::new();
    call.query(&[])?;
    let document = DOCUMENT.get_or_init(|| {
        let description = describe_all(call.routes());
        description.to_pretty_json().map(Bytes::from).expect("a description made of texts and maps is JSON")
    });
    let mut answer = HttpResponse::Ok();
    answer.insert_header((CONTENT_TYPE, HeaderValue::from_static("application/json")));
    answer.insert_header((CACHE_CONTROL, HeaderValue::from_static("no-cache")));
    Ok(answer.body(document.clone()))
}

/// The description of the route.
pub(super) fn describe() -> Described {
    Described::new("node", "getDescription", "This description")
        .with_content(200, "OpenAPI 3.1", &["application/json"])
        .refuses(&[ErrorCode::InvalidParameter])
}
