//! Why a request failed. Owns which of a node's errors are worth another try, and what the others are called here.

use std::time::Duration;

use callboard_proto::session as wire;

/// Longest text of a node that is kept of an error, in characters.
const MAX_TEXT: usize = 1_024;
/// Longest pause that a node can ask for.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The condition of a change does not hold. Nothing was written.
    #[error("the condition does not hold: the configuration is at version {version}")]
    ConditionFailed {
        /// The present version.
        version: u64,
        /// The present digest; empty when the configuration does not exist.
        md5: String,
    },
    /// The configuration to be removed does not exist. Nothing was written.
    #[error("the configuration does not exist")]
    NotFound,
    /// The request breaks a rule. Nothing was done, and repeating it does not help.
    #[error("the request is invalid ({code}): {message}")]
    Invalid {
        /// What programs look at.
        code: String,
        /// For people.
        message: String,
    },
    /// Whether the change was made is not known: the deadline passed before a node said so. It may be made still.
    /// Repeating the request with `request_id` as its idempotency key is harmless, for a day.
    #[error("it is not known whether the change was made; repeat it with the idempotency key {request_id}")]
    OutcomeUnknown {
        /// The idempotency key of the request.
        request_id: String,
    },
    /// No node gave an answer before the deadline. No change was made.
    #[error("no node answered in time: {reason}")]
    Unreachable {
        /// What is known of it, for people.
        reason: String,
    },
    /// A node does not take the credentials (`unauthenticated`), or they are not for this (`forbidden`). Nothing was
    /// done. When it is the session that is refused, the client is at its end: it tries no further.
    #[error("{message} ({code})")]
    Denied {
        /// What programs look at.
        code: String,
        /// For people.
        message: String,
    },
    /// A node refused, for a reason that is no fault of the request. No change was made, unless the code is
    /// `internal`: then it is not known.
    #[error("the node refused ({code}): {message}")]
    Refused {
        /// What programs look at.
        code: String,
        /// For people.
        message: String,
    },
    /// A node's answer is not of the kind that was asked for. Whether a change was made is not known.
    #[error("a node answered something else than it was asked for")]
    Unexpected,
    /// A callback panicked. What it was called with is neither applied nor rejected.
    #[error("the callback panicked")]
    Panicked,
    /// The runtime that the client was made in is shutting down. Whether a change was made is not known.
    #[error("the client is closed")]
    Closed,
}

/// What to do about a node's error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Ask again.
    Again {
        /// After this time, when the node named one.
        after: Option<Duration>,
        /// False when the change may have been made.
        nothing_was_done: bool,
        /// What to tell when there is no time left.
        error: Error,
    },
    /// Tell the program.
    Final(Error),
}

/// Judges a node's error about one request.
pub(crate) fn judge(error: wire::Error) -> Verdict {
    let after = Some(Duration::from_millis(error.retry_after_ms).min(MAX_PAUSE)).filter(|after| !after.is_zero());
    let (code, message) = (text(&error.code), text(&error.message));
    match code.as_str() {
        "condition_failed" => Verdict::Final(Error::ConditionFailed { version: error.version, md5: text(&error.md5) }),
        "not_found" => Verdict::Final(Error::NotFound),
        "invalid_name"
        | "invalid_parameter"
        | "invalid_content"
        | "invalid_condition"
        | "invalid_cursor"
        | "too_large"
        | "unknown_request"
        | "idempotency_key_reused" => Verdict::Final(Error::Invalid { code, message }),
        "unavailable" | "overloaded" | "shutting_down" => {
            Verdict::Again { after, nothing_was_done: true, error: Error::Refused { code, message } }
        }
        "outcome_unknown" => {
            let error = Error::OutcomeUnknown { request_id: text(&error.request_id) };
            Verdict::Again { after, nothing_was_done: false, error }
        }
        _ if is_denial(&code) => Verdict::Final(Error::Denied { code, message }),
        _ => Verdict::Final(Error::Refused { code, message }),
    }
}

/// True of what the same credentials are told again each time.
pub(crate) fn is_denial(code: &str) -> bool {
    matches!(code, "unauthenticated" | "forbidden")
}

/// A text of a node, cut to what is kept of it.
pub(crate) fn text(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

#[cfg(test)]
mod tests;
