//! Listens to gossip and to the membership rows, and knows where each node stands.
//!
//! Owns the roster (`callboard_protocol::membership_view`): answers operators, publishes what happens to nodes on the
//! event bus, and tells whoever keeps links where the peers are. What it knows counts for people and for speed, never
//! for safety. Works without gossip too: a node that has no key of a cluster knows of the rows alone.

mod answering;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use actix::{Actor, Addr, AsyncContext, Handler, Message, MessageResult, Recipient};
use callboard_protocol::member::{Incarnation, NodeId};
use callboard_protocol::membership_view::{MemberEvent, MembershipView, NodeState, NodeView, Notice, RowObservation};
use serde_json::json;

use crate::change_feed::ChangeFeed;
use crate::clock::SharedClock;
use crate::event_bus::{EventBus, PublishMember};
use crate::gossip::{Gossip, Observed, SetPeers};
use crate::lease_keeper::{LeaseKeeper, RefreshMembership};
use crate::metrics::{GossipMetrics, MemberStateLabel, TransitionLabel};
use crate::monitored;
use crate::peer_links::PeerLinks;
use crate::push_ledger::PushLedger;
use crate::runtime::{Context, Observable};

/// How often the roster is told that time passes.
const TICK: Duration = Duration::from_secs(1);
/// Ticks after which the peers are told again although nothing changed: whoever keeps the links may have been rebuilt.
const TELL_AGAIN: u32 = 5;

/// Every membership row, as the database has them at present.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct RowsSeen(pub Vec<RowObservation>);

/// Asks for the cluster as this node sees it.
#[derive(Debug, Message)]
#[rtype(result = "ClusterView")]
pub struct GetCluster;

/// The cluster as one node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterView {
    /// Who sees it so.
    pub node: NodeId,
    /// Every node, ordered by name, the one who sees included.
    pub nodes: Vec<NodeView>,
}

/// Where every other node is reached by nodes. Told at each change, and now and then.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct PeersKnown(pub BTreeMap<NodeId, SocketAddr>);

/// Time has passed.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct RosterTick;

/// What a [`ClusterListener`] is built with.
#[derive(Debug, Clone)]
pub struct Arguments {
    /// The local node.
    pub node: NodeId,
    /// Gossip; `None` for a node without a key of a cluster.
    pub gossip: Option<Addr<Gossip>>,
    /// Where events are published.
    pub bus: Addr<EventBus>,
    /// Who keeps the links to peers; `None` for a node without peers.
    pub peers: Option<Recipient<PeersKnown>>,
    /// The actors of the same node that know more; `None` for a listener that is told by hand.
    pub deps: Option<Deps>,
    /// The node's clock.
    pub clock: SharedClock,
    /// What is counted.
    pub metrics: GossipMetrics,
}

/// The actors of the same node that a listener asks and hears.
#[derive(Debug, Clone)]
pub struct Deps {
    /// Knows the membership rows.
    pub lease_keeper: Addr<LeaseKeeper>,
    /// Knows how far the node is.
    pub feed: Addr<ChangeFeed>,
    /// Brings what other nodes ask; `None` for a node without peers.
    pub links: Option<Addr<PeerLinks>>,
    /// Knows the clients of this node.
    pub ledger: Addr<PushLedger>,
}

/// The cluster listener.
#[derive(Debug)]
pub struct ClusterListener {
    arguments: Arguments,
    roster: MembershipView,
    /// What the keeper of the links was told last.
    told: Option<PeersKnown>,
    /// What gossip was told last.
    announced: Vec<SocketAddr>,
    ticks: u32,
    /// The own life as a member.
    incarnation: Option<Incarnation>,
    /// The node has been a member, and has said that it is up.
    was_member: bool,
    /// Another process has the id of this node.
    has_namesake: bool,
}

impl ClusterListener {
    /// A listener that knows of the local node alone.
    #[must_use]
    pub fn new(arguments: Arguments) -> Self {
        let roster = MembershipView::new(arguments.node.clone(), arguments.clock.mono());
        let (incarnation, was_member, has_namesake) = (None, false, false);
        Self { arguments, roster, told: None, announced: Vec::new(), ticks: 0, incarnation, was_member, has_namesake }
    }

