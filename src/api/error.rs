//! Every refusal and failure on its way to a client, whatever interface it came by. Owns the one table that says what
//! each interface makes of a code; never carries content, or what a database said. The form in which an error is told
//! is the interface's.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use callboard_actors::cache::ReadFailure;
use callboard_actors::cache::reading::Unread;
use callboard_actors::coordinator::WatchRefused;
use callboard_actors::runtime::AskError;
use callboard_actors::session::native::message::Fault;
use callboard_protocol::access::audit::Target;
use callboard_protocol::config::{MetadataError, Version};
use callboard_protocol::content::ContentError;
use callboard_protocol::error_code::ErrorCode;
use callboard_protocol::key::KeyError;
use callboard_protocol::wire::condition::ConditionError;
use callboard_protocol::wire::cursor::CursorError;
use callboard_protocol::write_request::{Refusal, RequestId};
use serde_json::{Map, Value};

/// What the interfaces make of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The same for every error of this kind, for people.
    pub(crate) title: &'static str,
    /// The status over HTTP, in the native interface.
    pub(crate) http: u16,
    /// The status over HTTP, in the interface of Nacos: its clients know no 429, and try the next server on 503.
    pub(crate) nacos_http: u16,
    /// The `errorCode` over gRPC.
    pub(crate) nacos_grpc: i32,
    /// How many seconds the client had better wait, where waiting helps.
    pub(crate) retry_after: Option<u64>,
}

/// An entry that is the same over HTTP in both interfaces.
const fn entry(title: &'static str, http: u16, nacos_grpc: i32) -> Entry {
    Entry { title, http, nacos_http: http, nacos_grpc, retry_after: None }
}

/// An entry whose client had better wait for some seconds.
const fn later(title: &'static str, (http, nacos_http): (u16, u16), nacos_grpc: i32, seconds: u64) -> Entry {
    Entry { nacos_http, retry_after: Some(seconds), ..entry(title, http, nacos_grpc) }
}

/// An entry for which a controller of Nacos answers 500.
const fn broken(title: &'static str, http: u16) -> Entry {
    Entry { nacos_http: 500, ..entry(title, http, 500) }
}

/// What every interface answers to a code: the one table. A native session tells the name alone.
pub(crate) const fn entry_of(code: ErrorCode) -> Entry {
    match code {
        ErrorCode::InvalidName => entry("Illegal name", 400, 500),
        ErrorCode::InvalidParameter => entry("Illegal parameter", 400, 500),
        ErrorCode::InvalidContent => entry("Illegal content", 400, 500),
        ErrorCode::InvalidCondition => entry("Illegal condition", 400, 500),
        ErrorCode::InvalidCursor => entry("Illegal cursor", 400, 500),
        ErrorCode::MalformedRequest => entry("Malformed request", 400, 502),
        ErrorCode::ForeignOrigin => entry("Another host's page", 403, 403),
        ErrorCode::ForeignHost => entry("Another host", 421, 500),
        ErrorCode::Unauthenticated => Entry { nacos_http: 403, ..entry("Not known", 401, 403) },
        ErrorCode::AccessExists => entry("It exists already", 409, 500),
        ErrorCode::AccessProtected => entry("It is protected", 409, 500),
        ErrorCode::WeakPassword => entry("The password is not taken", 400, 500),
        ErrorCode::TooManyAttempts => later("Too many attempts", (429, 403), 403, 1),
        ErrorCode::Forbidden => entry("Not allowed", 403, 403),
        ErrorCode::AuthorizationPending => entry("Nobody has answered yet", 400, 500),
        ErrorCode::SlowDown => entry("Asked too often", 400, 500),
        ErrorCode::ExpiredDeviceCode => entry("Nobody has answered in time", 400, 500),
        ErrorCode::NotFound => entry("Not found", 404, 300),
        ErrorCode::NoSuchRoute => entry("No such path", 404, 302),
        ErrorCode::MethodNotAllowed => entry("The path takes other methods", 405, 302),
        ErrorCode::UnknownRequest => entry("No such request", 400, 302),
        ErrorCode::Unsupported => entry("Not supported", 400, 501),
        ErrorCode::NotSetUp => entry("Not set up", 400, 301),
        ErrorCode::BodyTimeout => entry("The body came too slowly", 408, 500),
        ErrorCode::NamespaceExists => entry("The namespace exists", 409, 500),
        ErrorCode::NamespaceInUse => entry("The namespace is in use", 409, 500),
        ErrorCode::NamespaceProtected => entry("The namespace is built in", 409, 500),
        ErrorCode::ConditionFailed => broken("The condition fails", 412),
        ErrorCode::TooLarge => entry("The body is too long", 413, 500),
        ErrorCode::FrameTooLong => entry("The frame is too long", 413, 500),
        ErrorCode::UnsupportedType => entry("The type of the body is not taken", 415, 500),
        ErrorCode::IdempotencyKeyReused => broken("The idempotency key was used before", 422),
        ErrorCode::Rejected => entry("The database refuses it", 422, 500),
        ErrorCode::Overloaded => later("Too much at once", (429, 503), 503, 1),
        ErrorCode::TooManySessions => later("Too many sessions", (429, 503), 503, 5),
        ErrorCode::TooManyPatterns => entry("Too many patterns", 400, 50_310),
        ErrorCode::TooManyMatches => entry("Too many matches", 400, 50_311),
        ErrorCode::HelloExpected => entry("Hello was expected", 400, 301),
        ErrorCode::HelloLate => entry("No hello in time", 408, 301),
        ErrorCode::VersionUnsupported => entry("No version in common", 400, 500),
        ErrorCode::SessionIdle => entry("Nothing came for too long", 408, 500),
        ErrorCode::NotPushed => entry("This was not sent", 400, 500),
        ErrorCode::Internal => entry("A fault of the server", 500, 500),
        ErrorCode::Unavailable => later("Unavailable", (503, 503), 500, 2),
        ErrorCode::ShuttingDown => later("The node is stopping", (503, 503), 503, 1),
        ErrorCode::OutcomeUnknown => entry("The outcome is not known", 504, 503),
    }
}

