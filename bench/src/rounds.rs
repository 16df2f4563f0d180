//! The rounds of a measure in which many listen to one key: each publishes it once, waits until all have heard, and
//! sees how long that took, and what it cost. Owns the times of a round and what is reported of all of them; knows not
//! how anybody hears.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::{Instant as Deadline, sleep, timeout_at};

use super::arguments::{Listening, Target};
use super::contents::Contents;
use super::histogram::Histogram;
use super::process::{self, Times};
use super::publisher::{Published, Publisher};
use super::report::{Report, median, micros_per};

/// A listener heard of a content.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    /// Which.
    pub(super) content: String,
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

/// What all rounds saw.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    rounds: Vec<Round>,
    server_cpu: Option<Duration>,
    own_cpu: Duration,
    /// Memory of the server, with all who listen, before each round.
    memory: Vec<u64>,
}

impl Rounds {
    /// Runs the rounds; `over` is called at the end of each.
    ///
    /// # Errors
    /// A publish is refused, or the server's process can't be watched.
    pub(super) async fn run(
        (target, listening): (&Target, &Listening),
        (publisher, contents): (&Publisher, &mut Contents<'_>),
        heard: &mut mpsc::UnboundedReceiver<Heard>,
        mut over: impl FnMut(),
    ) -> anyhow::Result<Self> {
        let mut seen = Self::default();
        for _ in 0..listening.rounds {
            sleep(listening.settle).await;
            seen.memory.extend(target.pid.map(process::resident).transpose()?);
            let times = Times::now(target.pid)?;
            let published = publisher.publish(contents.publish()).await?;
            seen.rounds.push(Round::collect(heard, listening, contents.present(), published).await);
            let (server, own) = Times::now(target.pid)?.since(&times);
            seen.server_cpu = server.map(|cpu| cpu + seen.server_cpu.unwrap_or_default());
            seen.own_cpu += own;
            over();
        }
        Ok(seen)
    }

    fn median(&self, figure: fn(&Round) -> Option<Duration>) -> Option<f64> {
        median(self.rounds.iter().filter_map(figure))
    }

    /// When half of them, 99 of 100, and the last had done what they do then. Medians of rounds, in milliseconds.
    pub(super) fn then(&self) -> [Option<f64>; 3] {
        [self.median(|round| round.then_p50), self.median(|round| round.then_p99), self.median(|round| round.then_last)]
    }

    /// What can be said of every such measure. `before` is the server's memory before anybody listened.
    pub(super) fn report(&self, measure: &'static str, listening: &Listening, before: Option<u64>) -> Report {
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

impl Round {
    /// Waits until all have heard of `content`, or long enough.
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
            if heard.content != content {
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
