//! Handing a publish over, and waiting for how it comes out. A client that goes away takes nothing back: what was
//! handed over runs to its end. Owns that; in which form an outcome is told is the interface's.

use std::sync::Arc;

use callboard_actors::conf_manager::Publish;
use callboard_protocol::publish::PublishOutcome;
use callboard_protocol::write_request::{KeyOutcome, KeyWrite, Origin, RequestId, WriteOutcome, WriteRequest};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::error::ApiError;
use super::state::State;

/// What a publish of one key did, and whether an earlier request with the same id did it.
#[derive(Debug)]
pub(crate) struct Published {
    /// What became of the key.
    pub(crate) item: KeyOutcome,
    /// The request was carried out before; this is the answer of that time.
    pub(crate) replayed: bool,
}

/// Has one key changed, under the id that the client chose or a new one, and waits for how it comes out.
///
/// # Errors
/// Why nothing was written; or that it is not known whether it was.
pub(crate) async fn publish(
    state: &State,
    item: KeyWrite,
    chosen: Option<RequestId>,
    origin: Origin,
) -> Result<Published, ApiError> {
    let key = item.key.clone();
    let (request_id, outcome) = hand_over(state, item, chosen, origin).await?;
    match outcome {
        Some(PublishOutcome::Settled(WriteOutcome::Done { items, replayed })) => {
            let item = items.into_iter().next().ok_or_else(ApiError::internal)?;
            Ok(Published { item, replayed })
        }
        Some(PublishOutcome::Settled(WriteOutcome::Refused(refusal))) => Err(refusal.into()),
        Some(PublishOutcome::Busy) => Err(ApiError::busy()),
        Some(PublishOutcome::Failed { reason }) => {
            tracing::debug!(config.key = %key, reason, "a publish failed");
            Err(ApiError::publish_failed(&reason))
        }
        Some(PublishOutcome::Rejected { reason }) => Err(ApiError::rejected(&reason)),
        Some(PublishOutcome::Unknown { reason }) => {
            tracing::debug!(config.key = %key, request.id = %request_id, reason, "the outcome of a publish is not known");
            Err(ApiError::outcome_unknown(&request_id))
        }
        None => {
            tracing::debug!(config.key = %key, request.id = %request_id, "no outcome of a publish in time");
            Err(ApiError::outcome_unknown(&request_id))
        }
    }
}

/// Has one key changed, under the id that the client chose or a new one. `None` when no outcome came in time: whether
/// it was written is then not known. Refused at once by a node that has left the cluster.
async fn hand_over(
    state: &State,
    item: KeyWrite,
    chosen: Option<RequestId>,
    origin: Origin,
) -> Result<(RequestId, Option<PublishOutcome>), ApiError> {
    state.shared.draining.refuse_publish()?;
    let unit = WriteRequest::of_one(item, chosen, origin, Uuid::now_v7());
    let request_id = unit.request_id.clone();
    let (reply, outcome) = oneshot::channel();
    // Not asked but sent: a message whose asker is gone would be skipped. The reply channel brings the outcome.
    state.worker.node.conf_manager.do_send(Publish { unit: Arc::new(unit), reply });
    let outcome = tokio::time::timeout(state.shared.options.publish_wait, outcome).await;
    Ok((request_id, outcome.ok().and_then(Result::ok)))
}
