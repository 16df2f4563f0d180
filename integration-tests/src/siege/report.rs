//! What came of an attack: the figures, and what of them is not as it should be. Owns the rules by which an attack is
//! judged, and the form of the table.

use std::fmt;
use std::time::Duration;

use super::doors::{Answers, NAMES};
use super::observer::{PROBE_LIMIT, Sample};

const MIB: u64 = 1024 * 1024;

/// What a node may use, and how slow it may become.
#[derive(Debug, Clone)]
pub struct Ceilings {
    /// Resident memory, in bytes: the cache, both budgets, and what a process needs besides.
    pub memory: u64,
    /// Whether latencies are judged: a machine that is busy otherwise has none to speak of.
    pub judges_latency: bool,
    /// The slowest one of a hundred reads may take so many times as long as without an attack,
    pub times_quiet: u32,
    /// or so long, whichever is more.
    pub slowest: Duration,
    /// So many of a hundred who come anew may find nobody.
    pub unanswered: usize,
    /// All doors answer so soon after the end.
    pub recovery: Duration,
    /// Lines that a node may log in a second, where they are judged.
    pub log_lines: u32,
    /// Memory that a node may keep besides its cache and what it had before, once nobody asks anything.
    pub kept: u64,
    /// The cache alone.
    pub cache: u64,
}

impl Ceilings {
    /// What follows from the sizes of the cache and of both budgets.
    #[must_use]
    pub fn of(cache: u64, requests: u64, answers: u64) -> Self {
        Self {
            memory: cache + requests + answers + 150 * MIB,
            judges_latency: true,
            times_quiet: 5,
            slowest: Duration::from_millis(20),
            unanswered: 0,
            recovery: Duration::from_secs(1),
            log_lines: 50,
            kept: 64 * MIB,
            cache,
        }
    }
}

/// Latencies of a time.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Latencies {
    pub(super) half: Duration,
    pub(super) slowest_of_100: Duration,
}

impl Latencies {
    pub(super) fn of(samples: &[Sample]) -> Self {
        let mut took: Vec<Duration> = samples.iter().map(|sample| sample.took).collect();
        took.sort_unstable();
        let at = |percent: usize| took.get((took.len() * percent / 100).min(took.len().saturating_sub(1))).copied();
        Self { half: at(50).unwrap_or_default(), slowest_of_100: at(99).unwrap_or_default() }
    }
}

/// How many were answered.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Share {
    pub(super) good: usize,
    pub(super) all: usize,
}

impl Share {
    pub(super) fn of(samples: &[Sample], limit: Option<Duration>) -> Self {
        let is_good = |sample: &&Sample| sample.is_good && limit.is_none_or(|limit| sample.took <= limit);
        Self { good: samples.iter().filter(is_good).count(), all: samples.len() }
    }

    /// Asks of new connections: late is as bad as never.
    pub(super) fn of_probes(samples: &[Sample]) -> Self {
        Self::of(samples, Some(PROBE_LIMIT))
    }
}

/// What came of one attack.
#[derive(Debug, Clone, Default)]
pub struct Row {
    pub(super) name: &'static str,
    pub(super) row: &'static str,
    /// Bytes that attackers sent.
    pub(super) sent: u64,
    /// Memory before the attack, and the most there was.
    pub(super) before: u64,
    pub(super) highest: u64,
    /// Memory when nobody had asked anything for a while after.
    pub(super) kept: Option<u64>,
    pub(super) quiet: Latencies,
    pub(super) during: Latencies,
    pub(super) probes: Share,
    pub(super) publishes: Share,
    pub(super) doors: Answers,
    /// Lines that the node logged, in how many seconds.
    pub(super) log_lines: usize,
    pub(super) seconds: f64,
    pub(super) judges_log: bool,
    /// How the process ended, if it did.
    pub(super) ended: Option<String>,
    /// What is not as it should be.
    pub faults: Vec<String>,
}

impl Row {
    /// The head of the table.
    pub const HEAD: &str = "| scenario | row | sent | highest memory | kept | p50, p99 quiet | p50, p99 during | \
                            probes | publishes answered | doors after | log lines | verdict |\n\
                            |---|---|---|---|---|---|---|---|---|---|---|---|";

