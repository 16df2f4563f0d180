//! The execution context of one life of an actor.
//!
//! It owns the futures of that life and the measuring of what the actor handles. The mailbox
//! is not part of it: it outlives the context, and a pump, the first future of every life,
//! carries messages from it to the actor. So a rebuilt actor gets a context without any trace
//! of the life before, and finds its queued messages where they were.

use std::{
    cell::RefCell,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{self, Poll},
    time::Duration,
};

use actix::{
    Actor, ActorContext, ActorFuture, ActorState, Addr, AsyncContext, Handler, Message, SpawnHandle,
    dev::{AsyncContextParts, ContextParts, EnvelopeProxy, channel::AddressReceiver},
};
use futures_util::Stream;

use super::{
    envelope::Notice,
    meter::{Meter, Probe},
};

/// Messages one actor handles before it lets others of its arbiter run.
const BUDGET: u32 = 256;

/// The mailbox of an actor, shared by its supervisor and the pump of the present life.
pub(super) type SharedMailbox<A> = Rc<RefCell<AddressReceiver<A>>>;

/// The context of every actor: actix's own, with metrics and supervision.
pub struct Context<A: Actor<Context = Context<A>>> {
    parts: ContextParts<A>,
    pub(super) probe: Probe,
    pump_runs: bool,
    budget: u32,
}

impl<A: Actor<Context = Context<A>>> Context<A> {
    pub(super) fn new(mailbox: &SharedMailbox<A>, meter: Arc<Meter>) -> Self {
        Self {
            parts: ContextParts::new(mailbox.borrow().sender_producer()),
            probe: Probe::new(meter),
            pump_runs: false,
            budget: BUDGET,
        }
    }

    /// Prepares for one poll: refills the budget and sees to it that the pump runs. It ends
    /// when nobody holds an address, yet the actor may hand out its address again.
    pub(super) fn before_poll(&mut self, mailbox: &SharedMailbox<A>) {
        self.budget = BUDGET;
        if !self.pump_runs {
            self.pump_runs = true;
            self.parts.spawn(Pump { mailbox: Rc::clone(mailbox) });
        }
    }
}

impl<A: Actor<Context = Self>> ActorContext for Context<A> {
    fn stop(&mut self) {
        self.parts.stop();
    }

    fn terminate(&mut self) {
        self.parts.terminate();
    }

    fn state(&self) -> ActorState {
        self.parts.state()
    }
}

impl<A: Actor<Context = Self>> AsyncContext<A> for Context<A> {
    fn spawn<F>(&mut self, future: F) -> SpawnHandle
    where
        F: ActorFuture<A, Output = ()> + 'static,
    {
        self.parts.spawn(future)
    }

    fn wait<F>(&mut self, future: F)
    where
        F: ActorFuture<A, Output = ()> + 'static,
    {
        self.parts.wait(future);
    }

    fn waiting(&self) -> bool {
        self.parts.waiting()
    }

    fn cancel_future(&mut self, handle: SpawnHandle) -> bool {
        self.parts.cancel_future(handle)
    }

    fn address(&self) -> Addr<A> {
        self.parts.address()
    }

    // The two below replace actix's, which would pass by the counters.

    fn notify<M>(&mut self, message: M)
    where
        A: Handler<M>,
        M: Message + 'static,
    {
        self.parts.spawn(Notice::now(message));
    }

    fn notify_later<M>(&mut self, message: M, after: Duration) -> SpawnHandle
    where
        A: Handler<M>,
        M: Message + 'static,
    {
        self.parts.spawn(Notice::later(message, after))
    }
}

impl<A: Actor<Context = Self>> AsyncContextParts<A> for Context<A> {
    fn parts(&mut self) -> &mut ContextParts<A> {
        &mut self.parts
    }
}

/// Carries messages from the mailbox to the actor; ends when nobody can send any more.
struct Pump<A: Actor> {
    mailbox: SharedMailbox<A>,
}

impl<A: Actor<Context = Context<A>>> ActorFuture<A> for Pump<A> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, actor: &mut A, context: &mut Context<A>, task: &mut task::Context<'_>) -> Poll<()> {
        context.probe.read_clock();
        while !context.waiting() {
            if context.budget == 0 {
                task.waker().wake_by_ref();
                return Poll::Pending;
            }
            let (connected, next) = {
                let mut mailbox = self.mailbox.borrow_mut();
                // Read before the poll: the last sender may queue a message and leave between.
                let connected = mailbox.connected();
                (connected, Pin::new(&mut *mailbox).poll_next(task))
            };
            match next {
                Poll::Ready(Some(mut envelope)) => {
                    context.budget -= 1;
                    envelope.handle(actor, context);
                }
                Poll::Pending if connected => return Poll::Pending,
                Poll::Pending | Poll::Ready(None) => {
                    context.pump_runs = false;
                    return Poll::Ready(());
                }
            }
        }
        Poll::Pending
    }
}
