//! Rows, acks, floors and the look for what landed.

use std::sync::Arc;

use callboard_protocol::commit::{Decision, Standing};
use callboard_protocol::config::Version;
use callboard_protocol::extent::Extent;
use callboard_protocol::lease::Observation;
use callboard_protocol::member::{Ack, AckNo, Incarnation, NodeId, NodeRow};
use uuid::Uuid;

use super::on_every_database;
use super::testbed::{Kind, TIMELINE, Testbed, acked, content, key, put, request, request_id, unit, unit_as, written};
use crate::store::open::Names;
use crate::store::{CommitRequest, JoinRequest, Joined};

on_every_database!(
    a_commit_needs_the_ack_of_every_row,
    a_member_whose_row_is_gone_is_told,
    an_old_row_is_replaced_with_proof_only,
    the_only_node_of_a_database_takes_the_rows_of_others_away,
    a_node_that_no_member_understands_is_not_let_in,
    a_node_at_another_member_of_the_database_is_not_let_in_beside_one,
    raising_the_floor_to_where_it_is_still_finds_the_row,
    a_fenced_node_can_not_raise_its_floor,
    a_look_finds_what_landed_with_its_states,
);

pub(super) fn node(name: &str) -> NodeId {
    NodeId(name.into())
}

pub(super) fn life() -> Incarnation {
    Incarnation(Uuid::new_v4())
}

pub(super) fn request_for(name: &str, boot_id: &str) -> JoinRequest {
    let incarnation = life();
    JoinRequest {
        node: node(name),
        incarnation,
        first_life: incarnation,
        boot_id: boot_id.to_owned(),
        address: "127.0.0.1:8851".to_owned(),
        versions: (1, 2),
        is_alone: false,
    }
}

/// Joins as the process of data directory `boot_id`.
pub(super) async fn join(testbed: &Testbed, name: &str, boot_id: &str) -> (Incarnation, Joined) {
    let request = request_for(name, boot_id);
    (request.incarnation, testbed.writer.join(request).await.unwrap())
}

pub(super) fn member(joined: Joined) -> Observation {
    match joined {
        Joined::Member(observation) => observation,
        other => panic!("no member: {other:?}"),
    }
}

async fn a_commit_needs_the_ack_of_every_row(testbed: Arc<Testbed>) {
    let (one, joined) = join(&testbed, "one", "one").await;
    let joined = member(joined);
    assert_eq!((joined.revision, joined.timeline, joined.rows.len()), (Version::ZERO, TIMELINE, 1));
    let (two, joined) = join(&testbed, "two", "two").await;
    assert_eq!(member(joined).rows.len(), 2);
    let (one_row, two_row) = (
        NodeRow { node: node("one"), incarnation: one, ack_floor: AckNo(0) },
        NodeRow { node: node("two"), incarnation: two, ack_floor: AckNo(6) },
    );
    testbed.writer.raise_floor(&node("two"), two, AckNo(5), &[]).await.unwrap().unwrap();
    let ack = |name: &str, incarnation, number| Ack {
        node: node(name),
        incarnation,
        number: AckNo(number),
        known: Extent::default(),
    };
    let units = || vec![unit_as("u", vec![put(&key("a"), "1")])];
    for (acks, missing) in [
        (vec![], vec![one_row.clone(), two_row.clone()]),
        (vec![ack("one", one, 1)], vec![two_row.clone()]),
        (vec![ack("one", life(), 1), ack("two", two, 6)], vec![one_row]),
        (vec![ack("one", one, 1), ack("two", two, 5)], vec![two_row]),
    ] {
        let Decision::NeedAcks(mut rows) = testbed.writer.commit(acked(units(), acks)).await.unwrap() else {
            panic!("written without the acks");
        };
        rows.sort_by(|a, b| a.node.cmp(&b.node));
        assert_eq!(rows, missing);
        assert_eq!(testbed.revision().await, Version::ZERO);
    }
    let acks = vec![ack("one", one, 1), ack("two", two, 6)];
    let commit = CommitRequest { standing: Standing::Member(node("one")), ..acked(units(), acks) };
    assert_eq!(written(testbed.writer.commit(commit).await.unwrap()).revision, Version(1));
}

async fn a_member_whose_row_is_gone_is_told(testbed: Arc<Testbed>) {
    let (one, _) = join(&testbed, "one", "one").await;
    assert!(!testbed.writer.release(&node("one"), life()).await.unwrap());
    assert!(testbed.writer.release(&node("one"), one).await.unwrap());
    assert!(!testbed.writer.release(&node("one"), one).await.unwrap());
    let standing = Standing::Member(node("one"));
    let commit = CommitRequest { standing, ..request(vec![unit(vec![put(&key("a"), "1")])]) };
    assert_eq!(testbed.writer.commit(commit).await.unwrap(), Decision::NotMember);
}

