//! What a Nacos client asks for once: the state of a configuration, and a change of one.

use std::sync::Arc;

use actix::fut::wrap_future;
use actix::{ActorFutureExt as _, ResponseActFuture};
use callboard_protocol::gray::{self, ClientIdentity};
use callboard_protocol::session::position::content_for;
use tokio::sync::oneshot;

use super::message::{Fault, Found, Make, Query};
use super::{Act, GrpcSession, at_once};
use crate::cache::reading::{self, Reading, Unread};
use crate::conf_manager::Publish;
use crate::runtime::Context;
use crate::session::outcome::settled;

impl Act<Query> for GrpcSession {
    fn act(
        &mut self,
        Query { key, is_for_all, secrets }: Query,
        _: &mut Context<Self>,
    ) -> ResponseActFuture<Self, Result<Found, Fault>> {
        let began = self.conversation.known().map(|talk| talk.listens.moment()).unwrap_or_default();
        let (deps, options, stream) = (&self.shared.deps, self.shared.options, self.conversation.stream());
        let (get, get_stale) = (deps.get.clone(), deps.get_stale.clone());
        let reading = async move { reading::read((&get, &get_stale), key, options.read, options.serve_stale).await };
        Box::pin(wrap_future(reading).map(move |read, session: &mut Self, context| {
            let now = session.now();
            // When it was asked the connection was set up; it may have been given up before it is answered.
            let Some(talk) = session.conversation.known_at(stream) else { return Err(Fault::Leaving) };
            let Reading { state, age } = read.map_err(|unread| match unread {
                Unread::Failed(failure) => Fault::Read(failure),
                Unread::Unasked(error) => Fault::Ask(error),
            })?;
            if age.is_some() {
                talk.listens.given_old(&state);
            } else if is_for_all {
                talk.listens.given(now, &mut session.outbox, &state, began);
            }
            let content = if state.metadata.is_secret {
                // Each request shows anew who asks.
                let asking = ClientIdentity { secrets, ..talk.client.identity.clone() };
                gray::select(&state, &asking).map(|(_, content)| content.clone())
            } else {
                content_for(&state, &talk.client).cloned()
            };
            session.tell(context);
            Ok(Found { state, content, age })
        }))
    }
}

impl Act<Make> for GrpcSession {
    fn act(&mut self, Make(mut unit): Make, _: &mut Context<Self>) -> ResponseActFuture<Self, Result<(), Fault>> {
        if self.conversation.is_leaving() {
            return at_once(Err(Fault::Leaving));
        }
        unit.origin.client_id = self.conversation.known().map(|talk| talk.client.id.0.to_string());
        let request_id = unit.request_id.clone();
        let (reply, outcome) = oneshot::channel();
        // Not asked but sent: what was handed over runs to its end, whatever becomes of the session.
        self.shared.deps.publish.do_send(Publish { unit: Arc::new(*unit), reply });
        let waiting = tokio::time::timeout(self.shared.options.publish, outcome);
        Box::pin(
            wrap_future(waiting).map(move |outcome, _: &mut Self, _| {
                settled(outcome.ok().and_then(Result::ok), request_id).map(|_| ())
            }),
        )
    }
}
