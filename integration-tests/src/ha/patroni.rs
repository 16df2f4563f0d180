//! Three PostgreSQL under Patroni with one synchronous standby, and etcd. Owns the processes, their settings and their
//! files; what Patroni does with the servers is its own.

mod settings;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::haproxy::Proxy;
use super::replicated_database::{DATABASE, ReplicatedDatabase, Struck};
use super::service::Service;
use crate::client::Client;
use crate::cluster::Cluster;
use crate::database_server::programs::{self, User};
use crate::database_server::{Engine, USER, free_port};
use crate::poll;
use crate::process;

const MEMBERS: usize = 3;
/// Longest time for a member to be made, or to be a standby again.
const MAKING: Duration = Duration::from_secs(120);
/// Longest time until another one is the primary: leadership runs out after 20 s.
const PROMOTION: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_secs(2);

/// The first Patroni that does not overwrite the leader's key in etcd: one before it takes the role back when it goes
/// on after its lease has run out, and what its successor committed is gone
/// (<https://github.com/patroni/patroni/pull/2689>).
const KEEPS_TO_ITS_LOCK: [u32; 3] = [3, 0, 3];

/// Whether the installed Patroni leaves the role with its successor when it was frozen.
pub(super) fn keeps_to_its_lock() -> bool {
    let version = || {
        let program = programs::find("patroni")?;
        let answer = Command::new(program).arg("--version").output().ok()?;
        let text = String::from_utf8(answer.stdout).ok()?;
        version_of(&text)
    };
    version().is_some_and(|version| version >= KEEPS_TO_ITS_LOCK)
}

/// The three numbers at the end of what `patroni --version` says.
fn version_of(text: &str) -> Option<[u32; 3]> {
    let numbers: Vec<u32> =
        text.trim().rsplit(' ').next()?.split('.').map_while(|number| number.parse().ok()).collect();
    numbers.try_into().ok()
}

/// What is done to the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Harm {
    /// It is killed, with its Patroni.
    Kill,
    /// It hands its role over as planned.
    Switchover,
    /// It is stopped in its tracks, with its Patroni, and goes on when another is the primary.
    Freeze,
}

/// One server and its Patroni.
#[derive(Debug)]
struct Member {
    name: String,
    port: u16,
    rest: u16,
    patroni: Option<Service>,
    /// Stopped in their tracks.
    frozen: Vec<u32>,
}

impl Member {
    fn client(&self) -> Client {
        Client::new(format!("http://127.0.0.1:{}", self.rest))
    }
}

/// The servers.
#[derive(Debug)]
pub(super) struct Patroni {
    // Ended before the servers' files are gone.
    members: Vec<Member>,
    _etcd: Service,
    home: TempDir,
    user: Option<User>,
    /// In the order of the rounds, again and again.
    harms: &'static [Harm],
    /// What the nodes go through; else they know all servers.
    proxy: Option<Proxy>,
}

impl Patroni {
    /// As [`Patroni::start`], with a proxy before the servers.
    pub(super) async fn start_proxied(harms: &'static [Harm]) -> anyhow::Result<Self> {
        let mut patroni = Self::start(harms).await?;
        let servers: Vec<(u16, u16)> = patroni.members.iter().map(|member| (member.port, member.rest)).collect();
        patroni.proxy = Some(Proxy::start(patroni.user, patroni.home.path(), &servers).await?);
        patroni.leads_to_primary().await?;
        Ok(patroni)
    }

