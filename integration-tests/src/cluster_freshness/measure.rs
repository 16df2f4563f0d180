//! How fast a cluster takes publishes, and what that costs: publishers only, over all three nodes, beside r-nacos on
//! three nodes in the same run. Owns the plan, the processor times and the comparison; a generator makes the requests,
//! in the words of Nacos, for both.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::generator::{self, Generator, Loaded, Share};
use super::rnacos::Rnacos;
use super::{NODES, wrk};
use crate::cluster::{Cluster, Member, Wiring};
use crate::database_server::{DatabaseServer, Engine, Options, Reach};
use crate::node::NodeOptions;
use crate::process;

/// How long the nodes are loaded before it counts.
const WARM_UP: Duration = Duration::from_secs(1);
/// Marks the contents of the load that counts.
const MARK: &str = "load";

/// How far away the database, and the other nodes, are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// On the same machine, reached so.
    Near(Reach),
    /// So long a round trip away, over TCP in clear text.
    Distant(Duration),
}

/// What to measure.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The database.
    pub engine: Engine,
    /// Who makes the requests.
    pub generator: Generator,
    /// The ways by which the nodes reach it, each measured in turn.
    pub ways: Vec<Way>,
    /// How long each measure takes.
    pub duration: Duration,
    /// Connections over all nodes.
    pub publishers: usize,
    /// Keys over all connections.
    pub keys: usize,
    /// How often each side is measured; medians are compared.
    pub repeat: usize,
    /// The program of r-nacos, if it is to be measured too.
    pub rnacos: Option<PathBuf>,
}

/// One measure.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    /// Publishes a second.
    pub rate: f64,
    /// Median of an answer's time, of the slowest node, in milliseconds.
    pub p50_ms: f64,
    /// See `p50_ms`.
    pub p99_ms: f64,
    /// Processor time of all nodes for each publish, in microseconds.
    pub cpu_us: f64,
    /// Processor time of the database server for each publish, in microseconds.
    pub database_cpu_us: f64,
    /// Processor time of the generators for each publish, in microseconds.
    pub generator_cpu_us: f64,
    /// Publishes refused, and acknowledged ones that do not read back.
    pub bad: f64,
}

/// One of the figures.
type Figure = fn(&Figures) -> f64;

/// The medians of each side.
#[derive(Debug, Clone, Default)]
pub struct Comparison {
    /// Ours, by the way to the database.
    pub ours: Vec<(Way, Figures)>,
    /// Those of r-nacos.
    pub theirs: Option<Figures>,
}

/// The last column is the first one over that of r-nacos, or without r-nacos over the second one.
impl fmt::Display for Comparison {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sides: Vec<(String, &Figures)> =
            self.ours.iter().map(|(way, figures)| (format!("callboard, {way:?}"), figures)).collect();
        let compared = if let Some(theirs) = &self.theirs {
            sides.push(("r-nacos".to_owned(), theirs));
            sides.len() - 1
        } else {
            1
        };
        let names: Vec<&str> = sides.iter().map(|(name, _)| name.as_str()).collect();
        writeln!(out, "| three nodes, publishers only | {} | ratio |", names.join(" | "))?;
        writeln!(out, "|---|{}", "---|".repeat(sides.len() + 1))?;
        let rows: [(&str, Figure); 7] = [
            ("rate /s", |figures| figures.rate),
            ("p50 ms", |figures| figures.p50_ms),
            ("p99 ms", |figures| figures.p99_ms),
            ("nodes' µs per publish", |figures| figures.cpu_us),
            ("database's µs per publish", |figures| figures.database_cpu_us),
            ("generators' µs per publish", |figures| figures.generator_cpu_us),
            ("errors and lost", |figures| figures.bad),
        ];
        for (name, figure) in rows {
            let values: Vec<f64> = sides.iter().map(|(_, figures)| figure(figures)).collect();
            let shown: Vec<String> = values.iter().map(|value| format!("{value:.1}")).collect();
            let ratio = match (values.first(), values.get(compared)) {
                (Some(first), Some(other)) if *other > 0.0 => format!("{:.2}", first / other),
                _ => "–".to_owned(),
            };
            writeln!(out, "| {name} | {} | {ratio} |", shown.join(" | "))?;
        }
        Ok(())
    }
}

