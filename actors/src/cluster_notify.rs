//! Carries NotifyEvent, ack 1, NotifyCommitEvent and ack 2 between nodes, the local one included.
//!
//! Owns the receiver machine (`callboard_protocol::receiver`) with its pending deque, and the way to the peers. The
//! node is a peer of itself: what it notifies and commits reaches it on the same path as what comes from others.
//! Decides nothing: when a mark may go, and what a time-out means, is decided in the protocol crate.

mod transport;

use std::sync::Arc;
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Handler, Message, MessageResult, Recipient, SpawnHandle};
use callboard_protocol::commit::{BatchId, ChangeRow};
use callboard_protocol::config::Version;
use callboard_protocol::feed::Span;
use callboard_protocol::key::ConfigKey;
use callboard_protocol::member::{Ack, AckNo, Incarnation, NodeId, NodeRow, Timeline};
use callboard_protocol::publish::Resolution;
use callboard_protocol::receiver::{
    Ack2, CommittedChange, Effect, Event, FloorResult, Found, LookResult, MarkNo, NotifyAbortEvent, NotifyCommitEvent,
    NotifyEvent, Options, Receiver,
};
use callboard_protocol::time::Mono;
use callboard_protocol::unit::RequestId;
use serde_json::json;
use tokio::sync::oneshot;
use uuid::Uuid;

pub use transport::{Forgotten, NoPeers, PeerMessage, Transport};

use crate::cache::keeper::{Apply, Follow, Keeper, Mark, Unmark};
use crate::change_feed::{self, ChangeFeed, Heard};
use crate::clock::SharedClock;
use crate::conf_manager::{Acked, Resolved};
use crate::lease_keeper::{self, LeaseKeeper, MembershipChanged, Rejoin};
use crate::metrics::{LeaseMetrics, NodeLabel, ResultLabel};
use crate::monitored;
use crate::peer_links::{PeerLinks, ReachChanged, SubscribeReach};
use crate::runtime::{Context, Observable, ask};
use crate::store::Landed;
use crate::store_reader::{Look, StoreReader};
use crate::store_writer::{LookLocked, RaiseFloor, StoreWriter};
use crate::subscription::{Held, Holder, subscription, until_forgotten};

/// How long the database may take to answer a look.
const DEADLINE: Duration = Duration::from_secs(10);
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

/// A publisher's word to every member: these keys are about to change.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Notify {
    /// The batch.
    pub batch: BatchId,
    /// Its keys, each with the request that changes it.
    pub items: Vec<(ConfigKey, RequestId)>,
    /// To whom, the local node among them.
    pub to: Vec<NodeRow>,
}

/// A publisher's word to every member: the batch is committed.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Confirm {
    /// The batch.
    pub batch: BatchId,
    /// The line of history.
    pub timeline: Timeline,
    /// What it changed, in revision order.
    pub changes: Vec<ChangeRow>,
    /// The revision after it.
    pub revision: Version,
}

/// A publisher's word to every member: the batch can never commit.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Withdraw {
    /// The batch.
    pub batch: BatchId,
}

/// Asks what became of a batch whose commit had no known outcome.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Resolve {
    /// The batch.
    pub batch: BatchId,
    /// Its request ids.
    pub request_ids: Vec<RequestId>,
    /// The own ack the commit stood on; `None` without a row.
    pub ack: Option<Ack>,
    /// Who is told.
    pub reply: Recipient<Resolved>,
}

/// Subscribes to the acks of local batches. The answer tells when the subscriber was forgotten.
#[derive(Debug, Message)]
#[rtype(result = "Held")]
pub struct Subscribe(pub Recipient<Acked>);

/// A peer said something.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct FromPeer(pub PeerMessage);

