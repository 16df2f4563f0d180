//! Every refusal and failure that a client can be told, and the one form in which it is told: a problem document
//! (RFC 9457). Owns the table of codes, statuses and titles; never carries content, or what a database said.

use std::borrow::Cow;
use std::fmt;

use actix_web::http::header::{ALLOW, HeaderValue, RETRY_AFTER};
use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use callboard_actors::cache::ReadFailure;
use callboard_actors::cache::reading::Unread;
use callboard_actors::coordinator::WatchRefused;
use callboard_actors::runtime::AskError;
use callboard_protocol::config::{MetadataError, Version};
use callboard_protocol::content::ContentError;
use callboard_protocol::key::KeyError;
use callboard_protocol::unit::Refusal;
use callboard_protocol::wire::condition::ConditionError;
use callboard_protocol::wire::cursor::CursorError;
use serde_json::{Map, Value, json};

use super::answer::VERSION;

/// The media type of every refusal.
pub(crate) const PROBLEM: &str = "application/problem+json";

/// What kind of problem it is; the name is what programs look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorCode {
    /// A namespace, group or data id breaks its rule.
    InvalidName,
    /// A query parameter or header is unknown, repeated or breaks its rule.
    InvalidParameter,
    /// The content is empty, blank or not UTF-8.
    InvalidContent,
    /// `If-Match` or `If-None-Match` is malformed or out of place.
    InvalidCondition,
    /// A cursor was not given out, or for another list.
    InvalidCursor,
    /// The request can't be understood, or its body was cut short.
    MalformedRequest,
    /// A page of another host sends this.
    ForeignOrigin,
    /// The request is for a host that this node is not.
    ForeignHost,
    /// What was asked for does not exist.
    NotFound,
    /// No such path.
    NoSuchRoute,
    /// The path takes other methods.
    MethodNotAllowed,
    /// The body made no progress.
    BodyTimeout,
    /// A namespace with this id exists.
    NamespaceExists,
    /// The namespace holds configurations.
    NamespaceInUse,
    /// The namespace is built in.
    NamespaceProtected,
    /// The present state is not as the condition demands.
    ConditionFailed,
    /// The body is longer than allowed.
    TooLarge,
    /// The media type or encoding of the body is not taken.
    UnsupportedType,
    /// The same idempotency key was used for another request.
    IdempotencyKeyReused,
    /// The database does not take what the request holds.
    Rejected,
    /// As much is queued or held as is allowed.
    Overloaded,
    /// A fault of the server.
    Internal,
    /// Nothing was written, or nothing could be read.
    Unavailable,
    /// The node is stopping.
    ShuttingDown,
    /// It is not known whether the request was carried out.
    OutcomeUnknown,
}

impl ErrorCode {
    /// The name, the status and the title: the one table.
    fn entry(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Self::InvalidName => ("invalid_name", StatusCode::BAD_REQUEST, "Illegal name"),
            Self::InvalidParameter => ("invalid_parameter", StatusCode::BAD_REQUEST, "Illegal parameter"),
            Self::InvalidContent => ("invalid_content", StatusCode::BAD_REQUEST, "Illegal content"),
            Self::InvalidCondition => ("invalid_condition", StatusCode::BAD_REQUEST, "Illegal condition"),
            Self::InvalidCursor => ("invalid_cursor", StatusCode::BAD_REQUEST, "Illegal cursor"),
            Self::MalformedRequest => ("malformed_request", StatusCode::BAD_REQUEST, "Malformed request"),
            Self::ForeignOrigin => ("foreign_origin", StatusCode::FORBIDDEN, "Another host's page"),
            Self::ForeignHost => ("foreign_host", StatusCode::MISDIRECTED_REQUEST, "Another host"),
            Self::NotFound => ("not_found", StatusCode::NOT_FOUND, "Not found"),
            Self::NoSuchRoute => ("no_such_route", StatusCode::NOT_FOUND, "No such path"),
            Self::MethodNotAllowed => {
                ("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED, "The path takes other methods")
            }
            Self::BodyTimeout => ("body_timeout", StatusCode::REQUEST_TIMEOUT, "The body came too slowly"),
            Self::NamespaceExists => ("namespace_exists", StatusCode::CONFLICT, "The namespace exists"),
            Self::NamespaceInUse => ("namespace_in_use", StatusCode::CONFLICT, "The namespace is in use"),
            Self::NamespaceProtected => ("namespace_protected", StatusCode::CONFLICT, "The namespace is built in"),
            Self::ConditionFailed => ("condition_failed", StatusCode::PRECONDITION_FAILED, "The condition fails"),
            Self::TooLarge => ("too_large", StatusCode::PAYLOAD_TOO_LARGE, "The body is too long"),
            Self::UnsupportedType => {
                ("unsupported_type", StatusCode::UNSUPPORTED_MEDIA_TYPE, "The type of the body is not taken")
            }
            Self::IdempotencyKeyReused => {
                ("idempotency_key_reused", StatusCode::UNPROCESSABLE_ENTITY, "The idempotency key was used before")
            }
            Self::Rejected => ("rejected", StatusCode::UNPROCESSABLE_ENTITY, "The database refuses it"),
            Self::Overloaded => ("overloaded", StatusCode::TOO_MANY_REQUESTS, "Too much at once"),
            Self::Internal => ("internal", StatusCode::INTERNAL_SERVER_ERROR, "A fault of the server"),
            Self::Unavailable => ("unavailable", StatusCode::SERVICE_UNAVAILABLE, "Unavailable"),
            Self::ShuttingDown => ("shutting_down", StatusCode::SERVICE_UNAVAILABLE, "The node is stopping"),
            Self::OutcomeUnknown => ("outcome_unknown", StatusCode::GATEWAY_TIMEOUT, "The outcome is not known"),
        }
    }

