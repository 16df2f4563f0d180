//! The heartbeat: tells other nodes that this one lives, and finds out which of them do.
//!
//! Owns the membership protocol (`foca`, a SWIM) with its timers, and the local node's identity. What it finds out
//! gives addresses and speed, never safety: who has to acknowledge a publish is read from the database alone. Names no
//! socket: datagrams come in opened as [`Datagram`] and go out through an [`Outlet`].

mod announcement;
mod config;
mod engine;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod identity;
mod overtaking;
mod timers;
mod wire;

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{Actor, ActorFutureExt, AsyncContext, Handler, Message, MessageResult, Recipient};
use callboard_protocol::member::NodeId;
use callboard_protocol::membership_view::{GossipObservation, ProtocolRange, Status};
use callboard_protocol::time::Mono;
use serde_json::json;
use tokio::time::Instant;

pub use identity::{MAX_NODE_ID, MAX_VERSION};

use crate::clock::SharedClock;
use crate::metrics::{DirectionLabel, GossipMetrics, RefusalLabel};
use crate::monitored;
use crate::runtime::{Alarm, Context, Observable};
use crate::subscription::{Subscription, SubscriptionGuard, subscription};
use engine::{Engine, Refused};
use identity::Identity;

/// Longest datagram before it is sealed, in bytes.
pub const MAX_DATAGRAM: usize = 1_360;
/// How often the members are looked at: that one is suspected is told by nobody.
const POLL: Duration = Duration::from_millis(250);
/// How long the names of the seeds may take to resolve.
const RESOLVE_DEADLINE: Duration = Duration::from_secs(5);

/// The way out for datagrams.
pub trait Outlet: Send + Sync + fmt::Debug {
    /// Sends a datagram, at once or never. May lose it.
    fn send(&self, to: SocketAddr, datagram: &[u8]);
}

/// Addresses that are on their way.
pub type NameResolution = Pin<Box<dyn Future<Output = Vec<SocketAddr>> + Send>>;

/// The nodes to ask first.
pub trait Seeds: Send + Sync + fmt::Debug {
    /// Resolves their names anew; those that can't be resolved are left out.
    fn resolve(&self) -> NameResolution;
}

/// What a node tells of itself.
#[derive(Debug, Clone)]
pub struct Advertised {
    /// Its name, at most [`MAX_NODE_ID`] bytes.
    pub node: NodeId,
    /// Where other nodes reach it.
    pub peer: SocketAddr,
    /// Where clients reach it.
    pub http: SocketAddr,
    /// Where clients reach it over gRPC.
    pub grpc: Option<SocketAddr>,
    /// Where clients that hold a session reach it.
    pub session: Option<SocketAddr>,
    /// The protocol it speaks with other nodes.
    pub protocols: ProtocolRange,
    /// The version of the program, at most [`MAX_VERSION`] printable ASCII characters.
    pub version: Arc<str>,
}

/// What a [`Gossip`] is built with.
#[derive(Debug, Clone)]
pub struct Arguments {
    /// What the node tells of itself.
    pub advertised: Advertised,
    /// The way out.
    pub outlet: Arc<dyn Outlet>,
    /// The nodes to ask first.
    pub seeds: Arc<dyn Seeds>,
    /// Where generations come from.
    pub clock: SharedClock,
    /// What is counted.
    pub metrics: GossipMetrics,
}

/// A datagram came in and was opened: somebody who holds the key of the cluster sent it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Datagram(pub Vec<u8>);

/// Tells the others what the node is from now on. Answers when it was sent.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SetStatus(pub Status);

/// Tells the others that the node is gone, and says nothing more. Answers when it was sent.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct LeaveCluster;

/// Tells whether the membership row of the node's id belongs to this process. A second process under one id must not be
/// taken for the one that has the row.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SetOwnsId(pub bool);

/// Replaces the addresses that membership rows tell of other nodes: they are asked like seeds.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SetPeers(pub Vec<SocketAddr>);

/// Every node that is known at present, the local one included; one that is seen at several addresses several times.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Observed(pub Vec<GossipObservation>);