/// The actors below.
#[derive(Debug, Clone)]
pub struct Down {
    /// Holds marks and entries.
    pub cache: Addr<Keeper>,
    /// Brings changes into order.
    pub feed: Addr<ChangeFeed>,
    /// Looks.
    pub reader: Addr<StoreReader>,
    /// Raises the floor.
    pub writer: Addr<StoreWriter>,
    /// The membership.
    pub lease_keeper: Addr<LeaseKeeper>,
    /// The way to the peers; `None` for a node that has none.
    pub links: Option<Addr<PeerLinks>>,
}

/// Carries events between nodes.
pub struct ClusterNotify {
    node: NodeId,
    incarnation: Option<Incarnation>,
    timeline: Timeline,
    receiver: Receiver,
    down: Down,
    transport: Box<dyn Transport>,
    clock: SharedClock,
    metrics: LeaseMetrics,
    /// A state before this one was lost to a panic, and with it the pending deque.
    is_rebuilt: bool,
    /// Who is told of the acks of local batches.
    publisher: Option<(Recipient<Acked>, Holder)>,
    wakeup: Option<(Mono, SpawnHandle)>,
}

/// Who a [`ClusterNotify`] is and what it works with.
pub struct Setup {
    /// The node.
    pub node: NodeId,
    /// The receiver's time-outs.
    pub options: Options,
    /// The actors below.
    pub down: Down,
    /// The way to the peers.
    pub transport: Box<dyn Transport>,
    /// The node's clock.
    pub clock: SharedClock,
    /// Counts acks and floors.
    pub metrics: LeaseMetrics,
    /// True when this takes the place of one that panicked.
    pub is_rebuilt: bool,
}

