//! How the records of a node hold each other: each one's hash is over the one before it and itself, so that none can be
//! changed, taken out or put in unseen. Records of other nodes name how far a chain went, so that its end can't be cut
//! off unseen either; what was removed by its age is named by the record that removed it. Reads no body.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Claims, Pruned};
use crate::hex;
use crate::time::WallMillis;

/// The hash of a record.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Hash([u8; 32]);

impl Hash {
    /// What stands in the place of the record before the first.
    pub const NONE: Self = Self([0; 32]);

    /// Reads 64 hexadecimal digits.
    #[must_use]
    pub fn parse(digits: &str) -> Option<Self> {
        hex::decode(digits)?.try_into().ok().map(Self)
    }

    /// That of a record after the one whose hash is `previous`.
    #[must_use]
    pub fn of(previous: Self, node: &str, seq: u64, at: WallMillis, body: &str) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(previous.0);
        // With their lengths, no two records give the same bytes.
        hasher.update((node.len() as u64).to_be_bytes());
        hasher.update(node.as_bytes());
        hasher.update(seq.to_be_bytes());
        hasher.update(at.0.to_be_bytes());
        hasher.update(body.as_bytes());
        Self(hasher.finalize().into())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        hash.to_string()
    }
}

impl TryFrom<String> for Hash {
    type Error = NoHash;

    fn try_from(text: String) -> Result<Self, NoHash> {
        Self::parse(&text).ok_or(NoHash)
    }
}

/// The text is no hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a hash is 64 hexadecimal digits")]
pub struct NoHash;

/// How far a chain goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The number of its last record.
    pub seq: u64,
    /// The hash of that.
    pub hash: Hash,
}

impl Head {
    /// That of a chain without records.
    pub const START: Self = Self { seq: 0, hash: Hash::NONE };

    /// That of the chain with one more record.
    #[must_use]
    pub fn next(self, node: &str, at: WallMillis, body: &str) -> Self {
        let seq = self.seq + 1;
        Self { seq, hash: Hash::of(self.hash, node, seq, at, body) }
    }
}

/// A record, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Whose.
    pub node: String,
    /// Its number, from 1.
    pub seq: u64,
    /// When it was written.
    pub at: WallMillis,
    /// Its hash.
    pub hash: Hash,
    /// What happened, as JSON.
    pub body: String,
}

/// What is wrong with a chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// Records are missing.
    #[error("record {seq} is missing")]
    Missing {
        /// The first of them.
        seq: u64,
    },
    /// A record does not follow from the one before it.
    #[error("record {seq} is not as it was written, or does not follow from the one before it")]
    Changed {
        /// Which.
        seq: u64,
    },
    /// A record stands where another should.
    #[error("record {seq} stands there twice, or out of order")]
    Order {
        /// Which.
        seq: u64,
    },
    /// The beginning is gone, and no record says that it was removed for its age.
    #[error("the records before {seq} are gone, and no record says that they were removed for their age")]
    Beginning {
        /// The first that is there.
        seq: u64,
    },
    /// A record that somebody has seen is gone.
    #[error("record {seq}, which {by} has seen, is gone")]
    Gone {
        /// Which.
        seq: u64,
        /// Who has seen it.
        by: String,
    },
    /// A record is another than somebody has seen.
    #[error("record {seq} is another than {by} has seen")]
    Another {
        /// Which.
        seq: u64,
        /// Who has seen it.
        by: String,
    },
}

impl Flaw {
    /// Which record it is about.
    #[must_use]
    pub fn seq(&self) -> u64 {
        match self {
            Self::Missing { seq }
            | Self::Changed { seq }
            | Self::Order { seq }
            | Self::Beginning { seq }
            | Self::Gone { seq, .. }
            | Self::Another { seq, .. } => *seq,
        }
    }
}

/// Looks at the records of one chain, from the first to the last.
#[derive(Debug, Default)]
pub struct Walk {
    /// The first one, unless its number is 1: what it follows is known at the end.
    first: Option<Record>,
    /// The last one that was right.
    last: Option<Head>,
    flaw: Option<Flaw>,
}

impl Walk {
    /// The last record that was right, so far.
    #[must_use]
    pub fn last(&self) -> Option<Head> {
        self.last
    }

    /// Looks at the next record. After the first flaw nothing is looked at.
    pub fn take(&mut self, record: &Record) {
        if self.flaw.is_some() {
            return;
        }
        let previous = match self.last {
            None if record.seq <= 1 => Head::START,
            None => {
                self.first = Some(record.clone());
                self.last = Some(Head { seq: record.seq, hash: record.hash });
                return;
            }
            Some(last) => last,
        };
        let (expected, found) = (previous.next(&record.node, record.at, &record.body), record.seq);
        self.flaw = match found.cmp(&expected.seq) {
            std::cmp::Ordering::Greater => Some(Flaw::Missing { seq: expected.seq }),
            std::cmp::Ordering::Less => Some(Flaw::Order { seq: found }),
            std::cmp::Ordering::Equal if expected.hash != record.hash => Some(Flaw::Changed { seq: found }),
            std::cmp::Ordering::Equal => {
                self.last = Some(expected);
                None
            }
        };
    }

