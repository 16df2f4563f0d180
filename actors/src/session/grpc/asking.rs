//! What a Nacos client asks for once: the state of a configuration, and a change of one.

use std::sync::Arc;

use actix::fut::wrap_future;
use actix::{ActorFutureExt as _, ResponseActFuture};
use callboard_protocol::config::SharedState;
use callboard_protocol::key::ConfigKey;
use callboard_protocol::session::pushes::content_for;
use tokio::sync::oneshot;

use super::words::{Fault, Found, Make, Query};
use super::{Act, GrpcSession, at_once};
use crate::cache::ReadFailure;
use crate::cache::reader::{Get, GetStale, Stale};
use crate::conf_manager::Publish;
use crate::runtime::{Context, ask};
use crate::session::outcome::settled;

/// A state, or one that may be old.
enum Read {
    Present(SharedState),
    Old(Stale),
}

impl Act<Query> for GrpcSession {
    fn act(
        &mut self,
        Query { key, is_for_all }: Query,
        _: &mut Context<Self>,
    ) -> ResponseActFuture<Self, Result<Found, Fault>> {
        let began = self.talk.as_ref().map(|talk| talk.listens.moment()).unwrap_or_default();
        let (reading, stream) = (self.read(key), self.streams);
        Box::pin(wrap_future(reading).map(move |read, session: &mut Self, context| {
            let now = session.now();
            // The connection was set up when it was asked; it is given up before it is answered.
            let is_former = session.streams != stream;
            let Some(talk) = session.talk.as_mut().filter(|_| !is_former) else { return Err(Fault::Leaving) };
            match read? {
                Read::Present(state) => {
                    if is_for_all {
                        talk.listens.given(now, &mut session.outbox, &state, began);
                    }
                    let content = content_for(&state, &talk.client).cloned();
                    session.tell(context);
                    Ok(Found { state, content, age: None })
                }
                Read::Old(Stale { state, age }) => {
                    talk.listens.given_old(&state);
                    let content = content_for(&state, &talk.client).cloned();
                    Ok(Found { state, content, age: Some(age) })
                }
            }
        }))
    }
}

impl GrpcSession {
    /// Reads the newest state, unless nothing but an old one can be had and the settings allow that.
    fn read(&self, key: ConfigKey) -> impl Future<Output = Result<Read, Fault>> + use<> {
        let (reader, limits) = (self.setup.neighbours.reader.clone(), self.setup.limits);
        async move {
            let fault = match ask(&reader, Get { key: key.clone() }, limits.read).await {
                Ok(Ok(state)) => return Ok(Read::Present(state)),
                Ok(Err(failure)) => Fault::Read(failure),
                Err(error) => Fault::Ask(error),
            };
            let may_be_old = matches!(
                fault,
                Fault::Read(ReadFailure::Unavailable { .. } | ReadFailure::TimedOut)
                    | Fault::Ask(crate::runtime::AskError::TimedOut)
            );
            if limits.serve_stale
                && may_be_old
                && let Ok(Some(stale)) = ask(&reader, GetStale { key }, limits.read).await
                && stale.state.formal.is_some()
            {
                return Ok(Read::Old(stale));
            }
            Err(fault)
        }
    }
}

impl Act<Make> for GrpcSession {
    fn act(&mut self, Make(mut unit): Make, _: &mut Context<Self>) -> ResponseActFuture<Self, Result<(), Fault>> {
        if self.is_leaving {
            return at_once(Err(Fault::Leaving));
        }
        unit.origin.client_id = self.talk.as_ref().map(|talk| talk.client.id.0.to_string());
        let request_id = unit.request_id.clone();
        let (reply, outcome) = oneshot::channel();
        // Not asked but sent: what was handed over runs to its end, whatever becomes of the session.
        self.setup.neighbours.conf_manager.do_send(Publish { unit: Arc::new(*unit), reply });
        let waiting = tokio::time::timeout(self.setup.limits.publish, outcome);
        Box::pin(
            wrap_future(waiting).map(move |outcome, _: &mut Self, _| {
                settled(outcome.ok().and_then(Result::ok), request_id).map(|_| ())
            }),
        )
    }
}
