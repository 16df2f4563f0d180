//! Three members of a Galera cluster. Owns the servers, and how they are started as members, lose their quorum and find
//! it again.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use callboard_protocol::key::ConfigKey;
use futures_util::future::try_join_all;

use super::replicated_database::{DATABASE, ReplicatedDatabase, Struck};
use crate::cluster::Cluster;
use crate::database_server::{DatabaseServer, Engine, Options, PATIENCE, free_port, programs};
use crate::poll;

const SCHEMA: &str = "mysql";
const MEMBERS: usize = 3;
/// How long the database takes no writes: longer than leases last.
const OUTAGE: Duration = Duration::from_secs(10);
/// Longest time for a member to see that the others are gone: they are suspected for 5 s, inactive after 15 s.
const SUSPICION: Duration = Duration::from_secs(40);
/// Where Debian and others have the library that makes members of servers.
pub(super) fn provider() -> Option<PathBuf> {
    ["/usr/lib/galera/libgalera_smm.so", "/usr/lib64/galera-4/libgalera_smm.so", "/usr/lib/libgalera_smm.so"]
        .iter()
        .map(PathBuf::from)
        .find(|library| library.is_file())
}

/// Ports of a member, besides that for clients.
#[derive(Debug, Clone, Copy)]
struct Ports {
    group: u16,
    increments: u16,
    copies: u16,
}

/// The members.
#[derive(Debug)]
pub(super) struct Galera {
    members: Vec<DatabaseServer>,
    ports: Vec<Ports>,
}

impl Galera {
    /// Starts all members, with an empty database.
    pub(super) async fn start() -> anyhow::Result<Self> {
        let ports = || anyhow::Ok(Ports { group: free_port()?, increments: free_port()?, copies: free_port()? });
        let ports = (0..MEMBERS).map(|_| ports()).collect::<Result<Vec<_>, _>>()?;
        let mut galera = Self { members: Vec::new(), ports };
        for number in 0..MEMBERS {
            let mut arguments = galera.arguments(number)?;
            if number == 0 {
                arguments.push("--wsrep-new-cluster".to_owned());
            }
            let options = Options { arguments, ..Options::default() };
            let mut member = DatabaseServer::start_with(Engine::MariaDb, options).await?;
            is_synced(&member).await?;
            member.set_arguments(galera.arguments(number)?);
            galera.members.push(member);
        }
        galera.first()?.create_database(DATABASE).await?;
        Ok(galera)
    }

    /// Only members without the mark of a new cluster are started again.
    fn arguments(&self, number: usize) -> anyhow::Result<Vec<String>> {
        let provider = provider().context("galera-4 is not installed")?;
        let groups: Vec<String> = self.ports.iter().map(|ports| format!("127.0.0.1:{}", ports.group)).collect();
        let Ports { group, increments, copies } = *self.ports.get(number).context("a member has ports")?;
        Ok(vec![
            "--wsrep-on=ON".to_owned(),
            format!("--wsrep-provider={}", provider.display()),
            "--wsrep-cluster-name=callboard".to_owned(),
            format!("--wsrep-cluster-address=gcomm://{}", groups.join(",")),
            format!("--wsrep-node-name=member{}", number + 1),
            "--wsrep-node-address=127.0.0.1".to_owned(),
            "--wsrep-sst-method=rsync".to_owned(),
            format!("--wsrep-sst-receive-address=127.0.0.1:{copies}"),
            format!(
                "--wsrep-provider-options=gmcast.listen_addr=tcp://127.0.0.1:{group};\
                 ist.recv_addr=127.0.0.1:{increments};gcache.size=64M"
            ),
            "--binlog-format=ROW".to_owned(),
            "--default-storage-engine=InnoDB".to_owned(),
            "--innodb-autoinc-lock-mode=2".to_owned(),
        ])
    }

    fn first(&self) -> anyhow::Result<&DatabaseServer> {
        self.members.first().context("there are members")
    }

    /// A URL for each node, of a member of its own.
    pub(super) fn urls_of_members(&self) -> Vec<String> {
        self.members.iter().map(|member| member.url(DATABASE)).collect()
    }

    /// Kills all members but the first one, and waits until that one knows.
    async fn lose_quorum(&mut self) -> anyhow::Result<()> {
        for member in self.members.iter_mut().skip(1) {
            member.crash().await?;
        }
        let first = self.first()?;
        poll::until("the first member has no quorum", SUSPICION, async || {
            Ok((state(first).await.as_deref() == Some("OFF")).then_some(()))
        })
        .await
    }

    async fn set(&self, setting: &str) -> anyhow::Result<()> {
        self.first()?.query(SCHEMA, &format!("SET GLOBAL {setting}")).await.map(drop)
    }

