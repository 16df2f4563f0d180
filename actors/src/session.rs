//! Sessions: one actor for each client that waits for changes.
//!
//! A [`stream`] session sends every change; a [`native`] session is a conversation; a [`grpc`] session is one with a client
//! of Nacos. Each registers with the coordinator of its thread
//! first, reads second, and sends what is newer. A session owns what its client has been sent; it opens no socket and
//! knows no format.

pub mod grpc;
pub mod native;
mod outcome;
pub mod stream;

use std::time::Duration;

use actix::Addr;

use crate::cache::reader::Reader;
use crate::conf_manager::ConfManager;
use crate::coordinator::Coordinator;
use crate::store_reader::StoreReader;

/// The actors that a conversation talks to: all but the last on its own thread.
#[derive(Debug, Clone)]
pub struct Neighbours {
    /// Knows who watches.
    pub coordinator: Addr<Coordinator>,
    /// Reads by key.
    pub reader: Addr<Reader>,
    /// Reads listings and snapshots, and searches.
    pub store: Addr<StoreReader>,
    /// The door for changes.
    pub conf_manager: Addr<ConfManager>,
}

/// How long a session waits for an answer of another actor.
const ASK_DEADLINE: Duration = Duration::from_secs(12);
/// How soon a session tries again what failed because the database or an actor was away.
const RETRY: Duration = Duration::from_millis(250);
