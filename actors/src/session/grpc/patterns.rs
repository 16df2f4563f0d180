//! The patterns that a Nacos client watches: registered first, searched second, told third.

use actix::fut::wrap_future;
use actix::{ActorFutureExt as _, AsyncContext as _, Recipient, ResponseActFuture};
use callboard_protocol::nacos::fuzzy::{Found, MAX_MATCHES, MAX_PATTERNS, Moment, Pattern};
use callboard_protocol::session::pace;
use callboard_protocol::watch::Selector;

use super::message::{Fault, UnwatchPattern, WatchPattern};
use super::{Act, GrpcSession, Watching, at_once};
use crate::runtime::{Context, ask};
use crate::session::{ASK_DEADLINE, RETRY};
use crate::store::{self, Line, Search};
use crate::store_reader::SearchConfigs;

/// What selects all that a pattern can match, and may select more. `None` for a pattern that no name can be like.
pub(super) fn selector(pattern: &Pattern) -> Option<Selector> {
    let group = Some(pattern.group.as_str()).filter(|group| !group.contains('*'));
    let prefix = pattern.data_id.split('*').next().unwrap_or_default();
    Selector::prefix(&pattern.namespace, group, prefix).ok()
}

fn search(pattern: &Pattern) -> Search {
    let like = |text: &str| match text {
        "*" => store::Pattern::Any,
        text if text.contains('*') => store::Pattern::Wildcard(text.to_owned()),
        text => store::Pattern::Exactly(text.to_owned()),
    };
    Search {
        namespace: pattern.namespace.clone(),
        data_id: like(&pattern.data_id),
        group: like(&pattern.group),
        limit: u32::try_from(MAX_MATCHES).unwrap_or(u32::MAX),
        ..Search::default()
    }
}

/// What a pattern matches, and about how many there are.
async fn find(store: &Recipient<SearchConfigs>, pattern: &Pattern, began: Moment) -> Result<(Found, u64), Fault> {
    match ask(store, SearchConfigs { search: search(pattern), line: Line::Owed }, ASK_DEADLINE).await {
        Ok(Ok(found)) => {
            let is_complete = found.total <= found.page.len() as u64;
            let keys = found.page.into_iter().map(|(key, _)| key).filter(|key| pattern.matches(key)).collect();
            Ok((Found { keys, is_complete, began }, found.total))
        }
        Ok(Err(failure)) => Err(Fault::Read(failure)),
        Err(error) => Err(Fault::Ask(error)),
    }
}

impl Act<WatchPattern> for GrpcSession {
    fn work(_: &WatchPattern) -> u32 {
        pace::SEARCH
    }

    fn act(
        &mut self,
        request: WatchPattern,
        context: &mut Context<Self>,
    ) -> ResponseActFuture<Self, Result<u64, Fault>> {
        let WatchPattern { text, pattern, is_initial, received } = request;
        let refuse = |fault| at_once(Err(fault));
        let Some(talk) = self.conversation.known_mut() else { return refuse(Fault::Leaving) };
        if !talk.fuzzy.contains(&text) && talk.fuzzy.len() >= MAX_PATTERNS {
            return refuse(Fault::TooManyWatches(MAX_PATTERNS));
        }
        let began = talk.fuzzy.watch(&text, pattern.clone(), is_initial, received);
        let watching = Watching::Pattern(text.as_str().into());
        // What another request is about to register is registered all the same: that one may be refused.
        let is_registered = talk.watches.contains_key(&watching);
        let new = selector(&pattern).filter(|_| !is_registered).map(|selector| (watching, selector));
        let (registering, stream) = (self.register(new.into_iter().collect(), context), self.conversation.stream());
        let registered = wrap_future(registering)
            .then(move |answers, session: &mut Self, _| session.take_registered(answers, stream));
        let then = registered.then(move |noted, session: &mut Self, _| {
            let store = session.shared.deps.search.clone();
            wrap_future(async move {
                noted?;
                find(&store, &pattern, began).await
            })
        });
        Box::pin(then.map(move |found: Result<_, Fault>, session: &mut Self, context| {
            let now = session.now();
            let Some(talk) = session.conversation.known_at(stream) else { return Err(Fault::Leaving) };
            match found {
                Ok((found, total)) => {
                    talk.fuzzy.matched(now, &mut session.outbox, &text, found);
                    session.tell(context);
                    Ok(total)
                }
                Err(fault) => {
                    if talk.fuzzy.not_found(&text) {
                        session.unwatch(&Watching::Pattern(text.into()));
                    }
                    Err(fault)
                }
            }
        }))
    }
}

impl Act<UnwatchPattern> for GrpcSession {
    fn act(&mut self, UnwatchPattern(text): UnwatchPattern, _: &mut Context<Self>) -> ResponseActFuture<Self, ()> {
        self.unwatch(&Watching::Pattern(text.into()));
        at_once(())
    }
}

impl GrpcSession {
    /// Searches for what each pattern matches again.
    pub(super) fn match_again(&mut self, context: &mut Context<Self>) {
        let (mut patterns, mut began) = (Vec::new(), Moment::default());
        if let Some(talk) = self.conversation.known_mut() {
            began = talk.fuzzy.recheck();
            patterns.extend(talk.fuzzy.patterns().map(|(text, pattern)| (text.to_owned(), pattern.clone())));
        }
        let (store, stream) = (self.shared.deps.search.clone(), self.conversation.stream());
        let finding = async move {
            let mut found = Vec::with_capacity(patterns.len());
            for (text, pattern) in patterns {
                let one = find(&store, &pattern, began).await.map(|(found, _)| found);
                found.push((text, one));
            }
            found
        };
        context.spawn(wrap_future(finding).map(move |found, session: &mut Self, context| {
            let (now, mut is_away, mut gone) = (session.now(), false, Vec::new());
            if let Some(talk) = session.conversation.known_at(stream) {
                for (text, found) in found {
                    match found {
                        Ok(found) => talk.fuzzy.matched(now, &mut session.outbox, &text, found),
                        Err(_away) => {
                            is_away = true;
                            if talk.fuzzy.not_found(&text) {
                                gone.push(text);
                            }
                        }
                    }
                }
            }
            for text in gone {
                session.unwatch(&Watching::Pattern(text.into()));
            }
            session.tell(context);
            if is_away {
                context.run_later(RETRY, Self::match_again);
            } else if session.matching.end() {
                session.match_again(context);
            }
        }));
    }
}
