//! How a native session watches: it registers first, reads second, and pushes what is newer. Owns the order of these
//! steps; what is read and what is pushed is decided by `callboard_protocol::session::pushes`.

use actix::fut::{ready, wrap_future};
use actix::{ActorFuture, ActorFutureExt as _, AsyncContext as _, Recipient, ResponseActFuture};
use callboard_protocol::config::{SharedState, Version};
use callboard_protocol::session::pushes::{Pushes, Read};
use callboard_protocol::watch::Selector;

use super::NativeSession;
use super::message::{Answer, Fault};
use crate::cache::reader::GetMany;
use crate::coordinator::WatchId;
use crate::coordinator::unwanted::UnwatchMany;
use crate::runtime::{Context, ask};
use crate::session::steps::{STEP, in_steps, register};
use crate::session::{ASK_DEADLINE, RETRY};
use crate::store::Rest;
use crate::store_reader::GetKeys;

/// Has what these select read and pushed, some after the other.
fn push(id: u64, selectors: Vec<Selector>) -> ResponseActFuture<NativeSession, Result<(), Fault>> {
    let mut pushed = 0;
    in_steps(move |session: &mut NativeSession, _| {
        let left = selectors.get(pushed..).unwrap_or_default();
        pushed += STEP;
        if let Some(pushes) = session.conversation.pushes_mut() {
            pushes.watch(id, left.get(..STEP).unwrap_or(left), left.len() <= STEP);
        }
        (left.len() <= STEP).then_some(Ok(()))
    })
}

/// Nothing could be read.
struct Unread;

/// All that a prefix selects, as of a revision; `None` when that is more than so many. The states are read from the
/// cache, where all who watch them share them.
async fn read_prefix(
    (keys, states): (Recipient<GetKeys>, Recipient<GetMany>),
    selector: Selector,
    limit: usize,
) -> Result<Option<(Version, Vec<SharedState>)>, Unread> {
    let (mut after, mut found, mut as_of) = (Version::ZERO, Vec::new(), None);
    let limit = u32::try_from(limit).unwrap_or(u32::MAX);
    loop {
        let asked = GetKeys { selector: selector.clone(), after, limit };
        let page = ask(&keys, asked, ASK_DEADLINE).await.ok().and_then(Result::ok).ok_or(Unread)?;
        let (revision, timeline) = *as_of.get_or_insert((page.revision, page.timeline));
        if page.timeline != timeline {
            return Err(Unread);
        }
        let named = page.keys.into_iter().map(|(key, _)| key).collect();
        let read = ask(&states, GetMany { keys: named }, ASK_DEADLINE).await;
        found.extend(read.ok().and_then(Result::ok).ok_or(Unread)?);
        after = match page.rest {
            Rest::None => return Ok(Some((revision, found))),
            Rest::After(through) => through,
            Rest::TooMany => return Ok(None),
        };
        if found.len() > usize::try_from(limit).unwrap_or(usize::MAX) {
            return Ok(None);
        }
    }
}

impl NativeSession {
    pub(super) fn watch(&mut self, id: u64, selectors: Vec<Selector>, context: &mut Context<Self>) {
        let new = match self.conversation.begin_watch(&selectors) {
            Ok(new) => new,
            Err(breach) => return self.answer(id, Answer::Failed(breach.into()), context),
        };
        let registered = self.register(new, context).then(move |registered, _: &mut Self, _| match registered {
            Ok(()) => push(id, selectors),
            Err(fault) => Box::pin(ready(Err(fault))),
        });
        context.spawn(registered.map(move |registered, session: &mut Self, context| {
            session.conversation.end_change();
            match registered {
                Ok(()) => {
                    session.look(context);
                    session.flush(context);
                    session.listen(context);
                }
                Err(fault) => session.answered(id, Answer::Failed(fault), context),
            }
        }));
    }

    /// The coordinator was rebuilt and has forgotten every watch: they are registered and read again.
    pub(super) fn watch_again(&mut self, context: &mut Context<Self>) {
        let selectors = self.conversation.begin_watch_again();
        context.spawn(self.register(selectors, context).map(|registered, session: &mut Self, context| {
            session.conversation.end_change();
            match registered {
                Ok(()) => {
                    if let Some(pushes) = session.conversation.pushes_mut() {
                        pushes.recheck();
                    }
                    session.look(context);
                    session.listen(context);
                }
                Err(fault) => session.end(fault, context),
            }
        }));
    }

