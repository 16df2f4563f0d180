//! The figures that actors count besides their messages. Each actor is handed the group it counts in; exporting them
//! is the registry's business. Never holds a name or content of a configuration.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// Every group of figures of a node.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// The cache.
    pub cache: CacheMetrics,
    /// The store.
    pub store: StoreMetrics,
    /// The way of a publish.
    pub publish: PublishMetrics,
    /// What subscribers are sent.
    pub push: PushMetrics,
    /// The membership.
    pub lease: LeaseMetrics,
    /// The links to other nodes.
    pub peer: PeerMetrics,
    /// What is known of other nodes.
    pub gossip: GossipMetrics,
    /// Native sessions.
    pub session: SessionMetrics,
    /// Clients of Nacos over gRPC.
    pub grpc: GrpcMetrics,
}

/// What native sessions do.
#[derive(Debug, Clone, Default)]
pub struct SessionMetrics {
    /// Requests by kind.
    pub requests: Family<RequestLabel, Counter>,
    /// Sessions that ended, by reason.
    pub ended: Family<EndLabel, Counter>,
    /// What happened to pushes.
    pub pushes: Family<StepLabel, Counter>,
}

/// The label of [`SessionMetrics::requests`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabel {
    /// As in the protocol.
    pub kind: &'static str,
}

/// The label of [`SessionMetrics::ended`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct EndLabel {
    /// `closed`, `broken`, `stalled`, `drained`, `silent`, or the code of the error that the client was told.
    pub reason: &'static str,
}

/// The label of [`SessionMetrics::pushes`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StepLabel {
    /// `sent`, `applied`, `rejected`, `superseded` or `lost`; of a notice `sent`, `repeated`, `acknowledged` or
    /// `given_up`.
    pub step: &'static str,
}

/// What clients of Nacos do over gRPC.
#[derive(Debug, Clone, Default)]
pub struct GrpcMetrics {
    /// Requests by type.
    pub requests: Family<TypeLabel, Counter>,
    /// Connections that ended, by reason.
    pub ended: Family<EndLabel, Counter>,
    /// What happened to notices.
    pub notices: NoticeMetrics,
    /// Connections that are set up, by SDK.
    connections: Family<SdkLabel, Gauge>,
    /// The same, to know how many labels there are.
    sdks: Arc<Mutex<HashMap<SdkLabel, u64>>>,
}

/// What happened to notices: each was counted under its step.
#[derive(Debug, Clone)]
pub struct NoticeMetrics {
    family: Family<StepLabel, Counter>,
    /// Sent for the first time.
    pub sent: Counter,
    /// Sent again.
    pub repeated: Counter,
    /// Acknowledged.
    pub acknowledged: Counter,
    /// Sent often enough without an acknowledgement.
    pub given_up: Counter,
}

impl Default for NoticeMetrics {
    fn default() -> Self {
        let family = Family::<StepLabel, Counter>::default();
        let step = |step: &'static str| family.get_or_create_owned(&StepLabel { step });
        let (sent, repeated) = (step("sent"), step("repeated"));
        let (acknowledged, given_up) = (step("acknowledged"), step("given_up"));
        Self { family, sent, repeated, acknowledged, given_up }
    }
}

/// The label of [`GrpcMetrics::requests`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TypeLabel {
    /// The class of the request; `other` for one that is not known.
    pub r#type: &'static str,
}

/// The label of the connections of [`GrpcMetrics`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SdkLabel {
    /// `java`, `go`, `python`, `rust`, `csharp` or `other`.
    pub sdk: &'static str,
    /// The numbers of its version; `other` where it says none, or where too many different ones are connected.
    pub version: String,
}

/// What stands for whatever is not told apart.
const OTHER: &str = "other";

impl SdkLabel {
    /// The label of a program that calls itself such as `Nacos-Java-Client:v2.5.1`.
    fn of(software: &str) -> Self {
        const KNOWN: [&str; 5] = ["java", "go", "python", "rust", "csharp"];
        let (name, version) = software.split_once(':').unwrap_or((software, ""));
        let name = name.to_ascii_lowercase();
        let sdk = KNOWN.into_iter().find(|sdk| name.split('-').any(|part| part == *sdk)).unwrap_or(OTHER);
        let numbers = version.trim_start_matches(['v', 'V']);
        let is_plain =
            (1..=16).contains(&numbers.len()) && numbers.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        Self { sdk, version: if is_plain { numbers } else { OTHER }.to_owned() }
    }
}

