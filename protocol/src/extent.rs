//! How far a database goes, which database it is, and what a node knew of that when it last looked. Owns the rule that
//! tells from these whether a database is the one that was known: another one, or one that went back, begins a new
//! timeline. Reads no database and no file.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::Version;
use crate::content::Md5;
use crate::member::Timeline;

/// The last commit of a database: its timeline, then its revision. Extents of one database only grow; one that is less
/// than what was known says that commits were lost, or that another server answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Extent {
    /// The timeline.
    pub timeline: Timeline,
    /// The revision of the last commit.
    pub revision: Version,
}

impl Extent {
    /// The commit of this revision on this timeline.
    #[must_use]
    pub fn new(timeline: Timeline, revision: Version) -> Self {
        Self { timeline, revision }
    }

    /// Takes note of a commit that is known to have happened.
    pub fn see(&mut self, other: Self) {
        *self = (*self).max(other);
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "revision {} of timeline {}", self.revision, self.timeline.0)
    }
}

/// Longest text of each part of a [`DatabaseIdentity`], in bytes.
pub const MAX_IDENTITY: usize = 512;

/// Which database answers. A part is empty where the database does not say.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DatabaseIdentity {
    /// Made with the tables, and the same in every copy of them.
    pub cluster: String,
    /// What a server keeps for as long as its data lives, and hands to its standbys (`system_identifier` of
    /// PostgreSQL).
    pub system: String,
    /// What another server, or one that was promoted, does not have in common with it (PostgreSQL's timeline of its
    /// log, `server_uuid` of MySQL, where a MariaDB runs).
    pub branch: String,
}

impl DatabaseIdentity {
    /// A short form of it, to be sent along with messages.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        if *self == Self::default() {
            return Fingerprint::UNKNOWN;
        }
        let text = [&*self.cluster, &*self.system, &*self.branch].join("\n");
        let digest = Md5::of(text.as_bytes()).0;
        let first = digest.iter().take(8).fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
        Fingerprint(first.max(1))
    }

    /// True when these are certainly two databases, each with a history of its own.
    fn is_foreign_to(&self, known: &Self) -> bool {
        differ(&self.cluster, &known.cluster) || differ(&self.system, &known.system)
    }
}

fn differ(one: &str, other: &str) -> bool {
    !one.is_empty() && !other.is_empty() && one != other
}

/// Tells the servers of a database apart, as a number: equal for those that name themselves alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub u64);

impl Fingerprint {
    /// Of a database that does not say who it is, or before it was asked.
    pub const UNKNOWN: Self = Self(0);

    /// True when both are known and differ.
    #[must_use]
    pub fn differs_from(self, other: Self) -> bool {
        self != Self::UNKNOWN && other != Self::UNKNOWN && self != other
    }
}

/// What a node knew of its database; kept in its data directory, so that it outlives the process.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LastKnown {
    /// The furthest commit that it knew of.
    pub extent: Extent,
    /// The database.
    pub identity: DatabaseIdentity,
    /// True when the node left in order: nothing was acknowledged after this was kept.
    pub is_complete: bool,
}

/// Why a database is not the one that was known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// It ends before a commit that is known to have happened.
    Behind,
    /// It has another history, or may have: nothing tells how far the two are the same.
    Foreign,
}

impl LastKnown {
    /// Judges the database as it is now. `None`: everything that was known is in it.
    ///
    /// A later timeline was begun by somebody who knew of a loss, above everything that this node knew: it stands for
    /// all, unless the tables themselves are others.
    #[must_use]
    pub fn judge(&self, now: &DatabaseIdentity, extent: Extent) -> Option<Loss> {
        if differ(&self.identity.cluster, &now.cluster) {
            return Some(Loss::Foreign);
        }
        if extent < self.extent {
            return Some(Loss::Behind);
        }
        let is_told = extent.timeline > self.extent.timeline && extent.revision >= self.extent.revision;
        // One that was promoted while this node was down, and that went on since, may lack what was acknowledged last.
        let may_lack = !self.is_complete && differ(&self.identity.branch, &now.branch);
        (!is_told && (now.is_foreign_to(&self.identity) || may_lack)).then_some(Loss::Foreign)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(timeline: u64, revision: u64) -> Extent {
        Extent::new(Timeline(timeline), Version(revision))
    }

    fn identity(cluster: &str, system: &str, branch: &str) -> DatabaseIdentity {
        let [cluster, system, branch] = [cluster, system, branch].map(str::to_owned);
        DatabaseIdentity { cluster, system, branch }
    }

    #[test]
    fn what_is_known_only_grows_on_a_timeline_and_a_later_timeline_begins_anew() {
        let mut highest = Extent::default();
        for (seen, wanted) in [
            (extent(1, 5), extent(1, 5)),
            (extent(1, 3), extent(1, 5)),
            (extent(2, 2), extent(2, 2)),
            (extent(1, 9), extent(2, 2)),
            (extent(2, 4), extent(2, 4)),
        ] {
            highest.see(seen);
            assert_eq!(highest, wanted);
        }
    }

    #[test]
    fn a_database_is_judged_by_what_was_known_of_it() {
        let known = |is_complete| LastKnown { extent: extent(1, 5), identity: identity("c", "s", "1"), is_complete };
        let same = identity("c", "s", "1");
        for (now, at, wanted) in [
            (&same, extent(1, 5), None),
            (&same, extent(1, 9), None),
            (&same, extent(1, 4), Some(Loss::Behind)),
            (&same, extent(0, 9), Some(Loss::Behind)),
            (&same, extent(2, 1), None),
            (&identity("c", "s", ""), extent(1, 5), None),
            (&identity("c", "", ""), extent(1, 5), None),
            (&identity("d", "s", "1"), extent(1, 9), Some(Loss::Foreign)),
            (&identity("d", "s", "1"), extent(3, 9), Some(Loss::Foreign)),
            (&identity("c", "t", "1"), extent(1, 9), Some(Loss::Foreign)),
            (&identity("c", "t", "1"), extent(2, 9), None),
            (&identity("c", "t", "1"), extent(2, 4), Some(Loss::Foreign)),
        ] {
            for is_complete in [false, true] {
                assert_eq!(known(is_complete).judge(now, at), wanted, "{now:?} {at}");
            }
        }
        let promoted = identity("c", "s", "2");
        assert_eq!(known(false).judge(&promoted, extent(1, 5)), Some(Loss::Foreign), "it may have acknowledged more");
        assert_eq!(known(true).judge(&promoted, extent(1, 5)), None);
        assert_eq!(known(false).judge(&promoted, extent(2, 9)), None, "somebody has told");
    }

    #[test]
    fn who_knew_nothing_finds_nothing_wrong() {
        assert_eq!(LastKnown::default().judge(&identity("c", "s", "1"), extent(0, 0)), None);
        assert_eq!(LastKnown::default().judge(&identity("c", "s", "1"), extent(3, 7)), None);
    }

    #[test]
    fn fingerprints_tell_servers_apart_and_not_those_that_say_nothing() {
        let (one, other) = (identity("c", "s", "1").fingerprint(), identity("c", "s", "2").fingerprint());
        assert!(one.differs_from(other) && !one.differs_from(one));
        let unknown = DatabaseIdentity::default().fingerprint();
        assert!(!one.differs_from(unknown) && !unknown.differs_from(other));
    }
}
