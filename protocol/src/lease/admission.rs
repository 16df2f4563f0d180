//! Who may have a row: whether a node that wants to join may be written beside the rows that are there, and which of
//! them go. Owns that rule, and how the versions that a node speaks are told; reads no database.

use crate::member::{Incarnation, NodeId};

/// A node that wants a row, and what it can prove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The node.
    pub node: NodeId,
    /// The life that begins with the row; made anew for each attempt.
    pub incarnation: Incarnation,
    /// The first life of the same process.
    pub first_life: Incarnation,
    /// Names the running system and the data directory that is locked: a row with the same name belongs to a process
    /// that is dead. Empty when that can't be told.
    pub boot_id: String,
    /// The lowest and the highest version of the node-to-node protocol that it speaks.
    pub versions: (u16, u16),
    /// True when the caller has proof that no other process serves this database: every row is of a dead one.
    pub is_alone: bool,
    /// The member of the database that it reaches; empty where only one takes writes.
    pub database_member: String,
}

/// A row that is there, as far as it matters to a candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occupant {
    /// Whose row.
    pub node: NodeId,
    /// The life that owns it.
    pub incarnation: Incarnation,
    /// As in [`Candidate::boot_id`].
    pub boot_id: String,
    /// As in [`Candidate::versions`].
    pub versions: (u16, u16),
    /// As in [`Candidate::database_member`].
    pub database_member: String,
}

/// Whether a candidate is let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// It is, after the rows of these nodes are deleted.
    Admitted {
        /// Whose rows go.
        replaced: Vec<NodeId>,
    },
    /// An older row of the node stands, and nothing proves that its process is dead.
    Held,
    /// Rows of other nodes name another member of the database.
    Elsewhere,
    /// A member speaks no version that the candidate speaks.
    Incompatible {
        /// Who.
        node: NodeId,
    },
}

/// Judges a candidate by every row that is there.
#[must_use]
pub fn admit(candidate: &Candidate, occupants: &[Occupant]) -> Admission {
    let may_replace = |row: &Occupant| {
        if row.node == candidate.node { may_replace_own(candidate, row) } else { candidate.is_alone }
    };
    let (replaced, staying): (Vec<_>, Vec<_>) = occupants.iter().partition(|row| may_replace(row));
    let understands = |row: &Occupant| overlap(row.versions, candidate.versions);
    for row in &staying {
        if row.node == candidate.node {
            return Admission::Held;
        }
        if !understands(row) {
            return Admission::Incompatible { node: row.node.clone() };
        }
    }
    let ours = &candidate.database_member;
    let is_elsewhere = |row: &&Occupant| !row.database_member.is_empty() && row.database_member != *ours;
    if !ours.is_empty() && staying.iter().any(is_elsewhere) {
        return Admission::Elsewhere;
    }
    Admission::Admitted { replaced: replaced.into_iter().map(|row| row.node.clone()).collect() }
}

/// Whether a row of the candidate's own node may go.
fn may_replace_own(candidate: &Candidate, row: &Occupant) -> bool {
    // A process knows its own lives: a join that comes late must not take the row of a later one.
    if is_of_one_process(candidate.first_life, row.incarnation) {
        row.incarnation <= candidate.incarnation
    } else {
        candidate.is_alone || (!row.boot_id.is_empty() && row.boot_id == candidate.boot_id)
    }
}

/// True when a life is one of the process whose first life is given: they are counted up from a random number.
fn is_of_one_process(first: Incarnation, life: Incarnation) -> bool {
    const MOST_LIVES: u128 = 1 << 32;
    life.0.as_u128().checked_sub(first.0.as_u128()).is_some_and(|distance| distance < MOST_LIVES)
}

