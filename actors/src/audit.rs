//! What happened elsewhere than in a transaction is told here, and written down: what comes within a moment as one
//! record, what anybody can cause as often as he likes summed. Owns what waits, and when it is written; what a
//! transaction does is in that transaction's own record. Decides nothing about what is told.

use std::sync::Arc;
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{Actor, ActorFutureExt as _, Addr, AsyncContext as _, Handler, Message, Recipient, ResponseFuture};
use callboard_protocol::access::audit::tally::Tally;
use callboard_protocol::access::audit::{Event, Target, What, Who};
use callboard_protocol::member::NodeId;
use callboard_protocol::time::{Mono, WallMillis};
use serde_json::json;
use tokio::sync::oneshot;

use crate::clock::SharedClock;
use crate::metrics::AuditMetrics;
use crate::monitored;
use crate::runtime::{Alarm, AskError, Context, Observable, ask};
use crate::store_writer::WriteAudit;

/// What comes within this time is one record.
const MOMENT: Duration = Duration::from_millis(200);
/// The same for what is summed, and the time until what could not be written is tried again.
const LONG_MOMENT: Duration = Duration::from_secs(1);
/// How often it is written down how far the chains of other nodes go.
const LOOK_AROUND: Duration = Duration::from_secs(3_600);
/// Most events that wait.
const MOST: usize = 4_096;
/// How long a transaction may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// Tells of something that happened.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Note(Event);

/// Has all written that was told before, and an event with it; false when it could not be.
#[derive(Debug, Message)]
#[rtype(result = "bool")]
struct WriteNow(Option<Event>);

/// Time to write down how far others are.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct LookAroundTick;

/// Where it is told what happened. Clones are the same.
#[derive(Debug, Clone)]
pub struct Trail(Option<Arc<Open>>);

#[derive(Debug)]
struct Open {
    to: Addr<Audit>,
    clock: SharedClock,
    metrics: AuditMetrics,
}

impl Trail {
    /// One that nobody reads.
    #[must_use]
    pub fn off() -> Self {
        Self(None)
    }

    /// One that leads to `to`.
    #[must_use]
    pub fn new(to: Addr<Audit>, clock: SharedClock, metrics: AuditMetrics) -> Self {
        Self(Some(Arc::new(Open { to, clock, metrics })))
    }

    /// Whether anything is written down.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Tells of something. It is written down within a second or so; when too much is told, it is counted alone.
    pub fn note(&self, event: impl FnOnce(WallMillis) -> Event) {
        let Some(open) = &self.0 else { return };
        let event = event(open.clock.wall());
        let count = event.count;
        // Not `do_send`: what strangers cause must not pile up.
        if open.to.try_send(Note(event)).is_err() {
            open.metrics.left_out.inc_by(count);
        }
    }

    /// Tells of something, and waits until it is durable; false when it is not, yet.
    pub async fn record(&self, event: impl FnOnce(WallMillis) -> Event) -> bool {
        let Some(open) = &self.0 else { return true };
        let written = ask(&open.to, WriteNow(Some(event(open.clock.wall()))), DEADLINE).await;
        written.unwrap_or(false)
    }

    /// Waits until all that was told is durable, at most for `patience`.
    ///
    /// # Errors
    /// It took longer.
    pub async fn flush(&self, patience: Duration) -> Result<bool, AskError> {
        match &self.0 {
            Some(open) => ask(&open.to, WriteNow(None), patience).await,
            None => Ok(true),
        }
    }
}

/// The actor.
pub struct Audit {
    node: NodeId,
    writer: Recipient<WriteAudit>,
    clock: SharedClock,
    metrics: AuditMetrics,
    tally: Tally,
    /// Those who wait until all of it is written.
    waiting: Vec<oneshot::Sender<bool>>,
    is_writing: bool,
    /// The next record is to say how far others are.
    looks_around: bool,
    /// When the next record is due.
    due: Option<Mono>,
    /// How much found no room in the mailbox, as far as that is told.
    told_left_out: u64,
    alarm: Alarm<Mono>,
}

impl Audit {
    /// Writes down through `writer` what happens on `node`.
    #[must_use]
    pub fn new(node: NodeId, writer: Recipient<WriteAudit>, clock: SharedClock, metrics: AuditMetrics) -> Self {
        let told_left_out = metrics.left_out.get();
        Self {
            node,
            writer,
            clock,
            metrics,
            tally: Tally::new(MOST),
            waiting: Vec::new(),
            is_writing: false,
            looks_around: false,
            due: None,
            told_left_out,
            alarm: Alarm::default(),
        }
    }

