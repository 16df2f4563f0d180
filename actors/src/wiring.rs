//! Who is started in which order and knows whom: the one place that holds every address.
//!
//! Leaves are started first; commands go down by address, events come up through recipients that the subscriber hands
//! over. A [`Node`] is what lives once; a [`Worker`] is what lives on each worker thread.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use actix_rt::ArbiterHandle;
use callboard_protocol::member::NodeId;
use callboard_protocol::{publish, receiver};

use crate::cache::keeper::Keeper;
use crate::cache::reader::Reader;
use crate::cache::{Cache, CacheOptions};
use crate::cache_refresh::CacheRefresh;
use crate::change_feed::ChangeFeed;
use crate::clock::SharedClock;
use crate::cluster_listener::{self, ClusterListener, Neighbours};
use crate::cluster_notify::{ClusterNotify, NoPeers, Setup, Transport};
use crate::conf_manager::ConfManager;
use crate::coordinator::Coordinator;
use crate::event_bus::EventBus;
use crate::gossip::{self, Advertised, Gossip, Outlet, Seeds};
use crate::lease_keeper::{LeaseKeeper, LeaseOptions};
use crate::long_poll::LongPoll;
use crate::metrics::{GossipMetrics, Metrics};
use crate::peer_links::{Dialer, LinkTransport, PeerLinks};
use crate::retention::Retention;
use crate::runtime::{Registry, Spec, start, start_in};
use crate::store;
use crate::store_reader::StoreReader;
use crate::store_writer::StoreWriter;

/// The label of the arbiter on which everything lives that a node has once.
const CORE: &str = "core";
/// The label of the arbiter of the lease keeper.
const LEASE: &str = "lease";
/// Mailbox of an actor that many send to; `try_send` alone respects it.
const BUSY_MAILBOX: usize = 1_024;

/// How a node is to run.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// Who it is and how it takes part.
    pub lease: LeaseOptions,
    /// How large the cache may be.
    pub cache: CacheOptions,
    /// How long a read waits for the mark of its key to go.
    pub mark_wait: Duration,
    /// How often cache and database are compared.
    pub refresh_interval: Duration,
    /// The publisher's bounds and time-outs.
    pub publish: publish::Options,
    /// The receiver's time-outs.
    pub receiver: receiver::Options,
    /// How long history is kept.
    pub history_retention: Duration,
    /// Requests held at most on each worker.
    pub max_held_per_worker: usize,
}

/// Where a node's actors live that it has once.
#[derive(Debug, Clone, Copy)]
pub struct Threads<'t> {
    /// All but the lease keeper.
    pub core: &'t ArbiterHandle,
    /// The lease keeper, which nothing may keep waiting.
    pub lease: &'t ArbiterHandle,
}

/// How a node talks with others.
pub enum Way {
    /// Not at all: it is alone, or takes no part.
    Alone,
    /// Over links, and by gossip.
    Linked(Box<Peers>),
    /// Over a transport of another kind, made for each life of the one who speaks. Whoever carries it hands what comes in
    /// to [`Node::cluster_notify`].
    By(Box<dyn Fn() -> Box<dyn Transport> + Send>),
}

/// The way to other nodes, for a node that holds the key of a cluster.
pub struct Peers {
    /// Makes the one who dials them, for each life of the links.
    pub dialer: Box<dyn Fn() -> Box<dyn Dialer> + Send>,
    /// What the node tells of itself.
    pub advertised: Advertised,
    /// The way out for datagrams.
    pub outlet: Arc<dyn Outlet>,
    /// The nodes to ask first.
    pub seeds: Arc<dyn Seeds>,
    /// What the sockets of gossip count in.
    pub metrics: GossipMetrics,
}

/// What a node has once.
#[derive(Debug, Clone)]
pub struct Node {
    /// Every actor, for metrics and operators.
    pub registry: Registry,
    /// Every other figure.
    pub metrics: Metrics,
    /// The door for writes.
    pub conf_manager: Addr<ConfManager>,
    /// Every transaction.
    pub store_writer: Addr<StoreWriter>,
    /// The membership.
    pub lease_keeper: Addr<LeaseKeeper>,
    /// What nodes say to each other about publishes.
    pub cluster_notify: Addr<ClusterNotify>,
    /// How far subscribers have been told.
    pub change_feed: Addr<ChangeFeed>,
    /// What is known of every node.
    pub cluster_listener: Addr<ClusterListener>,
    /// The links to other nodes; `None` for a node that has no peers.
    pub peer_links: Option<Addr<PeerLinks>>,
    /// The heartbeat; `None` for a node that has no peers.
    pub gossip: Option<Addr<Gossip>>,
    cache: Cache,
    bus: Addr<EventBus>,
    database: store::Reader,
    mark_wait: Duration,
    max_held_per_worker: usize,
}

