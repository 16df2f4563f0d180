//! Finds out what became of a batch whose commit had no known outcome: carries out what the question's machine
//! (`callboard_protocol::in_doubt`) says. Owns the waiting; decides nothing.

use actix::fut::wrap_future;
use actix::{ActorFutureExt as _, Addr, AsyncContext as _, Handler};
use callboard_protocol::in_doubt::{self, InDoubt};
use callboard_protocol::member::{Ack, AckNo};
use callboard_protocol::publish::Outcome;
use callboard_protocol::receiver::Event;
use callboard_protocol::write_request::RequestId;

use super::{ClusterNotify, DEADLINE, FindOutcome};
use crate::runtime::{Context, ask};
use crate::store_writer::{FindRequestsLocked, RaiseFloor, StoreWriter};

impl Handler<FindOutcome> for ClusterNotify {
    type Result = ();

    fn handle(&mut self, FindOutcome { request_ids, ack, reply }: FindOutcome, context: &mut Context<Self>) {
        let asking = wrap_future(find_outcome(self.deps.writer.clone(), request_ids, ack));
        context.spawn(asking.map(move |found, notify: &mut Self, context| {
            let Some((raised, outcome)) = found else { return };
            if let Some(above) = raised {
                notify.step(Event::Raised { above }, context);
            }
            if reply.send(outcome).is_err() {
                tracing::debug!("the publisher is gone; it has told its callers that the outcome is unknown");
            }
        }));
    }
}

/// Asks until it is known, or until the machine gives up. Says also up to which number own acks may be void. `None`
/// when the machine expects another answer than it asked for, which it does not.
async fn find_outcome(
    writer: Addr<StoreWriter>,
    request_ids: Vec<RequestId>,
    ack: Option<Ack>,
) -> Option<(Option<AckNo>, Outcome)> {
    let mut question = InDoubt::new(ack);
    let mut effect = question.begin();
    loop {
        let event = match effect {
            in_doubt::Effect::Pause(pause) => {
                actix_rt::time::sleep(pause).await;
                in_doubt::Event::Paused
            }
            in_doubt::Effect::RaiseFloor(Ack { node, incarnation, number: above, .. }) => {
                let raise = RaiseFloor { node, incarnation, above, request_ids: request_ids.clone() };
                in_doubt::Event::Floored(match ask(&writer, raise, DEADLINE).await {
                    Ok(Ok(landed)) => Ok(landed.map(|landed| landed.units)),
                    Ok(Err(error)) => Err(error.to_string()),
                    Err(error) => Err(error.to_string()),
                })
            }
            in_doubt::Effect::FindRequests => {
                let look = FindRequestsLocked { request_ids: request_ids.clone() };
                in_doubt::Event::Looked(match ask(&writer, look, DEADLINE).await {
                    Ok(Ok(landed)) => Ok(landed.units),
                    Ok(Err(error)) => Err(error.to_string()),
                    Err(error) => Err(error.to_string()),
                })
            }
            in_doubt::Effect::End { raised, outcome } => return Some((raised, outcome)),
        };
        effect = question.step(event)?;
    }
}
