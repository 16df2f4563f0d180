//! What came of one injection, and the table of many. Owns how figures are counted and shown.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::Duration;

use super::faults::{Fault, Injected};
use super::testbed::Recording;
use crate::checker::Violation;
use crate::database_server::Engine;
use crate::history::{Outcome, Record, What};

/// Violations that a line of the report shows.
const SHOWN: usize = 10;

/// One injection.
#[derive(Debug, Clone)]
pub struct Round {
    /// Which one, from 1.
    pub number: usize,
    /// The database.
    pub engine: Engine,
    /// What was done.
    pub fault: Fault,
    /// To whom.
    pub detail: String,
    /// From the fault to the end of the first publish that began after it and was acknowledged.
    pub first: Duration,
    /// Longest time without an acknowledged publish, from the fault on.
    pub stall: Duration,
    /// As `stall`, from the end of the fault on.
    pub stall_after: Duration,
    /// Publishes acknowledged, refused everywhere, and of unknown fate.
    pub published: usize,
    /// See `published`.
    pub failed: usize,
    /// See `published`.
    pub unknown: usize,
    /// Reads answered.
    pub reads: usize,
    /// Reads that neither the first nor another node answered.
    pub lost: usize,
    /// Events and answers to waits.
    pub events: usize,
    /// Reads answered from memory and all reads that memory was asked for, before the fault.
    pub from_memory: (f64, f64),
    /// What must not be.
    pub violations: Vec<String>,
}

impl Round {
    pub(super) fn count(number: usize, engine: Engine, fault: Fault, injected: &Injected, seen: &Recording) -> Self {
        let end = seen.records.iter().map(|record| record.end).max().unwrap_or_default();
        let acknowledged =
            |record: &&Record| matches!(record.what, What::Publish { outcome: Outcome::Acknowledged(_), .. });
        let first = seen.records.iter().filter(acknowledged).filter(|record| record.begin >= injected.began);
        let first = first.map(|record| record.end).min().unwrap_or(end).saturating_sub(injected.began);
        Self {
            number,
            engine,
            fault,
            detail: injected.detail.clone(),
            first,
            stall: longest_silence(&seen.records, injected.began),
            stall_after: longest_silence(&seen.records, injected.healed),
            published: seen.published,
            failed: seen.failed,
            unknown: seen.unknown,
            reads: seen.read,
            lost: seen.lost,
            events: seen.records.iter().filter(|record| matches!(record.what, What::Event { .. })).count(),
            from_memory: (0.0, 0.0),
            violations: seen.odd.clone(),
        }
    }

    /// How long publishing stood still, as far as the fault's bound is about it.
    #[must_use]
    pub fn bounded_stall(&self) -> Duration {
        if self.fault.stops_everything() { self.stall_after } else { self.stall }
    }

    /// Adds what the fault does not allow, besides what the checker found.
    pub(super) fn judge(&mut self, broken: &[Violation], margin: Duration) {
        self.violations.extend(broken.iter().map(ToString::to_string));
        let (stall, bound) = (self.bounded_stall(), self.fault.bound());
        if stall > bound + margin {
            self.violations.push(format!("publishing stood still for {stall:.1?}, more than {bound:?}"));
        }
        if self.fault.is_graceful() && self.lost + self.failed + self.unknown > 0 {
            let (lost, failed, unknown) = (self.lost, self.failed, self.unknown);
            let lost = format!("{lost} reads lost, {failed} publishes failed, {unknown} unknown on two nodes");
            self.violations.push(lost);
        }
    }

    /// The head of the lines that rounds print.
    pub const HEAD: &str = concat!(
        "round  database    fault             first ok   stall  after end  published  failed  unknown    reads   lost",
        "   events  violations  to"
    );
}

/// The longest time without an acknowledged publish from a moment on, to the end of the last attempt.
pub(crate) fn longest_silence(records: &[Record], from: Duration) -> Duration {
    let publish = |record: &&Record| matches!(record.what, What::Publish { .. });
    let mut ends: Vec<Duration> = Vec::new();
    let mut last = from;
    for record in records.iter().filter(publish).filter(|record| record.end >= from) {
        last = last.max(record.end);
        if matches!(record.what, What::Publish { outcome: Outcome::Acknowledged(_), .. }) {
            ends.push(record.end);
        }
    }
    ends.push(last);
    ends.sort_unstable();
    let mut former = from;
    let mut longest = Duration::ZERO;
    for end in ends {
        longest = longest.max(end.saturating_sub(former));
        former = end;
    }
    longest
}

