//! The runtime that actors live in. Knows nothing of what they do: no type of Callboard stands here.
//!
//! It owns what no actor may forget: counting messages and their times, catching panics and
//! rebuilding the actor, and the register of who is running; and the timer ([`Alarm`]) of those that drive a
//! machine. An actor opts in by
//! `type Context = Context<Self>` and [`monitored!`]; actix then
//! refuses to start it any other way than through [`start`], [`start_in`] or
//! [`start_once`].
//!
//! It never looks into a message, never decides anything about configuration and holds no
//! global state, except one mailbox gauge per actor kind: actix packs a message before it
//! knows which instance it is for.
//!
//! What passes a mailbox, and what an actor sends itself with `notify` and `notify_later`, is
//! counted. Stream items, intervals and spawned futures are not counted, but their panics are
//! caught just the same. Of an asynchronous handler only the synchronous part is timed. A
//! future that a handler returns as `ResponseFuture` runs outside the context, where a panic
//! is not noticed: return `ResponseActFuture` instead.

mod alarm;
mod ask;
mod context;
mod envelope;
mod export;
mod meter;
mod monitored;
mod registry;
mod report;
mod start;

pub use alarm::Alarm;
pub use ask::{AskError, Target, ask};
pub use context::Context;
pub use envelope::MailboxDepth;
#[cfg(any(test, feature = "fault-injection"))]
pub use monitored::Panic;
pub use monitored::{Breakable, Monitored, Observable, Observe};
pub use registry::Registry;
pub use report::{ActorReport, MessageReport, Observation, Times};
pub use start::{Spec, start, start_in, start_once};

#[cfg(test)]
mod tests;
