//! A session of a Nacos client: one connection, over which it asks, and a stream on it, over which it is told what
//! changed.
//!
//! Owns the stream of notices and the watches, and asks the other actors. How far the conversation is, what the client
//! listens to and has shown to hold, and the notices that it is owed are decided by `callboard_protocol::nacos`. At
//! most so many notices wait for the connection as its outlet takes, and one for each configuration behind them. Opens
//! no socket and knows no format: requests come as messages, and the outlet of the stream is handed in.

mod listen;
pub mod message;
mod notify;
mod patterns;
mod requests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{
    Actor, ActorContext as _, ActorFutureExt as _, ActorResponse, AsyncContext as _, Handler, Message, MessageResult,
    ResponseActFuture, SpawnHandle,
};
use callboard_protocol::key::ConfigKey;
use callboard_protocol::nacos::conversation::{Again, Conversation, Registration};
use callboard_protocol::nacos::fuzzy::{Fuzzy, Pattern};
use callboard_protocol::nacos::listens::Listens;
use callboard_protocol::nacos::notices::{Notices, Policy};
use callboard_protocol::nacos::{Outbox, Subject};
use callboard_protocol::push_ledger::{PushStep, SessionNumber};
use callboard_protocol::session::client::Client;
use callboard_protocol::session::liveness::Liveness;
use callboard_protocol::session::pace::{self, Allowance};
use callboard_protocol::session::presence::{Presence, Silence};
use callboard_protocol::time::{Mono, WallMillis};
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::Instant;

use self::message::{
    ConnectionEnded, Enter, Entered, InboundMessage, Notice, OpenStream, Stopping, StreamEnded, StreamMessage,
};
use self::notify::Stream;
use super::steps::Turns;
use super::{ASK_DEADLINE, Deps, RETRY};
use crate::clock::SharedClock;
use crate::coordinator::connections::{Connect, Disconnect, GetWatched, SetIdle, Watched};
use crate::coordinator::{SessionEvent, WatchId};
use crate::metrics::{EndLabel, GrpcMetrics, HeldLabel, PushMetrics, SdkLabel, TypeLabel};
use crate::monitored;
use crate::runtime::{Context, Observable, ask};

/// How long a request waits for the connection to be set up: clients ask without waiting for an answer to that.
const SETUP: Duration = Duration::from_millis(500);
/// What a session has behind it when it begins: it has saved up a burst that it may send at once.
const SAVED: Duration = Duration::from_secs(1);

/// What a session may do.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Configurations that it may listen to.
    pub listens: usize,
    /// What it may send in a second.
    pub allowance: Allowance,
    /// Time a client may take without reading anything.
    pub write: Duration,
    /// Silence that ends it, and somewhat more.
    pub idle: Duration,
    /// How long a read may take.
    pub read: Duration,
    /// How long a publish may take until its outcome counts as unknown.
    pub publish: Duration,
    /// Whether a query may be answered with what may be old when nothing newer can be known.
    pub serve_stale: bool,
}

impl Options {
    /// Silence after which the client is asked whether it is there: as long as real servers wait, where nobody says
    /// otherwise.
    fn detect_after(&self) -> Duration {
        self.idle * 2 / 3
    }

    /// Silence after which it is let go.
    fn gone_after(&self) -> Duration {
        self.idle * 5 / 6
    }
}

/// What all sessions of a thread share.
#[derive(Debug, Clone)]
pub struct Shared {
    /// What each may do.
    pub options: Options,
    /// Whom they talk to.
    pub deps: Deps,
    /// For people.
    pub clock: SharedClock,
    /// Counts.
    pub push: PushMetrics,
    /// Counts.
    pub grpc: GrpcMetrics,
}

/// A watch of a session.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Watching {
    Key(ConfigKey),
    Pattern(Box<str>),
}

