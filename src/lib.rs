//! Callboard's outer layer: settings, command line, data directory, sockets and wiring around the actors.
//!
//! Reading order: [`cli`] (what was asked for) · [`settings`] (what is in force) · [`data_dir`] (what this node keeps)
//! · `database_link` (its way to a database server) · [`peer`] (its way to other nodes) · [`serve`] (the running node)
//! · `socket`, [`tls`] (what clients connect by) · `listener` (every way in) · `api` (what the doors share) · `http`
//! (what those over HTTP share) · `rest`, `session`, `nacos` (the doors) · [`backup`] (copies of its file) ·
//! [`fixed_answer`] (what to measure it by). This crate takes no decision about configuration data; those live in
//! `callboard-protocol` and are carried out by `callboard-actors`. Those who ask and measure a running cluster are
//! `callboard-cli` and `callboard-bench`.

// They panic where nobody can be told; see `lossy`.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

mod api;
pub mod backup;
pub mod cli;
pub mod data_dir;
mod database_link;
pub mod fixed_answer;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod http;
mod listener;
pub mod logging;
pub mod lossy;
mod nacos;
pub mod open_files;
pub mod peer;
mod rest;
pub mod serve;
mod session;
pub mod settings;
mod socket;
pub mod tls;
