//! Publishes that were tried, and how they are checked against what the node has kept: as it stands, then by repeating
//! each under its idempotency key, then as it stands again. Owns the questions to the node; the rules stand in
//! [`crate::checker`].

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use callboard_protocol::content::Md5;
use callboard_protocol::key::ConfigKey;
use fastrand::Rng;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use uuid::Uuid;

use crate::checker;
use crate::client::{Answer, Client, Request, path};
use crate::history::{Clock, History, Outcome, Record, Stored, What};

/// Requests under way at the same time while checking.
const CHECKERS: usize = 32;

/// One publish that was tried.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) key: ConfigKey,
    content: Bytes,
    pub(crate) request: Uuid,
    pub(crate) create_only: bool,
    begin: Duration,
    end: Duration,
    pub(crate) status: Option<u16>,
    pub(crate) outcome: Outcome,
}

impl Attempt {
    /// A content that nobody else publishes, of up to `longest` bytes and a few, and a request of its own.
    pub(crate) fn new(key: ConfigKey, longest: usize, rng: &mut Rng) -> Self {
        let request = uuid::Builder::from_random_bytes(rng.u128(..).to_be_bytes()).into_uuid();
        let padding = "x".repeat(rng.usize(..longest));
        Self {
            key,
            content: format!("{request} {padding}").into(),
            request,
            create_only: false,
            begin: Duration::ZERO,
            end: Duration::ZERO,
            status: None,
            outcome: Outcome::Unknown,
        }
    }

    /// Publishes it and notes what came of it.
    ///
    /// # Errors
    /// There was no answer; the outcome is unknown.
    pub(crate) async fn publish(&mut self, client: &Client, clock: Clock) -> anyhow::Result<Answer> {
        self.begin = clock.now();
        let answer = self.request(client).send().await;
        self.end = clock.now();
        if let Ok(answer) = &answer {
            self.status = Some(answer.status);
            self.outcome = Outcome::of(answer.status, answer.version());
        }
        answer
    }

    fn request(&self, client: &Client) -> Request {
        let request = client.put(&self.key, self.content.clone()).header("Idempotency-Key", &self.request.to_string());
        if self.create_only { request.header("If-None-Match", "*") } else { request }
    }

    fn md5(&self) -> Md5 {
        Md5::of(&self.content)
    }

    /// Whether a read shows what this publish was acknowledged to have done.
    pub(crate) fn explains(&self, read: &Record) -> bool {
        matches!((self.outcome, &read.what), (Outcome::Acknowledged(done), What::Read { version, .. })
            if done == *version && self.key == read.key)
    }

    pub(crate) fn is_acknowledged(&self) -> bool {
        matches!(self.outcome, Outcome::Acknowledged(_))
    }
}

/// How many publishes were answered in which way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Answers {
    /// As done.
    pub(crate) acknowledged: usize,
    /// As refused.
    pub(crate) refused: usize,
    /// As open, or not at all.
    pub(crate) unknown: usize,
}

impl Answers {
    pub(crate) fn of(attempts: &[Attempt]) -> Self {
        let count = |wanted: fn(Outcome) -> bool| attempts.iter().filter(|attempt| wanted(attempt.outcome)).count();
        Self {
            acknowledged: count(|outcome| matches!(outcome, Outcome::Acknowledged(_))),
            refused: count(|outcome| outcome == Outcome::Failed),
            unknown: count(|outcome| outcome == Outcome::Unknown),
        }
    }
}

/// What an examination found.
#[derive(Debug, Default)]
pub(crate) struct Examined {
    /// Publishes of unknown outcome that had landed.
    pub(crate) landed: usize,
    /// Publishes repeated under their idempotency key.
    pub(crate) repeated: usize,
    /// What must not be.
    pub(crate) violations: Vec<String>,
}

/// Checks `attempts`, which are all that was tried on their keys: as it stands, then by repeating, then as it stands
/// again. `reads` of these keys are held against them as well.
pub(crate) async fn examine(
    client: &Client,
    clock: Clock,
    attempts: &mut [Attempt],
    reads: &[Record],
) -> anyhow::Result<Examined> {
    let mut examined = Examined::default();
    let internal = attempts.iter().filter(|attempt| attempt.status == Some(500));
    examined.violations.extend(internal.map(|attempt| format!("{} was answered 500", attempt.request)));
    let kept = stored(client, attempts).await?;
    let versions: HashMap<Md5, u64> = kept.iter().filter_map(|row| Some((row.md5?, row.version))).collect();
    let landed = |attempt: &&Attempt| attempt.outcome == Outcome::Unknown && versions.contains_key(&attempt.md5());
    examined.landed = attempts.iter().filter(landed).count();
    examined.violations.extend(judge(attempts, reads, kept));
    examined.violations.extend(read_back(client, attempts).await?);
    let repeats = stream::iter(attempts.iter_mut())
        .filter(|attempt| {
            // A create-only publish that was cut off may rightly be refused when it comes again.
            let repeatable = attempt.is_acknowledged() || (attempt.outcome == Outcome::Unknown && !attempt.create_only);
            std::future::ready(repeatable)
        })
        .map(|attempt| {
            let landed = versions.get(&attempt.md5()).copied();
            repeat(client, clock, attempt, landed)
        })
        .buffer_unordered(CHECKERS);
    let repeated: Vec<Option<String>> = repeats.try_collect().await?;
    examined.repeated = repeated.len();
    examined.violations.extend(repeated.into_iter().flatten());
    examined.violations.extend(judge(attempts, reads, stored(client, attempts).await?));
    Ok(examined)
}

/// The histories of all keys of `attempts`, as the node tells them.
pub(crate) async fn stored(client: &Client, attempts: &[Attempt]) -> anyhow::Result<Vec<Stored>> {
    let keys: BTreeSet<ConfigKey> = attempts.iter().map(|attempt| attempt.key.clone()).collect();
    let histories = stream::iter(keys).map(async |key| {
        let rows = client.whole_history(&key).await?;
        rows.iter().map(|row| Stored::from_row(&key, row)).collect::<anyhow::Result<Vec<_>>>()
    });
    let rows: Vec<Vec<Stored>> = histories.buffer_unordered(CHECKERS).try_collect().await?;
    Ok(rows.into_iter().flatten().collect())
}

/// What must not be, by the rules of the checker.
pub(crate) fn judge(attempts: &[Attempt], reads: &[Record], stored: Vec<Stored>) -> Vec<String> {
    let record = |attempt: &Attempt| Record {
        key: attempt.key.clone(),
        begin: attempt.begin,
        end: attempt.end,
        what: What::Publish { request: attempt.request, md5: Some(attempt.md5()), outcome: attempt.outcome },
    };
    let records = attempts.iter().map(record).chain(reads.iter().cloned()).collect();
    let history = History { records, stored, ..History::default() };
    checker::check(&history).iter().map(ToString::to_string).collect()
}

/// Reads the content of every acknowledged publish by its version.
pub(crate) async fn read_back(client: &Client, attempts: &[Attempt]) -> anyhow::Result<Vec<String>> {
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
