//! A stream of changes to one client: the present states first, then each change, newest per key, in revision order.
//!
//! Owns the outbox of its client. What was handed to the connection is remembered with the connection, so that a
//! rebuilt session goes on where the one before stopped.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Handler, MessageResult, Recipient};
use callboard_protocol::config::{SharedState, Version};
use callboard_protocol::member::Timeline;
use callboard_protocol::push_ledger::{PushEvent, PushStep, SessionNumber};
use callboard_protocol::session::client::Client;
use callboard_protocol::session::position::Position;
use callboard_protocol::time::WallMillis;
use callboard_protocol::watch::{Outbox, Selector, What};
use serde_json::json;
use tokio::sync::mpsc;

use super::{ASK_DEADLINE, RETRY};
use crate::cache::reader::GetMany;
use crate::coordinator::connections::{Connect, Disconnect, GetWatched, Report, Watched};
use crate::coordinator::{Coordinator, SessionEvent, Watch, WatchId, WatchRefused};
use crate::metrics::{HeldLabel, PushMetrics};
use crate::monitored;
use crate::runtime::{AskError, Context, Observable, ask};
use crate::store::{KeyPage, Rest};
use crate::store_reader::{GetChanged, GetKeys};

/// What is written to the connection.
#[derive(Debug, Clone)]
pub enum Frame {
    /// The watch is registered: every change from here on will be told.
    Opened,
    /// A key came to be in this state.
    State {
        /// The state.
        state: SharedState,
        /// Where the client resumes when this is the last it got: its event id.
        resume_after: Version,
    },
    /// What the client knows lies too far back: the present states follow.
    Reset,
    /// Nothing happened; the connection lives.
    Heartbeat,
    /// The stream can't go on: why. It ends here.
    Refused(WatchRefused),
}

/// The way to the connection. Survives a rebuild of the session.
#[derive(Debug)]
pub struct Outlet {
    frames: mpsc::Sender<Frame>,
    /// The last point handed over from which the client may resume.
    cursor: AtomicU64,
    /// True when the client knows the states up to the cursor, so that only later ones are sent.
    resumes: std::sync::atomic::AtomicBool,
    /// The timeline that was last read; `None` before the first read.
    timeline: Cell<Option<Timeline>>,
}

impl Outlet {
    /// An outlet into `frames`; with `resume`, only what came after that revision is sent.
    #[must_use]
    pub fn new(frames: mpsc::Sender<Frame>, resume: Option<Version>) -> Self {
        Self {
            frames,
            cursor: AtomicU64::new(resume.unwrap_or_default().0),
            resumes: std::sync::atomic::AtomicBool::new(resume.is_some()),
            timeline: Cell::new(None),
        }
    }

    /// False when what was read before is of another timeline.
    fn goes_on(&self, timeline: Timeline) -> bool {
        self.timeline.replace(Some(timeline)).is_none_or(|before| before == timeline)
    }

    /// The client is told to begin anew.
    fn begin_anew(&self) {
        self.cursor.store(0, Ordering::Relaxed);
        self.resumes.store(false, Ordering::Relaxed);
    }

    fn resume_point(&self) -> Option<Version> {
        let cursor = Version(self.cursor.load(Ordering::Relaxed));
        self.resumes.load(Ordering::Relaxed).then_some(cursor)
    }

    fn handed_over(&self, point: Version) {
        self.cursor.fetch_max(point.0, Ordering::Relaxed);
        self.resumes.store(true, Ordering::Relaxed);
    }
}

/// What a stream is for.
#[derive(Debug, Clone)]
pub struct StreamRequest {
    /// Which keys.
    pub selector: Selector,
    /// How often to say that the connection lives.
    pub heartbeat: Duration,
    /// Most keys selected or waiting to be sent.
    pub max_keys: usize,
    /// The way to the connection.
    pub outlet: Rc<Outlet>,
    /// The number of the connection.
    pub number: SessionNumber,
    /// Who it is.
    pub client: Arc<Client>,
    /// Since when.
    pub since: WallMillis,
}

