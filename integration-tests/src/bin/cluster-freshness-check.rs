//! `cluster-freshness-check`: publishes on every node of a cluster and reads every node the moment a publish returns;
//! exits 1 if a read was stale. With `--measure`, how fast it publishes and at what cost, beside r-nacos.

use std::path::PathBuf;
use std::time::Duration;

use callboard_integration_tests::binary;
use callboard_integration_tests::cluster_freshness::measure::{self, Way};
use callboard_integration_tests::cluster_freshness::{self, Generator};
use callboard_integration_tests::database_server::{Engine, Reach};
use clap::{Parser, ValueEnum};

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Database {
    Postgres,
    Mariadb,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum By {
    Tls,
    Tcp,
    Socket,
}

/// Checks three nodes on a database server of its own.
#[derive(Debug, Parser)]
struct Arguments {
    /// How long; with --measure, how long each measure takes.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How many publish at the same time, over all nodes.
    #[arg(long, default_value_t = 64)]
    publishers: usize,
    /// The database.
    #[arg(long, value_enum, default_value = "postgres")]
    database: Database,
    /// Measure publishers alone.
    #[arg(long)]
    measure: bool,
    /// With --measure: who makes the requests; without it wrk where that is installed.
    #[arg(long, value_enum, requires = "measure")]
    client: Option<Generator>,
    /// How the nodes reach the database; several ways, parted by commas, are taken in turn.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "tls")]
    reach: Vec<By>,
    /// With --measure: instead, how long a round trip to the database and between nodes takes, such as 1ms,10ms.
    #[arg(long, value_delimiter = ',', conflicts_with = "reach", requires = "measure")]
    distance: Vec<humantime::Duration>,
    /// With --measure: how often; medians are shown.
    #[arg(long, default_value_t = 3)]
    repeat: usize,
    /// With --measure: how many keys.
    #[arg(long, default_value_t = 1000)]
    keys: usize,
    /// With --measure: the program of r-nacos, to be measured in the same run.
    #[arg(long)]
    peer_binary: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let engine = match arguments.database {
        Database::Postgres => Engine::Postgres,
        Database::Mariadb => Engine::MariaDb,
    };
    let duration = Duration::from_secs(arguments.seconds);
    println!("{engine}, {} s, {} publishers", arguments.seconds, arguments.publishers);
    println!("node: {}", binary::up_to_date()?.display());
    if arguments.measure {
        return measure(engine, duration, arguments).await;
    }
    for by in arguments.reach {
        println!("database by {by:?}");
        let plan = cluster_freshness::Plan { engine, reach: reach(by), duration, publishers: arguments.publishers };
        let report = cluster_freshness::run(&plan).await?;
        print!("{report}");
        if report.stale > 0 || report.failed > 0 {
            std::process::exit(1);
        }
    }
    Ok(())
}

async fn measure(engine: Engine, duration: Duration, arguments: Arguments) -> anyhow::Result<()> {
    let generator = arguments.client.unwrap_or_else(|| {
        let installed = Generator::installed();
        if installed == Generator::Bench {
            println!("wrk is not installed: these are figures of our own client");
        }
        installed
    });
    println!("client: {generator}");
    let near = || arguments.reach.iter().map(|by| Way::Near(reach(*by))).collect();
    let distant: Vec<Way> = arguments.distance.iter().map(|round_trip| Way::Distant(**round_trip)).collect();
    let plan = measure::Plan {
        engine,
        generator,
        ways: if distant.is_empty() { near() } else { distant },
        duration,
        publishers: arguments.publishers,
        keys: arguments.keys,
        repeat: arguments.repeat,
        rnacos: arguments.peer_binary,
    };
    let comparison = measure::compare(&plan, |side, figures| println!("{side}: {figures:.1?}")).await?;
    print!("{comparison}");
    Ok(())
}

fn reach(by: By) -> Reach {
    match by {
        By::Tls => Reach::Tls,
        By::Tcp => Reach::Tcp,
        By::Socket => Reach::Socket,
    }
}
