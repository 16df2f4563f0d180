//! Watches that nobody wants any more: ended a slice at a time, so that who had ten thousand of them keeps nobody
//! waiting. Owns their order; a watch that is not ended yet may tell what changes, and takes up its place.

use std::collections::VecDeque;

use actix::fut::wrap_future;
use actix::{ActorFutureExt as _, AsyncContext as _, Handler, Message};

use super::{Coordinator, WatchId};
use crate::runtime::Context;

/// Watches that are ended in one go.
const SLICE: usize = 128;

/// Takes watches back. Changes may be told by those of them that are not ended at once.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct UnwatchMany(pub Vec<WatchId>);

/// Ends the next of them.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct EndTick;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Unwanted {
    watches: VecDeque<WatchId>,
    is_scheduled: bool,
}

impl Coordinator {
    /// Ends these, after those that are to be ended already.
    pub(super) fn end_all(&mut self, watches: impl IntoIterator<Item = WatchId>, context: &mut Context<Self>) {
        self.unwanted.watches.extend(watches);
        if !self.unwanted.is_scheduled {
            self.end_next(context);
        }
    }

    /// Ends as many as are ended in one go.
    pub(super) fn end_slice(&mut self) {
        for _ in 0..SLICE {
            let Some(id) = self.unwanted.watches.pop_front() else { break };
            self.unwatch(id);
        }
    }

    fn end_next(&mut self, context: &mut Context<Self>) {
        self.end_slice();
        self.unwanted.is_scheduled = !self.unwanted.watches.is_empty();
        if self.unwanted.is_scheduled {
            // A message to itself would come before anybody else on the thread had a turn.
            let others = wrap_future(tokio::task::yield_now());
            context.spawn(others.map(|(), _: &mut Self, context: &mut Context<Self>| context.notify(EndTick)));
        } else {
            self.unwanted.watches = VecDeque::new();
        }
    }
}

impl Handler<UnwatchMany> for Coordinator {
    type Result = ();

    fn handle(&mut self, UnwatchMany(watches): UnwatchMany, context: &mut Context<Self>) {
        self.end_all(watches, context);
    }
}

impl Handler<EndTick> for Coordinator {
    type Result = ();

    fn handle(&mut self, EndTick: EndTick, context: &mut Context<Self>) {
        self.end_next(context);
    }
}