impl fmt::Display for Round {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{:5}  {:10}  {:16} {:7.2} s {:5.2} s {:8.2} s {:10} {:7} {:8} {:8} {:6} {:8} {:11}  {}",
            self.number,
            self.engine.to_string(),
            self.fault.name(),
            self.first.as_secs_f64(),
            self.stall.as_secs_f64(),
            self.stall_after.as_secs_f64(),
            self.published,
            self.failed,
            self.unknown,
            self.reads,
            self.lost,
            self.events,
            self.violations.len(),
            self.detail,
        )?;
        self.violations.iter().take(SHOWN).try_for_each(|violation| write!(out, "\n        {violation}"))
    }
}

/// All rounds as a Markdown table, one line a fault and database.
#[must_use]
pub fn table(rounds: &[Round]) -> String {
    let mut groups: BTreeMap<(String, Fault), Vec<&Round>> = BTreeMap::new();
    for round in rounds {
        groups.entry((round.engine.to_string(), round.fault)).or_default().push(round);
    }
    let mut text = String::from(
        "| database | fault | injections | publishes ok | failed | unknown | reads | reads lost | events \
         | stall, median | stall, worst | violations |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for ((engine, fault), rounds) in &groups {
        let sum = |figure: fn(&Round) -> usize| rounds.iter().map(|round| figure(round)).sum::<usize>();
        let mut stalls: Vec<Duration> = rounds.iter().map(|round| round.bounded_stall()).collect();
        stalls.sort_unstable();
        let at = |index: usize| stalls.get(index).map_or(0.0, Duration::as_secs_f64);
        // Writing to a text can't fail.
        writeln!(
            text,
            "| {engine} | {fault} | {} | {} | {} | {} | {} | {} | {} | {:.2} s | {:.2} s | {} |",
            rounds.len(),
            sum(|round| round.published),
            sum(|round| round.failed),
            sum(|round| round.unknown),
            sum(|round| round.reads),
            sum(|round| round.lost),
            sum(|round| round.events),
            at(stalls.len() / 2),
            at(stalls.len().saturating_sub(1)),
            sum(|round| round.violations.len()),
        )
        .unwrap_or_default();
    }
    let (hits, asked) =
        rounds.iter().fold((0.0, 0.0), |sum, round| (sum.0 + round.from_memory.0, sum.1 + round.from_memory.1));
    let share = if asked > 0.0 { 100.0 * hits / asked } else { 0.0 };
    writeln!(text, "\nReads of keys that were not being published, before each fault: {share:.2} % from memory.")
        .unwrap_or_default();
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use callboard_protocol::key::ConfigKey;
    use uuid::Uuid;

    use super::longest_silence;
    use crate::history::{Outcome, Record, What};

    fn publish(end: u64, outcome: Outcome) -> anyhow::Result<Record> {
        let what = What::Publish { request: Uuid::nil(), md5: None, outcome };
        let [begin, end] = [end, end].map(Duration::from_secs);
        Ok(Record { key: ConfigKey::new("public", "g", "d")?, begin, end, what })
    }

    #[test]
    fn the_longest_silence_lies_between_acknowledged_publishes_or_at_an_end() -> anyhow::Result<()> {
        let acknowledged = |end| publish(end, Outcome::Acknowledged(1));
        let silence = |records: &[Record]| longest_silence(records, Duration::from_secs(10)).as_secs();
        assert_eq!(silence(&[acknowledged(9)?, acknowledged(14)?, acknowledged(15)?]), 4);
        assert_eq!(silence(&[acknowledged(11)?, acknowledged(17)?, acknowledged(12)?]), 5);
        assert_eq!(silence(&[acknowledged(11)?, publish(30, Outcome::Unknown)?]), 19);
        Ok(())
    }
}