async fn an_old_row_is_replaced_with_proof_only(testbed: Arc<Testbed>) {
    let (old, _) = join(&testbed, "one", "here").await;
    testbed.publish_as(&node("one"), old).await;
    // Another data directory, or another machine, proves nothing; nor does one that can't be named.
    for elsewhere in ["there", ""] {
        let (_, joined) = join(&testbed, "one", elsewhere).await;
        let Joined::Held(seen) = joined else { panic!("{joined:?}") };
        assert_eq!((seen.rows.len(), seen.rows[0].incarnation), (1, old));
    }
    let (new, joined) = join(&testbed, "one", "here").await;
    assert_eq!((member(joined).revision, Version(1)), (Version(1), Version(1)));
    assert_eq!(testbed.writer.raise_floor(&node("one"), old, AckNo(1), &[]).await.unwrap(), None);
    testbed.publish_as(&node("one"), new).await;
    // A process replaces its own former lives, and never one that began after the life it asks for.
    let (first, second) = (Incarnation(Uuid::from_u128(10)), Incarnation(Uuid::from_u128(11)));
    let proven = JoinRequest { incarnation: first, first_life: first, ..request_for("one", "here") };
    member(testbed.writer.join(proven).await.unwrap());
    let next = |incarnation| JoinRequest { incarnation, first_life: first, ..request_for("one", "") };
    member(testbed.writer.join(next(second)).await.unwrap());
    let late = JoinRequest { boot_id: "here".to_owned(), ..next(first) };
    for late in [next(first), late, JoinRequest { is_alone: true, ..next(first) }] {
        let joined = testbed.writer.join(late).await.unwrap();
        assert!(matches!(joined, Joined::Held(_)), "{joined:?}");
    }
    // Whatever stands there, the lock of the only node's file is proof.
    member(testbed.writer.join(JoinRequest { is_alone: true, ..request_for("one", "") }).await.unwrap());
}

async fn the_only_node_of_a_database_takes_the_rows_of_others_away(testbed: Arc<Testbed>) {
    // Rows of a process that was killed under other names, one of them of a program that nobody understands any more.
    member(testbed.writer.join(JoinRequest { versions: (1, 1), ..request_for("old", "there") }).await.unwrap());
    member(testbed.writer.join(JoinRequest { versions: (1, 1), ..request_for("older", "there") }).await.unwrap());
    let alone = JoinRequest { is_alone: true, versions: (2, 3), ..request_for("new", "here") };
    let seen = member(testbed.writer.join(alone.clone()).await.unwrap());
    assert_eq!(seen.rows.iter().map(|row| row.node.clone()).collect::<Vec<_>>(), [node("new")]);
    testbed.publish_as(&node("new"), alone.incarnation).await;
}

async fn a_node_that_no_member_understands_is_not_let_in(testbed: Arc<Testbed>) {
    member(testbed.writer.join(JoinRequest { versions: (1, 1), ..request_for("old", "old") }).await.unwrap());
    let joined = testbed.writer.join(JoinRequest { versions: (2, 3), ..request_for("new", "new") }).await.unwrap();
    assert_eq!(joined, Joined::Incompatible { node: node("old") });
    let joined = testbed.writer.join(JoinRequest { versions: (1, 2), ..request_for("new", "new") }).await.unwrap();
    assert_eq!(member(joined).rows.len(), 2);
    // Between the two nobody stands in the way of what both speak.
    let joined = testbed.writer.join(JoinRequest { versions: (1, 3), ..request_for("third", "third") }).await.unwrap();
    assert_eq!(member(joined).rows.len(), 3);
}

impl Testbed {
    async fn publish_as(&self, node: &NodeId, incarnation: Incarnation) {
        let ack = Ack { node: node.clone(), incarnation, number: AckNo(1), known: Extent::default() };
        let units = vec![unit(vec![put(&key("a"), &incarnation.0.to_string())])];
        written(self.writer.commit(acked(units, vec![ack])).await.unwrap());
    }
}

