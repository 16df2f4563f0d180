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
use serde_json::json;

use super::super::answer::rfc3339;
use super::super::problem::Problem;
use super::answer::{JSON, TEXT};

/// A refusal on its way to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::http) struct Fault {
    status: StatusCode,
    body: Cow<'static, str>,
    retry_after: Option<u64>,
    closes: bool,
}

impl Fault {
    /// What a controller of Nacos says.
    pub(super) fn caused(status: StatusCode, message: impl AsRef<str>) -> Self {
        let body = format!("caused: {};", message.as_ref()).into();
        Self { status, body, retry_after: None, closes: false }
    }

    /// What the client sent breaks a rule.
    pub(super) fn invalid(message: impl AsRef<str>) -> Self {
        Self::caused(StatusCode::BAD_REQUEST, message)
    }

    /// A parameter that must be there is not.
    pub(super) fn missing(name: &str) -> Self {
        Self::invalid(format!("Required request parameter '{name}' for method parameter type String is not present"))
    }

    /// A part of Nacos that is not there yet. It is refused, so that nobody takes it for done.
    pub(super) fn unsupported(what: &str) -> Self {
        Self::invalid(format!("{what} is not supported by this server yet"))
    }

    /// What the parameter checker says, in front of every controller.
    pub(super) fn checked(name: &str, rule: impl AsRef<str>) -> Self {
        let body = format!("Param '{name}' is illegal, {}.\n", rule.as_ref()).into();
        Self { status: StatusCode::BAD_REQUEST, body, retry_after: None, closes: false }
    }

    /// There is no such configuration for this client.
    pub(super) fn no_config() -> Self {
        let body = Cow::Borrowed("config data not exist\n");
        Self { status: StatusCode::NOT_FOUND, body, retry_after: None, closes: false }
    }

    /// As much is waiting as is allowed; nothing was done.
    pub(super) fn overloaded(message: impl AsRef<str>) -> Self {
        Self { retry_after: Some(1), ..Self::caused(StatusCode::SERVICE_UNAVAILABLE, message) }
    }

    /// The answer.
    pub(in crate::http) fn into_response(self) -> HttpResponse {
        let mut answer = HttpResponse::build(self.status);
        answer
            .insert_header((CONTENT_TYPE, HeaderValue::from_static(TEXT)))
            .insert_header((X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")))
            .insert_header((PRAGMA, HeaderValue::from_static("no-cache")))
            .insert_header((CACHE_CONTROL, HeaderValue::from_static("no-cache,no-store")));
        if let Some(seconds) = self.retry_after {
            answer.insert_header((RETRY_AFTER, HeaderValue::from(seconds)));
        }
        if self.closes {
            answer.force_close();
        }
        answer.body(self.body.into_owned())
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        let code = problem.code();
        let status = match code.status() {
            // Nacos knows no 429: its clients try the next server on 503.
            StatusCode::TOO_MANY_REQUESTS => StatusCode::SERVICE_UNAVAILABLE,
            status => status,
        };
        let closes = problem.closes();
        Self { retry_after: code.retry_after(), closes, ..Self::caused(status, problem.detail()) }
    }
}

impl From<Unread> for Fault {
    fn from(unread: Unread) -> Self {
        Problem::from(unread).into()
    }
}

impl From<ReadFailure> for Fault {
    fn from(failure: ReadFailure) -> Self {
        Problem::from(failure).into()
    }
}

impl From<AskError> for Fault {
    fn from(error: AskError) -> Self {
        Problem::from(error).into()
    }
}

impl From<MetadataError> for Fault {
    fn from(error: MetadataError) -> Self {
        Self::invalid(error.to_string())
    }
}

/// The error document of Nacos's framework, for a request that no route saw.
pub(in crate::http) fn turned_away(problem: &Problem, path: &str) -> HttpResponse {
    let status = problem.code().status();
    // Nacos writes the offset in digits.
    let now = rfc3339(SystemClock.wall()).replace('Z', "+00:00");
    let document = json!({
        "timestamp": now,
        "status": status.as_u16(),
        "error": status.canonical_reason().unwrap_or_default(),
        "message": problem.detail(),
        "path": path,
    });
    let mut answer = HttpResponse::build(status);
    answer.insert_header((CONTENT_TYPE, HeaderValue::from_static(JSON)));
    if let Some(allow) = problem.allow() {
        answer.insert_header((ALLOW, allow));
    }
    answer.body(document.to_string())
}
