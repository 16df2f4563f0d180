//! Reading a key, and what is left when that fails: the cached value, if the settings allow it, marked with its age. A
//! marked answer may be old; it is never held, compared or pushed.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header::{HeaderName, HeaderValue};
use callboard_actors::cache::ReadFailure;
use callboard_actors::cache::reader::{Get, GetStale, Stale};
use callboard_actors::runtime::{AskError, ask};
use callboard_protocol::config::SharedState;
use callboard_protocol::key::ConfigKey;

use super::{READ_DEADLINE, State};

/// Says that an answer may be old, and for how long nothing newer could be known, such as `12s`.
const STALE: HeaderName = HeaderName::from_static("x-callboard-stale");
/// How long memory may take.
const MEMORY_DEADLINE: Duration = Duration::from_secs(1);

/// What a read brought.
pub(super) struct Reading {
    /// The state.
    pub(super) state: SharedState,
    /// Set when it may be old: for how long nothing newer could be known.
    pub(super) age: Option<Duration>,
}

/// Why a read brought nothing.
pub(super) enum Unread {
    /// The reader could not be asked.
    Unasked(AskError),
    /// The read failed.
    Failed(ReadFailure),
}

impl Reading {
    /// Marks the answer when it may be old.
    pub(super) fn mark(&self, mut response: HttpResponse) -> HttpResponse {
        if let Some(age) = self.age {
            let text = format!("{}s", age.as_secs());
            // Digits and a letter are legal in any header.
            if let Ok(value) = HeaderValue::from_str(&text) {
                response.headers_mut().insert(STALE, value);
            }
        }
        response
    }
}

/// Reads `key`; the newest state, unless nothing but an old one can be had and the settings allow that.
pub(super) async fn read(state: &State, key: ConfigKey) -> Result<Reading, Unread> {
    let reader = &state.worker.reader;
    let failure = match ask(reader, Get { key: key.clone() }, READ_DEADLINE).await {
        Ok(Ok(state)) => return Ok(Reading { state, age: None }),
        Ok(Err(failure)) => Unread::Failed(failure),
        Err(error) => Unread::Unasked(error),
    };
    let may_be_old = matches!(failure, Unread::Failed(ReadFailure::Unavailable { .. } | ReadFailure::TimedOut));
    if state.shared.limits.serve_stale
        && may_be_old
        && let Ok(Some(Stale { state, age })) = ask(reader, GetStale { key }, MEMORY_DEADLINE).await
        // That a key does not exist can't be said with a mark: the answer to that is an error anyhow.
        && state.formal.is_some()
    {
        return Ok(Reading { state, age: Some(age) });
    }
    Err(failure)
}