/// A refusal or failure on its way to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    code: ErrorCode,
    detail: Cow<'static, str>,
    /// What programs can read of it, besides its code.
    pub(crate) members: Map<String, Value>,
    /// At which version the key is.
    pub(crate) version: Option<Version>,
    /// The methods that the path takes, when that was the problem.
    pub(crate) allow: Option<String>,
    /// Whether the connection ends with the answer.
    pub(crate) closes: bool,
    /// What the caller may not do, where that is the problem.
    refused: Option<Box<Target>>,
}

impl ApiError {
    /// A problem of kind `code`; `detail` is for people.
    #[must_use]
    pub(crate) fn new(code: ErrorCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            members: Map::new(),
            version: None,
            allow: None,
            closes: false,
            refused: None,
        }
    }

    /// Adds a member to the document.
    #[must_use]
    pub(crate) fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.members.insert(member.to_owned(), value.into());
        self
    }

    /// Says what the caller may not do; nobody is told, but it is written down.
    #[must_use]
    pub(crate) fn refusing(mut self, target: Target) -> Self {
        self.refused = Some(Box::new(target));
        self
    }

    /// What the caller may not do, where that is the problem.
    #[must_use]
    pub(crate) fn refused(&self) -> Option<&Target> {
        self.refused.as_deref()
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

    /// The caller is not known.
    #[must_use]
    pub(crate) fn unauthenticated(detail: &'static str) -> Self {
        Self::new(ErrorCode::Unauthenticated, detail)
    }

    /// Passwords were wrong too often.
    #[must_use]
    pub(crate) fn too_many_attempts(wait: Duration) -> Self {
        let seconds = wait.as_secs().max(1);
        let detail = format!("passwords were wrong too often from here; the next one is looked at in {seconds} s");
        Self::new(ErrorCode::TooManyAttempts, detail).with("retryAfter", seconds)
    }

    /// A fault of the server; what it was is for the log.
    #[must_use]
    pub(crate) fn internal() -> Self {
        Self::new(ErrorCode::Internal, "the server made a mistake; its log says which")
    }

    /// A publish of which it is not known whether it was written.
    #[must_use]
    pub(crate) fn outcome_unknown(request_id: &RequestId) -> Self {
        let detail = "it is not known whether this was written; repeat it with requestId as its idempotency key";
        Self::new(ErrorCode::OutcomeUnknown, detail).with("requestId", request_id.as_str())
    }

    /// What kind of error it is.
    #[must_use]
    pub(crate) fn code(&self) -> ErrorCode {
        self.code
    }

    /// What every interface makes of its code.
    #[must_use]
    pub(crate) fn entry(&self) -> Entry {
        entry_of(self.code)
    }

    /// What happened, for people.
    #[must_use]
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.code.as_str(), self.detail)
    }
}

impl std::error::Error for ApiError {}

impl From<KeyError> for ApiError {
    fn from(error: KeyError) -> Self {
        Self::new(ErrorCode::InvalidName, error.to_string()).with("parameter", error.part().to_string())
    }
}

impl From<MetadataError> for ApiError {
    fn from(error: MetadataError) -> Self {
        Self::new(ErrorCode::InvalidParameter, error.to_string())
    }
}

impl From<ContentError> for ApiError {
    fn from(error: ContentError) -> Self {
        let code = match error {
            ContentError::Blank | ContentError::NotUtf8 { .. } => ErrorCode::InvalidContent,
            ContentError::TooLong { .. } => ErrorCode::TooLarge,
        };
        Self::new(code, error.to_string())
    }
}

