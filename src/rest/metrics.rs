//! The figures of the node for Prometheus, and the figures of HTTP itself: requests by route. Never holds a name or
//! content of a configuration.

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use callboard_protocol::error_code::ErrorCode;
use prometheus_client::encoding::text::encode;

use crate::api::error::ApiError;
use crate::http::openapi::Described;
use crate::http::route::{Answer, Call};

const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `GET /metrics`.
pub(super) async fn scrape(call: Call) -> Answer {
    call.query(&[])?;
    let mut text = String::new();
    encode(&mut text, &call.state.shared.exposition).map_err(|error| {
        tracing::error!(%error, "the metrics can't be written");
        ApiError::internal()
    })?;
    let mut answer = HttpResponse::Ok();
    answer.insert_header((CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE)));
    answer.insert_header((CACHE_CONTROL, HeaderValue::from_static("no-store")));
    Ok(answer.body(text))
}

/// The description of the route.
pub(super) fn describe() -> Described {
    Described::new("node", "getMetrics", "The figures of the node for Prometheus")
        .with_content(200, "OpenMetrics text", &["application/openmetrics-text"])
        .refuses(&[ErrorCode::InvalidParameter])
}