/// The actors a stream talks to, all on its own thread.
#[derive(Debug, Clone)]
pub struct Deps {
    /// Knows who watches.
    pub coordinator: Addr<Coordinator>,
    /// Tells which keys there are.
    pub keys: Recipient<GetKeys>,
    /// Tells which keys were changed after a point.
    pub changed: Recipient<GetChanged>,
    /// Reads their states.
    pub get_many: Recipient<GetMany>,
    /// Counts.
    pub metrics: PushMetrics,
}

/// A stream of changes.
pub struct StreamSession {
    request: StreamRequest,
    deps: Deps,
    watch: Option<WatchId>,
    outbox: Outbox,
    /// Above which version the present states are not read yet; `None` when all were.
    unread: Option<Version>,
    /// The read that goes on once its client took what was read so far: there is no more of it in memory than a page.
    paused: Option<Reading>,
    /// A frame is waiting for room in the connection.
    sending: bool,
}

/// A read of what is above a version.
#[derive(Debug, Clone, Copy)]
enum Reading {
    /// The present states.
    States(Version),
    /// The feed.
    Feed(Version),
}

impl StreamSession {
    /// Serves `request`.
    #[must_use]
    pub fn new(request: StreamRequest, deps: Deps) -> Self {
        let resumes = request.outlet.resume_point();
        let outbox = Outbox::new(resumes.unwrap_or_default(), request.max_keys);
        let unread = resumes.is_none().then_some(Version::ZERO);
        Self { request, deps, watch: None, outbox, unread, paused: None, sending: false }
    }

    /// Connects to the coordinator, and watches what is asked for.
    fn register(&mut self, context: &mut Context<Self>) {
        let (coordinator, me) = (self.deps.coordinator.clone(), context.address());
        let StreamRequest { number, selector, since, .. } = self.request.clone();
        let client = Arc::clone(&self.request.client);
        let registering = async move {
            let (events, inquiries) = (me.clone().recipient(), me.clone().recipient());
            let attend = Connect { number, client, since, events, inquiries };
            if let Err(refused) = ask(&coordinator, attend, ASK_DEADLINE).await? {
                return Ok(Err(refused));
            }
            ask(&coordinator, Watch { selector, session: me.recipient(), connection: Some(number) }, ASK_DEADLINE).await
        };
        context.spawn(wrap_future(registering).map(|answer, session: &mut Self, context| match answer {
            Ok(Ok(watching)) => {
                if session.watch.replace(watching.id).is_none() {
                    session.hand_over(Frame::Opened, context);
                }
                // A coordinator that was rebuilt has forgotten this watch: register and look again.
                context.spawn(
                    wrap_future(watching.held.lost()).map(|(), session: &mut Self, context| session.register(context)),
                );
                session.look(context);
            }
            Ok(Err(refused)) => session.end(Frame::Refused(refused), context),
            Err(AskError::Closed | AskError::TimedOut) => {
                context.run_later(RETRY, Self::register);
            }
        }));
    }

    /// Reads what the client does not know yet: the feed after its cursor, or the present states.
    fn look(&mut self, context: &mut Context<Self>) {
        if self.outbox.begin_read() {
            self.read(context);
        }
    }

    fn read(&mut self, context: &mut Context<Self>) {
        self.go_on(self.unread.map_or(Reading::Feed(self.outbox.cursor()), Reading::States), context);
    }

    fn go_on(&mut self, reading: Reading, context: &mut Context<Self>) {
        let (keys, changed) = (self.deps.keys.clone(), self.deps.changed.clone());
        let selector = self.request.selector.clone();
        let limit = u32::try_from(self.request.max_keys).unwrap_or(u32::MAX);
        let asking = async move {
            match reading {
                Reading::States(after) => ask(&keys, GetKeys { selector, after, limit }, ASK_DEADLINE).await,
                Reading::Feed(after) => ask(&changed, GetChanged { selector, after }, ASK_DEADLINE).await,
            }
        };
        context.spawn(wrap_future(asking).map(move |answer, session: &mut Self, context| match answer {
            Ok(Ok(page)) => session.take_page(reading, page, context),
            Ok(Err(_)) | Err(_) => session.go_on_later(reading, context),
        }));
    }

