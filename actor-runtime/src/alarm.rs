//! The one timer of an actor that drives a machine: after each step the machine says when it next has something to do
//! by itself.
//!
//! Owns the timer that is pending and the moment it stands for. Reads no clock: the caller counts moments as it likes.

use std::{cell::Cell, rc::Rc, time::Duration};

use actix::{Actor, AsyncContext, SpawnHandle};

use super::Context;

/// A timer that is set anew after each step of a machine. `T` is a moment by the clock of the machine.
pub struct Alarm<T> {
    pending: Rc<Cell<Option<(T, SpawnHandle)>>>,
}

impl<T> Default for Alarm<T> {
    fn default() -> Self {
        Self { pending: Rc::default() }
    }
}

impl<T: Copy + PartialEq + 'static> Alarm<T> {
    /// Has `ring` run once when `next` has come, which is as far off as `remaining` says; in place of the timer that is
    /// pending, unless that one is for the same moment. `None` cancels it. While `ring` runs nothing is pending.
    pub fn set<A: Actor<Context = Context<A>>>(
        &self,
        next: Option<T>,
        remaining: impl FnOnce(T) -> Duration,
        context: &mut Context<A>,
        ring: impl FnOnce(&mut A, &mut Context<A>) + 'static,
    ) {
        let before = self.pending.get();
        if before.map(|(at, _)| at) == next {
            return;
        }
        if let Some((_, timer)) = before {
            context.cancel_future(timer);
        }
        self.pending.set(next.map(|at| {
            let pending = Rc::clone(&self.pending);
            let timer = context.run_later(remaining(at), move |actor, context| {
                pending.set(None);
                ring(actor, context);
            });
            (at, timer)
        }));
    }
}
