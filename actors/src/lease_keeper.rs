//! The lease keeper: owns the node's row in the membership table, the read lease, and the fencing of dead rows. It
//! lives on a thread of its own and has connections of its own, so that no renewal ever waits for a publish.
//!
//! Drives the machine `callboard_protocol::lease`; when to renew, what a lapse means and which row may be fenced is
//! decided there. Whoever lost state that acknowledgements rest on asks for [`Rejoin`]: a new life of the membership,
//! in which old acknowledgements count for nothing and the cache starts empty.

mod effects;

use std::fmt::Debug;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Handler, Message, MessageResult, Recipient, ResponseFuture};
use callboard_protocol::config::Version;
use callboard_protocol::extent::{Extent, Fingerprint, LastKnown};
use callboard_protocol::key::ConfigKey;
use callboard_protocol::lease::{
    self, Announcement, CommitGate, Effect, Event, Lease, LeaseMode, LeaseObservation, Membership, Split,
};
use callboard_protocol::member::{Elsewhere, Incarnation, MemberRow, NodeId, NodeRow, Timeline};
use callboard_protocol::time::Mono;
use serde_json::json;
use tokio::sync::{Mutex, oneshot};
use uuid::Uuid;

use crate::cache::writer::CacheWriter;
use crate::clock::SharedClock;
use crate::metrics::{LeaseMetrics, ResultLabel};
use crate::monitored;
use crate::peer_links::{PeerLinks, ReachChanged, SubscribeReach};
use crate::runtime::{Alarm, Context, Observable};
use crate::store::Writer;
use crate::subscription::{Subscription, SubscriptionGuard, keep_subscribed, subscription};

/// Who the node is and on what terms it takes part.
#[derive(Debug, Clone)]
pub struct LeaseOptions {
    /// The node.
    pub node: NodeId,
    /// Names the running system and the data directory whose lock this process holds: an older row of the node with the
    /// same name belongs to a dead process. Empty when that can't be told.
    pub boot_id: String,
    /// Where the node is reached, as stored in its row.
    pub address: String,
    /// The lowest and the highest version of the node-to-node protocol that it speaks.
    pub versions: (u16, u16),
    /// The terms and times.
    pub lease: lease::Options,
    /// Where it is kept what the node knows of its database; `None` for one that has nothing to keep it in.
    pub memory: Option<Arc<dyn DatabaseMemory>>,
}

/// Keeps what a node knows of its database, so that it outlives the process and the machine.
pub trait DatabaseMemory: Debug + Send + Sync {
    /// What was kept last; `None` when nothing is, or it can't be read, which is told in the log.
    fn read(&self) -> Option<LastKnown>;

    /// Keeps it in place of what was kept before, for as long as the machine runs.
    ///
    /// # Errors
    /// The system refuses; what was kept before is whole.
    fn keep(&self, known: &LastKnown) -> io::Result<()>;

    /// Makes what was kept outlive the machine. May take long.
    ///
    /// # Errors
    /// The system refuses.
    fn sync(&self) -> io::Result<()>;
}

/// The node's membership is now this.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct MembershipChanged {
    /// The node.
    pub node: NodeId,
    /// Its life as a member; `None` without a row.
    pub incarnation: Option<Incarnation>,
    /// The timeline.
    pub timeline: Timeline,
    /// Every row, the own one among them when there is one.
    pub rows: Vec<(MemberRow, LeaseObservation)>,
    /// Another process has the id of this node: where its row says that it is reached.
    pub namesake: Option<String>,
    /// A living node reaches another member of the database than this one, and stays there.
    pub elsewhere: Option<Elsewhere>,
    /// The database that this node asks, as it last said.
    pub database: Fingerprint,
    /// Whether publishes may be committed.
    pub gate: CommitGate,
    /// What the other nodes are told of this.
    pub announcement: Announcement,
}

/// Subscribes to membership; the present one is told at once. The answer tells when the keeper forgot the subscriber.
#[derive(Debug, Message)]
#[rtype(result = "Subscription")]
pub struct Subscribe(pub Recipient<MembershipChanged>);

/// Ends the present life of the membership and begins another.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Rejoin;

/// Takes the right to renew away from rows whose nodes do not acknowledge.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Revoke {
    /// Which rows.
    pub rows: Vec<NodeRow>,
}

/// Look at the rows soon: one of them is about to come or go.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct RefreshMembership;