impl From<ConditionError> for ApiError {
    fn from(error: ConditionError) -> Self {
        Self::new(ErrorCode::InvalidCondition, error.to_string())
    }
}

impl From<CursorError> for ApiError {
    fn from(error: CursorError) -> Self {
        Self::new(ErrorCode::InvalidCursor, error.to_string())
    }
}

impl From<ReadFailure> for ApiError {
    fn from(failure: ReadFailure) -> Self {
        match failure {
            ReadFailure::Unavailable { .. } => Self::new(ErrorCode::Unavailable, "the database does not answer"),
            ReadFailure::TimedOut => Self::new(ErrorCode::Unavailable, "the database did not answer in time"),
            ReadFailure::TooManySearches => Self::new(ErrorCode::Overloaded, "too many searches wait"),
            ReadFailure::Broken { what } => {
                tracing::error!(error = what, "a stored row can't be understood");
                Self::internal()
            }
        }
    }
}

impl From<Refusal> for ApiError {
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
            Refusal::NoKey { .. } => Self::new(ErrorCode::Rejected, refusal.to_string()),
            Refusal::RequestIdReused { .. } => {
                let detail = "this idempotency key was used before, for another request; nothing was written";
                Self::new(ErrorCode::IdempotencyKeyReused, detail)
            }
        }
    }
}

/// For questions, which change nothing.
impl From<AskError> for ApiError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Closed => Self::new(ErrorCode::Unavailable, "a part of the node is being restarted"),
            AskError::TimedOut => Self::new(ErrorCode::Unavailable, "the node did not answer in time"),
        }
    }
}

impl From<Unread> for ApiError {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Unasked(error) => error.into(),
            Unread::Failed(failure) => failure.into(),
        }
    }
}

impl From<WatchRefused> for ApiError {
    fn from(refused: WatchRefused) -> Self {
        let code = match refused {
            WatchRefused::Full => ErrorCode::Overloaded,
            WatchRefused::Stopping => ErrorCode::ShuttingDown,
        };
        Self::new(code, refused.to_string())
    }
}

/// For what goes wrong in a conversation, over whichever carrier.
impl From<Fault> for ApiError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Form(code, text) => Self::new(code, text),
            Fault::HelloExpected => Self::new(ErrorCode::HelloExpected, "the first message has to be hello"),
            Fault::HelloLate => Self::new(ErrorCode::HelloLate, "no hello came in time"),
            Fault::Versions(ours) => {
                let detail = format!("this node speaks versions {ours} of the protocol");
                Self::new(ErrorCode::VersionUnsupported, detail)
            }
            Fault::Idle => Self::new(ErrorCode::SessionIdle, "nothing was heard for too long"),
            Fault::TooManySessions => Self::new(ErrorCode::TooManySessions, "as many sessions are open here as may be"),
            Fault::NotPushed => Self::new(ErrorCode::NotPushed, "this version was not sent on this session"),
            Fault::TooManyWatches(most) => {
                Self::new(ErrorCode::Overloaded, format!("one session may watch {most} keys and prefixes"))
            }
            Fault::TooManyKeys(most) => {
                Self::new(ErrorCode::Overloaded, format!("one session may hear of {most} configurations"))
            }
            Fault::Read(failure) => failure.into(),
            Fault::Ask(error) => error.into(),
            Fault::Watch(refused) => refused.into(),
            Fault::Refused(refusal) => refusal.into(),
            Fault::Busy => Self::busy(),
            Fault::Failed(reason) => Self::publish_failed(&reason),
            Fault::Rejected(reason) => Self::rejected(&reason),
            Fault::Unknown(id) => Self::outcome_unknown(&id),
            Fault::Leaving => Self::new(ErrorCode::ShuttingDown, "this node is stopping; ask another one"),
        }
    }
}

#[cfg(test)]
mod tests {
    //! Every code has an entry that every interface can tell.

    use callboard_protocol::error_code::ErrorCode;

    use super::entry_of;

    #[test]
    fn every_code_is_a_refusal_in_every_interface() {
        for code in ErrorCode::ALL {
            let entry = entry_of(code);
            assert!((400..600).contains(&entry.http), "{code:?}");
            assert!((400..600).contains(&entry.nacos_http), "{code:?}");
            assert_ne!(entry.nacos_http, 429, "{code:?}: clients of Nacos do not know it");
            assert!(entry.nacos_grpc != 0 && entry.nacos_grpc != 200, "{code:?}");
            assert!(!entry.title.is_empty(), "{code:?}");
            let is_passing = matches!(entry.http, 429 | 503);
            assert_eq!(entry.retry_after.is_some(), is_passing, "{code:?}");
        }
    }
}
