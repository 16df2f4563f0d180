//! What a Nacos client listens to: registered first, read second, compared third.

use std::collections::HashSet;

use actix::fut::wrap_future;
use actix::{ActorFutureExt as _, AsyncContext as _, Recipient, ResponseActFuture};
use callboard_protocol::config::SharedState;
use callboard_protocol::content::Reported;
use callboard_protocol::key::ConfigKey;
use callboard_protocol::nacos::listens::Listens;
use callboard_protocol::watch::Selector;

use super::message::{Fault, Listen, Listening, Unlisten};
use super::{Act, GrpcSession, Watching, at_once};
use crate::cache::reader::GetMany;
use crate::coordinator::unwanted::UnwatchMany;
use crate::coordinator::{Unwatch, WatchId, WatchRefused};
use crate::runtime::{Context, ask};
use crate::session::steps::{STEP, in_steps, register};
use crate::session::{ASK_DEADLINE, RETRY};

/// Keys that are read by one statement.
const READ_AT_ONCE: usize = 500;

/// What became of watches that were to be registered: the fault when one was refused.
pub(super) type Answered = (Vec<(Watching, Option<WatchId>)>, Result<(), Fault>);

/// What a client says that it listens to, and what of it has to be registered.
type Noted = (Vec<Listening>, Vec<(Watching, Selector)>);

/// What a client says that it listens to, as far as it is noted.
struct Noting {
    contexts: Vec<Listening>,
    noted: usize,
    /// What has to be registered.
    new: Vec<(Watching, Selector)>,
    stream: u64,
}

impl Noting {
    /// Notes some more. Answers all, once all are noted, with what has to be registered.
    fn go_on(&mut self, session: &mut GrpcSession) -> Option<Result<Noted, Fault>> {
        let limit = session.shared.options.listens;
        let Some(talk) = session.conversation.known_at(self.stream) else { return Some(Err(Fault::Leaving)) };
        if self.noted == 0 && is_too_much(&talk.listens, &self.contexts, limit) {
            return Some(Err(Fault::TooManyWatches(limit)));
        }
        for Listening { key, tenant, reported } in self.contexts.iter().skip(self.noted).take(STEP) {
            let Some(key) = key else { continue };
            talk.listens.listen(key, tenant, *reported);
            let watching = Watching::Key(key.clone());
            // What another request is about to register is registered all the same: that one may be refused.
            if !talk.watches.contains_key(&watching) {
                self.new.push((watching, Selector::of_key(key)));
            }
        }
        self.noted += STEP;
        let is_done = self.noted >= self.contexts.len();
        is_done.then(|| Ok((std::mem::take(&mut self.contexts), std::mem::take(&mut self.new))))
    }
}

/// True when the client would listen to more than it may.
fn is_too_much(listens: &Listens, contexts: &[Listening], limit: usize) -> bool {
    if listens.len() + contexts.len() <= limit {
        return false;
    }
    let named: HashSet<&ConfigKey> = contexts.iter().filter_map(|listening| listening.key.as_ref()).collect();
    listens.len() + named.iter().filter(|key| !listens.contains(key)).count() > limit
}

impl Act<Listen> for GrpcSession {
    fn work(Listen(contexts): &Listen) -> u32 {
        u32::try_from(contexts.len()).unwrap_or(u32::MAX)
    }

    fn act(
        &mut self,
        Listen(contexts): Listen,
        context: &mut Context<Self>,
    ) -> ResponseActFuture<Self, Result<Vec<bool>, Fault>> {
        let stream = self.conversation.stream();
        let mut noting = Noting { contexts, noted: 0, new: Vec::new(), stream };
        let noted = self.in_turn(context, move |session, _| noting.go_on(session));
        Box::pin(noted.then(move |noted, session: &mut Self, context| -> ResponseActFuture<Self, _> {
            let (contexts, new) = match noted {
                Ok(noted) => noted,
                Err(fault) => return at_once(Err(fault)),
            };
            let registering = wrap_future(session.register(new, context));
            let registered =
                registering.then(move |registered, session: &mut Self, _| session.take_registered(registered, stream));
            Box::pin(registered.then(move |registered, session: &mut Self, _| match registered {
                Ok(()) => session.read_and_compare(contexts, stream),
                Err(fault) => at_once(Err(fault)),
            }))
        }))
    }
}

impl Act<Unlisten> for GrpcSession {
    fn work(Unlisten(keys): &Unlisten) -> u32 {
        u32::try_from(keys.len()).unwrap_or(u32::MAX)
    }

    fn act(&mut self, Unlisten(keys): Unlisten, context: &mut Context<Self>) -> ResponseActFuture<Self, ()> {
        let (mut keys, stream) = (keys.into_iter(), self.conversation.stream());
        self.in_turn(context, move |session, _| {
            let Some(talk) = session.conversation.known_at(stream) else { return Some(()) };
            let forgotten = keys.by_ref().take(STEP).map(|key| talk.forget(&Watching::Key(key), &mut session.outbox));
            let forgotten: Vec<WatchId> = forgotten.flatten().collect();
            session.take_back(forgotten);
            (keys.len() == 0).then_some(())
        })
    }
}

