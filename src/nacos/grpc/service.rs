//! The two methods: a request with its answer, and the stream. Each connection has a service of its own, which knows
//! the session of that connection: that is how a request and a stream are known to belong together. Owns the order in
//! which a request is looked at; decides nothing about configurations.

use std::collections::HashMap;
use std::future::pending;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::{Addr, Message};
use callboard_actors::runtime::ask;
use callboard_actors::session::grpc::message::{
    Enter, Entered, Fault, Found, InboundMessage, Listen, Make, Notice, OpenStream, Query, StreamEnded, StreamMessage,
    Unlisten, UnwatchPattern, WatchPattern,
};
use callboard_actors::session::grpc::{Act, GrpcSession};
use callboard_proto::nacos::bi_request_stream_server::BiRequestStream;
use callboard_proto::nacos::request_server::Request as Unary;
use callboard_proto::nacos::{Metadata, Payload};
use callboard_protocol::access::grant::{Action, Area, Demand, Names};
use callboard_protocol::content::Content;
use callboard_protocol::error_code::ErrorCode;
use callboard_protocol::nacos::fuzzy::MAX_MATCHES;
use callboard_protocol::nacos::is_done_all_the_same;
use callboard_protocol::share::ClientNetwork;
use callboard_protocol::write_request::{Source, WriteRequest};
use futures_util::Stream;
use futures_util::future::{BoxFuture, select_all};
use futures_util::stream::poll_fn;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};

use crate::api::access::{Access, Principal};
use crate::api::auth::{Authenticator, Credentials, Identity, Whence};
use crate::api::error::ApiError;
use crate::api::escaped;
use crate::api::memory::Memory;
use crate::api::off_worker;
use crate::nacos::grpc::access::{Kind, Row};
use crate::nacos::grpc::outgoing::LongAnswer;
use crate::nacos::grpc::request::{Body, Watching};
use crate::nacos::grpc::{access, answer, request};
use crate::nacos::publish::in_words_of_nacos;

/// How long the session may take. What it waits for has times of its own, which are shorter.
const ASK: Duration = Duration::from_secs(30);
/// Notices that wait for the connection; what follows waits in the session, where a newer one takes its place.
const OUTLET: usize = 16;
/// The class of who says who it is.
const SETUP: &str = "ConnectionSetupRequest";
/// How long a long request waits for that: clients ask without waiting for an answer to it.
const SETUP_PATIENCE: Duration = Duration::from_millis(500);

/// The service of one connection.
#[derive(Debug, Clone)]
pub(super) struct Service {
    session: Addr<GrpcSession>,
    pub(super) peer: Arc<Peer>,
    memory: Memory,
    network: ClientNetwork,
    auth: Arc<Authenticator>,
}

/// An answer.
enum Said {
    /// It is there as a whole.
    Whole(Payload),
    /// With a long content.
    Long(LongAnswer),
}

impl From<Payload> for Said {
    fn from(payload: Payload) -> Self {
        Self::Whole(payload)
    }
}

/// Why a request is not answered as its client wants.
enum Refusal {
    /// Its connection is not set up.
    Unregistered,
    /// Its body can't be read, for this reason.
    Undecodable(String),
    /// Something else.
    Refused(ApiError),
}

impl From<ApiError> for Refusal {
    fn from(refused: ApiError) -> Self {
        Self::Refused(refused)
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        match fault {
            // Nothing was done, and clients ask again over their next connection.
            Fault::Leaving => Self::Unregistered,
            fault => Self::Refused(in_words_of_nacos(fault.into())),
        }
    }
}

/// The other end of a connection.
#[derive(Debug)]
pub(super) struct Peer {
    /// Its name, as clients are told.
    pub(super) id: String,
    /// The address at its other end, without the port.
    pub(super) from: String,
    /// Who its certificate says it is.
    certified: Option<Principal>,
    /// Those who listened to something here.
    listeners: Mutex<Vec<Arc<Identity>>>,
    /// Somebody came to them.
    more: Notify,
    /// Something was asked since it was looked last.
    was_heard: AtomicBool,
    /// Whether the client has said who it is.
    set_up: watch::Sender<bool>,
}

