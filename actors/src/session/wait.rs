//! A request that is held until one key differs from what its client knows.
//!
//! Owns one answer, given exactly once: at a difference, at the end of the wait, or when the node stops.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Handler};
use callboard_protocol::config::SharedState;
use callboard_protocol::key::ConfigKey;
use callboard_protocol::watch::Selector;
use serde_json::json;
use tokio::sync::oneshot;

use super::{ASK_DEADLINE, RETRY};
use crate::cache::ReadFailure;
use crate::cache::reader::{Get, Reader};
use crate::coordinator::{Coordinator, SessionEvent, Unwatch, Watch, WatchId, WatchRefused};
use crate::metrics::{HeldLabel, PushMetrics};
use crate::monitored;
use crate::runtime::{AskError, Context, Observable, ask};

/// How a wait ended.
#[derive(Debug)]
pub enum WaitOutcome {
    /// The state, which may or may not differ: at the end of the wait it is the one that the client knows.
    State(SharedState),
    /// The key could not be read.
    Failed(ReadFailure),
    /// The wait was not taken.
    Refused(WatchRefused),
}

/// Says whether a state differs from what the client knows.
pub type Differs = Rc<dyn Fn(&SharedState) -> bool>;

/// What a wait is for and whom it answers. Survives a rebuild of its actor.
#[derive(Clone)]
pub struct WaitRequest {
    /// Which key.
    pub key: ConfigKey,
    /// For how long.
    pub wait: Duration,
    /// When to answer.
    pub differs: Differs,
    /// Whom to answer; empty once answered.
    pub answer: Rc<RefCell<Option<oneshot::Sender<WaitOutcome>>>>,
}

/// The actors a session talks to, all on its own thread.
#[derive(Debug, Clone)]
pub struct Neighbours {
    /// Knows who watches.
    pub coordinator: Addr<Coordinator>,
    /// Reads.
    pub reader: Addr<Reader>,
    /// Counts.
    pub metrics: PushMetrics,
}

/// A held request.
pub struct WaitSession {
    request: WaitRequest,
    neighbours: Neighbours,
    watch: Option<WatchId>,
    /// The newest state compared. An older one that comes later, from a read that an event overtook, says nothing: the
    /// answer is always the newest.
    seen: Option<SharedState>,
    /// The newest state told before the first read was answered. It alone answers nothing: events may be late, and the
    /// client is owed what was there when it asked.
    early: Option<SharedState>,
    /// Counts how often it had to look again: what was read before says nothing any more.
    round: u64,
}

impl WaitSession {
    /// Holds `request`.
    #[must_use]
    pub fn new(request: WaitRequest, neighbours: Neighbours) -> Self {
        Self { request, neighbours, watch: None, seen: None, early: None, round: 0 }
    }

    fn answer(&mut self, outcome: WaitOutcome, context: &mut Context<Self>) {
        if let Some(answer) = self.request.answer.borrow_mut().take() {
            self.neighbours.metrics.sent.inc();
            // A client that went away needs no answer.
            drop(answer.send(outcome));
        }
        context.stop();
    }

    fn register(&mut self, context: &mut Context<Self>) {
        let coordinator = self.neighbours.coordinator.clone();
        let (selector, session) = (Selector::of_key(&self.request.key), context.address().recipient());
        let watch = Watch { selector, session, seat: None };
        let registering = async move { ask(&coordinator, watch, ASK_DEADLINE).await };
        context.spawn(wrap_future(registering).map(|answer, session: &mut Self, context| match answer {
            Ok(Ok(watching)) => {
                session.watch = Some(watching.id);
                // A coordinator that was rebuilt has forgotten this watch: register and look again.
                context.spawn(
                    wrap_future(watching.held.lost()).map(|(), session: &mut Self, context| session.register(context)),
                );
                session.read(false, context);
            }
            Ok(Err(refused)) => session.answer(WaitOutcome::Refused(refused), context),
            Err(AskError::Closed | AskError::TimedOut) => {
                context.run_later(RETRY, Self::register);
            }
        }));
    }

    /// Reads the key and answers when it differs, or in any case when this is the last look.
    fn read(&mut self, is_last: bool, context: &mut Context<Self>) {
        let (reader, key, round) = (self.neighbours.reader.clone(), self.request.key.clone(), self.round);
        let reading = async move { ask(&reader, Get { key }, ASK_DEADLINE).await };
        context.spawn(wrap_future(reading).map(move |answer, session: &mut Self, context| match answer {
            // Another look began meanwhile, and answers for this one unless it was the last.
            Ok(Ok(_)) if round != session.round => {
                if is_last {
                    session.read(true, context);
                }
            }
            Ok(Ok(read)) => {
                let newest = newer(session.early.take(), read);
                session.compare(newest, is_last, context);
            }
            Ok(Err(failure)) if is_last => session.answer(WaitOutcome::Failed(failure), context),
            Err(_away) if is_last => session.answer(WaitOutcome::Failed(ReadFailure::TimedOut), context),
            Ok(Err(_)) | Err(_) => {
                context.run_later(RETRY, |session, context| session.read(false, context));
            }
        }));
    }

    fn compare(&mut self, state: SharedState, is_last: bool, context: &mut Context<Self>) {
        let newest = newer(self.seen.take(), state);
        self.seen = Some(SharedState::clone(&newest));
        if is_last || (self.request.differs)(&newest) {
            self.answer(WaitOutcome::State(newest), context);
        }
    }
}

/// The newer of two states of one key.
fn newer(known: Option<SharedState>, state: SharedState) -> SharedState {
    known.filter(|known| known.version > state.version).unwrap_or(state)
}

impl Actor for WaitSession {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.neighbours.metrics.held.get_or_create(&HeldLabel { kind: "wait" }).inc();
        // A client that goes away ends the wait.
        let answer = Rc::clone(&self.request.answer);
        let gone = std::future::poll_fn(move |task| match answer.borrow_mut().as_mut() {
            Some(sender) => sender.poll_closed(task),
            None => std::task::Poll::Ready(()),
        });
        context.spawn(wrap_future(gone).map(|(), _: &mut Self, context: &mut Context<Self>| context.stop()));
        context.run_later(self.request.wait, |session, context| session.read(true, context));
        self.register(context);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        if let Some(watch) = self.watch {
            // A coordinator that is gone has no watch to take back.
            self.neighbours.coordinator.do_send(Unwatch(watch));
        }
    }
}

impl Drop for WaitSession {
    fn drop(&mut self) {
        self.neighbours.metrics.held.get_or_create(&HeldLabel { kind: "wait" }).dec();
    }
}

monitored!(WaitSession, "wait_session");

impl Observable for WaitSession {
    fn observe(&self) -> serde_json::Value {
        json!({ "registered": self.watch.is_some(), "seen": self.seen.as_ref().map(|state| state.version.0) })
    }
}

impl Handler<SessionEvent> for WaitSession {
    type Result = ();

    fn handle(&mut self, event: SessionEvent, context: &mut Context<Self>) {
        match event {
            SessionEvent::Changed(states) => {
                for state in states {
                    if self.seen.is_some() {
                        self.compare(state, false, context);
                    } else if self.early.as_ref().is_none_or(|early| early.version < state.version) {
                        self.early = Some(state);
                    }
                }
            }
            SessionEvent::Recheck => {
                // The database may have lost what was seen: whatever is there counts, older or not.
                (self.seen, self.early) = (None, None);
                self.round += 1;
                self.read(false, context);
            }
            SessionEvent::Drain(_) => self.read(true, context),
        }
    }
}
