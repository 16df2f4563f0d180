//! Section `memory`: what requests and answers may take up. Counts nothing.

use serde::{Deserialize, Serialize};

use super::byte_size::ByteSize;
use super::error::Invalid;

/// A form of the longest content that there may be has to fit into the half that one address gets.
const LEAST: ByteSize = ByteSize::mebibytes(64);

/// What all clients together may make a node hold. The manual, `config/default.toml`, says more about each value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryOptions {
    /// Requests, until they are answered.
    pub requests: ByteSize,
    /// Answers, until they were written.
    pub answers: ByteSize,
}

impl Default for MemoryOptions {
    fn default() -> Self {
        Self { requests: ByteSize::mebibytes(128), answers: ByteSize::mebibytes(128) }
    }
}

impl MemoryOptions {
    /// Checks the ranges that the manual names.
    ///
    /// # Errors
    /// The first value out of range.
    pub fn validate(&self) -> Result<(), Invalid> {
        let values = [("memory.requests", self.requests), ("memory.answers", self.answers)];
        match values.into_iter().find(|(_, size)| *size < LEAST) {
            Some((key, _)) => Err(Invalid::new(key, "must be at least 64MiB, so that the longest request finds room")),
            None => Ok(()),
        }
    }
}
