//! Reading a key for a client, and what is left when that fails: what memory holds, if the settings allow it, with its
//! age. It may be old; it is never held, compared or pushed.

use std::time::Duration;

use callboard_protocol::config::SharedState;
use callboard_protocol::key::ConfigKey;

use super::ReadFailure;
use super::reader::{Get, GetStale, Stale};
use crate::runtime::{AskError, Target, ask};

/// How long memory may take.
const MEMORY_DEADLINE: Duration = Duration::from_secs(1);

/// What a read brought.
#[derive(Debug, Clone)]
pub struct Reading {
    /// The state.
    pub state: SharedState,
    /// Set when it may be old: for how long nothing newer could be known.
    pub age: Option<Duration>,
}

/// Why a read brought nothing.
#[derive(Debug)]
pub enum Unread {
    /// The reader could not be asked.
    Unasked(AskError),
    /// The read failed.
    Failed(ReadFailure),
}

impl Unread {
    /// True when the newest state exists and could not be had in time.
    fn is_out_of_reach(&self) -> bool {
        matches!(
            self,
            Self::Failed(ReadFailure::Unavailable { .. } | ReadFailure::TimedOut) | Self::Unasked(AskError::TimedOut)
        )
    }
}

/// Reads `key` within `patience`: the newest state, unless nothing but an old one can be had and `serve_stale` allows
/// that.
///
/// # Errors
/// Nothing could be had.
pub async fn read(
    (get, get_stale): (&impl Target<Get>, &impl Target<GetStale>),
    key: ConfigKey,
    patience: Duration,
    serve_stale: bool,
) -> Result<Reading, Unread> {
    let unread = match ask(get, Get { key: key.clone() }, patience).await {
        Ok(Ok(state)) => return Ok(Reading { state, age: None }),
        Ok(Err(failure)) => Unread::Failed(failure),
        Err(error) => Unread::Unasked(error),
    };
    if serve_stale
        && unread.is_out_of_reach()
        && let Ok(Some(Stale { state, age })) = ask(get_stale, GetStale { key }, MEMORY_DEADLINE).await
        // That a key does not exist can't be said with a mark: the answer to that is an error anyhow.
        && state.formal.is_some()
    {
        return Ok(Reading { state, age: Some(age) });
    }
    Err(unread)
}