    /// Starts everything, with an empty database.
    pub(super) async fn start(harms: &'static [Harm]) -> anyhow::Result<Self> {
        let user = programs::ordinary_user(Engine::Postgres)?;
        let home = tempfile::Builder::new().prefix("callboard-patroni-").tempdir()?;
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755))?;
        if let Some(User { uid, gid }) = user {
            chown(home.path(), Some(uid), Some(gid))?;
        }
        let (store, etcd) = start_etcd(user, home.path()).await?;
        let mut patroni = Self { members: Vec::new(), _etcd: etcd, home, user, harms, proxy: None };
        for number in 1..=MEMBERS {
            let name = format!("p{number}");
            let member = Member { name, port: free_port()?, rest: free_port()?, patroni: None, frozen: Vec::new() };
            let settings = settings::member(&member.name, (member.port, member.rest), store, patroni.home.path())?;
            fs::write(patroni.settings_file(&member), settings.to_string())?;
            patroni.members.push(member);
        }
        // The first one makes the cluster, the others copy it.
        patroni.start_members(1).await?;
        let primary = patroni.port_of(patroni.primary().await?)?;
        patroni.query(primary, "postgres", &format!("CREATE ROLE {USER} LOGIN")).await?;
        patroni.query(primary, "postgres", &format!("CREATE DATABASE {DATABASE} OWNER {USER}")).await?;
        patroni.start_members(MEMBERS).await?;
        Ok(patroni)
    }

    fn settings_file(&self, member: &Member) -> PathBuf {
        self.home.path().join(format!("{}.json", member.name))
    }

    fn data(&self, member: &Member) -> PathBuf {
        settings::data(self.home.path(), &member.name)
    }

    /// Starts those of the first `count` members that do not run, and waits until one is the primary and another its
    /// synchronous standby.
    async fn start_members(&mut self, count: usize) -> anyhow::Result<()> {
        for number in 0..count {
            let member = self.members.get(number).context("there are members")?;
            if member.patroni.is_some() {
                continue;
            }
            let arguments = [self.settings_file(member).display().to_string()];
            let started = Service::start(&member.name, "patroni", self.user, self.home.path(), &arguments)?;
            self.members.get_mut(number).context("there are members")?.patroni = Some(started);
        }
        poll::until("every member of Patroni has its role", MAKING, async || {
            for service in self.members.iter_mut().filter_map(|member| member.patroni.as_mut()) {
                service.still_runs()?;
            }
            Ok(self.is_whole(count).await.then_some(()))
        })
        .await
        .with_context(|| self.tail())
    }

    fn tail(&self) -> String {
        let tail = |member: &Member| {
            let log = fs::read_to_string(member.patroni.as_ref()?.log()).ok()?;
            let last: Vec<&str> = log.lines().rev().take(8).collect();
            Some(format!("{}, newest first:\n{}", member.name, last.join("\n")))
        };
        self.members.iter().filter_map(tail).collect::<Vec<_>>().join("\n")
    }

    /// Whether `count` members run, one as the primary and, among several, one as its synchronous standby.
    async fn is_whole(&self, count: usize) -> bool {
        let Some(roles) = self.roles().await else { return false };
        let has = |role: &[&str]| roles.iter().any(|(_, found)| role.contains(&found.as_str()));
        roles.len() == count && has(&["leader"]) && (count == 1 || has(&["sync_standby"]))
    }

    /// Name and role of each member that runs, as the primary's Patroni sees it.
    async fn roles(&self) -> Option<Vec<(String, String)>> {
        let primary = self.primary_now().await?;
        let answer = primary.client().get_path("/cluster").limit(LOOK).send().await.ok()?.json().ok()?;
        let text = |member: &Value, name: &str| member[name].as_str().map(str::to_owned);
        let running = answer["members"].as_array()?.iter().filter(|member| {
            matches!(member["state"].as_str(), Some("running" | "streaming"))
                && member["lag"].as_u64().is_none_or(|lag| lag < 16 << 20)
        });
        running.map(|member| Some((text(member, "name")?, text(member, "role")?))).collect()
    }

    async fn primary_now(&self) -> Option<&Member> {
        for member in self.members.iter().filter(|member| member.patroni.is_some() && member.frozen.is_empty()) {
            let answer = member.client().get_path("/primary").limit(LOOK).send().await;
            if answer.is_ok_and(|answer| answer.status == 200) {
                return Some(member);
            }
        }
        None
    }

    /// The number of the primary.
    async fn primary(&self) -> anyhow::Result<usize> {
        let name = poll::until("there is a primary", PROMOTION, async || {
            Ok(self.primary_now().await.map(|member| member.name.clone()))
        });
        let name = name.await?;
        self.members.iter().position(|member| member.name == name).context("the primary is a member")
    }

    fn port_of(&self, number: usize) -> anyhow::Result<u16> {
        Ok(self.members.get(number).context("there is such a member")?.port)
    }

    async fn query(&self, port: u16, database: &str, statements: &str) -> anyhow::Result<String> {
        let program = programs::find("psql").context("psql is not installed")?;
        let mut command = programs::command(&program, self.user, self.home.path());
        // A session that nobody waits for any more ends by itself.
        command.env("PGOPTIONS", "-c client_connection_check_interval=1s");
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-h", "127.0.0.1", "-p"]);
        command.args([&port.to_string(), "-d", database, "-c", statements]);
        programs::run(command).await
    }

    /// The moment at which a standby is one no more. The server itself looks, so that nothing is started again and
    /// again beside what is measured.
    async fn promoted(&self, standbys: &[usize]) -> anyhow::Result<(usize, Instant)> {
        let wait = "DO $$ BEGIN WHILE pg_is_in_recovery() LOOP PERFORM pg_sleep(0.005); END LOOP; END $$";
        let waits = standbys.iter().map(|&number| {
            Box::pin(async move {
                let port = self.port_of(number)?;
                let waited = poll::until("a standby is promoted", PROMOTION, async || {
                    // The server may restart meanwhile.
                    Ok(self.query(port, "postgres", wait).await.is_ok().then(Instant::now))
                });
                anyhow::Ok((number, waited.await?))
            })
        });
        let (first, _) = futures_util::future::select_ok(waits).await?;
        Ok(first)
    }

    /// Waits until the proxy, if there is one, leads to a server that is no standby.
    async fn leads_to_primary(&self) -> anyhow::Result<()> {
        let Some(port) = self.proxy.as_ref().map(Proxy::port) else { return Ok(()) };
        poll::until("the proxy leads to the primary", PROMOTION, async || {
            let standby = self.query(port, "postgres", "SELECT pg_is_in_recovery()").await;
            Ok(standby.is_ok_and(|standby| standby.trim() == "f").then_some(()))
        })
        .await
    }

    /// The processes of a server and its Patroni, Patroni first: it would start the server again.
    fn processes(&self, number: usize) -> anyhow::Result<Vec<u32>> {
        let member = self.members.get(number).context("there is such a member")?;
        let postmaster = postmaster(&self.data(member)).context("the server runs")?;
        let mut all: Vec<u32> = member.patroni.iter().map(Service::pid).collect();
        for &patroni in &all.clone() {
            all.extend(process::children(patroni)?);
        }
        all.push(postmaster);
        all.extend(process::children(postmaster)?);
        Ok(all)
    }

    fn kill(&mut self, number: usize) -> anyhow::Result<()> {
        for pid in self.processes(number)? {
            // A child may have ended with its parent.
            drop(process::signal(pid, Signal::KILL));
        }
        // It is waited for as it is dropped.
        self.members.get_mut(number).context("there is such a member")?.patroni = None;
        Ok(())
    }

    fn freeze(&mut self, number: usize) -> anyhow::Result<()> {
        let processes = self.processes(number)?;
        for &pid in &processes {
            // A child may have ended since it was listed.
            drop(process::signal(pid, Signal::STOP));
        }
        self.members.get_mut(number).context("there is such a member")?.frozen = processes;
        Ok(())
    }

    fn thaw(&mut self) {
        for member in &mut self.members {
            for pid in std::mem::take(&mut member.frozen) {
                drop(process::signal(pid, Signal::CONT));
            }
        }
    }

    async fn hand_over(&self, primary: usize) -> anyhow::Result<()> {
        let roles = self.roles().await.context("the roles are known")?;
        let standby = roles.iter().find(|(_, role)| role == "sync_standby").context("there is a standby")?;
        let member = self.members.get(primary).context("there is a primary")?;
        let request = json!({ "leader": member.name, "candidate": standby.0 });
        let answer = member.client().request(reqwest::Method::POST, "/switchover").json(&request).send().await?;
        if answer.status >= 300 {
            bail!("the switchover was answered {}: {}", answer.status, answer.text());
        }
        Ok(())
    }
}

