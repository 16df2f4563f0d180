//! `longpoll`: many connections hold one poll each on the same key. Each round publishes that key once from another
//! connection, sees when each of them hears, and sends all polls anew.
//!
//! A poll counts as held when its connection has been answered before (so the server has accepted it), its request was
//! written whole, and the settling time has passed.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio::time::{Instant as Deadline, sleep, timeout_at};

use super::arguments::LongPollOptions;
use super::connection::{Broken, Connection};
use super::contents::Contents;
use super::histogram::Histogram;
use super::load;
use super::process::{self, Times};
use super::publisher::Publisher;
use super::report::{Report, median, micros_per};
use super::template::{self, Read};

/// How the name of the key begins.
const PREFIX: &str = "longpoll";
/// A new connection is tried so many times.
const ATTEMPTS: u32 = 3;

/// Measures long polls.
///
/// # Errors
/// The server can't be reached, refuses the publishes or the connections, or too few files may be open.
pub(super) fn measure(options: &LongPollOptions) -> anyhow::Result<Report> {
    load::open_files_for(options.listening.listeners)?;
    load::runtime()?.block_on(run(options))
}

/// What all rounds saw.
#[derive(Default)]
struct Rounds {
    rounds: Vec<Round>,
    server_cpu: Option<Duration>,
    own_cpu: Duration,
    /// Memory of the server with all polls held, by round.
    held: Vec<u64>,
}

/// What one round saw.
#[derive(Debug, Clone, Copy)]
struct Round {
    heard: u64,
    early: u64,
    publisher: Duration,
    first: Option<Duration>,
    p50: Option<Duration>,
    p99: Option<Duration>,
    p999: Option<Duration>,
    last: Option<Duration>,
}

async fn run(options: &LongPollOptions) -> anyhow::Result<Report> {
    let address = options.target.url.address()?;
    let publisher = Publisher::start(address, Read::new(&options.target, PREFIX).bytes().to_vec())?;
    let mut contents = Contents::new(&options.target, PREFIX, options.size)?;
    publisher.publish(contents.publish()).await?;
    let before = options.target.pid.map(process::resident).transpose()?;
    let mut listeners = Vec::new();
    let mut seen = Rounds::default();
    for _ in 0..options.listening.rounds {
        listeners.retain(|listener: &Connection| !listener.closes());
        arm(address, options, &contents, &mut listeners).await?;
        let mut answers = listen(std::mem::take(&mut listeners));
        sleep(options.listening.settle).await;
        seen.held.extend(options.target.pid.map(process::resident).transpose()?);
        let times = Times::now(options.target.pid)?;
        let published = publisher.publish(contents.publish()).await?;
        let deadline = Deadline::from_std(published.began + options.listening.wait);
        let mut heard = Vec::new();
        while let Ok(Some(answer)) = timeout_at(deadline, answers.join_next()).await {
            heard.push(answer.context("a listener panicked")?);
        }
        answers.shutdown().await;
        let (server_cpu, own_cpu) = Times::now(options.target.pid)?.since(&times);
        seen.server_cpu = server_cpu.map(|cpu| cpu + seen.server_cpu.unwrap_or_default());
        seen.own_cpu += own_cpu;
        seen.rounds.push(Round::of(&heard, published.began, published.answered));
        listeners.extend(heard.into_iter().filter_map(|answer| answer.connection));
    }
    Ok(report(options, &seen, before))
}

/// The poll of one that holds the present content.
fn poll(contents: &Contents<'_>) -> Vec<u8> {
    template::poll(contents.target(), &contents.data_id(), &contents.digest())
}

/// Brings the listeners up to their number and sends each one's poll.
async fn arm(
    address: SocketAddr,
    options: &LongPollOptions,
    contents: &Contents<'_>,
    listeners: &mut Vec<Connection>,
) -> anyhow::Result<()> {
    let poll = poll(contents);
    let mut kept = Vec::new();
    for mut listener in listeners.drain(..) {
        // One that the server has hung up on is replaced below.
        if listener.send(&poll).await.is_ok() {
            kept.push(listener);
        }
    }
    *listeners = kept;
    let read = Read::new(&options.target, PREFIX);
    while (listeners.len() as u64) < options.listening.listeners {
        let mut listener = open(address, read.bytes(), contents.present()).await?;
        listener.send(&poll).await.context("a poll could not be sent")?;
        listeners.push(listener);
    }
    Ok(())
}

