//! The two methods: a request with its answer, and the stream. Each connection has a service of its own, which knows the
//! session of that connection: that is how a request and a stream are known to belong together. Owns the order in which a
//! request is looked at; decides nothing about configurations.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use callboard_actors::runtime::ask;
use callboard_actors::session::grpc::GrpcSession;
use callboard_actors::session::grpc::words::{
    Enter, Fault, Listen, Make, Notice, OpenStream, Query, StreamEnded, Told, Unlisten, UnwatchPattern, WatchPattern,
    Word,
};
use callboard_proto::nacos::bi_request_stream_server::BiRequestStream;
use callboard_proto::nacos::request_server::Request as Unary;
use callboard_proto::nacos::{Metadata, Payload};
use callboard_protocol::nacos::fuzzy::MAX_MATCHES;
use callboard_protocol::unit::Refusal;
use futures_util::Stream;
use futures_util::stream::poll_fn;
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming};

use super::access::{self, Kind, Row};
use super::answer::{self, Refused};
use super::request::{self, Body, Watching};
use crate::http::access::Principal;

/// How long the session may take. What it waits for has times of its own, which are shorter.
const ASK: Duration = Duration::from_secs(30);
/// Notices that wait for the connection; what follows waits in the session, where a newer one takes its place.
const OUTLET: usize = 16;

/// The service of one connection.
#[derive(Debug, Clone)]
pub(super) struct Service {
    session: Addr<GrpcSession>,
    facts: Arc<Facts>,
}

/// What is known of a connection.
#[derive(Debug)]
pub(super) struct Facts {
    /// Its name, as clients are told.
    pub(super) id: String,
    /// The address at its other end, without the port.
    pub(super) from: String,
}

