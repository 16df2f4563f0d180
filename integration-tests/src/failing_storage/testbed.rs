//! The node and the database server of one run, and how their storage is made to fail and to work again. Owns both
//! processes; decides nothing and judges nothing.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use fastrand::Rng;

use super::kind::Kind;
use super::shim::Shim;
use crate::client::Client;
use crate::database_server::{DatabaseServer, Engine, Options, free_port};
use crate::node::{Node, NodeOptions};
use crate::volume::Volume;

const DATABASE: &str = "storage";
/// Time until a database server takes connections again.
const RECOVERED_WITHIN: Duration = Duration::from_secs(60);
/// Time until the node answers a publish that can't be written.
const PUBLISH_TIMEOUT: &str = "500ms";
/// Time until it gives up on a database server that is down.
const CONNECT_TIMEOUT: &str = "500ms";
/// A full volume has room for fewer pages of 4 KiB than this.
const SPARE_PAGES: u64 = 12;
/// How much longer than now SQLite's log may get under a limit.
const SPARE_BYTES: u64 = 64 * 1024;
/// No limit is below what the node's own log may take.
const LEAST_LIMIT: u64 = 48 * 1024;

/// What is tried.
#[derive(Debug)]
pub(super) struct Testbed {
    pub(super) node: Node,
    pub(super) database: Option<DatabaseServer>,
    shim: Shim,
}

impl Testbed {
    /// Starts a node on SQLite, or a database server and a node on it.
    pub(super) async fn open(server: Option<Engine>) -> anyhow::Result<Self> {
        let mut setup = NodeOptions::new().flag("publish-timeout", PUBLISH_TIMEOUT);
        for fix in [NodeOptions::serve_on, NodeOptions::sessions_on, NodeOptions::grpc_on] {
            setup = fix(setup, SocketAddr::from(([127, 0, 0, 1], free_port()?)));
        }
        let Some(engine) = server else {
            let shim = Shim::build("callboard.db").await?;
            for (name, value) in shim.environment() {
                setup = setup.variable(&name, &value);
            }
            if Volume::can_mount() {
                setup = setup.on_volume(64);
            }
            return Ok(Self { node: Node::start(setup).await?, database: None, shim });
        };
        let shim = Shim::build("/data/").await?;
        let options = Options {
            environment: shim.environment(),
            arguments: arguments(engine).map(str::to_owned).to_vec(),
            volume: Volume::can_mount().then_some(256),
            ..Options::default()
        };
        let database = DatabaseServer::start_with(engine, options).await?;
        database.create_database(DATABASE).await?;
        let setup = setup.variable("CALLBOARD_DATABASE_URL", &database.url(DATABASE));
        let setup = setup.flag("database-connect-timeout", CONNECT_TIMEOUT);
        Ok(Self { node: Node::start(setup).await?, database: Some(database), shim })
    }

    pub(super) fn client(&self) -> Client {
        self.node.client()
    }

    /// InnoDB shows a commit to others before its log is on the disk, and takes it back when it crashes in between. A
    /// read beside it may see what nobody was ever told is done.
    pub(super) fn shows_what_may_go(&self) -> bool {
        self.database.as_ref().is_some_and(|database| database.engine() == Engine::MariaDb)
    }

    fn volume(&self) -> Option<&Volume> {
        self.database.as_ref().map_or_else(|| self.node.volume(), DatabaseServer::volume)
    }

    /// Lets the storage fail until [`Testbed::mend`].
    pub(super) fn fail(&self, kind: Kind, next: u64, rng: &mut Rng) -> anyhow::Result<()> {
        let orders = kind.orders(next, rng);
        self.note(&format!("{kind}: {orders:?}"))?;
        match kind {
            Kind::Amid(..) | Kind::Restart(_) => self.shim.arm(orders.context("the library fails these")?),
            Kind::FullVolume => self.volume().context("there is a volume")?.fill(4096 * rng.u64(..SPARE_PAGES)),
            Kind::SizeLimit => {
                let log = fs::metadata(self.node.data_dir().join("callboard.db-wal")).map_or(0, |log| log.len());
                self.node.limit_file_sizes(Some(LEAST_LIMIT.max(rng.u64(..log + SPARE_BYTES))))
            }
        }
    }

