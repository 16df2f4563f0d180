//! The actors of Callboard and their messages.
//!
//! It owns what runs: who holds which state and who tells whom. The decisions are made in
//! `callboard-protocol`; sockets and formats belong to the binary.
//!
//! Reading order: [`runtime`] (how any actor lives) · [`wiring`] (who knows whom) · [`cache`] and its reader (a read) ·
//! [`conf_manager`], [`cluster_notify`], [`store_writer`] (a publish) · [`change_feed`], [`event_bus`],
//! [`coordinator`], [`session`], [`long_poll`] (how a change reaches a client) · [`push_ledger`] (who got it) ·
//! [`lease_keeper`] (the membership) · [`transport`], [`peer_links`] (the way to other nodes) · [`gossip`],
//! [`cluster_listener`] (which nodes there are) · [`access_directory`] (who may do what) · [`audit`] (what
//! happened).

pub mod access_directory;
pub mod audit;
pub mod cache;
pub mod cache_refresh;
pub mod change_feed;
pub mod clock;
pub mod cluster_listener;
pub mod cluster_notify;
pub mod codec;
pub mod conf_manager;
pub mod coordinator;
pub mod event_bus;
pub mod gossip;
pub mod lease_keeper;
pub mod long_poll;
pub mod metrics;
pub mod peer_links;
pub mod push_ledger;
pub mod retention;
pub mod session;
pub mod store;
pub mod store_reader;
pub mod store_writer;
pub mod subscription;
#[cfg(test)]
mod testbed;
pub mod transport;
pub mod wiring;

pub use callboard_actor_runtime::{self as runtime, monitored};