    /// The name that programs look at.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        self.entry().0
    }

    /// The status of the answer.
    #[must_use]
    pub(crate) fn status(self) -> StatusCode {
        self.entry().1
    }

    /// The same for every problem of this kind.
    #[must_use]
    pub(crate) fn title(self) -> &'static str {
        self.entry().2
    }

    /// How many seconds the client had better wait, where waiting helps.
    pub(crate) fn retry_after(self) -> Option<u64> {
        match self {
            Self::Overloaded | Self::ShuttingDown => Some(1),
            Self::Unavailable => Some(2),
            _ => None,
        }
    }
}

/// A problem on its way to the client.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Problem {
    code: ErrorCode,
    detail: Cow<'static, str>,
    members: Map<String, Value>,
    version: Option<Version>,
    allow: Option<String>,
    closes: bool,
}

impl Problem {
    /// A problem of kind `code`; `detail` is for people.
    #[must_use]
    pub(crate) fn new(code: ErrorCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into(), members: Map::new(), version: None, allow: None, closes: false }
    }

    /// Adds a member to the document.
    #[must_use]
    pub(crate) fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.members.insert(member.to_owned(), value.into());
        self
    }

    /// Says in a header at which version the key is.
    #[must_use]
    pub(crate) fn at(mut self, version: Version) -> Self {
        self.version = Some(version);
        self
    }

    /// Ends the connection after the answer: what is left of the body is not read.
    #[must_use]
    pub(crate) fn closing(mut self) -> Self {
        self.closes = true;
        self
    }

    /// A parameter or header that breaks its rule.
    #[must_use]
    pub(crate) fn parameter(name: &str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidParameter, detail).with("parameter", name)
    }

    /// A path that takes only the methods of `allow`.
    #[must_use]
    pub(crate) fn method_not_allowed(allow: String) -> Self {
        let detail = format!("this path takes {allow}");
        Self { allow: Some(allow), ..Self::new(ErrorCode::MethodNotAllowed, detail) }
    }

    /// A publish that found no room.
    #[must_use]
    pub(crate) fn busy() -> Self {
        Self::new(ErrorCode::Overloaded, "too many publishes wait; nothing was written")
    }

    /// A publish that failed for certain, and why, in words that anybody may read.
    #[must_use]
    pub(crate) fn publish_failed(reason: &str) -> Self {
        Self::new(ErrorCode::Unavailable, format!("the publish failed: {reason}; nothing was written"))
    }

    /// A publish that the database refuses, and will again.
    #[must_use]
    pub(crate) fn rejected(reason: &str) -> Self {
        Self::new(ErrorCode::Rejected, format!("{reason}; nothing was written, and the log says what it was"))
    }

    /// A fault of the server; what it was is for the log.
    #[must_use]
    pub(crate) fn internal() -> Self {
        Self::new(ErrorCode::Internal, "the server made a mistake; its log says which")
    }

    /// What kind of problem it is.
    #[must_use]
    pub(crate) fn code(&self) -> ErrorCode {
        self.code
    }

    /// What happened, for people.
    #[must_use]
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// The methods that the path takes, when that was the problem.
    #[must_use]
    pub(crate) fn allow(&self) -> Option<&str> {
        self.allow.as_deref()
    }

    /// Whether the connection ends with the answer.
    #[must_use]
    pub(crate) fn closes(&self) -> bool {
        self.closes
    }

    /// The answer.
    #[must_use]
    pub(crate) fn into_response(self) -> HttpResponse {
        let status = self.code.status();
        let mut document = self.members;
        let common = [
            ("type", json!(format!("urn:callboard:problem:{}", self.code.as_str()))),
            ("title", json!(self.code.title())),
            ("status", json!(status.as_u16())),
            ("detail", json!(self.detail)),
            ("code", json!(self.code.as_str())),
        ];
        document.extend(common.map(|(member, value)| (member.to_owned(), value)));
        let mut answer = HttpResponse::build(status);
        answer.insert_header((header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM)));
        answer.insert_header((header::CACHE_CONTROL, HeaderValue::from_static("no-store")));
        if let Some(seconds) = self.code.retry_after() {
            answer.insert_header((RETRY_AFTER, HeaderValue::from(seconds)));
        }
        if let Some(version) = self.version {
            answer.insert_header((VERSION, HeaderValue::from(version.0)));
        }
        if let Some(allow) = self.allow {
            answer.insert_header((ALLOW, allow));
        }
        if self.closes {
            answer.force_close();
        }
        answer.body(Value::Object(document).to_string())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.code.as_str(), self.detail)
    }
}

