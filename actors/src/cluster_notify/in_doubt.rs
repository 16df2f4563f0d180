//! Finds out what became of a batch whose commit had no known outcome. Owns how often and how soon the database is
//! asked; what the answer means for the batch is for the publisher.

use std::time::Duration;

use actix::fut::wrap_future;
use actix::{ActorFutureExt as _, Addr, AsyncContext as _, Handler};
use callboard_protocol::member::Ack;
use callboard_protocol::publish::Outcome;
use callboard_protocol::receiver::Event;
use callboard_protocol::write_request::RequestId;

use super::{ClusterNotify, DEADLINE, FindOutcome};
use crate::runtime::{Context, ask};
use crate::store_writer::{FindRequestsLocked, RaiseFloor, StoreWriter};

/// The pauses before each try to find out what became of a batch: soon again and again, for nothing is committed until
/// it is known, and a database that is restarted is back within a second or two.
const RESOLVE_PAUSES: [Duration; 9] = [
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(300),
    Duration::from_millis(400),
    Duration::from_millis(500),
    Duration::from_millis(500),
    Duration::from_millis(500),
    Duration::from_millis(500),
];

impl Handler<FindOutcome> for ClusterNotify {
    type Result = ();

    fn handle(&mut self, FindOutcome { request_ids, ack, reply }: FindOutcome, context: &mut Context<Self>) {
        let (writer, above) = (self.deps.writer.clone(), ack.as_ref().map(|ack| ack.number));
        context.spawn(wrap_future(resolve(writer, request_ids, ack)).map(
            move |resolution, notify: &mut Self, context| {
                // Also when nobody knows whether the floor was raised: an ack that may be void is given no more.
                if let Some(above) = above {
                    notify.step(Event::Raised { above }, context);
                }
                if reply.send(resolution).is_err() {
                    tracing::debug!("the publisher is gone; it has told its callers that the outcome is unknown");
                }
            },
        ));
    }
}

/// Finds out what became of a batch: with an own ack takes it back first, so that what is not there never will be.
async fn resolve(writer: Addr<StoreWriter>, request_ids: Vec<RequestId>, ack: Option<Ack>) -> Outcome {
    let mut reason = String::new();
    for pause in RESOLVE_PAUSES {
        actix_rt::time::sleep(pause).await;
        let floored = match &ack {
            None => None,
            Some(Ack { node, incarnation, number, .. }) => {
                let (node, incarnation, request_ids) = (node.clone(), *incarnation, request_ids.clone());
                let raise = RaiseFloor { node, incarnation, above: *number, request_ids };
                match ask(&writer, raise, DEADLINE).await {
                    Ok(Ok(Some(landed))) => return Outcome::Landed(landed.units),
                    // Without its row no commit of this node can land: what is found by a look is all there is.
                    Ok(Ok(None)) => Some(()),
                    Ok(Err(error)) => {
                        reason = error.to_string();
                        continue;
                    }
                    Err(error) => {
                        reason = error.to_string();
                        continue;
                    }
                }
            }
        };
        match ask(&writer, FindRequestsLocked { request_ids: request_ids.clone() }, DEADLINE).await {
            Ok(Ok(landed)) if floored.is_some() => return Outcome::Landed(landed.units),
            Ok(Ok(landed)) => return Outcome::LandedUncertain(landed.units),
            Ok(Err(error)) => reason = error.to_string(),
            Err(error) => reason = error.to_string(),
        }
    }
    Outcome::Unresolved { reason }
}
