//! A cluster of real nodes over one database server, with or without a [`Network`] between them that can be cut. Owns
//! the processes, their key and their addresses; ends them when dropped. Waits for states by asking the nodes
//! themselves.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures_util::future::try_join_all;
use tempfile::TempDir;

use crate::client::Client;
use crate::database_server::{DatabaseServer, Engine, Reach};
use crate::node::{Node, NodeOptions, run_to_end};
use crate::poll;
use crate::proxy::{Network, Run};

/// Longest time for one look at a node.
const LOOK: Duration = Duration::from_secs(2);
/// Nodes that are named to every node as seeds.
const SEEDS: u8 = 3;

/// How processes reach each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wiring {
    /// Through proxies, so that every way can be cut.
    Proxied,
    /// Directly, and the database over its Unix socket.
    Direct,
    /// Directly, and the database by a way that is measured.
    DirectBy(Reach),
    /// Over TCP, to places so far apart: the time of a round trip, to the database and between nodes.
    Distant(Duration),
}

/// One node and its client.
#[derive(Debug)]
pub struct Member {
    /// From 1.
    pub number: u8,
    /// The process.
    pub node: Node,
    /// Its client, whose connections are kept.
    pub client: Client,
}

impl Member {
    /// The node's id.
    #[must_use]
    pub fn id(&self) -> String {
        id(self.number)
    }
}

/// The id of a node by its number.
#[must_use]
pub fn id(number: u8) -> String {
    format!("n{number}")
}

/// The cluster.
#[derive(Debug)]
pub struct Cluster {
    members: BTreeMap<u8, Member>,
    network: Option<Network>,
    run: Run,
    engine: Engine,
    database: String,
    /// The URLs that nodes use when nothing is proxied: the first node the first one, and so on, round and round.
    direct: Vec<String>,
    setup: NodeOptions,
    secrets: TempDir,
}

impl Cluster {
    /// Starts `count` nodes on a new database of `server` and waits until each sees all.
    ///
    /// # Errors
    /// A node does not start, or they do not find each other.
    pub async fn start(server: &DatabaseServer, count: u8, wiring: Wiring, setup: NodeOptions) -> anyhow::Result<Self> {
        let database = format!("callboard_{}", uuid::Uuid::new_v4().simple());
        server.create_database(&database).await?;
        let mut cluster = Self {
            members: BTreeMap::new(),
            network: match wiring {
                Wiring::Proxied => Some(Network::new(server.address())),
                Wiring::Distant(round_trip) => Some(Network::distant(server.address(), round_trip)),
                Wiring::Direct | Wiring::DirectBy(_) => None,
            },
            run: Run::claim()?,
            engine: server.engine(),
            direct: vec![match wiring {
                Wiring::DirectBy(reach) => server.url_by(reach, &database),
                Wiring::Direct | Wiring::Proxied | Wiring::Distant(_) => server.socket_url(&database),
            }],
            database,
            setup,
            secrets: tempfile::tempdir()?,
        };
        for number in 1..=count {
            cluster.open_network(number).await?;
        }
        cluster.start_first(count).await?;
        Ok(cluster)
    }

