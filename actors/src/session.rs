//! Sessions: one actor for each client that waits for changes.
//!
//! A [`stream`] session sends every change; a [`native`] session is a conversation; a [`grpc`] session is one with a
//! client of Nacos. Each registers with the coordinator of its thread first, reads second, and sends what is newer. A
//! session owns what its client has been sent; it opens no socket and knows no format.

pub mod grpc;
pub mod native;
mod outcome;
mod steps;
pub mod stream;

use std::time::Duration;

use actix::{Addr, Recipient};

use crate::cache::reader::{Get, GetMany, GetStale};
use crate::conf_manager::Publish;
use crate::coordinator::Coordinator;
use crate::store_reader::{GetKeys, ListConfigs, SearchConfigs};

/// Whom a conversation asks what: all but the last live on its own thread.
#[derive(Debug, Clone)]
pub struct Deps {
    /// Knows who watches.
    pub coordinator: Addr<Coordinator>,
    /// Reads one key.
    pub get: Recipient<Get>,
    /// Reads keys.
    pub get_many: Recipient<GetMany>,
    /// Says what memory still holds of a key.
    pub get_stale: Recipient<GetStale>,
    /// Reads a page of a listing.
    pub list: Recipient<ListConfigs>,
    /// Tells which keys a selector matches.
    pub keys: Recipient<GetKeys>,
    /// Searches.
    pub search: Recipient<SearchConfigs>,
    /// Makes a change.
    pub publish: Recipient<Publish>,
}

/// How long a session waits for an answer of another actor.
const ASK_DEADLINE: Duration = Duration::from_secs(12);
/// How soon a session tries again what failed because the database or an actor was away.
const RETRY: Duration = Duration::from_millis(250);
