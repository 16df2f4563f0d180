//! A hashed timer wheel: setting and cancelling a timer cost the same however many are set.
//!
//! Owns which timer is due when, to the tick. A timer carries a number that means something to its owner; cancelled
//! and passed timers leave nothing behind. Source: G. Varghese, T. Lauck, "Hashed and Hierarchical Timing Wheels"
//! (1987), scheme 6.

use std::time::Duration;

use crate::time::Mono;

/// How exact a timer is: it passes at most this much late, and never early.
pub const TICK: Duration = Duration::from_millis(50);
/// Ticks of one turn: a timer of up to 102 s is looked at once, a longer one once in each turn.
const TURN: usize = 2_048;
/// A bucket of this capacity is not worth shrinking.
const SMALL: usize = 16;

/// Where a timer is; what [`Wheel::cancel`] needs. Changes when [`Wheel::cancel`] says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    bucket: u32,
    position: u32,
}

#[derive(Debug)]
struct Timer {
    due: u64,
    carried: u32,
}

/// The wheel.
#[derive(Debug)]
pub(super) struct Wheel {
    buckets: Box<[Vec<Timer>]>,
    /// Every timer due at or before this tick has passed.
    reached: u64,
    len: usize,
}

/// A timer that is in another place now.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) carried: u32,
    pub(super) place: Place,
}

impl Wheel {
    pub(super) fn new() -> Self {
        Self { buckets: (0..TURN).map(|_| Vec::new()).collect(), reached: 0, len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Room that is kept for timers, in timers.
    pub(super) fn capacity(&self) -> usize {
        self.buckets.iter().map(Vec::capacity).sum()
    }

    /// Sets a timer that passes at `at`, or at the next tick when that is over already.
    pub(super) fn set(&mut self, now: Mono, at: Mono, carried: u32) -> Place {
        if self.len == 0 {
            self.reached = self.reached.max(tick_before(now));
        }
        let due = tick_after(at).max(self.reached + 1);
        let index = bucket_of(due);
        let mut place = Place { bucket: index as u32, position: 0 };
        if let Some(bucket) = self.buckets.get_mut(index) {
            place.position = bucket.len() as u32;
            bucket.push(Timer { due, carried });
            self.len += 1;
        }
        place
    }

    /// Takes a timer out. The answer is the timer that is in its place now, if any.
    pub(super) fn cancel(&mut self, place: Place) -> Option<Moved> {
        let bucket = self.buckets.get_mut(place.bucket as usize)?;
        let position = place.position as usize;
        if position >= bucket.len() {
            return None;
        }
        bucket.swap_remove(position);
        self.len -= 1;
        shrink(bucket);
        bucket.get(position).map(|timer| Moved { carried: timer.carried, place })
    }

    /// Takes every timer out that is due by `now`, in no order within a tick. `moved` hears of those that stay but
    /// are in another place.
    pub(super) fn advance(&mut self, now: Mono, mut passed: impl FnMut(u32), mut moved: impl FnMut(Moved)) {
        let target = tick_before(now);
        if target <= self.reached {
            return;
        }
        // A turn visits every bucket; more turns would find nothing else.
        let ticks = (target - self.reached).min(TURN as u64);
        if self.len > 0 {
            for tick in target - ticks + 1..=target {
                let index = bucket_of(tick);
                let Some(bucket) = self.buckets.get_mut(index) else { continue };
                let mut position = 0;
                while let Some(timer) = bucket.get(position) {
                    if timer.due > target {
                        position += 1;
                        continue;
                    }
                    let timer = bucket.swap_remove(position);
                    self.len -= 1;
                    passed(timer.carried);
                    if let Some(timer) = bucket.get(position) {
                        let place = Place { bucket: index as u32, position: position as u32 };
                        moved(Moved { carried: timer.carried, place });
                    }
                }
                shrink(bucket);
            }
        }
        self.reached = target;
    }
}

/// The last tick that is over at `at`.
fn tick_before(at: Mono) -> u64 {
    u64::try_from(at.0.as_nanos() / TICK.as_nanos()).unwrap_or(u64::MAX / 2)
}

/// The first tick that is not over before `at`.
fn tick_after(at: Mono) -> u64 {
    u64::try_from(at.0.as_nanos().div_ceil(TICK.as_nanos())).unwrap_or(u64::MAX / 2)
}

fn bucket_of(tick: u64) -> usize {
    (tick % TURN as u64) as usize
}

fn shrink(bucket: &mut Vec<Timer>) {
    if bucket.is_empty() {
        *bucket = Vec::new();
    } else if bucket.capacity() > SMALL && bucket.len() < bucket.capacity() / 4 {
        bucket.shrink_to(bucket.len() * 2);
    }
}

#[cfg(test)]
mod tests;
