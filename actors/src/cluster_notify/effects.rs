//! Carries out what the receiver machine says: has the cache marked, asks the database, answers the publishers. Decides
//! nothing; what comes of it goes back into the machine as an event.

use std::sync::Arc;

use actix::fut::wrap_future;
use actix::{ActorFutureExt as _, AsyncContext as _};
use callboard_protocol::commit::BatchId;
use callboard_protocol::key::ConfigKey;
use callboard_protocol::member::AckNo;
use callboard_protocol::receiver::{Ack2, CommittedChange, Effect, Event, FindResult, FloorResult, Found, MarkNo};
use callboard_protocol::write_request::RequestId;
use tokio::sync::oneshot;

use super::{ClusterNotify, DEADLINE};
use crate::cache::writer::{Abort, Commit, Mark};
use crate::change_feed;
use crate::lease_keeper::{RefreshMembership, Rejoin};
use crate::metrics::ResultLabel;
use crate::runtime::{Context, ask};
use crate::store::Landed;
use crate::store_reader::FindRequests;
use crate::store_writer::RaiseFloor;
use crate::transport::PeerMessage;

impl ClusterNotify {
    /// `heard`: the change feed knows of the changes that are applied.
    pub(super) fn perform(&mut self, effect: Effect, heard: bool, context: &mut Context<Self>) {
        match effect {
            Effect::Mark { batch, mark, keys } => self.mark((batch, mark), keys.into(), context),
            Effect::Ack { to, batch, ack } => self.send(&to, PeerMessage::Ack { batch, ack }, context),
            Effect::Nack { to, batch, reason } => {
                self.send(&to, PeerMessage::Nack { batch, reason: reason.to_owned() }, context);
            }
            Effect::Ack2 { to, batch } => {
                let node = self.node.clone();
                self.send(&to, PeerMessage::Ack2(Ack2 { batch, node }), context);
            }
            // A cache that fails on one of these two is rebuilt, which begins a new life of the membership.
            Effect::Commit { batch, changes } => {
                let changes = changes.iter().map(CommittedChange::for_cache).collect();
                self.deps.cache.do_send(Commit { batch, changes });
                if !heard {
                    self.deps.feed.do_send(change_feed::Poll);
                }
            }
            Effect::Abort { batch, keys } => self.deps.cache.do_send(Abort { batch, keys: keys.into() }),
            Effect::FindRequests { batch, request_ids, .. } => self.look(batch, request_ids, context),
            Effect::RaiseFloor { above, request_ids, .. } => self.raise_floor(above, request_ids, context),
            // Loss is repaired: the next message of another database says the same.
            Effect::RefreshMembership => self.deps.lease_keeper.do_send(RefreshMembership),
            Effect::LeaveAndRejoin => self.deps.lease_keeper.do_send(Rejoin),
        }
    }

    fn mark(&mut self, (batch, mark): (BatchId, MarkNo), keys: Arc<[ConfigKey]>, context: &mut Context<Self>) {
        let (marked, done) = oneshot::channel();
        // Queued in the order of the effects; a mark that overtook its end would stay for ever.
        self.deps.cache.do_send(Mark { batch, keys, marked });
        context.spawn(wrap_future(done).map(move |done, notify: &mut Self, context| {
            // A cache that failed on the marks is rebuilt, which begins a new life of the membership.
            if done.is_ok() {
                notify.step(Event::Marked { batch, mark }, context);
            }
        }));
    }

    fn look(&mut self, batch: BatchId, request_ids: Vec<RequestId>, context: &mut Context<Self>) {
        let reader = self.deps.reader.clone();
        let looking = async move { ask(&reader, FindRequests { request_ids }, DEADLINE).await };
        context.spawn(wrap_future(looking).map(move |landed, notify: &mut Self, context| {
            let result = match landed {
                Ok(Ok(landed)) => FindResult::Found(found(landed)),
                Ok(Err(failure)) => FindResult::Failed { reason: failure.to_string() },
                Err(error) => FindResult::Failed { reason: error.to_string() },
            };
            notify.step(Event::Looked { batch, result }, context);
        }));
    }

    fn raise_floor(&mut self, above: AckNo, request_ids: Vec<RequestId>, context: &mut Context<Self>) {
        let Some(incarnation) = self.incarnation else {
            self.step(Event::Floored { above, result: FloorResult::Refused }, context);
            return;
        };
        let (writer, node) = (self.deps.writer.clone(), self.node.clone());
        let raising = async move { ask(&writer, RaiseFloor { node, incarnation, above, request_ids }, DEADLINE).await };
        context.spawn(wrap_future(raising).map(move |landed, notify: &mut Self, context| {
            let result = match landed {
                Ok(Ok(Some(landed))) => FloorResult::Raised(found(landed)),
                Ok(Ok(None)) => FloorResult::Refused,
                Ok(Err(error)) => FloorResult::Failed { reason: error.to_string() },
                Err(error) => FloorResult::Failed { reason: error.to_string() },
            };
            notify.count_floor(&result);
            notify.step(Event::Floored { above, result }, context);
        }));
    }

    fn count_floor(&self, result: &FloorResult) {
        let result = match result {
            FloorResult::Raised(_) => "done",
            FloorResult::Refused => "refused",
            FloorResult::Failed { .. } => "failed",
        };
        self.metrics.operations.get_or_create(&ResultLabel { operation: "floor", result }).inc();
    }
}

fn found(landed: Landed) -> Found {
    let ids = landed.units.into_iter().map(|(request_id, _)| request_id).collect();
    Found { landed: ids, states: landed.states }
}