/// A new connection on which the key was read, as every client begins.
async fn open(address: SocketAddr, read: &[u8], expected: &str) -> anyhow::Result<Connection> {
    let mut failure = None;
    for _ in 0..ATTEMPTS {
        match open_once(address, read).await {
            Ok((listener, content)) if *content == *expected.as_bytes() => return Ok(listener),
            Ok(_) => failure = Some(anyhow::anyhow!("it does not answer with the content that it acknowledged")),
            Err(broken) => failure = Some(broken.into()),
        }
        sleep(Duration::from_millis(100)).await;
    }
    let failure = failure.unwrap_or_else(|| anyhow::anyhow!("no attempt was made"));
    Err(failure.context(format!("a listener could not read the key from {address}")))
}

async fn open_once(address: SocketAddr, read: &[u8]) -> Result<(Connection, Vec<u8>), Broken> {
    let mut listener = Connection::open(address).await?;
    let content = listener.exchange(read).await?.body.into_owned();
    Ok((listener, content))
}

/// What a listener got.
struct Heard {
    at: Instant,
    /// That the key changed; otherwise what came instead.
    answer: Result<(), String>,
    connection: Option<Connection>,
}

fn listen(listeners: Vec<Connection>) -> JoinSet<Heard> {
    listeners.into_iter().map(receive_change).collect()
}

async fn receive_change(mut connection: Connection) -> Heard {
    let name = template::data_id(PREFIX, 0);
    let received = connection.receive().await.map(|reply| {
        let named = reply.body.windows(name.len()).any(|part| part == name.as_bytes());
        if reply.status == 200 && named { Ok(()) } else { Err(reply.describe()) }
    });
    let at = Instant::now();
    match received {
        Ok(answer) => Heard { at, answer, connection: Some(connection) },
        Err(broken) => Heard { at, answer: Err(broken.to_string()), connection: None },
    }
}

impl Round {
    /// Answers from before the publish, or that do not name the change, count as not heard. Tells people on standard
    /// error about the first of them.
    fn of(answers: &[Heard], began: Instant, answered: Instant) -> Self {
        let mut latencies = Histogram::default();
        let (mut first, mut last) = (None::<Duration>, None::<Duration>);
        for answer in answers.iter().filter(|answer| answer.answer.is_ok() && answer.at >= began) {
            let latency = answer.at - began;
            latencies.record(latency);
            first = Some(first.map_or(latency, |first| first.min(latency)));
            last = last.max(Some(latency));
        }
        let early = answers.iter().filter(|answer| answer.at < began).count() as u64;
        let wrong = answers.iter().find_map(|answer| answer.answer.as_ref().err());
        if early > 0 || wrong.is_some() {
            let what = wrong.map_or("the change is named, although it was not made yet", String::as_str);
            eprintln!("callboard: {early} polls were answered before the publish; a wrong answer: {what}");
        }
        Self {
            heard: latencies.total(),
            early,
            publisher: answered - began,
            first,
            p50: latencies.quantile(0.5),
            p99: latencies.quantile(0.99),
            p999: latencies.quantile(0.999),
            last,
        }
    }
}

fn report(options: &LongPollOptions, seen: &Rounds, before: Option<u64>) -> Report {
    let heard: u64 = seen.rounds.iter().map(|round| round.heard).sum();
    let median = |figure: fn(&Round) -> Option<Duration>| median(seen.rounds.iter().filter_map(figure));
    let grown = before.zip(seen.held.first()).map(|(before, held)| *held as f64 - before as f64);
    Report {
        measure: "longpoll",
        connections: options.listening.listeners,
        operations: heard,
        p50_ms: median(|round| round.p50),
        p99_ms: median(|round| round.p99),
        p999_ms: median(|round| round.p999),
        errors: seen.rounds.iter().map(|round| round.early).sum(),
        missed: Some(options.listening.listeners * options.listening.rounds - heard),
        first_ms: median(|round| round.first),
        last_ms: median(|round| round.last),
        publisher_ms: median(|round| Some(round.publisher)),
        server_cpu_us_per_op: seen.server_cpu.and_then(|cpu| micros_per(cpu, heard)),
        generator_cpu_us_per_op: micros_per(seen.own_cpu, heard),
        bytes_per_listener: grown.map(|bytes| bytes / options.listening.listeners as f64),
        server_bytes_before: before,
        server_bytes_after: seen.held.last().copied(),
        ..Report::default()
    }
}