    fn step(&mut self, notice: Notice) {
        let mut events = Vec::new();
        self.roster.step(self.arguments.clock.mono(), notice, &mut events);
        for event in events {
            self.publish(event);
        }
        let peers = self.peers();
        if self.told.as_ref() != Some(&peers) {
            self.tell(peers);
        }
        self.count();
    }

    /// Whom to link with: nobody while another process has the id of this node, for the others would take its links for
    /// those of that one.
    fn peers(&self) -> PeersKnown {
        PeersKnown(if self.has_namesake { BTreeMap::new() } else { self.roster.peers() })
    }

    fn publish(&mut self, event: MemberEvent) {
        tracing::info!(node.id = %event.node(), event = event.as_str(), "the state of a node changed");
        self.arguments.metrics.transitions.get_or_create(&TransitionLabel { event: event.as_str() }).inc();
        if let Some(deps) = &self.arguments.deps {
            // Its row has come or is about to go. Loss is repaired: the rows are looked at every second or two.
            deps.lease_keeper.do_send(RefreshMembership);
        }
        // Lost only when the bus is rebuilt; its subscribers ask for the cluster then.
        self.arguments.bus.do_send(PublishMember(event));
    }

    fn tell(&mut self, peers: PeersKnown) {
        if let Some(recipient) = &self.arguments.peers {
            // Loss is repaired: they are told again every few ticks.
            recipient.do_send(peers.clone());
        }
        self.told = Some(peers);
    }

    fn count(&self) {
        let view = self.roster.view();
        for state in NodeState::ALL {
            let nodes = view.iter().filter(|node| node.state == state).count();
            let gauge = self.arguments.metrics.members.get_or_create_owned(&MemberStateLabel { state: state.as_str() });
            gauge.set(i64::try_from(nodes).unwrap_or(i64::MAX));
        }
    }

    /// Rows name nodes that gossip may not know.
    fn announce(&mut self, rows: &[RowObservation]) {
        let Some(gossip) = &self.arguments.gossip else { return };
        let others = rows.iter().filter(|row| row.node != self.arguments.node);
        let mut addresses: Vec<SocketAddr> = others.filter_map(|row| row.peer).collect();
        addresses.sort_unstable();
        if addresses != self.announced {
            // Lost only when gossip is rebuilt: it forgets the subscription then, and is told anew.
            gossip.do_send(SetPeers(addresses.clone()));
            self.announced = addresses;
        }
    }
}

impl Actor for ClusterListener {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.subscribe(context);
        self.step(Notice::Tick);
        context.notify_later(RosterTick, TICK);
    }
}

monitored!(ClusterListener, "cluster_listener");

impl Observable for ClusterListener {
    fn observe(&self) -> serde_json::Value {
        let nodes: BTreeMap<String, &str> =
            self.roster.view().iter().map(|node| (node.id.to_string(), node.state.as_str())).collect();
        json!({ "nodes": nodes, "gossip": self.arguments.gossip.is_some() })
    }
}

impl Handler<Observed> for ClusterListener {
    type Result = ();

    fn handle(&mut self, Observed(sightings): Observed, _: &mut Context<Self>) {
        self.step(Notice::Gossip(sightings));
    }
}

impl Handler<RowsSeen> for ClusterListener {
    type Result = ();

    fn handle(&mut self, RowsSeen(rows): RowsSeen, _: &mut Context<Self>) {
        self.announce(&rows);
        self.step(Notice::Rows(rows));
    }
}

impl Handler<GetCluster> for ClusterListener {
    type Result = MessageResult<GetCluster>;

    fn handle(&mut self, GetCluster: GetCluster, _: &mut Context<Self>) -> Self::Result {
        MessageResult(ClusterView { node: self.arguments.node.clone(), nodes: self.roster.view() })
    }
}

impl Handler<RosterTick> for ClusterListener {
    type Result = ();

    fn handle(&mut self, RosterTick: RosterTick, context: &mut Context<Self>) {
        context.notify_later(RosterTick, TICK);
        self.step(Notice::Tick);
        self.ticks = (self.ticks + 1) % TELL_AGAIN;
        if self.ticks == 0 {
            self.tell(self.peers());
        }
    }
}

#[cfg(test)]
mod tests;