impl std::error::Error for Problem {}

/// For what the framework itself is handed: the same answer.
impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.code.status()
    }

    fn error_response(&self) -> HttpResponse {
        self.clone().into_response()
    }
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        Self::new(ErrorCode::InvalidName, error.to_string()).with("parameter", error.part().to_string())
    }
}

impl From<MetadataError> for Problem {
    fn from(error: MetadataError) -> Self {
        Self::new(ErrorCode::InvalidParameter, error.to_string())
    }
}

impl From<ContentError> for Problem {
    fn from(error: ContentError) -> Self {
        let code = match error {
            ContentError::Blank | ContentError::NotUtf8 { .. } => ErrorCode::InvalidContent,
            ContentError::TooLong { .. } => ErrorCode::TooLarge,
        };
        Self::new(code, error.to_string())
    }
}

impl From<ConditionError> for Problem {
    fn from(error: ConditionError) -> Self {
        Self::new(ErrorCode::InvalidCondition, error.to_string())
    }
}

impl From<CursorError> for Problem {
    fn from(error: CursorError) -> Self {
        Self::new(ErrorCode::InvalidCursor, error.to_string())
    }
}

impl From<ReadFailure> for Problem {
    fn from(failure: ReadFailure) -> Self {
        match failure {
            ReadFailure::Unavailable { .. } => Self::new(ErrorCode::Unavailable, "the database does not answer"),
            ReadFailure::TimedOut => Self::new(ErrorCode::Unavailable, "the database did not answer in time"),
            ReadFailure::Broken { what } => {
                tracing::error!(error = what, "a stored row can't be understood");
                Self::internal()
            }
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Conflict { key, version, md5 } => {
                let detail = format!("{key} is at version {version}, which the condition does not allow");
                Self::new(ErrorCode::ConditionFailed, detail)
                    .with("version", version.0)
                    .with("md5", md5.map(|md5| md5.hex()))
                    .at(version)
            }
            Refusal::NotFound { key } => Self::new(ErrorCode::NotFound, format!("{key} does not exist")),
            Refusal::RequestIdReused { .. } => {
                let detail = "this idempotency key was used before, for another request; nothing was written";
                Self::new(ErrorCode::IdempotencyKeyReused, detail)
            }
        }
    }
}

/// For questions, which change nothing.
impl From<AskError> for Problem {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Closed => Self::new(ErrorCode::Unavailable, "a part of the node is being restarted"),
            AskError::TimedOut => Self::new(ErrorCode::Unavailable, "the node did not answer in time"),
        }
    }
}

impl From<Unread> for Problem {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Unasked(error) => error.into(),
            Unread::Failed(failure) => failure.into(),
        }
    }
}

impl From<WatchRefused> for Problem {
    fn from(refused: WatchRefused) -> Self {
        let code = match refused {
            WatchRefused::Full => ErrorCode::Overloaded,
            WatchRefused::Stopping => ErrorCode::ShuttingDown,
        };
        Self::new(code, refused.to_string())
    }
}

#[cfg(test)]
mod tests;