/// What each worker thread has: reads and watches never leave it.
#[derive(Debug, Clone)]
pub struct Worker {
    /// Reads by key.
    pub reader: Addr<Reader>,
    /// Questions to the database.
    pub store: Addr<StoreReader>,
    /// Watches.
    pub coordinator: Addr<Coordinator>,
    /// Long polls.
    pub long_poll: Addr<LongPoll>,
    /// What the node has once.
    pub node: Node,
}

impl Node {
    /// Starts what a node has once, over an open database, and the way to its peers.
    #[must_use]
    pub fn start(
        Threads { core: arbiter, lease: lease_thread }: Threads<'_>,
        options: NodeOptions,
        (writer, database): (store::Writer, store::Reader),
        way: Way,
        clock: SharedClock,
    ) -> Self {
        let registry = Registry::new();
        let leases = writer.for_leases();
        let mut metrics = Metrics::default();
        if let Way::Linked(peers) = &way {
            metrics.gossip = peers.metrics.clone();
        }
        let spec = |name: &str| Spec::new(&registry, name).arbiter(CORE).capacity(BUSY_MAILBOX);

        let (reader, counts) = (database.clone(), metrics.store.clone());
        let store =
            start_in(arbiter, &spec("store_reader-core"), move |_| StoreReader::new(reader.clone(), counts.clone()));
        let counts = metrics.store.clone();
        let store_writer =
            start_in(arbiter, &spec("store_writer"), move |_| StoreWriter::new(writer.clone(), counts.clone()));
        let cache = Cache::new(options.cache, clock.clone(), metrics.cache.clone());
        let (kept, loads) = (cache.clone(), store.clone());
        let keeper = start_in(arbiter, &spec("cache"), move |_| Keeper::new(kept.clone(), loads.clone()));
        let counts = metrics.push.clone();
        let bus = start_in(arbiter, &spec("event_bus"), move |_| EventBus::new(counts.clone()));
        let (from, to, events, counts) = (store.clone(), keeper.clone(), bus.clone(), metrics.push.clone());
        let feed = start_in(arbiter, &spec("change_feed"), move |_| {
            ChangeFeed::new(from.clone(), to.clone(), events.clone(), counts.clone())
        });
        let (peer_links, gossip, by) = match way {
            Way::Linked(peers) => {
                let (links, gossip) = start_peers(&spec, arbiter, *peers, &options.lease.node, &metrics, &clock);
                (Some(links), Some(gossip), None)
            }
            Way::By(transport) => (None, None, Some(transport)),
            Way::Alone => (None, None, None),
        };
        let (lease, with, time, counts) = (options.lease.clone(), keeper.clone(), clock.clone(), metrics.lease.clone());
        let links = peer_links.clone();
        let own = Spec::new(&registry, "lease_keeper").arbiter(LEASE).capacity(BUSY_MAILBOX);
        let lease_keeper = start_in(lease_thread, &own, move |_| {
            LeaseKeeper::new(lease.clone(), leases.clone(), (with.clone(), links.clone()), time.clone(), counts.clone())
        });
        let setup = cluster_listener::Setup {
            node: options.lease.node.clone(),
            gossip: gossip.clone(),
            bus: bus.clone(),
            peers: peer_links.clone().map(Addr::recipient),
            neighbours: Some(Neighbours {
                lease_keeper: lease_keeper.clone(),
                feed: feed.clone(),
                links: peer_links.clone(),
            }),
            clock: clock.clone(),
            metrics: metrics.gossip.clone(),
        };
        let cluster_listener =
            start_in(arbiter, &spec("cluster_listener"), move |_| ClusterListener::new(setup.clone()));
        let change_feed = feed.clone();
        let (links, peer_counts, another) = (peer_links.clone(), metrics.peer.clone(), by);
        let (me, receiver, counts) = (options.lease.node.clone(), options.receiver.clone(), metrics.lease.clone());
        let built = Cell::new(false);
        let (to, with, by, lease, time) =
            (keeper.clone(), feed.clone(), (store.clone(), store_writer.clone()), lease_keeper.clone(), clock.clone());
        let cluster_notify = start_in(arbiter, &spec("cluster_notify"), move |_| {
            let (reader, writer) = by.clone();
            let down = crate::cluster_notify::Down {
                cache: to.clone(),
                feed: with.clone(),
                reader,
                writer,
                lease_keeper: lease.clone(),
                links: links.clone(),
            };
            let transport: Box<dyn Transport> = match (&links, &another) {
                (Some(links), _) => Box::new(LinkTransport::new(links.clone(), peer_counts.clone())),
                (None, Some(make)) => make(),
                (None, None) => Box::new(NoPeers),
            };
            ClusterNotify::new(Setup {
                node: me.clone(),
                options: receiver.clone(),
                down,
                transport,
                clock: time.clone(),
                metrics: counts.clone(),
                is_rebuilt: built.replace(true),
            })
        });
        let (publish, notify, to, lease, time, counts) = (
            options.publish.clone(),
            cluster_notify.clone(),
            store_writer.clone(),
            lease_keeper.clone(),
            clock.clone(),
            metrics.publish.clone(),
        );
        let conf_manager = start_in(arbiter, &spec("conf_manager"), move |_| {
            let down = crate::conf_manager::Down {
                cluster_notify: notify.clone(),
                writer: to.clone(),
                lease_keeper: lease.clone(),
            };
            ConfManager::new(publish.clone(), down, time.clone(), counts.clone())
        });
        let (with, by, interval, repairs) = (keeper, store, options.refresh_interval, metrics.cache.repairs.clone());
        start_in(arbiter, &spec("cache_refresh"), move |_| {
            CacheRefresh::new(with.clone(), by.clone(), interval, repairs.clone())
        });
        let (by, keep) = (store_writer.clone(), options.history_retention);
        start_in(arbiter, &spec("retention"), move |_| Retention::new(by.clone(), clock.clone(), keep));
        let (mark_wait, max_held_per_worker) = (options.mark_wait, options.max_held_per_worker);
        Self {
            registry,
            metrics,
            conf_manager,
            store_writer,
            lease_keeper,
            cluster_notify,
            change_feed,
            cluster_listener,
            peer_links,
            gossip,
            cache,
            bus,
            database,
            mark_wait,
            max_held_per_worker,
        }
    }
}