/// What the lease keeper does.
#[derive(Debug, Clone, Default)]
pub struct LeaseMetrics {
    /// Operations on membership rows by result.
    pub operations: Family<ResultLabel, Counter>,
    /// One while the node is a member.
    pub member: Gauge,
    /// One while another node reaches another member of the database.
    pub elsewhere: Gauge,
    /// Acks of this node's batches, by the node that acknowledged.
    pub acks: Family<NodeLabel, Counter>,
    /// Notifications that a node would not mark.
    pub nacks: Counter,
}

/// The label of [`LeaseMetrics::acks`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct NodeLabel {
    /// The node.
    pub node: String,
}

/// The label of [`LeaseMetrics::operations`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ResultLabel {
    /// `join`, `renew`, `fence`, `revoke`, `floor` or `timeline`.
    pub operation: &'static str,
    /// `done`, `failed`, or what else came of it: `refused`, `held`, `incompatible`, `fenced`, `missed`, `begun`.
    pub result: &'static str,
}

/// What the links to other nodes carry.
#[derive(Debug, Clone, Default)]
pub struct PeerMetrics {
    /// Frames handed to links.
    pub frames_out: Counter,
    /// Their bytes.
    pub bytes_out: Counter,
    /// Frames that arrived.
    pub frames_in: Counter,
    /// Their bytes.
    pub bytes_in: Counter,
    /// Messages that were lost because there was no link or no room.
    pub dropped: Counter,
    /// Frames that arrived and could not be understood.
    pub garbled: Counter,
    /// Links that were opened again after they had been lost.
    pub reconnects: Counter,
    /// Connections that were turned away before they were links.
    pub refused: Counter,
    /// Peers to which there is a link.
    pub linked: Gauge,
}

/// What the cache does.
#[derive(Debug, Clone, Default)]
pub struct CacheMetrics {
    /// Reads answered from memory.
    pub hits: Counter,
    /// Reads that found nothing in memory.
    pub misses: Counter,
    /// Reads of a key that a publish was about to change.
    pub marked: Counter,
    /// Reads without read lease.
    pub untrusted: Counter,
    /// Statements that loaded entries.
    pub loads: Counter,
    /// Entries loaded but not kept, since a publish came in between.
    pub poisoned: Counter,
    /// Entries pushed out by others.
    pub evictions: Counter,
    /// Differences to the database that the refresh repaired.
    pub repairs: Counter,
    /// Bytes held.
    pub bytes: Gauge,
    /// Entries held.
    pub entries: Gauge,
}

/// What the store does.
#[derive(Debug, Clone)]
pub struct StoreMetrics {
    /// Units a transaction carried.
    pub batch_units: Histogram,
    /// Duration of a commit.
    pub commit_seconds: Histogram,
    /// Duration of a load.
    pub read_seconds: Histogram,
    /// Failures by kind.
    pub failures: Family<FailureLabel, Counter>,
    /// 1 as long as commits go through, 0 while they fail or hang.
    pub writable: Gauge,
    /// 1 as long as the database answers reads, 0 while it does not.
    pub readable: Gauge,
}

/// The label of [`StoreMetrics::failures`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FailureLabel {
    /// `read`, `aborted` or `unknown`.
    pub kind: &'static str,
}

/// What publishes go through.
#[derive(Debug, Clone)]
pub struct PublishMetrics {
    /// Publishes by outcome.
    pub outcomes: Family<OutcomeLabel, Counter>,
    /// Publishes that wait for their batch.
    pub queued: Gauge,
    /// Duration of each stage.
    pub stage_seconds: Family<StageLabel, Histogram, fn() -> Histogram>,
}

/// The label of [`PublishMetrics::outcomes`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabel {
    /// `done`, `refused`, `busy`, `failed`, `rejected` or `unknown`.
    pub outcome: &'static str,
}

/// The label of [`PublishMetrics::stage_seconds`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StageLabel {
    /// `total` (queued to answered) or `acks` (notified to commit).
    pub stage: &'static str,
}

/// What subscribers are sent.
#[derive(Debug, Clone)]
pub struct PushMetrics {
    /// Changes handed to subscribers.
    pub sent: Counter,
    /// Requests held by kind.
    pub held: Family<HeldLabel, Gauge>,
    /// Changes read from the feed because no event brought them.
    pub fetched: Counter,
    /// Times a subscriber of the event bus fell behind its bound.
    pub lagged: Counter,
    /// Revisions that the database was ahead of what subscribers had been told, when it was last asked.
    pub feed_lag: Gauge,
}

/// The label of [`PushMetrics::held`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct HeldLabel {
    /// `wait`, `stream`, `long_poll`, `tcp`, `websocket` or `grpc`.
    pub kind: &'static str,
}

