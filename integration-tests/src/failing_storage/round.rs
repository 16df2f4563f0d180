//! One kind of failure, injected again and again into a node that goes on running, with a check of everything in
//! between. Owns the order of things: fail, publish, mend, wait until it works again; and from time to time kill -9,
//! start, check.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context as _;
use fastrand::Rng;

use super::Row;
use super::burst::{Clients, Seen};
use super::kind::{Kind, Turn};
use super::testbed::Testbed;
use crate::client::Client;
use crate::crash::attempts::{Answers, Attempt, examine};
use crate::history::{Clock, Record};
use crate::poll;

/// Injections between two checks.
const STRETCH: usize = 20;
/// One in so many injections has a kill -9 amid the publishes, and as many have one when all are answered and the
/// storage still fails.
const KILLED: u8 = 8;
/// The kill comes within this time, in milliseconds, after the publishers began.
const KILL_WITHIN: std::ops::Range<u64> = 0..80;
/// A node works again so soon after its storage does.
const BACK_WITHIN: Duration = Duration::from_secs(10);
/// A database server has to recover first.
const SERVER_BACK_WITHIN: Duration = Duration::from_secs(60);
/// Looks whether it does are so far apart: each is a publish that all checks go through.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// What all rounds of a run share.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) testbed: Testbed,
    pub(super) clock: Clock,
    pub(super) publishers: u32,
    pub(super) stretch: u32,
    pub(super) rng: Rng,
    pub(super) attempts: Vec<Attempt>,
    pub(super) reads: Vec<Record>,
}

impl Run {
    /// Injects `kind` until so many injections have made something fail.
    pub(super) async fn round(&mut self, kind: Kind, injections: usize) -> anyhow::Result<Row> {
        let mut row = Row { kind: Some(kind), ..Row::default() };
        let mut violations = BTreeSet::new();
        let mut turn = Turn::first();
        // Some fail nothing: the batch had fewer calls than that.
        let mut tries = injections * 3 + 10;
        while row.injections < injections && tries > 0 {
            self.stretch += 1;
            let clients = Clients { clock: self.clock, stretch: self.stretch, publishers: self.publishers };
            // Half of them on keys that are there.
            let mut seen = clients.burst(&self.testbed.client(), &mut self.rng).await?;
            let end = injections.min(row.injections + STRETCH);
            while row.injections < end && tries > 0 {
                tries -= 1;
                let mut one = Injection { run: self, clients: &clients, kind, seen: &mut seen };
                let failed = one.inject(&turn, &mut row, &mut violations).await?;
                turn.go_on(failed, &mut self.rng);
                row.injections += usize::from(failed > 0);
            }
            self.check(seen, &mut row, &mut violations).await?;
        }
        row.violations = violations.into_iter().collect();
        Ok(row)
    }

    /// Kill -9, start, and compare what is there with all that was answered.
    async fn check(&mut self, seen: Seen, row: &mut Row, violations: &mut BTreeSet<String>) -> anyhow::Result<()> {
        let Seen { mut attempts, mut reads, unanswered, .. } = seen;
        if self.testbed.shows_what_may_go() {
            reads.retain(|read| attempts.iter().any(|attempt| attempt.explains(read)));
        }
        let Answers { acknowledged, refused, unknown } = Answers::of(&attempts);
        row.acknowledged += acknowledged;
        row.refused += refused;
        row.unknown += unknown;
        violations.extend(unanswered);
        self.testbed.kill_node()?;
        if self.rng.bool() {
            self.testbed.restart_database().await?;
        }
        self.testbed.start_node().await?;
        let examined = examine(&self.testbed.client(), self.clock, &mut attempts, &reads).await;
        let examined = examined.with_context(|| self.testbed.node.log_tail())?;
        for violation in &examined.violations {
            self.testbed.note(&format!("violation: {violation}"))?;
        }
        violations.extend(examined.violations);
        self.attempts.append(&mut attempts);
        self.reads.extend(reads);
        Ok(())
    }
}

/// When the node is killed in an injection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kill {
    Never,
    Amid,
    /// When every publish was answered: what was refused must stay away, however it was refused.
    After,
}

impl Kill {
    fn choose(rng: &mut Rng) -> Self {
        match rng.u8(..KILLED) {
            0 => Self::Amid,
            1 => Self::After,
            _ => Self::Never,
        }
    }
}

/// One injection.
struct Injection<'r> {
    run: &'r mut Run,
    clients: &'r Clients,
    kind: Kind,
    seen: &'r mut Seen,
}