    fn go_on_later(&mut self, reading: Reading, context: &mut Context<Self>) {
        context.run_later(RETRY, move |session, context| session.go_on(reading, context));
    }

    fn take_page(&mut self, reading: Reading, page: KeyPage, context: &mut Context<Self>) {
        // Rows after the client's point have gone from the feed, or the point is none of this database's.
        let is_foreign = |after: Version| after < page.floor || after > page.revision;
        // The database has lost what it had up to there, and may have put something else in its place.
        if !self.request.outlet.goes_on(page.timeline) || matches!(reading, Reading::Feed(after) if is_foreign(after)) {
            self.reset(context);
            return;
        }
        if page.rest == Rest::TooMany {
            self.end(Frame::Refused(WatchRefused::Full), context);
            return;
        }
        let (reader, keys) = (self.deps.get_many.clone(), page.keys.iter().map(|(key, _)| key.clone()).collect());
        let asking = async move { ask(&reader, GetMany { keys }, ASK_DEADLINE).await };
        context.spawn(wrap_future(asking).map(move |answer, session: &mut Self, context| match answer {
            Ok(Ok(states)) => session.take_states(reading, (page, states), context),
            Ok(Err(_)) | Err(_) => session.go_on_later(reading, context),
        }));
    }

    fn take_states(
        &mut self,
        reading: Reading,
        (page, states): (KeyPage, Vec<SharedState>),
        context: &mut Context<Self>,
    ) {
        // Nothing older than what the page tells of is ever read, unless the database loses commits in between.
        if page.keys.iter().zip(&states).any(|((_, version), state)| state.version < *version) {
            return self.go_on_later(reading, context);
        }
        for state in states {
            self.outbox.offer(state);
        }
        match page.rest {
            Rest::After(through) => {
                let rest = match reading {
                    Reading::States(_) => Reading::States(through),
                    Reading::Feed(_) => Reading::Feed(through),
                };
                self.unread = self.unread.map(|_| through);
                self.outbox.page_read(through);
                self.paused = Some(rest);
                self.pump(context);
            }
            Rest::None | Rest::TooMany => {
                self.unread = None;
                self.complete(page.revision, context);
            }
        }
    }

    /// Starts over with the present states, and says so.
    fn reset(&mut self, context: &mut Context<Self>) {
        self.outbox = Outbox::new(Version::ZERO, self.request.max_keys);
        (self.unread, self.paused) = (Some(Version::ZERO), None);
        self.request.outlet.begin_anew();
        self.hand_over(Frame::Reset, context);
        self.look(context);
    }

    fn complete(&mut self, revision: Version, context: &mut Context<Self>) {
        self.request.outlet.resumes.store(true, Ordering::Relaxed);
        if self.outbox.end_read(revision) {
            self.read(context);
        }
        self.pump(context);
    }

    /// Hands frames to the connection as long as it has room.
    fn pump(&mut self, context: &mut Context<Self>) {
        if self.outbox.overflowed() {
            self.end(Frame::Refused(WatchRefused::Full), context);
            return;
        }
        while !self.sending {
            let Some(outgoing) = self.outbox.next() else {
                if let Some(paused) = self.paused.take() {
                    self.go_on(paused, context);
                }
                return;
            };
            let resume_after = outgoing.event_id();
            self.deps.metrics.sent.inc();
            let (key, version) = (outgoing.state.key.clone(), outgoing.state.version);
            let client = Arc::clone(&self.request.client);
            let event = PushEvent { session: self.request.number, client, key, version, step: PushStep::Sent };
            // Lost only when the coordinator is rebuilt, which tells the account so.
            self.deps.coordinator.do_send(Report(event));
            self.hand_over(Frame::State { state: outgoing.state, resume_after }, context);
        }
    }

