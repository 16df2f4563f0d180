//! Starting actors and keeping them alive.
//!
//! It owns the lives of an actor: it builds each from the factory, waits for its end and, if
//! that was a panic, begins the next. The mailbox stays, so addresses stay valid and queued
//! messages are handled by the next life; only the message that caused the panic is lost, and
//! its sender gets an error. An actor that panics while it stops is not rebuilt.

use std::{
    any::Any,
    cell::RefCell,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    rc::Rc,
    task::Poll,
    time::Duration,
};

use actix::{
    ActorContext, ActorState, Addr,
    dev::{
        ContextFut, Mailbox,
        channel::{AddressReceiver, channel},
    },
};
use actix_rt::ArbiterHandle;
use tokio::time::Instant;

use super::{Context, Monitored, Registry, context::SharedMailbox, registry::Registration};

/// A life of at least this length ends a series of failures.
const SETTLED: Duration = Duration::from_millis(100);
/// The pause after the second failure in a series; doubled for each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How an actor is to be started.
#[derive(Clone, Debug)]
pub struct Spec {
    pub(super) registry: Registry,
    pub(super) name: String,
    pub(super) arbiter: String,
    pub(super) capacity: usize,
    pub(super) aggregate: bool,
}

impl Spec {
    /// Names an actor, such as `reader-0`. If the name is taken, `#2`, `#3` … is appended.
    #[must_use]
    pub fn new(registry: &Registry, name: impl Into<String>) -> Self {
        Self {
            registry: registry.clone(),
            name: name.into(),
            arbiter: "main".to_owned(),
            capacity: 16,
            aggregate: false,
        }
    }

    /// Sets the label of the arbiter for reports; `main` if not set.
    #[must_use]
    pub fn arbiter(self, label: impl Into<String>) -> Self {
        Self { arbiter: label.into(), ..self }
    }

    /// Sets the mailbox capacity in messages (16 if not set; 0 is unbounded). Only `try_send`
    /// is refused by a full mailbox: `do_send` ignores the bound, and each `send` and `ask`
    /// brings its own slot.
    #[must_use]
    pub fn capacity(self, messages: usize) -> Self {
        Self { capacity: messages, ..self }
    }

    /// Counts the actor in the one registry entry of all actors with this name on its thread,
    /// for short-lived actors in large numbers.
    #[must_use]
    pub fn aggregate(self) -> Self {
        Self { aggregate: true, ..self }
    }
}

/// Starts an actor on the current arbiter. `factory` builds its state for each life.
///
/// # Panics
/// Outside of an arbiter's thread.
pub fn start<A, F>(spec: &Spec, factory: F) -> Addr<A>
where
    A: Monitored,
    F: Fn(&mut Context<A>) -> A + 'static,
{
    start_here(spec, move |context| Some(factory(context)))
}

/// Starts an actor on the current arbiter that has only one life, because it owns what cannot
/// be made again, such as a connection. A panic is caught and counted, and ends the actor.
///
/// # Panics
/// Outside of an arbiter's thread.
pub fn start_once<A, F>(spec: &Spec, factory: F) -> Addr<A>
where
    A: Monitored,
    F: FnOnce(&mut Context<A>) -> A + 'static,
{
    let mut factory = Some(factory);
    start_here(spec, move |context| Some(factory.take()?(context)))
}

fn start_here<A, F>(spec: &Spec, factory: F) -> Addr<A>
where
    A: Monitored,
    F: FnMut(&mut Context<A>) -> Option<A> + 'static,
{
    let (sender, mailbox) = channel(spec.capacity);
    let addr = Addr::new(sender);
    let registration = spec.registry.enter(spec, &addr.downgrade());
    actix_rt::spawn(supervise(mailbox, registration, factory));
    addr
}

/// Starts an actor on another arbiter. `factory` builds its state there for each life, so that
/// the state need not be `Send`. If the arbiter is gone, the address is closed.
pub fn start_in<A, F>(arbiter: &ArbiterHandle, spec: &Spec, factory: F) -> Addr<A>
where
    A: Monitored,
    F: Fn(&mut Context<A>) -> A + Send + 'static,
{
    let (sender, mailbox) = channel(spec.capacity);
    let addr = Addr::new(sender);
    let weak = addr.downgrade();
    let spec = spec.clone();
    // An aggregate belongs to its thread; a single actor is better known at once.
    let entered = (!spec.aggregate).then(|| spec.registry.enter(&spec, &weak));
    let spawned = arbiter.spawn_fn(move || {
        let registration = entered.unwrap_or_else(|| spec.registry.enter(&spec, &weak));
        let factory = move |context: &mut Context<A>| Some(factory(context));
        actix_rt::spawn(supervise(mailbox, registration, factory));
    });
    if !spawned {
        tracing::warn!(actor.kind = A::KIND, "not started: its arbiter has stopped");
    }
    addr
}