/// The parts of a message: its class, its body, and the address that the sender takes for its own.
fn parts(payload: Payload) -> (String, Vec<u8>, String) {
    let Metadata { r#type, client_ip, .. } = payload.metadata.unwrap_or_default();
    (r#type, payload.body.map(|body| body.value).unwrap_or_default(), client_ip)
}

impl Service {
    pub(super) fn new(session: Addr<GrpcSession>, facts: Facts) -> Self {
        Self { session, facts: Arc::new(facts) }
    }

    async fn answer(&self, payload: Payload) -> Payload {
        let (class, body, _) = parts(payload);
        let row = access::find(access::simple(&class));
        let needs_setup = row.is_some_and(Row::needs_setup);
        let enter = Enter { class: row.map_or("other", |row| row.class), bytes: body.len(), needs_setup };
        let client = ask(&self.session, enter, ASK).await.ok().flatten();
        let Some(row) = row else { return answer::no_handler("") };
        if needs_setup && client.is_none() {
            return answer::unregistered("");
        }
        // Tokens are not looked at as long as there is nobody whom they could make known.
        let principal = Principal::Anonymous;
        if let Err(problem) = principal.require(row.access) {
            return answer::refused(row.answer, "", &Refused::no_right(problem.detail()));
        }
        match Body::read(&body) {
            Ok(body) => self.act(row, body, &principal).await,
            Err(error) => answer::undecodable(&error.to_string()),
        }
    }

    async fn act(&self, row: &'static Row, mut body: Body, principal: &Principal) -> Payload {
        let id = body.request_id.take().unwrap_or_default();
        let acted = match row.kind {
            Kind::ServerCheck => return answer::checked(&id, &self.facts.id),
            Kind::HealthCheck | Kind::PushAck => Ok(answer::done(row.answer, &id)),
            Kind::Query => self.query(&id, &body).await,
            Kind::Publish => match body.publish(request::origin(principal, &self.facts.from)) {
                Ok(unit) => self.ask(Make(Box::new(unit))).await.map(|()| answer::done(row.answer, &id)),
                Err(refused) => Err(refused),
            },
            Kind::Remove => match body.remove(request::origin(principal, &self.facts.from)) {
                Ok(unit) => match self.make(unit).await {
                    // What is not there is removed, too.
                    Ok(()) | Err(Fault::Refused(Refusal::NotFound { .. })) => Ok(answer::done(row.answer, &id)),
                    Err(fault) => Err(fault.into()),
                },
                Err(refused) => Err(refused),
            },
            Kind::Listen => self.listen(&id, body).await,
            Kind::FuzzyWatch => match self.watch(body).await {
                Ok(()) => Ok(answer::done(row.answer, &id)),
                Err(refused) => Err(refused),
            },
        };
        acted.unwrap_or_else(|refused| answer::refused(row.answer, &id, &refused))
    }

    /// Asks the session something that may fail.
    async fn ask<M, T>(&self, message: M) -> Result<T, Refused>
    where
        M: actix::Message<Result = Result<T, Fault>> + Send + 'static,
        T: Send + 'static,
        GrpcSession: actix::Handler<M>,
        <GrpcSession as actix::Actor>::Context: actix::dev::ToEnvelope<GrpcSession, M>,
    {
        match ask(&self.session, message, ASK).await {
            Ok(answer) => answer.map_err(Refused::from),
            Err(error) => Err(Fault::Ask(error).into()),
        }
    }

    async fn make(&self, unit: callboard_protocol::unit::Unit) -> Result<(), Fault> {
        ask(&self.session, Make(Box::new(unit)), ASK).await.map_err(Fault::Ask)?
    }

    async fn query(&self, id: &str, body: &Body) -> Result<Payload, Refused> {
        let found = self.ask(Query(body.key()?)).await?;
        // A tag is insisted on, and no configuration has tagged contents yet.
        match found.content.as_ref().filter(|_| body.tag().is_none()) {
            Some(content) => Ok(answer::queried(id, &found, content)),
            None => Err(Refused::no_config()),
        }
    }

    async fn listen(&self, id: &str, body: Body) -> Result<Payload, Refused> {
        let (listens, contexts, named) = body.listens();
        if !listens {
            let keys = contexts.into_iter().filter_map(|listening| listening.key).collect();
            ask(&self.session, Unlisten(keys), ASK).await.map_err(Fault::Ask)?;
            return Ok(answer::listened(id, &named, &[]));
        }
        let changed = self.ask(Listen(contexts)).await?;
        Ok(answer::listened(id, &named, &changed))
    }

    async fn watch(&self, body: Body) -> Result<(), Refused> {
        let (text, pattern, is_initial, received) = match body.watching()? {
            Watching::Cancel(text) => {
                ask(&self.session, UnwatchPattern(text), ASK).await.map_err(Fault::Ask)?;
                return Ok(());
            }
            Watching::Watch { text, pattern, is_initial, received } => (text, pattern, is_initial, received),
        };
        let watch = WatchPattern { text, pattern, is_initial, received };
        let count = match ask(&self.session, watch, ASK).await.map_err(Fault::Ask)? {
            Ok(count) => count,
            Err(Fault::TooManyWatches(most)) => return Err(Refused::too_many_patterns(most)),
            Err(fault) => return Err(fault.into()),
        };
        if count >= u64::try_from(MAX_MATCHES).unwrap_or(u64::MAX) {
            return Err(Refused::too_many_matches(count));
        }
        Ok(())
    }

    /// Takes in what the client says over its stream, one word after the other, until it ends.
    async fn hear(self, stream: u64, mut incoming: Streaming<Payload>) {
        loop {
            match incoming.message().await {
                Ok(Some(payload)) => {
                    let (class, body, claimed) = parts(payload);
                    let bytes = body.len();
                    let word = match Body::read(&body) {
                        Ok(body) => body.word(access::simple(&class), &self.facts.id, &self.facts.from, &claimed),
                        Err(_unreadable) => Word::Other,
                    };
                    if ask(&self.session, Told { stream, bytes, word }, ASK).await.is_err() {
                        return;
                    }
                }
                Ok(None) => break,
                Err(status) => {
                    tracing::debug!(%status, "a stream of a Nacos client broke");
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
        Ok(Response::new(self.answer(request.into_inner()).await))
    }
}

#[tonic::async_trait]
impl BiRequestStream for Service {
    type requestBiStreamStream = Pin<Box<dyn Stream<Item = Result<Payload, Status>> + Send>>;

    async fn request_bi_stream(
        &self,
        request: Request<Streaming<Payload>>,
    ) -> Result<Response<Self::requestBiStreamStream>, Status> {
        let (outlet, mut notices) = mpsc::channel::<Notice>(OUTLET);
        let gone = |_error| Status::unavailable("the connection is closing; connect again");
        let stream = ask(&self.session, OpenStream(outlet), ASK).await.map_err(gone)?;
        drop(tokio::spawn(self.clone().hear(stream, request.into_inner())));
        let facts = Arc::clone(&self.facts);
        let told = poll_fn(move |task| {
            notices.poll_recv(task).map(|notice| notice.map(|notice| Ok(answer::notice(notice, &facts.id))))
        });
        Ok(Response::new(Box::pin(told)))
    }
}
