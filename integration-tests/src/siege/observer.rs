//! The good clients beside an attack, and the eye on the node's memory. Owns what they saw, and when; judges nothing.
//! All of it runs on one thread that no attacker is on. A latency counts from when its request was due, so that a node
//! that is late with one answer is late with those behind it, too. Timers are right to a millisecond, and the thread
//! shares the processors with the node: what is below two milliseconds is the harness.

use std::time::Duration;

use anyhow::Context as _;
use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::target::{Door, Line, Target};
use super::{doors, sessions};
use crate::process;

/// Connections that stay open for reading, and how often each is used.
const READERS: usize = 4;
const BETWEEN_READS: Duration = Duration::from_millis(20);
/// How often somebody comes anew and asks whether the node lives, and whether it is ready.
const BETWEEN_PROBES: Duration = Duration::from_millis(100);
const BETWEEN_PUBLISHES: Duration = Duration::from_millis(200);
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);
/// Longest wait for an answer. Whatever fails counts as having taken as long.
const LIMIT: Duration = Duration::from_secs(10);
/// Longest wait of somebody who asks whether the node lives.
pub(super) const PROBE_LIMIT: Duration = Duration::from_secs(1);

/// A request of a good client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    /// When it was to be sent.
    pub(super) due: Instant,
    /// How long after that it was over.
    pub(super) took: Duration,
    /// Whether it was answered as it should be.
    pub(super) is_good: bool,
}

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Observations {
    pub(super) reads: Vec<Sample>,
    pub(super) probes: Vec<Sample>,
    pub(super) publishes: Vec<Sample>,
    /// Resident memory in bytes; nothing once the process has ended.
    pub(super) memory: Vec<(Instant, u64)>,
}

/// What good clients do besides publishing.
#[derive(Debug, Clone)]
pub(super) struct Habits {
    /// The data ids that are read in turn.
    pub(super) reads: Vec<String>,
    /// Whether those who come anew knock at the other doors, too.
    pub(super) knocks_everywhere: bool,
}

/// Watches a node until `stop` says so.
pub(super) fn observe(
    target: &Target,
    pid: u32,
    habits: &Habits,
    stop: watch::Receiver<bool>,
) -> anyhow::Result<Observations> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("a thread to watch on")?;
    Ok(runtime.block_on(async {
        let readers = join_all((0..READERS).map(|reader| read(target, reader, &habits.reads, stop.clone())));
        let probing = probe(target, habits.knocks_everywhere, stop.clone());
        let (reads, probes, publishes, memory) =
            tokio::join!(readers, probing, publish(target, stop.clone()), look(pid, stop.clone()));
        Observations { reads: reads.concat(), probes, publishes, memory }
    }))
}

/// Reads small configurations over a connection that stays open.
async fn read(target: &Target, reader: usize, reads: &[String], stop: watch::Receiver<bool>) -> Vec<Sample> {
    let heads: Vec<String> =
        reads.iter().map(|data_id| target.head(0, &format!("GET {}", path(data_id))) + "\r\n").collect();
    let mut turn = reader * heads.len() / READERS;
    let mut line = None;
    let mut samples = every(BETWEEN_READS, stop, async || {
        let Some(head) = heads.get(turn % heads.len()) else { return false };
        turn += 1;
        matches!(timeout(LIMIT, ask(target, &mut line, head.as_bytes())).await, Ok(Ok(200)))
    })
    .await;
    for sample in samples.iter_mut().filter(|sample| !sample.is_good) {
        sample.took = sample.took.max(LIMIT);
    }
    samples
}

/// Asks over new connections whether the node lives, and whether it is ready; at the other doors whether they are open.
async fn probe(target: &Target, knocks_everywhere: bool, stop: watch::Receiver<bool>) -> Vec<Sample> {
    let questions = if knocks_everywhere { 4 } else { 2 };
    let mut turn = 0;
    every(BETWEEN_PROBES, stop, async || {
        turn += 1;
        let asking = async {
            match turn % questions {
                0 => doors::get(target, "/healthz").await,
                1 => doors::get(target, "/readyz").await,
                2 => sessions::open(target, 0).await.map(drop),
                _ => doors::check(target).await,
            }
        };
        matches!(timeout(PROBE_LIMIT, asking).await, Ok(Ok(())))
    })
    .await
}

/// Publishes something small over a connection that stays open. A refusal is an answer.
async fn publish(target: &Target, stop: watch::Receiver<bool>) -> Vec<Sample> {
    let mut line = None;
    let mut number = 0_u64;
    every(BETWEEN_PUBLISHES, stop, async || {
        number += 1;
        let content = format!("publish {number}");
        let head = target.head(0, &format!("PUT {}", path("published")));
        let request = format!("{head}Content-Length: {}\r\n\r\n{content}", content.len());
        matches!(timeout(LIMIT, ask(target, &mut line, request.as_bytes())).await, Ok(Ok(_status)))
    })
    .await
}

/// Looks at the memory again and again.
async fn look(pid: u32, stop: watch::Receiver<bool>) -> Vec<(Instant, u64)> {
    let mut looks = Vec::new();
    every(BETWEEN_LOOKS, stop, async || {
        looks.push((Instant::now(), process::resident(pid).unwrap_or_default()));
        true
    })
    .await;
    looks
}

/// The path of a configuration of the siege.
pub(super) fn path(data_id: &str) -> String {
    format!("/api/v1/namespaces/public/groups/{}/configs/{data_id}", sessions::GROUP)
}

/// Asks over the connection that is there, or a new one. One that fails is given up.
pub(super) async fn ask(target: &Target, line: &mut Option<Line>, request: &[u8]) -> anyhow::Result<u16> {
    let mut used = match line.take() {
        Some(used) => used,
        None => target.connect(Door::Http).await?,
    };
    used.send(request).await?;
    let status = used.answer().await?;
    *line = Some(used);
    Ok(status)
}

/// Does something each time that it is due, until told to stop.
async fn every(period: Duration, mut stop: watch::Receiver<bool>, mut act: impl AsyncFnMut() -> bool) -> Vec<Sample> {
    let mut samples = Vec::new();
    let mut due = Instant::now();
    loop {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return samples,
            () = sleep_until(due) => {}
        }
        let is_good = act().await;
        samples.push(Sample { due, took: due.elapsed(), is_good });
        due += period;
    }
}

#[cfg(test)]
mod tests {
    //! What is late makes what is behind it late.

    use std::time::Duration;

    use tokio::sync::watch;
    use tokio::time::sleep;

    use super::every;

    #[tokio::test(start_paused = true)]
    async fn a_late_answer_makes_those_behind_it_late() {
        let (stop, stopped) = watch::channel(false);
        let mut number = 0;
        let samples = every(Duration::from_millis(20), stopped, async || {
            number += 1;
            sleep(Duration::from_millis(if number == 1 { 50 } else { 1 })).await;
            if number == 4 {
                stop.send_replace(true);
            }
            true
        })
        .await;
        let took: Vec<u128> = samples.iter().map(|sample| sample.took.as_millis()).collect();
        assert_eq!(took, [50, 31, 12, 1]);
    }
}