impl Injection<'_> {
    /// Lets the storage fail amid publishes and work again, and waits until the node does. Tells how many calls failed;
    /// where nobody counts them, how many publishes did.
    async fn inject(&mut self, turn: &Turn, row: &mut Row, violations: &mut BTreeSet<String>) -> anyhow::Result<u64> {
        let kill = Kill::choose(&mut self.run.rng);
        self.run.testbed.fail(self.kind, turn.next(), &mut self.run.rng)?;
        if matches!(self.kind, Kind::Restart(_)) {
            self.end_and_start(violations).await?;
        }
        let burst = if self.run.testbed.node.runs() { self.burst(kill, violations).await? } else { Seen::default() };
        row.kills += usize::from(kill != Kill::Never);
        let (answers, client) = (Answers::of(&burst.attempts), self.run.testbed.client());
        let hindered = kill == Kill::Amid || self.kind.hinders_reads() || self.run.testbed.database.is_some();
        if !hindered {
            violations.extend(burst.refused_reads.iter().cloned());
        }
        self.seen.add(burst);
        let failed = self.run.testbed.mend()?;
        self.raise(violations).await?;
        self.comes_back(&client, violations).await?;
        row.calls += failed;
        let counted = !matches!(self.kind, Kind::FullVolume | Kind::SizeLimit);
        Ok(if counted { failed } else { u64::try_from(answers.refused + answers.unknown)? })
    }

    /// A burst, with a kill -9 amid or after it if there is to be one; the node may be started again while its storage
    /// fails.
    async fn burst(&mut self, kill: Kill, violations: &mut BTreeSet<String>) -> anyhow::Result<Seen> {
        let client = self.run.testbed.client();
        let mut rng = self.run.rng.fork();
        let moment = Duration::from_millis(rng.u64(KILL_WITHIN));
        let burst = self.clients.burst(&client, &mut rng);
        match kill {
            Kill::Never => burst.await,
            Kill::After => {
                let seen = burst.await?;
                self.kill(Duration::ZERO).await?;
                self.start_on_failing_storage(violations).await?;
                Ok(seen)
            }
            Kill::Amid => {
                let (seen, killed) = tokio::join!(burst, self.kill(moment));
                killed?;
                self.start_on_failing_storage(violations).await?;
                seen
            }
        }
    }

    /// Kills the node after a while, unless it has ended by itself, and maybe its database server.
    async fn kill(&mut self, moment: Duration) -> anyhow::Result<()> {
        tokio::time::sleep(moment).await;
        let testbed = &mut self.run.testbed;
        testbed.kill_node()?;
        if self.run.rng.bool() { testbed.restart_failing_database().await } else { Ok(()) }
    }

    /// Half of the time, starts the node while its storage fails. On a full volume it has to start.
    async fn start_on_failing_storage(&mut self, violations: &mut BTreeSet<String>) -> anyhow::Result<()> {
        if self.run.rng.bool()
            && let Some(reason) = self.run.testbed.try_to_start_node().await?
        {
            self.run.testbed.note(&format!("it did not start: {reason}"))?;
            if self.kind == Kind::FullVolume && self.run.testbed.database.is_none() {
                violations.insert(format!("the node does not start on a full volume: {reason}"));
            }
        }
        Ok(())
    }

    /// Ends the node and starts it while its storage fails: it need not start.
    async fn end_and_start(&mut self, violations: &mut BTreeSet<String>) -> anyhow::Result<()> {
        let testbed = &mut self.run.testbed;
        if self.run.rng.bool() {
            testbed.kill_node()?;
        } else if let Err(error) = testbed.node.terminate().await {
            violations.insert(format!("the node does not end: {error:#}"));
            testbed.kill_node()?;
        }
        if let Some(reason) = testbed.try_to_start_node().await? {
            testbed.note(&format!("it did not start: {reason}"))?;
        }
        Ok(())
    }

    /// Starts what does not run. A node that ended by itself should not have.
    async fn raise(&mut self, violations: &mut BTreeSet<String>) -> anyhow::Result<()> {
        let testbed = &mut self.run.testbed;
        testbed.raise_database().await?;
        if testbed.node.runs()
            && let Some(status) = testbed.node.has_ended()?
        {
            violations.insert(format!("the node ended by itself with {status}"));
        }
        if !testbed.node.runs() {
            testbed.start_node().await?;
        }
        Ok(())
    }

    /// Publishes until one is acknowledged and the node says that it is ready.
    async fn comes_back(&mut self, client: &Client, violations: &mut BTreeSet<String>) -> anyhow::Result<()> {
        let limit = if self.run.testbed.database.is_some() { SERVER_BACK_WITHIN } else { BACK_WITHIN };
        let mut last = String::new();
        let back = poll::until("the node works again", limit, async || {
            // It may take its time to end.
            self.run.testbed.raise_database().await?;
            let published = self.clients.publish_once(client, &mut self.run.rng, self.seen).await?;
            let ready = client.get_path("/readyz").limit(limit).send().await;
            let is_ready = ready.as_ref().is_ok_and(|answer| answer.status == 200);
            last = format!("published: {published}, ready: {:?}", ready.map(|answer| answer.text()));
            if published && is_ready {
                return Ok(Some(()));
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
            Ok(None)
        });
        if let Err(error) = back.await {
            violations.insert(format!("the node does not come back: {error:#}; {last}"));
            self.run.testbed.note("it does not come back")?;
            self.run.testbed.kill_node()?;
            self.run.testbed.restart_database().await?;
            self.run.testbed.start_node().await?;
        }
        Ok(())
    }
}
