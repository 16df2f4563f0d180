//! Every kind of refusal and failure that a client can be told, and its name. Owns the names: they are part of every
//! interface, so one is never changed or used for something else. What status or number an interface gives to a code is
//! that interface's.

named! {
    /// What kind of refusal or failure it is.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub enum ErrorCode {
        /// A namespace, group or data id breaks its rule.
        InvalidName = "invalid_name",
        /// A parameter, header or field is unknown, repeated or breaks its rule.
        InvalidParameter = "invalid_parameter",
        /// The content is empty, blank or not UTF-8.
        InvalidContent = "invalid_content",
        /// A condition is malformed or out of place.
        InvalidCondition = "invalid_condition",
        /// A cursor was not given out, or for another list.
        InvalidCursor = "invalid_cursor",
        /// The request can't be understood, or was cut short.
        MalformedRequest = "malformed_request",
        /// A page of another host sends this.
        ForeignOrigin = "foreign_origin",
        /// The request is for a host that this node is not.
        ForeignHost = "foreign_host",
        /// The caller is not known, or showed what is not right.
        Unauthenticated = "unauthenticated",
        /// The caller may not do this.
        Forbidden = "forbidden",
        /// A user, role or token of this name exists.
        AccessExists = "access_exists",
        /// A change of users or roles would leave nobody who may administer, or is of what is built in.
        AccessProtected = "access_protected",
        /// The password is not taken.
        WeakPassword = "weak_password",
        /// A password was wrong too often.
        TooManyAttempts = "too_many_attempts",
        /// Nobody has answered at the provider of single sign-on yet.
        AuthorizationPending = "authorization_pending",
        /// As before, and it is to be asked less often.
        SlowDown = "slow_down",
        /// Nobody has answered at the provider of single sign-on in time.
        ExpiredDeviceCode = "expired_device_code",
        /// What was asked for does not exist.
        NotFound = "not_found",
        /// No such path.
        NoSuchRoute = "no_such_route",
        /// The path takes other methods.
        MethodNotAllowed = "method_not_allowed",
        /// No such kind of message, or not at this point of the conversation.
        UnknownRequest = "unknown_request",
        /// A part of a foreign interface that is not here.
        Unsupported = "unsupported",
        /// The connection has to be set up before this is asked.
        NotSetUp = "not_set_up",
        /// The body made no progress.
        BodyTimeout = "body_timeout",
        /// A namespace with this id exists.
        NamespaceExists = "namespace_exists",
        /// The namespace holds configurations.
        NamespaceInUse = "namespace_in_use",
        /// The namespace is built in.
        NamespaceProtected = "namespace_protected",
        /// The present state is not as the condition demands.
        ConditionFailed = "condition_failed",
        /// The body is longer than allowed.
        TooLarge = "too_large",
        /// A frame is longer than allowed.
        FrameTooLong = "frame_too_long",
        /// The media type or encoding of the body is not taken.
        UnsupportedType = "unsupported_type",
        /// The same idempotency key was used for another request.
        IdempotencyKeyReused = "idempotency_key_reused",
        /// The database does not take what the request holds.
        Rejected = "rejected",
        /// As much is queued or held as is allowed.
        Overloaded = "overloaded",
        /// As many sessions are open as is allowed.
        TooManySessions = "too_many_sessions",
        /// As many patterns are watched as is allowed.
        TooManyPatterns = "too_many_patterns",
        /// A pattern matches more than is told.
        TooManyMatches = "too_many_matches",
        /// Something else than hello came first.
        HelloExpected = "hello_expected",
        /// No hello came in time.
        HelloLate = "hello_late",
        /// Client and node have no version of the protocol in common.
        VersionUnsupported = "version_unsupported",
        /// Nothing came from the client for too long.
        SessionIdle = "session_idle",
        /// A version was acknowledged that was not sent.
        NotPushed = "not_pushed",
        /// A fault of the server.
        Internal = "internal",
        /// Nothing was written, or nothing could be read.
        Unavailable = "unavailable",
        /// The node is stopping.
        ShuttingDown = "shutting_down",
        /// It is not known whether the request was carried out.
        OutcomeUnknown = "outcome_unknown",
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