/// What gossip does, and what it makes of the nodes.
#[derive(Debug, Clone, Default)]
pub struct GossipMetrics {
    /// Datagrams that were sent, and that came in and were opened.
    pub datagrams: Family<DirectionLabel, Counter>,
    /// Datagrams that came in and were dropped.
    pub refused: Family<RefusalLabel, Counter>,
    /// Nodes by state, the local one included.
    pub members: Family<MemberStateLabel, Gauge>,
    /// What happened to nodes.
    pub transitions: Family<TransitionLabel, Counter>,
}

/// The label of [`GossipMetrics::datagrams`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DirectionLabel {
    /// `in` or `out`.
    pub direction: &'static str,
}

/// The label of [`GossipMetrics::refused`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RefusalLabel {
    /// `sealed` (no key opens it), `malformed`, `crowded` (a node too many) or `busy` (more came than were read).
    pub reason: &'static str,
}

/// The label of [`GossipMetrics::members`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct MemberStateLabel {
    /// `joining`, `up`, `suspect`, `leaving`, `down` or `removed`.
    pub state: &'static str,
}

/// The label of [`GossipMetrics::transitions`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TransitionLabel {
    /// `up`, `suspect`, `down`, `leaving` or `removed`.
    pub event: &'static str,
}

/// From 50 µs to 26 s: longer than the longest publish that is answered.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.000_05, 2.0, 20))
}

/// A gauge that begins at 1.
fn up() -> Gauge {
    let gauge = Gauge::default();
    gauge.set(1);
    gauge
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            cache: CacheMetrics::default(),
            store: StoreMetrics {
                batch_units: Histogram::new(exponential_buckets(1.0, 2.0, 9)),
                commit_seconds: seconds(),
                read_seconds: seconds(),
                failures: Family::default(),
                writable: up(),
                readable: up(),
            },
            publish: PublishMetrics {
                outcomes: Family::default(),
                queued: Gauge::default(),
                stage_seconds: Family::new_with_constructor(seconds as fn() -> Histogram),
            },
            push: PushMetrics {
                sent: Counter::default(),
                held: Family::default(),
                fetched: Counter::default(),
                lagged: Counter::default(),
                feed_lag: Gauge::default(),
            },
            lease: LeaseMetrics::default(),
            peer: PeerMetrics::default(),
            session: SessionMetrics::default(),
            grpc: GrpcMetrics::default(),
            gossip: GossipMetrics::default(),
        }
    }
}

impl Metrics {
    /// Registers every figure under its public name.
    pub fn register(&self, registry: &mut Registry) {
        self.cache.register(registry);
        self.store.register(registry);
        self.publish.register(registry);
        self.push.register(registry);
        self.lease.register(registry);
        self.peer.register(registry);
        self.gossip.register(registry);
        self.session.register(registry);
        self.grpc.register(registry);
    }
}

impl CacheMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register("callboard_cache_hits", "Reads answered from memory", self.hits.clone());
        registry.register("callboard_cache_misses", "Reads that found nothing in memory", self.misses.clone());
        registry.register("callboard_cache_marked_reads", "Reads of a key under publication", self.marked.clone());
        registry.register("callboard_cache_untrusted_reads", "Reads without read lease", self.untrusted.clone());
        registry.register("callboard_cache_loads", "Statements that loaded entries", self.loads.clone());
        registry.register(
            "callboard_cache_poisoned_loads",
            "Loaded entries not kept because a publish came in between",
            self.poisoned.clone(),
        );
        registry.register("callboard_cache_evictions", "Entries pushed out by others", self.evictions.clone());
        registry.register("callboard_cache_repairs", "Differences the refresh repaired", self.repairs.clone());
        registry.register("callboard_cache_bytes", "Bytes held by the cache", self.bytes.clone());
        registry.register("callboard_cache_entries", "Entries held by the cache", self.entries.clone());
    }
}

impl StoreMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register("callboard_store_batch_units", "Units in one transaction", self.batch_units.clone());
        registry.register_with_unit(
            "callboard_store_commit",
            "Duration of a commit",
            Unit::Seconds,
            self.commit_seconds.clone(),
        );
        registry.register_with_unit(
            "callboard_store_read",
            "Duration of a load",
            Unit::Seconds,
            self.read_seconds.clone(),
        );
        registry.register("callboard_store_failures", "Database failures by kind", self.failures.clone());
        let help = "1 as long as commits go through, 0 while they fail or hang";
        registry.register("callboard_store_writable", help, self.writable.clone());
        let help = "1 as long as the database answers reads, 0 while it does not";
        registry.register("callboard_store_readable", help, self.readable.clone());
    }
}

