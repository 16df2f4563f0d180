//! The closed loop: many connections, each sends its next request when the last one is answered. Owns the threads of
//! the generator and the times of a run; knows neither what is asked nor what a right answer is.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Resource, getrlimit};
use thiserror::Error;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::answer::Reply;
use super::arguments::ClosedLoop;
use super::connection::{Broken, Connection};
use super::histogram::Histogram;
use super::process::{self, Times};
use super::report::{Report, micros_per, millis};

/// The pause after a connection could not be opened, so that a dead server is not asked at full speed.
const PAUSE: Duration = Duration::from_millis(10);

/// Files that the generator has open besides the connections of those who listen.
const OTHER_FILES: u64 = 64;

/// Makes sure that so many connections may be open at the same time.
///
/// # Errors
/// The system allows fewer.
pub(super) fn open_files_for(connections: u64) -> anyhow::Result<()> {
    match getrlimit(Resource::Nofile).current.filter(|limit| *limit < connections + OTHER_FILES) {
        Some(limit) => {
            anyhow::bail!("{connections} listeners need more open files than the {limit} that the system allows")
        }
        None => Ok(()),
    }
}

/// What one connection does.
pub(super) trait Work: Send + 'static {
    /// Makes the next request; `false` when there is nothing left to do.
    fn prepare(&mut self) -> bool;

    /// The request made last.
    fn request(&self) -> &[u8];

    /// Whether the answer to it is as it should be.
    fn judge(&mut self, reply: &Reply<'_>) -> bool;
}

/// A request that did not go as it should.
#[derive(Debug, Error)]
enum Error {
    /// It was answered otherwise. The connection can be used further.
    #[error("unexpected answer: {0}")]
    Wrong(String),
    /// It was not answered; the connection is given up.
    #[error(transparent)]
    Broken(#[from] Broken),
}

/// What came of a run, over all connections.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Latencies of the requests answered as they should be.
    pub(super) latencies: Histogram,
    /// Requests with another answer, or none.
    pub(super) errors: u64,
    /// Those of them with no answer at all.
    pub(super) unanswered: u64,
    /// The first of them, for people.
    pub(super) first_error: Option<String>,
}

impl Tally {
    fn merge(&mut self, other: Self) {
        self.latencies.merge(&other.latencies);
        self.errors += other.errors;
        self.unanswered += other.unanswered;
        self.first_error = self.first_error.take().or(other.first_error);
    }

    fn fail(&mut self, error: Error) {
        self.errors += 1;
        self.unanswered += u64::from(matches!(error, Error::Broken(_)));
        self.first_error.get_or_insert_with(|| error.to_string());
    }
}

/// The time that counts.
#[derive(Debug, Clone, Copy)]
struct Window {
    begin: Instant,
    end: Instant,
}

/// A timed run.
pub(super) struct Run<W> {
    /// What each connection knows at its end.
    pub(super) works: Vec<W>,
    /// What happened within the measured time.
    pub(super) tally: Tally,
    time: Duration,
    server_cpu: Option<Duration>,
    own_cpu: Duration,
    server_bytes: Option<(u64, u64)>,
}

impl<W> Run<W> {
    /// The figures. Tells people on standard error about the first error, since a count explains nothing.
    pub(super) fn report(&self, measure: &'static str) -> Report {
        if let Some(error) = &self.tally.first_error {
            eprintln!("callboard: the first of {} errors: {error}", self.tally.errors);
        }
        let operations = self.tally.latencies.total();
        let quantile = |share| self.tally.latencies.quantile(share).map(millis);
        Report {
            measure,
            connections: self.works.len() as u64,
            operations,
            rate: Some(operations as f64 / self.time.as_secs_f64()),
            p50_ms: quantile(0.5),
            p99_ms: quantile(0.99),
            p999_ms: quantile(0.999),
            errors: self.tally.errors,
            server_cpu_us_per_op: self.server_cpu.and_then(|cpu| micros_per(cpu, operations)),
            generator_cpu_us_per_op: micros_per(self.own_cpu, operations),
            generator_cpu_share: Some(self.own_cpu.as_secs_f64() / self.time.as_secs_f64()),
            server_bytes_before: self.server_bytes.map(|(before, _)| before),
            server_bytes_after: self.server_bytes.map(|(_, after)| after),
            ..Report::default()
        }
    }
}

