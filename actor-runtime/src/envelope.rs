//! How a message travels to its handler, and what is measured on the way.
//!
//! It owns the stamps at enqueue and dequeue and the gauge of waiting messages. It never
//! catches a panic: that passes through to the supervisor, dropping the reply channel, so the
//! sender gets an error.

use std::{
    marker::PhantomData,
    pin::Pin,
    sync::atomic::{AtomicI64, Ordering::Relaxed},
    task::{self, Poll},
    time::{Duration, Instant},
};

use actix::{
    Actor, ActorFuture, Handler, Message,
    dev::{Envelope, EnvelopeProxy, MessageResponse, ToEnvelope},
};
use tokio::{sync::oneshot, time::Sleep};

use super::{Context, Monitored};

/// How many messages wait in the mailboxes of one actor kind.
///
/// It is one figure for all instances in the process, because a message is packed before actix
/// knows the instance.
#[derive(Debug, Default)]
pub struct MailboxDepth(AtomicI64);

impl MailboxDepth {
    /// Creates an empty gauge, for use in a `static`.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicI64::new(0))
    }

    /// Returns the number of messages that wait now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed).try_into().unwrap_or(0)
    }

    fn entered(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    fn left(&self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl<A, M> ToEnvelope<A, M> for Context<A>
where
    A: Monitored + Handler<M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn pack(message: M, reply: Option<oneshot::Sender<M::Result>>) -> Envelope<A> {
        A::mailbox_depth().entered();
        Envelope::with_proxy(Box::new(Packed::<A, M> {
            message: Some(message),
            reply,
            queued: Instant::now(),
            actor: PhantomData,
        }))
    }
}

/// A message in a mailbox. `message` is `Some` exactly as long as it counts as waiting.
struct Packed<A: Monitored, M: Message> {
    message: Option<M>,
    reply: Option<oneshot::Sender<M::Result>>,
    queued: Instant,
    actor: PhantomData<fn() -> A>,
}

impl<A, M> EnvelopeProxy<A> for Packed<A, M>
where
    A: Monitored + Handler<M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn handle(&mut self, actor: &mut A, context: &mut Context<A>) {
        if let Some(message) = self.message.take() {
            A::mailbox_depth().left();
            deliver(actor, context, message, self.reply.take(), self.queued);
        }
    }
}

impl<A: Monitored, M: Message> Drop for Packed<A, M> {
    fn drop(&mut self) {
        if self.message.is_some() {
            A::mailbox_depth().left();
        }
    }
}

/// Hands one message to its handler, unless the asker is gone, and records both times.
///
/// The probe's clock must have been read just before: the end of one message is the beginning
/// of the next, which saves a clock reading per message.
fn deliver<A, M>(
    actor: &mut A,
    context: &mut Context<A>,
    message: M,
    reply: Option<oneshot::Sender<M::Result>>,
    queued: Instant,
) where
    A: Actor<Context = Context<A>> + Handler<M>,
    M: Message + 'static,
{
    let slot = context.probe.slot::<M>();
    if reply.as_ref().is_some_and(oneshot::Sender::is_closed) {
        context.probe.cancelled(slot);
        return;
    }
    context.probe.begin(slot);
    let response = <A as Handler<M>>::handle(actor, message, context);
    // Counted before the answer goes out, so that who has the answer sees it counted.
    context.probe.end(slot, queued);
    response.handle(context, reply);
}

/// A message that an actor sends itself, at once or later.
pub(super) struct Notice<M> {
    message: Option<M>,
    when: When,
}

enum When {
    Queued(Instant),
    Due(Pin<Box<Sleep>>),
}

impl<M> Notice<M> {
    pub(super) fn now(message: M) -> Self {
        Self { message: Some(message), when: When::Queued(Instant::now()) }
    }

    pub(super) fn later(message: M, after: Duration) -> Self {
        Self { message: Some(message), when: When::Due(Box::pin(tokio::time::sleep(after))) }
    }
}

// Nothing in a notice is pinned in place: the sleep has its own box.
impl<M> Unpin for Notice<M> {}

impl<A, M> ActorFuture<A> for Notice<M>
where
    A: Actor<Context = Context<A>> + Handler<M>,
    M: Message + 'static,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, actor: &mut A, context: &mut Context<A>, task: &mut task::Context<'_>) -> Poll<()> {
        let notice = self.get_mut();
        let queued = match &mut notice.when {
            When::Queued(queued) => *queued,
            When::Due(sleep) => {
                if sleep.as_mut().poll(task).is_pending() {
                    return Poll::Pending;
                }
                Instant::now()
            }
        };
        if let Some(message) = notice.message.take() {
            context.probe.read_clock();
            deliver(actor, context, message, None, queued);
        }
        Poll::Ready(())
    }
}