    /// As [`Cluster::start`], on the database of that name that `urls` lead to, which is there already: the first node
    /// goes by the first URL, and so on, round and round.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub async fn start_over(
        engine: Engine,
        database: &str,
        urls: Vec<String>,
        count: u8,
        setup: NodeOptions,
    ) -> anyhow::Result<Self> {
        anyhow::ensure!(!urls.is_empty(), "nodes need a database");
        let mut cluster = Self {
            members: BTreeMap::new(),
            network: None,
            run: Run::claim()?,
            engine,
            database: database.to_owned(),
            direct: urls,
            setup,
            secrets: tempfile::tempdir()?,
        };
        cluster.start_first(count).await?;
        Ok(cluster)
    }

    async fn start_first(&mut self, count: u8) -> anyhow::Result<()> {
        self.make_key().await?;
        // The first one makes the tables.
        self.start_nodes(1..=1).await?;
        self.start_nodes(2..=count).await?;
        self.settled(poll::SOON * 2).await.map(drop)
    }

    async fn make_key(&self) -> anyhow::Result<()> {
        let made = run_to_end(&["cluster", "key"], &[]).await?;
        anyhow::ensure!(made.status.success(), "no key: {}", String::from_utf8_lossy(&made.stderr));
        let mut options = fs::OpenOptions::new();
        let mut file = options.create_new(true).write(true).mode(0o600).open(self.key_file())?;
        Ok(std::io::Write::write_all(&mut file, &made.stdout)?)
    }

    fn key_file(&self) -> std::path::PathBuf {
        self.secrets.path().join("cluster.key")
    }

    async fn open_network(&mut self, number: u8) -> anyhow::Result<()> {
        match &mut self.network {
            Some(network) => network.add(&self.run, number).await,
            None => Ok(()),
        }
    }

    async fn start_nodes(&mut self, numbers: impl Iterator<Item = u8>) -> anyhow::Result<()> {
        let starts = numbers.map(|number| {
            let setup = self.setup_of(number);
            async move { anyhow::Ok((number, Node::start(setup).await?)) }
        });
        for (number, node) in try_join_all(starts).await? {
            let client = node.client();
            self.members.insert(number, Member { number, node, client });
        }
        Ok(())
    }

    /// Where other nodes find a node.
    #[must_use]
    pub fn advertised(&self, number: u8) -> SocketAddr {
        if self.network.is_some() { self.run.public_peer(number) } else { self.run.peer(number) }
    }

    /// Starts a second process under the id of a node, with ports and a data directory of its own. It is no member of
    /// this cluster's; the caller ends it.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start_namesake(&mut self, number: u8) -> anyhow::Result<Node> {
        let place = self.members.keys().last().map_or(1, |last| last + 1);
        self.open_network(place).await?;
        Node::start(self.setup_under(place, &id(number))).await
    }

    fn setup_of(&self, number: u8) -> NodeOptions {
        self.setup_under(number, &id(number))
    }

    fn setup_under(&self, number: u8, id: &str) -> NodeOptions {
        let url = match self.network {
            Some(_) => self.engine.url(self.run.database(number), &self.database),
            None => self.direct.iter().cycle().nth(usize::from(number.saturating_sub(1))).cloned().unwrap_or_default(),
        };
        let seeds: Vec<String> = (1..=SEEDS).map(|seed| self.advertised(seed).to_string()).collect();
        let setup = self.setup.clone().serve_on(self.run.http(number)).sessions_on(self.run.session(number));
        let setup = setup.grpc_on(self.run.grpc(number));
        let setup = setup.variable("CALLBOARD_DATABASE_URL", &url);
        setup
            .flag("node-id", id)
            .flag("peer-addr", &self.run.peer(number).to_string())
            .flag("advertise-addr", &self.advertised(number).ip().to_string())
            .flag("seeds", &seeds.join(","))
            .flag("cluster-key-file", &self.key_file().display().to_string())
    }

    /// Adds the next node, without waiting until the others see it.
    ///
    /// # Errors
    /// It does not start.
    pub async fn add(&mut self) -> anyhow::Result<u8> {
        let number = self.members.keys().last().map_or(1, |last| last + 1);
        self.open_network(number).await?;
        self.start_nodes([number].into_iter()).await?;
        Ok(number)
    }

    /// Starts a further node, under this number, that should refuse: what it said in the end, or none when it serves
    /// instead.
    ///
    /// # Errors
    /// It does neither within `limit`.
    pub async fn refuses(&mut self, number: u8, limit: Duration) -> anyhow::Result<Option<String>> {
        Node::start_or_refuse(self.setup_of(number), limit).await
    }

    /// Ends a node in good order and forgets it. The next one added takes its number again, with nothing else of it.
    ///
    /// # Errors
    /// There is no such node, or it does not end.
    pub async fn remove(&mut self, number: u8) -> anyhow::Result<()> {
        self.member_mut(number)?.node.terminate().await?;
        self.members.remove(&number);
        Ok(())
    }

    /// Restarts each node in turn in good order, going on when all are settled. Tells `ended` how long each end took.
    ///
    /// # Errors
    /// A node does not end or does not come back.
    pub async fn restart_rolling(&mut self, mut ended: impl FnMut(u8, Duration)) -> anyhow::Result<()> {
        for number in self.numbers() {
            let begin = Instant::now();
            let member = self.member_mut(number)?;
            member.node.terminate().await?;
            ended(number, begin.elapsed());
            member.node.start_again().await?;
            self.settled(poll::SOON * 2).await?;
        }
        Ok(())
    }

    /// Starts the nodes otherwise, each from its next start on.
    ///
    /// # Errors
    /// None that a node which is there causes.
    pub fn set_up(&mut self, setup: NodeOptions) -> anyhow::Result<()> {
        self.setup = setup;
        for number in self.numbers() {
            let setup = self.setup_of(number);
            self.member_mut(number)?.node.set_up(setup);
        }
        Ok(())
    }

    /// The nodes, running or not.
    #[must_use]
    pub fn numbers(&self) -> Vec<u8> {
        self.members.keys().copied().collect()
    }

    /// The nodes, running or not.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// A node.
    ///
    /// # Errors
    /// There is none of that number.
    pub fn member(&self, number: u8) -> anyhow::Result<&Member> {
        self.members.get(&number).with_context(|| format!("there is no node {number}"))
    }

    /// A node, to be stopped and started.
    ///
    /// # Errors
    /// There is none of that number.
    pub fn member_mut(&mut self, number: u8) -> anyhow::Result<&mut Member> {
        self.members.get_mut(&number).with_context(|| format!("there is no node {number}"))
    }

    /// The clients of all nodes, in the order of their numbers.
    #[must_use]
    pub fn clients(&self) -> Vec<Client> {
        self.members().map(|member| member.client.clone()).collect()
    }

    /// The ways between the processes.
    ///
    /// # Errors
    /// The cluster is wired directly.
    pub fn network(&self) -> anyhow::Result<&Network> {
        self.network.as_ref().context("this cluster has no proxies")
    }

    /// The name of its database.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The state of each node as one of them sees it, by id.
    ///
    /// # Errors
    /// It does not answer, or not as documented.
    pub async fn view(&self, viewer: u8) -> anyhow::Result<BTreeMap<String, String>> {
        let answer = self.member(viewer)?.client.get_path("/api/v1/cluster").limit(LOOK).send().await?;
        let view = answer.expect(200)?.json()?;
        let nodes = view["nodes"].as_array().context("a view has nodes")?;
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned).context("a text");
        nodes.iter().map(|node| Ok((text(&node["id"])?, text(&node["state"])?))).collect()
    }

    /// Waits until every running node but `number` itself sees it in one of `states`; no entry counts as `removed`.
    /// Tells how long that took.
    ///
    /// # Errors
    /// It does not happen within `limit`.
    pub async fn seen_as(&self, number: u8, states: &[&str], limit: Duration) -> anyhow::Result<Duration> {
        let begin = Instant::now();
        let name = id(number);
        for viewer in self.members().filter(|member| member.number != number && member.node.runs()) {
            let what = format!("{} sees {name} as {states:?}", viewer.id());
            let left = limit.saturating_sub(begin.elapsed());
            let seen = poll::until(&what, left, async || {
                // A node that does not answer now may do so later.
                let Ok(view) = self.view(viewer.number).await else { return Ok(None) };
                let state = view.get(&name).map_or("removed", String::as_str);
                Ok(states.contains(&state).then_some(()))
            });
            seen.await.with_context(|| viewer.node.log_tail())?;
        }
        Ok(begin.elapsed())
    }

    /// Waits until every running node is ready and sees every running node as up. Tells how long that took.
    ///
    /// # Errors
    /// It does not happen within `limit`.
    pub async fn settled(&self, limit: Duration) -> anyhow::Result<Duration> {
        let begin = Instant::now();
        let running: Vec<&Member> = self.members().filter(|member| member.node.runs()).collect();
        for viewer in &running {
            let mut last = String::new();
            let left = limit.saturating_sub(begin.elapsed());
            let settled = poll::until("the cluster is settled", left, async || {
                let ready = viewer.client.get_path("/readyz").limit(LOOK).send().await;
                let view = self.view(viewer.number).await;
                let all_up = view.as_ref().is_ok_and(|view| {
                    running.iter().all(|member| view.get(&member.id()).is_some_and(|state| state == "up"))
                });
                last = format!("{}: {view:?}, {:?}", viewer.id(), ready.as_ref().map(|ready| ready.text()));
                Ok((all_up && ready.is_ok_and(|ready| ready.status == 200)).then_some(()))
            });
            settled.await.with_context(|| format!("{last}\n{}", viewer.node.log_tail()))?;
        }
        Ok(begin.elapsed())
    }

    /// Copies the nodes' logs into a directory, as `n1.log` and so on.
    ///
    /// # Errors
    /// A file can't be written.
    pub fn keep_logs(&self, directory: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(directory)?;
        for member in self.members() {
            fs::copy(member.node.log(), directory.join(format!("{}.log", member.id())))?;
        }
        Ok(())
    }
}
