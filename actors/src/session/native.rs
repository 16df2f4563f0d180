//! A native session: one long-lived connection of a client that reads, publishes and watches.
//!
//! Owns the conversation: what the client asked and is owed, what it watches, what it is pushed
//! (`callboard_protocol::session`), and when it counts as gone. One read of the connection and one write to it are under
//! way at a time; what waits for the connection is the newest state of each key, and the answers to a bounded number of
//! requests. Opens no socket and knows no format: both ends of the connection are handed in.

mod asking;
mod ending;
mod watching;
pub mod words;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{Actor, ActorFutureExt, AsyncContext, Handler, MessageResult, SpawnHandle};
use callboard_protocol::config::Version;
use callboard_protocol::error_code::ErrorCode;
use callboard_protocol::key::ConfigKey;
use callboard_protocol::link::Versions;
use callboard_protocol::push_ledger::{PushEvent, PushStep, SessionNumber};
use callboard_protocol::session::client::{Client, ClientKind};
use callboard_protocol::session::liveness::{Beat, Liveness};
use callboard_protocol::session::pace::{Allowance, Pace};
use callboard_protocol::session::pushes::{Pushes, content_for};
use callboard_protocol::time::{Mono, WallMillis};
use callboard_protocol::watch::Selector;
use serde_json::json;
use tokio::time::Instant;

use self::words::{Answer, Broken, Ear, Fault, Heard, Hello, Mouth, Request, Said};
use super::{ASK_DEADLINE, Neighbours};
use crate::clock::SharedClock;
use crate::coordinator::seats::{Attend, GetWatched, Report, Silent, Watched};
use crate::coordinator::{SessionEvent, WatchId};
use crate::metrics::{HeldLabel, PushMetrics, RequestLabel, SessionMetrics, StepLabel};
use crate::monitored;
use crate::runtime::{Context, Observable, ask};

/// Pushes that are handed to the connection at once.
const MAX_BATCH: usize = 64;
/// Bytes of them.
const MAX_BATCH_BYTES: usize = 256 * 1024;
/// Answers that wait for the connection, in bytes: beyond, nothing more is read until some are gone.
const MAX_WAITING: usize = 1024 * 1024;
/// What a session has behind it when it begins: it has saved up a burst that it may send at once.
const SAVED: Duration = Duration::from_secs(1);
/// How long a client may take to go once it was told to.
const LINGER: Duration = Duration::from_secs(3);

/// What a session may do.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
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
pub struct Setup {
    /// What each may do.
    pub limits: Limits,
    /// Whom they talk to.
    pub neighbours: Neighbours,
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
    /// Where the client is heard.
    pub ear: Box<dyn Ear>,
    /// Where it is spoken to.
    pub mouth: Box<dyn Mouth>,
    /// Lives as long as the session: counts it.
    pub guard: Box<dyn std::any::Any>,
}

/// Where a session is.
enum Phase {
    /// Nothing was said yet.
    Greeting,
    /// The client said hello and is about to take its seat.
    Seating,
    /// The client is known.
    Open,
    /// The last word is on its way, or was said.
    Ending,
}

/// A native session.
pub struct NativeSession {
    setup: Arc<Setup>,
    number: SessionNumber,
    kind: ClientKind,
    /// `None` while it is read from, and once nothing more is read.
    ear: Option<Box<dyn Ear>>,
    /// `None` while it is written to.
    mouth: Option<Box<dyn Mouth>>,
    phase: Phase,
    /// Told to go elsewhere.
    is_leaving: bool,
    /// It had time to go: nothing more is read.
    is_deaf: bool,
    /// Since when the client is connected.
    since: WallMillis,
    origin: Instant,
    liveness: Liveness,
    is_silent: bool,
    pace: Pace,
    /// Answers that wait for the connection.
    waiting: VecDeque<Said>,
    waiting_bytes: usize,
    /// Requests whose answers are not known yet.
    under_way: usize,
    /// Ends the session when no hello comes.
    hello: Option<SpawnHandle>,
    talk: Option<Box<Talk>>,
    _guard: Box<dyn std::any::Any>,
}

/// What a session knows of a client that has said who it is.
struct Talk {
    client: Arc<Client>,
    pushes: Pushes,
    watches: HashMap<Selector, WatchId>,
    /// The coordinator is asked to take watches, and has not answered.
    is_registering: bool,
    version: u16,
}

