//! The event bus: carries typed events from those who know to those who subscribed.
//!
//! Owns a bounded queue per subscriber, so that a slow one never holds a publisher up. One that falls behind its bound
//! loses the queue and is told to look for itself: it repairs what it missed from the change feed, or from the cluster
//! listener.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::SendError;
use actix::{Actor, Addr, AsyncContext, Handler, Message, MessageResult, Recipient};
use callboard_protocol::config::SharedState;
use callboard_protocol::membership_view::MemberEvent;
use callboard_protocol::push_ledger::PushEvent;
use serde_json::json;

use crate::metrics::PushMetrics;
use crate::monitored;
use crate::runtime::{Context, Monitored, Observable};
use crate::subscription::{Subscription, SubscriptionGuard, keep_subscribed, subscription};

/// Events that wait for one subscriber before it counts as fallen behind.
const MAX_WAITING: usize = 1_024;
/// How soon a full mailbox is tried again.
const RETRY: Duration = Duration::from_millis(2);

/// What is known of configurations.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub enum ConfigEvent {
    /// These states came into being, in revision order; every change is told once, none is left out.
    Changed(Arc<[SharedState]>),
    /// Changes may have been left out, or the database has lost some that were told: look in the feed, and take what it
    /// says even where it is older than what was told.
    Recheck,
}

/// What is known of nodes.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub enum MemberNews {
    /// This happened to a node.
    Happened(MemberEvent),
    /// Some of it may have been left out: ask for the cluster.
    Recheck,
}

/// What is known of pushes.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub enum PushNews {
    /// These happened, in the order in which they are told.
    Happened(Arc<[PushEvent]>),
    /// Some may have been left out.
    Missed,
}

/// Subscribes to configuration events. The answer tells when the bus forgot the subscriber.
#[derive(Debug, Message)]
#[rtype(result = "Subscription")]
pub struct Subscribe(pub Recipient<ConfigEvent>);

/// Subscribes to what happens to nodes. The answer tells when the bus forgot the subscriber.
#[derive(Debug, Message)]
#[rtype(result = "Subscription")]
pub struct SubscribeMembers(pub Recipient<MemberNews>);

/// Subscribes to what happens to pushes. The answer tells when the bus forgot the subscriber.
#[derive(Debug, Message)]
#[rtype(result = "Subscription")]
pub struct SubscribePushes(pub Recipient<PushNews>);

/// Publishes an event to every subscriber.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Publish(pub ConfigEvent);

/// Publishes what happened to a node.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct PublishMember(pub MemberEvent);

/// Publishes what happened to pushes.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct PublishPushes(pub PushNews);

/// Tries the subscribers again whose mailboxes were full.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct RetryTick;

/// An event of the bus.
trait Event: Message<Result = ()> + Clone + Send + 'static {
    /// Tells a subscriber that it has missed some.
    fn recheck() -> Self;
}

impl Event for ConfigEvent {
    fn recheck() -> Self {
        Self::Recheck
    }
}

impl Event for MemberNews {
    fn recheck() -> Self {
        Self::Recheck
    }
}

impl Event for PushNews {
    fn recheck() -> Self {
        Self::Missed
    }
}

/// Keeps an actor subscribed to configuration events. It is told to look again each time it has subscribed: what
/// happens from then on is told by the bus.
pub(crate) fn keep_told<A>(context: &mut Context<A>, bus: Addr<EventBus>)
where
    A: Monitored + Handler<ConfigEvent>,
{
    keep_subscribed(context, async move |me| {
        let held = bus.send(Subscribe(me.clone().recipient())).await?;
        me.do_send(ConfigEvent::Recheck);
        Ok(held)
    });
}

#[derive(Debug)]
struct Subscriber<E: Event> {
    recipient: Recipient<E>,
    waiting: VecDeque<E>,
    /// Its drop tells the subscriber to subscribe anew.
    _holder: SubscriptionGuard,
}

/// Those who are told one kind of event.
#[derive(Debug)]
struct Audience<E: Event> {
    subscribers: Vec<Subscriber<E>>,
}

/// The event bus.
#[derive(Debug)]
pub struct EventBus {
    configs: Audience<ConfigEvent>,
    members: Audience<MemberNews>,
    pushes: Audience<PushNews>,
    retrying: bool,
    metrics: PushMetrics,
}

