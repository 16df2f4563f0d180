//! The publishes of one key by request: all attempts under one idempotency key are one request, and share its fate.
//! Owns rule C1; knows nothing of reads.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use callboard_protocol::content::Md5;
use uuid::Uuid;

use super::{Report, Rule};
use crate::history::{Outcome, Record, Stored, What};

/// The attempts of one request.
#[derive(Debug, Default)]
struct Request {
    md5: Option<Md5>,
    /// Versions that attempts were acknowledged under.
    acknowledged: BTreeSet<u64>,
    /// Whether an attempt has no known outcome.
    open: bool,
    /// When the first attempt began that may have landed.
    begin: Option<Duration>,
}

/// The requests of one key.
#[derive(Debug, Default)]
pub(super) struct Requests {
    requests: BTreeMap<Uuid, Request>,
    begins: HashMap<u64, Duration>,
}

impl Requests {
    pub(super) fn of(records: &[&Record], stored: &[&Stored]) -> Self {
        let mut requests: BTreeMap<Uuid, Request> = BTreeMap::new();
        for record in records {
            let What::Publish { request, md5, outcome } = record.what else { continue };
            let one = requests.entry(request).or_default();
            one.md5 = md5;
            match outcome {
                // This attempt wrote nothing.
                Outcome::Failed => continue,
                Outcome::Unknown => one.open = true,
                Outcome::Acknowledged(version) => {
                    one.acknowledged.insert(version);
                }
            }
            one.begin = Some(one.begin.map_or(record.begin, |begin| begin.min(record.begin)));
        }
        let kept: HashMap<Md5, u64> = stored.iter().filter_map(|row| Some((row.md5?, row.version))).collect();
        let mut begins = HashMap::new();
        for one in requests.values() {
            let landed = one.md5.and_then(|md5| kept.get(&md5).copied());
            for version in one.acknowledged.iter().copied().chain(landed) {
                begins.extend(one.begin.map(|begin| (version, begin)));
            }
        }
        Self { requests, begins }
    }

    /// When a request was first made, as far as that attempt may have landed.
    pub(super) fn begin(&self, request: Uuid) -> Option<Duration> {
        self.requests.get(&request)?.begin
    }

    /// When the request behind a version was first made, as far as it is known.
    pub(super) fn begin_of_version(&self, version: u64) -> Option<Duration> {
        self.begins.get(&version).copied()
    }

    /// What was acknowledged is kept once under its version, what was refused is not, and nothing comes from nowhere.
    pub(super) fn kept(&self, stored: &[&Stored], report: Report<'_>) {
        let mut contents: HashMap<Md5, Vec<u64>> = HashMap::new();
        let mut removals = BTreeSet::new();
        for row in stored {
            match row.md5 {
                Some(md5) => contents.entry(md5).or_default().push(row.version),
                None => {
                    removals.insert(row.version);
                }
            }
        }
        let (mut acknowledged_removals, mut open_removals) = (BTreeSet::new(), 0);
        for (name, one) in &self.requests {
            if one.acknowledged.len() > 1 {
                report(Rule::Kept, format!("request {name} was acknowledged as versions {:?}", one.acknowledged));
            }
            let Some(md5) = one.md5 else {
                acknowledged_removals.extend(&one.acknowledged);
                open_removals += usize::from(one.open && one.acknowledged.is_empty());
                continue;
            };
            let versions = contents.remove(&md5).unwrap_or_default();
            let allowed = match one.acknowledged.first() {
                Some(version) => versions == [*version],
                None => versions.len() <= usize::from(one.open),
            };
            if !allowed {
                report(Rule::Kept, format!("{md5} is kept as versions {versions:?}, answered: {one:?}"));
            }
        }
        for (md5, versions) in contents {
            report(Rule::Kept, format!("nobody published {md5}, kept as versions {versions:?}"));
        }
        for version in acknowledged_removals.difference(&removals) {
            report(Rule::Kept, format!("the removal acknowledged as version {version} is not kept"));
        }
        let unexplained: Vec<_> = removals.difference(&acknowledged_removals).collect();
        if unexplained.len() > open_removals {
            report(Rule::Kept, format!("nobody made the removals {unexplained:?}"));
        }
    }
}
