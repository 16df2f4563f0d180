//! The proof on highly available databases: three nodes over real clusters of database servers, which are broken and
//! moved amid publishers, readers and subscribers. Owns the scenarios and their order; the databases stand in modules
//! of their own, the load and the rules are those of [`crate::chaos`] and [`crate::checker`].

mod galera;
mod haproxy;
mod mariadb_pair;
mod patroni;
mod recovery;
mod refused;
mod replicated_database;
mod round;
mod service;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use fastrand::Rng;

use self::galera::Galera;
use self::mariadb_pair::Pair;
use self::patroni::{Harm, Patroni};
use self::replicated_database::{DATABASE, ReplicatedDatabase};
use self::round::Measured;
pub use self::round::{Round, table};
use crate::chaos::load::Load;
use crate::checker;
use crate::cluster::Cluster;
use crate::database_server::programs;
use crate::node::NodeOptions;

const NODES: u8 = 3;
/// Traffic before the database is broken and after it is whole.
const CALM: Duration = Duration::from_millis(1_500);
/// How long nodes may take once the database takes writes again.
const BOUND: Duration = Duration::from_secs(2);
/// Most time until all is at rest after a round.
const REST: Duration = Duration::from_secs(40);

/// A database, and what happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// A MariaDB and its replica change roles; the former primary lives on with its connections.
    MariadbSwitchover,
    /// Each node is started on another member of a Galera cluster.
    GaleraSeveralMembers,
    /// The Galera member of all nodes loses its quorum, or refuses all statements.
    GaleraWithoutQuorum,
    /// The primary of Patroni's is killed.
    PatroniKill,
    /// The primary of Patroni's hands over as planned.
    PatroniSwitchover,
    /// The primary of Patroni's is stopped in its tracks, and goes on later.
    PatroniFreeze,
    /// The three above in turn, with HAProxy between the nodes and the servers.
    PatroniHaproxy,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::MariadbSwitchover,
        Self::GaleraSeveralMembers,
        Self::GaleraWithoutQuorum,
        Self::PatroniKill,
        Self::PatroniSwitchover,
        Self::PatroniFreeze,
        Self::PatroniHaproxy,
    ];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::MariadbSwitchover => "mariadb-switchover",
            Self::GaleraSeveralMembers => "galera-several-members",
            Self::GaleraWithoutQuorum => "galera-without-quorum",
            Self::PatroniKill => "patroni-kill",
            Self::PatroniSwitchover => "patroni-switchover",
            Self::PatroniFreeze => "patroni-freeze",
            Self::PatroniHaproxy => "patroni-haproxy",
        }
    }

    /// A program that it takes and that is not installed.
    #[must_use]
    pub fn missing(self) -> Option<&'static str> {
        let mariadb = ["mariadb-install-db", "mariadbd", "mariadb-admin", "mariadb"];
        let patroni = ["etcd", "patroni", "initdb", "postgres", "pg_basebackup", "pg_rewind", "psql"];
        let is_missing = |program: &&&str| programs::find(program).is_none();
        match self {
            Self::MariadbSwitchover => mariadb.iter().find(is_missing).copied(),
            Self::GaleraSeveralMembers | Self::GaleraWithoutQuorum => {
                let galera = galera::provider().is_none().then_some("libgalera_smm.so");
                galera.or_else(|| mariadb.iter().chain(&["rsync", "wsrep_sst_rsync"]).find(is_missing).copied())
            }
            Self::PatroniKill | Self::PatroniSwitchover => patroni.iter().find(is_missing).copied(),
            Self::PatroniFreeze | Self::PatroniHaproxy => {
                let proxy: &[&str] = if self == Self::PatroniHaproxy { &["haproxy"] } else { &[] };
                let missing = patroni.iter().chain(proxy).find(is_missing).copied();
                missing.or_else(|| (!patroni::keeps_to_its_lock()).then_some("Patroni 3.0.3 or later"))
            }
        }
    }
}

impl std::str::FromStr for Scenario {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let names = || Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|scenario| scenario.name() == text);
        found.with_context(|| format!("{text:?} is none of {}", names()))
    }
}

/// What to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How often each database is broken.
    pub rounds: u32,
    /// How much later than promised nodes may be ready: this machine is busy with other things as well.
    pub margin: Duration,
    /// Chooses keys, contents and pauses. What the machine chooses differs between runs all the same.
    pub seed: u64,
    /// Where logs of rounds with violations are kept.
    pub keep: PathBuf,
}

