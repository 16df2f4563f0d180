//! The cache of a node: newest state per key, loaded on a miss, bounded by bytes.
//!
//! Owns the one structure that several threads touch: shards of entries, marks and fills, each under its own lock, and
//! private to this module. Others reach it only by messages: reads through the [`reader`] of their own thread, marks
//! and commits through the [`keeper`]. The rules are `callboard_protocol::cache`; nothing here decides.

mod entries;
mod fill;
pub mod reader;
pub mod reading;
mod shards;
pub mod writer;

pub use shards::{Cache, CacheOptions};

/// Why a read could not be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadFailure {
    /// The database does not answer, and memory may not be trusted or holds nothing.
    #[error("the database is unavailable: {reason}")]
    Unavailable {
        /// What the database said.
        reason: String,
    },
    /// A stored row can't be understood.
    #[error("a stored row is broken: {what}")]
    Broken {
        /// Which row.
        what: String,
    },
    /// No answer in time.
    #[error("the read took too long")]
    TimedOut,
}

#[cfg(test)]
mod tests;
