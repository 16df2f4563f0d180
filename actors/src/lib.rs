//! The actors of Callboard and what they stand on.

pub mod codec;
pub mod store;
