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

/// Declares a group of figures: of each what it counts, its name and type in the code, how it begins unless at zero,
/// and its public name, unit and help.
macro_rules! figures {
    (
        $(#[$group_doc:meta])*
        $group:ident {
            $(
                $(#[$doc:meta])*
                $figure:ident: $type:ty $(= $first:expr)? => $name:literal $(in $unit:ident)?, $help:literal;
            )*
        }
    ) => {
        $(#[$group_doc])*
        #[derive(Debug, Clone)]
        pub struct $group {
            $($(#[$doc])* pub $figure: $type,)*
        }

        impl Default for $group {
            fn default() -> Self {
                Self { $($figure: figures!(@first $($first)?),)* }
            }
        }

        impl $group {
            fn register(&self, registry: &mut Registry) {
                $(figures!(@register registry, $name, $help, self.$figure.clone() $(, $unit)?);)*
            }
        }
    };
    (@first) => { Default::default() };
    (@first $first:expr) => { $first };
    (@register $registry:ident, $name:literal, $help:literal, $figure:expr) => {
        $registry.register($name, $help, $figure)
    };
    (@register $registry:ident, $name:literal, $help:literal, $figure:expr, $unit:ident) => {
        $registry.register_with_unit($name, $help, Unit::$unit, $figure)
    };
}

/// Every group of figures of a node.
#[derive(Debug, Clone, Default)]
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
    /// What is written down.
    pub audit: AuditMetrics,
    /// What is logged.
    pub log: LogMetrics,
}

figures! {
    /// What is logged, and is not.
    LogMetrics {
        /// Lines of libraries that were not shown.
        suppressed: SuppressedLines => "callboard_log_suppressed", "Lines of libraries that were not logged, by their module";
    }
}

/// Lines that were not logged.
pub type SuppressedLines = Family<SuppressedLabel, Counter>;

/// The label of [`LogMetrics::suppressed`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SuppressedLabel {
    /// The module of a library, as it is named in the program.
    pub target: &'static str,
}

figures! {
    /// What is written down besides what transactions write.
    AuditMetrics {
        /// Records of what happened elsewhere than in a transaction.
        records: Counter => "callboard_audit_records", "Records of events other than writes";
        /// Events in them; those that were summed count each.
        events: Counter => "callboard_audit_events", "Events other than writes that were recorded";
        /// Events that found no room.
        left_out: Counter => "callboard_audit_left_out", "Events that found no room and are counted in a record alone";
        /// Records that could not be written, and were tried again.
        failures: Counter => "callboard_audit_failures", "Records that could not be written at once";
    }
}

figures! {
    /// What native sessions do.
    SessionMetrics {
        /// Requests by kind.
        requests: Family<RequestLabel, Counter> => "callboard_session_requests", "Requests on native sessions by kind";
        /// Sessions that ended, by reason.
        ended: Family<EndLabel, Counter> => "callboard_sessions_ended", "Native sessions that ended by reason";
        /// What happened to pushes.
        pushes: Family<StepLabel, Counter> => "callboard_session_pushes", "What happened to pushes";
    }
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

figures! {
    /// What the lease keeper does.
    LeaseMetrics {
        /// Operations on membership rows by result.
        operations: Family<ResultLabel, Counter> =>
            "callboard_lease_operations", "Operations on membership rows by result";
        /// One while the node is a member.
        member: Gauge => "callboard_lease_member", "1 while the node is a member";
        /// One while another node reaches another member of the database.
        elsewhere: Gauge => "callboard_lease_elsewhere", "1 while another node reaches another member of the database";
        /// One while a linked node has its lease in another database.
        split: Gauge =>
            "callboard_lease_split", "1 while a linked node has its lease in another database: nothing is acknowledged";
        /// Acks of this node's batches, by the node that acknowledged.
        acks: Family<NodeLabel, Counter> => "callboard_acks", "Acks of own batches by the node that marked them";
        /// Notifications that a node would not mark.
        nacks: Counter => "callboard_nacks", "Notifications that a node would not mark";
    }
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

figures! {
    /// What the links to other nodes carry.
    PeerMetrics {
        /// Frames handed to links.
        frames_out: Counter => "callboard_peer_frames_sent", "Frames handed to links";
        /// Their bytes.
        bytes_out: Counter => "callboard_peer_bytes_sent", "Bytes of the frames handed to links";
        /// Frames that arrived.
        frames_in: Counter => "callboard_peer_frames_received", "Frames that arrived on links";
        /// Their bytes.
        bytes_in: Counter => "callboard_peer_bytes_received", "Bytes of the frames that arrived on links";
        /// Messages that were lost because there was no link or no room.
        dropped: Counter =>
            "callboard_peer_dropped", "Messages to or from peers that were lost for want of a link or of room";
        /// Frames that arrived and could not be understood.
        garbled: Counter => "callboard_peer_garbled", "Frames of peers that could not be understood";
        /// Links that were opened again after they had been lost.
        reconnects: Counter => "callboard_peer_reconnects", "Links that were opened again after they had been lost";
        /// Connections that were turned away before they were links.
        refused: Counter => "callboard_peer_refused", "Connections that were turned away before they were links";
        /// Peers to which there is a link.
        linked: Gauge => "callboard_peer_linked", "Peers to which there is a link";
    }
}

figures! {
    /// What the cache does.
    CacheMetrics {
        /// Reads answered from memory.
        hits: Counter => "callboard_cache_hits", "Reads answered from memory";
        /// Reads that found nothing in memory.
        misses: Counter => "callboard_cache_misses", "Reads that found nothing in memory";
        /// Reads of a key that a publish was about to change.
        marked: Counter => "callboard_cache_marked_reads", "Reads of a key under publication";
        /// Reads without read lease.
        untrusted: Counter => "callboard_cache_untrusted_reads", "Reads without read lease";
        /// Statements that loaded entries.
        loads: Counter => "callboard_cache_loads", "Statements that loaded entries";
        /// Entries loaded but not kept, since a publish came in between.
        poisoned: Counter =>
            "callboard_cache_poisoned_loads", "Loaded entries not kept because a publish came in between";
        /// Entries pushed out by others.
        evictions: Counter => "callboard_cache_evictions", "Entries pushed out by others";
        /// Differences to the database that the refresh repaired.
        repairs: Counter => "callboard_cache_repairs", "Differences the refresh repaired";
        /// Bytes held.
        bytes: Gauge => "callboard_cache_bytes", "Bytes held by the cache";
        /// Entries held.
        entries: Gauge => "callboard_cache_entries", "Entries held by the cache";
    }
}

figures! {
    /// What the store does.
    StoreMetrics {
        /// Units a transaction carried.
        batch_units: Histogram = Histogram::new(exponential_buckets(1.0, 2.0, 9)) =>
            "callboard_store_batch_units", "Units in one transaction";
        /// Duration of a commit.
        commit_seconds: Histogram = seconds() => "callboard_store_commit" in Seconds, "Duration of a commit";
        /// Duration of a load.
        read_seconds: Histogram = seconds() => "callboard_store_read" in Seconds, "Duration of a load";
        /// Failures by kind.
        failures: Family<FailureLabel, Counter> => "callboard_store_failures", "Database failures by kind";
        /// Lists, searches and the like that run.
        searches_running: Gauge => "callboard_store_searches_running", "Lists, searches and the like that run";
        /// Those that were refused because too many waited.
        searches_refused: Counter =>
            "callboard_store_searches_refused", "Lists, searches and the like that were refused because too many waited";
        /// 1 as long as commits go through, 0 while they fail or hang.
        writable: Gauge = up() =>
            "callboard_store_writable", "1 as long as commits go through, 0 while they fail or hang";
        /// 1 as long as the database answers reads, 0 while it does not.
        readable: Gauge = up() =>
            "callboard_store_readable", "1 as long as the database answers reads, 0 while it does not";
    }
}

/// The label of [`StoreMetrics::failures`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FailureLabel {
    /// `read`, `aborted` or `unknown`.
    pub kind: &'static str,
}

figures! {
    /// What publishes go through.
    PublishMetrics {
        /// Publishes by outcome.
        outcomes: Family<OutcomeLabel, Counter> => "callboard_publishes", "Publishes by outcome";
        /// Publishes that wait for their batch.
        queued: Gauge => "callboard_publish_queued", "Publishes waiting for their batch";
        /// Their content.
        queued_bytes: Gauge => "callboard_publish_queued" in Bytes, "Content of publishes waiting for their batch";
        /// Duration of each stage.
        stage_seconds: Family<StageLabel, Histogram, fn() -> Histogram> = Family::new_with_constructor(seconds) =>
            "callboard_publish_stage" in Seconds, "Duration of the stages of a publish";
    }
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

figures! {
    /// What subscribers are sent.
    PushMetrics {
        /// Changes handed to subscribers.
        sent: Counter => "callboard_pushes", "Changes handed to subscribers";
        /// Requests held by kind.
        held: Family<HeldLabel, Gauge> => "callboard_held_requests", "Requests held open by kind";
        /// Changes read from the feed because no event brought them.
        fetched: Counter => "callboard_feed_fetched", "Changes read from the feed because no event brought them";
        /// Times a subscriber of the event bus fell behind its bound.
        lagged: Counter => "callboard_event_bus_lagged", "Times a subscriber of the event bus fell behind";
        /// Revisions that the database was ahead of what subscribers had been told, when it was last asked.
        feed_lag: Gauge => "callboard_feed_lag", "Revisions the database was ahead of the subscribers when last asked";
    }
}

/// The label of [`PushMetrics::held`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct HeldLabel {
    /// `wait`, `stream`, `long_poll`, `tcp`, `websocket` or `grpc`.
    pub kind: &'static str,
}

figures! {
    /// What gossip does, and what it makes of the nodes.
    GossipMetrics {
        /// Datagrams that were sent, and that came in and were opened.
        datagrams: Family<DirectionLabel, Counter> => "callboard_gossip_datagrams", "Datagrams of gossip by direction";
        /// Datagrams that came in and were dropped.
        refused: Family<RefusalLabel, Counter> => "callboard_gossip_refused", "Datagrams dropped by reason";
        /// Nodes by state, the local one included.
        members: Family<MemberStateLabel, Gauge> => "callboard_members", "Nodes by state, this one included";
        /// What happened to nodes.
        transitions: Family<TransitionLabel, Counter> => "callboard_member_events", "What happened to nodes";
    }
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
        self.audit.register(registry);
        self.log.register(registry);
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
