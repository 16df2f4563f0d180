//! The part of a node below the publisher, as wiring starts it, on a database of its own. A witness stands in for its
//! peers.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::mpsc;

use actix::{Addr, Recipient};
use actix_rt::{Arbiter, ArbiterHandle};
use callboard_protocol::member::{Incarnation, MemberRow, NodeId};
use callboard_protocol::{lease, receiver};

use super::{Database, Desk, Received, Witness, clock, query, until};
use crate::cache::writer::CacheWriter;
use crate::cache::{Cache, CacheOptions};
use crate::change_feed::{self, ChangeFeed};
use crate::clock::SharedClock;
use crate::cluster_notify::{Arguments, ClusterNotify, Deps};
use crate::event_bus::{ConfigEvent, EventBus, Subscribe};
use crate::lease_keeper::{self, LeaseKeeper, LeaseOptions, MembershipChanged};
use crate::metrics::Metrics;
use crate::runtime::{Registry, Spec, start, start_in};
use crate::store_reader::{Fill, StoreReader};
use crate::store_writer::StoreWriter;
use crate::subscription::Subscription;
use crate::transport::{FromPeer, PeerMessage, Subscribing, Transport};

/// What this node says to its peers; `None` is all of them.
type Said = (Option<NodeId>, PeerMessage);

/// A way to peers that are not there.
#[derive(Clone, Default)]
struct Wire {
    said: Rc<RefCell<Vec<Said>>>,
    listener: Rc<RefCell<Option<Recipient<FromPeer>>>>,
}

impl Transport for Wire {
    fn send(&self, to: &NodeId, message: PeerMessage) {
        self.said.borrow_mut().push((Some(to.clone()), message));
    }

    fn broadcast(&self, message: PeerMessage) {
        self.said.borrow_mut().push((None, message));
    }

    fn listen(&self, listener: Recipient<FromPeer>) -> Subscribing {
        *self.listener.borrow_mut() = Some(listener);
        Box::pin(std::future::pending())
    }
}

/// The leases of a node, over a cache on a thread of its own.
pub(crate) struct Leases {
    pub(crate) registry: Registry,
    pub(crate) metrics: Metrics,
    pub(crate) clock: SharedClock,
    pub(crate) database: Database,
    pub(crate) keeper: Addr<CacheWriter>,
    pub(crate) lease_keeper: Addr<LeaseKeeper>,
    /// What the lease keeper tells of the membership.
    pub(crate) memberships: Received<MembershipChanged>,
    cache_thread: ArbiterHandle,
    _membership: Subscription,
}

impl Leases {
    pub(crate) async fn start(terms: lease::LeaseMode) -> Self {
        let (registry, metrics, clock) = (Registry::new(), Metrics::default(), clock());
        let database = Database::create().await;
        let cache = Cache::new(CacheOptions { max_bytes: 1 << 20 }, clock.clone(), metrics.cache.clone());
        let (loads, _) = Desk::<Fill>::open();
        let cache_thread = Arbiter::new().handle();
        let keeper = start_in(&cache_thread, &Spec::new(&registry, "cache"), move |_| {
            CacheWriter::new(cache.clone(), loads.clone())
        });
        let (writer, around, time) = (database.writer.for_leases(), (keeper.clone(), None), clock.clone());
        let counts = metrics.lease.clone();
        let lease_keeper = start(&Spec::new(&registry, "lease_keeper"), move |_| {
            LeaseKeeper::new(options(terms), writer.clone(), around.clone(), time.clone(), counts.clone())
        });
        let (subscriber, memberships) = Witness::start();
        let membership = query(&lease_keeper, lease_keeper::Subscribe(subscriber)).await;
        Self {
            registry,
            metrics,
            clock,
            database,
            keeper,
            lease_keeper,
            memberships,
            cache_thread,
            _membership: membership,
        }
    }

    /// The life in which the node is a member, once it is one in another life than `before`.
    pub(crate) async fn joined(&self, before: Option<Incarnation>) -> Incarnation {
        let is_new = |told: &MembershipChanged| told.incarnation.is_some() && told.incarnation != before;
        self.memberships.until(is_new).await.incarnation.unwrap()
    }

