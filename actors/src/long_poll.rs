//! The long polls of one worker thread: light sessions that live for one answer.
//!
//! Owns the register of the polls held on its thread and the tick that ends them; a poll is an entry there, not an
//! actor, and has neither a task nor a timer of its own. Every poll is registered first and compared with what is
//! stored second, so that no change falls in between; its answer is given exactly once. Opens no socket, knows no
//! format, and decides nothing: who is answered what is `callboard_protocol::long_poll`.
//!
//! When the actor panics, the answers of all polls drop unsent. Nothing is known of a poll whose answer drops: its
//! client has to be told so, asks again and is compared anew.

mod listing;
mod reading;

use std::collections::VecDeque;
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Handler, Message, Recipient};
use callboard_protocol::gray::ClientIdentity;
use callboard_protocol::long_poll::{Ended, Poll, PollId, Polls, TICK, Watched};
use callboard_protocol::member::NodeId;
use callboard_protocol::time::Mono;
use prometheus_client::metrics::gauge::Gauge;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::cache::ReadFailure;
use crate::cache::reader::GetMany;
use crate::coordinator::WatchRefused;
use crate::event_bus::{ConfigEvent, EventBus, keep_told};
use crate::metrics::{HeldLabel, PushMetrics};
use crate::monitored;
use crate::runtime::{Context, Observable};

use reading::{ReadTick, Recheck};

/// Records whose polls are answered in one go; others on the thread run before the next.
const SLICE: usize = 8_192;
/// Ticks in which every poll is looked at for a client that went away: two seconds' worth.
const SWEEP: usize = 40;
/// Places looked at for it in one tick, at most and at least.
const SWEPT_AT_ONCE: (usize, usize) = (4_096, 64);
/// Records held at most for each poll that may be held, on average.
const RECORDS_PER_POLL: usize = 100;
/// Records that may be held however few polls may be.
const MIN_RECORDS: usize = 100_000;

/// Holds a poll until one of its records differs from what is stored, or its time is over.
///
/// Sent with `do_send`: when it is lost the answer drops, which ends the poll.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Hold {
    /// What the client watches; at most 10,000 records.
    pub records: Vec<Watched>,
    /// Who asks.
    pub client: ClientIdentity,
    /// How long to hold it; `None` compares once and answers at once.
    pub wait: Option<Duration>,
    /// Whom to answer. A poll whose answer is dropped unsent is to be treated as [`PollAnswer::Failed`]: it may never
    /// have been compared.
    pub answer: oneshot::Sender<PollAnswer>,
}

/// How a poll ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PollAnswer {
    /// The records, by their place in [`Hold::records`], that differ.
    Changed(Vec<usize>),
    /// The records were compared and nothing differs: the time is over, or the node stops.
    Quiet,
    /// The poll was not taken, or the node stops before it was compared.
    Refused(WatchRefused),
    /// The keys could not be read, or not in time.
    Failed(ReadFailure),
}

/// Answers every poll and takes no new ones. Answers how many there were.
#[derive(Debug, Message)]
#[rtype(result = "usize")]
pub struct Drain;

/// Ends polls whose time is over or whose client is gone.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct WheelTick;

/// Answers the next slice of those who are due.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct AnswerTick;

/// Whom to answer.
#[derive(Debug)]
struct Waiter {
    answer: oneshot::Sender<PollAnswer>,
    _counted: Counted,
}

/// Counts a poll as held for as long as it lives.
#[derive(Debug)]
struct Counted(Gauge);

/// The long polls of one worker.
#[derive(Debug)]
pub struct LongPoll {
    /// The node, and the first of the numbers that its polls are shown under.
    shown_as: (NodeId, u64),
    bus: Addr<EventBus>,
    reader: Recipient<GetMany>,
    max_polls: usize,
    metrics: PushMetrics,
    held: Gauge,
    /// Where the time of the polls begins.
    origin: Instant,
    polls: Polls<Waiter>,
    /// Registered, their keys not asked for yet.
    unread: VecDeque<PollId>,
    /// Reads under way.
    reads: usize,
    recheck: Recheck,
    /// Counts how often everything had to be read again: what was read before says nothing any more.
    round: u64,
    scheduled: Scheduled,
    stopping: bool,
}

/// Which of its own messages are on their way.
#[derive(Debug, Default)]
struct Scheduled {
    wheel: bool,
    answer: bool,
    read: bool,
}

impl LongPoll {
    /// Holds at most `max_polls`, hears of changes from `bus` and reads through `reader`, which should live on the
    /// same thread.
    #[must_use]
    pub fn new(
        shown_as: (NodeId, u64),
        bus: Addr<EventBus>,
        reader: Recipient<GetMany>,
        max_polls: usize,
        metrics: PushMetrics,
    ) -> Self {
        let held = metrics.held.get_or_create(&HeldLabel { kind: "long_poll" }).clone();
        Self {
            shown_as,
            bus,
            reader,
            max_polls,
            metrics,
            held,
            origin: Instant::now(),
            polls: Polls::new(),
            unread: VecDeque::new(),
            reads: 0,
            recheck: Recheck::default(),
            round: 0,
            scheduled: Scheduled::default(),
            stopping: false,
        }
    }

