//! What a client of Nacos is told over its stream, and when: the notices that its configurations changed, their
//! acknowledgement and repetition ([`notices`]), what it holds of each configuration ([`listens`]), and the patterns it
//! watches ([`fuzzy`]); how far the conversation with it is ([`conversation`]); and what a permission of Nacos grants
//! ([`permission`]). Owns these rules; reads nothing, sends nothing, and knows no form of a message.

pub mod conversation;
pub mod fuzzy;
pub mod listens;
pub mod notices;
pub mod permission;

use crate::error_code::ErrorCode;
use crate::key::ConfigKey;

/// What a notice is about. There is one at a time for each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A configuration that the client listens to changed.
    Config(ConfigKey),
    /// A configuration came to be, or is gone, that a pattern matches.
    Match(ConfigKey),
    /// One part of what a pattern matches: the pattern, and which part.
    Sync(Box<str>, Part),
}

/// A part of what a pattern matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The batch of this number, from one.
    Batch(u32),
    /// The word that there are no more.
    Finish,
}

/// True when a publish or a removal that is refused for this is answered as done: what is not there counts as removed.
#[must_use]
pub fn is_done_all_the_same(code: ErrorCode) -> bool {
    code == ErrorCode::NotFound
}

/// The notices of one client.
pub type Outbox = notices::Notices<Subject>;
