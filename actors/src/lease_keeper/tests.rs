//! The keeper on paused time, over a real cache and a database of its own.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callboard_protocol::member::{LeaseEnd, ReadLease};

use super::*;
use crate::cache::writer::{Extend, SetReadLease};
use crate::runtime::Observe;
use crate::store::{JoinRequest, Joined};
use crate::testbed::node::{Leases, me};
use crate::testbed::{Witness, advance, query, rebuild, run, settle};

/// A node that has a row of its own in the database.
async fn join(leases: &Leases, name: &str) -> NodeRow {
    let request = JoinRequest {
        node: NodeId(name.into()),
        incarnation: Incarnation(Uuid::new_v4()),
        first_life: Incarnation(Uuid::new_v4()),
        boot_id: "another boot".into(),
        address: "127.0.0.1:2".into(),
        versions: (1, 1),
        is_alone: false,
    };
    let incarnation = request.incarnation;
    let joined = leases.database.writer.join(request).await.unwrap();
    assert!(matches!(joined, Joined::Member(_)), "{joined:?}");
    NodeRow { node: NodeId(name.into()), incarnation, ack_floor: callboard_protocol::member::AckNo(0) }
}

/// Lets time pass in small steps, with the database's answers in between, until this holds.
async fn pass_until(leases: &Leases, what: &str, mut holds: impl FnMut(&[MemberRow]) -> bool) {
    for _ in 0..400 {
        if holds(&leases.rows().await) {
            return;
        }
        advance(Duration::from_millis(50)).await;
    }
    panic!("{what} never came");
}