/// Starts the links and the heartbeat.
fn start_peers(
    spec: &impl Fn(&str) -> Spec,
    arbiter: &ArbiterHandle,
    Peers { dialer, advertised, outlet, seeds, .. }: Peers,
    node: &NodeId,
    metrics: &Metrics,
    clock: &SharedClock,
) -> (Addr<PeerLinks>, Addr<Gossip>) {
    let (me, counts) = (node.clone(), metrics.peer.clone());
    let links = start_in(arbiter, &spec("peer_links"), move |_| PeerLinks::new(me.clone(), dialer(), counts.clone()));
    let setup = gossip::Setup { advertised, outlet, seeds, clock: clock.clone(), metrics: metrics.gossip.clone() };
    (links, start_in(arbiter, &spec("gossip"), Gossip::factory(setup)))
}

impl Worker {
    /// Starts the actors of worker `index` on the present thread.
    ///
    /// # Panics
    /// Outside of an arbiter's thread.
    #[must_use]
    pub fn start(node: &Node, index: usize) -> Self {
        let label = format!("worker-{index}");
        let spec =
            |kind: &str| Spec::new(&node.registry, format!("{kind}-{index}")).arbiter(&label).capacity(BUSY_MAILBOX);
        let (database, counts) = (node.database.clone(), node.metrics.store.clone());
        let store = start(&spec("store_reader"), move |_| StoreReader::new(database.clone(), counts.clone()));
        let (cache, loads, mark_wait) = (node.cache.clone(), store.clone(), node.mark_wait);
        let reader = start(&spec("reader"), move |_| Reader::new(cache.clone(), loads.clone(), mark_wait));
        let (bus, max_watches) = (node.bus.clone(), node.max_held_per_worker);
        let coordinator = start(&spec("coordinator"), move |_| Coordinator::new(bus.clone(), max_watches));
        let (bus, by, max_polls, counts) =
            (node.bus.clone(), reader.clone().recipient(), node.max_held_per_worker, node.metrics.push.clone());
        let long_poll =
            start(&spec("long_poll"), move |_| LongPoll::new(bus.clone(), by.clone(), max_polls, counts.clone()));
        Self { reader, store, coordinator, long_poll, node: node.clone() }
    }
}

#[cfg(test)]
mod tests;
