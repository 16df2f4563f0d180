//! Every way in for clients: binds, starts, stops and drains all of them, once. Owns the worker threads and what each
//! has, and the list of doors; what a door says is the door's.
//!
//! Reading order: `bind` (the addresses) · `way` (a connection until it is served) · this file (the doors and the
//! workers) · `stop` · `waiting` (before the database is there).

mod bind;
mod stop;
mod waiting;
mod way;

use crate::api::access::Principal;
use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::ThreadId;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, Protocol};
use actix_server::{Server, ServerBuilder};
use actix_service::{IntoServiceFactory as _, ServiceFactoryExt as _, fn_service, map_config};
use actix_web::dev::{AppConfig, Extensions};
use actix_web::rt::net::TcpStream;
use actix_web::{App, web};
use callboard_actors::wiring::Node;
use callboard_protocol::gray::ClientIdentity;
use futures_util::future::LocalBoxFuture;

pub(crate) use self::bind::{Sockets, bind};
pub(crate) use self::stop::stop;
pub(crate) use self::waiting::until_open;
use self::way::{Way, rooms};
use crate::api::addresses::ClientAddresses;
use crate::api::admission::Admission;
use crate::api::auth::Authenticator;
use crate::api::draining::Draining;
use crate::api::memory::Memory;
use crate::api::places::Places;
use crate::api::state::{Shared, State};
use crate::http::connection::{Connection, IntakeOptions};
use crate::http::route::{self, Tables};
use crate::settings::{Settings, TlsDoor};
use crate::tls::{ClientCertificate, Encrypted, Tls};
use crate::{nacos, rest, session};

/// How long what a refused client still sends is read and dropped, so that the answer reaches it.
const LINGER: Duration = Duration::from_secs(5);

/// The routes of every door that is reached over HTTP.
const ROUTES: Tables = Tables(&[&rest::ROUTES, &session::websocket::ROUTES, &nacos::http::ROUTES]);

/// How a door takes its connections: the name of its listener in reports, and what adds it to the server.
type Open = fn(ServerBuilder, TcpListener, &Workers) -> io::Result<ServerBuilder>;

/// Serves every door on its socket until the returned server is stopped through its handle. Signals are left to the
/// caller. Each worker thread starts its own actors over `node`. Clients are told the addresses `told`, and connect by
/// `tls`.
///
/// # Errors
/// A listener can't be used.
pub(crate) fn serve(
    sockets: Sockets,
    (told, tls): (ClientAddresses, Tls),
    node: Node,
    settings: &Settings,
    (admission, draining): (Arc<Admission>, Draining),
    auth: Arc<Authenticator>,
) -> io::Result<Server> {
    let address = sockets.http.local_addr()?;
    let memory = Memory::new(&settings.memory);
    let mut shared = Shared::new(&node, settings, address, (admission, draining), (auth, memory));
    tls.register(&mut shared.exposition);
    let places = Places::of_doors(rooms(settings), &mut shared.exposition);
    let shared = Arc::new(shared);
    let workers = Workers {
        settings: Arc::new(settings.clone()),
        told,
        tls,
        node,
        shared,
        places,
        next: Arc::default(),
        threads: Arc::default(),
    };
    let (count, grace) = (settings.http.worker_count(), settings.shutdown.grace);
    let server = Server::build()
        .workers(count)
        // Places are counted by door: one that is full would stop all of them.
        .max_concurrent_connections(usize::MAX >> 1)
        .shutdown_timeout(grace.as_secs() + u64::from(grace.subsec_nanos() > 0))
        .disable_signals();
    let doors: [(TcpListener, Open); 3] =
        [(sockets.tcp, open_session), (sockets.grpc, open_grpc), (sockets.http, open_http)];
    let server = doors.into_iter().try_fold(server, |server, (socket, open)| open(server, socket, &workers))?;
    Ok(server.run())
}

/// What each worker thread has, made when the first of its doors asks.
#[derive(Debug, Clone)]
struct Workers {
    settings: Arc<Settings>,
    told: ClientAddresses,
    tls: Tls,
    node: Node,
    shared: Arc<Shared>,
    places: [Places; 3],
    next: Arc<AtomicUsize>,
    threads: Arc<Mutex<HashMap<ThreadId, web::Data<State>>>>,
}

impl Workers {
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

    /// The way to a door.
    fn way(&self, door: TlsDoor) -> Way {
        Way::new(door, &self.places, &self.tls, &self.settings)
    }
}

