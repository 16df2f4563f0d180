//! The list of attacks: what each is called, what it is about, and what has to be there before. Owns the list; the
//! attacks themselves are in `attack`.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::Plan;
use super::attack::{bodies, connections, decoding, http2, publishes, unread, work};
use super::target::Target;

/// How long an attack with as many connections as there may be takes at least.
const OPENING: Duration = Duration::from_secs(20);

/// An attack. It goes on until it is dropped.
pub(super) type Attack = fn(Arc<Target>) -> BoxFuture<'static, ()>;

/// Something that is done to a node.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// What it is called.
    pub name: &'static str,
    /// What is done.
    pub about: &'static str,
    /// Which rule it belongs to, by the numbers that the table of a siege has.
    pub row: &'static str,
    pub(super) stock: Stock,
    pub(super) places: Places,
    /// What is judged besides.
    pub(super) also: Also,
    pub(super) attack: Attack,
}

/// What is stored before.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Stock {
    /// Configurations as long as one may be.
    pub(super) large: usize,
    /// Small ones.
    pub(super) many: usize,
}

/// How many connections the node takes over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Places {
    /// As it has it.
    Default,
    /// A few hundred.
    Few,
    /// As many as one address can open quickly.
    Reachable,
}

/// What is judged besides memory, latency and doors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Also {
    /// Nothing.
    Nothing,
    /// How many lines the node logs.
    LogLines,
    /// How much memory it keeps when nobody asks anything afterwards.
    Idleness,
    /// Good clients read what is in no memory.
    ColdReads,
    /// Whether native sessions and clients of Nacos find their doors open meanwhile.
    OtherDoors,
}

impl Stock {
    const NONE: Self = Self { large: 0, many: 0 };
    const LARGE: Self = Self { large: 8, many: 0 };

    /// As a plan wants it.
    pub(super) fn scaled(self, plan: &Plan) -> Self {
        Self { many: self.many.min(plan.configurations), ..self }
    }
}

impl Places {
    /// How long an attack takes that is to take so long: one that has very many connections to open takes its time.
    pub(super) fn length(self, length: Duration) -> Duration {
        match self {
            Self::Default | Self::Few => length,
            Self::Reachable => length.max(OPENING),
        }
    }
}

const fn plain(row: &'static str, name: &'static str, about: &'static str, attack: Attack) -> Scenario {
    Scenario { name, about, row, stock: Stock::NONE, places: Places::Default, also: Also::Nothing, attack }
}

const fn large(row: &'static str, name: &'static str, about: &'static str, attack: Attack) -> Scenario {
    Scenario { stock: Stock::LARGE, ..plain(row, name, about, attack) }
}

const fn many(many: usize, scenario: Scenario) -> Scenario {
    Scenario { stock: Stock { large: 0, many }, ..scenario }
}

const fn also(also: Also, scenario: Scenario) -> Scenario {
    Scenario { also, ..scenario }
}

const fn half_heads(places: Places, name: &'static str, about: &'static str) -> Scenario {
    Scenario { places, also: Also::OtherDoors, ..plain("6", name, about, connections::half_heads) }
}

/// Everything that can be done.
pub static ALL: &[Scenario] = &[
    plain("1", "grpc-elements", "gRPC, 31 KB of gzip: 10.8 million empty elements", decoding::grpc_elements),
    plain(
        "1",
        "grpc-values",
        "gRPC, 31 KB of gzip: 10.8 million values in a member of any form",
        decoding::grpc_values,
    ),
    plain("2", "native-held", "hello over TCP with 8 million empty `held`", decoding::native_held),
    plain("2", "websocket-held", "hello over WebSocket, 15 MiB: 5 million empty `held`", decoding::websocket_held),
    large("3", "unread-grpc", "gRPC queries of 10 MiB with a window of nothing", unread::grpc),
    large("3", "unread-websocket", "gets of 10 MiB over WebSocket that nobody reads", unread::websocket),
    large("3", "unread-http", "200 GETs of 10 MiB that nobody reads", unread::http),
    large("3", "unread-pipeline", "GETs of 10 MiB in one row on each of 20 connections", unread::pipeline),
    large("3", "unread-search", "64 pages of a search that nobody reads", unread::search),
    large("3", "unread-streams", "64 event streams of 80 MiB that nobody reads", unread::streams),
    large("3", "unread-history", "64 former versions of 10 MiB that nobody reads", unread::history),
    large("3", "unread-native", "gets of 10 MiB by 100 sessions over TCP that nobody reads", unread::native),
    plain("3", "unread-pongs", "pings over WebSocket and TCP whose answers nobody reads", unread::pongs),
    plain("4", "bodies-trickle", "1,000 bodies of 10 MiB, a byte every 9 s", bodies::trickle),
    plain("4", "bodies-unfinished", "100 forms of 31 MiB without their last byte", bodies::forms),
    plain("4", "lines-unfinished", "500 request lines of 4 MiB without their end", bodies::lines),
    plain("4", "frames-before-hello", "100 frames of 16 MiB without their last byte", bodies::frames),
    plain("4", "texts-before-hello", "100 texts of 15 MiB without their last byte", bodies::texts),
    plain("4", "grpc-before-setup", "messages of 31 MiB over gRPC without their last byte", bodies::messages),
    plain("5", "publishes-native", "40 sessions that publish 10 MiB, 60 at once", publishes::native),
    plain("5", "publishes-http", "64 connections that publish 10 MiB", publishes::http),
    half_heads(Places::Few, "half-heads", "half a second request on all of 200 connections"),
    half_heads(Places::Reachable, "half-heads-all", "the same on all of 14,000, or as many as may be open here"),
    plain("6", "handshakes", "2,000 connections to each door that begin a handshake of TLS", connections::handshakes),
    also(Also::ColdReads, many(90_000, plain("7", "searches", "32 × `?q=zzz` over 90,000", work::searches))),
    many(90_000, plain("7", "searches-nacos", "32 searches by patterns over 90,000", work::patterns)),
    many(10_000, plain("8", "listeners", "gRPC: 8 connections listen to 10,000 keys, go and come", work::listeners)),
    many(10_000, plain("8", "watchers", "8 sessions watch 10,000 keys, go and come", work::watchers)),
    many(10_000, plain("8", "streams", "8 event streams over 10,000 keys, go and come", work::streams)),
    also(Also::LogLines, plain("9", "rapid-reset", "HTTP/2: calls that are taken back at once", http2::rapid_reset)),
    plain("9", "continuations", "HTTP/2: a head without an end", http2::continuations),
    plain("9", "settings", "HTTP/2: settings and pings whose answers nobody reads", http2::settings),
    plain("9", "log-ins", "64 connections that try passwords", work::log_ins),
    also(Also::Idleness, large("10", "idle-after", "what is kept 10 s after unread answers", unread::http)),
];
