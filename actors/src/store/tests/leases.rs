//! Renewing, revoking and fencing, beside each other and beside commits.

use std::sync::Arc;
use std::time::Duration;

use callboard_protocol::commit::{Decision, Standing};
use callboard_protocol::config::Version;
use callboard_protocol::extent::Extent;
use callboard_protocol::lease::{BeginResult, Evidence};
use callboard_protocol::member::{Ack, AckNo, Incarnation, NodeRow, Timeline};
use std::collections::BTreeMap;

use super::members::{join, life, member, node};
use super::on_every_database;
use super::testbed::{Kind, Testbed, acked, key, put, request_id, unit, unit_as, written};
use crate::store::CommitRequest;
use crate::store::batch;

on_every_database!(
    a_renewal_moves_the_number_of_its_own_life_only,
    a_revoked_row_is_never_renewed_again,
    a_fence_takes_a_row_that_stood_still_and_no_other,
    a_fence_waits_for_a_renewal_and_finds_the_row_moved,
    renewals_do_not_wait_for_a_commit,
    a_join_comes_wholly_before_or_wholly_after_a_commit,
    a_commit_that_comes_after_the_floor_is_refused,
    a_database_that_lost_commits_begins_a_new_timeline,
    a_row_that_is_older_and_another_database_begin_a_timeline_too,
    a_database_says_which_one_it_is,
);

/// How long something that waits for a lock is watched.
const MOMENT: Duration = Duration::from_millis(150);

fn ack(name: &str, incarnation: Incarnation, number: u64) -> Ack {
    Ack { node: node(name), incarnation, number: AckNo(number), known: Extent::default() }
}

fn commit_of(name: &str, acks: Vec<Ack>) -> CommitRequest {
    let units = vec![unit_as("u", vec![put(&key("a"), "1")])];
    CommitRequest { standing: Standing::Member(node(name)), ..acked(units, acks) }
}

async fn a_renewal_moves_the_number_of_its_own_life_only(testbed: Arc<Testbed>) {
    let (one, _) = join(&testbed, "one", "one").await;
    assert!(testbed.writer.renew(&node("one"), one).await.unwrap());
    assert!(!testbed.writer.renew(&node("one"), life()).await.unwrap());
    assert!(!testbed.writer.renew(&node("two"), one).await.unwrap());
    let seen = testbed.writer.for_leases().observe().await.unwrap();
    assert_eq!((seen.rows.len(), seen.rows[0].renew_seq, seen.rows[0].revoked), (1, 2, false));
    assert_eq!((seen.revision, seen.timeline), (Version::ZERO, Timeline(1)));
    assert_eq!(seen.rows[0].address, "127.0.0.1:8851");
}

async fn a_revoked_row_is_never_renewed_again(testbed: Arc<Testbed>) {
    let (one, _) = join(&testbed, "one", "one").await;
    assert!(!testbed.writer.revoke(&node("one"), life()).await.unwrap());
    for _ in 0..2 {
        assert!(testbed.writer.revoke(&node("one"), one).await.unwrap());
        assert!(!testbed.writer.renew(&node("one"), one).await.unwrap());
    }
    assert!(testbed.writer.observe().await.unwrap().rows[0].revoked);
    // It still counts until it is given back: its cache may still answer.
    let decision = testbed.writer.commit(commit_of("one", vec![])).await.unwrap();
    let row = NodeRow { node: node("one"), incarnation: one, ack_floor: AckNo(0) };
    assert_eq!(decision, Decision::NeedAcks(vec![row]));
}

async fn a_fence_takes_a_row_that_stood_still_and_no_other(testbed: Arc<Testbed>) {
    let (one, _) = join(&testbed, "one", "one").await;
    testbed.writer.renew(&node("one"), one).await.unwrap();
    assert!(!testbed.writer.fence(&node("one"), one, 1).await.unwrap(), "it was renewed");
    assert!(!testbed.writer.fence(&node("one"), life(), 2).await.unwrap(), "another life");
    assert!(testbed.writer.fence(&node("one"), one, 2).await.unwrap());
    assert!(!testbed.writer.renew(&node("one"), one).await.unwrap(), "fenced");
    assert!(testbed.writer.observe().await.unwrap().rows.is_empty());
}

