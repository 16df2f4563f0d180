//! The crash proof: a node is killed amid many publishers, started again, and must remember exactly what it said.
//!
//! Each round: publishers send unique contents, each with an idempotency key of its own, to keys of their own and to
//! shared ones; at a random moment the node gets SIGKILL. After the restart every acknowledged publish must read back,
//! nothing that was refused may be there, and repeating any idempotency key must give the first result, or do the
//! publish once if it never landed. After the last round everything is checked once more. Owns the rounds; the rules
//! stand in [`crate::checker`].

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use callboard_protocol::content::Md5;
use callboard_protocol::key::ConfigKey;
use fastrand::Rng;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use uuid::Uuid;

use crate::checker;
use crate::client::{Client, Request, path};
use crate::history::{Clock, History, Outcome, Record, Stored, What};
use crate::node::{Node, Setup};

/// Requests under way at the same time while checking.
const CHECKERS: usize = 32;
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
    pub setup: Setup,
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
        let examined = examine(&node.client(), clock, &mut round, &mut attempts).await;
        examined.with_context(|| format!("round {number}; {}", node.log_tail()))?;
        everything.append(&mut attempts);
        progress(&round);
        rounds.push(round);
    }
    let mut last = Round { number: plan.rounds + 1, ..Round::default() };
    last.count(&everything);
    last.violations = judge(&everything, stored(&node.client(), &everything).await?);
    progress(&last);
    rounds.push(last);
    Ok(rounds)
}

/// One publish that was tried.
#[derive(Debug, Clone)]
struct Attempt {
    key: ConfigKey,
    content: Bytes,
    request: Uuid,
    create_only: bool,
    begin: Duration,
    end: Duration,
    status: Option<u16>,
    outcome: Outcome,
}

impl Attempt {
    fn request(&self, client: &Client) -> Request {
        let request = client.put(&self.key, self.content.clone()).header("Idempotency-Key", &self.request.to_string());
        if self.create_only { request.header("If-None-Match", "*") } else { request }
    }

    fn md5(&self) -> Md5 {
        Md5::of(&self.content)
    }
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
            attempt.begin = self.clock.now();
            let answer = attempt.request(&self.client).send().await;
            attempt.end = self.clock.now();
            let cut = answer.is_err();
            if let Ok(answer) = answer {
                attempt.status = Some(answer.status);
                attempt.outcome = Outcome::of(answer.status, answer.version());
            }
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
        let request = uuid::Builder::from_random_bytes(self.rng.u128(..).to_be_bytes()).into_uuid();
        let padding = "x".repeat(self.rng.usize(..2_000));
        Ok(Attempt {
            key: ConfigKey::new("public", "crash", &name)?,
            content: format!("{request} {padding}").into(),
            request,
            // On a key that is there already this one is refused, and must leave nothing behind.
            create_only: shared && self.rng.u8(..8) == 0,
            begin: Duration::ZERO,
            end: Duration::ZERO,
            status: None,
            outcome: Outcome::Unknown,
        })
    }
}

impl Round {
    fn count(&mut self, attempts: &[Attempt]) {
        let count = |wanted: fn(Outcome) -> bool| attempts.iter().filter(|attempt| wanted(attempt.outcome)).count();
        self.acknowledged = count(|outcome| matches!(outcome, Outcome::Acknowledged(_)));
        self.refused = count(|outcome| outcome == Outcome::Failed);
        self.cut_off = count(|outcome| outcome == Outcome::Unknown);
    }
}