/// Measures both sides in turn, each time on fresh servers. Tells `progress` each measure.
///
/// # Errors
/// A server does not start, or a measure fails.
pub async fn compare(plan: &Plan, mut progress: impl FnMut(&str, &Figures)) -> anyhow::Result<Comparison> {
    let (mut ours, mut theirs) = (vec![Vec::new(); plan.ways.len()], Vec::new());
    for _ in 0..plan.repeat {
        for (way, measured) in plan.ways.iter().zip(&mut ours) {
            let figures = measure_ours(plan, *way).await?;
            progress(&format!("callboard, {way:?}"), &figures);
            measured.push(figures);
        }
        if let Some(program) = &plan.rnacos {
            let cluster = Rnacos::start(program).await?;
            let figures = measure(plan, &cluster.nodes(), || Ok(Duration::ZERO)).await?;
            progress("r-nacos", &figures);
            theirs.push(figures);
        }
    }
    let ours = plan.ways.iter().copied().zip(ours.iter().map(|measured| median(measured))).collect();
    Ok(Comparison { ours, theirs: (!theirs.is_empty()).then(|| median(&theirs)) })
}

async fn measure_ours(plan: &Plan, way: Way) -> anyhow::Result<Figures> {
    let options = Options { tls: way == Way::Near(Reach::Tls), ..Options::default() };
    let server = DatabaseServer::start_with(plan.engine, options).await?;
    let setup = NodeOptions::new().flag("log-filter", "warn");
    let wiring = match way {
        Way::Near(reach) => Wiring::DirectBy(reach),
        Way::Distant(round_trip) => Wiring::Distant(round_trip),
    };
    let cluster = Cluster::start(&server, NODES, wiring, setup).await?;
    let node = |member: &Member| Ok((member.node.address().to_string(), member.node.pid()?));
    let nodes = cluster.members().map(node).collect::<anyhow::Result<Vec<_>>>()?;
    measure(plan, &nodes, || server.cpu_time()).await
}

/// Processor time that was used so far.
struct Cpu {
    nodes: Duration,
    database: Duration,
    /// That of the generators that have ended, and of all else that was run to its end.
    generators: Duration,
}

impl Cpu {
    fn now(shares: &[Share], database: Duration) -> anyhow::Result<Self> {
        let nodes = shares.iter().map(|share| process::cpu_time(share.pid)).sum::<anyhow::Result<Duration>>()?;
        Ok(Self { nodes, database, generators: process::cpu_time_of_ended_children()? })
    }
}

/// Loads all nodes at once, each by a generator process of its own. A node is its address and its process.
async fn measure(
    plan: &Plan,
    nodes: &[(String, u32)],
    database_cpu: impl Fn() -> anyhow::Result<Duration>,
) -> anyhow::Result<Figures> {
    let shares = Share::all(nodes, plan.publishers, plan.keys);
    generator::load(plan.generator, &shares, WARM_UP, "warm").await?;
    let before = Cpu::now(&shares, database_cpu()?)?;
    let loads = generator::load(plan.generator, &shares, plan.duration, MARK).await?;
    let after = Cpu::now(&shares, database_cpu()?)?;
    let lost = wrk::lost(&shares, &loads, MARK).await?;
    let total = |figure: fn(&Loaded) -> f64| loads.iter().map(figure).sum::<f64>();
    let worst = |figure: fn(&Loaded) -> f64| loads.iter().map(figure).fold(0.0, f64::max);
    let publishes = total(|loaded| loaded.publishes).max(1.0);
    let each = |spent: Duration| spent.as_secs_f64() * 1e6 / publishes;
    Ok(Figures {
        rate: total(|loaded| loaded.rate),
        p50_ms: worst(|loaded| loaded.p50_ms),
        p99_ms: worst(|loaded| loaded.p99_ms),
        cpu_us: each(after.nodes - before.nodes),
        database_cpu_us: each(after.database - before.database),
        generator_cpu_us: each(after.generators - before.generators),
        bad: total(|loaded| loaded.bad) + lost,
    })
}

fn median(all: &[Figures]) -> Figures {
    let of = |figure: Figure| {
        let mut values: Vec<f64> = all.iter().map(figure).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    Figures {
        rate: of(|figures| figures.rate),
        p50_ms: of(|figures| figures.p50_ms),
        p99_ms: of(|figures| figures.p99_ms),
        cpu_us: of(|figures| figures.cpu_us),
        database_cpu_us: of(|figures| figures.database_cpu_us),
        generator_cpu_us: of(|figures| figures.generator_cpu_us),
        // Failures are not for averaging away.
        bad: all.iter().map(|figures| figures.bad).fold(0.0, f64::max),
    }
}
