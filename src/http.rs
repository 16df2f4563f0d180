//! HTTP as the doors share it: how routes are served, requests read and answers written.
//!
//! Reading order: `route` (the way of every request) · `problem` (every refusal) · `openapi` (how routes describe
//! themselves) · `client`, `query`, `headers`, `body`, `connection`, `credentials`, `cookies`, `foreign` (reading a
//! request) · `answer`, `stale`, `in_flight` (the answer).
//!
//! It knows no route and decides nothing about configurations. A request whose
//! head is no HTTP, too slow or too large is answered by the framework, with a status and without a body: there is no
//! request yet that a route could answer.

pub(crate) mod answer;
pub(crate) mod body;
pub(crate) mod client;
pub(crate) mod connection;
pub(crate) mod cookies;
pub(crate) mod credentials;
mod foreign;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
pub(crate) mod headers;
mod in_flight;
pub(crate) mod long;
pub(crate) mod openapi;
pub(crate) mod problem;
pub(crate) mod query;
pub(crate) mod route;
pub(crate) mod stale;
