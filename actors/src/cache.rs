//! The cache of a node: newest state per key, loaded on a miss, bounded by bytes.
//!
//! Owns the one structure that several threads touch: shards of entries, marks and fills, each under its own lock, and
//! private to this module. Others reach it only by messages: reads through the [`reader`] of their own thread, marks
//! and commits through the [`writer`]. The rules are `callboard_protocol::cache`; nothing here decides.

mod entries;
mod fill;
pub mod reader;
pub mod reading;
mod shards;
pub mod writer;

pub use shards::{Cache, CacheOptions};

pub use crate::store_reader::ReadFailure;

#[cfg(test)]
mod tests;
