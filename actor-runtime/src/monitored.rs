//! What a type must offer to be run: a kind, a gauge, a snapshot.
//!
//! It owns the messages that every actor understands. It never adds behaviour of its own.

use actix::{Actor, Handler, Message};

use super::{Context, MailboxDepth};

/// Asks an actor for a snapshot of its own state, for people to read.
#[derive(Debug)]
pub struct Observe;

impl Message for Observe {
    type Result = serde_json::Value;
}

/// Makes the actor panic. Exists for fault tests only.
#[cfg(any(test, feature = "fault-injection"))]
#[derive(Debug)]
pub struct Panic;

#[cfg(any(test, feature = "fault-injection"))]
impl Message for Panic {
    type Result = ();
}

/// An actor that can describe its state.
pub trait Observable {
    /// Returns a snapshot: counts, sizes and states, never configuration content.
    fn observe(&self) -> serde_json::Value;
}

/// An actor that fault tests can break; in other builds every type is one.
#[cfg(any(test, feature = "fault-injection"))]
pub trait Breakable: Actor + Handler<Panic> {}
#[cfg(any(test, feature = "fault-injection"))]
impl<A: Actor + Handler<Panic>> Breakable for A {}

/// An actor that fault tests can break; in this build every type is one.
#[cfg(not(any(test, feature = "fault-injection")))]
pub trait Breakable {}
#[cfg(not(any(test, feature = "fault-injection")))]
impl<A> Breakable for A {}

/// An actor that the runtime can run. Implemented by [`monitored!`](crate::monitored).
pub trait Monitored: Actor<Context = Context<Self>> + Handler<Observe> + Breakable {
    /// The kind, in snake case: the value of the label `actor` in the metrics.
    const KIND: &'static str;

    /// Returns the gauge of messages that wait for actors of this kind.
    fn mailbox_depth() -> &'static MailboxDepth;
}

/// Makes an actor that is [`Observable`](crate::Observable) one that the runtime can run.
///
/// `monitored!(ConfManager, "conf_manager");`
#[macro_export]
macro_rules! monitored {
    ($actor:ty, $kind:literal) => {
        impl $crate::Monitored for $actor {
            const KIND: &'static str = $kind;

            fn mailbox_depth() -> &'static $crate::MailboxDepth {
                static DEPTH: $crate::MailboxDepth = $crate::MailboxDepth::new();
                &DEPTH
            }
        }

        impl ::actix::Handler<$crate::Observe> for $actor {
            type Result = ::actix::MessageResult<$crate::Observe>;

            fn handle(&mut self, _: $crate::Observe, _: &mut Self::Context) -> Self::Result {
                ::actix::MessageResult($crate::Observable::observe(self))
            }
        }

        $crate::breakable!($actor);
    };
}

/// The part of `monitored!` that only exists in fault tests.
#[cfg(any(test, feature = "fault-injection"))]
#[doc(hidden)]
#[macro_export]
macro_rules! breakable {
    ($actor:ty) => {
        impl ::actix::Handler<$crate::Panic> for $actor {
            type Result = ();

            fn handle(&mut self, _: $crate::Panic, _: &mut Self::Context) {
                panic!("a fault test asked for this panic");
            }
        }
    };
}

/// The part of `monitored!` that only exists in fault tests.
#[cfg(not(any(test, feature = "fault-injection")))]
#[doc(hidden)]
#[macro_export]
macro_rules! breakable {
    ($actor:ty) => {};
}
