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
use tokio::sync::watch;

use crate::access_directory::{self, AccessDirectory, Known};
use crate::audit::{Audit, Trail};
use crate::cache::reader::CacheReader;
use crate::cache::writer::CacheWriter;
use crate::cache::{Cache, CacheOptions};
use crate::cache_refresh::{self, CacheRefresh};
use crate::change_feed::{self, ChangeFeed};
use crate::clock::SharedClock;
use crate::cluster_listener::{self, ClusterListener, Deps};
use crate::cluster_notify::{self, ClusterNotify};
use crate::conf_manager::{self, ConfManager};
use crate::coordinator::{self, Coordinator};
use crate::event_bus::EventBus;
use crate::gossip::{self, Advertised, Gossip, Outlet, Seeds};
use crate::lease_keeper::{LeaseKeeper, LeaseOptions};
use crate::long_poll::LongPoll;
use crate::metrics::{GossipMetrics, Metrics};
use crate::peer_links::{Dialer, LinkTransport, PeerLinks};
use crate::push_ledger::{AddWorker, PushLedger, WorkerActors};
use crate::retention::{AuditRetention, Retention};
use crate::runtime::{Context, Monitored, Registry, Spec, start, start_in};
use crate::session;
use crate::store;
use crate::store::KnownExtent;
use crate::store_reader::StoreReader;
use crate::store_writer::StoreWriter;
use crate::subscription::until_lost;
use crate::transport::{NoPeers, Transport};

/// The label of the arbiter on which everything lives that a node has once.
const CORE: &str = "core";
/// The label of the arbiter of the lease keeper.
const LEASE: &str = "lease";
/// Mailbox of an actor that many send to; `try_send` alone respects it.
const BUSY_MAILBOX: usize = 1_024;
/// Where the number of a worker stands in the numbers of its long polls.
const WORKER_SHIFT: u32 = 48;

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
    /// How long what happened is kept; `None` where it is not written down. A writer that is not audited writes none of
    /// it.
    pub audit: Option<AuditOptions>,
    /// Requests held at most on each worker.
    pub max_held_per_worker: usize,
    /// Watches of native sessions at most on each worker.
    pub max_session_watches_per_worker: usize,
}

impl NodeOptions {
    fn watch_capacity(&self) -> coordinator::Capacity {
        let (watches, session_watches) = (self.max_held_per_worker, self.max_session_watches_per_worker);
        coordinator::Capacity { watches, session_watches }
    }
}

/// How what happened is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditOptions {
    /// For how long; `None` for ever.
    pub retention: Option<Duration>,
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
    /// Over a transport of another kind, made for each life of the one who speaks.
    By(MakeTransport),
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
    /// How far subscribers have been told.
    pub change_feed: Addr<ChangeFeed>,
    /// What is known of every node.
    pub cluster_listener: Addr<ClusterListener>,
    /// Changes of users, roles, tokens and keys.
    pub access_directory: Addr<AccessDirectory>,
    /// Who may do what, as was read last.
    pub access: watch::Receiver<Known>,
    /// Where it is told what happened.
    pub audit: Trail,
    /// Who was pushed what.
    pub push_ledger: Addr<PushLedger>,
    /// The node's name.
    pub id: NodeId,
    /// The node's clock.
    pub clock: SharedClock,
    /// The links to other nodes; `None` for a node that has no peers.
    pub peer_links: Option<Addr<PeerLinks>>,
    /// The heartbeat; `None` for a node that has no peers.
    pub gossip: Option<Addr<Gossip>>,
    cache: Cache,
    bus: Addr<EventBus>,
    database: store::ReadPool,
    mark_wait: Duration,
    watch_capacity: coordinator::Capacity,
}

