//! What can be asked of `callboard bench`, and which values are refused. Opens no connection.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};

use super::content;

/// Key numbers are written with this many digits.
pub(super) const KEY_DIGITS: usize = 7;
const MOST_KEYS: u64 = 10_000_000;
const MOST_BYTES: u64 = 10 * 1024 * 1024;
const MOST_CONNECTIONS: u64 = 1_000_000;
const LONGEST: f64 = 86_400.0;

#[derive(Debug, Parser)]
#[command(
    name = "callboard bench",
    about = "Measure a server that speaks the Nacos v1 interface",
    disable_version_flag = true,
    subcommand_required = true
)]
struct CommandLine {
    #[command(subcommand)]
    measure: Measure,
}

/// The grammar of everything after the word `bench`.
#[must_use]
pub fn grammar() -> clap::Command {
    <CommandLine as clap::CommandFactory>::command()
}

/// What to measure.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum Measure {
    /// Publish keys, then read them at random and check what comes back
    Get(KeyOptions),
    /// Publish new contents at random, then read back whether the last acknowledged ones are there
    Publish(KeyOptions),
    /// Hold long polls on one key, publish it, and see when and whether each of them hears
    Longpoll(LongPollOptions),
    /// Hold native sessions that watch one key, publish it, and see when each of them hears and answers
    Session(SessionOptions),
    /// Hold connections of Nacos's gRPC that listen to one key, publish it, and see when each is told and has the
    /// content
    Grpcpush(GrpcPushOptions),
    /// Serve a fixed 1 KiB answer from a process of our own and measure that: the limit of the HTTP stack
    Static(StaticOptions),
}

/// Where the server is and under which names the measure works.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct Target {
    /// The server
    #[arg(long, alias = "addr", value_name = "http://HOST:PORT", value_parser = server, default_value = "http://127.0.0.1:8848")]
    pub url: Server,
    /// Namespace to publish into; the default one if not given
    #[arg(long, value_name = "ID", value_parser = name)]
    pub namespace: Option<String>,
    /// Group to publish under
    #[arg(long, value_name = "GROUP", value_parser = name, default_value = "bench")]
    pub group: String,
    /// Process id of the server, on this machine: reports the processor time and memory that it takes
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,
}

/// How hard and how long to ask.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct ClosedLoop {
    /// Connections; each sends its next request when the last one is answered
    #[arg(long, value_name = "N", default_value = "16", value_parser = clap::value_parser!(u64).range(1..=MOST_CONNECTIONS))]
    pub conns: u64,
    /// Time to measure, in seconds or with a unit
    #[arg(long, value_name = "TIME", default_value = "6", value_parser = positive)]
    pub secs: Duration,
    /// Time to run before measuring
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    pub warmup: Duration,
    /// Threads of the generator
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub threads: u64,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

/// How many configurations of which size.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct Configurations {
    /// How many keys
    #[arg(long, value_name = "N", default_value = "1000", value_parser = clap::value_parser!(u64).range(1..=MOST_KEYS))]
    pub keys: u64,
    /// Size of a content
    #[arg(long, value_name = "BYTES", default_value = "1024", value_parser = size())]
    pub size: u64,
}

/// Options of `get` and `publish`. In `publish` every connection has keys of its own: its share of `keys`, at least
/// one.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct KeyOptions {
    /// Which server.
    #[command(flatten)]
    pub target: Target,
    /// The load.
    #[command(flatten)]
    pub load: ClosedLoop,
    /// What is read or written.
    #[command(flatten)]
    pub configurations: Configurations,
}

/// Who listens for a key, and how often it is published.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct Listening {
    /// Connections that listen: each holds one poll, or watches the key in one session
    #[arg(long, alias = "conns", value_name = "N", default_value = "1000", value_parser = clap::value_parser!(u64).range(1..=MOST_CONNECTIONS))]
    pub listeners: u64,
    /// How many times to publish; polls are sent anew after each
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub rounds: u64,
    /// How long to wait before each publish, so that the server certainly holds all listeners
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    pub settle: Duration,
    /// How long after a publish a listener that has not heard of it counts as missed
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = positive)]
    pub wait: Duration,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Options of `longpoll`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct LongPollOptions {
    /// Which server.
    #[command(flatten)]
    pub target: Target,
    /// Who listens, and how often.
    #[command(flatten)]
    pub listening: Listening,
    /// Size of the content
    #[arg(long, value_name = "BYTES", default_value = "1024", value_parser = size())]
    pub size: u64,
}