    fn now(&self) -> Mono {
        Mono(self.origin.elapsed())
    }

    /// Why a poll can't be taken. One that does not wait is not held, and takes nobody's place.
    fn refusal(&self, hold: &Hold) -> Option<WatchRefused> {
        let max_records = self.max_polls.saturating_mul(RECORDS_PER_POLL).max(MIN_RECORDS);
        if self.polls.records() + hold.records.len() > max_records {
            return Some(WatchRefused::Full);
        }
        match hold.wait {
            Some(_) if self.stopping => Some(WatchRefused::Stopping),
            Some(_) if self.polls.len() >= self.max_polls => Some(WatchRefused::Full),
            Some(_) | None => None,
        }
    }

    fn answer(&self, Ended { waiter, changed }: Ended<Waiter>) {
        waiter.answer(match changed {
            Some(changed) if changed.is_empty() => PollAnswer::Quiet,
            Some(changed) => {
                self.metrics.sent.inc();
                PollAnswer::Changed(changed)
            }
            None if self.stopping => PollAnswer::Refused(WatchRefused::Stopping),
            None => PollAnswer::Failed(ReadFailure::TimedOut),
        });
    }

    /// Answers those who are due, a slice at a time.
    fn answer_due(&mut self, context: &mut Context<Self>) {
        if self.scheduled.answer {
            return;
        }
        for ended in self.polls.take_due(SLICE) {
            self.answer(ended);
        }
        if self.polls.has_due() {
            self.scheduled.answer = true;
            // A message to itself would come before anybody else on the thread had a turn.
            context.spawn(wrap_future(tokio::task::yield_now()).map(
                |(), _: &mut Self, context: &mut Context<Self>| {
                    context.notify(AnswerTick);
                },
            ));
        }
    }

    fn schedule_wheel(&mut self, context: &mut Context<Self>) {
        if !self.scheduled.wheel && !self.polls.is_empty() {
            self.scheduled.wheel = true;
            context.notify_later(WheelTick, TICK);
        }
    }
}

impl Waiter {
    fn answer(self, answer: PollAnswer) {
        // A client that went away needs no answer.
        drop(self.answer.send(answer));
    }
}

impl Counted {
    fn new(held: &Gauge) -> Self {
        held.inc();
        Self(held.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Actor for LongPoll {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        keep_told(context, self.bus.clone());
    }
}

monitored!(LongPoll, "long_poll");

impl Observable for LongPoll {
    fn observe(&self) -> serde_json::Value {
        let counts = self.polls.counts();
        json!({
            "polls": counts.polls,
            "records": counts.records,
            "keys": counts.keys,
            "timers": counts.timers,
            "due": counts.due,
            "capacity": self.polls.capacity(),
            "unread": self.unread.len(),
            "reads": self.reads,
            "stopping": self.stopping,
        })
    }
}

impl Handler<Hold> for LongPoll {
    type Result = ();

    fn handle(&mut self, hold: Hold, context: &mut Context<Self>) {
        if let Some(refused) = self.refusal(&hold) {
            // A client that went away needs no answer.
            drop(hold.answer.send(PollAnswer::Refused(refused)));
            return;
        }
        let Hold { records, client, wait, answer } = hold;
        let waiter = Waiter { answer, _counted: Counted::new(&self.held) };
        let id = self.polls.insert(self.now(), Poll { records, client, wait }, waiter);
        self.schedule_wheel(context);
        self.unread.push_back(id);
        if !self.scheduled.read {
            self.scheduled.read = true;
            context.notify(ReadTick);
        }
    }
}

impl Handler<ConfigEvent> for LongPoll {
    type Result = ();

    fn handle(&mut self, event: ConfigEvent, context: &mut Context<Self>) {
        match event {
            ConfigEvent::Changed(states) => {
                for state in states.iter() {
                    self.polls.changed(state);
                }
                self.answer_due(context);
            }
            ConfigEvent::Recheck => self.recheck_all(context),
        }
    }
}

impl Handler<WheelTick> for LongPoll {
    type Result = ();

    fn handle(&mut self, WheelTick: WheelTick, context: &mut Context<Self>) {
        self.scheduled.wheel = false;
        self.polls.advance(self.now());
        self.answer_due(context);
        let (most, least) = SWEPT_AT_ONCE;
        let count = self.polls.places().div_ceil(SWEEP).clamp(least, most);
        self.polls.sweep(count, |waiter| waiter.answer.is_closed());
        self.schedule_wheel(context);
    }
}

impl Handler<AnswerTick> for LongPoll {
    type Result = ();

    fn handle(&mut self, AnswerTick: AnswerTick, context: &mut Context<Self>) {
        self.scheduled.answer = false;
        self.answer_due(context);
    }
}

impl Handler<Drain> for LongPoll {
    type Result = usize;

    fn handle(&mut self, Drain: Drain, _: &mut Context<Self>) -> usize {
        self.stopping = true;
        self.unread.clear();
        let drained = self.polls.drain();
        let count = drained.len();
        for ended in drained {
            self.answer(ended);
        }
        count
    }
}

#[cfg(test)]
mod tests;
