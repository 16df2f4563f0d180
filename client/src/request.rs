//! Requests: each is repeated, on whichever node there is a session with, until it is answered or its time is up.
//!
//! Every request is safe to repeat. Reads change nothing; a publish or a removal carries an idempotency key, the same
//! in each repetition, by which the nodes know it again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use callboard_proto::session::envelope::Kind;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::debug;

use crate::backoff::{BackOff, Pauses};
use crate::error::{Error, Verdict, judge};
use crate::node::Connection;
use crate::shared::Shared;

/// Pauses before an overloaded node is asked again, when it does not name one.
const REPEAT: BackOff = BackOff { first: Duration::from_millis(50), most: Duration::from_secs(2) };

/// A request on its way to a session.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) message: Kind,
    /// `None` is an answer of a kind that is not known. Dropped when the session ends without an answer.
    pub(crate) answer: oneshot::Sender<Option<Kind>>,
    /// Set when it is handed to a connection: from then on it may have been carried out.
    pub(crate) was_sent: Arc<AtomicBool>,
}

/// Why a try brought no answer.
enum NoAnswer {
    /// The session ended first.
    Lost,
    /// There was no time left.
    TimedOut,
    /// There is no background task any more.
    Closed,
}

/// Asks until there is an answer, an error that repeating does not help against, or no time left.
///
/// # Errors
/// Of a request that has an idempotency key and may have been carried out: [`Error::OutcomeUnknown`].
pub(crate) async fn ask(shared: &Shared, message: Kind, idempotency_key: Option<&str>) -> Result<Kind, Error> {
    let deadline = Instant::now() + shared.options.request_timeout;
    let give_up = |outcome_is_open: bool, last: Option<Error>| match idempotency_key {
        Some(key) if outcome_is_open => Error::OutcomeUnknown { request_id: key.to_owned() },
        _ => last.unwrap_or_else(|| Error::Unreachable { reason: why_not(shared) }),
    };
    let Ok(permit) = timeout_at(deadline, shared.permits.acquire()).await else { return Err(give_up(false, None)) };
    let _held_to_the_end = permit.map_err(|_semaphore_closed| Error::Closed)?;
    let mut pauses = Pauses::new(REPEAT);
    let (mut outcome_is_open, mut last) = (false, None);
    loop {
        let was_sent = Arc::new(AtomicBool::new(false));
        let tried = attempt(shared, message.clone(), &was_sent, deadline).await;
        let was_sent = was_sent.load(Ordering::Acquire);
        match tried {
            Ok(Some(Kind::Error(error))) => match judge(error) {
                Verdict::Final(error) => return Err(error),
                Verdict::Again { after, nothing_was_done, error } => {
                    outcome_is_open |= !nothing_was_done;
                    debug!(%error, "asking again");
                    last = Some(error);
                    let pause = pauses.next(rand::random());
                    sleep_until(deadline.min(Instant::now() + after.unwrap_or(pause))).await;
                }
            },
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => return Err(Error::Unexpected),
            Err(NoAnswer::Lost) => outcome_is_open |= was_sent,
            Err(NoAnswer::TimedOut) => return Err(give_up(outcome_is_open || was_sent, last)),
            Err(NoAnswer::Closed) => return Err(shared.end()),
        }
    }
}

async fn attempt(
    shared: &Shared,
    message: Kind,
    was_sent: &Arc<AtomicBool>,
    deadline: Instant,
) -> Result<Option<Kind>, NoAnswer> {
    let (answer, answered) = oneshot::channel();
    if shared.requests.send(Request { message, answer, was_sent: Arc::clone(was_sent) }).is_err() {
        return Err(NoAnswer::Closed);
    }
    match timeout_at(deadline, answered).await {
        Ok(Ok(answer)) => Ok(answer),
        // Its sender is gone: so is the session.
        Ok(Err(_gone)) => Err(NoAnswer::Lost),
        Err(_elapsed) => Err(NoAnswer::TimedOut),
    }
}

/// Why there is no answer, for people.
pub(crate) fn why_not(shared: &Shared) -> String {
    match &*shared.connection.borrow() {
        Connection::Connecting => "no session has begun yet".to_owned(),
        Connection::Connected(node) => format!("{} gave no answer", node.address),
        Connection::Disconnected { reason, .. } => reason.clone(),
        Connection::Denied { message, .. } => message.clone(),
    }
}