/// When a session answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Answers {
    /// At once.
    Now,
    /// When all have heard.
    Later,
}

/// Options of `session`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct SessionOptions {
    /// Which server.
    #[command(flatten)]
    pub target: Target,
    /// Where the server listens for native sessions
    #[arg(long, value_name = "HOST:PORT", value_parser = server, default_value = "127.0.0.1:8850")]
    pub session: Server,
    /// Who listens, and how often.
    #[command(flatten)]
    pub listening: Listening,
    /// When a session answers that it uses a content: at once, or when all have heard of it, so that answers delay no
    /// push
    #[arg(long, value_enum, default_value_t = Answers::Now)]
    pub answers: Answers,
    /// Size of the content; up to 65536 bytes come with the push
    #[arg(long, value_name = "BYTES", default_value = "1024", value_parser = clap::value_parser!(u64).range(content::SMALLEST..=65_536))]
    pub size: u64,
}

/// Options of `grpcpush`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct GrpcPushOptions {
    /// Which server.
    #[command(flatten)]
    pub target: Target,
    /// Where the server listens for gRPC
    #[arg(long, value_name = "HOST:PORT", value_parser = server, default_value = "127.0.0.1:9848")]
    pub grpc: Server,
    /// Who listens, and how often.
    #[command(flatten)]
    pub listening: Listening,
    /// Configurations that each listens to, in one request; all but one do not exist
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub keys: u64,
    /// Size of the content
    #[arg(long, value_name = "BYTES", default_value = "1024", value_parser = size())]
    pub size: u64,
    /// Let so many connections come, listen, publish, hear and go for so long instead, and watch the server's memory
    #[arg(long, value_name = "TIME", value_parser = positive)]
    pub churn: Option<Duration>,
}

/// Options of `static`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct StaticOptions {
    /// The load.
    #[command(flatten)]
    pub load: ClosedLoop,
}

/// Host and port of a server, as the user wrote them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    authority: String,
}

impl Server {
    /// The server at an address that is known already.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        Self { authority: address.to_string() }
    }

    /// `host:port`, as the `Host` header has it.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Looks the address up; the first one found counts.
    ///
    /// # Errors
    /// There is no such host.
    pub fn address(&self) -> anyhow::Result<SocketAddr> {
        let mut found =
            self.authority.to_socket_addrs().with_context(|| format!("cannot look up {}", self.authority))?;
        found.next().with_context(|| format!("{} has no address", self.authority))
    }
}

fn server(text: &str) -> Result<Server, String> {
    let authority = text.strip_prefix("http://").unwrap_or(text);
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let refusal = || "expected http://HOST:PORT, without a path".to_owned();
    let (host, port) = authority.rsplit_once(':').ok_or_else(refusal)?;
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-._[]:".contains(letter);
    if host.is_empty() || !host.chars().all(plain) || !port.parse::<u16>().is_ok_and(|port| port > 0) {
        return Err(refusal());
    }
    Ok(Server { authority: authority.to_owned() })
}

/// Names go into queries and records as they are, so only letters that need no escape are taken.
fn name(text: &str) -> Result<String, String> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-._".contains(letter);
    if text.is_empty() || text.len() > 64 || !text.chars().all(plain) {
        return Err("expected 1 to 64 letters, digits, '-', '.' or '_'".to_owned());
    }
    Ok(text.to_owned())
}

fn size() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(content::SMALLEST..=MOST_BYTES)
}

fn duration(text: &str) -> Result<Duration, String> {
    let refusal = || "expected a time of at most a day, such as 6, 0.5 or 200ms".to_owned();
    let duration = match text.parse::<f64>() {
        Ok(seconds) if (0.0..=LONGEST).contains(&seconds) => Duration::from_secs_f64(seconds),
        Ok(_) => return Err(refusal()),
        Err(_) => humantime::parse_duration(text).map_err(|error| format!("{}: {error}", refusal()))?,
    };
    if duration.as_secs_f64() > LONGEST { Err(refusal()) } else { Ok(duration) }
}

fn positive(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|duration| match duration {
        Duration::ZERO => Err("expected a time longer than 0".to_owned()),
        longer => Ok(longer),
    })
}

#[cfg(test)]
mod tests;
