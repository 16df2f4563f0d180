//! How Nacos tells a refusal: a line of plain text where a route was reached, the error document of its framework
//! where none was. Owns the texts around a message; never says what a database said.

use std::borrow::Cow;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, PRAGMA, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use callboard_actors::cache::ReadFailure;
use callboard_actors::cache::reading::Unread;
use callboard_actors::clock::{Clock as _, SystemClock};
use callboard_actors::runtime::AskError;
use callboard_protocol::config::MetadataError;
use callboard_protocol::error_code::ErrorCode;
use serde_json::json;

use crate::api::error::{ApiError, entry_of};
use crate::http::answer::rfc3339;
use crate::nacos::http::answer::{JSON, TEXT, is_v3};
use crate::nacos::refusal::{UNKNOWN, access_refusal};

/// What version 3 says to who is not known.
pub(super) const UNKNOWN_V3: &str = "User not found! Please check user exist or password is right!";

/// A refusal on its way to the client: a code, whose status the table says, and the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    code: ErrorCode,
    body: Cow<'static, str>,
    closes: bool,
    /// The caller may not.
    refused: Option<Box<ApiError>>,
}

impl Fault {
    pub(super) fn new(code: ErrorCode, body: impl Into<Cow<'static, str>>) -> Self {
        Self { code, body: body.into(), closes: false, refused: None }
    }

    /// What a controller of Nacos says.
    pub(super) fn caused(code: ErrorCode, message: impl AsRef<str>) -> Self {
        Self::new(code, format!("caused: {};", message.as_ref()))
    }

    /// What the client sent breaks a rule.
    pub(super) fn invalid(message: impl AsRef<str>) -> Self {
        Self::caused(ErrorCode::InvalidParameter, message)
    }

    /// A parameter that must be there is not.
    pub(super) fn missing(name: &str) -> Self {
        Self::invalid(format!("Required request parameter '{name}' for method parameter type String is not present"))
    }

    /// A part of Nacos that is not there yet. It is refused, so that nobody takes it for done.
    pub(super) fn unsupported(what: &str) -> Self {
        Self::caused(ErrorCode::Unsupported, format!("{what} is not supported by this server yet"))
    }

    /// What the parameter checker says, in front of every controller.
    pub(super) fn checked(name: &str, rule: impl AsRef<str>) -> Self {
        Self::new(ErrorCode::InvalidParameter, format!("Param '{name}' is illegal, {}.\n", rule.as_ref()))
    }

    /// There is no such configuration for this client.
    pub(super) fn no_config() -> Self {
        Self::new(ErrorCode::NotFound, "config data not exist\n")
    }

    /// As much is waiting as is allowed; nothing was done.
    pub(super) fn overloaded(message: impl AsRef<str>) -> Self {
        Self::caused(ErrorCode::Overloaded, message)
    }

    /// The answer, to a request for `path`.
    pub(super) fn into_response(self, path: &str) -> HttpResponse {
        // Who may not is told so by what stands in front of every controller.
        if let Some(refused) = self.refused {
            return turned_away(*refused, path);
        }
        let entry = entry_of(self.code);
        let mut answer = HttpResponse::build(status(entry.nacos_http));
        answer
            .insert_header((CONTENT_TYPE, HeaderValue::from_static(TEXT)))
            .insert_header((X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")))
            .insert_header((PRAGMA, HeaderValue::from_static("no-cache")))
            .insert_header((CACHE_CONTROL, HeaderValue::from_static("no-cache,no-store")));
        if let Some(seconds) = entry.retry_after {
            answer.insert_header((RETRY_AFTER, HeaderValue::from(seconds)));
        }
        if self.closes {
            answer.force_close();
        }
        answer.body(self.body.into_owned())
    }
}

/// The table holds statuses alone.
fn status(number: u16) -> StatusCode {
    StatusCode::from_u16(number).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

impl From<ApiError> for Fault {
    fn from(error: ApiError) -> Self {
        if access_refusal(&error).is_some() {
            return Self { refused: Some(Box::new(error)), ..Self::new(ErrorCode::Forbidden, "") };
        }
        // A semicolon ends what is said.
        Self { closes: error.closes, ..Self::caused(error.code(), error.detail().replace("; ", ", ")) }
    }
}

impl From<Unread> for Fault {
    fn from(unread: Unread) -> Self {
        ApiError::from(unread).into()
    }
}

impl From<ReadFailure> for Fault {
    fn from(failure: ReadFailure) -> Self {
        ApiError::from(failure).into()
    }
}

impl From<AskError> for Fault {
    fn from(error: AskError) -> Self {
        ApiError::from(error).into()
    }
}

impl From<MetadataError> for Fault {
    fn from(error: MetadataError) -> Self {
        Self::invalid(error.to_string())
    }
}

/// The answer of a handler that panicked.
pub(super) fn broken() -> HttpResponse {
    Fault::from(ApiError::internal()).into_response("")
}

/// What is told of who asks: version 3 has words around it.
fn access_message<'e>(error: &'e ApiError, path: &str) -> Option<Cow<'e, str>> {
    let message = access_refusal(error)?;
    if !is_v3(path) {
        return Some(Cow::Borrowed(message));
    }
    let code = if error.code() == ErrorCode::Forbidden { 403 } else { 401 };
    let message = if message == UNKNOWN { UNKNOWN_V3 } else { message };
    Some(Cow::Owned(format!("Code: {code}, Message: {message}.")))
}

/// The error document of Nacos's framework, for a request that no route saw.
pub(super) fn turned_away(error: ApiError, path: &str) -> HttpResponse {
    let refusal = access_message(&error, path);
    let status = status(if refusal.is_some() { error.entry().nacos_http } else { error.entry().http });
    // Nacos writes the offset in digits.
    let now = rfc3339(SystemClock.wall()).replace('Z', "+00:00");
    let document = json!({
        "timestamp": now,
        "status": status.as_u16(),
        "error": status.canonical_reason().unwrap_or_default(),
        "message": refusal.as_deref().unwrap_or(error.detail()),
        "path": path,
    });
    let mut answer = HttpResponse::build(status);
    answer.insert_header((CONTENT_TYPE, HeaderValue::from_static(JSON)));
    if let Some(allow) = error.allow {
        answer.insert_header((ALLOW, allow));
    }
    answer.body(document.to_string())
}