/// The nodes of the proof: their caches are too small for all contents.
fn setup() -> NodeOptions {
    NodeOptions::new().flag("cache-max-bytes", "512KiB").flag("log-filter", "info")
}

/// Runs all rounds of a scenario. Tells `progress` each as it ends.
///
/// # Errors
/// A server does not start, or does not come back. Broken promises are no errors: they stand in the rounds.
pub async fn prove(plan: &Plan, scenario: Scenario, progress: impl FnMut(&Round)) -> anyhow::Result<Vec<Round>> {
    let harmed = async |harms, progress| run(plan, scenario, Patroni::start(harms).await?, progress).await;
    match scenario {
        Scenario::MariadbSwitchover => run(plan, scenario, Pair::start().await?, progress).await,
        Scenario::GaleraSeveralMembers => refusals(plan, progress).await,
        Scenario::GaleraWithoutQuorum => run(plan, scenario, Galera::start().await?, progress).await,
        Scenario::PatroniKill => harmed(&[Harm::Kill], progress).await,
        Scenario::PatroniSwitchover => harmed(&[Harm::Switchover], progress).await,
        Scenario::PatroniFreeze => harmed(&[Harm::Freeze], progress).await,
        Scenario::PatroniHaproxy => {
            let harms = &[Harm::Kill, Harm::Switchover, Harm::Freeze];
            run(plan, scenario, Patroni::start_proxied(harms).await?, progress).await
        }
    }
}

async fn refusals(plan: &Plan, mut progress: impl FnMut(&Round)) -> anyhow::Result<Vec<Round>> {
    let galera = Galera::start().await?;
    let mut rounds = Vec::new();
    for number in 1..=plan.rounds {
        let round = refused::run(&galera, number, setup()).await?;
        progress(&round);
        rounds.push(round);
    }
    Ok(rounds)
}

async fn run(
    plan: &Plan,
    scenario: Scenario,
    mut database: impl ReplicatedDatabase,
    mut progress: impl FnMut(&Round),
) -> anyhow::Result<Vec<Round>> {
    let mut rng = Rng::with_seed(plan.seed);
    let cluster = Cluster::start_over(database.engine(), DATABASE, database.urls(), NODES, setup()).await?;
    let mut rounds = Vec::new();
    for number in 1..=plan.rounds {
        let what = format!("{}-seed-{}-round-{number}", scenario.name(), plan.seed);
        let round = match run_one(plan, scenario, number, &cluster, &mut database, &mut rng).await {
            Ok(round) => round,
            Err(error) => {
                keep(plan, &what, &cluster, &database, &format!("{error:#}\n"))?;
                return Err(error.context(what));
            }
        };
        if !round.violations.is_empty() {
            keep(plan, &what, &cluster, &database, &transcript(&round))?;
        }
        progress(&round);
        rounds.push(round);
    }
    Ok(rounds)
}

async fn run_one(
    plan: &Plan,
    scenario: Scenario,
    number: u32,
    cluster: &Cluster,
    database: &mut impl ReplicatedDatabase,
    rng: &mut Rng,
) -> anyhow::Result<Round> {
    let mut load = Load::open(cluster, &format!("{}-{number}", scenario.name())).await?;
    load.start(rng);
    tokio::time::sleep(CALM).await;
    let (began, begun) = (load.clock().now(), Instant::now());
    let struck = database.strike(number, cluster).await?;
    let ready = recovery::measure(cluster, struck.writable).await?;
    database.mend().await?;
    cluster.settled(REST).await?;
    tokio::time::sleep(CALM).await;
    let (mut seen, mut history) = load.finish(cluster).await?;
    history.records = std::mem::take(&mut seen.records);
    let violations = checker::check(&history);
    seen.records = history.records;
    let away = struck.writable.saturating_duration_since(begun);
    let measured = Measured { began, away, ready, detail: struck.detail };
    Ok(Round::count(scenario, number, measured, &seen, &violations, BOUND + plan.margin))
}

fn transcript(round: &Round) -> String {
    let mut text = format!("{}\n{round}\n\n", Round::HEAD);
    for violation in &round.violations {
        // Writing to a text can't fail.
        writeln!(text, "{violation}").unwrap_or_default();
    }
    text
}

fn keep(
    plan: &Plan,
    what: &str,
    cluster: &Cluster,
    database: &impl ReplicatedDatabase,
    text: &str,
) -> anyhow::Result<()> {
    let directory = plan.keep.join(what);
    cluster.keep_logs(&directory)?;
    database.keep_logs(&directory)?;
    Ok(std::fs::write(directory.join("round.txt"), text)?)
}
