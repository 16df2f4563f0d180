//! Native sessions: the sockets and the forms under the session actor.
//!
//! Reading order: `access` (every kind of message and what it needs) · `request` (what came, as the actor takes it) ·
//! `answer` (what the actor says, as it is sent) · `tcp`, `websocket` (the two carriers). Owns the count of sessions; what a
//! session does is the actor's (`callboard_actors::session::native`), and decides nothing itself.

mod access;
pub(crate) mod answer;
mod request;
pub(crate) mod tcp;
pub(crate) mod websocket;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use callboard_actors::runtime::{Spec, ask, start_once};
use callboard_actors::session::native::words::{Ear, Mouth};
use callboard_actors::session::native::{Connection, Limits, NativeSession, Setup};
use callboard_actors::wiring::{Node, Worker};
use callboard_proto::SESSION_VERSIONS;
use callboard_protocol::link::Versions;
use callboard_protocol::push_ledger::SessionNumber;
use callboard_protocol::roster;
use callboard_protocol::session::client::ClientKind;
use callboard_protocol::session::pace::Allowance;

use crate::settings::Settings;

/// Requests of one session that may be under way.
const MAX_REQUESTS: usize = 64;
/// Time for the first message.
const HELLO: Duration = Duration::from_secs(10);
/// How long the cluster may take to say where the nodes are.
const ASK: Duration = Duration::from_secs(1);

/// What all sessions of a node share.
#[derive(Debug)]
pub(crate) struct Sessions {
    next: AtomicU64,
    open: Arc<AtomicUsize>,
    max: usize,
    write_timeout: Duration,
    limits: Limits,
    facts: Arc<Facts>,
}

/// What a client is told of the node when it is welcomed.
#[derive(Debug)]
struct Facts {
    node: Node,
    idle: Duration,
    max_watches: usize,
    http: SocketAddr,
    /// Where native sessions are listened for; `None` when they are not.
    tcp: Option<SocketAddr>,
}

/// A place among the sessions; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A client at the other end of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// Its address, without the port.
    pub(crate) address: String,
    /// How it came.
    pub(crate) kind: ClientKind,
}

impl Sessions {
    /// No session yet, of a node that is reached by clients at these addresses.
    pub(crate) fn new(node: &Node, settings: &Settings, http: SocketAddr, tcp: Option<SocketAddr>) -> Self {
        let options = &settings.session;
        let (min, max) = SESSION_VERSIONS;
        let version = |version: u32| u16::try_from(version).unwrap_or(u16::MAX);
        let limits = Limits {
            idle: options.idle_timeout,
            hello: HELLO.min(options.idle_timeout),
            watches: options.max_watches,
            keys: settings.watch.max_keys,
            requests: MAX_REQUESTS,
            allowance: Allowance { frames: options.max_frames, bytes: options.max_bytes.bytes() },
            publish: settings.publish.patience(),
            versions: Versions { min: version(min), max: version(max) },
        };
        let facts =
            Facts { node: node.clone(), idle: options.idle_timeout, max_watches: options.max_watches, http, tcp };
        Self {
            next: AtomicU64::new(1),
            open: Arc::new(AtomicUsize::new(0)),
            max: options.max_sessions,
            write_timeout: options.write_timeout,
            limits,
            facts: Arc::new(facts),
        }
    }

    /// How many are open.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// A place for one more; `None` when as many are open as may be.
    pub(crate) fn admit(&self) -> Option<Place> {
        let before = self.open.fetch_add(1, Ordering::AcqRel);
        let place = Place(Arc::clone(&self.open));
        (before < self.max).then_some(place)
    }

    /// A number for a client that takes a seat.
    pub(crate) fn number(&self) -> SessionNumber {
        SessionNumber(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// What the sessions of one worker thread share.
    pub(crate) fn setup(&self, worker: &Worker) -> Arc<Setup> {
        Arc::new(Setup {
            limits: self.limits,
            neighbours: worker.neighbours(),
            clock: worker.node.clock.clone(),
            push: worker.node.metrics.push.clone(),
            session: worker.node.metrics.session.clone(),
        })
    }

    /// Starts the actor of a connection on the present thread.
    fn start(&self, setup: &Arc<Setup>, spec: &Spec, (kind, place): (ClientKind, Place), ends: Ends) {
        let (ear, mouth) = ends;
        let connection = Connection { number: self.number(), kind, ear, mouth, guard: Box::new(place) };
        let setup = Arc::clone(setup);
        // It lives until its connection ends; nobody else holds its address.
        drop(start_once(spec, move |_| NativeSession::new(setup, connection)));
    }
}

/// Both ends of a connection.
type Ends = (Box<dyn Ear>, Box<dyn Mouth>);

/// Where the other nodes of the cluster listen for native sessions.
pub(crate) async fn elsewhere(node: &Node) -> Vec<String> {
    let Ok(view) = ask(&node.cluster_listener, callboard_actors::cluster_listener::GetCluster, ASK).await else {
        return Vec::new();
    };
    let others = roster::elsewhere(&view.nodes, &view.node);
    others.filter_map(|seen| seen.addresses.session).map(|address| address.to_string()).collect()
}
