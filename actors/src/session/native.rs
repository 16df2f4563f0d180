//! A native session: one long-lived connection of a client that reads, publishes and watches.
//!
//! Owns both ends of the connection, and asks the other actors. What may be said, what is owed and what ends it is
//! decided by `callboard_protocol::session::conversation`. One read of the connection and one write to it are under way
//! at a time. Opens no socket and knows no format: both ends of the connection are handed in.

mod asking;
mod ending;
pub mod message;
mod watching;

use std::sync::Arc;
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{Actor, ActorFutureExt, AsyncContext, Handler, MessageResult};
use callboard_protocol::config::Version;
use callboard_protocol::key::ConfigKey;
use callboard_protocol::link::Versions;
use callboard_protocol::push_ledger::{PushEvent, PushStep, SessionNumber};
use callboard_protocol::session::client::{Client, ClientKind};
use callboard_protocol::session::conversation::{Conversation, Message, Outbound, Rules, Verdict};
use callboard_protocol::session::liveness::Liveness;
use callboard_protocol::session::pace::{self, Allowance};
use callboard_protocol::session::presence::{Presence, Silence};
use callboard_protocol::time::{Mono, WallMillis};
use serde_json::json;
use tokio::time::Instant;

use self::message::{Answer, Broken, Fault, InboundMessage, MessageReader, MessageWriter, OutboundMessage, Request};
use super::{ASK_DEADLINE, Deps};
use crate::clock::SharedClock;
use crate::coordinator::connections::{Connect, GetWatched, Report, SetIdle, Watched};
use crate::coordinator::{SessionEvent, WatchId};
use crate::metrics::{HeldLabel, PushMetrics, RequestLabel, SessionMetrics, StepLabel};
use crate::monitored;
use crate::runtime::{Context, Observable, ask};

/// What a session has behind it when it begins: it has saved up a burst that it may send at once.
const SAVED: Duration = Duration::from_secs(1);
/// How long a client may take to go once it was told to.
const LINGER: Duration = Duration::from_secs(3);

/// What a session may do.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Silence that ends it.
    pub idle: Duration,
    /// Time for the first message.
    pub hello: Duration,
    /// Keys and prefixes that it may watch.
    pub watches: usize,
    /// Configurations that it may hear of.
    pub keys: usize,
    /// Requests under way at a time.
    pub requests: usize,
    /// What it may send in a second.
    pub allowance: Allowance,
    /// How long a publish may take until its outcome counts as unknown.
    pub publish: Duration,
    /// The versions of the protocol that are spoken.
    pub versions: Versions,
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
    pub session: SessionMetrics,
}

/// A connection that was accepted.
pub struct Connection {
    /// Its number within this life of the node.
    pub number: SessionNumber,
    /// How it came.
    pub kind: ClientKind,
    /// What the client sends.
    pub reader: Box<dyn MessageReader>,
    /// What it is sent.
    pub writer: Box<dyn MessageWriter>,
    /// Lives as long as the session: counts it.
    pub guard: Box<dyn std::any::Any>,
}

/// A native session.
pub struct NativeSession {
    shared: Arc<Shared>,
    number: SessionNumber,
    kind: ClientKind,
    /// `None` while it is read from, and once nothing more is read.
    reader: Option<Box<dyn MessageReader>>,
    /// Counts the memory that the message takes up which is looked at.
    guard: Option<Box<dyn std::any::Any>>,
    /// `None` while it is written to.
    writer: Option<Box<dyn MessageWriter>>,
    /// Since when the client is connected.
    since: WallMillis,
    origin: Instant,
    presence: Presence,
    conversation: Conversation<OutboundMessage, WatchId>,
    _guard: Box<dyn std::any::Any>,
}

impl NativeSession {
    /// Serves a connection.
    #[must_use]
    pub fn new(shared: Arc<Shared>, connection: Connection) -> Self {
        let Connection { number, kind, reader, writer, guard } = connection;
        let options = &shared.options;
        let Options { versions, keys, watches, requests, .. } = *options;
        Self {
            number,
            kind,
            reader: Some(reader),
            guard: None,
            writer: Some(writer),
            since: shared.clock.wall(),
            origin: Instant::now(),
            presence: Presence::new(Liveness::new(options.idle, Mono(SAVED)), options.allowance),
            conversation: Conversation::new(Rules { versions, keys, watches, requests }),
            _guard: guard,
            shared,
        }
    }

    fn now(&self) -> Mono {
        Mono(SAVED + self.origin.elapsed())
    }