impl GrpcSession {
    /// Does something in steps, after all that was asked for before to be done so: what a client says of its listening
    /// is taken in as it came, however much it is.
    fn in_turn<T: 'static>(
        &mut self,
        context: &mut Context<Self>,
        mut step: impl FnMut(&mut Self, &mut Context<Self>) -> Option<T> + Unpin + 'static,
    ) -> ResponseActFuture<Self, T> {
        let Some(turn) = self.turns.take() else {
            if let Some(answer) = step(self, context) {
                self.turns.end();
                return at_once(answer);
            }
            let others = wrap_future(tokio::task::yield_now());
            return Box::pin(others.then(|(), _: &mut Self, _| in_steps(step)).map(Self::end_turn));
        };
        Box::pin(wrap_future(turn).then(|_, _: &mut Self, _| in_steps(step)).map(Self::end_turn))
    }

    fn end_turn<T>(answer: T, session: &mut Self, _: &mut Context<Self>) -> T {
        session.turns.end();
        answer
    }

    pub(super) fn register(
        &self,
        new: Vec<(Watching, Selector)>,
        context: &Context<Self>,
    ) -> impl Future<Output = Answered> + use<> {
        let (coordinator, events) = (self.shared.deps.coordinator.clone(), context.address().recipient());
        let number = self.number;
        async move {
            let (watchings, selectors): (Vec<Watching>, Vec<Selector>) = new.into_iter().unzip();
            let (ids, outcome) = register(coordinator, (events, number), selectors).await;
            let ids = ids.into_iter().map(Some).chain(std::iter::repeat(None));
            (watchings.into_iter().zip(ids).collect(), outcome)
        }
    }

    /// Takes note of watches that were registered while this stream was open. Where one was refused, the client listens
    /// to none of them, besides those that another request has registered: it is told so, and comes again.
    pub(super) fn take_registered(
        &mut self,
        (answers, outcome): Answered,
        stream: u64,
    ) -> ResponseActFuture<Self, Result<(), Fault>> {
        let is_refused = outcome.is_err();
        let (mut answers, mut outcome, mut is_forgotten) = (answers.into_iter(), Some(outcome), false);
        in_steps(move |session: &mut Self, _| {
            // What was registered before the client began anew went with its former connection.
            let Some(talk) = session.conversation.known_at(stream) else { return Some(Err(Fault::Leaving)) };
            let mut unwanted = Vec::new();
            for (watching, id) in answers.by_ref().take(STEP) {
                unwanted.extend(match id {
                    Some(id) if !is_refused && talk.wants(&watching) => talk.watches.insert(watching, id),
                    id => {
                        is_forgotten = true;
                        if is_refused && !talk.watches.contains_key(&watching) {
                            talk.forget(&watching, &mut session.outbox);
                        }
                        id
                    }
                });
            }
            session.take_back(unwanted);
            if answers.len() > 0 {
                return None;
            }
            // Another request for the same was refused meanwhile, and took it back for both.
            let is_ok = if is_forgotten { Err(Fault::Watch(WatchRefused::Full)) } else { Ok(()) };
            Some(outcome.take().unwrap_or(Ok(())).and(is_ok))
        })
    }

    fn take_back(&self, watches: Vec<WatchId>) {
        if !watches.is_empty() {
            // A coordinator that is gone has no watch to take back.
            self.shared.deps.coordinator.do_send(UnwatchMany(watches));
        }
    }

    /// Reads what a client listens to and compares it with what the client has.
    fn read_and_compare(
        &mut self,
        contexts: Vec<Listening>,
        stream: u64,
    ) -> ResponseActFuture<Self, Result<Vec<bool>, Fault>> {
        let began = self.conversation.known().map(|talk| talk.listens.moment()).unwrap_or_default();
        let (reader, limit) = (self.shared.deps.get_many.clone(), self.shared.options.read);
        let keys: Vec<ConfigKey> = contexts.iter().filter_map(|listening| listening.key.clone()).collect();
        let reading = async move { read_all(&reader, &keys, limit).await };
        Box::pin(wrap_future(reading).then(move |read, _: &mut Self, _| -> ResponseActFuture<Self, _> {
            let states = match read {
                Ok(states) => states,
                Err(fault) => return at_once(Err(fault)),
            };
            let mut changed = Vec::with_capacity(contexts.len());
            let (mut contexts, mut states) = (contexts.into_iter(), states.into_iter());
            in_steps(move |session: &mut Self, context| {
                let now = session.now();
                let Some(talk) = session.conversation.known_at(stream) else { return Some(Err(Fault::Leaving)) };
                changed.extend(contexts.by_ref().take(STEP).map(|listening| match &listening.key {
                    // They were read in the order in which they are named.
                    Some(_) => {
                        states.next().is_some_and(|state| talk.listens.compare(now, &mut session.outbox, &state, began))
                    }
                    // What can't exist differs from whatever is not nothing.
                    None => listening.reported != Reported::Content(None),
                }));
                if contexts.len() > 0 {
                    return None;
                }
                session.tell(context);
                Some(Ok(std::mem::take(&mut changed)))
            })
        }))
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
        let registered = wrap_future(registering)
            .then(move |answers, session: &mut Self, _| session.take_registered(answers, stream));
        context.spawn(registered.map(move |registered, session: &mut Self, context| match registered {
            Err(_) if session.conversation.stream() != stream => {}
            Ok(()) => session.recheck(context),
            Err(_fault) => session.end("refused", context),
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
        let compared = wrap_future(reading).then(move |read, _: &mut Self, _| {
            let is_read = read.is_ok();
            let mut states = read.unwrap_or_default().into_iter();
            in_steps(move |session: &mut Self, _| {
                let now = session.now();
                let Some(talk) = session.conversation.known_at(stream) else { return Some(is_read) };
                for state in states.by_ref().take(STEP) {
                    talk.listens.recheck(now, &mut session.outbox, &state, began);
                }
                (states.len() == 0).then_some(is_read)
            })
        });
        context.spawn(compared.map(|is_read, session: &mut Self, context| {
            if !is_read {
                context.run_later(RETRY, Self::read_again);
                return;
            }
            session.tell(context);
            if session.reading.end() {
                session.read_again(context);
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
