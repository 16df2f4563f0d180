//! The node's way to other nodes: the shared key, sealed datagrams, authenticated links and what operators see of them.
//!
//! Reading order: [`key`] (who belongs to the cluster) · [`links`] (what nodes say to each other). Opens sockets and carries bytes; what is said over them, and
//! what follows from it, is decided in the actors and the protocol crate. Without a key nothing here listens.

mod frame;
mod handshake;
pub mod key;
pub mod links;
pub mod node;