impl Peer {
    /// Something was asked.
    fn heard(&self) {
        self.was_heard.store(true, Ordering::Relaxed);
    }

    pub(super) fn new(id: String, from: String, certified: Option<Principal>) -> Self {
        Self {
            id,
            from,
            certified,
            listeners: Mutex::default(),
            more: Notify::new(),
            was_heard: AtomicBool::new(false),
            set_up: watch::Sender::new(false),
        }
    }

    /// Comes to an end when the connection is not set up, and nothing is asked on it either.
    pub(super) async fn until_abandoned(&self, patience: Duration) {
        loop {
            tokio::time::sleep(patience).await;
            if !self.was_heard.swap(false, Ordering::Relaxed) && !self.is_set_up() {
                return;
            }
            if self.is_set_up() {
                // From now on the session looks whether its client is there.
                pending::<()>().await;
            }
        }
    }

    /// The client says who it is.
    pub(super) fn sets_up(&self) {
        self.set_up.send_replace(true);
    }

    /// Whether the client has said who it is.
    pub(super) fn is_set_up(&self) -> bool {
        *self.set_up.borrow()
    }

    /// The same, once it has, or after as long as a request waits for that.
    pub(super) async fn sets_up_in_time(&self) -> bool {
        let mut set_up = self.set_up.subscribe();
        let said = set_up.wait_for(|is_set_up| *is_set_up);
        timeout(SETUP_PATIENCE, said).await.is_ok_and(|said| said.is_ok())
    }

