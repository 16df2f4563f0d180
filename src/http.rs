//! HTTP: the native interface under `/api/v1`, Nacos under `/nacos`, and health, metrics and description at the root.
//!
//! Reading order: `access` (every route, one row each) · `problem` (every refusal) · `configs`, `publishing` (one
//! configuration) · `listing`, `history`, `namespaces`, `watch` · `actors`, `cluster`, `health`, `metrics`, `openapi` · `query`,
//! `headers`, `body`, `connection`, `foreign` (reading a request) · `nacos` (the routes of Nacos).
//!
//! It turns requests into messages and answers into bytes. It decides nothing about configurations, and no header
//! makes a caller somebody. A request whose head is no HTTP, too slow or too large is answered by the framework, with
//! a status and without a body: there is no request yet that a route could answer.

pub(crate) mod access;
mod actors;
mod answer;
mod body;
mod clients;
mod cluster;
pub(crate) mod configs;
mod connection;
pub mod draining;
mod foreign;
pub(crate) mod headers;
mod health;
mod history;
pub(crate) mod listing;
mod metrics;
pub(crate) mod nacos;
mod namespaces;
pub(crate) mod openapi;
pub(crate) mod problem;
mod publishing;
mod query;
mod stale;
mod watch;

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::ThreadId;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, Protocol};
use actix_service::{IntoServiceFactory as _, ServiceFactoryExt as _, fn_service, map_config};
use actix_web::dev::{AppConfig, Extensions, Server};
use actix_web::rt::net::TcpStream;
use actix_web::{App, web};
use callboard_actors::runtime::Spec;
use callboard_actors::session::grpc::{Limits as GrpcLimits, Setup as GrpcSetup};
use callboard_actors::session::native;
use callboard_actors::wiring::{Node, Worker};
use callboard_protocol::gray::ClientIdentity;
use callboard_protocol::wire::hosts::OwnHosts;
use prometheus_client::registry::Registry;

pub use draining::Draining;

use self::connection::Connection;
use crate::grpc::{self, Coming, transport};
use crate::session::{Sessions, tcp};
use crate::settings::Settings;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 8_192;
/// How long a connection may be idle between two requests.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long what a refused client still sends is read and dropped, so that the answer reaches it.
const LINGER: Duration = Duration::from_secs(5);
/// How long a read may take. A load that has to wait for another one is given up before.
const READ_DEADLINE: Duration = Duration::from_secs(15);

/// What the settings say about requests.
#[derive(Debug, Clone)]
struct Limits {
    body_timeout: Duration,
    publish_wait: Duration,
    heartbeat: Duration,
    max_keys: usize,
    history: Duration,
    serve_stale: bool,
    /// How long a node that drains waits for publishes under way.
    grace: Duration,
}

/// What all workers share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The address on which requests come in.
    address: SocketAddr,
    /// Under which names it is asked.
    hosts: OwnHosts,
    limits: Limits,
    figures: metrics::Figures,
    exposition: Registry,
    pub(crate) draining: Draining,
    pub(crate) sessions: Arc<Sessions>,
    /// What each client of Nacos may do, and what all of them share.
    grpc: GrpcLimits,
    nacos: transport::Shared,
}

/// What each worker thread has.
#[derive(Debug)]
pub(crate) struct State {
    worker: Worker,
    index: usize,
    /// The name of the thread in reports.
    arbiter: String,
    open: draining::Open,
    pub(crate) session: Arc<native::Setup>,
    grpc: Arc<GrpcSetup>,
    pub(crate) shared: Arc<Shared>,
}

impl Shared {
    fn new(node: &Node, settings: &Settings, address: SocketAddr, sessions: Arc<Sessions>, draining: Draining) -> Self {
        let limits = Limits {
            body_timeout: settings.http.body_timeout,
            publish_wait: settings.publish.patience(),
            heartbeat: settings.watch.heartbeat,
            max_keys: settings.watch.max_keys,
            history: settings.history.retention,
            serve_stale: settings.cache.serve_stale,
            grace: settings.shutdown.grace,
        };
        let figures = metrics::Figures::default();
        let exposition = figures.exposition(node);
        let (grpc, patience) = (grpc::limits(settings), settings.http.body_timeout);
        let nacos = transport::Shared { coming: Coming::default(), patience, stopping: draining.stopping() };
        // There is no authentication: what reaches a loopback address is trusted, so it has to be known who does.
        let hosts = OwnHosts::new(!address.ip().is_loopback(), &settings.http.allowed_hosts);
        Self { address, hosts, limits, figures, exposition, draining, sessions, grpc, nacos }
    }
}

impl State {
    /// Starts the actors of worker `index` on the present thread.
    fn start(node: &Node, index: usize, shared: &Arc<Shared>) -> Self {
        let (worker, open) = (Worker::start(node, index), draining::Open::default());
        shared.draining.include(&worker, &open);
        let (session, grpc) = (shared.sessions.setup(&worker), grpc::setup(&worker, shared.grpc));
        Self { worker, index, arbiter: format!("worker-{index}"), open, session, grpc, shared: Arc::clone(shared) }
    }

