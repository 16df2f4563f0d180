//! What a Nacos client listens to: registered first, read second, compared third.

use std::collections::HashSet;

use actix::fut::wrap_future;
use actix::{ActorFutureExt as _, AsyncContext as _, Recipient, ResponseActFuture};
use callboard_protocol::config::SharedState;
use callboard_protocol::content::Reported;
use callboard_protocol::key::ConfigKey;
use callboard_protocol::watch::Selector;
use futures_util::future::join_all;

use super::message::{Fault, Listen, Listening, Unlisten};
use super::{Act, GrpcSession, Watching, at_once};
use crate::cache::reader::GetMany;
use crate::coordinator::{Unwatch, Watch, WatchId, WatchRefused};
use crate::runtime::{Context, ask};
use crate::session::{ASK_DEADLINE, RETRY};

/// Keys that are read by one statement.
const READ_AT_ONCE: usize = 500;

/// What became of watches that were to be registered: the fault when one was refused.
pub(super) type Answered = (Vec<(Watching, Option<WatchId>)>, Result<(), Fault>);

impl Act<Listen> for GrpcSession {
    fn act(
        &mut self,
        Listen(contexts): Listen,
        context: &mut Context<Self>,
    ) -> ResponseActFuture<Self, Result<Vec<bool>, Fault>> {
        let refuse = |fault| at_once(Err(fault));
        let limit = self.shared.options.listens;
        let Some(talk) = self.conversation.known_mut() else { return refuse(Fault::Leaving) };
        let named: HashSet<&ConfigKey> = contexts.iter().filter_map(|listening| listening.key.as_ref()).collect();
        let added = named.iter().filter(|key| !talk.listens.contains(key)).count();
        if talk.listens.len() + added > limit {
            return refuse(Fault::TooManyWatches(limit));
        }
        let mut new = Vec::new();
        for Listening { key, tenant, reported } in &contexts {
            let Some(key) = key else { continue };
            talk.listens.listen(key, tenant, *reported);
            let watching = Watching::Key(key.clone());
            // What another request is about to register is registered all the same: that one may be refused.
            if !talk.watches.contains_key(&watching) {
                new.push((watching, Selector::of_key(key)));
            }
        }
        let keys: Vec<ConfigKey> = contexts.iter().filter_map(|listening| listening.key.clone()).collect();
        let (registering, stream) = (self.register(new, context), self.conversation.stream());
        let then = wrap_future(registering).then(move |registered, session: &mut Self, _| {
            let noted = session.take_registered(registered, stream);
            let began = session.conversation.known().map(|talk| talk.listens.moment()).unwrap_or_default();
            let (reader, limit) = (session.shared.deps.get_many.clone(), session.shared.options.read);
            wrap_future(async move {
                noted?;
                Ok((read_all(&reader, &keys, limit).await?, began))
            })
        });
        Box::pin(then.map(move |read: Result<_, Fault>, session: &mut Self, context| {
            let (states, began) = read?;
            let now = session.now();
            let Some(talk) = session.conversation.known_at(stream) else { return Err(Fault::Leaving) };
            let mut states = states.iter();
            let changed = contexts.iter().map(|listening| match &listening.key {
                // They were read in the order in which they are named.
                Some(_) => {
                    states.next().is_some_and(|state| talk.listens.compare(now, &mut session.outbox, state, began))
                }
                // What can't exist differs from whatever is not nothing.
                None => listening.reported != Reported::Content(None),
            });
            let changed = changed.collect();
            session.tell(context);
            Ok(changed)
        }))
    }
}

impl Act<Unlisten> for GrpcSession {
    fn act(&mut self, Unlisten(keys): Unlisten, _: &mut Context<Self>) -> ResponseActFuture<Self, ()> {
        for key in keys {
            self.unwatch(&Watching::Key(key));
        }
        at_once(())
    }
}

impl GrpcSession {
    pub(super) fn register(
        &self,
        new: Vec<(Watching, Selector)>,
        context: &Context<Self>,
    ) -> impl Future<Output = Answered> + use<> {
        let (coordinator, events) = (self.shared.deps.coordinator.clone(), context.address().recipient());
        let connection = Some(self.number);
        async move {
            let (watchings, selectors): (Vec<Watching>, Vec<Selector>) = new.into_iter().unzip();
            let registering = selectors.into_iter().map(|selector| {
                ask(&coordinator, Watch { selector, session: events.clone(), connection }, ASK_DEADLINE)
            });
            let mut outcome = Ok(());
            let ids = join_all(registering).await.into_iter().map(|answer| match answer {
                Ok(Ok(watch)) => Some(watch.id),
                Ok(Err(refused)) => {
                    outcome = Err(Fault::Watch(refused));
                    None
                }
                Err(error) => {
                    outcome = Err(Fault::Ask(error));
                    None
                }
            });
            let answers = watchings.into_iter().zip(ids).collect();
            (answers, outcome)
        }
    }