    fn add(&mut self, event: Event, context: &mut Context<Self>) {
        let within = if event.what.is_summed() { LONG_MOMENT } else { MOMENT };
        let count = event.count;
        if !self.tally.add(event) {
            // The tally tells of it by itself.
            self.metrics.left_out.inc_by(count);
            self.told_left_out = self.told_left_out.saturating_add(count);
        }
        self.write_within(within, context);
    }

    fn write_within(&mut self, within: Duration, context: &mut Context<Self>) {
        let at = self.clock.mono().after(within);
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
        self.set_alarm(context);
    }

    fn set_alarm(&self, context: &mut Context<Self>) {
        let now = self.clock.mono();
        let due = self.due.filter(|_| !self.is_writing);
        self.alarm.set(due, |at| at.since(now), context, |audit: &mut Self, context| audit.write(context));
    }

    /// Writes what waits, unless it is at that: then again afterwards.
    fn write(&mut self, context: &mut Context<Self>) {
        if self.is_writing {
            self.write_within(Duration::ZERO, context);
            return;
        }
        self.due = None;
        let lost = self.metrics.left_out.get().saturating_sub(self.told_left_out);
        self.told_left_out = self.told_left_out.saturating_add(lost);
        self.tally.leave_out(lost);
        let waiting = std::mem::take(&mut self.waiting);
        if self.tally.is_empty() && !self.looks_around {
            answer(waiting, true);
            return;
        }
        let (at, sees_others) = (self.clock.wall(), std::mem::take(&mut self.looks_around));
        let events = self.tally.take(at);
        self.is_writing = true;
        let writing = ask_to_write(self.writer.clone(), WriteAudit { events: events.clone(), at, sees_others });
        context.spawn(wrap_future(writing).map(move |written, audit: &mut Self, context| {
            audit.is_writing = false;
            let is_written = written.is_ok();
            match written {
                Ok(()) => {
                    audit.metrics.events.inc_by(events.iter().map(|event| event.count).sum());
                    audit.metrics.records.inc();
                }
                Err(reason) => {
                    audit.metrics.failures.inc();
                    tracing::debug!(reason, "what happened could not be written down; it is tried again");
                    audit.tally.put_back(events);
                    audit.looks_around |= sees_others;
                    audit.write_within(LONG_MOMENT, context);
                }
            }
            answer(waiting, is_written);
            audit.set_alarm(context);
        }));
    }
}

/// Should the outcome be unknown, the same is written once more: better twice than not at all.
async fn ask_to_write(writer: Recipient<WriteAudit>, write: WriteAudit) -> Result<(), String> {
    match ask(&writer, write, DEADLINE).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

fn answer(waiting: Vec<oneshot::Sender<bool>>, is_written: bool) {
    for waiter in waiting {
        // Who went away has nothing to hear.
        let _has_gone = waiter.send(is_written);
    }
}

impl Actor for Audit {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.looks_around = true;
        let target = Target { node: Some(self.node.to_string()), ..Target::default() };
        self.add(Event::done(self.clock.wall(), What::Started, Who::SERVER, target), context);
        context.notify_later(LookAroundTick, LOOK_AROUND);
    }
}

monitored!(Audit, "audit");

impl Observable for Audit {
    fn observe(&self) -> serde_json::Value {
        json!({ "waiting": self.tally.len(), "writing": self.is_writing, "left_out": self.metrics.left_out.get() })
    }
}

impl Handler<Note> for Audit {
    type Result = ();

    fn handle(&mut self, Note(event): Note, context: &mut Context<Self>) {
        self.add(event, context);
    }
}

impl Handler<WriteNow> for Audit {
    type Result = ResponseFuture<bool>;

    fn handle(&mut self, WriteNow(event): WriteNow, context: &mut Context<Self>) -> Self::Result {
        if let Some(event) = event {
            self.add(event, context);
        }
        let (reply, written) = oneshot::channel();
        self.waiting.push(reply);
        self.write(context);
        Box::pin(async move { written.await.unwrap_or(false) })
    }
}

impl Handler<LookAroundTick> for Audit {
    type Result = ();

    fn handle(&mut self, LookAroundTick: LookAroundTick, context: &mut Context<Self>) {
        self.looks_around = true;
        self.write_within(MOMENT, context);
        context.notify_later(LookAroundTick, LOOK_AROUND);
    }
}

#[cfg(test)]
mod tests;