/// Checks the round after the restart: as it stands, then by repeating, then as it stands again.
async fn examine(client: &Client, clock: Clock, round: &mut Round, attempts: &mut [Attempt]) -> anyhow::Result<()> {
    round.count(attempts);
    let internal = attempts.iter().filter(|attempt| attempt.status == Some(500));
    round.violations.extend(internal.map(|attempt| format!("{} was answered 500", attempt.request)));
    let kept = stored(client, attempts).await?;
    let versions: HashMap<Md5, u64> = kept.iter().filter_map(|row| Some((row.md5?, row.version))).collect();
    let landed = |attempt: &&Attempt| attempt.outcome == Outcome::Unknown && versions.contains_key(&attempt.md5());
    round.landed = attempts.iter().filter(landed).count();
    round.violations.extend(judge(attempts, kept));
    round.violations.extend(read_back(client, attempts).await?);
    let repeats = stream::iter(attempts.iter_mut())
        .filter(|attempt| {
            let acknowledged = matches!(attempt.outcome, Outcome::Acknowledged(_));
            // A create-only publish that was cut off may rightly be refused when it comes again.
            let repeatable = acknowledged || (attempt.outcome == Outcome::Unknown && !attempt.create_only);
            std::future::ready(repeatable)
        })
        .map(|attempt| {
            let landed = versions.get(&attempt.md5()).copied();
            repeat(client, clock, attempt, landed)
        })
        .buffer_unordered(CHECKERS);
    let repeated: Vec<Option<String>> = repeats.try_collect().await?;
    round.repeated = repeated.len();
    round.violations.extend(repeated.into_iter().flatten());
    round.violations.extend(judge(attempts, stored(client, attempts).await?));
    Ok(())
}

/// The histories of all keys of `attempts`, as the node tells them.
async fn stored(client: &Client, attempts: &[Attempt]) -> anyhow::Result<Vec<Stored>> {
    let keys: BTreeSet<ConfigKey> = attempts.iter().map(|attempt| attempt.key.clone()).collect();
    let histories = stream::iter(keys).map(async |key| {
        let rows = client.whole_history(&key).await?;
        rows.iter().map(|row| Stored::from_row(&key, row)).collect::<anyhow::Result<Vec<_>>>()
    });
    let rows: Vec<Vec<Stored>> = histories.buffer_unordered(CHECKERS).try_collect().await?;
    Ok(rows.into_iter().flatten().collect())
}

fn judge(attempts: &[Attempt], stored: Vec<Stored>) -> Vec<String> {
    let record = |attempt: &Attempt| Record {
        key: attempt.key.clone(),
        begin: attempt.begin,
        end: attempt.end,
        what: What::Publish { request: attempt.request, md5: Some(attempt.md5()), outcome: attempt.outcome },
    };
    let records = attempts.iter().map(record).collect();
    let history = History { records, stored, ..History::default() };
    checker::check(&history).iter().map(ToString::to_string).collect()
}

/// Reads the content of every acknowledged publish by its version.
async fn read_back(client: &Client, attempts: &[Attempt]) -> anyhow::Result<Vec<String>> {
    let reads = stream::iter(attempts).map(async |attempt| {
        let Outcome::Acknowledged(version) = attempt.outcome else { return anyhow::Ok(None) };
        let answer = client.get_path(&format!("{}/history/{version}", path(&attempt.key))).send().await?;
        let same =
            answer.status == 200 && answer.json()?["content"].as_str().map(str::as_bytes) == Some(&attempt.content);
        Ok((!same).then(|| format!("{} version {version} does not read back: {}", attempt.key, answer.status)))
    });
    let wrong: Vec<Option<String>> = reads.buffer_unordered(CHECKERS).try_collect().await?;
    Ok(wrong.into_iter().flatten().collect())
}

/// Repeats a publish under its idempotency key, twice, and says what is wrong with the answers.
async fn repeat(
    client: &Client,
    clock: Clock,
    attempt: &mut Attempt,
    landed: Option<u64>,
) -> anyhow::Result<Option<String>> {
    let mut first = match attempt.outcome {
        Outcome::Acknowledged(version) => Some(version),
        _ => landed,
    };
    for _ in 0..2 {
        let answer = attempt.request(client).send().await?;
        let name = attempt.request;
        let Outcome::Acknowledged(version) = Outcome::of(answer.status, answer.version()) else {
            return Ok(Some(format!("{name} repeated is answered {}: {}", answer.status, answer.text())));
        };
        let replayed = answer.json()?["replayed"].as_bool().context("an answer says whether it is a replay")?;
        if first.is_some_and(|first| first != version) || replayed != first.is_some() {
            let wrong = format!("{name} repeated gave version {version}, replayed {replayed}, first was {first:?}");
            return Ok(Some(wrong));
        }
        first = Some(version);
        attempt.outcome = Outcome::Acknowledged(version);
        attempt.end = clock.now();
    }
    Ok(None)
}
