//! Black-box tests of Callboard: real processes, real databases, real clients.
//!
//! What the tests and the proof programs share. Nothing here knows the inside of the server; only names, digests
//! and limits come from the protocol crate, so that a test cannot disagree about them by accident.
//!
//! Reading order: [`node`] (a process) · [`client`], [`sse`], [`nacos`], [`grpc`], [`oidc`] and [`tls`] (talking to it)
//! · [`history`] and [`checker`] (what was observed, and whether it may be) · [`crash`], [`failing_storage`],
//! [`freshness`], [`ha`] and [`siege`] (proofs built from these).

pub mod binary;
pub mod chaos;
pub mod checker;
pub mod client;
pub mod cluster;
pub mod cluster_freshness;
pub mod crash;
pub mod database_server;
pub mod failing_storage;
pub mod freshness;
pub mod grpc;
pub mod guarded;
pub mod ha;
pub mod heard;
pub mod history;
pub mod metrics;
pub mod nacos;
pub mod node;
pub mod oidc;
pub mod poll;
pub mod process;
pub mod proxy;
pub mod raw;
pub mod session;
pub mod siege;
pub mod sse;
pub mod tls;
pub mod volume;
