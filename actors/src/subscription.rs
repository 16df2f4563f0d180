//! Subscriptions that notice when the publisher lost its state.
//!
//! Events come up through a `Recipient` that the subscriber hands over. A publisher that is rebuilt after a panic has
//! forgotten its subscribers; the [`Subscription`] end of each subscription then resolves, and the subscriber
//! subscribes anew: [`keep_subscribed`] does both. Owns that hand-shake; never carries an event itself.

use std::future::Future;
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{Actor, ActorFutureExt as _, Addr, AsyncContext as _, MailboxError};
use tokio::sync::oneshot;

use crate::runtime::Context;

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

/// Keeps an actor subscribed: `subscribing` subscribes the address that it is given, now and again whenever the
/// publisher has forgotten it.
pub fn keep_subscribed<A: Actor<Context = Context<A>>>(
    context: &mut Context<A>,
    subscribing: impl AsyncFn(Addr<A>) -> Result<Subscription, MailboxError> + 'static,
) {
    keep_subscribed_or(context, subscribing, |_| {});
}

/// Like [`keep_subscribed`], and has `lost` make up for what may have been missed each time before it subscribes again.
pub fn keep_subscribed_or<A: Actor<Context = Context<A>>>(
    context: &mut Context<A>,
    subscribing: impl AsyncFn(Addr<A>) -> Result<Subscription, MailboxError> + 'static,
    lost: impl Fn(&mut A) + 'static,
) {
    let me = context.address();
    let forgotten = async move {
        until_lost(subscribing(me)).await;
        subscribing
    };
    context.spawn(wrap_future(forgotten).map(move |subscribing, actor: &mut A, context| {
        lost(actor);
        keep_subscribed_or(context, subscribing, lost);
    }));
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
