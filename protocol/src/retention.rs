//! Since when the database has held what it holds, by a clock of one's own: the wall clocks of those who wrote it may
//! say anything. Owns a short list of what was seen when; reads no clock and deletes nothing.

use std::collections::VecDeque;
use std::time::Duration;

use crate::config::Version;
use crate::member::Timeline;
use crate::time::Mono;

/// The revisions that one process saw the database at, and when it saw them.
#[derive(Debug, Default)]
pub struct SeenRevisions {
    timeline: Timeline,
    /// Both rise.
    seen: VecDeque<(Mono, Version)>,
}

impl SeenRevisions {
    /// Nothing was seen yet: nothing counts as old.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The database was at `revision`, or past it, by `now`. A revision of another timeline, or one that fell,
    /// says that revisions seen before may have been given anew since: they are forgotten.
    pub fn note(&mut self, now: Mono, timeline: Timeline, revision: Version) {
        if self.timeline != timeline || self.seen.back().is_some_and(|(_, last)| *last > revision) {
            self.seen.clear();
        }
        self.timeline = timeline;
        self.seen.push_back((now, revision));
    }

    /// Everything up to this revision was written at least `age` ago; [`Version::ZERO`] when that can be said of
    /// nothing. Later questions must ask for no greater age.
    pub fn older_than(&mut self, now: Mono, age: Duration) -> Version {
        while self.seen.get(1).is_some_and(|(at, _)| now.since(*at) >= age) {
            self.seen.pop_front();
        }
        self.seen.front().filter(|(at, _)| now.since(*at) >= age).map_or(Version::ZERO, |(_, revision)| *revision)
    }
}

#[cfg(test)]
mod tests;