/// A session of a Nacos client.
pub struct GrpcSession {
    shared: Arc<Shared>,
    number: SessionNumber,
    since: WallMillis,
    origin: Instant,
    presence: Presence,
    conversation: Conversation<Registered>,
    outbox: Outbox,
    stream: Option<Stream>,
    /// Who notes what the client says of its listening, one after the other.
    turns: Turns,
    /// Requests that wait for the connection to be set up.
    waiting: Vec<oneshot::Sender<()>>,
    /// Looks after the notices.
    alarm: Option<(Mono, SpawnHandle)>,
    /// Everything that is listened to is being read again, and everything that patterns match.
    reading: Again,
    matching: Again,
    /// Its drop closes the connection.
    connection: Option<oneshot::Sender<()>>,
}

/// What a session knows of a client that has said who it is.
struct Registered {
    client: Arc<Client>,
    sdk: SdkLabel,
    listens: Listens,
    fuzzy: Fuzzy,
    watches: HashMap<Watching, WatchId>,
}

impl Registered {
    /// True when the client listens to this.
    fn wants(&self, watching: &Watching) -> bool {
        match watching {
            Watching::Key(key) => self.listens.contains(key),
            Watching::Pattern(text) => self.fuzzy.contains(text),
        }
    }

    /// The client listens to this no longer. Answers the watch that is to be taken back.
    fn forget(&mut self, watching: &Watching, outbox: &mut Outbox) -> Option<WatchId> {
        match watching {
            Watching::Key(key) => self.listens.unlisten(key, outbox),
            Watching::Pattern(text) => self.fuzzy.cancel(text, outbox),
        };
        self.watches.remove(watching)
    }
}

impl GrpcSession {
    /// Serves a connection, which closes when `connection` drops.
    #[must_use]
    pub fn new(shared: Arc<Shared>, number: SessionNumber, connection: oneshot::Sender<()>) -> Self {
        Self {
            number,
            since: shared.clock.wall(),
            origin: Instant::now(),
            presence: Presence::new(
                Liveness::pinged_after(shared.options.detect_after(), shared.options.gone_after(), Mono(SAVED)),
                shared.options.allowance,
            ),
            conversation: Conversation::default(),
            outbox: Notices::new(Policy::default()),
            stream: None,
            turns: Turns::default(),
            waiting: Vec::new(),
            alarm: None,
            reading: Again::default(),
            matching: Again::default(),
            connection: Some(connection),
            shared,
        }
    }

    fn now(&self) -> Mono {
        Mono(SAVED + self.origin.elapsed())
    }

    /// Something came from the client: how long it has to wait, because it sends faster than it may.
    fn heard(&mut self, bytes: usize, work: u32) -> Duration {
        let sign = self.presence.heard(self.now(), bytes, work);
        if sign.is_back {
            self.shared.deps.coordinator.do_send(SetIdle { number: self.number, is_idle: false });
        }
        sign.pause
    }

    /// The client said who it is: it is connected to the coordinator, and known to be here from then on.
    fn set_up(&mut self, client: Client, wants_ready: bool, context: &mut Context<Self>) {
        if self.conversation.set_up() {
            self.connect(Arc::new(client), wants_ready, context);
        }
    }