    /// Takes note of watches that were registered while this stream was open. Where one was refused, the client listens
    /// to none of them, besides those that another request has registered: it is told so, and comes again.
    pub(super) fn take_registered(&mut self, (answers, outcome): Answered, stream: u64) -> Result<(), Fault> {
        // What was registered before the client began anew went with its former connection.
        let Some(talk) = self.conversation.known_at(stream) else { return Err(Fault::Leaving) };
        let mut is_forgotten = false;
        for (watching, id) in answers {
            let left = match id {
                Some(id) if outcome.is_ok() && talk.wants(&watching) => talk.watches.insert(watching, id),
                id => {
                    is_forgotten = true;
                    if outcome.is_err() && !talk.watches.contains_key(&watching) {
                        talk.forget(&watching, &mut self.outbox);
                    }
                    id
                }
            };
            if let Some(left) = left {
                self.shared.deps.coordinator.do_send(Unwatch(left));
            }
        }
        // Another request for the same was refused meanwhile, and took it back for both.
        if is_forgotten { outcome.and(Err(Fault::Watch(WatchRefused::Full))) } else { outcome }
    }

    /// The client listens to this no longer.
    pub(super) fn unwatch(&mut self, watching: &Watching) {
        let Some(talk) = self.conversation.known_mut() else { return };
        if let Some(watch) = talk.forget(watching, &mut self.outbox) {
            // A coordinator that is gone has no watch to take back.
            self.shared.deps.coordinator.do_send(Unwatch(watch));
        }
    }

    /// The coordinator was rebuilt and has forgotten every watch: they are registered and read again.
    pub(super) fn watch_again(&mut self, context: &mut Context<Self>) {
        let Some(talk) = self.conversation.known_mut() else { return };
        talk.watches.clear();
        let keys = talk.listens.keys().map(|key| (Watching::Key(key.clone()), Selector::of_key(key)));
        let patterns = talk
            .fuzzy
            .patterns()
            .filter_map(|(text, pattern)| Some((Watching::Pattern(text.into()), super::patterns::selector(pattern)?)));
        let all = keys.chain(patterns).collect();
        let (registering, stream) = (self.register(all, context), self.conversation.stream());
        context.spawn(wrap_future(registering).map(move |registered, session: &mut Self, context| {
            match session.take_registered(registered, stream) {
                Err(_) if session.conversation.stream() != stream => {}
                Ok(()) => session.recheck(context),
                Err(_fault) => session.end("refused", context),
            }
        }));
    }

    /// Changes may have been missed, or lost by the database after they were told: everything is read again.
    pub(super) fn recheck(&mut self, context: &mut Context<Self>) {
        if self.matching.begin() {
            self.match_again(context);
        }
        if self.reading.begin() {
            self.read_again(context);
        }
    }

    fn read_again(&mut self, context: &mut Context<Self>) {
        let listens = self.conversation.known().map(|talk| &talk.listens);
        let keys: Vec<ConfigKey> = listens.into_iter().flat_map(|listens| listens.keys().cloned()).collect();
        let began = listens.map(|listens| listens.moment()).unwrap_or_default();
        let (reader, stream) = (self.shared.deps.get_many.clone(), self.conversation.stream());
        let reading = async move { read_all(&reader, &keys, ASK_DEADLINE).await };
        context.spawn(wrap_future(reading).map(move |read, session: &mut Self, context| match read {
            Ok(states) => {
                let now = session.now();
                if let Some(talk) = session.conversation.known_at(stream) {
                    for state in &states {
                        talk.listens.recheck(now, &mut session.outbox, state, began);
                    }
                }
                session.tell(context);
                if session.reading.end() {
                    session.read_again(context);
                }
            }
            Err(_away) => {
                context.run_later(RETRY, Self::read_again);
            }
        }));
    }
}

/// The states of keys, in order.
async fn read_all(
    reader: &Recipient<GetMany>,
    keys: &[ConfigKey],
    deadline: std::time::Duration,
) -> Result<Vec<SharedState>, Fault> {
    let mut states = Vec::with_capacity(keys.len());
    for keys in keys.chunks(READ_AT_ONCE) {
        match ask(reader, GetMany { keys: keys.to_vec() }, deadline).await {
            Ok(Ok(read)) => states.extend(read),
            Ok(Err(failure)) => return Err(Fault::Read(failure)),
            Err(error) => return Err(Fault::Ask(error)),
        }
    }
    Ok(states)
}
