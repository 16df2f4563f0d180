//! Subscriptions that notice when the publisher lost its state.
//!
//! Events come up through a `Recipient` that the subscriber hands over. A publisher that is rebuilt after a panic has
//! forgotten its subscribers; the [`Subscription`] end of each subscription then resolves, and the subscriber subscribes anew.
//! Owns that hand-shake; never carries an event itself.

use std::future::Future;
use std::time::Duration;

use actix::MailboxError;
use tokio::sync::oneshot;

/// How soon a publisher that could not be reached is tried again.
const PAUSE: Duration = Duration::from_millis(10);

/// The publisher's end: kept beside the subscriber for as long as it is subscribed.
#[derive(Debug)]
pub struct SubscriptionGuard(#[expect(dead_code, reason = "its drop is the signal")] oneshot::Sender<()>);

/// The subscriber's end.
#[derive(Debug)]
pub struct Subscription(oneshot::Receiver<()>);

/// Makes the two ends of a subscription.
#[must_use]
pub fn subscription() -> (SubscriptionGuard, Subscription) {
    let (sender, receiver) = oneshot::channel();
    (SubscriptionGuard(sender), Subscription(receiver))
}

/// Subscribes and waits until the publisher has forgotten the subscriber, or could not be reached for a moment.
pub async fn until_lost(subscribing: impl Future<Output = Result<Subscription, MailboxError>>) {
    match subscribing.await {
        Ok(held) => held.lost().await,
        // The publisher is being rebuilt, or the node stops.
        Err(_closed) => tokio::time::sleep(PAUSE).await,
    }
}

impl Subscription {
    /// Resolves when the publisher dropped its end: it was rebuilt, or it ended the subscription.
    pub async fn lost(self) {
        // Nothing is ever sent: both outcomes say that the other end is gone.
        drop(self.0.await);
    }
}
