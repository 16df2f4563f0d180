//! A body of JSON, as every route of the native interface reads one. Owns its longest size.

use actix_web::http::header::CONTENT_TYPE;
use callboard_protocol::error_code::ErrorCode;
use serde::de::DeserializeOwned;

use crate::api::error::ApiError;
use crate::http::route::Call;
use crate::http::{body, headers};

/// Longest body, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// Reads a body of JSON and nothing but what it may say.
pub(super) async fn json_body<T: DeserializeOwned>(call: &mut Call) -> Result<T, ApiError> {
    let declared = headers::single(call.request.headers(), &CONTENT_TYPE)?.unwrap_or_default();
    let essence = declared.split(|byte| *byte == b';').next().unwrap_or_default();
    if !essence.trim_ascii().eq_ignore_ascii_case(b"application/json") {
        return Err(ApiError::new(ErrorCode::UnsupportedType, "send Content-Type: application/json"));
    }
    let options = body::Options { max: MAX_BODY, patience: call.state.shared.options.body_timeout };
    let bytes = body::read(&call.request, &mut call.payload, options).await?;
    serde_json::from_slice(&bytes).map_err(|error| {
        let detail = format!("the body is not as described, at line {} column {}", error.line(), error.column());
        ApiError::new(ErrorCode::MalformedRequest, detail)
    })
}
