//! Asking an actor with a deadline.
//!
//! It owns the rule that every wait ends; it never retries.

use std::{future::Future, time::Duration};

use actix::{
    Actor, Addr, Handler, MailboxError, Message, Recipient,
    dev::{RecipientRequest, Request, ToEnvelope},
};

/// Why an [`ask`] has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The actor has stopped, or it panicked over this message and was rebuilt. In the second
    /// case part of the work may have been done.
    #[error("the actor is gone or failed on the message")]
    Closed,
    /// No answer came in time. The message may have been handled, may be in work, or is
    /// skipped when its turn comes.
    #[error("the actor did not answer in time")]
    TimedOut,
}

impl From<MailboxError> for AskError {
    fn from(error: MailboxError) -> Self {
        match error {
            MailboxError::Closed => Self::Closed,
            MailboxError::Timeout => Self::TimedOut,
        }
    }
}

/// Something that can be asked `M`: an [`Addr`] or a [`Recipient`].
pub trait Target<M: Message> {
    /// The pending answer.
    type Answer: Future<Output = Result<M::Result, MailboxError>>;

    /// Queues the message and returns its pending answer.
    fn request(&self, message: M) -> Self::Answer;
}

impl<A, M> Target<M> for Addr<A>
where
    A: Actor + Handler<M>,
    A::Context: ToEnvelope<A, M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    type Answer = Request<A, M>;

    fn request(&self, message: M) -> Self::Answer {
        self.send(message)
    }
}

impl<M> Target<M> for Recipient<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    type Answer = RecipientRequest<M>;

    fn request(&self, message: M) -> Self::Answer {
        self.send(message)
    }
}

/// Sends `message` and waits for the answer, at most for `deadline`.
///
/// A timed-out ask may or may not have been handled: a message whose asker is gone when its
/// turn comes is skipped and counted as cancelled. Never use it for something that must
/// happen; such a message carries its own reply channel and is queued with `do_send`.
///
/// # Errors
/// [`AskError::Closed`] if the actor is gone or panicked over the message,
/// [`AskError::TimedOut`] after `deadline`.
pub async fn ask<M, T>(target: &T, message: M, deadline: Duration) -> Result<M::Result, AskError>
where
    M: Message,
    T: Target<M>,
{
    match tokio::time::timeout(deadline, target.request(message)).await {
        Ok(answer) => Ok(answer?),
        Err(_elapsed) => Err(AskError::TimedOut),
    }
}