impl NativeSession {
    /// Serves a connection.
    #[must_use]
    pub fn new(setup: Arc<Setup>, connection: Connection) -> Self {
        let Connection { number, kind, ear, mouth, guard } = connection;
        let limits = &setup.limits;
        Self {
            number,
            kind,
            ear: Some(ear),
            mouth: Some(mouth),
            phase: Phase::Greeting,
            is_leaving: false,
            is_deaf: false,
            since: setup.clock.wall(),
            origin: Instant::now(),
            liveness: Liveness::new(limits.idle, Mono(SAVED)),
            is_silent: false,
            pace: Pace::new(limits.allowance),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            under_way: 0,
            hello: None,
            talk: None,
            _guard: guard,
            setup,
        }
    }

    fn now(&self) -> Mono {
        Mono(SAVED + self.origin.elapsed())
    }

    /// Reads the next message, unless as much is owed as may be, or nothing more is to be heard.
    fn listen(&mut self, context: &mut Context<Self>) {
        let is_full = self.under_way >= self.setup.limits.requests || self.waiting_bytes >= MAX_WAITING;
        // What is said of a watch that is being registered would overtake it.
        let is_registering = self.talk.as_ref().is_some_and(|talk| talk.is_registering);
        if is_full || is_registering || self.is_deaf || matches!(self.phase, Phase::Ending | Phase::Seating) {
            return;
        }
        let Some(mut ear) = self.ear.take() else { return };
        let hearing = async move {
            let heard = ear.hear().await;
            (ear, heard)
        };
        context.spawn(wrap_future(hearing).map(|(ear, heard), session: &mut Self, context| match heard {
            Some(Ok(heard)) => {
                let now = session.now();
                let pause = session.pace.read(now, heard.bytes);
                session.liveness.heard(now);
                session.heard(heard, context);
                if pause.is_zero() {
                    session.ear = Some(ear);
                    session.listen(context);
                } else {
                    // It sends faster than it may, and is read more slowly.
                    let waiting = async move {
                        tokio::time::sleep(pause).await;
                        ear
                    };
                    context.spawn(wrap_future(waiting).map(|ear, session: &mut Self, context| {
                        session.ear = Some(ear);
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

    fn heard(&mut self, Heard { id, request, .. }: Heard, context: &mut Context<Self>) {
        if self.is_silent {
            self.is_silent = false;
            self.setup.neighbours.coordinator.do_send(Silent { number: self.number, is_idle: false });
        }
        let request = match request {
            Ok(request) => request,
            Err(fault) if matches!(self.phase, Phase::Greeting) => return self.end(fault, context),
            Err(fault) => return self.refuse(id, fault, context),
        };
        self.setup.session.requests.get_or_create(&RequestLabel { kind: request.kind() }).inc();
        match (&self.phase, request) {
            (Phase::Greeting, Request::Hello(hello)) => self.greet(id, *hello, context),
            (Phase::Greeting, _) => self.end(Fault::HelloExpected, context),
            (Phase::Open, Request::Hello(_)) => {
                let fault = Fault::Form(ErrorCode::UnknownRequest, "hello was said already".to_owned());
                self.refuse(id, fault, context);
            }
            (Phase::Open, request) => self.ask(id, request, context),
            (Phase::Seating | Phase::Ending, _) => {}
        }
    }

    /// A message can't be taken. One without a number has no answer: it is skipped, as what nobody knows is, unless it asks for
    /// one. An error without a number is a last word.
    fn refuse(&mut self, id: u64, fault: Fault, context: &mut Context<Self>) {
        match fault {
            Fault::Form(ErrorCode::MalformedRequest, _) if id == 0 => self.end(fault, context),
            fault if id == 0 => tracing::debug!(session.number = self.number.0, ?fault, "a message is skipped"),
            fault => self.answer(id, Answer::Failed(fault), context),
        }
    }

    /// The client said who it is: it takes a seat, from which on it is known to be here.
    fn greet(&mut self, id: u64, hello: Hello, context: &mut Context<Self>) {
        let limits = &self.setup.limits;
        let Some(version) = limits.versions.common(hello.versions) else {
            return self.end(Fault::Versions(limits.versions), context);
        };
        if hello.held.len() > limits.keys {
            return self.end(Fault::TooManyKeys(limits.keys), context);
        }
        let client = Arc::new(hello.client);
        let mut pushes = Pushes::new(Arc::clone(&client), limits.keys);
        for (key, mark) in hello.held {
            pushes.hold(key, mark);
        }
        self.talk = Some(Box::new(Talk { client, pushes, watches: HashMap::new(), is_registering: false, version }));
        self.phase = Phase::Seating;
        if let Some(timer) = self.hello.take() {
            context.cancel_future(timer);
        }
        self.take_seat(Some(id), context);
    }

    /// Takes the seat, and again whenever the coordinator forgets it.
    fn take_seat(&mut self, welcome: Option<u64>, context: &mut Context<Self>) {
        let Some(talk) = &self.talk else { return };
        let (coordinator, me) = (self.setup.neighbours.coordinator.clone(), context.address());
        let attend = Attend {
            number: self.number,
            client: Arc::clone(&talk.client),
            since: self.since,
            events: me.clone().recipient(),
            inquiries: me.recipient(),
        };
        let asking = async move { ask(&coordinator, attend, ASK_DEADLINE).await };
        context.spawn(wrap_future(asking).map(move |seat, session: &mut Self, context| match seat {
            Ok(Ok(held)) => {
                context.spawn(wrap_future(held.lost()).map(|(), session: &mut Self, context| {
                    session.take_seat(None, context);
                }));
                match welcome {
                    Some(id) => session.open(id, context),
                    None => session.watch_again(context),
                }
            }
            Ok(Err(refused)) => session.end(Fault::Watch(refused), context),
            Err(_away) => {
                context.run_later(super::RETRY, move |session, context| session.take_seat(welcome, context));
            }
        }));
    }

    fn open(&mut self, id: u64, context: &mut Context<Self>) {
        let Some(talk) = &self.talk else { return };
        let version = talk.version;
        self.phase = Phase::Open;
        self.answer(id, Answer::Welcome(version), context);
        self.listen(context);
    }

    /// Owes the client this, and reads on when enough of what is owed was said. Nothing follows a last word.
    fn answer(&mut self, id: u64, answer: Answer, context: &mut Context<Self>) {
        if matches!(self.phase, Phase::Ending) {
            return;
        }
        self.waiting_bytes += answer.weight();
        self.waiting.push_back(Said { id, answer });
        self.speak(context);
    }

    /// Says what waits: pushes first, then the answers.
    fn speak(&mut self, context: &mut Context<Self>) {
        if self.mouth.is_none() {
            return;
        }
        let said = self.batch();
        let Some(mut mouth) = self.mouth.take() else { return };
        if said.is_empty() {
            if matches!(self.phase, Phase::Ending) {
                self.close(mouth, context);
            } else {
                self.mouth = Some(mouth);
            }
            return;
        }
        let saying = async move {
            let result = mouth.say(said).await;
            (mouth, result)
        };
        context.spawn(wrap_future(saying).map(|(mouth, result), session: &mut Self, context| match result {
            Ok(()) => {
                session.mouth = Some(mouth);
                session.speak(context);
                session.listen(context);
            }
            Err(error) => {
                tracing::debug!(session.number = session.number.0, %error, "a client can't be told");
                let is_stalled = error.kind() == std::io::ErrorKind::TimedOut;
                session.gone(if is_stalled { "stalled" } else { "broken" }, context);
            }
        }));
    }

    /// What is said next. Pushes come before answers, so that a watch is complete when it is said to be.
    fn batch(&mut self) -> Vec<Said> {
        let mut said = Vec::new();
        let mut bytes = 0;
        while matches!(self.phase, Phase::Open) && said.len() < MAX_BATCH && bytes < MAX_BATCH_BYTES {
            let Some(talk) = &mut self.talk else { break };
            let Some(outgoing) = talk.pushes.next() else { break };
            let content = content_for(&outgoing.state, &talk.client).cloned();
            bytes += content.as_ref().map_or(0, |content| content.bytes().len());
            let (key, version) = (outgoing.state.key.clone(), outgoing.state.version);
            said.push(Said { id: 0, answer: Answer::Push { state: outgoing.state, content, reset: outgoing.reset } });
            if let Some(before) = outgoing.superseded {
                self.report(key.clone(), before, PushStep::Superseded);
            }
            self.report(key, version, PushStep::Sent);
        }
        if let Some(talk) = self.talk.as_mut().filter(|_| matches!(self.phase, Phase::Open)) {
            let complete = talk.pushes.take_watching();
            self.under_way -= complete.len().min(self.under_way);
            said.extend(complete.into_iter().map(|id| Said { id, answer: Answer::Watching }));
        }
        // Nothing is kept for the next answer: most sessions are quiet.
        said.extend(std::mem::take(&mut self.waiting));
        self.waiting_bytes = 0;
        said
    }

    fn report(&self, key: ConfigKey, version: Version, step: PushStep) {
        let Some(talk) = &self.talk else { return };
        let label = match &step {
            PushStep::Sent => "sent",
            PushStep::Received => "received",
            PushStep::Applied => "applied",
            PushStep::Rejected(_) => "rejected",
            PushStep::Superseded => "superseded",
            PushStep::Lost => "lost",
        };
        self.setup.session.pushes.get_or_create(&StepLabel { step: label }).inc();
        if label == "sent" {
            self.setup.push.sent.inc();
        }
        let event = PushEvent { session: self.number, client: Arc::clone(&talk.client), key, version, step };
        // Lost only when the coordinator is rebuilt, which tells the account so.
        self.setup.neighbours.coordinator.do_send(Report(event));
    }

    /// Looks whether the client lives, now and whenever it may have to be asked.
    fn beat(&mut self, context: &mut Context<Self>) {
        let now = self.now();
        let wait = match self.liveness.beat(now) {
            Beat::Rest(wait) => wait,
            // Whoever has not said hello may say nothing else, not even that it is there.
            Beat::Ping(_, wait) if !matches!(self.phase, Phase::Open) => wait,
            Beat::Ping(number, wait) => {
                if !self.is_silent {
                    self.is_silent = true;
                    self.setup.neighbours.coordinator.do_send(Silent { number: self.number, is_idle: true });
                }
                self.answer(0, Answer::Ping(number), context);
                wait
            }
            Beat::Idle => return self.end(Fault::Idle, context),
        };
        context.run_later(wait, Self::beat);
    }
}

impl Actor for NativeSession {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.setup.push.held.get_or_create(&HeldLabel { kind: self.kind.as_str() }).inc();
        self.hello = Some(context.run_later(self.setup.limits.hello, |session, context| {
            if matches!(session.phase, Phase::Greeting) {
                session.end(Fault::HelloLate, context);
            }
        }));
        context.run_later(self.setup.limits.idle / 3, Self::beat);
        self.listen(context);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.leave();
    }
}

impl Drop for NativeSession {
    fn drop(&mut self) {
        self.setup.push.held.get_or_create(&HeldLabel { kind: self.kind.as_str() }).dec();
    }
}

monitored!(NativeSession, "native_session");

impl Observable for NativeSession {
    fn observe(&self) -> serde_json::Value {
        json!({
            "phase": match self.phase {
                Phase::Greeting => "greeting",
                Phase::Seating => "seating",
                Phase::Open => "open",
                Phase::Ending => "ending",
            },
            "watches": self.talk.as_ref().map_or(0, |talk| talk.watches.len()),
            "pushes": self.talk.as_ref().map_or(0, |talk| talk.pushes.len()),
            "under_way": self.under_way,
            "waiting": self.waiting.len(),
        })
    }
}

impl Handler<SessionEvent> for NativeSession {
    type Result = ();

    fn handle(&mut self, event: SessionEvent, context: &mut Context<Self>) {
        match event {
            SessionEvent::Changed(states) => {
                if let Some(talk) = &mut self.talk {
                    for state in &states {
                        talk.pushes.offer(state);
                    }
                }
                self.after_news(context);
            }
            SessionEvent::Recheck => {
                if let Some(talk) = &mut self.talk {
                    talk.pushes.recheck();
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
        let Some(talk) = &self.talk else { return MessageResult(Watched::default()) };
        let pushes = &talk.pushes;
        let (one, all) = (|key: &ConfigKey| pushes.position(key), |limit| pushes.positions(limit));
        MessageResult(Watched::of(asked, one, all, pushes.prefixes()))
    }
}
