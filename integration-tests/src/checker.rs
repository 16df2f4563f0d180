//! Judges a recorded history. Owns the rules; knows nothing of how the history came about.
//!
//! Versions are totally ordered, so the history of a key is linearizable exactly when no version stands for two
//! contents (C0), what was acknowledged is kept and nothing that was refused (C1), and no operation contradicts the
//! order in real time, on whichever nodes (C2, C3). Subscribers may miss states but never go back, wherever they
//! connect (C4), and end on the newest, as do reads of every node (C5). That makes the check a sort per key instead of
//! a search.
//!
//! A read that says itself that it may be old is held to C0 and C1 alone.

mod requests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::time::Duration;

use callboard_protocol::content::Md5;
use callboard_protocol::key::ConfigKey;

use self::requests::Requests;
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
    /// Every subscriber and every node ends on the newest state.
    Converged,
    /// Revisions have neither gaps nor repetitions.
    Gapless,
}

/// A place where a history breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// The key; none when it concerns no single one.
    pub key: Option<ConfigKey>,
    /// What was seen, for people.
    pub seen: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}: ", self.rule)?;
        self.key.iter().try_for_each(|key| write!(out, "{key}: "))?;
        out.write_str(&self.seen)
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
    for (node, key, version) in &history.last_reads {
        keys.entry(key).or_default().last_reads.push((node, *version));
    }
    let mut violations = gaps(&history.revisions);
    for (key, mut one) in keys {
        one.stored.sort_by_key(|row| row.version);
        one.requests = Requests::of(&one.records, &one.stored);
        let mut report = |rule, seen| violations.push(Violation { rule, key: Some(key.clone()), seen });
        one.one_content(&mut report);
        one.requests.kept(&one.stored, &mut report);
        one.seen_is_stored(&mut report);
        one.fresh_and_ordered(&mut report);
        one.rising(&mut report);
        one.converged(&mut report);
    }
    violations
}

fn gaps(revisions: &[u64]) -> Vec<Violation> {
    let broken = revisions.windows(2).filter_map(|pair| match pair {
        [before, after] if before + 1 != *after => Some((before, after)),
        _ => None,
    });
    let violation = |(before, after)| {
        let seen = format!("revision {after} comes after {before}");
        Violation { rule: Rule::Gapless, key: None, seen }
    };
    broken.map(violation).collect()
}

type Report<'r> = &'r mut dyn FnMut(Rule, String);

#[derive(Default)]
struct OneKey<'h> {
    records: Vec<&'h Record>,
    /// By version.
    stored: Vec<&'h Stored>,
    requests: Requests,
    subscribers: BTreeSet<usize>,
    last_reads: Vec<(&'h String, u64)>,
}

/// The state that a record shows, if it shows one.
fn shown(record: &Record) -> Option<(u64, Option<Md5>)> {
    match record.what {
        What::Publish { md5, outcome: Outcome::Acknowledged(version), .. } => Some((version, md5)),
        What::Publish { .. } => None,
        What::Read { version, md5 } | What::StaleRead { version, md5 } | What::Event { version, md5, .. } => {
            Some((version, md5))
        }
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

    /// Reads and events show only what is stored; version 0 is "never existed".
    fn seen_is_stored(&self, report: Report<'_>) {
        for record in &self.records {
            if matches!(record.what, What::Publish { .. }) {
                continue;
            }
            let Some((version, _)) = shown(record) else { continue };
            if version != 0 && self.stored.binary_search_by_key(&version, |row| row.version).is_err() {
                report(Rule::Kept, format!("version {version} was seen and is not kept"));
            }
        }
    }

    fn fresh_and_ordered(&self, report: Report<'_>) {
        let known = Known::of(&self.records);
        for record in &self.records {
            let Some((version, _)) = shown(record) else { continue };
            match record.what {
                What::Publish { request, .. } => {
                    // A repetition is answered with what an earlier attempt got.
                    let newest = known.before(self.requests.begin(request).unwrap_or(record.begin));
                    if version <= newest {
                        report(Rule::Ordered, format!("{record:?} began when version {newest} was known"));
                    }
                }
                What::Read { .. } => {
                    let newest = known.before(record.begin);
                    if version < newest {
                        report(Rule::Fresh, format!("{record:?} began when version {newest} was known"));
                    }
                }
                What::StaleRead { .. } | What::Event { .. } => {}
            }
            let published = self.requests.begin_of_version(version);
            if !matches!(record.what, What::Publish { .. }) && published.is_some_and(|begin| begin > record.end) {
                report(Rule::Fresh, format!("{record:?} ended before that version's publish began"));
            }
        }
    }

    fn rising(&self, report: Report<'_>) {
        let mut last: HashMap<usize, u64> = HashMap::new();
        for record in &self.records {
            let What::Event { subscriber, version, .. } = record.what else { continue };
            let former = last.insert(subscriber, version);
            if former.is_some_and(|former| former >= version) {
                report(Rule::Rising, format!("subscriber {subscriber} was told {version} after {former:?}"));
            }
        }
    }

    fn converged(&self, report: Report<'_>) {
        let newest = self.stored.last().map_or(0, |row| row.version);
        for (node, version) in self.last_reads.iter().filter(|(_, version)| *version != newest) {
            report(Rule::Converged, format!("node {node} ended on {version} instead of {newest}"));
        }
        if self.stored.is_empty() {
            return;
        }
        let mut ended: HashMap<usize, u64> = HashMap::new();
        for record in &self.records {
            if let What::Event { subscriber, version, .. } = record.what {
                ended.insert(subscriber, version);
            }
        }
        for subscriber in &self.subscribers {
            let last = ended.get(subscriber).copied();
            if last != Some(newest) {
                report(Rule::Converged, format!("subscriber {subscriber} ended on {last:?} instead of {newest}"));
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
        let tells = |record: &&&Record| !matches!(record.what, What::StaleRead { .. });
        let mut steps: Vec<(Duration, u64)> =
            records.iter().filter(tells).filter_map(|record| Some((record.end, shown(record)?.0))).collect();
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
