//! The faults: what is done to a cluster, for how long, and how long publishing may then stand still. Owns the order of
//! steps of each; judges nothing.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use fastrand::Rng;
use tokio::task::JoinSet;

use super::publishers;
use super::testbed::{Controller, Recording, Testbed};
use crate::cluster::Cluster;
use crate::database_server::DatabaseServer;
use crate::poll;
use crate::proxy::Wire;

/// Nodes that every cluster has; more come and go.
pub(super) const NODES: u8 = 3;
/// How long a node stays dead, cut off from its peers, and cut off from the database: longer than it takes to fence it.
const DEAD: Duration = Duration::from_secs(10);
const CUT: Duration = Duration::from_secs(9);
/// How long a joined node takes part, and the clock stays stepped.
const A_WHILE: Duration = Duration::from_secs(3);
/// Most time for a node to come back.
const RETURN_LIMIT: Duration = Duration::from_secs(40);
/// Reads are sent to a paused node this long before it goes on: they wait in its sockets.
const BEFORE_RESUME: Duration = Duration::from_millis(300);
/// An hour.
const HOUR: i64 = 3600;

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// A node is killed, and started again after a while or at once.
    Kill,
    /// A node is stopped in its tracks and goes on later; it is read the moment it does.
    Pause,
    /// A node is cut off from its peers.
    PeerCut,
    /// A node is cut off from the database.
    DatabaseCut,
    /// One direction between a node and its peers, or the database, is cut.
    OneWayCut,
    /// The database crashes and recovers.
    DatabaseRestart,
    /// The database is gone for a while.
    DatabaseStop,
    /// A fourth node joins amid traffic, and leaves again.
    Join,
    /// Each node in turn is stopped in good order and started again.
    RollingRestart,
    /// The clock of the database is stepped by an hour, forwards or backwards, and back.
    ClockStep,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Kill,
        Self::Pause,
        Self::PeerCut,
        Self::DatabaseCut,
        Self::OneWayCut,
        Self::DatabaseRestart,
        Self::DatabaseStop,
        Self::Join,
        Self::RollingRestart,
        Self::ClockStep,
    ];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::PeerCut => "peer-cut",
            Self::DatabaseCut => "database-cut",
            Self::OneWayCut => "one-way-cut",
            Self::DatabaseRestart => "database-restart",
            Self::DatabaseStop => "database-stop",
            Self::Join => "join",
            Self::RollingRestart => "rolling-restart",
            Self::ClockStep => "clock-step",
        }
    }

    /// How long publishing may stand still: counted from the fault, or from the return of a database that was gone.
    #[must_use]
    pub fn bound(self) -> Duration {
        Duration::from_secs(match self {
            Self::Kill | Self::Pause | Self::DatabaseRestart | Self::DatabaseStop => 8,
            // The node may hold the lock that commits need; the database ends its idle transaction after three seconds.
            Self::DatabaseCut | Self::OneWayCut => 4,
            Self::PeerCut | Self::Join | Self::RollingRestart | Self::ClockStep => 3,
        })
    }

    /// Whether publishing can't go on until the fault has ended.
    pub(super) fn stops_everything(self) -> bool {
        matches!(self, Self::DatabaseRestart | Self::DatabaseStop)
    }

    /// Whether nothing may be lost for clients that try another node once.
    pub(super) fn is_graceful(self) -> bool {
        matches!(self, Self::RollingRestart | Self::Join)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl FromStr for Fault {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> anyhow::Result<Self> {
        let found = Self::ALL.into_iter().find(|fault| fault.name() == name);
        found.with_context(|| format!("no fault {name:?}; there are {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// How long the longest faults last.
#[derive(Debug, Clone, Copy)]
pub struct Lengths {
    /// A pause of a node.
    pub pause: Duration,
    /// A stop of the database.
    pub database_stop: Duration,
}

/// What was done.
#[derive(Debug, Default)]
pub(super) struct Injected {
    /// To whom.
    pub(super) detail: String,
    /// When it began and when it ended, on the testbed's clock.
    pub(super) began: Duration,
    pub(super) healed: Duration,
    /// What reads at special moments saw.
    pub(super) recording: Recording,
}

/// Where a fault is done.
pub(super) struct Scene<'s> {
    pub(super) cluster: &'s mut Cluster,
    pub(super) server: &'s mut DatabaseServer,
    pub(super) testbed: &'s Testbed,
    pub(super) controller: &'s Controller,
    pub(super) lengths: Lengths,
    pub(super) rng: &'s mut Rng,
}

impl Scene<'_> {
    /// Does it, undoes it, and waits until all nodes are back.
    pub(super) async fn inject(&mut self, fault: Fault) -> anyhow::Result<Injected> {
        let victim = self.rng.u8(1..=NODES);
        let mut injected =
            Injected { detail: format!("n{victim}"), began: self.testbed.clock.now(), ..Injected::default() };
        match fault {
            Fault::Kill => self.kill(victim, &mut injected).await?,
            Fault::Pause => self.pause(victim, &mut injected).await?,
            Fault::PeerCut => {
                let network = self.cluster.network()?;
                let wires = [network.from_node(victim), network.to_node(victim)].concat();
                self.cut(&wires).await?;
            }
            Fault::DatabaseCut => self.cut(&[Wire::ToDatabase(victim), Wire::FromDatabase(victim)]).await?,
            Fault::OneWayCut => self.cut_one_way(victim, &mut injected).await?,
            Fault::DatabaseRestart => self.server.restart_immediately().await?,
            Fault::DatabaseStop => {
                self.server.stop().await?;
                tokio::time::sleep(self.lengths.database_stop).await;
                self.server.start_again().await?;
            }
            Fault::Join => self.join(&mut injected).await?,
            Fault::RollingRestart => self.cluster.restart_rolling(|_, _| ()).await?,
            Fault::ClockStep => self.step_clock(&mut injected).await?,
        }
        if fault.stops_everything() || fault == Fault::RollingRestart {
            "all".clone_into(&mut injected.detail);
        }
        injected.healed = self.testbed.clock.now();
        self.cluster.settled(RETURN_LIMIT).await.with_context(|| format!("after {fault} of {}", injected.detail))?;
        Ok(injected)
    }

    async fn kill(&mut self, victim: u8, injected: &mut Injected) -> anyhow::Result<()> {
        let member = self.cluster.member_mut(victim)?;
        member.node.kill()?;
        if self.rng.bool() {
            tokio::time::sleep(DEAD).await;
            injected.detail.push_str(", dead for 10 s");
        } else {
            injected.detail.push_str(", restarted at once");
        }
        member.node.start_again().await
    }

    async fn pause(&mut self, victim: u8, injected: &mut Injected) -> anyhow::Result<()> {
        let member = self.cluster.member(victim)?;
        let target = self.testbed.nodes().iter().find(|target| target.name == member.id()).cloned();
        let target = target.context("a victim is among the targets")?;
        let mut reads = JoinSet::new();
        let burst = |reads: &mut JoinSet<Recording>| {
            self.testbed.keys.iter().for_each(|key| publishers::read_soon(self.testbed, &target, key, reads));
        };
        member.node.pause()?;
        tokio::time::sleep(self.lengths.pause.saturating_sub(BEFORE_RESUME)).await;
        burst(&mut reads);
        tokio::time::sleep(BEFORE_RESUME).await;
        member.node.resume()?;
        while !reads.is_empty() {
            burst(&mut reads);
            if let Some(read) = reads.join_next().await {
                injected.recording.add(read?);
            }
            if self.testbed.clock.now() > injected.began + self.lengths.pause + A_WHILE {
                break;
            }
        }
        while let Some(read) = reads.join_next().await {
            injected.recording.add(read?);
        }
        Ok(())
    }

    async fn cut(&self, wires: &[Wire]) -> anyhow::Result<()> {
        let network = self.cluster.network()?;
        wires.iter().for_each(|wire| network.cut(*wire));
        tokio::time::sleep(CUT).await;
        network.heal_all();
        Ok(())
    }

    async fn cut_one_way(&mut self, victim: u8, injected: &mut Injected) -> anyhow::Result<()> {
        let network = self.cluster.network()?;
        let (way, wires) = match self.rng.u8(..4) {
            0 => (" to its peers", network.from_node(victim)),
            1 => (" from its peers", network.to_node(victim)),
            2 => (" to the database", vec![Wire::ToDatabase(victim)]),
            _ => (" from the database", vec![Wire::FromDatabase(victim)]),
        };
        injected.detail.push_str(way);
        self.cut(&wires).await
    }

    async fn join(&mut self, injected: &mut Injected) -> anyhow::Result<()> {
        let number = self.cluster.add().await?;
        injected.detail = crate::cluster::id(number);
        self.controller.tell_nodes(self.cluster);
        let seen = self.cluster.seen_as(number, &["up"], poll::SOON).await?;
        tokio::time::sleep(A_WHILE).await;
        self.cluster.remove(number).await?;
        self.controller.tell_nodes(self.cluster);
        injected.detail.push_str(&format!(", seen after {} ms", seen.as_millis()));
        Ok(())
    }

    async fn step_clock(&mut self, injected: &mut Injected) -> anyhow::Result<()> {
        if !DatabaseServer::clock_can_step() {
            bail!("libfaketime is not installed");
        }
        let step = if self.rng.bool() { HOUR } else { -HOUR };
        injected.detail = format!("{step:+} s");
        self.server.step_clock(step)?;
        tokio::time::sleep(A_WHILE).await;
        self.server.step_clock(0)?;
        tokio::time::sleep(A_WHILE / 2).await;
        Ok(())
    }
}
