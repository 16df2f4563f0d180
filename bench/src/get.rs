//! `get`: publishes its keys, then reads them at random. Every answer must have the right length, every 64th is
//! compared byte for byte.

use super::answer::Reply;
use super::arguments::{KeyOptions, Target};
use super::content::{self, Rng};
use super::load::{self, Work};
use super::report::Report;
use super::template::{self, Gap, Read, Template};

/// How the names of the keys begin.
const PREFIX: &str = "get";
/// Every how many answers one is compared as a whole.
const COMPARED: u64 = 64;

/// Measures reads.
///
/// # Errors
/// The server can't be reached or does not take the keys.
pub(super) fn measure(options: &KeyOptions) -> anyhow::Result<Report> {
    let (target, keys, size) = (&options.target, options.configurations.keys, options.configurations.size);
    let size = usize::try_from(size)?;
    let address = target.url.address()?;
    let stores = (0..options.load.conns).map(|first| Store::new(target, first..keys, options.load.conns, size));
    let (_, tally) = load::complete(address, stores.collect())?;
    if let Some(error) = tally.first_error {
        anyhow::bail!("{} of {keys} keys could not be published: {error}", tally.errors);
    }
    let reads = (0..options.load.conns).map(|connection| Reads {
        request: Read::new(target, PREFIX),
        chance: Rng::new(connection),
        keys,
        key: 0,
        size,
        read: 0,
    });
    Ok(load::run(address, &options.load, target.pid, reads.collect())?.report("get"))
}

/// Publishes every `step`th key of a range.
struct Store {
    keys: std::iter::StepBy<std::ops::Range<u64>>,
    head: Template,
    gap: Gap,
    size: usize,
    request: Vec<u8>,
}

impl Store {
    fn new(target: &Target, keys: std::ops::Range<u64>, step: u64, size: usize) -> Self {
        let (head, gap) = template::begin_publish(target, PREFIX, size);
        let keys = keys.step_by(usize::try_from(step).unwrap_or(usize::MAX));
        Self { keys, head, gap, size, request: Vec::new() }
    }
}

impl Work for Store {
    fn prepare(&mut self) -> bool {
        let Some(key) = self.keys.next() else { return false };
        self.head.fill(&self.gap, key);
        self.request.clear();
        self.request.extend_from_slice(self.head.bytes());
        self.request.extend_from_slice(content::steady(key, self.size).as_bytes());
        true
    }

    fn request(&self) -> &[u8] {
        &self.request
    }

    fn judge(&mut self, reply: &Reply<'_>) -> bool {
        reply.is_true()
    }
}

/// Reads keys at random.
struct Reads {
    request: Read,
    chance: Rng,
    keys: u64,
    key: u64,
    size: usize,
    read: u64,
}

impl Work for Reads {
    fn prepare(&mut self) -> bool {
        self.key = self.chance.below(self.keys);
        self.request.aim(self.key);
        true
    }

    fn request(&self) -> &[u8] {
        self.request.bytes()
    }

    fn judge(&mut self, reply: &Reply<'_>) -> bool {
        self.read += 1;
        let plausible = reply.status == 200 && reply.body.len() == self.size;
        plausible
            && (!self.read.is_multiple_of(COMPARED) || *reply.body == *content::steady(self.key, self.size).as_bytes())
    }
}