    /// Comes to an end when one of those who listened here may no longer what he might then: the connection ends, and
    /// its client asks again.
    pub(super) async fn until_cut(&self, auth: &Authenticator) {
        loop {
            let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let changes = listeners.into_iter().map(|listener| {
                let principal = Principal::User(listener);
                Box::pin(async move { auth.until_changed(&principal).await })
            });
            // One that never ends, for a connection where nobody listens yet.
            let changes: Vec<BoxFuture<'_, ()>> = changes
                .map(|change| change as BoxFuture<'_, ()>)
                .chain([Box::pin(pending()) as BoxFuture<'_, ()>])
                .collect();
            tokio::select! {
                _ = select_all(changes) => return,
                () = self.more.notified() => {}
            }
        }
    }
}

/// The parts of a message: its class, its body, and the address that the sender takes for its own.
pub(super) fn parts(payload: Payload) -> (String, Vec<u8>, String) {
    let Metadata { r#type, client_ip, .. } = payload.metadata.unwrap_or_default();
    (r#type, payload.body.map(|body| body.value).unwrap_or_default(), client_ip)
}

/// What the headers of a message show. `Authorization` counts before `accessToken`, and that before a password.
pub(super) fn shown(headers: &HashMap<String, String>) -> Credentials<'_> {
    let filled = |name: &str| {
        let named = headers.iter().filter(|(given, _)| given.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).find(|value| !value.is_empty())
    };
    if let Some(token) = filled("Authorization").and_then(|text| text.strip_prefix("Bearer ")) {
        return Credentials::Token(token);
    }
    match (filled("accessToken"), filled("username"), filled("password")) {
        (Some(token), _, _) => Credentials::Token(token),
        (None, Some(user), Some(password)) => Credentials::Password(user, password),
        _ => Credentials::None,
    }
}

/// Whether somebody may do what is asked.
fn allow(principal: &Principal, row: &Row, body: &Body) -> Result<(), ApiError> {
    principal.admit(row.access)?;
    match row.kind {
        Kind::Query => principal.require(&Demand::Key(Action::Read, &body.key()?))?,
        Kind::Publish | Kind::Remove => principal.require(&Demand::Key(Action::Write, &body.key()?))?,
        Kind::Listen => {
            for key in body.listened() {
                principal.require(&Demand::Key(Action::Read, &key))?;
            }
        }
        Kind::FuzzyWatch => {
            if let Some(pattern) = body.watched() {
                let names = (Names::of_pattern(&pattern.group), Names::of_pattern(&pattern.data_id));
                let area = Area { namespace: &pattern.namespace, group: names.0, data_id: names.1 };
                principal.require(&Demand::Area(Action::Read, area))?;
            }
        }
        Kind::ServerCheck | Kind::HealthCheck | Kind::PushAck | Kind::Absent(_) => {}
    }
    Ok(())
}

impl Service {
    pub(super) fn new(
        session: Addr<GrpcSession>,
        peer: Arc<Peer>,
        (memory, network): (Memory, ClientNetwork),
        auth: Arc<Authenticator>,
    ) -> Self {
        Self { session, peer, memory, network, auth }
    }

    async fn answer(&self, payload: Payload) -> Said {
        let headers = payload.metadata.as_ref().map(|metadata| metadata.headers.clone()).unwrap_or_default();
        let (class, body, _) = parts(payload);
        let row = access::find(access::simple(&class));
        let mut reservation = self.memory.requests.reserve(self.network);
        if let Some(row) = row
            && let Err(none) = reservation.take(body.len())
        {
            return answer::refused(row.answer, "", &none.into()).into();
        }
        let needs_setup = row.is_some_and(Row::needs_setup);
        let enter = Enter { class: row.map_or("other", |row| row.class), bytes: body.len(), needs_setup };
        let Some(row) = row else {
            // It needs no set-up: that nobody knows it is all there is to say.
            drop(self.enter(enter).await);
            return answer::no_handler("").into();
        };
        let (id, acted) = match off_worker::run(body.len(), move || Body::read(&body)).await {
            Ok(mut body) => {
                let id = body.request_id.take().unwrap_or_default();
                let acted = self.act(row, enter, &id, (body, &headers)).await;
                (id, acted)
            }
            Err(error) => (String::new(), self.refuse(enter, Refusal::Undecodable(error.to_string())).await),
        };
        match acted {
            Ok(answer) => answer,
            Err(Refusal::Unregistered) => answer::unregistered(&id).into(),
            Err(Refusal::Undecodable(why)) => answer::undecodable(&why).into(),
            Err(Refusal::Refused(refused)) => answer::refused(row.answer, &id, &refused).into(),
        }
    }

    async fn act(
        &self,
        row: &'static Row,
        enter: Enter,
        id: &str,
        (body, headers): (Body, &HashMap<String, String>),
    ) -> Result<Said, Refusal> {
        let principal = match self.admit(row, headers, &body).await {
            Ok(principal) => principal,
            Err(refused) => return self.refuse(enter, refused).await,
        };
        if matches!(row.kind, Kind::Listen | Kind::FuzzyWatch) {
            self.remember(&principal);
        }
        let origin = || request::origin(&principal, &self.peer.from);
        match row.kind {
            Kind::ServerCheck => {
                self.enter(enter).await?;
                Ok(answer::checked(id, &self.peer.id).into())
            }
            Kind::HealthCheck | Kind::PushAck => {
                self.enter(enter).await?;
                Ok(answer::done(row.answer, id).into())
            }
            Kind::Query => self.query(enter, id, (&body, &principal)).await,
            Kind::Publish => {
                self.make(enter, body.publish(origin()).await).await.map(|()| answer::done(row.answer, id).into())
            }
            Kind::Remove => self.make(enter, body.remove(origin())).await.map(|()| answer::done(row.answer, id).into()),
            Kind::Listen => self.listen(enter, id, body).await.map(Said::from),
            Kind::FuzzyWatch => self.watch(enter, body).await.map(|()| answer::done(row.answer, id).into()),
            Kind::Absent(why) => self.refuse(enter, ApiError::new(ErrorCode::Unsupported, why)).await,
        }
    }

    /// Who asks, if he may.
    async fn admit(&self, row: &Row, headers: &HashMap<String, String>, body: &Body) -> Result<Principal, ApiError> {
        if row.access == Access::Public {
            return Ok(Principal::Anonymous);
        }
        let shown = shown(headers);
        let auth = &self.auth;
        let certified = self.peer.certified.as_ref().filter(|_| shown == Credentials::None);
        let principal = match certified.and_then(|known| auth.again(known)).or_else(|| auth.recall(shown)) {
            Some(principal) => principal,
            None => auth.authenticate(shown, self.whence()).await?,
        };
        let allowed = allow(&principal, row, body);
        if let Err(refused) = &allowed {
            auth.tell_refused(refused, principal.operator(), self.whence());
        }
        allowed.map(|()| principal)
    }

    fn whence(&self) -> Whence<'_> {
        Whence { address: &self.peer.from, door: Source::Grpc }
    }

    /// What the connection is told of was asked for by somebody who might: see [`Peer::until_cut`].
    fn remember(&self, principal: &Principal) {
        let Principal::User(identity) = principal else { return };
        let mut listeners = self.peer.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        let known = listeners.iter_mut().find(|known| *known == identity);
        match known {
            Some(known) if Arc::ptr_eq(known, identity) => return,
            Some(known) => known.clone_from(identity),
            None => listeners.push(Arc::clone(identity)),
        }
        self.peer.more.notify_one();
    }

    /// Lets a request in. Refused when the connection has to be set up for it, and is not.
    async fn enter(&self, enter: Enter) -> Result<(), Refusal> {
        let needs_setup = enter.needs_setup;
        let is_set_up = self.session.send(enter).await.unwrap_or(false);
        self.peer.heard();
        if is_set_up || !needs_setup { Ok(()) } else { Err(Refusal::Unregistered) }
    }

    /// A refusal, for one that was let in.
    async fn refuse<T>(&self, enter: Enter, refusal: impl Into<Refusal>) -> Result<T, Refusal> {
        self.enter(enter).await?;
        Err(refusal.into())
    }

    /// Asks the session.
    async fn ask<M>(&self, enter: Enter, asks: M) -> Result<M::Result, Refusal>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        GrpcSession: Act<M>,
    {
        // What the session waits for has times of its own.
        self.peer.heard();
        match self.session.send(Entered { enter, asks }).await {
            Ok(answer) => answer.ok_or(Refusal::Unregistered),
            Err(error) => Err(Fault::Ask(error.into()).into()),
        }
    }

    async fn make(&self, enter: Enter, unit: Result<WriteRequest, ApiError>) -> Result<(), Refusal> {
        let unit = match unit {
            Ok(unit) => unit,
            Err(refused) => return self.refuse(enter, refused).await,
        };
        let id = unit.request_id.clone();
        match self.session.send(Entered { enter, asks: Make(Box::new(unit)) }).await {
            // The session has ended; what it had handed over goes on.
            Err(_ended) => Err(Fault::Unknown(id).into()),
            Ok(None) => Err(Refusal::Unregistered),
            Ok(Some(Ok(()))) => Ok(()),
            Ok(Some(Err(Fault::Refused(refusal)))) if is_done_all_the_same(refusal.code()) => Ok(()),
            Ok(Some(Err(fault))) => Err(fault.into()),
        }
    }

    async fn query(&self, enter: Enter, id: &str, (body, principal): (&Body, &Principal)) -> Result<Said, Refusal> {
        let key = match body.key() {
            Ok(key) => key,
            Err(refused) => return self.refuse(enter, refused).await,
        };
        let found =
            self.ask(enter, Query { key, is_for_all: body.tag().is_none(), secrets: principal.secrets() }).await??;
        if found.state.metadata.is_secret
            && let Err(refused) = principal.require(&Demand::Key(Action::Secret, &found.state.key))
        {
            self.auth.tell_refused(&refused, principal.operator(), self.whence());
            return Err(refused.into());
        }
        // A tag is insisted on, and no configuration has tagged contents yet.
        match found.content.as_ref().filter(|_| body.tag().is_none()) {
            Some(content) if content.bytes().len() >= escaped::LONG => self.queried_long(id, &found, content).await,
            Some(content) => Ok(answer::queried(id, &found, content).into()),
            None => Err(ApiError::new(ErrorCode::NotFound, "config data not exist").into()),
        }
    }

    /// A long content, sent from where it is.
    async fn queried_long(&self, id: &str, found: &Found, content: &Content) -> Result<Said, Refusal> {
        let shared = self.memory.answers.share(self.network, content.bytes()).await.map_err(ApiError::from)?;
        let Some((class, json)) = answer::queried_long(id, found, content) else {
            return Ok(answer::queried(id, found, content).into());
        };
        let (length, json) = off_worker::run(content.bytes().len(), move || (json.len(), json)).await;
        Ok(Said::Long(LongAnswer::new(class, json, length, shared)))
    }

    async fn listen(&self, enter: Enter, id: &str, body: Body) -> Result<Payload, Refusal> {
        let (listens, contexts, named) = body.listens();
        if !listens {
            let keys = contexts.into_iter().filter_map(|listening| listening.key).collect();
            self.ask(enter, Unlisten(keys)).await?;
            return Ok(answer::listened(id, &named, &[]));
        }
        let changed = self.ask(enter, Listen(contexts)).await??;
        Ok(answer::listened(id, &named, &changed))
    }

    async fn watch(&self, enter: Enter, body: Body) -> Result<(), Refusal> {
        let (text, pattern, is_initial, received) = match body.watching() {
            Ok(Watching::Cancel(text)) => return self.ask(enter, UnwatchPattern(text)).await,
            Ok(Watching::Watch { text, pattern, is_initial, received }) => (text, pattern, is_initial, received),
            Err(refused) => return self.refuse(enter, refused).await,
        };
        match self.ask(enter, WatchPattern { text, pattern, is_initial, received }).await? {
            Ok(count) if count >= u64::try_from(MAX_MATCHES).unwrap_or(u64::MAX) => {
                let detail = format!("the pattern matches {count} configurations; the first are told");
                Err(ApiError::new(ErrorCode::TooManyMatches, detail).into())
            }
            Ok(_) => Ok(()),
            Err(Fault::TooManyWatches(most)) => {
                let detail = format!("a connection may watch {most} patterns");
                Err(ApiError::new(ErrorCode::TooManyPatterns, detail).into())
            }
            Err(fault) => Err(fault.into()),
        }
    }

    /// Takes in what the client says over its stream, one message after the other, until either side ends it.
    async fn read_stream(self, stream: u64, mut incoming: Streaming<Payload>, mut is_complete: oneshot::Receiver<()>) {
        loop {
            let message = tokio::select! {
                message = incoming.message() => message,
                _ = &mut is_complete => break,
            };
            match message {
                Ok(Some(payload)) => {
                    let (class, body, claimed) = parts(payload);
                    let bytes = body.len();
                    self.peer.heard();
                    let message = match Body::read(&body) {
                        Ok(body) => {
                            if access::simple(&class) == SETUP {
                                self.peer.sets_up();
                            }
                            body.stream_message(access::simple(&class), &self.peer.id, &self.peer.from, &claimed)
                        }
                        Err(_unreadable) => StreamMessage::Other,
                    };
                    if self.session.send(InboundMessage { stream, bytes, message }).await.is_err() {
                        return;
                    }
                }
                Ok(None) => break,
                Err(status) => {
                    tracing::debug!(error = %status, "a stream of a Nacos client broke");
                    break;
                }
            }
        }
        self.session.do_send(StreamEnded(stream));
    }
}

#[tonic::async_trait]
impl Unary for Service {
    async fn request(&self, request: Request<Payload>) -> Result<Response<Payload>, Status> {
        Ok(match self.answer(request.into_inner()).await {
            Said::Whole(payload) => Response::new(payload),
            Said::Long(long) => {
                let mut response = Response::new(Payload::default());
                response.extensions_mut().insert(long);
                response
            }
        })
    }
}

#[tonic::async_trait]
impl BiRequestStream for Service {
    type requestBiStreamStream = Pin<Box<dyn Stream<Item = Result<Payload, Status>> + Send>>;

    async fn request_bi_stream(
        &self,
        request: Request<Streaming<Payload>>,
    ) -> Result<Response<Self::requestBiStreamStream>, Status> {
        let (outlet, mut notices) = mpsc::channel::<Box<Notice>>(OUTLET);
        let gone = |_error| Status::unavailable("the connection is closing; connect again");
        let stream = ask(&self.session, OpenStream(outlet), ASK).await.map_err(gone)?;
        // Both go together with what is told: whoever hears ends with it.
        let (complete, is_complete) = oneshot::channel();
        drop(tokio::spawn(self.clone().read_stream(stream, request.into_inner(), is_complete)));
        let told = poll_fn(move |task| {
            let _told_to_the_end: &oneshot::Sender<()> = &complete;
            notices.poll_recv(task).map(|notice| notice.map(|notice| Ok(answer::notice(*notice))))
        });
        Ok(Response::new(Box::pin(told)))
    }
}
