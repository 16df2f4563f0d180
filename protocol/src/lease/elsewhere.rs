//! Which nodes reach another member of the database than this node does, where the database has several that take
//! writes: what one acknowledges, the other does not show yet. A row says by which member it was renewed last. Owns the
//! rule that tells a node that stays there from one that is about to follow.

use std::collections::BTreeMap;

use crate::member::{Elsewhere, MemberRow, NodeId};

/// The nodes whose rows name another member than the own one.
#[derive(Debug, Default)]
pub(super) struct Apart {
    /// The member that this node reaches; empty where the database is one.
    ours: String,
    /// The number of each such row when it was first seen beside the present own member.
    since: BTreeMap<NodeId, u64>,
}

impl Apart {
    /// This node reaches that member now.
    pub(super) fn is_at(&mut self, ours: &str) {
        if self.ours != ours {
            ours.clone_into(&mut self.ours);
            self.since.clear();
        }
    }

    /// Takes the rows of all other nodes.
    pub(super) fn see<'a>(&mut self, others: impl Iterator<Item = &'a MemberRow> + Clone) {
        let ours = &self.ours;
        let apart = others
            .filter(|row| !ours.is_empty() && !row.database_member.is_empty())
            .filter(|row| row.database_member != *ours);
        self.since.retain(|node, _| apart.clone().any(|row| row.node == *node));
        for row in apart {
            self.since.entry(row.node.clone()).or_insert(row.renew_seq);
        }
    }

    /// A node that went on renewing its row by another member, of those that live.
    pub(super) fn told<'a>(&self, mut living: impl Iterator<Item = &'a MemberRow>) -> Option<Elsewhere> {
        let row = living.find(|row| self.since.get(&row.node).is_some_and(|since| row.renew_seq > *since))?;
        Some(Elsewhere { node: row.node.clone(), theirs: row.database_member.clone(), ours: self.ours.clone() })
    }
}