/// The first process of the server whose files these are, if it runs.
fn postmaster(data: &Path) -> Option<u32> {
    let noted = fs::read_to_string(data.join("postmaster.pid")).ok()?;
    let pid = noted.lines().next()?.trim().parse().ok()?;
    // Another process may have got the number of one that was killed.
    let directory = fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
    (directory == data.canonicalize().ok()?).then_some(pid)
}

async fn start_etcd(user: Option<User>, home: &Path) -> anyhow::Result<(u16, Service)> {
    let (clients, peers) = (free_port()?, free_port()?);
    let mut etcd = Service::start("etcd", "etcd", user, home, &settings::etcd(home, clients, peers))?;
    let client = Client::new(format!("http://127.0.0.1:{clients}"));
    poll::until("etcd answers", poll::SOON, async || {
        etcd.still_runs()?;
        let answer = client.get_path("/health").limit(LOOK).send().await;
        Ok(answer.is_ok_and(|answer| answer.status == 200).then_some(()))
    })
    .await?;
    Ok((clients, etcd))
}

impl ReplicatedDatabase for Patroni {
    fn engine(&self) -> Engine {
        Engine::Postgres
    }

    fn urls(&self) -> Vec<String> {
        if let Some(proxy) = &self.proxy {
            return vec![Engine::Postgres.url(proxy.address(), DATABASE)];
        }
        let hosts: Vec<String> = self.members.iter().map(|member| format!("127.0.0.1:{}", member.port)).collect();
        vec![format!("postgres://{USER}@{}/{DATABASE}?target_session_attrs=read-write", hosts.join(","))]
    }

