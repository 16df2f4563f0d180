//! Judges a recorded history. Owns the rules; knows nothing of how the history came about.
//!
//! Versions are totally ordered, so the history of a key is linearizable exactly when no version stands for two
//! contents (C0), the node keeps what it acknowledged and nothing it refused (C1), and no operation contradicts the
//! order in real time (C2, C3). Subscribers may miss states but never go back (C4), and end on the newest (C5). That
//! makes the check a sort per key instead of a search.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::time::Duration;

use callboard_protocol::content::Md5;
use callboard_protocol::key::ConfigKey;

use crate::history::{History, Outcome, Record, Stored, What};

/// A rule that every history keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// One version of a key stands for one content, wherever it is seen.
    OneContent,
    /// Acknowledged publishes are kept once under their version, refused ones are not, and nothing comes from nowhere.
    Kept,
    /// A read is never older than what was known before it began, nor from a publish that began after it ended.
    Fresh,
    /// A publish gets a newer version than anything known before it began.
    Ordered,
    /// What a subscriber is told about a key rises strictly.
    Rising,
    /// Every subscriber ends on the newest state.
    Converged,
}

/// A place where a history breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// The key.
    pub key: ConfigKey,
    /// What was seen, for people.
    pub seen: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}: {}: {}", self.rule, self.key, self.seen)
    }
}

/// Every violation in `history`.
#[must_use]
pub fn check(history: &History) -> Vec<Violation> {
    let mut keys: BTreeMap<&ConfigKey, OneKey<'_>> = BTreeMap::new();
    for record in &history.records {
        keys.entry(&record.key).or_default().records.push(record);
    }
    for row in &history.stored {
        keys.entry(&row.key).or_default().stored.push(row);
    }
    for (subscriber, key) in &history.subscriptions {
        keys.entry(key).or_default().subscribers.insert(*subscriber);
    }
    let mut violations = Vec::new();
    for (key, mut one) in keys {
        one.stored.sort_by_key(|row| row.version);
        let mut report = |rule, seen| violations.push(Violation { rule, key: key.clone(), seen });
        one.one_content(&mut report);
        one.kept(&mut report);
        one.seen_is_stored(&mut report);
        one.fresh_and_ordered(&mut report);
        one.rising_and_converged(&mut report);
    }
    violations
}

type Report<'r> = &'r mut dyn FnMut(Rule, String);

#[derive(Default)]
struct OneKey<'h> {
    records: Vec<&'h Record>,
    /// By version.
    stored: Vec<&'h Stored>,
    subscribers: BTreeSet<usize>,
}

/// The state that a record shows, if it shows one.
fn shown(record: &Record) -> Option<(u64, Option<Md5>)> {
    match record.what {
        What::Publish { md5, outcome: Outcome::Acknowledged(version) } => Some((version, md5)),
        What::Publish { .. } => None,
        What::Read { version, md5 } | What::Event { version, md5, .. } => Some((version, md5)),
    }
}