    /// Keeps the thread of the cache busy until what this returns is dropped.
    pub(crate) fn keep_cache_busy(&self) -> mpsc::Sender<()> {
        let (free, busy) = mpsc::channel();
        self.cache_thread.spawn_fn(move || assert!(busy.recv().is_err(), "nothing is ever sent"));
        free
    }

    /// The rows that the database has.
    pub(crate) async fn rows(&self) -> Vec<MemberRow> {
        self.database.writer.observe().await.unwrap().rows
    }
}

/// Options of the node "n1" on these terms.
pub(crate) fn options(terms: lease::LeaseMode) -> LeaseOptions {
    LeaseOptions {
        node: me(),
        boot_id: "a boot".into(),
        address: "127.0.0.1:1".into(),
        versions: (1, 1),
        lease: lease::Options { terms, ..lease::Options::default() },
        memory: None,
    }
}

/// The node itself.
pub(crate) fn me() -> NodeId {
    NodeId("n1".into())
}

/// A node whose peers the test plays.
pub(crate) struct Node {
    pub(crate) leases: Leases,
    pub(crate) cluster_notify: Addr<ClusterNotify>,
    /// What subscribers to configurations are told.
    pub(crate) told: Received<ConfigEvent>,
    wire: Wire,
    _subscription: Subscription,
}

impl Node {
    /// Starts a node that is about to become a member.
    pub(crate) async fn start(options: receiver::Options) -> Self {
        let leases = Leases::start(lease::LeaseMode::Forever).await;
        let Leases { registry, metrics, database, .. } = &leases;
        let spec = |name: &str| Spec::new(registry, name).capacity(1_024);
        let (reads, counts) = (database.reader.clone(), metrics.store.clone());
        let reader = start(&spec("store_reader"), move |_| StoreReader::new(reads.clone(), counts.clone()));
        let (writes, counts, time) = (database.writer.clone(), metrics.store.clone(), leases.clock.clone());
        let writer =
            start(&spec("store_writer"), move |_| StoreWriter::new(writes.clone(), counts.clone(), time.clone()));
        let counts = metrics.push.clone();
        let bus = start(&spec("event_bus"), move |_| EventBus::new(counts.clone()));
        let (listener, told) = Witness::start();
        let subscription = query(&bus, Subscribe(listener)).await;
        let (store, membership) = (reader.clone().recipient(), leases.lease_keeper.clone().recipient());
        let around = change_feed::Deps { store, cache: leases.keeper.clone(), bus, membership };
        let (time, counts) = (leases.clock.clone(), metrics.push.clone());
        let feed = start(&spec("change_feed"), move |_| ChangeFeed::new(around.clone(), time.clone(), counts.clone()));
        let deps = Deps {
            cache: leases.keeper.clone(),
            feed: feed.clone(),
            reader: reader.recipient(),
            writer,
            lease_keeper: leases.lease_keeper.clone(),
            links: None,
        };
        let known = leases.database.reader.known_extent();
        let (wire, built) = (Wire::default(), std::cell::Cell::new(false));
        let (way, time, counts) = (wire.clone(), leases.clock.clone(), metrics.lease.clone());
        let cluster_notify = start(&spec("cluster_notify"), move |_| {
            ClusterNotify::new(Arguments {
                node: me(),
                options: options.clone(),
                deps: deps.clone(),
                transport: Box::new(way.clone()),
                clock: time.clone(),
                known: known.clone(),
                metrics: counts.clone(),
                is_rebuilt: built.replace(true),
            })
        });
        Self { leases, cluster_notify, told, wire, _subscription: subscription }
    }

    /// A peer says something.
    pub(crate) fn receive(&self, message: PeerMessage) {
        self.wire.listener.borrow().as_ref().unwrap().do_send(FromPeer(message));
    }

    /// Waits until the node says something to a peer of which this can be made; what it said before is dropped.
    pub(crate) async fn said<T>(&self, mut find: impl FnMut(&Option<NodeId>, &PeerMessage) -> Option<T>) -> T {
        let said = &self.wire.said;
        until("a message to a peer", || said.borrow_mut().drain(..).find_map(|(to, message)| find(&to, &message))).await
    }

    /// What the node has said and nobody has looked at.
    pub(crate) fn unread(&self) -> Vec<Said> {
        self.wire.said.borrow().clone()
    }
}
