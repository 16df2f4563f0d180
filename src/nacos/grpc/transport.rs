//! A connection of a Nacos client: HTTP/2 on a socket that a worker thread accepted, with the session on the same
//! thread. Owns the socket's life: it ends when the client closes it, when the session ends, and soon after the node
//! stops. Decides nothing.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use callboard_actors::runtime::{Spec, start_once};
use callboard_actors::session::grpc::message::{ConnectionEnded, Stopping};
use callboard_actors::session::grpc::{GrpcSession, Shared};
use callboard_proto::nacos::bi_request_stream_server::BiRequestStreamServer;
use callboard_proto::nacos::request_server::RequestServer;
use callboard_protocol::session::client::ClientKind;
use callboard_protocol::share::ClientNetwork;
use futures_util::future::BoxFuture;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::{oneshot, watch};
use tonic::Status;
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::codegen::{Service as _, http};

use crate::api::admission::Admission;
use crate::api::auth::Authenticator;
use crate::api::memory::Memory;
use crate::nacos::grpc::MAX_MESSAGE;
use crate::nacos::grpc::counted::Counted;
use crate::nacos::grpc::early::{ENCODING, Early, MAX_EARLY, is_compressed};
use crate::nacos::grpc::outgoing::Outgoing;
use crate::nacos::grpc::service::{Peer, Service};
use crate::nacos::grpc::unpacked::Unpacked;
use crate::tls::Stream;

/// Requests of one connection that may be under way.
const MAX_STREAMS: u32 = 128;
/// Longest message on a stream, in bytes: who the client is, and acknowledgements.
const MAX_WORD: usize = MAX_EARLY;
/// How long a request may take in all: the longest message at the least rate, and its answer.
const LONGEST: Duration = Duration::from_secs(10 * 3_600);
/// Longest head of a request, in bytes.
const MAX_HEAD: u32 = 16 * 1024;
/// How long what is under way may take when the connection is to close.
const CLOSING: Duration = Duration::from_secs(3);

/// What a worker thread has for connections of Nacos's clients.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    pub(super) shared: Arc<Shared>,
    /// How the actors of connections are started.
    pub(super) spec: Spec,
    pub(super) admission: Arc<Admission>,
    pub(super) memory: Memory,
    pub(super) auth: Arc<Authenticator>,
    /// How long a body may take without going on.
    pub(super) patience: Duration,
    /// How long a connection may be there without being set up, and without asking anything.
    pub(super) setting_up: Duration,
    /// Tells when the node stops.
    pub(super) stopping: watch::Receiver<bool>,
}

/// Both methods.
#[derive(Debug, Clone)]
struct Methods {
    unary: RequestServer<Service>,
    peer: Arc<Peer>,
    stream: BiRequestStreamServer<Service>,
    memory: Memory,
    network: ClientNetwork,
    outgoing: Outgoing,
    /// How long the body of a request may take without going on.
    patience: Duration,
}

impl Methods {
    fn new(service: Service, door: &Door, (network, outgoing): (ClientNetwork, Outgoing)) -> Self {
        let peer = Arc::clone(&service.peer);
        let unary = RequestServer::new(service.clone()).max_decoding_message_size(MAX_MESSAGE);
        let stream = BiRequestStreamServer::new(service)
            .max_decoding_message_size(MAX_WORD)
            .accept_compressed(CompressionEncoding::Gzip);
        let (memory, patience) = (door.memory.clone(), door.patience);
        Self { unary, peer, stream, memory, network, outgoing, patience }
    }
}

impl hyper::service::Service<http::Request<Incoming>> for Methods {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn call(&self, request: http::Request<Incoming>) -> Self::Future {
        // Whatever is neither method, either of them answers as not implemented.
        if request.uri().path().starts_with("/BiRequestStream/") {
            return self.stream.clone().call(request);
        }
        let (mut unary, peer) = (self.unary.clone(), Arc::clone(&self.peer));
        let [counted, unpacked] = [(); 2].map(|()| self.memory.requests.reserve(self.network));
        let patience = self.patience;
        let mut request = request.map(|body| Early::new(Counted::new(body, counted, patience), Arc::clone(&peer)));
        let answering = async move {
            if !is_compressed(request.headers()) {
                return unary.call(request).await;
            }
            let is_known = peer.is_set_up() || peer.sets_up_in_time().await;
            // The library need not know.
            request.headers_mut().remove(ENCODING);
            let most = if is_known { MAX_MESSAGE } else { MAX_EARLY };
            unary.call(request.map(|body| Unpacked::new(body, most, unpacked))).await
        };
        let outgoing = self.outgoing.clone();
        Box::pin(async move {
            let late = |_late| Ok(Status::deadline_exceeded("the request did not come in time").into_http());
            let answer = tokio::time::timeout(LONGEST, answering).await.unwrap_or_else(late)?;
            Ok(outgoing.send(answer))
        })
    }
}

