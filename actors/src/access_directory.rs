//! Who may do what, as this node knows it: reads users, roles, tokens and keys from the database, looks every second
//! whether they were changed, and makes changes. What it read last is published as one value, which doors look at
//! without a message; a node that can't read goes by what it knew. Decides nothing about access.

use std::sync::Arc;
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{Actor, ActorFutureExt, AsyncContext, Handler, Message, Recipient, ResponseActFuture};
use callboard_protocol::access::audit::{Event, Outcome, Who};
use callboard_protocol::access::change::Change;
use callboard_protocol::access::directory::Directory;
use callboard_protocol::error_code::ErrorCode;
use serde_json::json;
use tokio::sync::watch;

use crate::audit::Trail;
use crate::clock::SharedClock;
use crate::monitored;
use crate::runtime::{AskError, Context, Observable, ask};
use crate::store::{CommitError, WriteError};
use crate::store_reader::{GetAccessRevision, GetDirectory, ReadFailure};
use crate::store_writer::WriteAccess;

/// How often it is looked whether something was changed.
const INTERVAL: Duration = Duration::from_secs(1);
/// After so many looks everything is read again, whatever the count says: a database may have gone back.
const READ_ANYWAY: u32 = 30;
/// How long the database may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// What is known; `None` until it was read for the first time.
pub type Known = Option<Arc<Directory>>;

/// Time to look.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct LookTick;

/// Looks at once, for somebody who showed what is not known here: it may have been made a moment ago, elsewhere.
/// Answered when it was looked.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct LookNow;

/// Makes a change. Answered when this node goes by it; the others follow within two seconds or so.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), ChangeFailure>")]
pub struct ChangeAccess {
    /// What is to be changed.
    pub change: Change,
    /// Who asks for it.
    pub by: Who,
}

/// Why a change did not come about, or is not known to have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeFailure {
    /// It was refused, or the database did not take it.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The writer did not answer.
    #[error(transparent)]
    Ask(#[from] AskError),
}

/// Whom it asks.
#[derive(Debug, Clone)]
pub struct Deps {
    /// For the count of changes.
    pub revision: Recipient<GetAccessRevision>,
    /// For everything.
    pub directory: Recipient<GetDirectory>,
    /// For changes.
    pub writer: Recipient<WriteAccess>,
    /// Where it is told what was not done.
    pub audit: Trail,
}

/// The actor.
#[derive(Debug)]
pub struct AccessDirectory {
    deps: Deps,
    clock: SharedClock,
    known: Arc<watch::Sender<Known>>,
    /// Looks since everything was read.
    looks: u32,
    /// What was read last, counted: what a look finds that began before is not taken.
    taken: u64,
}

impl AccessDirectory {
    /// Publishes what it reads to `known`.
    #[must_use]
    pub fn new(deps: Deps, clock: SharedClock, known: Arc<watch::Sender<Known>>) -> Self {
        Self { deps, clock, known, looks: READ_ANYWAY, taken: 0 }
    }

    fn revision(&self) -> Option<u64> {
        self.known.borrow().as_ref().map(|directory| directory.revision)
    }

    /// Goes by `read`, unless it is what is known.
    fn take(&mut self, read: Directory) {
        self.looks = 0;
        self.taken += 1;
        self.known.send_if_modified(|known| {
            let is_new = known.as_deref() != Some(&read);
            if is_new {
                *known = Some(Arc::new(read));
            }
            is_new
        });
    }

    /// Looks whether something was changed, and goes by it.
    fn look(&mut self) -> ResponseActFuture<Self, ()> {
        self.looks += 1;
        let looking = look(self.deps.clone(), self.revision(), self.looks >= READ_ANYWAY);
        let taken = self.taken;
        Box::pin(wrap_future(looking).map(move |read, actor: &mut Self, _| match read {
            Ok(Some(read)) if actor.taken == taken => actor.take(read),
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "users and roles could not be read; what was known stays"),
        }))
    }
}

/// Everything, if it may be another than at `known`.
async fn look(deps: Deps, known: Option<u64>, anyway: bool) -> Result<Option<Directory>, ReadFailure> {
    let answered = |error: AskError| ReadFailure::Unavailable { reason: error.to_string() };
    if !anyway
        && known.is_some()
        && Some(ask(&deps.revision, GetAccessRevision, DEADLINE).await.map_err(answered)??) == known
    {
        return Ok(None);
    }
    ask(&deps.directory, GetDirectory, DEADLINE).await.map_err(answered)?.map(Some)
}

/// What came of a change that failed so.
fn unwritten(failure: &ChangeFailure) -> (Outcome, ErrorCode) {
    match failure {
        ChangeFailure::Write(WriteError::AccessRefused(refusal)) => (Outcome::Refused, refusal.code()),
        ChangeFailure::Write(WriteError::Failed(CommitError::Aborted { .. })) => {
            (Outcome::Refused, ErrorCode::Unavailable)
        }
        ChangeFailure::Write(_) | ChangeFailure::Ask(_) => (Outcome::Unknown, ErrorCode::OutcomeUnknown),
    }
}

impl Actor for AccessDirectory {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.notify(LookTick);
    }
}

monitored!(AccessDirectory, "access_directory");

impl Observable for AccessDirectory {
    fn observe(&self) -> serde_json::Value {
        let known = self.known.borrow();
        let counts = known.as_deref().map(|directory| {
            json!({ "revision": directory.revision, "users": directory.users.len(), "roles": directory.roles.len(),
                    "tokens": directory.tokens.len(), "keys": directory.keys.len() })
        });
        json!({ "known": counts })
    }
}

impl Handler<LookTick> for AccessDirectory {
    type Result = ();

    fn handle(&mut self, LookTick: LookTick, context: &mut Context<Self>) {
        let look = self.look();
        context.spawn(look.map(|(), _, context: &mut Context<Self>| {
            context.notify_later(LookTick, INTERVAL);
        }));
    }
}

impl Handler<LookNow> for AccessDirectory {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, LookNow: LookNow, _: &mut Context<Self>) -> Self::Result {
        self.look()
    }
}

impl Handler<ChangeAccess> for AccessDirectory {
    type Result = ResponseActFuture<Self, Result<(), ChangeFailure>>;

    fn handle(&mut self, ChangeAccess { change, by }: ChangeAccess, _: &mut Context<Self>) -> Self::Result {
        let (deps, at) = (self.deps.clone(), self.clock.wall());
        let event = deps.audit.is_on().then(|| Event::of_access(&change, by.clone(), at));
        let changing = async move {
            let written =
                ask(&deps.writer, WriteAccess { change, at, by }, DEADLINE).await.map_err(ChangeFailure::from);
            if let Err(failure) = written.and_then(|written| Ok(written?)) {
                if let Some(event) = event {
                    let (outcome, code) = unwritten(&failure);
                    deps.audit.note(|_| event.ended(outcome, Some(code)));
                }
                return Err(failure);
            }
            Ok::<_, ChangeFailure>(look(deps, None, true).await)
        };
        Box::pin(wrap_future(changing).map(|changed, actor: &mut Self, _| {
            match changed? {
                Ok(read) => read.into_iter().for_each(|read| actor.take(read)),
                // It is made; the next look finds it.
                Err(error) => tracing::debug!(%error, "a change of users or roles could not be read back"),
            }
            Ok(())
        }))
    }
}

#[cfg(test)]
mod tests;
