//! What the writer knows of the database's health: drives `callboard_protocol::commit_health`, writes the lines of the
//! log, and tries a commit when somebody asks whether one would go through. Decides nothing.

use actix::fut::wrap_future;
use actix::{ActorFutureExt as _, AsyncContext as _, Handler, Message, ResponseFuture};
use callboard_protocol::commit_health::{CommitHealth, End, Note, Options, Step, Ticket};
use callboard_protocol::time::Mono;
use callboard_protocol::write_request::WriteRequest;
use tokio::sync::oneshot;

use super::StoreWriter;
use crate::runtime::{Alarm, Context};
use crate::store::{Cause, CommitError};

/// Asks whether a commit goes through: one that did a moment ago proves it, else one is tried that changes nothing
/// anybody sees. The error says why not, as a sentence for anybody.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<(), String>")]
pub struct ProveWritable;

/// The machine, its timer, and who waits for a proof.
pub(super) struct Health {
    machine: CommitHealth,
    alarm: Alarm<Mono>,
    waiting: Vec<oneshot::Sender<Result<(), String>>>,
    is_trying: bool,
}

impl Default for Health {
    fn default() -> Self {
        let machine = CommitHealth::new(Options::default());
        Self { machine, alarm: Alarm::default(), waiting: Vec::new(), is_trying: false }
    }
}

impl Health {
    /// Why commits do not go through, for operators.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.machine.trouble().map(|(reason, _)| reason)
    }
}

/// What the failure of a commit says of the database.
pub(super) fn end_of(error: &CommitError) -> End {
    let cause = error.cause();
    if cause.is_outage() { End::Failed(cause.to_string()) } else { End::Neutral }
}

/// Says in the log which publish the database did not take by itself, and why: nobody else is to blame for it.
pub(super) fn tell_of_refusal(unit: &WriteRequest, error: &CommitError) {
    let CommitError::Aborted { cause: Cause::Refused | Cause::Damaged, reason } = error else { return };
    let keys: Vec<String> = unit.items.iter().take(3).map(|item| item.key.to_string()).collect();
    let reason = without_values(reason);
    tracing::warn!(config.key = keys.join(", "), request.id = %unit.request_id, reason, "the database refuses a publish");
}

/// What a database says of a value that it does not take, without the value: that may be a part of a content.
fn without_values(reason: &str) -> String {
    const VALUE: &str = "'…'";
    let parts: Vec<&str> = reason.split('\'').collect();
    let mut told = parts.iter().step_by(2).copied().collect::<Vec<_>>().join(VALUE);
    // What is quoted to the end is a value, too.
    if parts.len().is_multiple_of(2) {
        told.push_str(VALUE);
    }
    told
}

impl StoreWriter {
    /// A commit begins; its end is told with [`Self::end_commit`].
    pub(super) fn begin_commit(&mut self, context: &mut Context<Self>) -> Ticket {
        let ticket = self.health.machine.begun(self.clock.mono());
        self.arm_health(context);
        ticket
    }

    /// A commit ended, with this error if it failed.
    pub(super) fn end_commit(
        &mut self,
        ticket: Ticket,
        end: End,
        error: Option<&CommitError>,
        context: &mut Context<Self>,
    ) {
        if error.is_some_and(|error| error.cause() == Cause::NoRoom) {
            self.log.out_of_room();
            self.copy_log(context);
        }
        let step = self.health.machine.ended(self.clock.mono(), ticket, end);
        self.take_step(step, error, context);
    }

    fn take_step(&mut self, step: Step, error: Option<&CommitError>, context: &mut Context<Self>) {
        match step.note {
            Some(Note::Began { reason }) => {
                let error = error.map(|error| without_values(&error.to_string())).unwrap_or_default();
                tracing::warn!(reason, error, "commits do not go through; publishes are refused until they do");
                self.metrics.writable.set(0);
            }
            Some(Note::Over { lasted, failed }) => {
                let seconds = format!("{:.1}", lasted.as_secs_f64());
                tracing::info!(outage.seconds = seconds, outage.failed = failed, "commits go through again");
                self.metrics.writable.set(1);
            }
            None => {}
        }
        if step.probe {
            self.try_commit(context);
        }
        self.arm_health(context);
    }

    /// Sees to it that the machine is stepped when it next has something to do by itself.
    fn arm_health(&mut self, context: &mut Context<Self>) {
        let (next, now) = (self.health.machine.next_wakeup(), self.clock.mono());
        let wake = |store: &mut Self, context: &mut Context<Self>| {
            let step = store.health.machine.tick(store.clock.mono());
            store.take_step(step, None, context);
        };
        self.health.alarm.set(next, |at| at.since(now), context, wake);
    }

    /// Tries a commit that changes nothing anybody sees, and answers those who wait for it.
    fn try_commit(&mut self, context: &mut Context<Self>) {
        if std::mem::replace(&mut self.health.is_trying, true) {
            return;
        }
        let (ticket, writer) = (self.begin_commit(context), self.writer.clone());
        let trying = wrap_future(async move { writer.try_commit().await });
        context.spawn(trying.map(move |result, store: &mut Self, context| {
            store.health.is_trying = false;
            let end = result.as_ref().map_or_else(end_of, |()| End::Durable);
            store.end_commit(ticket, end, result.as_ref().err(), context);
            let answer = result.map_err(|error| error.cause().to_string());
            for waiting in store.health.waiting.drain(..) {
                // Who asked may have given up; there is nothing to repair.
                drop(waiting.send(answer.clone()));
            }
        }));
    }
}

impl Handler<ProveWritable> for StoreWriter {
    type Result = ResponseFuture<Result<(), String>>;

    fn handle(&mut self, ProveWritable: ProveWritable, context: &mut Context<Self>) -> Self::Result {
        if let Some((reason, since)) = self.health.machine.trouble() {
            let lasted = self.clock.mono().since(since).as_secs();
            let answer = Err(format!("{reason}, for {lasted} s"));
            return Box::pin(async move { answer });
        }
        if self.health.machine.is_proven(self.clock.mono()) {
            return Box::pin(async { Ok(()) });
        }
        let (answer, waiting) = oneshot::channel();
        self.health.waiting.push(answer);
        self.try_commit(context);
        Box::pin(async move { waiting.await.unwrap_or_else(|_gone| Err("the store was restarted".to_owned())) })
    }
}

#[cfg(test)]
mod tests {
    use super::without_values;

    #[test]
    fn a_reason_is_told_without_the_values_in_it() {
        let said = "1366 (22007): Incorrect string value: '\\xE4\\xB8' for column 'description' at row 1";
        assert_eq!(without_values(said), "1366 (22007): Incorrect string value: '…' for column '…' at row 1");
        assert_eq!(without_values("disk full"), "disk full");
        assert_eq!(without_values("it can't be read"), "it can'…'");
    }
}