/// What each worker thread has: reads and watches never leave it.
#[derive(Debug, Clone)]
pub struct Worker {
    /// Reads by key.
    pub reader: Addr<CacheReader>,
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
        threads: Threads<'_>,
        options: NodeOptions,
        (writer, database): (store::Writer, store::ReadPool),
        way: Way,
        clock: SharedClock,
    ) -> Self {
        let leases = writer.for_leases();
        let scene = Scene::new(threads, &way, clock);
        let Scene { metrics, clock, .. } = &scene;

        let (reader, store_writer) = scene.start_store(writer, database.clone());
        let audit = scene.start_audit(&options, &store_writer);
        let (access_directory, access) = scene.start_access_directory(&reader, &store_writer, audit.clone());
        let cache = Cache::new(options.cache, clock.clone(), metrics.cache.clone());
        let (kept, loads) = (cache.clone(), reader.clone());
        let keeper = scene.start("cache", move |_| CacheWriter::new(kept.clone(), loads.clone().recipient()));
        let (peer_links, gossip, transport) = scene.start_way(way, &options.lease.node);
        let lease_keeper = scene.start_lease_keeper(&options.lease, leases, keeper.clone(), peer_links.clone());
        let (bus, change_feed) = scene.start_feed(reader.clone(), keeper.clone(), lease_keeper.clone());
        let push_ledger = scene.start_push_ledger(&options.lease.node, bus.clone(), change_feed.clone());
        let deps = Deps {
            lease_keeper: lease_keeper.clone(),
            feed: change_feed.clone(),
            links: peer_links.clone(),
            ledger: push_ledger.clone(),
        };
        let cluster_listener = scene.start_listener(&options.lease.node, gossip.clone(), bus.clone(), deps);
        let below = cluster_notify::Deps {
            cache: keeper.clone(),
            feed: change_feed.clone(),
            reader: reader.clone().recipient(),
            writer: store_writer.clone(),
            lease_keeper: lease_keeper.clone(),
            links: peer_links.clone(),
        };
        let cluster_notify = scene.start_cluster_notify(&options, below, (transport, database.known_extent()));
        let below = conf_manager::Deps {
            cluster_notify,
            writer: store_writer.clone().recipient(),
            lease_keeper: lease_keeper.clone(),
            audit: audit.clone(),
        };
        let conf_manager = scene.start_conf_manager(&options, below);
        scene.start_upkeep(&options, (keeper, lease_keeper.clone()), reader, store_writer.clone());
        let Scene { registry, metrics, clock, .. } = scene;
        Self {
            registry,
            metrics,
            conf_manager,
            store_writer,
            lease_keeper,
            change_feed,
            cluster_listener,
            access_directory,
            access,
            audit,
            push_ledger,
            watch_capacity: options.watch_capacity(),
            id: options.lease.node,
            clock,
            peer_links,
            gossip,
            cache,
            bus,
            database,
            mark_wait: options.mark_wait,
        }
    }
}

/// Makes a transport of another kind than links.
pub type MakeTransport = Box<dyn Fn() -> Box<dyn Transport> + Send>;

/// Where the actors of a node come up, and what all of them share.
struct Scene<'t> {
    threads: Threads<'t>,
    registry: Registry,
    metrics: Metrics,
    clock: SharedClock,
}

impl<'t> Scene<'t> {
    fn new(threads: Threads<'t>, way: &Way, clock: SharedClock) -> Self {
        let mut metrics = Metrics::default();
        if let Way::Linked(peers) = way {
            metrics.gossip = peers.metrics.clone();
        }
        Self { threads, registry: Registry::new(), metrics, clock }
    }

    fn spec(&self, name: &str) -> Spec {
        Spec::new(&self.registry, name).arbiter(CORE).capacity(BUSY_MAILBOX)
    }

    /// Starts an actor on the core thread.
    fn start<A: Monitored>(&self, name: &str, factory: impl Fn(&mut Context<A>) -> A + Send + 'static) -> Addr<A> {
        start_in(self.threads.core, &self.spec(name), factory)
    }

    fn start_conf_manager(&self, options: &NodeOptions, below: conf_manager::Deps) -> Addr<ConfManager> {
        let (publish, time, counts) = (options.publish.clone(), self.clock.clone(), self.metrics.publish.clone());
        self.start("conf_manager", move |_| {
            ConfManager::new(publish.clone(), below.clone(), time.clone(), counts.clone())
        })
    }

    /// Starts both sides of the store.
    fn start_store(&self, writer: store::Writer, database: store::ReadPool) -> (Addr<StoreReader>, Addr<StoreWriter>) {
        let counts = self.metrics.store.clone();
        let reader = self.start("store_reader-core", move |_| StoreReader::new(database.clone(), counts.clone()));
        let (counts, time) = (self.metrics.store.clone(), self.clock.clone());
        let writer =
            self.start("store_writer", move |_| StoreWriter::new(writer.clone(), counts.clone(), time.clone()));
        (reader, writer)
    }

