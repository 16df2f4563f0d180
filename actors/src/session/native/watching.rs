//! How a native session watches: it registers first, reads second, and pushes what is newer. Owns the order of these
//! steps; what is read and what is pushed is decided by `callboard_protocol::session::pushes`.

use std::collections::HashSet;

use actix::fut::wrap_future;
use actix::{ActorFutureExt as _, AsyncContext as _};
use callboard_protocol::session::pushes::Read;
use callboard_protocol::watch::Selector;
use futures_util::future::join_all;

use super::words::{Answer, Fault};
use super::{NativeSession, Phase};
use crate::cache::reader::GetMany;
use crate::coordinator::{Unwatch, Watch, WatchId, WatchRefused};
use crate::runtime::{AskError, Context, ask};
use crate::session::{ASK_DEADLINE, RETRY};
use crate::store_reader::GetSnapshot;

type Registered = Vec<(Selector, Result<Result<WatchId, WatchRefused>, AskError>)>;

impl NativeSession {
    pub(super) fn watch(&mut self, id: u64, selectors: Vec<Selector>, context: &mut Context<Self>) {
        let Some(talk) = &self.talk else { return };
        // A client may name one twice.
        let new: HashSet<Selector> =
            selectors.iter().filter(|selector| !talk.watches.contains_key(selector)).cloned().collect();
        if talk.watches.len() + new.len() > self.setup.limits.watches {
            let fault = Fault::TooManyWatches(self.setup.limits.watches);
            return self.answer(id, Answer::Failed(fault), context);
        }
        self.under_way += 1;
        let new = new.into_iter().collect();
        context.spawn(self.register(new, context).map(move |registered, session: &mut Self, context| {
            match session.take_registered(registered) {
                Ok(()) => {
                    if let Some(talk) = &mut session.talk {
                        talk.pushes.watch(id, &selectors);
                    }
                    session.look(context);
                    session.speak(context);
                    session.listen(context);
                }
                Err(fault) => session.answered(id, Answer::Failed(fault), context),
            }
        }));
    }

    /// The coordinator was rebuilt and has forgotten every watch: they are registered and read again.
    pub(super) fn watch_again(&mut self, context: &mut Context<Self>) {
        let Some(talk) = &mut self.talk else { return };
        let selectors: Vec<Selector> = talk.watches.drain().map(|(selector, _)| selector).collect();
        context.spawn(self.register(selectors, context).map(|registered, session: &mut Self, context| {
            match session.take_registered(registered) {
                Ok(()) => {
                    if let Some(talk) = &mut session.talk {
                        talk.pushes.recheck();
                    }
                    session.look(context);
                    session.listen(context);
                }
                Err(fault) => session.end(fault, context),
            }
        }));
    }

    fn register(
        &mut self,
        selectors: Vec<Selector>,
        context: &Context<Self>,
    ) -> impl actix::ActorFuture<Self, Output = Registered> + use<> {
        if let Some(talk) = &mut self.talk {
            talk.is_registering = true;
        }
        let (coordinator, events) = (self.setup.neighbours.coordinator.clone(), context.address().recipient());
        let seat = Some(self.number);
        wrap_future(async move {
            let registering = selectors.into_iter().map(|selector| {
                let watch = Watch { selector: selector.clone(), session: events.clone(), seat };
                let asking = ask(&coordinator, watch, ASK_DEADLINE);
                async move { (selector, asking.await.map(|watching| watching.map(|watching| watching.id))) }
            });
            join_all(registering).await
        })
    }

    /// Takes note of the watches, or takes all of them back when one was refused.
    fn take_registered(&mut self, registered: Registered) -> Result<(), Fault> {
        let Some(talk) = &mut self.talk else { return Ok(()) };
        talk.is_registering = false;
        let (mut ids, mut fault) = (Vec::new(), None);
        for (selector, answer) in registered {
            match answer {
                Ok(Ok(id)) => ids.push((selector, id)),
                Ok(Err(refused)) => fault = Some(Fault::Watch(refused)),
                Err(error) => fault = Some(Fault::Ask(error)),
            }
        }
        if let Some(fault) = fault {
            for (_, id) in ids {
                // A coordinator that is gone has no watch to take back.
                self.setup.neighbours.coordinator.do_send(Unwatch(id));
            }
            return Err(fault);
        }
        for (selector, id) in ids {
            if let Some(former) = talk.watches.insert(selector, id) {
                self.setup.neighbours.coordinator.do_send(Unwatch(former));
            }
        }
        Ok(())
    }

    pub(super) fn unwatch(&mut self, id: u64, selectors: &[Selector], context: &mut Context<Self>) {
        if let Some(talk) = &mut self.talk {
            for watch in selectors.iter().filter_map(|selector| talk.watches.remove(selector)) {
                // A coordinator that is gone has no watch to take back.
                self.setup.neighbours.coordinator.do_send(Unwatch(watch));
            }
            talk.pushes.unwatch(selectors);
        }
        self.answer(id, Answer::Unwatched, context);
    }

    /// Reads what has to be read, one statement after the other.
    pub(super) fn look(&mut self, context: &mut Context<Self>) {
        if matches!(self.phase, Phase::Ending) {
            return;
        }
        let read = self.talk.as_mut().and_then(|talk| talk.pushes.next_read());
        match read {
            Some(Read::Keys(keys)) => {
                let reader = self.setup.neighbours.reader.clone();
                let reading = async move { ask(&reader, GetMany { keys }, ASK_DEADLINE).await };
                context.spawn(wrap_future(reading).map(|answer, session: &mut Self, context| {
                    let Some(talk) = &mut session.talk else { return };
                    match answer {
                        Ok(Ok(states)) => {
                            talk.pushes.read_keys(&states);
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
        let (store, limit) = (self.setup.neighbours.store.clone(), self.setup.limits.keys);
        let question = GetSnapshot { selector, limit: u32::try_from(limit).unwrap_or(u32::MAX) };
        let reading = async move { ask(&store, question, ASK_DEADLINE).await };
        context.spawn(wrap_future(reading).map(move |answer, session: &mut Self, context| {
            let Some(talk) = &mut session.talk else { return };
            match answer {
                Ok(Ok(snapshot)) if !snapshot.complete => session.end(Fault::TooManyKeys(limit), context),
                Ok(Ok(snapshot)) => {
                    talk.pushes.read_prefix(snapshot.revision, &snapshot.states);
                    session.after_read(context);
                }
                Ok(Err(_)) | Err(_) => session.look_later(context),
            }
        }));
    }

    fn look_later(&mut self, context: &mut Context<Self>) {
        context.run_later(RETRY, |session, context| {
            if let Some(talk) = &mut session.talk {
                talk.pushes.read_failed();
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
        if self.talk.as_ref().is_some_and(|talk| talk.pushes.overflowed()) {
            return self.end(Fault::TooManyKeys(self.setup.limits.keys), context);
        }
        self.speak(context);
    }
}
