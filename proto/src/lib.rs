//! The wire forms of Callboard, for nodes and clients alike: the messages of a native session, generated from
//! `session.proto`, their [`frame`]s over TCP and their [`json`] over WebSocket; and what goes before a [`long`]
//! content.
//!
//! It owns how bytes become messages and messages become bytes, within limits. It opens nothing and decides nothing:
//! what a message means is said in `docs/protocol.md`.

pub mod bounded;
mod fields;
pub mod frame;
pub mod json;
pub mod long;
#[cfg(feature = "nacos-client")]
pub mod nacos_client;
#[cfg(feature = "nacos")]
pub mod nacos_codec;

/// The messages of a native session.
pub mod session {
    #![allow(missing_docs, reason = "documented in session.proto, from which it is generated")]
    #![allow(clippy::all, clippy::pedantic, reason = "generated")]

    include!(concat!(env!("OUT_DIR"), "/callboard.session.v1.rs"));
}

/// The messages and methods of Nacos's clients since version 2.
#[cfg(feature = "nacos")]
pub mod nacos {
    #![allow(
        missing_docs,
        unreachable_pub,
        reason = "documented in nacos_grpc_service.proto, from which it is generated"
    )]
    #![allow(clippy::all, clippy::pedantic, clippy::restriction, reason = "generated")]
    #![allow(non_camel_case_types, reason = "generated")]

    include!(concat!(env!("OUT_DIR"), "/_.rs"));
}

/// The versions of the session protocol that this program speaks, the lowest and the highest.
pub const SESSION_VERSIONS: (u32, u32) = (1, 1);
/// Longest frame, in bytes, without the length in front of it; also the longest text over WebSocket.
pub const MAX_FRAME: usize = 16 * 1024 * 1024;
/// Longest frame, or text, that a node takes before the hello and as the hello, in bytes.
pub const MAX_GREETING: usize = 64 * 1024;
/// Most configurations that a hello names as held: more don't fit in [`MAX_GREETING`].
pub const MAX_HELD_AT_HELLO: usize = 2_000;
/// Most labels in a hello that can be read; how many a node takes is less.
pub const MAX_LABELS: usize = 64;
/// Most keys, and most prefixes, that one message to watch, to unwatch or to hold names.
pub const MAX_KEYS: usize = 10_000;
/// Most items of a page that can be read; how many a node sends is less.
pub const MAX_ITEMS: usize = 1_000;
/// Most nodes that a message names.
pub const MAX_NODES: usize = 1_000;
/// Longest content that a push carries, in bytes; longer ones are named and have to be asked for.
pub const MAX_PUSHED: usize = 64 * 1024;
