//! The siege: a node is attacked in every way that is known to have hurt one, with good clients beside each attack.
//!
//! For each scenario a node of its own is started and stocked; for a while nobody attacks it, then attackers do for a
//! fixed time. Meanwhile good clients read over connections that stay open, ask whether the node lives over new ones,
//! and publish; the node's resident memory is looked at every 20 ms. When the attackers are gone every door has to
//! answer at once. Attackers, good clients and the node share the machine: attackers run on two threads of their own
//! that stand back for everybody else, good clients on another one. Owns the order of this; the scenarios are in
//! [`scenario`], the rules in [`report`].

mod attack;
mod besieged;
mod doors;
pub mod http2;
mod observer;
pub mod report;
pub mod scenario;
mod sessions;
mod target;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use self::besieged::{Besieged, SMALL, one_of_many, small};
use self::observer::{Habits, Observations, Sample, observe};
use self::report::{Ceilings, Latencies, Row, Share};
use self::scenario::{Also, Scenario};
use self::target::Target;
use crate::process;

/// Connections over HTTP where a node is told to take few.
const FEW: usize = 200;
/// Threads of the attackers, and how far they stand back.
const ATTACKING_THREADS: usize = 2;
const NICENESS: i32 = 5;
/// How long their connections may take to be gone.
const LEAVING: Duration = Duration::from_secs(5);
/// How long nobody asks anything before it is looked at what the node keeps.
const IDLE: Duration = Duration::from_secs(10);

/// What to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How long an attack takes.
    pub attack: Duration,
    /// How long good clients have the node for themselves before.
    pub quiet: Duration,
    /// Whether callers have to be known and TLS is required.
    pub guarded: bool,
    /// What the node's address space may grow to, in bytes.
    pub address_space: Option<u64>,
    /// Settings of the node, as flags without dashes.
    pub settings: Vec<(String, String)>,
    /// Most configurations that a scenario stores.
    pub configurations: usize,
    /// What the node is judged by.
    pub ceilings: Ceilings,
}

/// Runs one scenario.
///
/// # Errors
/// The node can't be started or stocked. What the attack does to it is no error: it stands in the row.
pub async fn run(plan: &Plan, scenario: &Scenario) -> anyhow::Result<Row> {
    let mut besieged = Besieged::start(plan, scenario).await.with_context(|| scenario.name.to_owned())?;
    let good = besieged.target.uncounted();
    let pid = besieged.node.pid()?;
    let (stop, stopped) = watch::channel(false);
    let watching = {
        let (good, habits) = (good.clone(), habits(scenario, &besieged));
        tokio::task::spawn_blocking(move || observe(&good, pid, &habits, stopped))
    };
    let begun = Instant::now();
    sleep(plan.quiet).await;
    let lines = besieged.log_lines()?;
    let attacked = attack(scenario, Arc::new(besieged.target.clone()), scenario.places.length(plan.attack)).await?;
    let ended = Instant::now();
    let status = besieged.node.has_ended()?;
    // Nobody has to ask one that is gone.
    let doors = if status.is_none() { doors::answers(&good, &small(0), ended).await } else { Default::default() };
    stop.send_replace(true);
    let seen = watching.await??;
    let status = if status.is_none() { besieged.node.has_ended()? } else { status };
    let kept = if scenario.also == Also::Idleness && status.is_none() {
        sleep(IDLE).await;
        Some(process::resident(pid).unwrap_or_default())
    } else {
        None
    };
    let mut row = Row {
        name: scenario.name,
        row: scenario.row,
        sent: besieged.target.sent.load(Ordering::Relaxed),
        kept,
        doors,
        log_lines: besieged.log_lines()? - lines,
        seconds: (ended - attacked).as_secs_f64(),
        judges_log: scenario.also == Also::LogLines,
        ended: status.map(|status| status.to_string()),
        ..Row::default()
    };
    row.fill(&seen, [begun, attacked, ended]);
    row.judge(&plan.ceilings);
    Ok(row)
}

/// What good clients do.
fn habits(scenario: &Scenario, besieged: &Besieged) -> Habits {
    let reads = match scenario.also {
        Also::ColdReads => (0..besieged.target.stored).map(one_of_many).collect(),
        Also::Nothing | Also::LogLines | Also::Idleness | Also::OtherDoors => (0..SMALL).map(small).collect(),
    };
    Habits { reads, knocks_everywhere: scenario.also == Also::OtherDoors }
}

/// Lets the attackers come for so long, on threads of their own, and waits until they are gone. Gives the time at which
/// they came: what they have to prepare takes a while.
async fn attack(scenario: &Scenario, target: Arc<Target>, length: Duration) -> anyhow::Result<Instant> {
    let attack = scenario.attack;
    let attacking = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(ATTACKING_THREADS)
            .enable_all()
            .on_thread_start(|| {
                if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
                    eprintln!("attackers do not stand back: {error}");
                }
            })
            .build()
            .context("threads for attackers")?;
        let attackers = attack(target);
        let begun = Instant::now();
        let attackers = runtime.spawn(async move { timeout(length, attackers).await.is_err() });
        let went_on = runtime.block_on(attackers)?;
        runtime.shutdown_timeout(LEAVING);
        anyhow::ensure!(went_on, "the attackers gave up");
        anyhow::Ok(begun)
    });
    attacking.await?
}

impl Row {
    /// Takes what was seen between the begin, the begin of the attack, and its end.
    fn fill(&mut self, seen: &Observations, [begun, attacked, ended]: [Instant; 3]) {
        let between = |samples: &[Sample], from: Instant, to: Instant| -> Vec<Sample> {
            samples.iter().filter(|sample| sample.due >= from && sample.due < to).copied().collect()
        };
        self.quiet = Latencies::of(&between(&seen.reads, begun, attacked));
        self.during = Latencies::of(&between(&seen.reads, attacked, ended));
        self.probes = Share::of_probes(&between(&seen.probes, attacked, ended));
        self.publishes = Share::of(&between(&seen.publishes, attacked, ended), None);
        let memory = |is_in: &dyn Fn(Instant) -> bool| {
            seen.memory.iter().filter(|(at, _)| is_in(*at)).map(|(_, bytes)| *bytes).max().unwrap_or_default()
        };
        self.before = memory(&|at| at < attacked);
        self.highest = memory(&|at| at >= attacked);
    }
}