/// Runs `works`, one connection each, for the warm-up and the time that `load` says.
///
/// # Errors
/// The server takes no connection at the beginning, or process `pid` can't be watched.
pub(super) fn run<W: Work>(
    address: SocketAddr,
    load: &ClosedLoop,
    pid: Option<u32>,
    works: Vec<W>,
) -> anyhow::Result<Run<W>> {
    let before = pid.map(process::resident).transpose()?;
    let begin = Instant::now() + load.warmup;
    let window = Window { begin, end: begin + load.secs };
    let threads = start(address, load.threads, window, works)?;
    thread::sleep(window.begin.saturating_duration_since(Instant::now()));
    let (began, times_before) = (Instant::now(), Times::now(pid)?);
    thread::sleep(window.end.saturating_duration_since(Instant::now()));
    let (time, times_after) = (began.elapsed(), Times::now(pid)?);
    let after = pid.map(process::resident).transpose()?;
    let (works, tally) = finish(threads)?;
    let (server_cpu, own_cpu) = times_after.since(&times_before);
    Ok(Run { works, tally, time, server_cpu, own_cpu, server_bytes: before.zip(after) })
}

/// Runs `works` until none has anything left to do.
///
/// # Errors
/// The server takes no connection at the beginning, or a request got no answer.
pub(super) fn complete<W: Work>(address: SocketAddr, works: Vec<W>) -> anyhow::Result<(Vec<W>, Tally)> {
    // Long after the last work: only the works end this run.
    let window = Window { begin: Instant::now(), end: Instant::now() + Duration::from_secs(86_400) };
    let (works, tally) = finish(start(address, 1, window, works)?)?;
    match &tally.first_error {
        Some(error) if tally.unanswered > 0 => anyhow::bail!("{} requests got no answer: {error}", tally.unanswered),
        Some(_) | None => Ok((works, tally)),
    }
}

/// A thread of the generator, with what it will hand back.
type Running<W> = thread::JoinHandle<anyhow::Result<(Vec<W>, Tally)>>;

fn start<W: Work>(address: SocketAddr, threads: u64, window: Window, works: Vec<W>) -> anyhow::Result<Vec<Running<W>>> {
    std::net::TcpStream::connect_timeout(&address, Duration::from_secs(5))
        .with_context(|| format!("cannot connect to {address}"))?;
    let share = works.len().div_ceil(usize::try_from(threads)?.max(1)).max(1);
    let mut works = works.into_iter().peekable();
    let mut running = Vec::new();
    while works.peek().is_some() {
        let share: Vec<W> = works.by_ref().take(share).collect();
        let thread = thread::Builder::new().name("generator".to_owned());
        running.push(thread.spawn(move || runtime()?.block_on(drive_all(address, window, share)))?);
    }
    Ok(running)
}

fn finish<W>(threads: Vec<Running<W>>) -> anyhow::Result<(Vec<W>, Tally)> {
    let (mut works, mut tally) = (Vec::new(), Tally::default());
    for thread in threads {
        let (more, part) = thread.join().map_err(|_panic| anyhow::anyhow!("a thread of the generator panicked"))??;
        works.extend(more);
        tally.merge(part);
    }
    Ok((works, tally))
}

/// A runtime for one thread of the generator.
///
/// # Errors
/// The system refuses.
pub(super) fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start a runtime")
}

async fn drive_all<W: Work>(address: SocketAddr, window: Window, works: Vec<W>) -> anyhow::Result<(Vec<W>, Tally)> {
    let mut driven: JoinSet<(W, Tally)> = works.into_iter().map(|work| drive(address, window, work)).collect();
    let (mut works, mut tally) = (Vec::new(), Tally::default());
    while let Some(ended) = driven.join_next().await {
        let (work, part) = ended.context("a connection of the generator panicked")?;
        works.push(work);
        tally.merge(part);
    }
    Ok((works, tally))
}

async fn drive<W: Work>(address: SocketAddr, window: Window, mut work: W) -> (W, Tally) {
    let mut tally = Tally::default();
    let mut connection = None;
    let mut began = Instant::now();
    while began < window.end && work.prepare() {
        let outcome = ask(address, &mut connection, &mut work).await;
        let ended = Instant::now();
        match outcome {
            Ok(()) if ended >= window.begin && ended <= window.end => tally.latencies.record(ended - began),
            Err(error) if ended >= window.begin => tally.fail(error),
            Ok(()) | Err(_) => {}
        }
        if connection.is_none() {
            tokio::time::sleep(PAUSE).await;
        }
        began = Instant::now();
    }
    (work, tally)
}

/// One request, on the open connection or a new one. Leaves `None` when there is none to go on with.
async fn ask<W: Work>(address: SocketAddr, connection: &mut Option<Connection>, work: &mut W) -> Result<(), Error> {
    let mut open = match connection.take() {
        Some(open) if !open.closes() => open,
        Some(_) | None => Connection::open(address).await?,
    };
    let reply = open.exchange(work.request()).await?;
    let judged = if work.judge(&reply) { Ok(()) } else { Err(Error::Wrong(reply.describe())) };
    *connection = Some(open);
    judged
}