/// What a client is told that comes in clear text where TLS is required.
pub(crate) fn needs_tls() -> Vec<u8> {
    const INADEQUATE_SECURITY: u8 = 12;
    last_words(INADEQUATE_SECURITY, b"this port takes TLS alone")
}

/// What a client is told for whom there is no place.
pub(crate) fn full() -> Vec<u8> {
    const ENHANCE_YOUR_CALM: u8 = 11;
    last_words(ENHANCE_YOUR_CALM, b"as many connections are open here as may be")
}

/// An empty SETTINGS frame, as every server begins, and GOAWAY (RFC 9113, sections 6.5 and 6.8) with this code and
/// these words, which are short.
fn last_words(code: u8, why: &[u8]) -> Vec<u8> {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const GO_AWAY: u8 = 7;
    let length = u8::try_from(8 + why.len()).unwrap_or(u8::MAX);
    // Its length, type, flags and stream, the last stream, the code.
    let head = [0, 0, length, GO_AWAY, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, code];
    [SETTINGS.as_slice(), &head, why].concat()
}

/// Serves a connection that was accepted, on the present thread. When there is no place for it, it is closed: a client
/// can't be told why before it has asked something, and tries another node.
pub(crate) fn serve(door: &Door, stream: Stream) {
    let Ok(peer) = stream.peer_addr() else { return };
    let Some(place) = door.admission.admit(ClientKind::Grpc, peer.ip()) else { return };
    let stopping = door.stopping.clone();
    if *stopping.borrow() {
        return;
    }
    let certificate = stream.client_certificate();
    let certified = certificate.and_then(|shown| door.auth.certified(shown.common_name.as_deref()?));
    let number = door.admission.number();
    let shared = Arc::clone(&door.shared);
    let id = format!("{}_{}_{}", shared.clock.wall().0, peer.ip(), peer.port());
    let (closing, closed) = oneshot::channel();
    let session = start_once(&door.spec, move |_| GrpcSession::new(shared, number, closing));
    let network = ClientNetwork::of(peer.ip());
    let peer = Arc::new(Peer::new(id, peer.ip().to_string(), certified));
    let auth = Arc::clone(&door.auth);
    let memory = (door.memory.clone(), network);
    let service = Service::new(session.clone(), Arc::clone(&peer), memory, Arc::clone(&auth));
    let (outgoing, setting_up) = (Outgoing::new(door.shared.options.write), door.setting_up);
    let methods = Methods::new(service, door, (network, outgoing.clone()));
    // On this thread as well, which has no other.
    drop(tokio::spawn(async move {
        // At once: what is told meanwhile would be told to somebody who may not hear it, or who hears nothing.
        let cut = async {
            tokio::select! {
                () = peer.until_cut(&auth) => {}
                () = peer.until_abandoned(setting_up) => tracing::debug!("a connection of a Nacos client was never set up"),
                () = outgoing.until_stalled() => tracing::debug!("a Nacos client does not read what it asked for"),
            }
        };
        carry(stream, methods, (closed, cut), stopping, &session).await;
        session.do_send(ConnectionEnded);
        drop(place);
    }));
}

async fn carry(
    stream: Stream,
    methods: Methods,
    (mut closed, cut): (oneshot::Receiver<()>, impl Future<Output = ()>),
    mut stopping: watch::Receiver<bool>,
    session: &actix::Addr<GrpcSession>,
) {
    let mut server = http2::Builder::new(TokioExecutor::new());
    server.timer(TokioTimer::new()).max_concurrent_streams(MAX_STREAMS).max_header_list_size(MAX_HEAD);
    let connection = server.serve_connection(TokioIo::new(stream), methods);
    let (mut connection, mut cut) = (std::pin::pin!(connection), std::pin::pin!(cut));
    let mut is_stopping = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection of a Nacos client broke");
                }
                return;
            }
            _ = &mut closed => break,
            () = cut.as_mut() => return,
            _ = stopping.wait_for(|is_stopping| *is_stopping), if !is_stopping => {
                is_stopping = true;
                session.do_send(Stopping);
            }
        }
    }
    connection.as_mut().graceful_shutdown();
    // What is not over by then is cut off.
    drop(tokio::time::timeout(CLOSING, connection).await);
}