/// Subscribes to sightings, in place of whoever was subscribed; the present ones are told at once. The answer tells
/// when the subscriber was forgotten.
#[derive(Debug, Message)]
#[rtype(result = "Subscription")]
pub struct Subscribe(pub Recipient<Observed>);

/// Looks at the members, and announces the node when it is time to.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct PollTick;

/// A timer of the machine is due.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct TimerTick;

/// What is kept over the lives of the actor.
#[derive(Debug, Clone, Copy)]
struct Kept {
    intent: Intent,
    owns_id: bool,
    /// The latest that was told.
    generation: u64,
}

/// What the node wants to be.
#[derive(Debug, Clone, Copy)]
enum Intent {
    Be(Status),
    Gone,
}

/// The gossip of a node.
pub struct Gossip {
    engine: Engine,
    arguments: Arguments,
    kept: Arc<Mutex<Kept>>,
    born: Instant,
    subscriber: Option<(Recipient<Observed>, SubscriptionGuard)>,
    /// What the subscriber was told last.
    told: Vec<GossipObservation>,
    alarm: Alarm<Mono>,
    is_resolving: bool,
}

impl Gossip {
    /// Builds each life of the gossip of the node that `arguments` names, for `runtime::start_in`. A later life is a
    /// later generation and has the status of the one before.
    pub fn factory(arguments: Arguments) -> impl Fn(&mut Context<Self>) -> Self + Send + 'static {
        let kept = Arc::new(Mutex::new(Kept { intent: Intent::Be(Status::Joining), owns_id: false, generation: 0 }));
        move |_| Self::new(arguments.clone(), Arc::clone(&kept))
    }

    fn new(arguments: Arguments, kept: Arc<Mutex<Kept>>) -> Self {
        let Advertised { node, peer, http, grpc, session, protocols, version } = arguments.advertised.clone();
        let before = *kept.lock().unwrap_or_else(PoisonError::into_inner);
        let status = match before.intent {
            Intent::Be(status) => status,
            Intent::Gone => Status::Leaving,
        };
        let wall = u64::try_from(arguments.clock.wall().0).unwrap_or_default();
        let generation = wall.max(before.generation.saturating_add(1));
        let identity = Identity { node, generation, peer, http, grpc, session, status, protocols, version };
        if !identity.is_sound() || identity.is_whoever() {
            tracing::error!(node.id = %identity.node, "other nodes will refuse what this node tells of itself");
        }
        let mut engine = Engine::new(identity, rand::make_rng());
        engine.set_owns_id(before.owns_id);
        let born = Instant::now();
        if matches!(before.intent, Intent::Gone) {
            engine.leave(Mono::default());
        }
        let (subscriber, told, alarm) = (None, Vec::new(), Alarm::default());
        Self { engine, arguments, kept, born, subscriber, told, alarm, is_resolving: false }
    }

    fn now(&self) -> Mono {
        Mono(self.born.elapsed())
    }

    /// Who is gone stays gone.
    fn want(&self, wanted: Intent) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(kept.intent, Intent::Be(_)) {
            kept.intent = wanted;
        }
    }

    /// Sends what the machine has to say, tells what changed, and sees to it that its next timer is not missed.
    fn settle(&mut self, context: &mut Context<Self>) {
        for (to, datagram) in self.engine.take_sends() {
            self.arguments.metrics.datagrams.get_or_create(&DirectionLabel { direction: "out" }).inc();
            self.arguments.outlet.send(to, &datagram);
        }
        if self.engine.take_changed() {
            self.kept.lock().unwrap_or_else(PoisonError::into_inner).generation = self.engine.generation();
            self.tell();
        }
        let (next, now) = (self.engine.next_wakeup(), self.now());
        self.alarm.set(next, |at| at.since(now), context, |_, context| context.notify(TimerTick));
    }

    fn tell(&mut self) {
        let sightings = self.engine.sightings();
        if sightings == self.told {
            return;
        }
        self.told = sightings;
        if let Some((subscriber, _)) = &self.subscriber {
            // A subscriber that loses one is rebuilt, subscribes anew and is told everything then.
            subscriber.do_send(Observed(self.told.clone()));
        }
    }

    /// Resolves the seeds anew, unless that is under way.
    fn resolve(&mut self, context: &mut Context<Self>) {
        if std::mem::replace(&mut self.is_resolving, true) {
            return;
        }
        let resolving = tokio::time::timeout(RESOLVE_DEADLINE, self.arguments.seeds.resolve());
        context.spawn(wrap_future(resolving).map(|resolved, gossip: &mut Self, context| {
            gossip.is_resolving = false;
            match resolved {
                Ok(seeds) => gossip.engine.set_seeds(gossip.now(), seeds),
                Err(_elapsed) => tracing::warn!("the names of the seeds take too long to resolve"),
            }
            gossip.settle(context);
        }));
    }
}

