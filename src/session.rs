//! Native sessions: the sockets and the forms under the session actor.
//!
//! Reading order: `access` (every kind of message and what it needs) · `request` (what came, as the actor takes it) ·
//! `answer` (what the actor says, as it is sent) · `tcp`, `websocket` (the two carriers). Owns what a worker has for
//! them; what a session does is the actor's (`callboard_actors::session::native`), and decides nothing itself.

mod access;
mod answer;
mod request;
pub(crate) mod tcp;
pub(crate) mod websocket;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use callboard_actors::runtime::{Spec, start_once};
use callboard_actors::session::native::message::{Broken, MessageReader, MessageWriter};
use callboard_actors::session::native::{Connection, NativeSession, Options, Shared};
use callboard_actors::wiring::Node;
use callboard_proto::{MAX_FRAME, MAX_GREETING, SESSION_VERSIONS};
use callboard_protocol::error_code::ErrorCode;
use callboard_protocol::link::Versions;
use callboard_protocol::session::client::ClientKind;
use callboard_protocol::session::pace::Allowance;
use callboard_protocol::write_request::Source;

use crate::api::access::Principal;
use crate::api::addresses::ClientAddresses;
use crate::api::admission::{Admission, Place};
use crate::api::auth::{Authenticator, Whence};
use crate::api::draining::Draining;
use crate::api::memory::Memory;
use crate::api::state::State;
use crate::settings::Settings;

/// Requests of one session that may be under way.
const MAX_REQUESTS: usize = 64;

/// What a client is told of the node when it is welcomed.
#[derive(Debug)]
struct Welcome {
    node: Node,
    idle: Duration,
    max_watches: usize,
    http: SocketAddr,
    /// Where native sessions are listened for.
    tcp: SocketAddr,
}

/// A client at the other end of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// Its address, without the port.
    pub(crate) address: String,
    /// How it came.
    pub(crate) kind: ClientKind,
    /// Who it is, as far as it has shown.
    principal: Principal,
    auth: Arc<Authenticator>,
    /// It has said hello, in the form that a hello has.
    has_greeted: bool,
}

impl Peer {
    /// Longest message that it may send now, in bytes.
    fn longest(&self) -> usize {
        if self.has_greeted { MAX_FRAME } else { MAX_GREETING }
    }

    /// From where it comes.
    fn whence(&self) -> Whence<'_> {
        Whence { address: &self.address, door: door_of(self.kind) }
    }

    /// One that has shown nothing, or before its session begins.
    fn new(address: String, kind: ClientKind, door: &Door, principal: Option<Principal>) -> Self {
        let auth = Arc::clone(&door.auth);
        let principal = principal.unwrap_or_else(|| auth.nobody());
        Self { address, kind, principal, auth, has_greeted: false }
    }
}

/// As which door a client's way is written down.
fn door_of(kind: ClientKind) -> Source {
    if kind == ClientKind::WebSocket { Source::WebSocket } else { Source::Session }
}

/// What the client may do has changed: the session ends, and its client begins another.
fn changed() -> Broken {
    Broken::Form(ErrorCode::Forbidden, "what this client may do has changed; open a new session".to_owned())
}

/// What a worker thread has for native sessions.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    shared: Arc<Shared>,
    /// How the actors of connections are started.
    spec: Spec,
    admission: Arc<Admission>,
    auth: Arc<Authenticator>,
    draining: Draining,
    memory: Memory,
    write_timeout: Duration,
    welcome: Arc<Welcome>,
}

impl Door {
    /// That of the worker thread of `state`, on a node whose clients are told these addresses.
    pub(crate) fn new(state: &State, settings: &Settings, told: ClientAddresses) -> Self {
        let (section, worker) = (&settings.session, &state.worker);
        let (min, max) = SESSION_VERSIONS;
        let version = |version: u32| u16::try_from(version).unwrap_or(u16::MAX);
        let options = Options {
            idle: section.idle_timeout,
            hello: section.hello_timeout.min(section.idle_timeout),
            watches: section.max_watches,
            keys: settings.watch.max_keys,
            requests: MAX_REQUESTS,
            allowance: Allowance {
                frames: section.max_frames,
                bytes: section.max_bytes.bytes(),
                work: section.max_work,
            },
            publish: settings.publish.patience(),
            versions: Versions { min: version(min), max: version(max) },
        };
        let shared = Shared {
            options,
            deps: worker.deps(),
            clock: worker.node.clock.clone(),
            push: worker.node.metrics.push.clone(),
            session: worker.node.metrics.session.clone(),
        };
        let welcome = Welcome {
            node: worker.node.clone(),
            idle: section.idle_timeout,
            max_watches: section.max_watches,
            http: told.http,
            tcp: told.tcp,
        };
        Self {
            shared: Arc::new(shared),
            spec: state.spec_of_many("native_session"),
            admission: Arc::clone(&state.shared.admission),
            auth: Arc::clone(&state.shared.auth),
            draining: state.shared.draining.clone(),
            memory: state.shared.memory.clone(),
            write_timeout: section.write_timeout,
            welcome: Arc::new(welcome),
        }
    }

    /// Starts the actor of a connection on the present thread.
    fn start(&self, (kind, place): (ClientKind, Place), (reader, writer): Ends) {
        let connection = Connection { number: self.admission.number(), kind, reader, writer, guard: Box::new(place) };
        let shared = Arc::clone(&self.shared);
        // It lives until its connection ends; nobody else holds its address.
        drop(start_once(&self.spec, move |_| NativeSession::new(shared, connection)));
    }
}

/// Every kind of message, and what it needs.
#[cfg(test)]
pub(crate) fn accesses() -> Vec<(&'static str, crate::api::access::Access)> {
    access::TABLE.iter().map(|row| (row.kind, row.access)).collect()
}

/// Both ends of a connection.
type Ends = (Box<dyn MessageReader>, Box<dyn MessageWriter>);
