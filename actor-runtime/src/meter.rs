//! The counters of an actor and their sums.
//!
//! A [`Meter`] has one writer, the arbiter thread of its actor, and any number of readers; so
//! its counters are plain relaxed loads and stores. A [`Tally`] is what a reader makes of it.
//! Nothing here knows an actor or takes a lock while a message is handled, except for the
//! first message of a type.

use std::{
    any::TypeId,
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// Bucket `i` holds times up to 2^i µs, that is 1 µs to 16.8 s; the last one all beyond.
pub(super) const BUCKETS: usize = 26;

/// Adds without a locked instruction. Right only where one thread writes.
fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(amount), Relaxed);
}

fn bucket_of(nanos: u64) -> usize {
    let micros = nanos.div_ceil(1_000);
    let exponent = u64::BITS - micros.saturating_sub(1).leading_zeros();
    usize::try_from(exponent).map_or(BUCKETS - 1, |bucket| bucket.min(BUCKETS - 1))
}

/// The upper bound of a bucket in µs.
pub(super) const fn bound_us(bucket: usize) -> u64 {
    1 << bucket
}

#[derive(Default)]
struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum_ns: AtomicU64,
    max_ns: AtomicU64,
}

impl Histogram {
    fn record(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.buckets.get(bucket_of(nanos)) {
            add(bucket, 1);
        }
        add(&self.sum_ns, nanos);
        if nanos > self.max_ns.load(Relaxed) {
            self.max_ns.store(nanos, Relaxed);
        }
    }
}

/// What is counted for one message type of one actor.
struct MessageStats {
    of: TypeId,
    label: &'static str,
    queue: Histogram,
    handle: Histogram,
    cancelled: AtomicU64,
}

/// The counters of one actor, over all its lives, or of all aggregated actors of a thread.
#[derive(Default)]
pub(super) struct Meter {
    messages: Mutex<Vec<Arc<MessageStats>>>,
    panics: AtomicU64,
    restarts: AtomicU64,
}

impl Meter {
    pub(super) fn panicked(&self) {
        add(&self.panics, 1);
    }

    pub(super) fn restarted(&self) {
        add(&self.restarts, 1);
    }

    fn message<M: 'static>(&self) -> Arc<MessageStats> {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        let of = TypeId::of::<M>();
        if let Some(known) = messages.iter().find(|stats| stats.of == of) {
            return Arc::clone(known);
        }
        let stats = Arc::new(MessageStats {
            of,
            label: label_of(std::any::type_name::<M>()),
            queue: Histogram::default(),
            handle: Histogram::default(),
            cancelled: AtomicU64::new(0),
        });
        messages.push(Arc::clone(&stats));
        stats
    }
}

/// Messages that only carry the message that they are named after.
const TRANSPARENT: [&str; 1] = ["Entered"];

/// The last path segment of a type's name, without its type parameters; that of its parameter for one of
/// [`TRANSPARENT`].
fn label_of(type_name: &'static str) -> &'static str {
    let (path, parameter) = type_name.split_once('<').unwrap_or((type_name, ""));
    let label = path.rsplit("::").next().unwrap_or(path);
    if TRANSPARENT.contains(&label) { label_of(parameter.trim_end_matches('>')) } else { label }
}

/// The measuring end of a [`Meter`], held by the context of the actor's present life.
pub(super) struct Probe {
    meter: Arc<Meter>,
    // An actor has a handful of message types: a scan beats a hash.
    seen: Vec<Arc<MessageStats>>,
    now: Instant,
    handling: Option<&'static str>,
}

impl Probe {
    pub(super) fn new(meter: Arc<Meter>) -> Self {
        Self { meter, seen: Vec::new(), now: Instant::now(), handling: None }
    }

    /// The label of the message in hand: after a panic, the one that caused it.
    pub(super) fn handling(&self) -> Option<&'static str> {
        self.handling
    }

    pub(super) fn read_clock(&mut self) {
        self.now = Instant::now();
    }

    /// Finds the place of a message type, making it on first sight.
    pub(super) fn slot<M: 'static>(&mut self) -> usize {
        let of = TypeId::of::<M>();
        if let Some(slot) = self.seen.iter().position(|stats| stats.of == of) {
            return slot;
        }
        self.seen.push(self.meter.message::<M>());
        self.seen.len() - 1
    }

    pub(super) fn cancelled(&self, slot: usize) {
        if let Some(stats) = self.seen.get(slot) {
            add(&stats.cancelled, 1);
        }
    }

    pub(super) fn begin(&mut self, slot: usize) {
        self.handling = self.seen.get(slot).map(|stats| stats.label);
    }

    pub(super) fn end(&mut self, slot: usize, queued: Instant) {
        let began = std::mem::replace(&mut self.now, Instant::now());
        self.handling = None;
        if let Some(stats) = self.seen.get(slot) {
            stats.queue.record(began.saturating_duration_since(queued));
            stats.handle.record(self.now.saturating_duration_since(began));
        }
    }
}

/// A read-out of one or more histograms.
#[derive(Clone, Debug, Default)]
pub(super) struct Spread {
    pub(super) buckets: [u64; BUCKETS],
    pub(super) sum_ns: u64,
    pub(super) max_ns: u64,
}

impl Spread {
    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The upper bound in µs of the bucket that holds the quantile, at most the maximum seen.
    pub(super) fn quantile_us(&self, per_mille: u64) -> u64 {
        let rank = (self.count() * per_mille).div_ceil(1_000);
        let mut below = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            below += count;
            if below >= rank && below > 0 {
                return bound_us(bucket).min(self.max_us());
            }
        }
        0
    }

    pub(super) fn max_us(&self) -> u64 {
        self.max_ns.div_ceil(1_000)
    }

    pub(super) fn absorb(&mut self, other: &Self) {
        for (sum, count) in self.buckets.iter_mut().zip(other.buckets) {
            *sum += count;
        }
        self.sum_ns = self.sum_ns.wrapping_add(other.sum_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    fn read(histogram: &Histogram) -> Self {
        let mut spread =
            Self { sum_ns: histogram.sum_ns.load(Relaxed), max_ns: histogram.max_ns.load(Relaxed), ..Self::default() };
        for (copy, bucket) in spread.buckets.iter_mut().zip(&histogram.buckets) {
            *copy = bucket.load(Relaxed);
        }
        spread
    }
}

/// The read-out for one message type.
#[derive(Clone, Debug, Default)]
pub(super) struct MessageTally {
    pub(super) queue: Spread,
    pub(super) handle: Spread,
    pub(super) cancelled: u64,
}

/// A read-out of one or more meters.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) messages: BTreeMap<&'static str, MessageTally>,
    pub(super) panics: u64,
    pub(super) restarts: u64,
}

impl Tally {
    /// Adds the present state of a meter.
    pub(super) fn absorb(&mut self, meter: &Meter) {
        let messages = meter.messages.lock();
        for stats in messages.unwrap_or_else(PoisonError::into_inner).iter() {
            let sum = self.messages.entry(stats.label).or_default();
            sum.queue.absorb(&Spread::read(&stats.queue));
            sum.handle.absorb(&Spread::read(&stats.handle));
            sum.cancelled += stats.cancelled.load(Relaxed);
        }
        self.panics += meter.panics.load(Relaxed);
        self.restarts += meter.restarts.load(Relaxed);
    }
}

#[cfg(test)]
mod tests;
