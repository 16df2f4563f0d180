//! The highest revision that a node knows of, and whether an answer of the database is behind it: a server that was
//! left by its role, or that a commit has not reached, must not answer a read. Owns that rule; asks nobody.

use crate::config::Version;
use crate::member::Timeline;

/// How far the database is known to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KnownRevision {
    timeline: Timeline,
    revision: Version,
}

impl KnownRevision {
    /// A commit, or an answer, was as of this revision.
    pub fn see(&mut self, timeline: Timeline, revision: Version) {
        if timeline > self.timeline {
            *self = Self { timeline, revision };
        } else if timeline == self.timeline {
            self.revision = self.revision.max(revision);
        }
    }

    /// True when an answer as of this revision is older than what was known before its question was sent: another
    /// server than the one of the last commits gave it.
    #[must_use]
    pub fn refutes(self, timeline: Timeline, revision: Version) -> bool {
        timeline < self.timeline || (timeline == self.timeline && revision < self.revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(timeline: u64, revision: u64) -> KnownRevision {
        KnownRevision { timeline: Timeline(timeline), revision: Version(revision) }
    }

    #[test]
    fn what_is_known_only_grows_on_a_timeline_and_a_later_timeline_begins_anew() {
        let mut highest = KnownRevision::default();
        for (timeline, revision, wanted) in
            [(1, 5, (1, 5)), (1, 3, (1, 5)), (2, 2, (2, 2)), (1, 9, (2, 2)), (2, 4, (2, 4))]
        {
            highest.see(Timeline(timeline), Version(revision));
            assert_eq!(highest, known(wanted.0, wanted.1));
        }
    }

    #[test]
    fn an_answer_from_before_what_is_known_is_refuted() {
        let cases = [((1, 4), true), ((1, 5), false), ((1, 6), false), ((0, 9), true), ((2, 1), false)];
        for ((timeline, revision), wanted) in cases {
            assert_eq!(known(1, 5).refutes(Timeline(timeline), Version(revision)), wanted, "{timeline} {revision}");
        }
    }
}