    /// Connects to the coordinator, and again whenever it forgets.
    fn connect(&mut self, client: Arc<Client>, wants_ready: bool, context: &mut Context<Self>) {
        let (coordinator, me) = (self.shared.deps.coordinator.clone(), context.address());
        let attend = Connect {
            number: self.number,
            client: Arc::clone(&client),
            since: self.since,
            events: me.clone().recipient(),
            inquiries: me.recipient(),
        };
        let asking = async move { ask(&coordinator, attend, ASK_DEADLINE).await };
        let stream = self.conversation.stream();
        context.spawn(wrap_future(asking).map(move |connection, session: &mut Self, context| {
            let meaning = session.conversation.registered(stream);
            match (connection, meaning) {
                (Ok(Ok(_)), Registration::GiveBack) => {
                    session.shared.deps.coordinator.do_send(Disconnect(session.number))
                }
                (Ok(Ok(held)), Registration::First | Registration::Again) => {
                    let again = Arc::clone(&client);
                    context.spawn(wrap_future(held.lost()).map(move |(), session: &mut Self, context| {
                        if session.conversation.known_at(stream).is_some() {
                            session.connect(again, wants_ready, context);
                        }
                    }));
                    match meaning {
                        Registration::First => session.begin(client, wants_ready, context),
                        _ => session.watch_again(context),
                    }
                }
                (Ok(Err(_refused)), _) => session.end("refused", context),
                (Err(_away), _) => {
                    context.run_later(RETRY, move |session, context| {
                        if session.conversation.is_current(stream) {
                            session.connect(client, wants_ready, context);
                        }
                    });
                }
                (Ok(Ok(_)), Registration::Former) => {}
            }
        }));
    }

    fn begin(&mut self, client: Arc<Client>, wants_ready: bool, context: &mut Context<Self>) {
        let sdk = self.shared.grpc.connected(&client.software);
        let (listens, fuzzy) = (Listens::new(Arc::clone(&client)), Fuzzy::default());
        self.conversation.begin(Registered { client, sdk, listens, fuzzy, watches: HashMap::new() });
        if wants_ready {
            let number = self.outbox.number();
            self.send_once(Notice::Ready(number), context);
        }
        // Their drop ends the wait.
        self.waiting = Vec::new();
    }

    /// The client has closed its stream, and with it taken back what it said: it is to set the connection up again.
    fn forget(&mut self, talk: Option<Box<Registered>>) {
        let Some(talk) = talk else { return };
        let lost: Vec<_> = talk.listens.unanswered().map(|(key, version)| (key.clone(), version)).collect();
        for (key, version) in lost {
            self.report(&talk.client, key, version, PushStep::Lost);
        }
        self.shared.grpc.disconnected(&talk.sdk);
        self.outbox = Notices::new(Policy::default());
        // A coordinator that is gone has no connection to end.
        self.shared.deps.coordinator.do_send(Disconnect(self.number));
    }

    /// Closes the connection of a node that stops when the client has not said who it is: it has nothing to wait for.
    fn leave_if_stopping(&mut self) {
        if self.conversation.has_to_leave() {
            self.leave();
        }
    }

    /// The node stops, or leaves its cluster: completes the stream and closes the connection, and answers what is under
    /// way on it. Nothing is said before: a client that is told to go elsewhere while its stream stays open tries
    /// without a pause and connects twice, and the second connection misses what it listens to. One whose stream ends
    /// connects once.
    fn leave(&mut self) {
        self.conversation.leave();
        self.close("drained");
        // What waits for the connection to be set up waits in vain; their drop says so.
        self.waiting = Vec::new();
    }

    /// Closes the connection. Its transport waits for the answers that are under way, and no longer than that.
    fn close(&mut self, reason: &'static str) {
        if self.connection.take().is_some() {
            self.shared.grpc.ended.get_or_create(&EndLabel { reason }).inc();
        }
        self.stream = None;
    }

    /// Ends the session and its connection.
    fn end(&mut self, reason: &'static str, context: &mut Context<Self>) {
        self.close(reason);
        context.stop();
    }

    /// Looks whether the client lives, now and whenever it may have to be asked.
    fn beat(&mut self, context: &mut Context<Self>) {
        let (now, is_set_up) = (self.now(), self.conversation.known().is_some());
        let silence = self.presence.beat(now, is_set_up);
        let wait = match self.conversation.about(silence, self.presence.silent_for(now)) {
            Silence::Rest(wait) => wait,
            Silence::Ping { wait, is_new, .. } => {
                if is_new {
                    self.shared.deps.coordinator.do_send(SetIdle { number: self.number, is_idle: true });
                }
                let number = self.outbox.number();
                self.send_once(Notice::Detection(number), context);
                wait
            }
            Silence::Gone => return self.end("silent", context),
        };
        context.run_later(wait, Self::beat);
    }
}

