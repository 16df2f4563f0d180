//! The rounds of a measure in which many listen to one key: each publishes it once, waits until all have heard, and
//! sees how long that took, and what it cost. Owns the times of a round and what is reported of all of them; knows not
//! how anybody hears.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant as Deadline, sleep, timeout, timeout_at};

use super::arguments::{Listening, Target};
use super::contents::Contents;
use super::histogram::Histogram;
use super::process::{self, Times};
use super::publisher::{Published, Publisher};
use super::report::{Report, median, micros_per};
use super::template::Read;

/// Listeners that are opened at the same time.
const OPENED_AT_ONCE: usize = 64;
/// How long the opening of one may take.
pub(super) const OPENING: Duration = Duration::from_secs(30);

/// A listener heard of a content.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    /// Which; `None` from a listener that is told only that there is another one.
    pub(super) content: Option<String>,
    /// When.
    pub(super) at: Instant,
    /// When it had done what it does then; `None` when that is not measured.
    pub(super) then: Option<Instant>,
}

/// What one round saw.
#[derive(Debug, Clone, Copy)]
struct Round {
    heard: u64,
    publisher: Duration,
    first: Option<Duration>,
    last: Option<Duration>,
    p50: Option<Duration>,
    p99: Option<Duration>,
    p999: Option<Duration>,
    then_p50: Option<Duration>,
    then_p99: Option<Duration>,
    then_last: Option<Duration>,
}

/// The rounds: who publishes what, and what was seen so far.
pub(super) struct Rounds<'a> {
    target: &'a Target,
    listening: &'a Listening,
    publisher: Publisher,
    /// What is published; the first content is there before anybody listens.
    pub(super) contents: Contents<'a>,
    rounds: Vec<Round>,
    server_cpu: Option<Duration>,
    own_cpu: Duration,
    /// Memory of the server before anybody listened.
    before: Option<u64>,
    /// Memory of the server, with all who listen, before each round.
    memory: Vec<u64>,
}

impl<'a> Rounds<'a> {
    /// Publishes the first content of the key whose name begins with `prefix`.
    ///
    /// # Errors
    /// The publish is refused, or the server's process can't be watched.
    pub(super) async fn begin(
        target: &'a Target,
        listening: &'a Listening,
        prefix: &'static str,
        size: u64,
    ) -> anyhow::Result<Self> {
        let publisher = Publisher::start(target.url.address()?, Read::new(target, prefix).bytes().to_vec())?;
        let mut contents = Contents::new(target, prefix, size)?;
        publisher.publish(contents.publish()).await?;
        let before = target.pid.map(process::resident).transpose()?;
        let (rounds, memory) = (Vec::new(), Vec::new());
        let (server_cpu, own_cpu) = (None, Duration::ZERO);
        Ok(Self { target, listening, publisher, contents, rounds, server_cpu, own_cpu, before, memory })
    }

    /// Runs the rounds; `over` is called at the end of each. The listeners are ended then, and the first that ended by
    /// itself is told of.
    ///
    /// # Errors
    /// A publish is refused, or the server's process can't be watched.
    pub(super) async fn run(
        &mut self,
        mut open: JoinSet<anyhow::Error>,
        mut heard: mpsc::UnboundedReceiver<Heard>,
        mut over: impl FnMut(),
    ) -> anyhow::Result<()> {
        for _ in 0..self.listening.rounds {
            self.round(&mut heard).await?;
            over();
        }
        if let Some(ended) = open.try_join_next() {
            let reason = ended.context("a listener panicked")?;
            eprintln!("callboard: a listener ended early: {reason:#}");
        }
        open.shutdown().await;
        Ok(())
    }

    /// Runs one round, and says when the publish began.
    ///
    /// # Errors
    /// The publish is refused, or the server's process can't be watched.
    pub(super) async fn round(&mut self, heard: &mut mpsc::UnboundedReceiver<Heard>) -> anyhow::Result<Instant> {
        sleep(self.listening.settle).await;
        self.memory.extend(self.target.pid.map(process::resident).transpose()?);
        let times = Times::now(self.target.pid)?;
        let published = self.publisher.publish(self.contents.publish()).await?;
        self.rounds.push(Round::collect(heard, self.listening, self.contents.present(), published).await);
        let (server, own) = Times::now(self.target.pid)?.since(&times);
        self.server_cpu = server.map(|cpu| cpu + self.server_cpu.unwrap_or_default());
        self.own_cpu += own;
        Ok(published.began)
    }