    /// Lets the storage work again. Tells how many calls the library let fail.
    pub(super) fn mend(&self) -> anyhow::Result<u64> {
        let failed = self.shim.disarm()?;
        if let Some(volume) = self.volume() {
            volume.make_room()?;
        }
        if self.node.runs() {
            self.node.limit_file_sizes(None)?;
        }
        self.note(&format!("mended, {failed} calls failed"))?;
        Ok(failed)
    }

    /// Starts the node while its storage may fail. Tells why it did not start; it does not run then.
    pub(super) async fn try_to_start_node(&mut self) -> anyhow::Result<Option<String>> {
        self.note("the node starts")?;
        let started = self.node.start_where_told().await;
        if started.is_err() && self.node.runs() {
            self.node.kill()?;
        }
        Ok(started.err().map(|error| format!("{error:#}")))
    }

    /// Starts the node on a storage that works. A database server may have to recover first.
    pub(super) async fn start_node(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + RECOVERED_WITHIN;
        loop {
            self.raise_database().await?;
            let Some(reason) = self.try_to_start_node().await? else { return Ok(()) };
            if self.database.is_none() || Instant::now() >= deadline {
                bail!("the node does not start on a storage that works: {reason}");
            }
        }
    }

    /// Kills the node amid whatever it does.
    pub(super) fn kill_node(&mut self) -> anyhow::Result<()> {
        self.note("the node is killed")?;
        self.node.kill()
    }

    /// As [`Testbed::restart_database`] while the server's storage may fail: it need not start.
    pub(super) async fn restart_failing_database(&mut self) -> anyhow::Result<()> {
        if let Err(error) = self.restart_database().await {
            self.note(&format!("the database server did not start: {error:#}"))?;
        }
        Ok(())
    }

    /// Crashes the database server, if there is one, and starts it again.
    pub(super) async fn restart_database(&mut self) -> anyhow::Result<()> {
        let Some(database) = &mut self.database else { return Ok(()) };
        if database.runs() {
            database.crash().await?;
        }
        self.note("the database server crashed")?;
        self.start_database().await
    }

    /// Starts the database server again if it has ended by itself.
    pub(super) async fn raise_database(&mut self) -> anyhow::Result<()> {
        let Some(database) = &mut self.database else { return Ok(()) };
        if database.runs() && !database.has_ended()? {
            return Ok(());
        }
        self.note("the database server has ended by itself")?;
        self.start_database().await
    }

    async fn start_database(&mut self) -> anyhow::Result<()> {
        let Some(database) = &mut self.database else { return Ok(()) };
        database.start_again().await
    }

    /// Writes into the journal of failed calls, for people.
    pub(super) fn note(&self, what: &str) -> anyhow::Result<()> {
        let mut journal = OpenOptions::new().create(true).append(true).open(self.shim.journal())?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let (seconds, millis) = (now.as_secs() % 86_400, now.subsec_millis());
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        Ok(writeln!(journal, "{hours:02}:{minutes:02}:{seconds:02}.{millis:03} == {what}")?)
    }

    /// Copies the logs and the journal into a directory.
    pub(super) fn keep(&self, directory: &Path, name: &str) -> anyhow::Result<()> {
        fs::create_dir_all(directory)?;
        fs::copy(self.node.log(), directory.join(format!("{name}-node.log")))?;
        fs::copy(self.shim.journal(), directory.join(format!("{name}-storage.log")))?;
        if let Some(database) = &self.database {
            fs::copy(database.log(), directory.join(format!("{name}-server.log")))?;
        }
        Ok(())
    }
}

/// Small files, so that a volume that is full is noticed; no calls that the library does not see; no long search for
/// what to say of a crash.
fn arguments(engine: Engine) -> [&'static str; 6] {
    match engine {
        Engine::Postgres => ["-c", "max_wal_size=64MB", "-c", "min_wal_size=32MB", "-c", "checkpoint_timeout=30s"],
        Engine::MariaDb => [
            "--innodb-use-native-aio=0",
            "--innodb-flush-method=fsync",
            "--innodb-log-file-size=8M",
            "--innodb-max-dirty-pages-pct=0",
            "--skip-stack-trace",
            "--performance-schema=OFF",
        ],
    }
}
