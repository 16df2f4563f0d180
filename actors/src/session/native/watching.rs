//! How a native session watches: it registers first, reads second, and pushes what is newer. Owns the order of these
//! steps; what is read and what is pushed is decided by `callboard_protocol::session::pushes`.

use actix::fut::wrap_future;
use actix::{ActorFutureExt as _, AsyncContext as _};
use callboard_protocol::session::pushes::{Pushes, Read};
use callboard_protocol::watch::Selector;
use futures_util::future::join_all;

use super::NativeSession;
use super::message::{Answer, Fault};
use crate::cache::reader::GetMany;
use crate::coordinator::{Unwatch, Watch, WatchId, WatchRefused};
use crate::runtime::{AskError, Context, ask};
use crate::session::{ASK_DEADLINE, RETRY};
use crate::store_reader::GetSnapshot;

type Registered = Vec<(Selector, Result<Result<WatchId, WatchRefused>, AskError>)>;

impl NativeSession {
    pub(super) fn watch(&mut self, id: u64, selectors: Vec<Selector>, context: &mut Context<Self>) {
        let new = match self.conversation.begin_watch(&selectors) {
            Ok(new) => new,
            Err(breach) => return self.answer(id, Answer::Failed(breach.into()), context),
        };
        context.spawn(self.register(new, context).map(move |registered, session: &mut Self, context| {
            match session.take_registered(registered) {
                Ok(()) => {
                    if let Some(pushes) = session.conversation.pushes_mut() {
                        pushes.watch(id, &selectors);
                    }
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
            match session.take_registered(registered) {
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

    fn register(
        &self,
        selectors: Vec<Selector>,
        context: &Context<Self>,
    ) -> impl actix::ActorFuture<Self, Output = Registered> + use<> {
        let (coordinator, events) = (self.shared.deps.coordinator.clone(), context.address().recipient());
        let connection = Some(self.number);
        wrap_future(async move {
            let registering = selectors.into_iter().map(|selector| {
                let watch = Watch { selector: selector.clone(), session: events.clone(), connection };
                let asking = ask(&coordinator, watch, ASK_DEADLINE);
                async move { (selector, asking.await.map(|watching| watching.map(|watching| watching.id))) }
            });
            join_all(registering).await
        })
    }

    /// Takes note of the watches, or takes all of them back when one was refused.
    fn take_registered(&mut self, registered: Registered) -> Result<(), Fault> {
        let mut fault = None;
        let watches = registered.into_iter().map(|(selector, answer)| {
            let watch = match answer {
                Ok(Ok(id)) => Some(id),
                Ok(Err(refused)) => {
                    fault = Some(Fault::Watch(refused));
                    None
                }
                Err(error) => {
                    fault = Some(Fault::Ask(error));
                    None
                }
            };
            (selector, watch)
        });
        let watches = watches.collect();
        let unwanted = self.conversation.registered(watches);
        self.take_back(unwanted);
        fault.map_or(Ok(()), Err)
    }

    fn take_back(&self, watches: Vec<WatchId>) {
        for id in watches {
            // A coordinator that is gone has no watch to take back.
            self.shared.deps.coordinator.do_send(Unwatch(id));
        }
    }

    pub(super) fn unwatch(&mut self, id: u64, selectors: &[Selector], context: &mut Context<Self>) {
        let unwanted = self.conversation.unwatch(selectors);
        self.take_back(unwanted);
        self.answer(id, Answer::Unwatched, context);
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
        let (store, limit) = (self.shared.deps.snapshot.clone(), self.shared.options.keys);
        let question = GetSnapshot { selector, limit: u32::try_from(limit).unwrap_or(u32::MAX) };
        let reading = async move { ask(&store, question, ASK_DEADLINE).await };
        context.spawn(wrap_future(reading).map(move |answer, session: &mut Self, context| {
            let Some(pushes) = session.conversation.pushes_mut() else { return };
            match answer {
                Ok(Ok(snapshot)) if !snapshot.complete => session.end(Fault::TooManyKeys(limit), context),
                Ok(Ok(snapshot)) => {
                    pushes.read_prefix(snapshot.revision, &snapshot.states);
                    session.after_read(context);
                }
                Ok(Err(_)) | Err(_) => session.look_later(context),
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