    /// Registers watches and takes note of them, or takes all of them back when one was refused.
    fn register(
        &self,
        selectors: Vec<Selector>,
        context: &Context<Self>,
    ) -> impl ActorFuture<Self, Output = Result<(), Fault>> + use<> {
        let (coordinator, events) = (self.shared.deps.coordinator.clone(), context.address().recipient());
        let registering = register(coordinator, (events, self.number), selectors.clone());
        wrap_future(registering).then(move |(ids, mut outcome), session: &mut Self, _| {
            let mut registered = if outcome.is_ok() {
                selectors.into_iter().zip(ids).collect::<Vec<_>>().into_iter()
            } else {
                session.take_back(ids);
                Vec::new().into_iter()
            };
            in_steps(move |session: &mut Self, _| {
                let unwanted = session.conversation.registered(registered.by_ref().take(STEP));
                session.take_back(unwanted);
                (registered.len() == 0).then(|| std::mem::replace(&mut outcome, Ok(())))
            })
        })
    }

    fn take_back(&self, watches: Vec<WatchId>) {
        if !watches.is_empty() {
            // A coordinator that is gone has no watch to take back.
            self.shared.deps.coordinator.do_send(UnwatchMany(watches));
        }
    }

    pub(super) fn unwatch(&mut self, id: u64, selectors: Vec<Selector>, context: &mut Context<Self>) {
        self.conversation.begin_unwatch();
        let mut unwatched = 0;
        let unwatching = in_steps(move |session: &mut Self, _| {
            let left = selectors.get(unwatched..).unwrap_or_default();
            unwatched += STEP;
            let unwanted = session.conversation.unwatch(left.get(..STEP).unwrap_or(left));
            session.take_back(unwanted);
            (left.len() <= STEP).then_some(())
        });
        context.spawn(unwatching.map(move |(), session: &mut Self, context| {
            session.conversation.end_change();
            session.answered(id, Answer::Unwatched, context);
        }));
    }

    /// Reads what has to be read, one statement after the other.
    pub(super) fn look(&mut self, context: &mut Context<Self>) {
        let read = self.conversation.pushes_mut().and_then(Pushes::next_read);
        match read {
            Some(Read::Keys(keys)) => {
                let reader = self.shared.deps.get_many.clone();
                let reading = async move { ask(&reader, GetMany { keys }, ASK_DEADLINE).await };
                context.spawn(wrap_future(reading).map(|answer, session: &mut Self, context| {
                    let Some(pushes) = session.conversation.pushes_mut() else { return };
                    match answer {
                        Ok(Ok(states)) => {
                            pushes.read_keys(&states);
                            session.after_read(context);
                        }
                        Ok(Err(_)) | Err(_) => session.look_later(context),
                    }
                }));
            }
            Some(Read::Prefix(selector)) => self.look_at_prefix(selector, context),
            None => {}
        }
    }

    fn look_at_prefix(&mut self, selector: Selector, context: &mut Context<Self>) {
        let (deps, limit) = (&self.shared.deps, self.shared.options.keys);
        let reading = read_prefix((deps.keys.clone(), deps.get_many.clone()), selector, limit);
        context.spawn(wrap_future(reading).map(move |answer, session: &mut Self, context| {
            let Some(pushes) = session.conversation.pushes_mut() else { return };
            match answer {
                Ok(Some((revision, states))) => {
                    pushes.read_prefix(revision, &states);
                    session.after_read(context);
                }
                Ok(None) => session.end(Fault::TooManyKeys(limit), context),
                Err(_unread) => session.look_later(context),
            }
        }));
    }

    fn look_later(&mut self, context: &mut Context<Self>) {
        context.run_later(RETRY, |session, context| {
            if let Some(pushes) = session.conversation.pushes_mut() {
                pushes.read_failed();
            }
            session.look(context);
        });
    }

    fn after_read(&mut self, context: &mut Context<Self>) {
        self.after_news(context);
        self.look(context);
    }

    /// Says what is new, unless there is more of it than the client may hear of.
    pub(super) fn after_news(&mut self, context: &mut Context<Self>) {
        if self.conversation.pushes().is_some_and(Pushes::overflowed) {
            return self.end(Fault::TooManyKeys(self.shared.options.keys), context);
        }
        self.flush(context);
    }
}