async fn a_fence_waits_for_a_renewal_and_finds_the_row_moved(testbed: Arc<Testbed>) {
    if testbed.kind == Kind::Sqlite {
        // One writer at a time: nothing can be under way.
        return;
    }
    let (one, _) = join(&testbed, "one", "one").await;
    // The renewal as a transaction that is still open.
    let renewal = testbed.writer.begin().await.unwrap();
    let mut sql = renewal.sql("UPDATE cc_node SET renew_seq = renew_seq + 1 WHERE node = ");
    sql.bind("one");
    assert_eq!(renewal.run(sql).await.unwrap(), 1);
    let (janitor, victim) = (testbed.writer.for_leases(), node("one"));
    let mut fencing = tokio::spawn(async move { janitor.fence(&victim, one, 1).await });
    assert!(tokio::time::timeout(MOMENT, &mut fencing).await.is_err(), "the fence did not wait");
    renewal.commit().await.unwrap();
    assert!(!fencing.await.unwrap().unwrap(), "a row that was renewed was fenced");
    assert_eq!(testbed.writer.observe().await.unwrap().rows[0].renew_seq, 2);
}

async fn renewals_do_not_wait_for_a_commit(testbed: Arc<Testbed>) {
    if testbed.kind == Kind::Sqlite {
        return;
    }
    let (one, _) = join(&testbed, "one", "one").await;
    let commit = testbed.writer.begin().await.unwrap();
    batch::read(&commit, &[unit(vec![put(&key("a"), "1")])]).await.unwrap();
    let leases = testbed.writer.for_leases();
    let member = node("one");
    let renewing = tokio::time::timeout(Duration::from_secs(2), leases.renew(&member, one));
    assert!(renewing.await.expect("the renewal waited for the commit").unwrap());
    commit.roll_back().await;
}

async fn a_join_comes_wholly_before_or_wholly_after_a_commit(testbed: Arc<Testbed>) {
    if testbed.kind == Kind::Sqlite {
        return;
    }
    let (one, _) = join(&testbed, "one", "one").await;
    // After: the commit has read the members; the join waits and begins above its revision.
    let commit = testbed.writer.begin().await.unwrap();
    let snapshot = batch::read(&commit, &[]).await.unwrap();
    assert_eq!(snapshot.nodes.len(), 1);
    let joiner = Arc::clone(&testbed);
    let mut joining = tokio::spawn(async move { join(&joiner, "two", "two").await });
    assert!(tokio::time::timeout(MOMENT, &mut joining).await.is_err(), "the join did not wait");
    let sql = commit.sql("UPDATE cc_meta SET rev = rev + 1 WHERE id = 1");
    commit.run(sql).await.unwrap();
    commit.commit().await.unwrap();
    let (two, joined) = joining.await.unwrap();
    assert_eq!(member(joined).revision, Version(1));
    // Before: a commit that waited for the join sees its row, though it began earlier.
    let open = testbed.writer.begin().await.unwrap();
    let mut sql = open.sql("UPDATE cc_node SET ack_floor = 4 WHERE node = ");
    sql.bind("two");
    open.run(sql).await.unwrap();
    let committer = testbed.writer.clone();
    let request = commit_of("one", vec![ack("one", one, 1), ack("two", two, 3)]);
    let mut committing = tokio::spawn(async move { committer.commit(request).await });
    assert!(tokio::time::timeout(MOMENT, &mut committing).await.is_err(), "the commit did not wait");
    open.commit().await.unwrap();
    let row = NodeRow { node: node("two"), incarnation: two, ack_floor: AckNo(4) };
    assert_eq!(committing.await.unwrap().unwrap(), Decision::NeedAcks(vec![row]));
}

/// A commit whose publisher gave up on it: the floor shuts it out, however late it comes.
async fn a_commit_that_comes_after_the_floor_is_refused(testbed: Arc<Testbed>) {
    let (one, _) = join(&testbed, "one", "one").await;
    let zombie = commit_of("one", vec![ack("one", one, 7)]);
    let landed = testbed.writer.raise_floor(&node("one"), one, AckNo(7), &[request_id("u")]).await.unwrap().unwrap();
    assert!(landed.units.is_empty());
    let row = NodeRow { node: node("one"), incarnation: one, ack_floor: AckNo(8) };
    assert_eq!(testbed.writer.commit(zombie).await.unwrap(), Decision::NeedAcks(vec![row]));
    assert_eq!(testbed.revision().await, Version::ZERO);
    written(testbed.writer.commit(commit_of("one", vec![ack("one", one, 8)])).await.unwrap());
    // And one that was before the floor in line is found by the look under the same lock.
    if testbed.kind != Kind::Sqlite {
        let open = testbed.writer.begin().await.unwrap();
        let raiser = Arc::clone(&testbed);
        let raising =
            tokio::spawn(
                async move { raiser.writer.raise_floor(&node("one"), one, AckNo(8), &[request_id("z")]).await },
            );
        let decided = batch::read(&open, &[unit_as("z", vec![put(&key("z"), "1")])]).await.unwrap();
        assert_eq!(decided.nodes[0].ack_floor, AckNo(8));
        let mut sql =
            open.sql("INSERT INTO cc_request (request_id, rev, result, at) SELECT 'z', rev, result, at FROM ");
        sql.push("cc_request WHERE request_id = ").bind("u");
        open.run(sql).await.unwrap();
        open.commit().await.unwrap();
        let landed = raising.await.unwrap().unwrap().unwrap();
        assert_eq!(landed.units.len(), 1);
    }
}