    /// Starts the event bus, and the change feed above it.
    fn start_feed(
        &self,
        reader: Addr<StoreReader>,
        cache: Addr<CacheWriter>,
        lease_keeper: Addr<LeaseKeeper>,
    ) -> (Addr<EventBus>, Addr<ChangeFeed>) {
        let counts = self.metrics.push.clone();
        let bus = self.start("event_bus", move |_| EventBus::new(counts.clone()));
        let (store, membership) = (reader.recipient(), lease_keeper.recipient());
        let deps = change_feed::Deps { store, cache, bus: bus.clone(), membership };
        let (clock, counts) = (self.clock.clone(), self.metrics.push.clone());
        let feed = self.start("change_feed", move |_| ChangeFeed::new(deps.clone(), clock.clone(), counts.clone()));
        (bus, feed)
    }

    /// Starts the links and the heartbeat, if there are to be any.
    fn start_way(
        &self,
        way: Way,
        node: &NodeId,
    ) -> (Option<Addr<PeerLinks>>, Option<Addr<Gossip>>, Option<MakeTransport>) {
        let peers = match way {
            Way::Alone => return (None, None, None),
            Way::By(transport) => return (None, None, Some(transport)),
            Way::Linked(peers) => peers,
        };
        let Peers { dialer, advertised, outlet, seeds, metrics } = *peers;
        let (me, counts) = (node.clone(), self.metrics.peer.clone());
        let links = self.start("peer_links", move |_| PeerLinks::new(me.clone(), dialer(), counts.clone()));
        let arguments = gossip::Arguments { advertised, outlet, seeds, clock: self.clock.clone(), metrics };
        (Some(links), Some(self.start("gossip", Gossip::factory(arguments))), None)
    }

    fn start_lease_keeper(
        &self,
        options: &LeaseOptions,
        leases: store::Writer,
        cache: Addr<CacheWriter>,
        links: Option<Addr<PeerLinks>>,
    ) -> Addr<LeaseKeeper> {
        let (options, time, counts) = (options.clone(), self.clock.clone(), self.metrics.lease.clone());
        let own = Spec::new(&self.registry, "lease_keeper").arbiter(LEASE).capacity(BUSY_MAILBOX);
        start_in(self.threads.lease, &own, move |_| {
            let around = (cache.clone(), links.clone());
            LeaseKeeper::new(options.clone(), leases.clone(), around, time.clone(), counts.clone())
        })
    }

    /// Starts who writes down what happens, if it is to be.
    fn start_audit(&self, options: &NodeOptions, writer: &Addr<StoreWriter>) -> Trail {
        if options.audit.is_none() {
            return Trail::off();
        }
        let (node, writer, time) = (options.lease.node.clone(), writer.clone().recipient(), self.clock.clone());
        let counts = self.metrics.audit.clone();
        let actor =
            self.start("audit", move |_| Audit::new(node.clone(), writer.clone(), time.clone(), counts.clone()));
        Trail::new(actor, self.clock.clone(), self.metrics.audit.clone())
    }

    fn start_access_directory(
        &self,
        reader: &Addr<StoreReader>,
        writer: &Addr<StoreWriter>,
        audit: Trail,
    ) -> (Addr<AccessDirectory>, watch::Receiver<Known>) {
        let deps = access_directory::Deps {
            revision: reader.clone().recipient(),
            directory: reader.clone().recipient(),
            writer: writer.clone().recipient(),
            audit,
        };
        let (sender, known) = watch::channel(None);
        let (sender, clock) = (Arc::new(sender), self.clock.clone());
        let actor = self
            .start("access_directory", move |_| AccessDirectory::new(deps.clone(), clock.clone(), Arc::clone(&sender)));
        (actor, known)
    }

    /// Starts what runs by a schedule: the comparison of cache and database, and the deletion of old history.
    fn start_upkeep(
        &self,
        options: &NodeOptions,
        (keeper, leases): (Addr<CacheWriter>, Addr<LeaseKeeper>),
        reader: Addr<StoreReader>,
        writer: Addr<StoreWriter>,
    ) {
        let (loads, interval, repairs) = (reader.clone(), options.refresh_interval, self.metrics.cache.repairs.clone());
        self.start("cache_refresh", move |_| {
            let below = cache_refresh::Deps {
                cache: keeper.clone(),
                store: loads.clone().recipient(),
                membership: leases.clone().recipient(),
            };
            CacheRefresh::new(below, interval, repairs.clone())
        });
        let kept = options.audit.and_then(|audit| audit.retention);
        let audit = kept.map(|keep| AuditRetention { writer: writer.clone().recipient(), keep });
        let (by, from) = (writer.recipient(), reader.recipient());
        let (time, keep) = (self.clock.clone(), options.history_retention);
        self.start("retention", move |_| Retention::new((by.clone(), from.clone()), time.clone(), keep, audit.clone()));
    }

