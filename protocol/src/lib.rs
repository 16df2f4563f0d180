//! The rules of Callboard, without I/O, clock or chance.
//!
//! Whatever decides something (is this name legal, what does a batch write, may this entry answer a read, when does
//! a publish count as failed) is decided here by plain functions and state machines; time and chance are arguments.
//! Actors and sockets only drive them. This crate opens nothing, spawns nothing and reads no clock.
//!
//! Reading order: [`key`], [`content`], [`config`] (what is stored) · [`write_request`], [`commit`] (what a publish
//! writes) · [`member`], [`time`] (who takes part, and when) · [`publish`] (how a publish runs) · [`receiver`] (what
//! every node does with it) · [`in_doubt`] (what became of a commit) · [`lease`] (how a node becomes a member, stays
//! one, and is fenced) · [`membership_view`] (what it makes of the others) · [`cache`] (when memory may answer) ·
//! [`feed`], [`watch`] (what a subscriber is sent) · [`long_poll`] (who waits for which key) · [`session`] (what a
//! native client is sent) · [`push_ledger`], [`clients`] (who got what) · [`retention`] (what is old) · [`link`] (when
//! a way to a peer lives) · [`access`] (who may do what) · [`extent`], [`commit_health`], [`log_growth`] (how
//! the database is) · [`wire`] (hand-written decoders) and [`hex`] · [`share`], [`progress`] (what a client may take
//! of a node, and how long)
// A new event, effect or state makes each place that decides on it fail to compile, until it says what it does there.
#![cfg_attr(not(test), warn(clippy::wildcard_enum_match_arm))]

#[macro_use]
mod named;

pub mod access;
pub mod cache;
pub mod clients;
pub mod commit;
pub mod commit_health;
pub mod config;
pub mod content;
pub mod error_code;
pub mod extent;
pub mod feed;
pub mod gray;
pub mod hex;
pub mod in_doubt;
pub mod key;

pub mod lease;
pub mod link;
pub mod log_growth;
pub mod long_poll;
pub mod member;
pub mod membership_view;
pub mod nacos;
pub mod progress;
pub mod publish;
pub mod push_ledger;
pub mod receiver;
pub mod retention;
mod rules;
pub mod session;
pub mod share;
#[cfg(test)]
mod simulation;
pub mod time;
pub mod watch;
pub mod wire;
pub mod write_request;
