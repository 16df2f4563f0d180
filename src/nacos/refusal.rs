//! How Nacos tells somebody that he may not, over HTTP and over gRPC alike. Owns these words, which its clients look
//! at.

use callboard_protocol::error_code::ErrorCode;
use serde_json::Value;

use crate::api::error::ApiError;

/// What is said to who shows nothing, or a wrong name or password.
pub(super) const UNKNOWN: &str = "user not found!";

/// What Nacos says to an error that is about who asks; `None` for another one.
pub(super) fn access_refusal(error: &ApiError) -> Option<&str> {
    let reason = error.members.get("reason").and_then(Value::as_str);
    match error.code() {
        ErrorCode::Unauthenticated => Some(match reason {
            Some("invalid_token") => "token invalid!",
            Some("forged_token") => "Invalid signature",
            Some("expired_token") => "token expired!",
            _ => UNKNOWN,
        }),
        ErrorCode::Forbidden => Some("authorization failed!"),
        ErrorCode::TooManyAttempts => Some(error.detail()),
        _ => None,
    }
}