    fn start_push_ledger(&self, node: &NodeId, bus: Addr<EventBus>, feed: Addr<ChangeFeed>) -> Addr<PushLedger> {
        let (node, clock) = (node.clone(), self.clock.clone());
        self.start("push_ledger", move |_| {
            PushLedger::new(node.clone(), bus.clone(), feed.clone().recipient(), clock.clone())
        })
    }

    fn start_listener(
        &self,
        node: &NodeId,
        gossip: Option<Addr<Gossip>>,
        bus: Addr<EventBus>,
        deps: Deps,
    ) -> Addr<ClusterListener> {
        let arguments = cluster_listener::Arguments {
            node: node.clone(),
            gossip,
            bus,
            peers: deps.links.clone().map(Addr::recipient),
            deps: Some(deps),
            clock: self.clock.clone(),
            metrics: self.metrics.gossip.clone(),
        };
        self.start("cluster_listener", move |_| ClusterListener::new(arguments.clone()))
    }

    fn start_cluster_notify(
        &self,
        options: &NodeOptions,
        deps: cluster_notify::Deps,
        (another, known): (Option<MakeTransport>, KnownExtent),
    ) -> Addr<ClusterNotify> {
        let (node, options, clock) = (options.lease.node.clone(), options.receiver.clone(), self.clock.clone());
        let (metrics, counts) = (self.metrics.lease.clone(), self.metrics.peer.clone());
        let built = Cell::new(false);
        self.start("cluster_notify", move |_| {
            let transport: Box<dyn Transport> = match (&deps.links, &another) {
                (Some(links), _) => Box::new(LinkTransport::new(links.clone(), counts.clone())),
                (None, Some(make)) => make(),
                (None, None) => Box::new(NoPeers),
            };
            ClusterNotify::new(cluster_notify::Arguments {
                node: node.clone(),
                options: options.clone(),
                deps: deps.clone(),
                transport,
                clock: clock.clone(),
                known: known.clone(),
                metrics: metrics.clone(),
                is_rebuilt: built.replace(true),
            })
        })
    }
}

impl Worker {
    /// Those whom the conversations on this thread talk to.
    #[must_use]
    pub fn deps(&self) -> session::Deps {
        session::Deps {
            coordinator: self.coordinator.clone(),
            get: self.reader.clone().recipient(),
            get_many: self.reader.clone().recipient(),
            get_stale: self.reader.clone().recipient(),
            list: self.store.clone().recipient(),
            keys: self.store.clone().recipient(),
            search: self.store.clone().recipient(),
            publish: self.node.conf_manager.clone().recipient(),
        }
    }

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
        let (cache, loads, mark_wait) = (node.cache.clone(), store.clone().recipient(), node.mark_wait);
        let reader = start(&spec("reader"), move |_| CacheReader::new(cache.clone(), loads.clone(), mark_wait));
        let (bus, capacity, id) = (node.bus.clone(), node.watch_capacity, node.id.clone());
        let coordinator = start(&spec("coordinator"), move |_| Coordinator::new(bus.clone(), capacity, id.clone()));
        let (bus, by, counts) = (node.bus.clone(), reader.clone().recipient(), node.metrics.push.clone());
        let shown_as = (node.id.clone(), (index as u64).wrapping_shl(WORKER_SHIFT));
        let long_poll = start(&spec("long_poll"), move |_| {
            LongPoll::new(shown_as.clone(), bus.clone(), by.clone(), capacity.watches, counts.clone())
        });
        let actors = WorkerActors {
            connections: coordinator.clone().recipient(),
            polls: long_poll.clone().recipient(),
            watchers: coordinator.clone().recipient(),
        };
        drop(actix_rt::spawn(introduce(node.push_ledger.clone(), actors)));
        Self { reader, store, coordinator, long_poll, node: node.clone() }
    }
}

/// Tells the account who knows the clients of this thread, and again whenever it forgets.
async fn introduce(ledger: Addr<PushLedger>, actors: WorkerActors) {
    while ledger.connected() {
        let (ledger, actors) = (ledger.clone(), actors.clone());
        until_lost(async move { ledger.send(AddWorker(actors)).await }).await;
    }
}

#[cfg(test)]
mod tests;
