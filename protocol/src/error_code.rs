//! Every kind of refusal and failure that a client can be told, and its name. Owns the names: they are part of every
//! interface, so one is never changed or used for something else. What status or number an interface gives to a code is
//! that interface's.

/// What kind of refusal or failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// A namespace, group or data id breaks its rule.
    InvalidName,
    /// A parameter, header or field is unknown, repeated or breaks its rule.
    InvalidParameter,
    /// The content is empty, blank or not UTF-8.
    InvalidContent,
    /// A condition is malformed or out of place.
    InvalidCondition,
    /// A cursor was not given out, or for another list.
    InvalidCursor,
    /// The request can't be understood, or was cut short.
    MalformedRequest,
    /// A page of another host sends this.
    ForeignOrigin,
    /// The request is for a host that this node is not.
    ForeignHost,
    /// The caller is not known, or showed what is not right.
    Unauthenticated,
    /// The caller may not do this.
    Forbidden,
    /// What was asked for does not exist.
    NotFound,
    /// No such path.
    NoSuchRoute,
    /// The path takes other methods.
    MethodNotAllowed,
    /// No such kind of message, or not at this point of the conversation.
    UnknownRequest,
    /// A user, role or token of this name exists.
    AccessExists,
    /// A change of users or roles would leave nobody who may administer, or is of what is built in.
    AccessProtected,
    /// The password is not taken.
    WeakPassword,
    /// A password was wrong too often.
    TooManyAttempts,
    /// A part of a foreign interface that is not here.
    Unsupported,
    /// The connection has to be set up before this is asked.
    NotSetUp,
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
    /// A frame is longer than allowed.
    FrameTooLong,
    /// The media type or encoding of the body is not taken.
    UnsupportedType,
    /// The same idempotency key was used for another request.
    IdempotencyKeyReused,
    /// The database does not take what the request holds.
    Rejected,
    /// As much is queued or held as is allowed.
    Overloaded,
    /// As many sessions are open as is allowed.
    TooManySessions,
    /// As many patterns are watched as is allowed.
    TooManyPatterns,
    /// A pattern matches more than is told.
    TooManyMatches,
    /// Something else than hello came first.
    HelloExpected,
    /// No hello came in time.
    HelloLate,
    /// Client and node have no version of the protocol in common.
    VersionUnsupported,
    /// Nothing came from the client for too long.
    SessionIdle,
    /// A version was acknowledged that was not sent.
    NotPushed,
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
    /// All of them.
    pub const ALL: [Self; 43] = [
        Self::InvalidName,
        Self::InvalidParameter,
        Self::InvalidContent,
        Self::InvalidCondition,
        Self::InvalidCursor,
        Self::MalformedRequest,
        Self::ForeignOrigin,
        Self::ForeignHost,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::AccessExists,
        Self::AccessProtected,
        Self::WeakPassword,
        Self::TooManyAttempts,
        Self::NotFound,
        Self::NoSuchRoute,
        Self::MethodNotAllowed,
        Self::UnknownRequest,
        Self::Unsupported,
        Self::NotSetUp,
        Self::BodyTimeout,
        Self::NamespaceExists,
        Self::NamespaceInUse,
        Self::NamespaceProtected,
        Self::ConditionFailed,
        Self::TooLarge,
        Self::FrameTooLong,
        Self::UnsupportedType,
        Self::IdempotencyKeyReused,
        Self::Rejected,
        Self::Overloaded,
        Self::TooManySessions,
        Self::TooManyPatterns,
        Self::TooManyMatches,
        Self::HelloExpected,
        Self::HelloLate,
        Self::VersionUnsupported,
        Self::SessionIdle,
        Self::NotPushed,
        Self::Internal,
        Self::Unavailable,
        Self::ShuttingDown,
        Self::OutcomeUnknown,
    ];

    /// The name that programs look at.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidName => "invalid_name",
            Self::InvalidParameter => "invalid_parameter",
            Self::InvalidContent => "invalid_content",
            Self::InvalidCondition => "invalid_condition",
            Self::InvalidCursor => "invalid_cursor",
            Self::MalformedRequest => "malformed_request",
            Self::ForeignOrigin => "foreign_origin",
            Self::ForeignHost => "foreign_host",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::AccessExists => "access_exists",
            Self::AccessProtected => "access_protected",
            Self::WeakPassword => "weak_password",
            Self::TooManyAttempts => "too_many_attempts",
            Self::NotFound => "not_found",
            Self::NoSuchRoute => "no_such_route",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::UnknownRequest => "unknown_request",
            Self::Unsupported => "unsupported",
            Self::NotSetUp => "not_set_up",
            Self::BodyTimeout => "body_timeout",
            Self::NamespaceExists => "namespace_exists",
            Self::NamespaceInUse => "namespace_in_use",
            Self::NamespaceProtected => "namespace_protected",
            Self::ConditionFailed => "condition_failed",
            Self::TooLarge => "too_large",
            Self::FrameTooLong => "frame_too_long",
            Self::UnsupportedType => "unsupported_type",
            Self::IdempotencyKeyReused => "idempotency_key_reused",
            Self::Rejected => "rejected",
            Self::Overloaded => "overloaded",
            Self::TooManySessions => "too_many_sessions",
            Self::TooManyPatterns => "too_many_patterns",
            Self::TooManyMatches => "too_many_matches",
            Self::HelloExpected => "hello_expected",
            Self::HelloLate => "hello_late",
            Self::VersionUnsupported => "version_unsupported",
            Self::SessionIdle => "session_idle",
            Self::NotPushed => "not_pushed",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
            Self::ShuttingDown => "shutting_down",
            Self::OutcomeUnknown => "outcome_unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    //! A name tells just one code.

    use std::collections::BTreeSet;

    use super::ErrorCode;

    #[test]
    fn every_code_is_listed_once_and_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), ErrorCode::ALL.len());
        let is_plain = |name: &&str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        assert!(names.iter().all(is_plain), "{names:?}");
    }
}