impl Actor for GrpcSession {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.shared.push.held.get_or_create(&HeldLabel { kind: "grpc" }).inc();
        context.run_later(self.shared.options.detect_after(), Self::beat);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        let (talk, is_registering) = self.conversation.end();
        self.forget(talk);
        if is_registering {
            // The answer to its asking may have been on its way.
            self.shared.deps.coordinator.do_send(Disconnect(self.number));
        }
    }
}

impl Drop for GrpcSession {
    fn drop(&mut self) {
        self.shared.push.held.get_or_create(&HeldLabel { kind: "grpc" }).dec();
    }
}

monitored!(GrpcSession, "grpc_session");

impl Observable for GrpcSession {
    fn observe(&self) -> serde_json::Value {
        let talk = self.conversation.known();
        json!({
            "set_up": talk.is_some(),
            "listens": talk.map_or(0, |talk| talk.listens.len()),
            "patterns": talk.map_or(0, |talk| talk.fuzzy.len()),
            "notices": self.outbox.len(),
        })
    }
}

/// What a session does when a request of its client asks for it.
pub trait Act<M: Message>: Actor {
    /// What it costs, in keys.
    fn work(_: &M) -> u32 {
        pace::KEY
    }

    /// Begins, and gives the answer when there is one.
    fn act(&mut self, asks: M, context: &mut Self::Context) -> ResponseActFuture<Self, M::Result>;
}

impl GrpcSession {
    /// A request came: until when it waits, if it does.
    fn enter(
        &mut self,
        Enter { class, bytes, needs_setup }: Enter,
        work: u32,
    ) -> Option<impl Future<Output = ()> + use<>> {
        self.shared.grpc.requests.get_or_create(&TypeLabel { r#type: class }).inc();
        let pause = self.heard(bytes, work);
        let waits = (needs_setup && self.conversation.known().is_none()).then(|| {
            let (ready, waits) = oneshot::channel();
            self.waiting.retain(|waiting| !waiting.is_closed());
            self.waiting.push(ready);
            waits
        });
        (!pause.is_zero() || waits.is_some()).then_some(async move {
            if let Some(waits) = waits {
                // Whether it was in time is seen afterwards.
                drop(tokio::time::timeout(SETUP, waits).await);
            }
            tokio::time::sleep(pause).await;
        })
    }
}

impl Handler<Enter> for GrpcSession {
    type Result = ActorResponse<Self, bool>;

    fn handle(&mut self, enter: Enter, _: &mut Context<Self>) -> Self::Result {
        match self.enter(enter, pace::KEY) {
            None => ActorResponse::reply(self.conversation.known().is_some()),
            Some(waiting) => ActorResponse::r#async(
                wrap_future(waiting).map(|(), session: &mut Self, _| session.conversation.known().is_some()),
            ),
        }
    }
}

impl<M> Handler<Entered<M>> for GrpcSession
where
    M: Message + 'static,
    Self: Act<M>,
{
    type Result = ResponseActFuture<Self, Option<M::Result>>;

    fn handle(&mut self, Entered { enter, asks }: Entered<M>, context: &mut Context<Self>) -> Self::Result {
        let Some(waiting) = self.enter(enter, Self::work(&asks)) else {
            return Box::pin(self.act(asks, context).map(|answer, _: &mut Self, _| Some(answer)));
        };
        Box::pin(wrap_future(waiting).then(move |(), session: &mut Self, context| -> Self::Result {
            if session.conversation.known().is_none() {
                return Box::pin(wrap_future(std::future::ready(None)));
            }
            Box::pin(session.act(asks, context).map(|answer, _: &mut Self, _| Some(answer)))
        }))
    }
}

impl Handler<OpenStream> for GrpcSession {
    type Result = MessageResult<OpenStream>;