#[test]
fn nothing_happens_before_the_cache_was_emptied() {
    run(async || {
        let leases = Leases::start(LeaseMode::Forever).await;
        leases.joined(None).await;
        // A keeper of leases before this one has left a leave behind that nobody keeps.
        let free = leases.keep_cache_busy();
        rebuild(&leases.lease_keeper).await;
        settle().await;
        let rows = leases.rows().await;
        assert!(leases.memberships.take().iter().all(|told| told.incarnation.is_none()));
        assert_eq!(query(&leases.lease_keeper, GetStanding).await, Standing::Unknown);
        assert_eq!(leases.rows().await, rows, "the database is not touched either");
        drop(free);
        while query(&leases.lease_keeper, GetStanding).await != Standing::Settled {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn a_node_that_joined_tells_so_and_whoever_subscribes_later_is_told_at_once() {
    run(async || {
        let leases = Leases::start(LeaseMode::Renewed).await;
        let incarnation = leases.joined(None).await;
        assert_eq!(query(&leases.lease_keeper, GetStanding).await, Standing::Settled);
        assert_eq!(leases.metrics.lease.member.get(), 1);
        let [row] = &leases.rows().await[..] else { panic!("one row") };
        assert_eq!((&row.node, row.incarnation), (&me(), incarnation));
        let (late, told) = Witness::start();
        let _held = query(&leases.lease_keeper, Subscribe(late)).await;
        let told = told.next().await;
        assert_eq!((told.node, told.incarnation, told.rows.len()), (me(), Some(incarnation), 1));
    });
}

#[test]
fn a_new_life_has_another_name_and_begins_with_an_empty_cache() {
    run(async || {
        let leases = Leases::start(LeaseMode::Forever).await;
        let first = leases.joined(None).await;
        query(&leases.lease_keeper, Rejoin).await;
        let told = leases.memberships.next().await;
        assert_eq!(told.incarnation, None, "the old life ends before the new one begins");
        let second = leases.joined(Some(first)).await;
        let rows = leases.rows().await;
        assert_eq!(rows.iter().map(|row| row.incarnation).collect::<Vec<_>>(), [second]);
        // What the old life may still be told does not extend the leave of the new one.
        let old = ReadLease { incarnation: first, ends: LeaseEnd::Never };
        query(&leases.keeper, Extend { grant: old }).await;
        assert_eq!(query(&leases.lease_keeper, Observe).await["incarnation"], second.0.to_string());
    });
}

#[test]
fn a_row_is_renewed_all_the_time() {
    run(async || {
        let leases = Leases::start(LeaseMode::Renewed).await;
        leases.joined(None).await;
        for _ in 0..3 {
            let before = leases.rows().await[0].renew_seq;
            pass_until(&leases, "a renewal", |rows| rows[0].renew_seq > before).await;
        }
        assert!(leases.memberships.take().iter().all(|told| told.incarnation.is_some()), "a member all along");
    });
}

#[test]
fn the_row_of_a_node_that_does_not_renew_is_fenced_after_a_lease() {
    run(async || {
        let leases = Leases::start(LeaseMode::Renewed).await;
        leases.joined(None).await;
        join(&leases, "dead").await;
        let begun = leases.clock.mono();
        pass_until(&leases, "the fence", |rows| rows.len() == 1).await;
        let lease = lease::Options::default().lease;
        let took = leases.clock.mono().since(begun);
        assert!(took >= lease, "fenced after {took:?}, which is sooner than its lease ends");
        let fenced = ResultLabel { operation: "fence", result: "fenced" };
        assert_eq!(leases.metrics.lease.operations.get_or_create(&fenced).get(), 1);
    });
}

#[test]
fn a_row_that_is_revoked_can_not_be_renewed_and_everybody_is_told() {
    run(async || {
        let leases = Leases::start(LeaseMode::Renewed).await;
        leases.joined(None).await;
        let row = join(&leases, "deaf").await;
        query(&leases.lease_keeper, Revoke { rows: vec![row.clone()] }).await;
        let is_revoked =
            |told: &MembershipChanged| told.rows.iter().any(|(_, sight)| *sight == LeaseObservation::Revoked);
        let mut told = Vec::new();
        pass_until(&leases, "the word", |_| {
            told.extend(leases.memberships.take());
            told.iter().any(is_revoked)
        })
        .await;
        assert!(!leases.database.writer.renew(&row.node, row.incarnation).await.unwrap());
    });
}

#[test]
fn a_node_that_leaves_gives_its_row_back_and_is_no_member_any_more() {
    run(async || {
        let leases = Leases::start(LeaseMode::Renewed).await;
        leases.joined(None).await;
        query(&leases.lease_keeper, ReleaseMembership).await;
        assert_eq!(leases.rows().await, []);
        settle().await;
        assert_eq!(leases.memberships.take().last().unwrap().incarnation, None);
        query(&leases.lease_keeper, ReleaseMembership).await;
        query(&leases.lease_keeper, Rejoin).await;
        settle().await;
        assert_eq!(leases.rows().await, [], "it does not come back");
    });
}

#[test]
fn a_node_on_direct_terms_takes_no_row_and_is_as_it_shall() {
    run(async || {
        let leases = Leases::start(LeaseMode::Direct).await;
        assert_eq!(leases.memberships.next().await.incarnation, None);
        assert_eq!(query(&leases.lease_keeper, GetStanding).await, Standing::Settled);
        assert_eq!(leases.rows().await, []);
    });
}

#[test]
fn a_keeper_that_was_rebuilt_takes_the_leave_of_the_cache_and_begins_a_new_life() {
    run(async || {
        let leases = Leases::start(LeaseMode::Forever).await;
        let first = leases.joined(None).await;
        let forged = SetReadLease {
            grant: Some(ReadLease { incarnation: first, ends: LeaseEnd::Never }),
            timeline: Timeline(1),
            revision: Version::ZERO,
        };
        query(&leases.keeper, forged).await;
        rebuild(&leases.lease_keeper).await;
        let (subscriber, told) = Witness::start();
        let _held = query(&leases.lease_keeper, Subscribe(subscriber)).await;
        let told = told.until(|told| told.incarnation.is_some()).await;
        assert_ne!(told.incarnation, Some(first));
        assert_eq!(leases.rows().await.len(), 1);
    });
}