    /// Starts all members that do not run, from what they have, and gives the moment from which on the first one takes
    /// writes.
    async fn start_others(&mut self) -> anyhow::Result<Instant> {
        let arguments = (0..MEMBERS).map(|number| self.arguments(number)).collect::<Result<Vec<_>, _>>()?;
        let mut members = self.members.iter_mut().zip(arguments);
        let (first, _) = members.next().context("there are members")?;
        let starts = members.filter(|(member, _)| !member.runs()).map(|(member, arguments)| rejoin(member, arguments));
        let writable = async {
            is_synced(first).await?;
            Ok(Instant::now())
        };
        let (_, writable) = tokio::try_join!(try_join_all(starts), writable)?;
        Ok(writable)
    }
}

/// Ways to lose the database and to get it back.
#[derive(Debug, Clone, Copy)]
enum Loss {
    /// Quorum is lost; the member that is left is told to go on alone.
    Alone,
    /// The member is told to refuse what clients ask.
    Refusing,
    /// Quorum is lost; the others return.
    Returning,
}

impl Loss {
    fn of(round: u32) -> Self {
        match round % 3 {
            1 => Self::Alone,
            2 => Self::Refusing,
            _ => Self::Returning,
        }
    }
}

impl ReplicatedDatabase for Galera {
    fn engine(&self) -> Engine {
        Engine::MariaDb
    }

    /// All nodes go to the first member.
    fn urls(&self) -> Vec<String> {
        self.members.iter().take(1).map(|member| member.url(DATABASE)).collect()
    }

    async fn strike(&mut self, round: u32, cluster: &Cluster) -> anyhow::Result<Struck> {
        let loss = Loss::of(round);
        match loss {
            Loss::Alone | Loss::Returning => self.lose_quorum().await?,
            Loss::Refusing => self.set("wsrep_reject_queries = ALL").await?,
        }
        refuse_publishes(cluster).await?;
        tokio::time::sleep(OUTAGE).await;
        let writable = match loss {
            Loss::Alone => {
                self.set("wsrep_provider_options = 'pc.bootstrap=1'").await?;
                is_synced(self.first()?).await?;
                Instant::now()
            }
            Loss::Refusing => {
                self.set("wsrep_reject_queries = NONE").await?;
                Instant::now()
            }
            Loss::Returning => self.start_others().await?,
        };
        Ok(Struck { writable, detail: format!("{loss:?}").to_lowercase() })
    }

    async fn mend(&mut self) -> anyhow::Result<()> {
        self.start_others().await.map(drop)
    }

    fn keep_logs(&self, directory: &Path) -> anyhow::Result<()> {
        for (member, number) in self.members.iter().zip(1..) {
            fs::copy(member.log(), directory.join(format!("galera-{number}.log")))?;
        }
        Ok(())
    }
}

/// Waits until every node refuses to publish, and says so.
async fn refuse_publishes(cluster: &Cluster) -> anyhow::Result<()> {
    let key = ConfigKey::new("public", "ha", "refused")?;
    for member in cluster.members() {
        let what = format!("{} refuses publishes", member.id());
        poll::until(&what, poll::SOON, async || {
            let answer = member.client.put(&key, "refused").send().await?;
            anyhow::ensure!(answer.status != 500, "{} answers 500: {}", member.id(), answer.text());
            Ok((answer.status == 503).then_some(()))
        })
        .await?;
    }
    Ok(())
}

/// Starts a member that was killed where it was, so that it is not given a whole copy.
async fn rejoin(member: &mut DatabaseServer, mut arguments: Vec<String>) -> anyhow::Result<()> {
    member.set_arguments(arguments.clone());
    arguments.push(format!("--wsrep-start-position={}", recovered_position(member).await?));
    member.set_arguments(arguments);
    member.start_again().await?;
    is_synced(member).await
}

/// How far a member that was killed had come.
async fn recovered_position(member: &DatabaseServer) -> anyhow::Result<String> {
    let log = member.home().join("recovery.log");
    let mut command = member.command()?;
    command.arg("--wsrep-recover").arg(format!("--log-error={}", log.display()));
    programs::run(command).await?;
    let said = fs::read_to_string(&log)?;
    let position = said.lines().rev().find_map(|line| line.split_once("Recovered position:"));
    Ok(position.context("it says no position")?.1.trim().to_owned())
}

/// `ON` and `Synced` when a member takes part. `OFF` when it takes no statements. None when it does not answer.
async fn state(member: &DatabaseServer) -> Option<String> {
    let said = member.query(SCHEMA, "SHOW STATUS WHERE variable_name IN ('wsrep_ready', 'wsrep_local_state_comment')");
    let said = said.await.ok()?;
    let value = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    match (value("wsrep_ready")?, value("wsrep_local_state_comment")?) {
        ("ON", "Synced") => Some("Synced".to_owned()),
        (ready, _) => Some(ready.to_owned()),
    }
}

async fn is_synced(member: &DatabaseServer) -> anyhow::Result<()> {
    poll::until("the member is synced", PATIENCE, async || {
        Ok((state(member).await.as_deref() == Some("Synced")).then_some(()))
    })
    .await
}