impl OneKey<'_> {
    fn one_content(&self, report: Report<'_>) {
        let mut contents: HashMap<u64, Option<Md5>> = HashMap::new();
        let seen = self.records.iter().filter_map(|record| shown(record));
        for (version, md5) in seen.chain(self.stored.iter().map(|row| (row.version, row.md5))) {
            let first = *contents.entry(version).or_insert(md5);
            if first != md5 {
                report(Rule::OneContent, format!("version {version} is both {first:?} and {md5:?}"));
            }
        }
    }

    fn kept(&self, report: Report<'_>) {
        let mut kept: HashMap<Md5, Vec<u64>> = HashMap::new();
        let mut removals = BTreeSet::new();
        for row in &self.stored {
            match row.md5 {
                Some(md5) => kept.entry(md5).or_default().push(row.version),
                None => {
                    removals.insert(row.version);
                }
            }
        }
        let mut open_removals = 0;
        for record in &self.records {
            let What::Publish { md5, outcome } = record.what else { continue };
            let Some(md5) = md5 else {
                match outcome {
                    Outcome::Acknowledged(version) if !removals.remove(&version) => {
                        report(Rule::Kept, format!("the removal acknowledged as version {version} is not kept"));
                    }
                    Outcome::Unknown => open_removals += 1,
                    Outcome::Acknowledged(_) | Outcome::Failed => {}
                }
                continue;
            };
            let versions = kept.remove(&md5).unwrap_or_default();
            let allowed = match outcome {
                Outcome::Acknowledged(version) => versions == [version],
                Outcome::Failed => versions.is_empty(),
                Outcome::Unknown => versions.len() <= 1,
            };
            if !allowed {
                report(Rule::Kept, format!("{md5} was answered {outcome:?} and is kept as versions {versions:?}"));
            }
        }
        for (md5, versions) in kept {
            report(Rule::Kept, format!("nobody published {md5}, kept as versions {versions:?}"));
        }
        if removals.len() > open_removals {
            report(Rule::Kept, format!("nobody made the removals {removals:?}"));
        }
    }

    /// Reads and events show only what is stored; version 0 is "never existed".
    fn seen_is_stored(&self, report: Report<'_>) {
        for record in &self.records {
            let (What::Read { version, .. } | What::Event { version, .. }) = record.what else { continue };
            if version != 0 && self.stored.binary_search_by_key(&version, |row| row.version).is_err() {
                report(Rule::Kept, format!("version {version} was seen and is not kept"));
            }
        }
    }

    fn fresh_and_ordered(&self, report: Report<'_>) {
        let known = Known::of(&self.records);
        let begins = self.begin_of_versions();
        for record in &self.records {
            let Some((version, _)) = shown(record) else { continue };
            let newest = known.before(record.begin);
            match record.what {
                What::Publish { .. } if version <= newest => {
                    report(Rule::Ordered, format!("{record:?} began when version {newest} was known"));
                }
                What::Read { .. } if version < newest => {
                    report(Rule::Fresh, format!("{record:?} began when version {newest} was known"));
                }
                What::Read { .. } | What::Event { .. } => {
                    if begins.get(&version).is_some_and(|begin| *begin > record.end) {
                        report(Rule::Fresh, format!("{record:?} ended before that version's publish began"));
                    }
                }
                What::Publish { .. } => {}
            }
        }
    }

    /// When the publish behind each version began, as far as it is known.
    fn begin_of_versions(&self) -> HashMap<u64, Duration> {
        let kept: HashMap<Md5, u64> = self.stored.iter().filter_map(|row| Some((row.md5?, row.version))).collect();
        let begin = |record: &&Record| match record.what {
            What::Publish { outcome: Outcome::Acknowledged(version), .. } => Some((version, record.begin)),
            What::Publish { md5: Some(md5), outcome: Outcome::Unknown } => Some((*kept.get(&md5)?, record.begin)),
            _ => None,
        };
        self.records.iter().filter_map(begin).collect()
    }

    fn rising_and_converged(&self, report: Report<'_>) {
        let mut last: HashMap<usize, u64> = HashMap::new();
        for record in &self.records {
            let What::Event { subscriber, version, .. } = record.what else { continue };
            let former = last.insert(subscriber, version);
            if former.is_some_and(|former| former >= version) {
                report(Rule::Rising, format!("subscriber {subscriber} was told {version} after {former:?}"));
            }
        }
        let Some(newest) = self.stored.last() else { return };
        for subscriber in &self.subscribers {
            let ended = last.get(subscriber).copied();
            if ended != Some(newest.version) {
                let expected = newest.version;
                report(Rule::Converged, format!("subscriber {subscriber} ended on {ended:?} instead of {expected}"));
            }
        }
    }
}

/// What was known of a key at each moment: by acknowledged publishes, finished reads and delivered events.
struct Known {
    /// End of an operation and the newest version known from then on; rising in both.
    steps: Vec<(Duration, u64)>,
}

impl Known {
    fn of(records: &[&Record]) -> Self {
        let mut steps: Vec<(Duration, u64)> =
            records.iter().filter_map(|record| Some((record.end, shown(record)?.0))).collect();
        steps.sort_unstable();
        let mut newest = 0;
        for (_, version) in &mut steps {
            newest = newest.max(*version);
            *version = newest;
        }
        Self { steps }
    }

    /// The newest version known strictly before `moment`.
    fn before(&self, moment: Duration) -> u64 {
        let earlier = self.steps.partition_point(|(end, _)| *end < moment);
        earlier.checked_sub(1).and_then(|last| self.steps.get(last)).map_or(0, |(_, version)| *version)
    }
}

#[cfg(test)]
mod tests;