/// A commit is known to have happened.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct CommitObserved(pub Extent);

/// A committed version of a key is not in the database any more: its row is older.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct RowLost {
    /// Which key.
    pub key: ConfigKey,
    /// The version that is known.
    pub version: Version,
}

/// A node that is linked to this one says where it has its lease.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct PeerAnnouncement(pub Announcement);

/// Gives the row back before the node stops. Answers when it is done or can't be done.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ReleaseMembership;

/// Asks how the node takes part.
#[derive(Debug, Message)]
#[rtype(result = "Standing")]
pub struct GetStanding;

/// How the node takes part.
#[derive(Debug, Clone, PartialEq, Eq, actix::MessageResponse)]
pub enum Standing {
    /// Nothing is known of the database yet.
    Unknown,
    /// Without a row, for those of other nodes name another member of the database. Named is one that was seen to stay
    /// there; until then they may follow.
    Elsewhere(Option<Elsewhere>),
    /// Without a row, though one is wanted.
    Direct,
    /// Another node has its lease in another database.
    Split(Split),
    /// As it shall.
    Settled,
}

#[derive(Debug)]
struct Subscriber {
    recipient: Recipient<MembershipChanged>,
    /// Its drop tells the subscriber to subscribe anew.
    _holder: SubscriptionGuard,
}

/// The lease keeper.
pub struct LeaseKeeper {
    options: LeaseOptions,
    machine: Lease,
    writer: Writer,
    cache: Addr<CacheWriter>,
    links: Option<Addr<PeerLinks>>,
    clock: SharedClock,
    metrics: LeaseMetrics,
    subscribers: Vec<Subscriber>,
    told: Option<MembershipChanged>,
    /// Who waits for the node to have left.
    leaving: Vec<oneshot::Sender<()>>,
    has_left: bool,
    /// Joining and giving back take turns.
    row: Rc<Mutex<()>>,
    /// What the cache is told it is told in order, however often it has to be told.
    cache_turn: Rc<Mutex<()>>,
    /// How far the clock of leases was ahead of the one that the machine goes by, when the last join or renewal was
    /// sent.
    ahead: Duration,
    /// What has come in before the cache was emptied for the first time.
    early: Option<Vec<Event>>,
    alarm: Alarm<Mono>,
    /// How the last join came out; empty before the first.
    last_join: &'static str,
    /// What is known could not be kept; it was told.
    is_forgetful: bool,
}

impl LeaseKeeper {
    /// Keeps the lease of the node that `options` names through `writer`, whose connections it has for itself. Without
    /// links it takes part alone.
    #[must_use]
    pub fn new(
        options: LeaseOptions,
        writer: Writer,
        (cache, links): (Addr<CacheWriter>, Option<Addr<PeerLinks>>),
        clock: SharedClock,
        metrics: LeaseMetrics,
    ) -> Self {
        let machine = Lease::new(options.lease.clone(), options.node.clone(), Uuid::new_v4(), clock.mono());
        let last = options.memory.as_ref().and_then(|memory| memory.read());
        let machine = match last {
            Some(last) => machine.remembering(last),
            None => machine,
        };
        Self {
            options,
            machine,
            writer,
            cache,
            links,
            clock,
            metrics,
            subscribers: Vec::new(),
            told: None,
            leaving: Vec::new(),
            has_left: false,
            row: Rc::new(Mutex::new(())),
            cache_turn: Rc::new(Mutex::new(())),
            ahead: Duration::ZERO,
            early: Some(Vec::new()),
            alarm: Alarm::default(),
            last_join: "",
            is_forgetful: false,
        }
    }

    /// Gives the machine an event and does what it says. The machine goes by the clock that never jumps: what it has
    /// watched must not seem older than it is. Only the end of the own lease goes by the clock that may jump ahead.
    fn step(&mut self, event: Event, context: &mut Context<Self>) {
        if let Some(early) = &mut self.early {
            early.push(event);
            return;
        }
        let now = self.clock.mono();
        let mut effects = Vec::new();
        self.machine.step(now, event, &mut effects);
        for effect in effects {
            self.perform(effect, context);
        }
        let next = self.machine.next_wakeup();
        self.alarm.set(next, |at| at.since(now), context, |keeper, context| keeper.step(Event::Tick, context));
    }