    fn hand_over(&mut self, frame: Frame, context: &mut Context<Self>) {
        let point = match &frame {
            Frame::State { resume_after, .. } => Some(*resume_after),
            Frame::Opened | Frame::Reset | Frame::Heartbeat | Frame::Refused(_) => None,
        };
        match self.request.outlet.frames.try_send(frame) {
            Ok(()) => {
                if let Some(point) = point {
                    self.request.outlet.handed_over(point);
                }
            }
            Err(mpsc::error::TrySendError::Closed(_)) => context.stop(),
            Err(mpsc::error::TrySendError::Full(frame)) => {
                self.sending = true;
                let frames = self.request.outlet.frames.clone();
                let waiting = async move { frames.send(frame).await.is_ok() };
                context.spawn(wrap_future(waiting).map(
                    move |sent, session: &mut Self, context: &mut Context<Self>| {
                        session.sending = false;
                        if !sent {
                            context.stop();
                            return;
                        }
                        if let Some(point) = point {
                            session.request.outlet.handed_over(point);
                        }
                        session.pump(context);
                    },
                ));
            }
        }
    }

    fn end(&mut self, last: Frame, context: &mut Context<Self>) {
        // When the connection has no room even for this, the client learns it from the end of the stream.
        drop(self.request.outlet.frames.try_send(last));
        context.stop();
    }
}

impl Actor for StreamSession {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.deps.metrics.held.get_or_create(&HeldLabel { kind: "stream" }).inc();
        let frames = self.request.outlet.frames.clone();
        let gone = async move { frames.closed().await };
        context.spawn(wrap_future(gone).map(|(), _: &mut Self, context: &mut Context<Self>| context.stop()));
        context.run_interval(self.request.heartbeat, |session, context| {
            if !session.sending {
                session.hand_over(Frame::Heartbeat, context);
            }
        });
        self.register(context);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        // It ends the watch, too. A coordinator that is gone has no connection to end.
        self.deps.coordinator.do_send(Disconnect(self.request.number));
    }
}

impl Drop for StreamSession {
    fn drop(&mut self) {
        self.deps.metrics.held.get_or_create(&HeldLabel { kind: "stream" }).dec();
    }
}

monitored!(StreamSession, "stream_session");

impl Observable for StreamSession {
    fn observe(&self) -> serde_json::Value {
        json!({ "registered": self.watch.is_some(), "waiting": self.outbox.len(), "cursor": self.outbox.cursor().0 })
    }
}

impl Handler<SessionEvent> for StreamSession {
    type Result = ();

    fn handle(&mut self, event: SessionEvent, context: &mut Context<Self>) {
        match event {
            SessionEvent::Changed(states) => {
                // Events come in revision order, none left out: all up to the last is known.
                let through = states.last().map_or(Version::ZERO, |state| state.version);
                for state in states {
                    self.outbox.offer(state);
                }
                self.outbox.advance(through);
                self.pump(context);
            }
            SessionEvent::Recheck => self.look(context),
            SessionEvent::Drain(_) => context.stop(),
        }
    }
}

/// What a stream has been sent of each key it does not remember: the account of the node does.
impl Handler<GetWatched> for StreamSession {
    type Result = MessageResult<GetWatched>;

    fn handle(&mut self, GetWatched { key, limit }: GetWatched, _: &mut Context<Self>) -> Self::Result {
        let selector = &self.request.selector;
        let keys = match key {
            Some(key) if selector.matches(&key) => vec![key],
            Some(_) => Vec::new(),
            None => selector.keys(),
        };
        let count = keys.len();
        let prefixes = match selector.what() {
            What::Prefix(prefix) => {
                vec![(selector.namespace().to_owned(), selector.group().map(str::to_owned), prefix.clone())]
            }
            What::Exact(_) => Vec::new(),
        };
        let keys = keys.into_iter().take(limit).map(|key| (key, Position::default())).collect();
        MessageResult(Watched { keys, count, prefixes })
    }
}

#[cfg(test)]
mod tests;