    /// Reads the next message, unless as much is owed as may be, or nothing more is to be heard.
    fn listen(&mut self, context: &mut Context<Self>) {
        if !self.conversation.may_read() {
            return;
        }
        let Some(mut reader) = self.reader.take() else { return };
        let reading = async move {
            let heard = reader.next().await;
            (reader, heard)
        };
        context.spawn(wrap_future(reading).map(|(mut reader, heard), session: &mut Self, context| match heard {
            Some(Ok(heard)) => {
                session.guard = reader.take_guard();
                let pause = session.heard(heard, context);
                session.guard = None;
                if pause.is_zero() {
                    session.reader = Some(reader);
                    session.listen(context);
                } else {
                    // It sends faster than it may, and is read more slowly.
                    let waiting = async move {
                        tokio::time::sleep(pause).await;
                        reader
                    };
                    context.spawn(wrap_future(waiting).map(|reader, session: &mut Self, context| {
                        session.reader = Some(reader);
                        session.listen(context);
                    }));
                }
            }
            Some(Err(Broken::Form(code, text))) => session.end(Fault::Form(code, text), context),
            Some(Err(Broken::Connection(error))) => {
                tracing::debug!(session.number = session.number.0, %error, "a session broke");
                session.gone("broken", context);
            }
            None => session.gone("closed", context),
        }));
    }

    /// Does what a message asks. Answers how long to wait before the next is read.
    fn heard(
        &mut self,
        InboundMessage { id, bytes, request }: InboundMessage,
        context: &mut Context<Self>,
    ) -> Duration {
        let work = request.as_ref().map_or(pace::KEY, Request::work);
        let sign = self.presence.heard(self.now(), bytes, work);
        if sign.is_back {
            self.shared.deps.coordinator.do_send(SetIdle { number: self.number, is_idle: false });
        }
        if let Ok(request) = &request {
            self.shared.session.requests.get_or_create(&RequestLabel { kind: request.kind() }).inc();
        }
        let message = match &request {
            Ok(Request::Hello(_)) => Message::Hello,
            Ok(_) => Message::Request,
            Err(fault) if fault.is_malformed() => Message::Malformed,
            Err(_) => Message::Unusable,
        };
        match (self.conversation.judge(message, id > 0), request) {
            (Verdict::Greet, Ok(Request::Hello(hello))) => match self.conversation.greet(id, *hello) {
                Ok(()) => self.connect(context),
                Err(breach) => self.end(breach.into(), context),
            },
            (Verdict::Serve, Ok(request)) => self.ask(id, request, context),
            (Verdict::Refuse(Some(breach)), _) => self.answer(id, Answer::Failed(breach.into()), context),
            (Verdict::Refuse(None), Err(fault)) => self.answer(id, Answer::Failed(fault), context),
            (Verdict::End(Some(breach)), _) => self.end(breach.into(), context),
            (Verdict::End(None), Err(fault)) => self.end(fault, context),
            (Verdict::Skip, request) => {
                tracing::debug!(session.number = self.number.0, fault = ?request.err(), "a message is skipped");
            }
            // No verdict on what could be read asks for what is wrong with it.
            (Verdict::Greet | Verdict::Serve, _) | (Verdict::Refuse(None) | Verdict::End(None), Ok(_)) => {}
        }
        sign.pause
    }

    /// Connects to the coordinator, by which the client is known to be here; and again whenever it forgets.
    fn connect(&mut self, context: &mut Context<Self>) {
        let Some(client) = self.conversation.client() else { return };
        let (coordinator, me) = (self.shared.deps.coordinator.clone(), context.address());
        let attend = Connect {
            number: self.number,
            client: Arc::clone(client),
            since: self.since,
            events: me.clone().recipient(),
            inquiries: me.recipient(),
        };
        let asking = async move { ask(&coordinator, attend, ASK_DEADLINE).await };
        context.spawn(wrap_future(asking).map(move |connection, session: &mut Self, context| match connection {
            Ok(Ok(held)) => {
                context.spawn(wrap_future(held.lost()).map(|(), session: &mut Self, context| session.connect(context)));
                match session.conversation.connected() {
                    Some((id, version)) => {
                        session.answer(id, Answer::Welcome(version), context);
                        session.listen(context);
                    }
                    None => session.watch_again(context),
                }
            }
            Ok(Err(refused)) => session.end(Fault::Watch(refused), context),
            Err(_away) => {
                context.run_later(super::RETRY, Self::connect);
            }
        }));
    }

    /// Owes the client this.
    fn answer(&mut self, id: u64, answer: Answer, context: &mut Context<Self>) {
        let bytes = answer.weight();
        self.conversation.owe(OutboundMessage { id, answer }, bytes);
        self.flush(context);
    }

    /// Sends what is due, and reads on when enough of what is owed was sent.
    fn flush(&mut self, context: &mut Context<Self>) {
        let Some(mut writer) = self.writer.take() else { return };
        let outbound = self.conversation.next_outbound();
        if outbound.is_empty() {
            if self.conversation.is_ending() {
                self.close(writer, context);
            } else {
                self.writer = Some(writer);
            }
            return;
        }
        let said = outbound.into_iter().map(|message| self.outbound_message(message)).collect();
        let sending = async move {
            let result = writer.send(said).await;
            (writer, result)
        };
        context.spawn(wrap_future(sending).map(|(writer, result), session: &mut Self, context| match result {
            Ok(()) => {
                session.writer = Some(writer);
                session.flush(context);
                session.listen(context);
            }
            Err(error) => {
                tracing::debug!(session.number = session.number.0, %error, "a client can't be told");
                let is_stalled = error.kind() == std::io::ErrorKind::TimedOut;
                session.gone(if is_stalled { "stalled" } else { "broken" }, context);
            }
        }));
    }