/// True when two ranges of versions have one in common.
fn overlap(one: (u16, u16), other: (u16, u16)) -> bool {
    one.0 <= other.1 && other.0 <= one.1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn node(name: &str) -> NodeId {
        NodeId(name.into())
    }

    fn life(number: u128) -> Incarnation {
        Incarnation(Uuid::from_u128(number))
    }

    /// A process that began at `first` and asks for its life `number`.
    fn candidate(first: u128, number: u128) -> Candidate {
        Candidate {
            node: node("one"),
            incarnation: life(number),
            first_life: life(first),
            boot_id: "here".to_owned(),
            versions: (2, 3),
            is_alone: false,
            database_member: String::new(),
        }
    }

    fn occupant(name: &str, number: u128) -> Occupant {
        Occupant {
            node: node(name),
            incarnation: life(number),
            boot_id: "there".to_owned(),
            versions: (2, 3),
            database_member: String::new(),
        }
    }

    fn admitted(replaced: &[&str]) -> Admission {
        Admission::Admitted { replaced: replaced.iter().map(|name| node(name)).collect() }
    }

    #[test]
    fn a_process_replaces_its_own_lives_up_to_the_one_it_asks_for() {
        let candidate = candidate(10, 12);
        for (number, expected) in
            [(10, admitted(&["one"])), (12, admitted(&["one"])), (13, Admission::Held), (9, Admission::Held)]
        {
            assert_eq!(admit(&candidate, &[occupant("one", number)]), expected, "life {number}");
        }
    }

    #[test]
    fn the_row_of_another_process_goes_when_it_is_proven_dead() {
        let (candidate, stranger) = (candidate(10, 12), occupant("one", 1 << 40));
        assert_eq!(admit(&candidate, std::slice::from_ref(&stranger)), Admission::Held);
        let same = Occupant { boot_id: "here".to_owned(), ..stranger.clone() };
        assert_eq!(admit(&candidate, &[same]), admitted(&["one"]));
        // Who can't name what it runs on has the same name as nobody.
        let unnamed = Candidate { boot_id: String::new(), ..candidate.clone() };
        let other = Occupant { boot_id: String::new(), ..stranger.clone() };
        assert_eq!(admit(&unnamed, &[other]), Admission::Held);
        let alone = Candidate { is_alone: true, ..candidate };
        assert_eq!(admit(&alone, &[stranger, occupant("two", 7)]), admitted(&["one", "two"]));
    }

    #[test]
    fn no_proof_takes_the_row_of_a_later_life_of_the_same_process() {
        let late = Candidate { is_alone: true, ..candidate(10, 12) };
        let row = Occupant { boot_id: "here".to_owned(), ..occupant("one", 13) };
        assert_eq!(admit(&late, &[row]), Admission::Held);
    }

    #[test]
    fn a_member_that_shares_no_version_keeps_a_candidate_out() {
        let candidate = candidate(10, 10);
        for (versions, understands) in [((1, 1), false), ((1, 2), true), ((3, 9), true), ((4, 9), false)] {
            let row = Occupant { versions, ..occupant("two", 7) };
            let expected = if understands { admitted(&[]) } else { Admission::Incompatible { node: node("two") } };
            assert_eq!(admit(&candidate, &[row]), expected, "{versions:?}");
        }
    }

    #[test]
    fn a_candidate_at_another_member_of_the_database_waits() {
        let at = |member: &str| Candidate { database_member: member.to_owned(), ..candidate(10, 10) };
        let row = Occupant { database_member: "db1".to_owned(), ..occupant("two", 7) };
        assert_eq!(admit(&at("db2"), std::slice::from_ref(&row)), Admission::Elsewhere);
        assert_eq!(admit(&at("db1"), std::slice::from_ref(&row)), admitted(&[]));
        assert_eq!(admit(&at(""), std::slice::from_ref(&row)), admitted(&[]));
        // The row that it left behind says nothing.
        let own = Occupant { node: node("one"), incarnation: life(10), ..row };
        assert_eq!(admit(&at("db2"), &[own]), admitted(&["one"]));
    }

    proptest! {
        #[test]
        fn invariant_a_candidate_without_proof_never_displaces_another_process(
            first in 0_u128..1 << 40, lives in 0_u128..8, row in 0_u128..1 << 41,
        ) {
            let candidate = candidate(first, first + lives);
            let admission = admit(&candidate, &[occupant("one", row)]);
            let is_own_former = (first..=first + lives).contains(&row);
            prop_assert_eq!(admission == admitted(&["one"]), is_own_former);
        }
    }
}