/// Boxed: what waits for the end of a life is small, however large the actor is.
type Life<A> = Box<ContextFut<A, Context<A>>>;

/// A panic that ended a life.
struct Failure {
    /// The message in hand, `None` for a future, a timer, a stream or the start.
    message: Option<&'static str>,
    text: String,
    /// The actor was about to stop anyway and is not rebuilt.
    was_stopping: bool,
}

/// Lives one life after the other, until one stops or `factory` has no more.
async fn supervise<A, F>(mailbox: AddressReceiver<A>, registration: Registration, mut factory: F)
where
    A: Monitored,
    F: FnMut(&mut Context<A>) -> Option<A>,
{
    let mailbox = Rc::new(RefCell::new(mailbox));
    let mut backoff = Backoff::default();
    let mut is_restart = false;
    loop {
        let born = Instant::now();
        let end = match build(&mailbox, &registration, &mut factory) {
            Ok(None) => return,
            Ok(Some(life)) => {
                if is_restart {
                    registration.meter.restarted();
                }
                live(life, &mailbox).await
            }
            Err(failure) => Err(failure),
        };
        let Err(failure) = end else { return };
        registration.meter.panicked();
        tracing::error!(
            actor.name = %registration.name,
            actor.kind = registration.kind,
            actor.message = failure.message.unwrap_or("none"),
            panic = %failure.text,
            "an actor panicked"
        );
        if failure.was_stopping {
            return;
        }
        is_restart = true;
        if let Some(pause) = backoff.after(born.elapsed()) {
            tokio::time::sleep(pause).await;
        }
    }
}

fn build<A, F>(
    mailbox: &SharedMailbox<A>,
    registration: &Registration,
    factory: &mut F,
) -> Result<Option<Life<A>>, Failure>
where
    A: Monitored,
    F: FnMut(&mut Context<A>) -> Option<A>,
{
    catch_unwind(AssertUnwindSafe(|| {
        let mut context = Context::new(mailbox, registration.meter.clone());
        let actor = factory(&mut context)?;
        // The pump brings the messages; the context's own mailbox stays empty.
        Some(Box::new(ContextFut::new(context, actor, Mailbox::default())))
    }))
    .map_err(|panic| Failure { message: None, text: text_of(&*panic), was_stopping: false })
}

/// Runs one life to its end: `Ok` if the actor stopped, an error if it panicked.
async fn live<A: Monitored>(mut life: Life<A>, mailbox: &SharedMailbox<A>) -> Result<(), Failure> {
    let end = poll_fn(|task| {
        life.ctx().before_poll(mailbox);
        match catch_unwind(AssertUnwindSafe(|| Pin::new(&mut *life).poll(task))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(text_of(&*panic))),
        }
    })
    .await;
    let Err(text) = end else { return Ok(()) };
    let failure =
        Failure { message: life.ctx().probe.handling(), text, was_stopping: life.ctx().state() != ActorState::Running };
    // Terminated, the life is dropped as it is; else actix would call `stopped` on a state
    // that the panic left half changed.
    life.ctx().terminate();
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(life))) {
        tracing::error!(
            actor.kind = A::KIND,
            panic = %text_of(&*panic),
            "the state of a failed actor panicked when dropped"
        );
    }
    Err(failure)
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "not a text".to_owned()
    }
}

/// The pauses between lives: none after a life that had settled, then longer and longer ones.
#[derive(Default)]
struct Backoff {
    failures: u32,
}

impl Backoff {
    fn after(&mut self, lived: Duration) -> Option<Duration> {
        if lived >= SETTLED {
            self.failures = 0;
        }
        let doublings = self.failures.checked_sub(1);
        self.failures = self.failures.saturating_add(1);
        let factor = 2_u32.saturating_pow(doublings?);
        Some(FIRST_PAUSE.saturating_mul(factor).min(LONGEST_PAUSE))
    }
}

#[cfg(test)]
mod tests;