async fn a_node_at_another_member_of_the_database_is_not_let_in_beside_one(testbed: Arc<Testbed>) {
    let at = |member| testbed.writer.clone().named_by(Names { member: Some(member), ..Names::NONE });
    let members = |seen: Observation| -> Vec<String> { seen.rows.into_iter().map(|row| row.database_member).collect() };
    let one = request_for("one", "here");
    let seen = member(at("'db1 (a:1)'").join(one.clone()).await.unwrap());
    assert_eq!(members(seen), ["db1 (a:1)"]);
    member(at("'db1 (a:1)'").join(request_for("two", "there")).await.unwrap());
    let joined = at("'db2 (b:1)'").join(request_for("three", "over there")).await.unwrap();
    let Joined::Elsewhere { observation, ours } = joined else { panic!("{joined:?}") };
    assert_eq!((observation.rows.len(), &*ours), (2, "db2 (b:1)"));
    // What a former life of the same process left behind is not among those who live elsewhere.
    let joined = at("'db2 (b:1)'").join(one.clone()).await.unwrap();
    let Joined::Elsewhere { observation, .. } = joined else { panic!("{joined:?}") };
    assert_eq!(observation.rows.iter().map(|row| &*row.node.0).collect::<Vec<_>>(), ["two"]);
    // Who renews by another member says so; who can't tell is let in.
    assert!(at("'db2 (b:1)'").renew(&one.node, one.incarnation).await.unwrap());
    assert_eq!(members(testbed.writer.observe().await.unwrap()).iter().filter(|name| *name == "db2 (b:1)").count(), 1);
    member(join(&testbed, "four", "elsewhere").await.1);
    // A node that begins anew is not compared with the row that it left behind.
    testbed.administer("DELETE FROM cc_node WHERE node <> 'one'").await;
    member(at("'db3 (c:1)'").join(request_for("one", "here")).await.unwrap());
}

async fn raising_the_floor_to_where_it_is_still_finds_the_row(testbed: Arc<Testbed>) {
    let (one, _) = join(&testbed, "one", "one").await;
    for above in [3, 3, 1] {
        let landed = testbed.writer.raise_floor(&node("one"), one, AckNo(above), &[]).await.unwrap();
        assert_eq!(landed.unwrap().revision, Version::ZERO);
    }
    let decision = testbed.writer.commit(request(vec![unit(vec![put(&key("a"), "1")])])).await.unwrap();
    let row = NodeRow { node: node("one"), incarnation: one, ack_floor: AckNo(4) };
    assert_eq!(decision, Decision::NeedAcks(vec![row]));
}

async fn a_fenced_node_can_not_raise_its_floor(testbed: Arc<Testbed>) {
    let (one, _) = join(&testbed, "one", "one").await;
    testbed.administer("DELETE FROM cc_node").await;
    assert_eq!(testbed.writer.raise_floor(&node("one"), one, AckNo(1), &[]).await.unwrap(), None);
}

async fn a_look_finds_what_landed_with_its_states(testbed: Arc<Testbed>) {
    let (a, b, c) = (key("a"), key("b"), key("c"));
    testbed
        .commit(vec![unit_as("first", vec![put(&a, "1"), put(&b, "1")]), unit_as("other", vec![put(&c, "1")])])
        .await;
    testbed.publish(&b, "2").await;
    let ids = [request_id("first"), request_id("never")];
    let (one, _) = join(&testbed, "one", "one").await;
    let raised = testbed.writer.raise_floor(&node("one"), one, AckNo(9), &ids).await.unwrap().unwrap();
    assert_eq!(raised.revision, Version(3));
    assert_eq!(raised.units.len(), 1);
    assert_eq!((raised.units[0].0.as_str(), raised.units[0].1.items.len()), ("first", 2));
    let states: Vec<_> = raised.states.iter().map(|state| (state.key.clone(), state.formal.clone())).collect();
    assert_eq!(states, [(a, Some(content("1"))), (b, Some(content("2")))]);
    // What is told of as done is durable: where it need not be yet, it is made so.
    let vouched = i64::from(testbed.kind == Kind::MySql);
    let commits = testbed.commits_of_nothing().await;
    assert_eq!(testbed.writer.look_locked(&ids).await.unwrap(), raised);
    assert_eq!(testbed.commits_of_nothing().await - commits, vouched);
    let again = testbed.writer.raise_floor(&node("one"), one, AckNo(9), &ids).await.unwrap();
    assert_eq!((again.as_ref(), testbed.commits_of_nothing().await - commits), (Some(&raised), 2 * vouched));
    assert_eq!(testbed.reader.look(&ids).await.unwrap(), raised);
    let nothing = testbed.reader.look(&[]).await.unwrap();
    assert_eq!((nothing.revision, nothing.units.len()), (Version(3), 0));
}