    /// Carries out `work` and gives the machine the event that follows from it.
    fn then<T: 'static>(
        &self,
        work: impl Future<Output = T> + 'static,
        context: &mut Context<Self>,
        event: impl FnOnce(&mut Self, T) -> Event + 'static,
    ) {
        context.spawn(wrap_future(work).map(move |result, keeper: &mut Self, context| {
            let event = event(keeper, result);
            keeper.step(event, context);
        }));
    }

    /// The cache is empty: from now on the machine runs.
    fn begin(&mut self, context: &mut Context<Self>) {
        for event in self.early.take().unwrap_or_default() {
            self.step(event, context);
        }
        self.step(Event::Tick, context);
    }

    fn tell(&mut self, membership: Membership) {
        let (node, announcement) = (self.options.node.clone(), membership.announcement(&self.options.node));
        let Membership { incarnation, timeline, rows, namesake, elsewhere, database, gate, .. } = membership;
        let changed =
            MembershipChanged { node, incarnation, timeline, rows, namesake, elsewhere, database, gate, announcement };
        let before = self.told.as_ref().map(|told| told.incarnation);
        let known = self.told.as_ref().and_then(|told| told.namesake.as_ref());
        if let Some(address) = changed.namesake.as_ref().filter(|address| known != Some(address)) {
            tracing::error!(
                node.id = %changed.node,
                peer.address = address,
                "the id of this node is taken: another process has it and renews its membership, so that this one can't \
                 publish; stop one of the two, or give this one another node.id"
            );
        }
        if before != Some(incarnation) {
            tracing::info!(
                node.id = %changed.node,
                node.incarnation = incarnation.map(|life| tracing::field::display(life.0)),
                store.timeline = timeline.0,
                "{}",
                if incarnation.is_some() { "the node is a member" } else { "the node has no row" }
            );
        }
        self.metrics.member.set(i64::from(incarnation.is_some()));
        self.see_elsewhere(changed.elsewhere.as_ref());
        self.see_split(&changed.gate);
        for subscriber in &self.subscribers {
            // A subscriber that is rebuilt subscribes anew and is told then.
            subscriber.recipient.do_send(changed.clone());
        }
        self.told = Some(changed);
    }

    /// A member that is not the one of the others shows commits later than they do: what there are of connections to it
    /// is opened anew, for the way to the database may lead elsewhere by now.
    fn see_elsewhere(&self, elsewhere: Option<&Elsewhere>) {
        self.metrics.elsewhere.set(i64::from(elsewhere.is_some()));
        let Some(Elsewhere { node, theirs, ours }) = elsewhere else { return };
        if self.told.as_ref().is_none_or(|told| told.elsewhere.is_none()) {
            tracing::error!(
                peer.id = %node,
                "this node reaches member {ours} of the database and {node} reaches member {theirs}: what one publishes the \
                 other may read late; give all nodes the same database.url"
            );
        }
        self.writer.reconnect("another node reaches another member of the database");
    }

    /// Neither of the two databases can be told to be the right one from here.
    fn see_split(&self, gate: &CommitGate) {
        let is_split = matches!(gate, CommitGate::Split(_));
        self.metrics.split.set(i64::from(is_split));
        let was_split = self.told.as_ref().is_some_and(|told| matches!(told.gate, CommitGate::Split(_)));
        match gate {
            CommitGate::Split(split) if !was_split => {
                tracing::error!(
                    peer.id = %split.node,
                    "{split}; nothing is acknowledged until all nodes reach the same database"
                );
            }
            CommitGate::Open if was_split => tracing::info!("all nodes reach the same database again"),
            CommitGate::Open | CommitGate::Waiting | CommitGate::Split(_) => {}
        }
    }

    fn count(&self, operation: &'static str, result: &'static str) {
        self.metrics.operations.get_or_create(&ResultLabel { operation, result }).inc();
    }
}

impl Actor for LeaseKeeper {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        if let Some(links) = self.links.clone() {
            keep_subscribed(context, async move |me| links.send(SubscribeReach(me.recipient())).await);
        }
        // One before this one, lost to a panic, may have left the cache with a read lease that nobody keeps.
        context.spawn(wrap_future(self.empty_cache()).map(|(), keeper: &mut Self, context| keeper.begin(context)));
    }
}

monitored!(LeaseKeeper, "lease_keeper");

