//! What a client of a native session asks for, and how it is answered.

use std::sync::Arc;

use actix::fut::wrap_future;
use actix::{ActorFutureExt as _, AsyncContext as _};
use callboard_protocol::config::Version;
use callboard_protocol::key::ConfigKey;
use callboard_protocol::push_ledger::PushStep;
use callboard_protocol::session::position::Reaction;
use callboard_protocol::session::pushes::Answered;
use callboard_protocol::write_request::WriteRequest;
use tokio::sync::oneshot;

use super::NativeSession;
use super::message::{Answer, Fault, Listing, OutboundMessage, Request};
use crate::cache::reader::Get;
use crate::conf_manager::Publish;
use crate::runtime::{Context, ask};
use crate::session::ASK_DEADLINE;
use crate::session::outcome::settled;
use crate::store_reader::ListConfigs;

impl NativeSession {
    pub(super) fn ask(&mut self, id: u64, request: Request, context: &mut Context<Self>) {
        match request {
            Request::Get(key) => self.get(id, key, context),
            Request::List(listing) => self.list(id, listing, context),
            Request::Change(unit) => self.change(id, *unit, context),
            Request::Watch(selectors) => self.watch(id, selectors, context),
            Request::Unwatch(selectors) => self.unwatch(id, selectors, context),
            Request::Applied(key, version) => {
                self.reacted(id, key, version, (Reaction::Applied, PushStep::Applied), context);
            }
            Request::Rejected(key, version, reason) => {
                self.reacted(id, key, version, (Reaction::Rejected, PushStep::Rejected(reason)), context);
            }
            Request::Hold(held) => {
                if let Err(breach) = self.conversation.hold(held) {
                    self.end(breach.into(), context);
                }
            }
            Request::Ping(number) => self.answer(id, Answer::Pong(number), context),
            // It was heard; that is all there is to it. A second hello never comes here.
            Request::Pong | Request::Hello(_) => {}
        }
    }

    /// A request that was under way is answered.
    pub(super) fn answered(&mut self, id: u64, answer: Answer, context: &mut Context<Self>) {
        let bytes = answer.weight();
        self.conversation.settle(OutboundMessage { id, answer }, bytes);
        self.flush(context);
        self.listen(context);
    }

    fn get(&mut self, id: u64, key: ConfigKey, context: &mut Context<Self>) {
        self.conversation.begin();
        let reader = self.shared.deps.get.clone();
        let reading = async move { ask(&reader, Get { key }, ASK_DEADLINE).await };
        context.spawn(wrap_future(reading).map(move |answer, session: &mut Self, context| {
            let answer = match answer {
                Ok(Ok(state)) => {
                    let content = session.conversation.give(&state);
                    Answer::Config(state, content)
                }
                Ok(Err(failure)) => Answer::Failed(Fault::Read(failure)),
                Err(error) => Answer::Failed(Fault::Ask(error)),
            };
            session.answered(id, answer, context);
        }));
    }

    fn list(&mut self, id: u64, listing: Box<Listing>, context: &mut Context<Self>) {
        self.conversation.begin();
        let store = self.shared.deps.list.clone();
        // One more than asked for tells whether there is a next page.
        let (filter, after, limit) = (listing.filter.clone(), listing.after.clone(), listing.limit + 1);
        let question = ListConfigs { filter, after, limit };
        let reading = async move { ask(&store, question, ASK_DEADLINE).await };
        context.spawn(wrap_future(reading).map(move |answer, session: &mut Self, context| {
            let answer = match answer {
                Ok(Ok(found)) => Answer::Page(found, listing),
                Ok(Err(failure)) => Answer::Failed(Fault::Read(failure)),
                Err(error) => Answer::Failed(Fault::Ask(error)),
            };
            session.answered(id, answer, context);
        }));
    }

    /// Not asked but sent: what was handed over runs to its end, whatever becomes of the session.
    fn change(&mut self, id: u64, mut unit: WriteRequest, context: &mut Context<Self>) {
        if self.conversation.is_sent_away() {
            return self.answer(id, Answer::Failed(Fault::Leaving), context);
        }
        self.conversation.begin();
        let guard = self.guard.take();
        unit.origin.client_id = self.conversation.client().map(|client| client.id.0.to_string());
        let (request_id, key) = (unit.request_id.clone(), unit.items.first().map(|item| item.key.clone()));
        let (reply, outcome) = oneshot::channel();
        self.shared.deps.publish.do_send(Publish { unit: Arc::new(unit), reply });
        let waiting = tokio::time::timeout(self.shared.options.publish, outcome);
        context.spawn(wrap_future(waiting).map(move |outcome, session: &mut Self, context| {
            drop(guard);
            let outcome = outcome.ok().and_then(Result::ok);
            let answer = match (settled(outcome, request_id), key) {
                (Ok((outcome, replayed)), Some(key)) => Answer::Published { key, outcome, replayed },
                (Ok(_), None) => return,
                (Err(fault), _) => Answer::Failed(fault),
            };
            session.answered(id, answer, context);
        }));
    }

    fn reacted(
        &mut self,
        id: u64,
        key: ConfigKey,
        version: Version,
        (reaction, step): (Reaction, PushStep),
        context: &mut Context<Self>,
    ) {
        let Some(pushes) = self.conversation.pushes_mut() else { return };
        match pushes.answer(&key, version, reaction) {
            Answered::Counts => self.report(key, version, step),
            Answered::NotPushed if id > 0 => self.answer(id, Answer::Failed(Fault::NotPushed), context),
            Answered::Late | Answered::NotPushed => {}
        }
    }
}
