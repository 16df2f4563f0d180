//! Texts and headers that come from clients, made into types: hand-written, total decoders. Each takes any input and
//! answers with a value or with a reason that can be shown; none panics, looks anything up or changes anything.

use crate::config::Version;

pub mod condition;
pub mod content_type;
pub mod cursor;
pub mod event_id;
pub mod hosts;
pub mod listening;
pub mod wait;

/// Reads a version: decimal digits and nothing else. Databases keep 63 bits of it, so more is no version.
fn parse_version(text: &str) -> Option<Version> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse::<i64>().ok().and_then(|number| u64::try_from(number).ok()).map(Version)
}