    /// Finds what is not as it should be.
    pub(super) fn judge(&mut self, ceilings: &Ceilings) {
        let mut faults = Vec::new();
        if self.highest > ceilings.memory {
            faults.push(format!("memory above {}", bytes(ceilings.memory)));
        }
        match &self.ended {
            // What follows from that is not told again.
            Some(ended) => faults.push(format!("the process ended by {ended}")),
            None => self.judge_answers(ceilings, &mut faults),
        }
        let keeps = self.before + ceilings.cache + ceilings.kept;
        if self.kept.is_some_and(|kept| kept > keeps) {
            faults.push(format!("keeps more than {}", bytes(keeps)));
        }
        self.faults = faults;
    }

    fn judge_answers(&self, ceilings: &Ceilings, faults: &mut Vec<String>) {
        let slowest = (self.quiet.slowest_of_100 * ceilings.times_quiet).max(ceilings.slowest);
        if ceilings.judges_latency && self.during.slowest_of_100 > slowest {
            faults.push(format!("reads above {}", time(slowest)));
        }
        if (self.probes.all - self.probes.good) * 100 > self.probes.all * ceilings.unanswered {
            faults.push("new connections are not answered".to_owned());
        }
        for (name, took) in NAMES.into_iter().zip(self.doors) {
            if took.is_none_or(|took| took > ceilings.recovery) {
                faults.push(format!("{name} does not answer {} after", time(ceilings.recovery)));
            }
        }
        if self.judges_log && self.log_lines as f64 > f64::from(ceilings.log_lines) * self.seconds {
            faults.push(format!("more than {} log lines a second", ceilings.log_lines));
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.kept.map_or_else(String::new, bytes);
        let doors = match self.doors.into_iter().collect::<Option<Vec<_>>>() {
            Some(all) => time(all.into_iter().max().unwrap_or_default()),
            None => "never".to_owned(),
        };
        let verdict =
            if self.faults.is_empty() { "ok".to_owned() } else { format!("FAIL: {}", self.faults.join("; ")) };
        write!(
            out,
            "| {} | {} | {} | {} | {kept} | {}, {} | {}, {} | {}/{} | {}/{} | {doors} | {} | {verdict} |",
            self.name,
            self.row,
            bytes(self.sent),
            bytes(self.highest),
            time(self.quiet.half),
            time(self.quiet.slowest_of_100),
            time(self.during.half),
            time(self.during.slowest_of_100),
            self.probes.good,
            self.probes.all,
            self.publishes.good,
            self.publishes.all,
            self.log_lines,
        )
    }
}

/// A size for people.
fn bytes(bytes: u64) -> String {
    match bytes {
        0..10_240 => format!("{bytes} B"),
        10_240..10_485_760 => format!("{} KiB", bytes / 1024),
        _ => format!("{} MiB", bytes / MIB),
    }
}

/// A time for people.
fn time(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{:.1} ms", time.as_secs_f64() * 1e3)
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    //! Each rule finds what breaks it, and nothing else does.

    use std::time::Duration;

    use super::{Ceilings, Latencies, MIB, Row, Share};

    fn good() -> Row {
        let latencies = |ms| Latencies { half: Duration::from_millis(1), slowest_of_100: Duration::from_millis(ms) };
        Row {
            before: 40 * MIB,
            highest: 470 * MIB,
            kept: Some(168 * MIB),
            quiet: latencies(2),
            during: latencies(20),
            probes: Share { good: 9, all: 9 },
            doors: [Some(Duration::from_millis(900)); 4],
            log_lines: 500,
            seconds: 10.0,
            judges_log: true,
            ..Row::default()
        }
    }

    #[test]
    fn every_rule_is_held() {
        let ceilings = Ceilings::of(64 * MIB, 128 * MIB, 128 * MIB);
        let faults = |change: &dyn Fn(&mut Row)| {
            let mut row = good();
            change(&mut row);
            row.judge(&ceilings);
            row.faults.len()
        };
        assert_eq!(faults(&|_| ()), 0);
        assert_eq!(faults(&|row| row.highest += 1), 1);
        assert_eq!(faults(&|row| row.during.slowest_of_100 += Duration::from_millis(1)), 1);
        assert_eq!(faults(&|row| row.probes.good -= 1), 1);
        assert_eq!(faults(&|row| row.doors[3] = None), 1);
        assert_eq!(faults(&|row| row.doors[0] = Some(Duration::from_millis(1_001))), 1);
        assert_eq!(faults(&|row| row.log_lines += 1), 1);
        assert_eq!(faults(&|row| row.kept = Some(168 * MIB + 1)), 1);
        assert_eq!(faults(&|row| row.ended = Some("signal 6".to_owned())), 1);
    }
}
