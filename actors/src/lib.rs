//! The actors of Callboard and their messages.
//!
//! It owns what runs: who holds which state and who tells whom. The decisions are made in
//! `callboard-protocol`; sockets and formats belong to the binary.

pub mod runtime;