    /// A message as it is sent. What is pushed is reported.
    fn outbound_message(&self, message: Outbound<OutboundMessage>) -> OutboundMessage {
        match message {
            Outbound::Push(outgoing, content) => {
                let (key, version) = (&outgoing.state.key, outgoing.state.version);
                if let Some(before) = outgoing.superseded {
                    self.report(key.clone(), before, PushStep::Superseded);
                }
                self.report(key.clone(), version, PushStep::Sent);
                OutboundMessage {
                    id: 0,
                    answer: Answer::Push { state: outgoing.state, content, reset: outgoing.reset },
                }
            }
            Outbound::Watching(id) => OutboundMessage { id, answer: Answer::Watching },
            Outbound::Answer(said) => said,
        }
    }

    fn report(&self, key: ConfigKey, version: Version, step: PushStep) {
        if let Some(client) = self.conversation.client() {
            self.report_of(client, key, version, step);
        }
    }

    fn report_of(&self, client: &Arc<Client>, key: ConfigKey, version: Version, step: PushStep) {
        let label = match &step {
            PushStep::Sent => "sent",
            PushStep::Received => "received",
            PushStep::Applied => "applied",
            PushStep::Rejected(_) => "rejected",
            PushStep::Superseded => "superseded",
            PushStep::Lost => "lost",
        };
        self.shared.session.pushes.get_or_create(&StepLabel { step: label }).inc();
        if label == "sent" {
            self.shared.push.sent.inc();
        }
        let event = PushEvent { session: self.number, client: Arc::clone(client), key, version, step };
        // Lost only when the coordinator is rebuilt, which tells the account so.
        self.shared.deps.coordinator.do_send(Report(event));
    }

    /// Looks whether the client lives, now and whenever it may have to be asked.
    fn beat(&mut self, context: &mut Context<Self>) {
        // Whoever has not said hello may say nothing else, not even that it is there.
        let wait = match self.presence.beat(self.now(), self.conversation.is_open()) {
            Silence::Rest(wait) => wait,
            Silence::Ping { number, wait, is_new } => {
                if is_new {
                    self.shared.deps.coordinator.do_send(SetIdle { number: self.number, is_idle: true });
                }
                self.answer(0, Answer::Ping(number), context);
                wait
            }
            Silence::Gone => return self.end(Fault::Idle, context),
        };
        context.run_later(wait, Self::beat);
    }
}

impl Actor for NativeSession {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.shared.push.held.get_or_create(&HeldLabel { kind: self.kind.as_str() }).inc();
        context.run_later(self.shared.options.hello, |session, context| {
            if let Some(breach) = session.conversation.hello_is_late() {
                session.end(breach.into(), context);
            }
        });
        context.run_later(self.shared.options.idle / 3, Self::beat);
        self.listen(context);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.leave();
    }
}

impl Drop for NativeSession {
    fn drop(&mut self) {
        self.shared.push.held.get_or_create(&HeldLabel { kind: self.kind.as_str() }).dec();
    }
}

monitored!(NativeSession, "native_session");

impl Observable for NativeSession {
    fn observe(&self) -> serde_json::Value {
        let (phase, [watches, pushes, under_way, waiting]) = self.conversation.standing();
        json!({
            "phase": phase,
            "watches": watches,
            "pushes": pushes,
            "under_way": under_way,
            "waiting": waiting,
        })
    }
}

impl Handler<SessionEvent> for NativeSession {
    type Result = ();

    fn handle(&mut self, event: SessionEvent, context: &mut Context<Self>) {
        match event {
            SessionEvent::Changed(states) => {
                if let Some(pushes) = self.conversation.pushes_mut() {
                    for state in &states {
                        pushes.offer(state);
                    }
                }
                self.after_news(context);
            }
            SessionEvent::Recheck => {
                if let Some(pushes) = self.conversation.pushes_mut() {
                    pushes.recheck();
                }
                self.look(context);
            }
            SessionEvent::Drain(elsewhere) => self.send_away(elsewhere, context),
        }
    }
}

impl Handler<GetWatched> for NativeSession {
    type Result = MessageResult<GetWatched>;

    fn handle(&mut self, asked: GetWatched, _: &mut Context<Self>) -> Self::Result {
        let Some(pushes) = self.conversation.pushes() else { return MessageResult(Watched::default()) };
        let (one, all) = (|key: &ConfigKey| pushes.position(key), |limit| pushes.positions(limit));
        MessageResult(Watched::of(asked, one, all, pushes.prefixes()))
    }
}

#[cfg(test)]
mod tests;
