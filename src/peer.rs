//! The node's way to other nodes: the shared key, sealed datagrams, authenticated links.
//!
//! Reading order: [`key`] (who belongs to the cluster) · [`datagram`], [`udp`], [`seeds`] (the way of gossip) ·
//! [`links`] (what nodes say to each other) · [`node`] (all of it, put together). Opens sockets and carries bytes; what
//! is said over them, and what follows from it, is decided in the actors and the protocol crate. Without a key nothing
//! here listens.

pub mod datagram;
mod frame;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod handshake;
pub mod key;
pub mod links;
pub mod node;
pub mod seeds;
pub mod udp;