impl Actor for Gossip {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.notify(PollTick);
    }
}

monitored!(Gossip, "gossip");

impl Observable for Gossip {
    fn observe(&self) -> serde_json::Value {
        json!({ "members": self.engine.members(), "known": self.told.len(), "resolving": self.is_resolving })
    }
}

impl Handler<Datagram> for Gossip {
    type Result = ();

    fn handle(&mut self, Datagram(bytes): Datagram, context: &mut Context<Self>) {
        let metrics = &self.arguments.metrics;
        metrics.datagrams.get_or_create(&DirectionLabel { direction: "in" }).inc();
        if let Err(refused) = self.engine.datagram(self.now(), &bytes) {
            let reason = match refused {
                Refused::Malformed => "malformed",
                Refused::Crowded => "crowded",
            };
            self.arguments.metrics.refused.get_or_create(&RefusalLabel { reason }).inc();
        }
        self.settle(context);
    }
}

impl Handler<SetStatus> for Gossip {
    type Result = ();

    fn handle(&mut self, SetStatus(status): SetStatus, context: &mut Context<Self>) {
        self.want(Intent::Be(status));
        self.engine.set_status(self.now(), status);
        self.settle(context);
    }
}

impl Handler<LeaveCluster> for Gossip {
    type Result = ();

    fn handle(&mut self, LeaveCluster: LeaveCluster, context: &mut Context<Self>) {
        self.want(Intent::Gone);
        self.engine.leave(self.now());
        self.settle(context);
    }
}

impl Handler<SetOwnsId> for Gossip {
    type Result = ();

    fn handle(&mut self, SetOwnsId(owns_id): SetOwnsId, _: &mut Context<Self>) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).owns_id = owns_id;
        self.engine.set_owns_id(owns_id);
    }
}

impl Handler<SetPeers> for Gossip {
    type Result = ();

    fn handle(&mut self, SetPeers(peers): SetPeers, context: &mut Context<Self>) {
        self.engine.set_peers(self.now(), peers);
        self.settle(context);
    }
}

impl Handler<Subscribe> for Gossip {
    type Result = MessageResult<Subscribe>;

    fn handle(&mut self, Subscribe(subscriber): Subscribe, _: &mut Context<Self>) -> Self::Result {
        let (holder, held) = subscription();
        self.told = self.engine.sightings();
        subscriber.do_send(Observed(self.told.clone()));
        self.subscriber = Some((subscriber, holder));
        MessageResult(held)
    }
}

impl Handler<PollTick> for Gossip {
    type Result = ();

    fn handle(&mut self, PollTick: PollTick, context: &mut Context<Self>) {
        context.notify_later(PollTick, POLL);
        let now = self.now();
        if self.engine.round_is_due(now) {
            self.engine.begin_round(now);
            self.resolve(context);
        }
        self.engine.overtake(now);
        self.tell();
        self.settle(context);
    }
}

impl Handler<TimerTick> for Gossip {
    type Result = ();

    fn handle(&mut self, TimerTick: TimerTick, context: &mut Context<Self>) {
        self.engine.tick(self.now());
        self.settle(context);
    }
}

#[cfg(test)]
mod tests;
