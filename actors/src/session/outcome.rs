//! How a change that a session handed over came out, for whatever kind of session it is.

use callboard_protocol::publish::PublishOutcome;
use callboard_protocol::write_request::{KeyOutcome, RequestId, WriteOutcome};

use super::native::message::Fault;

/// What a change of one configuration did, and whether that is the answer to an earlier request. `outcome` is `None`
/// when nothing was said in time.
pub(super) fn settled(outcome: Option<PublishOutcome>, request_id: RequestId) -> Result<(KeyOutcome, bool), Fault> {
    match outcome {
        Some(PublishOutcome::Settled(WriteOutcome::Done { items, replayed })) => match items.first() {
            Some(item) => Ok((*item, replayed)),
            None => Err(Fault::Unknown(request_id)),
        },
        Some(PublishOutcome::Settled(WriteOutcome::Refused(refusal))) => Err(Fault::Refused(refusal)),
        Some(PublishOutcome::Busy) => Err(Fault::Busy),
        Some(PublishOutcome::Failed { reason }) => {
            tracing::debug!(reason, "a publish failed");
            Err(Fault::Failed(reason))
        }
        Some(PublishOutcome::Rejected { reason }) => Err(Fault::Rejected(reason)),
        Some(PublishOutcome::Unknown { .. }) | None => Err(Fault::Unknown(request_id)),
    }
}
