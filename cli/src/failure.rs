//! Why a client command did not do what it was asked for. Owns the exit codes, and what each failure tells people to
//! do. No message holds content.

use callboard_client::{ConfigKey, Error};

use super::table::printable;

/// A failure of a client command.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command can't be carried out as it was written. Nothing was done.
    #[error("{0}")]
    Usage(String),
    /// No node gave an answer in time. No change was made.
    #[error(
        "no node is reachable at {nodes}: {reason}\n\
         Name the nodes by --nodes, CALLBOARD_CLIENT_NODES, or `nodes` in ~/.config/callboard.toml: \
         HOST[:PORT], the port being that for sessions, 8850 by default."
    )]
    Unreachable {
        /// The addresses that were tried.
        nodes: String,
        /// What is known of it.
        reason: String,
    },
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The condition does not hold. Nothing was written.
    #[error("the condition does not hold: {key} {present}")]
    Condition {
        /// The configuration.
        key: String,
        /// What it is like at present.
        present: String,
    },
    /// The change may have been made.
    #[error(
        "it is not known whether {key} was changed: {reason}\n\
         Ask again with --idempotency-key {request_id} and everything else the same; it is done once at most."
    )]
    OutcomeUnknown {
        /// The configuration.
        key: String,
        /// Why it is not known.
        reason: String,
        /// The idempotency key of the request.
        request_id: String,
    },
    /// What is there already, or can't be changed, forbids it. Nothing was written.
    #[error("{0}")]
    Conflict(String),
    /// A change of users, roles or tokens may have been made.
    #[error("it is not known whether this was done: {0}\nLook at the list to see.")]
    ChangeUnknown(String),
    /// Nobody is logged in, or what is shown is not taken, or not for this. Nothing was done.
    #[error("{0}")]
    Denied(String),
    /// A node refused, or what it said makes no sense. No change was made.
    #[error("{0}")]
    Server(String),
    /// Standard output can't be written to. What was asked for may be done.
    #[error("cannot write to standard output: {0}")]
    Output(#[from] std::io::Error),
}

impl Failure {
    /// The exit code that scripts look at.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            // Whoever read has read enough, as `head` does.
            Self::Output(error) if error.kind() == std::io::ErrorKind::BrokenPipe => 0,
            Self::Unreachable { .. } | Self::Server(_) | Self::Output(_) => 1,
            Self::Usage(_) => 2,
            Self::NotFound(_) => 3,
            Self::Condition { .. } | Self::Conflict(_) => 4,
            Self::OutcomeUnknown { .. } | Self::ChangeUnknown(_) => 5,
            Self::Denied(_) => 6,
        }
    }

    /// A node does not let the caller in (`unauthenticated`), or do this (`forbidden`).
    pub(crate) fn denied(code: &str, message: &str) -> Self {
        let remedy = match code {
            "unauthenticated" => {
                "Log in by `callboard login`, or show a token by --token-file, --token or CALLBOARD_CLIENT_TOKEN."
            }
            _ => "`callboard whoami` says what is allowed; an administrator allows more by `callboard grant`.",
        };
        Self::Denied(format!("{}\n{remedy}", printable(message)))
    }

    /// A request failed that changes nothing.
    pub(crate) fn of_read(error: Error, nodes: &[String]) -> Self {
        match error {
            Error::Unreachable { reason } => Self::Unreachable { nodes: nodes.join(", "), reason: printable(&reason) },
            Error::Denied { code, message } => Self::denied(&code, &message),
            // A node that does not know a request is older than this program; that is no fault of its user.
            Error::Invalid { code, message } if code != "unknown_request" => Self::Usage(printable(&message)),
            other => Self::Server(printable(&other.to_string())),
        }
    }

    /// A publish or a removal failed that was asked for with the idempotency key `request_id`.
    pub(crate) fn of_change(error: Error, key: &ConfigKey, request_id: &str, nodes: &[String]) -> Self {
        let unknown = |reason: String| Self::OutcomeUnknown {
            key: key.to_string(),
            reason: printable(&reason),
            request_id: request_id.to_owned(),
        };
        match error {
            Error::NotFound => Self::NotFound(format!("{key} does not exist")),
            Error::ConditionFailed { version, md5 } => {
                let present = match (version, md5.is_empty()) {
                    (0, _) => "does not exist, and never did".to_owned(),
                    (_, true) => format!("does not exist; it was removed at version {version}"),
                    (_, false) => format!("is at version {version}"),
                };
                Self::Condition { key: key.to_string(), present }
            }
            Error::OutcomeUnknown { .. } => unknown("no node said so in time".to_owned()),
            // Whether these left something behind is not known either.
            Error::Refused { code, message } if code == "internal" => unknown(message),
            error @ (Error::Unexpected | Error::Closed) => unknown(error.to_string()),
            other => Self::of_read(other, nodes),
        }
    }
}

#[cfg(test)]
mod tests;