    fn median(&self, figure: fn(&Round) -> Option<Duration>) -> Option<f64> {
        median(self.rounds.iter().filter_map(figure))
    }

    /// When half of them, 99 of 100, and the last had done what they do then. Medians of rounds, in milliseconds.
    pub(super) fn then(&self) -> [Option<f64>; 3] {
        [self.median(|round| round.then_p50), self.median(|round| round.then_p99), self.median(|round| round.then_last)]
    }

    /// What can be said of every such measure.
    pub(super) fn report(&self, measure: &'static str) -> Report {
        let (listening, before) = (self.listening, self.before);
        let heard: u64 = self.rounds.iter().map(|round| round.heard).sum();
        let grown = before.zip(self.memory.first()).map(|(before, held)| *held as f64 - before as f64);
        Report {
            measure,
            connections: listening.listeners,
            operations: heard,
            p50_ms: self.median(|round| round.p50),
            p99_ms: self.median(|round| round.p99),
            p999_ms: self.median(|round| round.p999),
            missed: Some(listening.listeners * listening.rounds - heard),
            first_ms: self.median(|round| round.first),
            last_ms: self.median(|round| round.last),
            publisher_ms: self.median(|round| Some(round.publisher)),
            server_cpu_us_per_op: self.server_cpu.and_then(|cpu| micros_per(cpu, heard)),
            generator_cpu_us_per_op: micros_per(self.own_cpu, heard),
            bytes_per_listener: grown.map(|bytes| bytes / listening.listeners as f64),
            server_bytes_before: before,
            server_bytes_after: self.memory.last().copied(),
            ..Report::default()
        }
    }
}

/// Opens all listeners, some at the same time, and hands each to `opened`.
///
/// # Errors
/// One of them can't be opened.
pub(super) async fn open_all<L, O>(
    listening: &Listening,
    open: impl Fn(u64) -> O,
    mut opened: impl FnMut(L),
) -> anyhow::Result<()>
where
    L: Send + 'static,
    O: Future<Output = anyhow::Result<L>> + Send + 'static,
{
    let (mut numbers, mut opening) = (0..listening.listeners, JoinSet::new());
    loop {
        while opening.len() < OPENED_AT_ONCE
            && let Some(number) = numbers.next()
        {
            let one = open(number);
            opening.spawn(async move { timeout(OPENING, one).await.context("it takes too long")? });
        }
        let Some(listener) = opening.join_next().await else { return Ok(()) };
        opened(listener.context("an opening panicked")?.context("a listener could not be opened")?);
    }
}

impl Round {
    /// Waits until all have heard of `content`, or nobody is left, or long enough. What was heard before the publish
    /// began does not count.
    async fn collect(
        heard: &mut mpsc::UnboundedReceiver<Heard>,
        listening: &Listening,
        content: &str,
        Published { began, answered }: Published,
    ) -> Self {
        let deadline = Deadline::from_std(began + listening.wait);
        let (mut latencies, mut then) = (Histogram::default(), Histogram::default());
        let (mut first, mut last, mut then_last) = (None::<Duration>, None::<Duration>, None::<Duration>);
        while latencies.total() < listening.listeners {
            let Ok(Some(heard)) = timeout_at(deadline, heard.recv()).await else { break };
            if heard.content.is_some_and(|heard| heard != content) || heard.at < began {
                continue;
            }
            let latency = heard.at - began;
            latencies.record(latency);
            first = Some(first.map_or(latency, |first| first.min(latency)));
            last = last.max(Some(latency));
            if let Some(at) = heard.then {
                then.record(at - began);
                then_last = then_last.max(Some(at - began));
            }
        }
        Self {
            heard: latencies.total(),
            publisher: answered - began,
            first,
            last,
            p50: latencies.quantile(0.5),
            p99: latencies.quantile(0.99),
            p999: latencies.quantile(0.999),
            then_p50: then.quantile(0.5),
            then_p99: then.quantile(0.99),
            then_last,
        }
    }
}