impl PublishMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register("callboard_publishes", "Publishes by outcome", self.outcomes.clone());
        registry.register("callboard_publish_queued", "Publishes waiting for their batch", self.queued.clone());
        registry.register_with_unit(
            "callboard_publish_stage",
            "Duration of the stages of a publish",
            Unit::Seconds,
            self.stage_seconds.clone(),
        );
    }
}

impl PushMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register("callboard_pushes", "Changes handed to subscribers", self.sent.clone());
        registry.register("callboard_held_requests", "Requests held open by kind", self.held.clone());
        registry.register(
            "callboard_feed_fetched",
            "Changes read from the feed because no event brought them",
            self.fetched.clone(),
        );
        registry.register(
            "callboard_event_bus_lagged",
            "Times a subscriber of the event bus fell behind",
            self.lagged.clone(),
        );
        registry.register(
            "callboard_feed_lag",
            "Revisions the database was ahead of the subscribers when last asked",
            self.feed_lag.clone(),
        );
    }
}

impl LeaseMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register(
            "callboard_lease_operations",
            "Operations on membership rows by result",
            self.operations.clone(),
        );
        registry.register("callboard_acks", "Acks of own batches by the node that marked them", self.acks.clone());
        registry.register("callboard_nacks", "Notifications that a node would not mark", self.nacks.clone());
        registry.register("callboard_lease_member", "1 while the node is a member", self.member.clone());
        registry.register(
            "callboard_lease_elsewhere",
            "1 while another node reaches another member of the database",
            self.elsewhere.clone(),
        );
    }
}

impl PeerMetrics {
    fn register(&self, registry: &mut Registry) {
        let counters = [
            ("frames_sent", "Frames handed to links", &self.frames_out),
            ("bytes_sent", "Bytes of the frames handed to links", &self.bytes_out),
            ("frames_received", "Frames that arrived on links", &self.frames_in),
            ("bytes_received", "Bytes of the frames that arrived on links", &self.bytes_in),
            ("dropped", "Messages to or from peers that were lost for want of a link or of room", &self.dropped),
            ("garbled", "Frames of peers that could not be understood", &self.garbled),
            ("reconnects", "Links that were opened again after they had been lost", &self.reconnects),
            ("refused", "Connections that were turned away before they were links", &self.refused),
        ];
        for (name, help, counter) in counters {
            registry.register(format!("callboard_peer_{name}"), help, counter.clone());
        }
        registry.register("callboard_peer_linked", "Peers to which there is a link", self.linked.clone());
    }
}

impl GossipMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register("callboard_gossip_datagrams", "Datagrams of gossip by direction", self.datagrams.clone());
        registry.register("callboard_gossip_refused", "Datagrams dropped by reason", self.refused.clone());
        registry.register("callboard_members", "Nodes by state, this one included", self.members.clone());
        registry.register("callboard_member_events", "What happened to nodes", self.transitions.clone());
    }
}

impl GrpcMetrics {
    /// Most versions of SDKs that are told apart.
    const MAX_VERSIONS: usize = 64;

    /// A client that says it is this program has set its connection up.
    pub fn connected(&self, software: &str) -> SdkLabel {
        let mut label = SdkLabel::of(software);
        let mut sdks = self.sdks.lock().unwrap_or_else(PoisonError::into_inner);
        if sdks.len() >= Self::MAX_VERSIONS && !sdks.contains_key(&label) {
            OTHER.clone_into(&mut label.version);
        }
        *sdks.entry(label.clone()).or_default() += 1;
        self.connections.get_or_create(&label).inc();
        label
    }

    /// Its connection has ended.
    pub fn disconnected(&self, label: &SdkLabel) {
        let mut sdks = self.sdks.lock().unwrap_or_else(PoisonError::into_inner);
        self.connections.get_or_create(label).dec();
        if let Some(count) = sdks.get_mut(label) {
            *count -= 1;
            if *count == 0 {
                sdks.remove(label);
                self.connections.remove(label);
            }
        }
    }

    fn register(&self, registry: &mut Registry) {
        registry.register("callboard_grpc_requests", "Requests of Nacos's clients by type", self.requests.clone());
        registry.register(
            "callboard_grpc_ended",
            "Connections of Nacos's clients that ended by reason",
            self.ended.clone(),
        );
        registry.register("callboard_grpc_notices", "What happened to notices", self.notices.family.clone());
        registry.register(
            "callboard_grpc_connections",
            "Connections of Nacos's clients by SDK",
            self.connections.clone(),
        );
    }
}

impl SessionMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register("callboard_session_requests", "Requests on native sessions by kind", self.requests.clone());
        registry.register("callboard_sessions_ended", "Native sessions that ended by reason", self.ended.clone());
        registry.register("callboard_session_pushes", "What happened to pushes", self.pushes.clone());
    }
}