impl ClusterNotify {
    /// A node's end of the way between nodes.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let Setup { node, options, down, transport, clock, metrics, is_rebuilt } = setup;
        Self {
            node,
            incarnation: None,
            timeline: Timeline::default(),
            receiver: Receiver::new(options),
            down,
            transport,
            clock,
            metrics,
            is_rebuilt,
            publisher: None,
            wakeup: None,
        }
    }

    /// Takes a message, of a peer or of the local node, on the one path there is.
    fn receive(&mut self, message: PeerMessage, context: &mut Context<Self>) {
        match message {
            PeerMessage::Notify(event) => {
                let chance = Uuid::new_v4().as_u64_pair().1;
                self.step(Event::Notify { event, chance }, context);
            }
            PeerMessage::Ack { batch, ack } => {
                self.metrics.acks.get_or_create(&NodeLabel { node: ack.node.to_string() }).inc();
                if let Some((publisher, _)) = &self.publisher {
                    // Loss is repaired: the publisher notifies again until every ack is in.
                    publisher.do_send(Acked { batch, ack });
                }
            }
            PeerMessage::Nack { batch, reason } => {
                self.metrics.nacks.inc();
                tracing::debug!(batch.id = %batch.0, reason, "a batch was not marked");
            }
            PeerMessage::Commit(event) => self.committed(event, context),
            PeerMessage::Abort(batch) => self.step(Event::Abort(NotifyAbortEvent { batch }), context),
            PeerMessage::Ack2(Ack2 { batch, node }) => {
                tracing::trace!(batch.id = %batch.0, node.id = %node, "a commit event has arrived");
            }
        }
    }

    fn committed(&mut self, event: NotifyCommitEvent, context: &mut Context<Self>) {
        if event.timeline == self.timeline {
            // Loss is repaired: the next commit says more.
            self.down.lease_keeper.do_send(lease_keeper::Heard(event.revision));
        }
        match span_of(&event) {
            // Loss is repaired: the feed sees the gap, or finds the end of the feed ahead of it.
            Some(span) => self.down.feed.do_send(Heard(span)),
            None => self.down.feed.do_send(change_feed::Look),
        }
        self.step(Event::Commit(event), context);
    }

    /// Gives the machine an event and does what it says.
    fn step(&mut self, event: Event, context: &mut Context<Self>) {
        let now = self.clock.mono();
        let heard = matches!(event, Event::Commit(_));
        let mut effects = Vec::new();
        self.receiver.step(now, event, &mut effects);
        for effect in effects {
            self.perform(effect, heard, context);
        }
        self.arm(now, context);
    }

    /// `heard`: the change feed knows of the changes that are applied.
    fn perform(&mut self, effect: Effect, heard: bool, context: &mut Context<Self>) {
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
            Effect::Apply { batch, changes } => {
                let changes = changes.iter().map(CommittedChange::for_cache).collect();
                self.down.cache.do_send(Apply { batch, changes });
                if !heard {
                    self.down.feed.do_send(change_feed::Look);
                }
            }
            Effect::Unmark { batch, keys } => self.down.cache.do_send(Unmark { batch, keys: keys.into() }),
            Effect::Look { batch, request_ids, .. } => self.look(batch, request_ids, context),
            Effect::RaiseFloor { above, request_ids, .. } => self.raise_floor(above, request_ids, context),
            Effect::LeaveAndRejoin => self.down.lease_keeper.do_send(Rejoin),
        }
    }

    fn send(&mut self, to: &NodeId, message: PeerMessage, context: &mut Context<Self>) {
        if *to == self.node {
            self.receive(message, context);
        } else {
            self.transport.send(to, message);
        }
    }

    /// Sends to every member, the local node included.
    fn tell_all(&mut self, message: PeerMessage, context: &mut Context<Self>) {
        self.transport.broadcast(message.clone());
        self.receive(message, context);
    }

    fn mark(&mut self, (batch, mark): (BatchId, MarkNo), keys: Arc<[ConfigKey]>, context: &mut Context<Self>) {
        let (marked, done) = oneshot::channel();
        // Queued in the order of the effects; a mark that overtook its end would stay for ever.
        self.down.cache.do_send(Mark { batch, keys, marked });
        context.spawn(wrap_future(done).map(move |done, notify: &mut Self, context| {
            // A cache that failed on the marks is rebuilt, which begins a new life of the membership.
            if done.is_ok() {
                notify.step(Event::Marked { batch, mark }, context);
            }
        }));
    }

    fn look(&mut self, batch: BatchId, request_ids: Vec<RequestId>, context: &mut Context<Self>) {
        let reader = self.down.reader.clone();
        let looking = async move { ask(&reader, Look { request_ids }, DEADLINE).await };
        context.spawn(wrap_future(looking).map(move |landed, notify: &mut Self, context| {
            let result = match landed {
                Ok(Ok(landed)) => LookResult::Found(found(landed)),
                Ok(Err(failure)) => LookResult::Failed { reason: failure.to_string() },
                Err(error) => LookResult::Failed { reason: error.to_string() },
            };
            notify.step(Event::Looked { batch, result }, context);
        }));
    }

    fn raise_floor(&mut self, above: AckNo, request_ids: Vec<RequestId>, context: &mut Context<Self>) {
        let Some(incarnation) = self.incarnation else {
            self.step(Event::Floored { above, result: FloorResult::Refused }, context);
            return;
        };
        let (writer, node) = (self.down.writer.clone(), self.node.clone());
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

    /// Sees to it that the machine is stepped when it next has something to do by itself.
    fn arm(&mut self, now: Mono, context: &mut Context<Self>) {
        let next = self.receiver.next_wakeup();
        if self.wakeup.as_ref().map(|(at, _)| *at) == next {
            return;
        }
        if let Some((_, timer)) = self.wakeup.take() {
            context.cancel_future(timer);
        }
        self.wakeup = next.map(|at| {
            let timer = context.run_later(at.since(now), |notify, context| {
                notify.wakeup = None;
                notify.step(Event::Tick, context);
            });
            (at, timer)
        });
    }

    /// Subscribes to the membership, and again whenever the lease keeper forgets.
    fn subscribe_to_membership(&mut self, context: &mut Context<Self>) {
        let (keeper, changes) = (self.down.lease_keeper.clone(), context.address().recipient());
        let forgotten = until_forgotten(async move { keeper.send(lease_keeper::Subscribe(changes)).await });
        context.spawn(
            wrap_future(forgotten).map(|(), notify: &mut Self, context| notify.subscribe_to_membership(context)),
        );
    }

    /// Subscribes to who can be reached, and again whenever the links forget.
    fn subscribe_to_reach(&mut self, context: &mut Context<Self>) {
        let Some(links) = self.down.links.clone() else { return };
        let me = context.address().recipient();
        let forgotten = until_forgotten(async move { links.send(SubscribeReach(me)).await });
        context.spawn(wrap_future(forgotten).map(|(), notify: &mut Self, context| notify.subscribe_to_reach(context)));
    }

    /// Hears what peers say, and subscribes again whenever the transport forgets.
    fn listen_to_peers(&mut self, context: &mut Context<Self>) {
        let forgotten = self.transport.listen(context.address().recipient());
        context.spawn(wrap_future(forgotten).map(|(), notify: &mut Self, context| notify.listen_to_peers(context)));
    }

    /// A cache that was rebuilt may have lost marks or their ends: only a new life of the membership is sure.
    fn follow_cache(&mut self, context: &mut Context<Self>) {
        let cache = self.down.cache.clone();
        let forgotten = until_forgotten(async move { cache.send(Follow).await });
        context.spawn(wrap_future(forgotten).map(|(), notify: &mut Self, context| {
            notify.down.lease_keeper.do_send(Rejoin);
            notify.follow_cache(context);
        }));
    }
}