impl Observable for LeaseKeeper {
    fn observe(&self) -> serde_json::Value {
        let rows = |told: &MembershipChanged| -> Vec<serde_json::Value> {
            let row = |(row, sight): &(MemberRow, LeaseObservation)| json!({ "node": row.node.to_string(), "renewals": row.renew_seq, "lease": format!("{sight:?}") });
            told.rows.iter().map(row).collect()
        };
        json!({
            "node": self.options.node.to_string(),
            "incarnation": self.machine.incarnation().map(|life| life.0.to_string()),
            "timeline": self.told.as_ref().map(|told| told.timeline.0),
            "rows": self.told.as_ref().map(rows),
        })
    }
}

impl Handler<Subscribe> for LeaseKeeper {
    type Result = MessageResult<Subscribe>;

    fn handle(&mut self, Subscribe(recipient): Subscribe, _: &mut Context<Self>) -> Self::Result {
        if let Some(told) = &self.told {
            // A subscriber that is rebuilt subscribes anew and is told then.
            recipient.do_send(told.clone());
        }
        let (holder, held) = subscription();
        self.subscribers.push(Subscriber { recipient, _holder: holder });
        MessageResult(held)
    }
}

impl Handler<Rejoin> for LeaseKeeper {
    type Result = ();

    fn handle(&mut self, Rejoin: Rejoin, context: &mut Context<Self>) {
        tracing::info!("the node begins a new life of its membership");
        self.step(Event::Rejoin, context);
    }
}

impl Handler<Revoke> for LeaseKeeper {
    type Result = ();

    fn handle(&mut self, Revoke { rows }: Revoke, context: &mut Context<Self>) {
        for NodeRow { node, incarnation, .. } in rows {
            tracing::warn!(peer.id = %node, "revoked: this node renews its lease and acknowledges nothing");
            let (writer, peer) = (self.writer.clone(), node.clone());
            self.then(async move { writer.revoke(&peer, incarnation).await }, context, move |keeper, result| {
                keeper.count("revoke", if result.is_ok() { "done" } else { "failed" });
                Event::Refresh
            });
        }
    }
}

impl Handler<RefreshMembership> for LeaseKeeper {
    type Result = ();

    fn handle(&mut self, RefreshMembership: RefreshMembership, context: &mut Context<Self>) {
        self.step(Event::Refresh, context);
    }
}

impl Handler<CommitObserved> for LeaseKeeper {
    type Result = ();

    fn handle(&mut self, CommitObserved(extent): CommitObserved, context: &mut Context<Self>) {
        self.writer.knows(extent);
        self.step(Event::CommitObserved(extent), context);
    }
}

impl Handler<RowLost> for LeaseKeeper {
    type Result = ();

    fn handle(&mut self, RowLost { key, version }: RowLost, context: &mut Context<Self>) {
        self.step(Event::RowLost { key, version }, context);
    }
}

impl Handler<PeerAnnouncement> for LeaseKeeper {
    type Result = ();

    fn handle(&mut self, PeerAnnouncement(announcement): PeerAnnouncement, context: &mut Context<Self>) {
        self.step(Event::PeerAnnouncement(announcement), context);
    }
}

impl Handler<ReachChanged> for LeaseKeeper {
    type Result = ();

    fn handle(&mut self, ReachChanged { nodes }: ReachChanged, context: &mut Context<Self>) {
        self.step(Event::Linked(nodes), context);
    }
}

impl Handler<ReleaseMembership> for LeaseKeeper {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, ReleaseMembership: ReleaseMembership, context: &mut Context<Self>) -> Self::Result {
        let (left, waiting) = oneshot::channel();
        self.leaving.push(left);
        self.step(Event::Leave, context);
        if self.has_left {
            self.perform(Effect::Left, context);
        }
        Box::pin(async move {
            // A keeper that failed has nothing to give back any more.
            drop(waiting.await);
        })
    }
}

impl Handler<GetStanding> for LeaseKeeper {
    type Result = Standing;

    fn handle(&mut self, GetStanding: GetStanding, _: &mut Context<Self>) -> Standing {
        match &self.told {
            Some(MembershipChanged { gate: CommitGate::Split(split), .. }) => Standing::Split(split.clone()),
            _ if self.machine.incarnation().is_some() => Standing::Settled,
            Some(told) if self.last_join == "elsewhere" => Standing::Elsewhere(told.elsewhere.clone()),
            Some(_) if self.options.lease.terms == LeaseMode::Direct => Standing::Settled,
            Some(_) => Standing::Direct,
            None => Standing::Unknown,
        }
    }
}

#[cfg(test)]
mod tests;