async fn a_database_that_lost_commits_begins_a_new_timeline(testbed: Arc<Testbed>) {
    let versions = async || {
        let found = testbed.reader.versions(&[key("lifted.a"), key("lifted.b")]).await.unwrap();
        found.into_iter().map(|(key, version, _)| (key.data_id().to_owned(), version.0)).collect::<BTreeMap<_, _>>()
    };
    for name in ["lifted.a", "lifted.b"] {
        written(testbed.writer.commit(acked(vec![unit(vec![put(&key(name), "1")])], Vec::new())).await.unwrap());
    }
    let (revision, before) = (testbed.writer.observe().await.unwrap().revision.0, versions().await);
    let (one, _) = join(&testbed, "one", "one").await;
    let begin = async |known: u64, evidence: Evidence| {
        let known = Extent::new(Timeline(1), Version(known));
        testbed.writer.begin_timeline(Timeline(1), known, &evidence).await.unwrap()
    };
    assert_eq!(begin(revision, Evidence::Behind).await, BeginResult::Missed, "nothing is lost");
    let row = |version| Evidence::Row(key("lifted.b"), Version(version));
    assert_eq!(begin(0, row(before["lifted.b"])).await, BeginResult::Missed, "the row is there");
    assert_eq!(begin(revision + 5, Evidence::Behind).await, BeginResult::Begun);
    for evidence in [Evidence::Behind, Evidence::Foreign, row(before["lifted.b"] + 1)] {
        assert_eq!(begin(revision + 9, evidence).await, BeginResult::Missed, "somebody did already");
    }
    let lifted = before.iter().map(|(name, version)| (name.clone(), version + 1_000_005)).collect::<BTreeMap<_, _>>();
    assert_eq!(versions().await, lifted, "above everything that was given, in the same order");
    let seen = testbed.writer.observe().await.unwrap();
    assert_eq!((seen.timeline, seen.revision, seen.rows.len()), (Timeline(2), Version(revision + 1_000_005), 0));
    assert!(!testbed.writer.renew(&node("one"), one).await.unwrap());
    let decision = testbed.writer.commit(commit_of("one", vec![])).await.unwrap();
    assert_eq!(decision, Decision::TimelineChanged(Timeline(2)));
}

async fn a_row_that_is_older_and_another_database_begin_a_timeline_too(testbed: Arc<Testbed>) {
    written(testbed.writer.commit(acked(vec![unit(vec![put(&key("k"), "1")])], Vec::new())).await.unwrap());
    let mut seen = testbed.writer.observe().await.unwrap();
    for evidence in [Evidence::Row(key("k"), Version(u64::MAX >> 1)), Evidence::Foreign] {
        let begun = testbed.writer.begin_timeline(seen.timeline, Extent::default(), &evidence).await.unwrap();
        assert_eq!(begun, BeginResult::Begun, "{evidence:?}");
        let now = testbed.writer.observe().await.unwrap();
        assert!(now.extent() > seen.extent() && now.revision > seen.revision);
        seen = now;
    }
}

async fn a_database_says_which_one_it_is(testbed: Arc<Testbed>) {
    let identity = testbed.writer.observe().await.unwrap().identity;
    assert!(!identity.cluster.is_empty());
    let says = (!identity.system.is_empty(), !identity.branch.is_empty());
    let expected = match testbed.writer.backend() {
        crate::store::Backend::Sqlite => (false, false),
        crate::store::Backend::Postgres => (true, true),
        crate::store::Backend::MySql => (false, true),
    };
    assert_eq!(says, expected, "{identity:?}");
    assert_eq!(testbed.writer.observe().await.unwrap().identity, identity);
}
