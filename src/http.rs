//! HTTP: the native interface under `/api/v1`, and health, metrics and description at the root.
//!
//! Reading order: `access` (every route, one row each) · `problem` (every refusal) · `configs`, `publishing` (one
//! configuration) · `listing`, `history`, `namespaces`, `watch` · `actors`, `health`, `metrics`, `openapi` · `query`,
//! `headers`, `body` (reading a request).
//!
//! It turns requests into messages and answers into bytes. It decides nothing about configurations, and no header
//! makes a caller somebody. A request whose head is no HTTP, too slow or too large is answered by the framework, with
//! a status and without a body: there is no request yet that a route could answer.

mod access;
mod actors;
mod answer;
mod body;
mod configs;
mod draining;
mod headers;
mod health;
mod history;
mod listing;
mod metrics;
mod namespaces;
mod openapi;
mod problem;
mod publishing;
mod query;
mod watch;

use std::any::Any;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::dev::{Extensions, Server};
use actix_web::rt::net::TcpStream;
use actix_web::{App, HttpServer, web};
use callboard_actors::wiring::{Node, Worker};
use callboard_protocol::gray::ClientIdentity;
use prometheus_client::registry::Registry;

pub use draining::Draining;

use crate::settings::Settings;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 8_192;
/// How long a connection may be idle between two requests.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long what a refused client still sends is read and dropped, so that the answer reaches it.
const LINGER: Duration = Duration::from_secs(5);
/// How long a read may take. A load that has to wait for another one is given up before.
const READ_DEADLINE: Duration = Duration::from_secs(15);
/// How long a publish may take longer than the node itself allows, until its outcome counts as unknown.
const PUBLISH_GRACE: Duration = Duration::from_secs(5);

/// What the settings say about requests.
#[derive(Debug, Clone)]
struct Limits {
    body_timeout: Duration,
    publish_wait: Duration,
    heartbeat: Duration,
    max_keys: usize,
}

/// What all workers share.
#[derive(Debug)]
struct Shared {
    limits: Limits,
    figures: metrics::Figures,
    exposition: Registry,
    draining: Draining,
}

/// What each worker thread has.
#[derive(Debug)]
struct State {
    worker: Worker,
    index: usize,
    /// The name of the thread in reports.
    arbiter: String,
    open: draining::Open,
    shared: Arc<Shared>,
}

impl Shared {
    fn new(node: &Node, settings: &Settings, draining: Draining) -> Self {
        let limits = Limits {
            body_timeout: settings.http.body_timeout,
            publish_wait: settings.publish.timeout + PUBLISH_GRACE,
            heartbeat: settings.watch.heartbeat,
            max_keys: settings.watch.max_keys,
        };
        let figures = metrics::Figures::default();
        let exposition = figures.exposition(node);
        Self { limits, figures, exposition, draining }
    }
}

impl State {
    /// Starts the actors of worker `index` on the present thread.
    fn start(node: &Node, index: usize, shared: &Arc<Shared>) -> Self {
        let (worker, open) = (Worker::start(node, index), draining::Open::default());
        shared.draining.include(&worker, &open);
        Self { worker, index, arbiter: format!("worker-{index}"), open, shared: Arc::clone(shared) }
    }
}

/// Listens on `addr`; port 0 takes a free one. Needs a tokio runtime around it.
///
/// # Errors
/// The address can't be listened on.
pub fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { tokio::net::TcpSocket::new_v4() } else { tokio::net::TcpSocket::new_v6() }?;
    // A restart must not wait for the connections of the life before to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)?.into_std()
}

/// Serves HTTP on `listener` until the returned server is stopped through its handle. Signals are left to the caller.
/// Each worker thread starts its own actors over `node`.
///
/// # Errors
/// The listener can't be used.
pub fn serve(listener: TcpListener, node: Node, settings: &Settings, draining: Draining) -> io::Result<Server> {
    let shared = Arc::new(Shared::new(&node, settings, draining));
    let next = Arc::new(AtomicUsize::new(0));
    let workers = settings.http.worker_count();
    // A worker thread that died is replaced: the factory then runs again, under a new index.
    let server = HttpServer::new(move || {
        let state = State::start(&node, next.fetch_add(1, Ordering::Relaxed), &shared);
        App::new().app_data(web::Data::new(state)).configure(access::register)
    });
    let grace = settings.shutdown.grace;
    Ok(server
        .workers(workers)
        .max_connections(settings.http.max_connections.div_ceil(workers))
        .client_request_timeout(settings.http.read_timeout)
        .client_disconnect_timeout(LINGER)
        .keep_alive(KEEP_ALIVE)
        .shutdown_timeout(grace.as_secs() + u64::from(grace.subsec_nanos() > 0))
        .on_connect(remember_client)
        .disable_signals()
        .listen(listener)?
        .run())
}

/// Keeps who a connection is from with the connection, so that reads need not write it down each time.
fn remember_client(connection: &dyn Any, data: &mut Extensions) {
    let Some(Ok(peer)) = connection.downcast_ref::<TcpStream>().map(TcpStream::peer_addr) else { return };
    data.insert(ClientIdentity { address: peer.ip().to_string(), ..ClientIdentity::default() });
}

#[cfg(test)]
mod tests;
