//! `Last-Event-ID`: the version after which a reader of server-sent events resumes. Owns its form; whether the
//! version can still be resumed after is for the reader of the change feed to say.

use crate::config::Version;

use super::parse_version;

/// The header is no event id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Last-Event-ID must be the id of an earlier event: decimal digits, at most 9223372036854775807")]
pub struct BadEventId;

/// Reads a `Last-Event-ID` header.
///
/// # Errors
/// [`BadEventId`] for anything but decimal digits of a number that a version can be.
pub fn parse(value: &[u8]) -> Result<Version, BadEventId> {
    std::str::from_utf8(value).ok().and_then(parse_version).ok_or(BadEventId)
}

#[cfg(test)]
mod tests;