    fn handle(&mut self, OpenStream(outlet): OpenStream, _: &mut Context<Self>) -> Self::Result {
        let former = self.conversation.open_stream();
        self.forget(former);
        // A stream whose outlet drops is complete.
        self.stream = Some(Stream::new(outlet)).filter(|_| !self.conversation.is_leaving());
        self.leave_if_stopping();
        MessageResult(self.conversation.stream())
    }
}

impl Handler<InboundMessage> for GrpcSession {
    type Result = ActorResponse<Self, ()>;

    fn handle(
        &mut self,
        InboundMessage { stream, bytes, message }: InboundMessage,
        context: &mut Context<Self>,
    ) -> Self::Result {
        let pause = self.heard(bytes, pace::KEY);
        if self.conversation.is_current(stream) {
            match message {
                StreamMessage::SetUp { client, wants_ready } => self.set_up(*client, wants_ready, context),
                StreamMessage::Acknowledged(number, is_good) => self.acknowledged(number, is_good, context),
                StreamMessage::Other => {}
            }
        }
        if pause.is_zero() {
            return ActorResponse::reply(());
        }
        ActorResponse::r#async(wrap_future(tokio::time::sleep(pause)).map(|(), _: &mut Self, _| ()))
    }
}

impl Handler<StreamEnded> for GrpcSession {
    type Result = ();

    fn handle(&mut self, StreamEnded(stream): StreamEnded, _: &mut Context<Self>) {
        if self.conversation.is_current(stream) {
            let former = self.conversation.end_stream(stream);
            self.forget(former);
            self.stream = None;
            self.leave_if_stopping();
        }
    }
}

impl Handler<ConnectionEnded> for GrpcSession {
    type Result = ();

    fn handle(&mut self, ConnectionEnded: ConnectionEnded, context: &mut Context<Self>) {
        self.end("closed", context);
    }
}

impl Handler<Stopping> for GrpcSession {
    type Result = ();

    fn handle(&mut self, Stopping: Stopping, _: &mut Context<Self>) {
        self.conversation.stop();
        self.leave_if_stopping();
    }
}

impl Handler<SessionEvent> for GrpcSession {
    type Result = ();

    fn handle(&mut self, event: SessionEvent, context: &mut Context<Self>) {
        match event {
            SessionEvent::Changed(states) => {
                let now = self.now();
                if let Some(talk) = self.conversation.known_mut() {
                    for state in &states {
                        talk.listens.changed(now, &mut self.outbox, state);
                        talk.fuzzy.changed(now, &mut self.outbox, state);
                    }
                }
                self.tell(context);
            }
            SessionEvent::Recheck => self.recheck(context),
            SessionEvent::Drain(_) => self.leave(),
        }
    }
}

impl Handler<GetWatched> for GrpcSession {
    type Result = MessageResult<GetWatched>;

    fn handle(&mut self, asked: GetWatched, _: &mut Context<Self>) -> Self::Result {
        let Some(Registered { listens, fuzzy, .. }) = self.conversation.known() else {
            return MessageResult(Watched::default());
        };
        let prefix = |(_, pattern): (&str, &Pattern)| {
            (pattern.namespace.clone(), Some(pattern.group.clone()), pattern.data_id.clone())
        };
        let (one, all) = (|key: &ConfigKey| listens.position(key), |limit| listens.positions(limit));
        MessageResult(Watched::of(asked, one, all, fuzzy.patterns().map(prefix).collect()))
    }
}

/// An answer that is known already.
fn at_once<T: 'static>(answer: T) -> ResponseActFuture<GrpcSession, T> {
    Box::pin(wrap_future(std::future::ready(answer)))
}

/// The configuration that a notice is about, if it is about one that is listened to.
fn listened(subject: &Subject) -> Option<&ConfigKey> {
    match subject {
        Subject::Config(key) => Some(key),
        Subject::Match(_) | Subject::Sync(..) => None,
    }
}

#[cfg(test)]
mod tests;
