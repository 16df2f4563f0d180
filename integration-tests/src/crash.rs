//! The crash check: a node is killed amid many publishers, started again, and must remember exactly what it said.
//!
//! Each round: publishers send unique contents, each with an idempotency key of its own, to keys of their own and to
//! shared ones; at a random moment the node gets SIGKILL. After the restart every acknowledged publish must read back,
//! nothing that was refused may be there, and repeating any idempotency key must give the first result, or do the
//! publish once if it never landed. After the last round everything is checked once more. Owns the rounds; the rules
//! stand in [`crate::checker`].

pub(crate) mod attempts;

use std::fmt;
use std::time::Duration;

use anyhow::Context as _;
use callboard_protocol::key::ConfigKey;
use fastrand::Rng;

use self::attempts::{Answers, Attempt, examine, judge, stored};
use crate::client::Client;
use crate::history::Clock;
use crate::node::{Node, NodeOptions};

/// Keys that all publishers of a round use.
const SHARED_KEYS: usize = 4;
/// The node is killed within this time, in milliseconds, after the publishers began.
const KILL_WITHIN: std::ops::Range<u64> = 10..400;

/// What to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How often to kill the node.
    pub rounds: u32,
    /// How many publish at the same time.
    pub publishers: u32,
    /// Chooses keys, sizes and moments. The moments that the kernel chooses differ between runs all the same.
    pub seed: u64,
    /// The node.
    pub setup: NodeOptions,
}

/// What came of one round.
#[derive(Debug, Clone, Default)]
pub struct Round {
    /// Which one, from 1.
    pub number: u32,
    /// When the node was killed, after the publishers began.
    pub killed_after: Duration,
    /// Publishes answered as done.
    pub acknowledged: usize,
    /// Publishes answered as refused.
    pub refused: usize,
    /// Publishes without an answer.
    pub cut_off: usize,
    /// Those of them that had landed.
    pub landed: usize,
    /// Publishes repeated under their idempotency key.
    pub repeated: usize,
    /// What must not be.
    pub violations: Vec<String>,
}

impl Round {
    /// The head of the table that rounds print.
    pub const HEAD: &str = " round  killed after  acknowledged  refused  cut off  landed  repeated  violations";
}

impl fmt::Display for Round {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{:6} {:10} ms {:13} {:8} {:8} {:7} {:9} {:11}",
            self.number,
            self.killed_after.as_millis(),
            self.acknowledged,
            self.refused,
            self.cut_off,
            self.landed,
            self.repeated,
            self.violations.len(),
        )?;
        self.violations.iter().take(20).try_for_each(|violation| write!(out, "\n        {violation}"))
    }
}

/// Runs the proof. Tells `progress` each round as it ends; the last one it tells, numbered one more than there are
/// rounds, is the check of everything.
///
/// # Errors
/// The node does not start again, or does not answer as documented. Broken promises are no errors: they stand in the
/// rounds.
pub async fn prove(plan: &Plan, mut progress: impl FnMut(&Round)) -> anyhow::Result<Vec<Round>> {
    let mut node = Node::start(plan.setup.clone()).await?;
    let mut rng = Rng::with_seed(plan.seed);
    let clock = Clock::start();
    let (mut rounds, mut everything) = (Vec::new(), Vec::new());
    for number in 1..=plan.rounds {
        let mut round = Round { number, ..Round::default() };
        round.killed_after = Duration::from_millis(rng.u64(KILL_WITHIN));
        let publishers = (0..plan.publishers).map(|publisher| Publisher {
            client: node.client(),
            clock,
            round: number,
            publisher,
            rng: rng.fork(),
        });
        let running: Vec<_> = publishers.map(|publisher| tokio::spawn(publisher.publish_until_cut())).collect();
        tokio::time::sleep(round.killed_after).await;
        node.kill()?;
        let mut attempts = Vec::new();
        for publisher in running {
            attempts.extend(publisher.await??);
        }
        node.start_again().await?;
        round.count(&attempts);
        let examined = examine(&node.client(), clock, &mut attempts, &[]).await;
        let examined = examined.with_context(|| format!("round {number}; {}", node.log_tail()))?;
        (round.landed, round.repeated) = (examined.landed, examined.repeated);
        round.violations = examined.violations;
        everything.append(&mut attempts);
        progress(&round);
        rounds.push(round);
    }
    let mut last = Round { number: plan.rounds + 1, ..Round::default() };
    last.count(&everything);
    last.violations = judge(&everything, &[], stored(&node.client(), &everything).await?);
    progress(&last);
    rounds.push(last);
    Ok(rounds)
}

struct Publisher {
    client: Client,
    clock: Clock,
    round: u32,
    publisher: u32,
    rng: Rng,
}

impl Publisher {
    /// Publishes one after the other until the connection breaks.
    async fn publish_until_cut(mut self) -> anyhow::Result<Vec<Attempt>> {
        let mut attempts = Vec::new();
        loop {
            let mut attempt = self.next()?;
            let cut = attempt.publish(&self.client, self.clock).await.is_err();
            attempts.push(attempt);
            if cut {
                return Ok(attempts);
            }
        }
    }

    fn next(&mut self) -> anyhow::Result<Attempt> {
        let shared = self.rng.bool();
        let name = if shared {
            format!("round-{}-shared-{}", self.round, self.rng.usize(..SHARED_KEYS))
        } else {
            format!("round-{}-own-{}", self.round, self.publisher)
        };
        let mut attempt = Attempt::new(ConfigKey::new("public", "crash", &name)?, 2_000, &mut self.rng);
        // On a key that is there already this one is refused, and must leave nothing behind.
        attempt.create_only = shared && self.rng.u8(..8) == 0;
        Ok(attempt)
    }
}

impl Round {
    fn count(&mut self, attempts: &[Attempt]) {
        let Answers { acknowledged, refused, unknown } = Answers::of(attempts);
        (self.acknowledged, self.refused, self.cut_off) = (acknowledged, refused, unknown);
    }
}
