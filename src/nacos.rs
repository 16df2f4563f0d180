//! The interface of Nacos, over HTTP and over gRPC, for unmodified clients.
//!
//! Reading order: `publish` (what both have in common of a publish) · `refusal` (and of who may not) · `http` (version
//! 1) · `grpc` (since version 2).

pub(crate) mod grpc;
pub(crate) mod http;
mod publish;
mod refusal;