impl EventBus {
    /// A bus without subscribers.
    #[must_use]
    pub fn new(metrics: PushMetrics) -> Self {
        let (configs, members, pushes) = (Audience::new(), Audience::new(), Audience::new());
        Self { configs, members, pushes, retrying: false, metrics }
    }

    /// Hands over what waits, drops who is gone, and comes back when a mailbox is full.
    fn drain(&mut self, context: &mut Context<Self>) {
        let behind = self.configs.drain() | self.members.drain() | self.pushes.drain();
        if behind && !self.retrying {
            self.retrying = true;
            context.notify_later(RetryTick, RETRY);
        }
    }
}

impl<E: Event> Audience<E> {
    fn new() -> Self {
        Self { subscribers: Vec::new() }
    }

    fn add(&mut self, recipient: Recipient<E>) -> Subscription {
        let (holder, held) = subscription();
        self.subscribers.push(Subscriber { recipient, waiting: VecDeque::new(), _holder: holder });
        held
    }

    fn tell(&mut self, event: &E, metrics: &PushMetrics) {
        for subscriber in &mut self.subscribers {
            if subscriber.waiting.len() < MAX_WAITING {
                subscriber.waiting.push_back(event.clone());
            } else {
                subscriber.waiting.clear();
                subscriber.waiting.push_back(E::recheck());
                metrics.lagged.inc();
            }
        }
    }

    /// True when somebody's mailbox is full.
    fn drain(&mut self) -> bool {
        self.subscribers.retain_mut(Subscriber::drain);
        self.subscribers.iter().any(|subscriber| !subscriber.waiting.is_empty())
    }

    fn waiting(&self) -> Vec<usize> {
        self.subscribers.iter().map(|subscriber| subscriber.waiting.len()).collect()
    }
}

impl<E: Event> Subscriber<E> {
    /// False when the subscriber is gone.
    fn drain(&mut self) -> bool {
        while let Some(event) = self.waiting.pop_front() {
            match self.recipient.try_send(event) {
                Ok(()) => {}
                Err(SendError::Full(event)) => {
                    self.waiting.push_front(event);
                    return true;
                }
                Err(SendError::Closed(_)) => return false,
            }
        }
        true
    }
}

impl Actor for EventBus {
    type Context = Context<Self>;
}

monitored!(EventBus, "event_bus");

impl Observable for EventBus {
    fn observe(&self) -> serde_json::Value {
        let waiting = self.configs.waiting();
        json!({
            "subscribers": waiting.len(),
            "waiting": waiting,
            "members": { "waiting": self.members.waiting() },
            "pushes": { "waiting": self.pushes.waiting() },
        })
    }
}

impl Handler<Subscribe> for EventBus {
    type Result = MessageResult<Subscribe>;

    fn handle(&mut self, Subscribe(recipient): Subscribe, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.configs.add(recipient))
    }
}

impl Handler<SubscribeMembers> for EventBus {
    type Result = MessageResult<SubscribeMembers>;

    fn handle(&mut self, SubscribeMembers(recipient): SubscribeMembers, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.members.add(recipient))
    }
}

impl Handler<SubscribePushes> for EventBus {
    type Result = MessageResult<SubscribePushes>;

    fn handle(&mut self, SubscribePushes(recipient): SubscribePushes, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.pushes.add(recipient))
    }
}

impl Handler<PublishPushes> for EventBus {
    type Result = ();

    fn handle(&mut self, PublishPushes(news): PublishPushes, context: &mut Context<Self>) {
        self.pushes.tell(&news, &self.metrics);
        self.drain(context);
    }
}

impl Handler<Publish> for EventBus {
    type Result = ();

    fn handle(&mut self, Publish(event): Publish, context: &mut Context<Self>) {
        self.configs.tell(&event, &self.metrics);
        self.drain(context);
    }
}

impl Handler<PublishMember> for EventBus {
    type Result = ();

    fn handle(&mut self, PublishMember(event): PublishMember, context: &mut Context<Self>) {
        self.members.tell(&MemberNews::Happened(event), &self.metrics);
        self.drain(context);
    }
}

impl Handler<RetryTick> for EventBus {
    type Result = ();

    fn handle(&mut self, RetryTick: RetryTick, context: &mut Context<Self>) {
        self.retrying = false;
        self.drain(context);
    }
}

#[cfg(test)]
mod tests;
