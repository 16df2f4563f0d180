//! Work on many keys, in steps between which others on the thread have their turn. Owns how much is done in one go;
//! knows nothing of what it is.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{self, Poll};

use actix::{Actor, ActorFuture, Addr, Recipient};
use callboard_protocol::push_ledger::SessionNumber;
use callboard_protocol::watch::Selector;
use tokio::sync::oneshot;

use super::ASK_DEADLINE;
use super::native::message::Fault;
use crate::coordinator::{Coordinator, SessionEvent, WatchId, WatchMany, WatchedMany};
use crate::runtime::ask;

/// Keys that are worked on in one go: what is done to one takes some microseconds.
pub(super) const STEP: usize = 128;

/// Calls `step` until it gives an answer. Others on the thread, and messages to the same actor, have their turn between
/// two calls.
pub(super) fn in_steps<A, T>(
    step: impl FnMut(&mut A, &mut A::Context) -> Option<T> + Unpin + 'static,
) -> Pin<Box<dyn ActorFuture<A, Output = T>>>
where
    A: Actor,
    T: 'static,
{
    Box::pin(Steps { step, pause: None })
}

struct Steps<F> {
    step: F,
    pause: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl<A, T, F> ActorFuture<A> for Steps<F>
where
    A: Actor,
    F: FnMut(&mut A, &mut A::Context) -> Option<T> + Unpin,
{
    type Output = T;

    fn poll(
        mut self: Pin<&mut Self>,
        actor: &mut A,
        context: &mut A::Context,
        task: &mut task::Context<'_>,
    ) -> Poll<T> {
        loop {
            if let Some(pause) = &mut self.pause {
                task::ready!(pause.as_mut().poll(task));
            }
            if let Some(answer) = (self.step)(actor, context) {
                return Poll::Ready(answer);
            }
            self.pause = Some(Box::pin(tokio::task::yield_now()));
        }
    }
}

/// Who is at work, and who waits to begin in the order in which they asked.
#[derive(Debug, Default)]
pub(super) struct Turns {
    is_taken: bool,
    waiting: VecDeque<oneshot::Sender<()>>,
}

impl Turns {
    /// Takes the turn, or answers what tells when it has come.
    pub(super) fn take(&mut self) -> Option<oneshot::Receiver<()>> {
        if !std::mem::replace(&mut self.is_taken, true) {
            return None;
        }
        let (call, turn) = oneshot::channel();
        self.waiting.push_back(call);
        Some(turn)
    }

    /// Gives the turn to the next.
    pub(super) fn end(&mut self) {
        while let Some(next) = self.waiting.pop_front() {
            if next.send(()).is_ok() {
                return;
            }
        }
        self.is_taken = false;
    }
}

/// Registers watches of a connection, a step at a time. Answers those that were registered, in their order, and why
/// there are no more.
pub(super) async fn register(
    coordinator: Addr<Coordinator>,
    (session, connection): (Recipient<SessionEvent>, SessionNumber),
    selectors: Vec<Selector>,
) -> (Vec<WatchId>, Result<(), Fault>) {
    let mut registered = Vec::with_capacity(selectors.len());
    let mut selectors = selectors.into_iter();
    while selectors.len() > 0 {
        let asked =
            WatchMany { selectors: selectors.by_ref().take(STEP).collect(), session: session.clone(), connection };
        match ask(&coordinator, asked, ASK_DEADLINE).await {
            Ok(WatchedMany { ids, refused }) => {
                registered.extend(ids);
                if let Some(refused) = refused {
                    return (registered, Err(Fault::Watch(refused)));
                }
            }
            Err(error) => return (registered, Err(Fault::Ask(error))),
        }
        tokio::task::yield_now().await;
    }
    (registered, Ok(()))
}

#[cfg(test)]
mod tests;
