//! What came of one round, and the table of many. Owns how figures are counted and shown.

use std::fmt::{self, Write as _};
use std::time::Duration;

use super::Scenario;
use crate::chaos::round::longest_silence;
use crate::chaos::testbed::Recording;
use crate::checker::{Rule, Violation};

/// Violations that a line of the report shows.
const SHOWN: usize = 10;

/// One round.
#[derive(Debug, Clone)]
pub struct Round {
    /// What was done.
    pub scenario: Scenario,
    /// Which one of its scenario, from 1.
    pub number: u32,
    /// To whom.
    pub detail: String,
    /// Publishes acknowledged.
    pub published: usize,
    /// Acknowledged publishes that are not kept, and what else is kept or seen that must not be.
    pub lost: usize,
    /// Reads, and publishes, older than what was known before.
    pub stale: usize,
    /// Events that were no newer than those before.
    pub back: usize,
    /// Answers with status 500.
    pub broken: usize,
    /// How long the database took no writes, or until it did so elsewhere.
    pub away: Duration,
    /// Longest time without an acknowledged publish.
    pub gap: Duration,
    /// From the moment at which the database took writes again until every node published and was ready.
    pub ready: Duration,
    /// What must not be.
    pub violations: Vec<String>,
}

/// What was measured in a round.
#[derive(Debug)]
pub(super) struct Measured {
    /// When the database was broken, on the recording's clock.
    pub(super) began: Duration,
    pub(super) away: Duration,
    pub(super) ready: Duration,
    pub(super) detail: String,
}

impl Round {
    /// The head of the lines that rounds print.
    pub const HEAD: &str = "scenario                round  published   lost  stale  back   500s  database away  longest gap  ready after  violations  what";

    /// A round in which nothing was published.
    pub(super) fn without_load(scenario: Scenario, number: u32, detail: String, violations: Vec<String>) -> Self {
        Self {
            scenario,
            number,
            detail,
            published: 0,
            lost: 0,
            stale: 0,
            back: 0,
            broken: 0,
            away: Duration::ZERO,
            gap: Duration::ZERO,
            ready: Duration::ZERO,
            violations,
        }
    }

    /// Counts what was seen; `bound` is how long the nodes may take.
    pub(super) fn count(
        scenario: Scenario,
        number: u32,
        measured: Measured,
        seen: &Recording,
        broken: &[Violation],
        bound: Duration,
    ) -> Self {
        let of = |rules: &[Rule]| broken.iter().filter(|violation| rules.contains(&violation.rule)).count();
        let mut violations: Vec<String> = seen.odd.clone();
        violations.extend(broken.iter().map(ToString::to_string));
        let Measured { began, away, ready, detail } = measured;
        if ready > bound {
            violations.push(format!("the nodes were ready {ready:.2?} after the database, more than {bound:.1?}"));
        }
        Self {
            scenario,
            number,
            detail,
            published: seen.published,
            lost: of(&[Rule::Kept, Rule::OneContent, Rule::Gapless]),
            stale: of(&[Rule::Fresh, Rule::Ordered]),
            back: of(&[Rule::Rising]),
            broken: seen.broken,
            away,
            gap: longest_silence(&seen.records, began),
            ready,
            violations,
        }
    }
}

impl fmt::Display for Round {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{:22}  {:5}  {:9}  {:5}  {:5}  {:4}  {:5}  {:11.2} s  {:9.2} s  {:9.2} s  {:10}  {}",
            self.scenario.name(),
            self.number,
            self.published,
            self.lost,
            self.stale,
            self.back,
            self.broken,
            self.away.as_secs_f64(),
            self.gap.as_secs_f64(),
            self.ready.as_secs_f64(),
            self.violations.len(),
            self.detail,
        )?;
        self.violations.iter().take(SHOWN).try_for_each(|violation| write!(out, "\n        {violation}"))
    }
}

/// All rounds as a Markdown table, one line a scenario.
#[must_use]
pub fn table(rounds: &[Round]) -> String {
    let mut text = String::from(
        "| scenario | rounds | publishes ok | lost | stale | went back | 500s | database away, longest | longest gap | ready again, median | worst \
         | violations |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for scenario in Scenario::ALL {
        let rounds: Vec<&Round> = rounds.iter().filter(|round| round.scenario == scenario).collect();
        if rounds.is_empty() {
            continue;
        }
        let sum = |figure: fn(&Round) -> usize| rounds.iter().map(|round| figure(round)).sum::<usize>();
        let away = rounds.iter().map(|round| round.away).max().unwrap_or_default().as_secs_f64();
        let gap = rounds.iter().map(|round| round.gap).max().unwrap_or_default().as_secs_f64();
        let mut ready: Vec<f64> = rounds.iter().map(|round| round.ready.as_secs_f64()).collect();
        ready.sort_by(f64::total_cmp);
        let at = |index: usize| ready.get(index).copied().unwrap_or_default();
        // Writing to a text can't fail.
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {away:.2} s | {gap:.2} s | {:.2} s | {:.2} s | {} |",
            scenario.name(),
            rounds.len(),
            sum(|round| round.published),
            sum(|round| round.lost),
            sum(|round| round.stale),
            sum(|round| round.back),
            sum(|round| round.broken),
            at(ready.len() / 2),
            at(ready.len().saturating_sub(1)),
            sum(|round| round.violations.len()),
        )
        .unwrap_or_default();
    }
    text
}
