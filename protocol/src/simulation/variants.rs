//! The naive variants of the protocol: each leaves out one rule. A simulation that does not notice is no evidence.

use super::database::Laxity;
use super::node::Node;
use crate::rules::Rules;
use crate::{cache, feed, in_doubt, lease, receiver};

/// A protocol that leaves out one rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Variant {
    /// Commits without asking anybody, and tells the others after that.
    NacosLike,
    /// Drops a mark when the database does not know the batch, without taking the ack back.
    SeedTimeoutDrop,
    /// Looks at a flag that a timer resets, not at the clock.
    LeaseFlag,
    /// Judges leases by a clock that jumps.
    DbClockExpiry,
    /// Acknowledges before the marks are there.
    AckBeforeMark,
    /// Counts a lease from when the answer came.
    LeaseFromResponse,
    /// Stores whatever a load brings.
    NoFillGuard,
    /// Stores what a load brings that began under a mark.
    FillGuardNotifyOnly,
    /// Keeps its entries over a new life.
    NoFlushOnRejoin,
    /// Lets readers join any load.
    JoinPoisonedFill,
    /// Fences by what it has read, not by the row as it is.
    FenceNoRowLock,
    /// Looks at the rows before it has the lock.
    LeaseCheckOutsideTx,
    /// Joins beside a commit.
    JoinNoLock,
    /// Takes the acks of an earlier life.
    AckNoIncarnation,
    /// Ends every mark of a key by one commit.
    CommitClearsAll,
    /// Makes entries of commit events.
    CommitCreatesEntry,
    /// Calls a commit failed because it is not there yet.
    NoSelfFence,
    /// Calls a commit failed because the own row is gone.
    RefusedFloorIsFailure,
    /// Pushes whatever comes in.
    PushUnguarded,
    /// Sends to a new subscriber what the cache holds.
    ConnectUnguarded,
    /// Takes what is left of the feed for all that there was.
    FeedNoFloor,
    /// Takes a page of the feed for all that there is.
    PageTakenForWhole,
}

/// The rule that is left out, if any.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Broken {
    pub(super) variant: Option<Variant>,
}

impl Broken {
    pub(super) fn is(self, variant: Variant) -> bool {
        self.variant == Some(variant)
    }

    /// Leaves the rule out in the machines of a node.
    pub(super) fn install(self, node: &mut Node) {
        let Some(variant) = self.variant else { return };
        node.lease.rules = Rules::without(match variant {
            Variant::DbClockExpiry => Some(lease::Rule::OwnClock),
            Variant::LeaseFromResponse => Some(lease::Rule::CountedFromSending),
            _ => None,
        });
        node.receiver.rules = Rules::without((variant == Variant::SeedTimeoutDrop).then_some(receiver::Rule::Floor));
        node.feed.rules = Rules::without(match variant {
            Variant::FeedNoFloor => Some(feed::Rule::Floor),
            Variant::PageTakenForWhole => Some(feed::Rule::Page),
            _ => None,
        });
        node.shard.rules = Rules::without(match variant {
            Variant::NoFillGuard => Some(cache::Rule::FillGuard),
            Variant::FillGuardNotifyOnly => Some(cache::Rule::BornPoisoned),
            Variant::NoFlushOnRejoin => Some(cache::Rule::Flush),
            Variant::JoinPoisonedFill => Some(cache::Rule::JoinGuard),
            Variant::CommitClearsAll => Some(cache::Rule::OwnMark),
            Variant::CommitCreatesEntry => Some(cache::Rule::UpdateOnly),
            _ => None,
        });
    }

    /// The rules of a question about a commit in doubt.
    pub(super) fn in_doubt(self) -> Rules<in_doubt::Rule> {
        Rules::without(match self.variant {
            Some(Variant::NoSelfFence) => Some(in_doubt::Rule::SelfFence),
            Some(Variant::RefusedFloorIsFailure) => Some(in_doubt::Rule::LookWithoutRow),
            _ => None,
        })
    }

    pub(super) fn laxity(self) -> Laxity {
        Laxity {
            joins_without_lock: self.is(Variant::JoinNoLock),
            fences_by_snapshot: self.is(Variant::FenceNoRowLock),
            rows_read_before_the_lock: self.is(Variant::LeaseCheckOutsideTx),
        }
    }
}
