//! A watch: the states of a selection, one after the other, and what the program made of each. Owns the rule of who
//! says `applied` when; the states come from the [`Registry`](crate::registry).

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_util::Stream;
use futures_util::future::poll_fn;
use tokio::sync::oneshot;

use crate::acknowledgements::Outcome;
use crate::config::{Config, Freshness};
use crate::error::Error;
use crate::key::{ConfigKey, Selection};
use crate::shared::Shared;

/// The states of a selection. For each key that is named, the first item is its present state, whether it exists or
/// not; for a prefix, the present states of all that exist. From then on every change comes, removals included; a
/// program that is slow is given the newest state of each key and none in between.
///
/// Asking for the next item says that the one before is applied, unless [`Change::reject`] or [`Change::applied`] was
/// called on it. An item that is the last one taken is neither, until then.
///
/// The stream ends when a node refuses to watch, for instance because a name is not allowed; [`Watch::error`] says why.
/// Dropping it ends the watch. It keeps the client at work.
#[derive(Debug)]
pub struct Watch {
    shared: Arc<Shared>,
    _alive: Arc<oneshot::Sender<()>>,
    number: u64,
    last: Option<Ticket>,
}

impl Watch {
    pub(crate) fn new(shared: &Arc<Shared>, alive: &Arc<oneshot::Sender<()>>, selection: &Selection) -> Self {
        let number = shared.change(|registry| registry.add_watch(selection));
        Self { shared: Arc::clone(shared), _alive: Arc::clone(alive), number, last: None }
    }

    /// Waits for the next item, as the stream does; `None` at its end. Nothing is lost when it is given up.
    pub async fn next(&mut self) -> Option<Change> {
        poll_fn(|context| self.poll(context)).await
    }

    /// Why the stream ended; `None` while it has not.
    #[must_use]
    pub fn error(&self) -> Option<Error> {
        self.shared.look(|registry| registry.watch_ended(self.number))
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Change>> {
        if let Some(last) = self.last.take() {
            last.answer(Ok(()));
        }
        let state = self.shared.look(|registry| registry.poll_watch(self.number, context));
        state.map(|state| {
            let state = state?;
            let ticket = Ticket {
                shared: Arc::clone(&self.shared),
                watch: self.number,
                key: state.config.key.clone(),
                version: state.config.version,
                is_answered: Arc::new(AtomicBool::new(false)),
            };
            self.last = Some(ticket.clone());
            Some(Change { config: state.config, freshness: state.freshness, ticket })
        })
    }
}

impl Stream for Watch {
    type Item = Change;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Change>> {
        self.poll(context)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.change(|registry| registry.remove_watch(self.number));
    }
}

/// A state that a watch was given.
#[derive(Debug)]
pub struct Change {
    /// The state; its content is `None` when the configuration does not exist, any longer or at all.
    pub config: Config,
    /// How sure it is that it is the present one.
    pub freshness: Freshness,
    ticket: Ticket,
}

impl Change {
    /// Says that the program uses this state. Operators see it.
    pub fn applied(self) {
        self.ticket.answer(Ok(()));
    }

    /// Says that the program can't use this state, and why: at most 1024 characters, for operators. The program goes on
    /// with what it had.
    pub fn reject(self, reason: impl fmt::Display) {
        self.ticket.answer(Err(reason.to_string()));
    }
}

/// Says once what became of a state.
#[derive(Debug, Clone)]
struct Ticket {
    shared: Arc<Shared>,
    watch: u64,
    key: ConfigKey,
    version: u64,
    is_answered: Arc<AtomicBool>,
}

impl Ticket {
    fn answer(&self, outcome: Outcome) {
        if !self.is_answered.swap(true, Ordering::AcqRel) {
            self.shared.change(|registry| registry.acknowledge(self.watch, &self.key, self.version, outcome));
        }
    }
}