/// The stretch of revisions that a commit event tells of; `None` when it does not bring every state along.
fn span_of(event: &NotifyCommitEvent) -> Option<Span> {
    let first = event.changes.iter().map(|change| change.version).min()?;
    let states = event.changes.iter().map(|change| change.state.clone()).collect::<Option<Vec<_>>>()?;
    Some(Span { after: first.previous(), through: event.revision, states })
}

fn found(landed: Landed) -> Found {
    let ids = landed.units.into_iter().map(|(request_id, _)| request_id).collect();
    Found { landed: ids, states: landed.states }
}

/// Finds out what became of a batch: with an own ack takes it back first, so that what is not there never will be.
async fn resolve(writer: Addr<StoreWriter>, request_ids: Vec<RequestId>, ack: Option<Ack>) -> Resolution {
    let mut reason = String::new();
    for pause in RESOLVE_PAUSES {
        actix_rt::time::sleep(pause).await;
        let floored = match &ack {
            None => None,
            Some(Ack { node, incarnation, number }) => {
                let (node, incarnation, request_ids) = (node.clone(), *incarnation, request_ids.clone());
                let raise = RaiseFloor { node, incarnation, above: *number, request_ids };
                match ask(&writer, raise, DEADLINE).await {
                    Ok(Ok(Some(landed))) => return Resolution::Landed(landed.units),
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
        match ask(&writer, LookLocked { request_ids: request_ids.clone() }, DEADLINE).await {
            Ok(Ok(landed)) if floored.is_some() => return Resolution::Landed(landed.units),
            Ok(Ok(landed)) => return Resolution::LandedUncertain(landed.units),
            Ok(Err(error)) => reason = error.to_string(),
            Err(error) => reason = error.to_string(),
        }
    }
    Resolution::Unresolved { reason }
}

impl Actor for ClusterNotify {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        if self.is_rebuilt {
            // The pending deque is lost: acks that were given must not count any more.
            self.down.lease_keeper.do_send(Rejoin);
        }
        self.subscribe_to_membership(context);
        self.subscribe_to_reach(context);
        self.follow_cache(context);
        self.listen_to_peers(context);
    }
}

monitored!(ClusterNotify, "cluster_notify");

impl Observable for ClusterNotify {
    fn observe(&self) -> serde_json::Value {
        json!({
            "node": self.node.to_string(),
            "incarnation": self.incarnation.map(|life| life.0.to_string()),
            "pending": self.receiver.pending(),
        })
    }
}

impl Handler<Notify> for ClusterNotify {
    type Result = ();

    fn handle(&mut self, Notify { batch, items, to }: Notify, context: &mut Context<Self>) {
        // A publisher without a row has no life; nothing rests on it.
        let publisher_incarnation = self.incarnation.unwrap_or(Incarnation(Uuid::nil()));
        let (timeline, publisher) = (self.timeline, self.node.clone());
        let event = NotifyEvent { timeline, batch, publisher, publisher_incarnation, items };
        let (own, peers): (Vec<_>, Vec<_>) = to.into_iter().map(|row| row.node).partition(|node| *node == self.node);
        self.transport.send_each(&peers, PeerMessage::Notify(event.clone()));
        if !own.is_empty() {
            self.receive(PeerMessage::Notify(event), context);
        }
    }
}

impl Handler<Confirm> for ClusterNotify {
    type Result = ();

    fn handle(&mut self, confirm: Confirm, context: &mut Context<Self>) {
        let Confirm { batch, timeline, changes, revision } = confirm;
        let changes = changes.iter().map(CommittedChange::of).collect();
        self.tell_all(PeerMessage::Commit(NotifyCommitEvent { timeline, batch, revision, changes }), context);
    }
}

impl Handler<Withdraw> for ClusterNotify {
    type Result = ();

    fn handle(&mut self, Withdraw { batch }: Withdraw, context: &mut Context<Self>) {
        self.tell_all(PeerMessage::Abort(batch), context);
    }
}

impl Handler<Resolve> for ClusterNotify {
    type Result = ();

    fn handle(&mut self, Resolve { batch, request_ids, ack, reply }: Resolve, context: &mut Context<Self>) {
        let (writer, above) = (self.down.writer.clone(), ack.as_ref().map(|ack| ack.number));
        context.spawn(wrap_future(resolve(writer, request_ids, ack)).map(
            move |resolution, notify: &mut Self, context| {
                // Also when nobody knows whether the floor was raised: an ack that may be void is given no more.
                if let Some(above) = above {
                    notify.step(Event::Raised { above }, context);
                }
                // A publisher that is gone has told its callers that the outcome is unknown.
                reply.do_send(Resolved { batch, resolution });
            },
        ));
    }
}

impl Handler<Subscribe> for ClusterNotify {
    type Result = MessageResult<Subscribe>;

    fn handle(&mut self, Subscribe(recipient): Subscribe, _: &mut Context<Self>) -> Self::Result {
        let (holder, held) = subscription();
        self.publisher = Some((recipient, holder));
        MessageResult(held)
    }
}

impl Handler<FromPeer> for ClusterNotify {
    type Result = ();

    fn handle(&mut self, FromPeer(message): FromPeer, context: &mut Context<Self>) {
        self.receive(message, context);
    }
}

impl Handler<MembershipChanged> for ClusterNotify {
    type Result = ();

    fn handle(&mut self, changed: MembershipChanged, context: &mut Context<Self>) {
        let MembershipChanged { node, incarnation, timeline, .. } = changed;
        (self.incarnation, self.timeline) = (incarnation, timeline);
        let event = match incarnation {
            Some(incarnation) => Event::Joined { node, incarnation, timeline },
            None => Event::Left,
        };
        self.step(event, context);
    }
}

impl Handler<ReachChanged> for ClusterNotify {
    type Result = ();

    /// Commit events may have been lost while a peer could not be reached.
    fn handle(&mut self, ReachChanged { .. }: ReachChanged, _: &mut Context<Self>) {
        // Loss is repaired: the feed looks by itself every second.
        self.down.feed.do_send(change_feed::Look);
    }
}