    /// What is wrong, first of all: `pruned` is what all records say that was removed. A part of a chain may begin
    /// anywhere.
    #[must_use]
    pub fn end(self, pruned: &[Pruned], is_part: bool) -> Option<Flaw> {
        let Some(first) = self.first.filter(|_| !is_part) else { return self.flaw };
        let before = pruned.iter().find(|removed| removed.node == first.node && removed.through.seq + 1 == first.seq);
        match before {
            None => Some(Flaw::Beginning { seq: first.seq }),
            Some(Pruned { through, .. }) if through.next(&first.node, first.at, &first.body).hash != first.hash => {
                Some(Flaw::Changed { seq: first.seq })
            }
            Some(_) => self.flaw,
        }
    }
}

/// Somebody has seen how far a chain went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Who.
    pub by: String,
    /// Whose chain.
    pub node: String,
    /// How far it went.
    pub head: Head,
}

impl Seen {
    /// What is wrong, when `found` is the hash of the record that was seen, if it is there.
    #[must_use]
    pub fn compare(&self, found: Option<Hash>, pruned: &[Pruned]) -> Option<Flaw> {
        let Self { by, node, head } = self;
        let was_removed = || pruned.iter().any(|removed| removed.node == *node && removed.through.seq >= head.seq);
        match found {
            Some(hash) if hash == head.hash => None,
            Some(_) => Some(Flaw::Another { seq: head.seq, by: by.clone() }),
            None if was_removed() => None,
            None => Some(Flaw::Gone { seq: head.seq, by: by.clone() }),
        }
    }
}

/// What was found of one chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whose chain.
    pub node: String,
    /// The first record that is there; zero when none is.
    pub first: u64,
    /// The last one up to which all is right.
    pub last: u64,
    /// How many there are.
    pub records: u64,
    /// What is wrong, first of all.
    pub flaw: Option<Flaw>,
}

/// Looks at the chains of several nodes together: the records of each come in their order.
///
/// 1. [`take`](Self::take) each record. 2. Find the hash of each record that was [`seen`](Self::seen).
/// 3. [`end`](Self::end).
#[derive(Debug, Default)]
pub struct Verifier {
    walks: BTreeMap<String, (Walk, u64, u64)>,
    seen: Vec<Seen>,
    pruned: Vec<Pruned>,
}

impl Verifier {
    /// Looks at the next record, and at what its body claims of chains.
    pub fn take(&mut self, record: &Record, claims: Option<Claims>) {
        let (walk, first, count) = self.walks.entry(record.node.clone()).or_default();
        if *count == 0 {
            *first = record.seq;
        }
        *count += 1;
        walk.take(record);
        let Some(Claims { heads, pruned }) = claims else { return };
        let by = || record.node.clone();
        self.seen.extend(heads.into_iter().map(|(node, head)| Seen { by: by(), node, head }));
        self.pruned.extend(pruned);
    }

    /// Adds what somebody has seen elsewhere.
    pub fn expect(&mut self, seen: Seen) {
        self.seen.push(seen);
    }

    /// What was seen, and has to be there.
    #[must_use]
    pub fn seen(&self) -> &[Seen] {
        &self.seen
    }

    /// What was found, when `found` gives the hash of a record that is there. Of parts of chains less is asked.
    #[must_use]
    pub fn end(self, found: impl Fn(&str, u64) -> Option<Hash>, is_part: bool) -> Vec<Verdict> {
        let Self { walks, seen, pruned } = self;
        let mut verdicts: BTreeMap<String, Verdict> = BTreeMap::new();
        for (node, (walk, first, records)) in walks {
            let last = walk.last().map_or(0, |last| last.seq);
            let flaw = walk.end(&pruned, is_part);
            verdicts.insert(node.clone(), Verdict { node, first, last, records, flaw });
        }
        for seen in seen {
            let hash = found(&seen.node, seen.head.seq);
            let Some(flaw) = seen.compare(hash, &pruned).filter(|_| !is_part || hash.is_some()) else { continue };
            let none = || Verdict { node: seen.node.clone(), first: 0, last: 0, records: 0, flaw: None };
            let verdict = verdicts.entry(seen.node.clone()).or_insert_with(none);
            if verdict.flaw.as_ref().is_none_or(|known| flaw.seq() < known.seq()) {
                verdict.last = verdict.last.min(flaw.seq().saturating_sub(1));
                verdict.flaw = Some(flaw);
            }
        }
        verdicts.into_values().collect()
    }
}

#[cfg(test)]
mod tests;
