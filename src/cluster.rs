//! The node's way to other nodes: the shared key, sealed datagrams, authenticated links and what operators see of them.
//!
//! Reading order: [`key`] (who belongs to the cluster) · [`datagram`], [`udp`], [`seeds`] (the way of gossip). Opens
//! sockets and carries bytes; what is said over them, and what follows from it, is decided in the actors and the
//! protocol crate. Without a key nothing here listens.

pub mod datagram;
pub mod key;
pub mod seeds;
pub mod udp;