fn open_session(server: ServerBuilder, socket: TcpListener, workers: &Workers) -> io::Result<ServerBuilder> {
    let workers = workers.clone();
    server.listen("session", socket, move || {
        let door = Rc::new(session::Door::new(&workers.here(), &workers.settings, workers.told));
        let way = Rc::new(workers.way(TlsDoor::Tcp));
        fn_service(move |socket: TcpStream| {
            let (door, way) = (Rc::clone(&door), Rc::clone(&way));
            async move {
                if let Some(stream) = way.accept(socket).await {
                    session::tcp::serve(&door, stream);
                }
                // The session goes on by itself; what is counted here are connections that nobody serves yet.
                Ok::<_, DispatchError>(())
            }
        })
    })
}

fn open_grpc(server: ServerBuilder, socket: TcpListener, workers: &Workers) -> io::Result<ServerBuilder> {
    let workers = workers.clone();
    server.listen("grpc", socket, move || {
        let door = Rc::new(nacos::grpc::door(&workers.here(), &workers.settings));
        let way = Rc::new(workers.way(TlsDoor::Grpc));
        fn_service(move |socket: TcpStream| {
            let (door, way) = (Rc::clone(&door), Rc::clone(&way));
            async move {
                if let Some(stream) = way.accept(socket).await {
                    nacos::grpc::serve(&door, stream);
                }
                Ok::<_, DispatchError>(())
            }
        })
    })
}

fn open_http(server: ServerBuilder, socket: TcpListener, workers: &Workers) -> io::Result<ServerBuilder> {
    let (workers, stopping) = (workers.clone(), server.graceful_shutdown_signal());
    server.listen("http", socket, move || {
        let state = workers.here();
        let sessions = session::Door::new(&state, &workers.settings, workers.told);
        let app = App::new().app_data(state).app_data(web::Data::new(sessions));
        let app = app.configure(|services| route::register(ROUTES, services));
        let app = app.into_factory().map_err(|error: actix_web::Error| error.error_response());
        let stopping = stopping.clone();
        let nobody = workers.shared.auth.nobody();
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .keep_alive(workers.settings.http.idle_timeout)
            .client_request_timeout(workers.settings.http.read_timeout)
            .client_disconnect_timeout(LINGER)
            .h1_allow_half_closed(true)
            .on_connect_ext(move |connection: &Connection, data: &mut Extensions| {
                remember_client(connection, data, &nobody);
            })
            .finish(map_config(app, |()| AppConfig::default()));
        fn_service(accept(workers.way(TlsDoor::Http), limits(&workers.settings, &workers.shared.memory))).and_then(http)
    })
}

/// What a client over HTTP may send, and for how long.
fn limits(settings: &Settings, memory: &Memory) -> IntakeOptions {
    let (http, memory) = (&settings.http, memory.requests.clone());
    IntakeOptions { memory, head: http.read_timeout, body: http.body_timeout }
}

/// What the framework takes a connection over HTTP as, or why it gets none.
type Accepted = Result<(Connection, Protocol, Option<SocketAddr>), DispatchError>;

/// Takes connections over HTTP on.
fn accept(way: Way, limits: IntakeOptions) -> impl Fn(TcpStream) -> LocalBoxFuture<'static, Accepted> + Clone + use<> {
    let way = Arc::new(way);
    move |socket| {
        let (way, limits) = (Arc::clone(&way), limits.clone());
        Box::pin(async move {
            // Nobody is told: the client was, if it could be.
            let stream = way.accept(socket).await.ok_or(DispatchError::SlowRequestTimeout)?;
            let (peer, place) = (stream.peer_addr().ok(), stream.place());
            let (network, is_kept) = (place.network(), place.is_kept());
            let connection = Connection::new(stream).limited(limits, network);
            Ok((if is_kept { connection.keep() } else { connection }, Protocol::Http1, peer))
        })
    }
}

/// Keeps who a connection is from with the connection, so that reads need not write it down each time: its address,
/// whether there is TLS on it, and whose certificate it showed.
fn remember_client(connection: &Connection, data: &mut Extensions, nobody: &Principal) {
    connection.remember(data);
    if connection.stream().is_encrypted() {
        data.insert(Encrypted);
    }
    let certificate: Option<ClientCertificate> = connection.stream().client_certificate();
    if let Some(certificate) = certificate {
        tracing::debug!(certificate.name = certificate.common_name, "a client showed its certificate");
        data.insert(certificate);
    }
    let Ok(peer) = connection.stream().peer_addr() else { return };
    data.insert(ClientIdentity {
        address: peer.ip().to_string(),
        secrets: nobody.secrets(),
        ..ClientIdentity::default()
    });
}

#[cfg(test)]
mod tests;