    async fn strike(&mut self, round: u32, _cluster: &Cluster) -> anyhow::Result<Struck> {
        let place = usize::try_from(round.saturating_sub(1))?;
        let harm = *self.harms.iter().cycle().nth(place).context("there is harm to do")?;
        let primary = self.primary().await?;
        match harm {
            Harm::Kill => self.kill(primary)?,
            Harm::Freeze => self.freeze(primary)?,
            Harm::Switchover => {}
        }
        let standbys: Vec<usize> = (0..MEMBERS).filter(|&number| number != primary).collect();
        let handed_over = async {
            match harm {
                Harm::Switchover => self.hand_over(primary).await,
                Harm::Kill | Harm::Freeze => Ok(()),
            }
        };
        let writable = async {
            let (next, promoted) = self.promoted(&standbys).await?;
            self.leads_to_primary().await?;
            Ok((next, if self.proxy.is_some() { Instant::now() } else { promoted }))
        };
        let ((), (next, writable)) = tokio::try_join!(handed_over, writable)?;
        let name = |number: usize| self.members.get(number).map_or("", |member| &member.name);
        Ok(Struck { writable, detail: format!("{harm:?}: {} to {}", name(primary), name(next)).to_lowercase() })
    }

    async fn mend(&mut self) -> anyhow::Result<()> {
        self.thaw();
        self.start_members(MEMBERS).await
    }

    fn keep_logs(&self, directory: &Path) -> anyhow::Result<()> {
        for member in &self.members {
            let log = format!("{}.log", member.name);
            fs::copy(self.home.path().join(&log), directory.join(&log))?;
        }
        Ok(())
    }
}

impl Drop for Patroni {
    fn drop(&mut self) {
        self.thaw();
        for member in &mut self.members {
            // First, for it would start its server again.
            member.patroni = None;
        }
        for member in &self.members {
            let Some(pid) = postmaster(&self.data(member)) else { continue };
            // It ends at once by this, and leaves no memory behind; one that was its parent waits for it no more.
            if let Err(error) = process::signal(pid, Signal::QUIT) {
                eprintln!("a PostgreSQL may be left behind: {error:#}");
            }
            process::wait_for_end(pid, poll::SOON);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_patroni_are_compared_as_numbers() {
        assert_eq!(version_of("patroni 3.0.2\n"), Some([3, 0, 2]));
        assert!(version_of("patroni 3.0.10\n") >= Some(KEEPS_TO_ITS_LOCK));
        assert!(version_of("patroni 3.0.2\n") < Some(KEEPS_TO_ITS_LOCK));
        assert_eq!(version_of("command not found"), None);
    }
}