    /// How the actors of native sessions are started here.
    pub(crate) fn session_spec(&self) -> Spec {
        self.spec_of_many("native_session")
    }

    fn spec_of_many(&self, kind: &str) -> Spec {
        let name = format!("{kind}-{}", self.index);
        Spec::new(&self.worker.node.registry, name).aggregate().arbiter(&self.arbiter)
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

/// Where clients come in.
#[derive(Debug)]
pub struct Listeners {
    /// HTTP.
    pub http: TcpListener,
    /// Native sessions.
    pub tcp: TcpListener,
    /// Clients of Nacos.
    pub grpc: TcpListener,
}

/// Where clients come in, as addresses: those that are listened on, or those that others are told.
#[derive(Debug, Clone, Copy)]
pub struct Told {
    /// HTTP.
    pub http: SocketAddr,
    /// Native sessions.
    pub tcp: SocketAddr,
    /// Clients of Nacos.
    pub grpc: SocketAddr,
}

/// What each worker thread has, made when the first of its listeners asks.
#[derive(Debug, Clone)]
struct States {
    node: Node,
    shared: Arc<Shared>,
    next: Arc<AtomicUsize>,
    threads: Arc<Mutex<HashMap<ThreadId, web::Data<State>>>>,
}

impl States {
    /// The state of the present thread. A worker thread that died is replaced by another one, under a new index.
    fn here(&self) -> web::Data<State> {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.retain(|_, state| state.worker.coordinator.connected());
        let start = || {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            web::Data::new(State::start(&self.node, index, &self.shared))
        };
        threads.entry(std::thread::current().id()).or_insert_with(start).clone()
    }
}

/// Serves HTTP, native sessions and clients of Nacos on `listeners` until the returned server is stopped through its handle. Signals are
/// left to the caller. Each worker thread starts its own actors over `node`.
///
/// # Errors
/// A listener can't be used.
pub fn serve(
    listeners: Listeners,
    told: Told,
    node: Node,
    settings: &Settings,
    draining: Draining,
) -> io::Result<Server> {
    let sessions = Arc::new(Sessions::new(&node, settings, told.http, Some(told.tcp)));
    draining.include_sessions(&sessions);
    let shared = Shared::new(&node, settings, listeners.http.local_addr()?, sessions, draining);
    let (shared, next, threads) = (Arc::new(shared), Arc::default(), Arc::default());
    let states = States { node, shared, next, threads };
    let (workers, grace) = (settings.http.worker_count(), settings.shutdown.grace);
    let read_timeout = settings.http.read_timeout;
    let server = Server::build()
        .workers(workers)
        .max_concurrent_connections(settings.http.max_connections.div_ceil(workers))
        .shutdown_timeout(grace.as_secs() + u64::from(grace.subsec_nanos() > 0))
        .disable_signals();
    let stopping = server.graceful_shutdown_signal();
    let native = states.clone();
    let server = server.listen("session", listeners.tcp, move || {
        let state = native.here();
        fn_service(move |stream: TcpStream| {
            let shared = &state.shared;
            let is_stopping = shared.draining.refuse_new().is_err();
            tcp::serve(&shared.sessions, &state.session, &state.session_spec(), stream, is_stopping);
            // The session goes on by itself; what is counted here are connections that nobody serves yet.
            std::future::ready(Ok::<_, DispatchError>(()))
        })
    })?;
    let nacos = states.clone();
    let server = server.listen("grpc", listeners.grpc, move || {
        let state = nacos.here();
        fn_service(move |stream: TcpStream| {
            let (shared, spec) = (&state.shared, state.spec_of_many("grpc_session"));
            transport::serve(&shared.sessions, &state.grpc, &spec, stream, &shared.nacos);
            std::future::ready(Ok::<_, DispatchError>(()))
        })
    })?;
    let server = server.listen("http", listeners.http, move || {
        let app = App::new().app_data(states.here()).configure(access::register);
        let app = app.into_factory().map_err(|error: actix_web::Error| error.error_response());
        let stopping = stopping.clone();
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .keep_alive(KEEP_ALIVE)
            .client_request_timeout(read_timeout)
            .client_disconnect_timeout(LINGER)
            .h1_allow_half_closed(true)
            .on_connect_ext(remember_client)
            .finish(map_config(app, |()| AppConfig::default()));
        fn_service(accept).and_then(http)
    })?;
    Ok(server.run())
}

/// Takes a connection on: answers go out as soon as they are written.
async fn accept(stream: TcpStream) -> Result<(Connection, Protocol, Option<SocketAddr>), DispatchError> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection goes on without TCP_NODELAY");
    }
    let peer = stream.peer_addr().ok();
    Ok((Connection::new(stream), Protocol::Http1, peer))
}

/// Keeps who a connection is from with the connection, so that reads need not write it down each time.
fn remember_client(connection: &Connection, data: &mut Extensions) {
    connection.remember(data);
    let Ok(peer) = connection.stream().peer_addr() else { return };
    data.insert(ClientIdentity { address: peer.ip().to_string(), ..ClientIdentity::default() });
}

#[cfg(test)]
mod tests;
