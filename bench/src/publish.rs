//! `publish`: every connection publishes to keys of its own, each time a new content that carries a sequence number.
//! Afterwards every key is read back: a key that holds less than was last acknowledged has lost a publish.

use std::ops::Range;

use uuid::Uuid;

use super::answer::Reply;
use super::arguments::{KEY_DIGITS, KeyOptions, Target};
use super::content::{self, Rng, SEQUENCE_DIGITS};
use super::load::{self, Work};
use super::report::Report;
use super::template::{self, Gap, Read, Template};

/// How the names of the keys begin.
const PREFIX: &str = "publish";

/// Measures publishes.
///
/// # Errors
/// The server can't be reached, or the keys can't be read back.
pub(super) fn measure(options: &KeyOptions) -> anyhow::Result<Report> {
    let (target, conns) = (&options.target, options.load.conns);
    let address = target.url.address()?;
    let (share, size) = (options.configurations.keys.div_ceil(conns), usize::try_from(options.configurations.size)?);
    let run = Uuid::new_v4().as_u64_pair().0;
    let writes = (0..conns).map(|index| Writes::new(target, run, index * share..(index + 1) * share, size));
    let written = load::run(address, &options.load, target.pid, writes.collect())?;
    let report = written.report("publish");
    let checks = written.works.iter().map(|writes| Checks::new(target, writes)).collect();
    let (checks, _) = load::complete(address, checks)?;
    Ok(Report { lost: Some(checks.iter().map(|checks| checks.lost).sum()), ..report })
}

/// Publishes to keys that nobody else publishes to.
struct Writes {
    run: u64,
    keys: Range<u64>,
    chance: Rng,
    /// The last sequence number acknowledged, of each key; 0 for none.
    acknowledged: Vec<u64>,
    sequence: u64,
    key: u64,
    template: Template,
    /// The key in the name, the key in the content, the sequence number.
    gaps: (Gap, Gap, Gap),
}

impl Writes {
    fn new(target: &Target, run: u64, keys: Range<u64>, size: usize) -> Self {
        let (mut template, name) = template::begin_publish(target, PREFIX, size);
        let before = template.bytes().len();
        template.text(&content::before_key(run));
        let key = template.gap(KEY_DIGITS);
        template.text(content::BEFORE_SEQUENCE);
        let sequence = template.gap(SEQUENCE_DIGITS);
        let mut rest = ".".to_owned();
        content::pad(&mut rest, size.saturating_sub(template.bytes().len() - before), keys.start);
        template.text(&rest);
        let acknowledged = keys.clone().map(|_| 0).collect();
        let chance = Rng::new(keys.start);
        Self { run, chance, acknowledged, sequence: 0, key: 0, template, gaps: (name, key, sequence), keys }
    }
}

impl Work for Writes {
    fn prepare(&mut self) -> bool {
        self.key = self.keys.start + self.chance.below(self.keys.end - self.keys.start);
        self.sequence += 1;
        self.template.fill(&self.gaps.0, self.key);
        self.template.fill(&self.gaps.1, self.key);
        self.template.fill(&self.gaps.2, self.sequence);
        true
    }

    fn request(&self) -> &[u8] {
        self.template.bytes()
    }

    fn judge(&mut self, reply: &Reply<'_>) -> bool {
        let acknowledged = reply.is_true();
        let place = usize::try_from(self.key - self.keys.start).unwrap_or(usize::MAX);
        if acknowledged && let Some(last) = self.acknowledged.get_mut(place) {
            *last = self.sequence;
        }
        acknowledged
    }
}

/// Reads back what [`Writes`] was told is there. A later publish whose answer never came may be there as well.
struct Checks {
    run: u64,
    /// Keys with the sequence number that they must have at least.
    expected: std::vec::IntoIter<(u64, u64)>,
    present: (u64, u64),
    request: Read,
    lost: u64,
}

impl Checks {
    fn new(target: &Target, writes: &Writes) -> Self {
        let all = writes.keys.clone().zip(writes.acknowledged.iter().copied());
        let expected = all.filter(|(_, sequence)| *sequence > 0).collect::<Vec<_>>().into_iter();
        Self { run: writes.run, expected, present: (0, 0), request: Read::new(target, PREFIX), lost: 0 }
    }
}

impl Work for Checks {
    fn prepare(&mut self) -> bool {
        let Some(next) = self.expected.next() else { return false };
        self.present = next;
        self.request.aim(next.0);
        true
    }

    fn request(&self) -> &[u8] {
        self.request.bytes()
    }

    fn judge(&mut self, reply: &Reply<'_>) -> bool {
        let (key, least) = self.present;
        let there = reply.status == 200
            && content::sequence(&reply.body, self.run, key).is_some_and(|sequence| sequence >= least);
        self.lost += u64::from(!there);
        there
    }
}
