//! Who has to have acknowledged before anything is written.

use super::*;

fn node(name: &str) -> NodeId {
    NodeId(name.into())
}

fn row(name: &str, life: u128, floor: u64) -> NodeRow {
    NodeRow { node: node(name), incarnation: Incarnation(Uuid::from_u128(life)), ack_floor: AckNo(floor) }
}

fn ack(name: &str, life: u128, number: u64) -> Ack {
    Ack {
        node: node(name),
        incarnation: Incarnation(Uuid::from_u128(life)),
        number: AckNo(number),
        known: Extent::default(),
    }
}

fn decided(nodes: &[NodeRow], standing: &Standing, acks: &[Ack]) -> Decision {
    let snapshot = Snapshot { nodes: nodes.to_vec(), ..snapshot() };
    decide(snapshot, &[unit("r", vec![put("k", "1")])], TIMELINE, standing, acks, AT)
}

#[test]
fn every_row_must_have_acknowledged() {
    let nodes = [row("a", 1, 0), row("b", 2, 5)];
    let member = Standing::Member(node("a"));
    let both = [ack("a", 1, 3), ack("b", 2, 5)];
    assert!(matches!(decided(&nodes, &member, &both), Decision::Write(_)));
    let missing = |acks: &[Ack]| match decided(&nodes, &member, acks) {
        Decision::NeedAcks(rows) => rows.iter().map(|row| row.node.to_string()).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(missing(&[]), ["a", "b"]);
    assert_eq!(missing(&[ack("a", 1, 3)]), ["b"]);
    assert_eq!(missing(&[ack("b", 2, 5)]), ["a"], "its own ack counts like any other");
    assert_eq!(missing(&[ack("a", 1, 3), ack("b", 3, 9)]), ["b"], "another life");
    assert_eq!(missing(&[ack("a", 1, 3), ack("b", 2, 4)]), ["b"], "taken back");
    assert_eq!(missing(&[ack("a", 1, 3), ack("c", 2, 5)]), ["b"], "another node");
    assert_eq!(missing(&[ack("a", 9, 3), ack("b", 2, 5)]), ["a"], "its own former life");
}

#[test]
fn one_good_ack_among_bad_ones_is_enough_and_strangers_do_no_harm() {
    let acks = [ack("a", 9, 9), ack("a", 1, 0), ack("a", 1, 7), ack("stranger", 4, 1)];
    let decision = decided(&[row("a", 1, 7)], &Standing::Member(node("a")), &acks);
    assert!(matches!(decision, Decision::Write(_)));
}

#[test]
fn a_publisher_whose_row_is_gone_must_join_again() {
    let member = Standing::Member(node("a"));
    assert_eq!(decided(&[], &member, &[ack("a", 1, 1)]), Decision::NotMember);
    assert_eq!(decided(&[row("b", 2, 0)], &member, &[ack("a", 1, 1), ack("b", 2, 0)]), Decision::NotMember);
    // Said before the acks are counted: after joining, it notifies anew anyway.
    assert_eq!(decided(&[row("b", 2, 0)], &member, &[]), Decision::NotMember);
}

#[test]
fn a_publisher_without_a_row_still_needs_the_acks_of_those_that_have_one() {
    let nodes = [row("b", 2, 0)];
    assert_eq!(decided(&nodes, &Standing::Direct, &[]), Decision::NeedAcks(nodes.to_vec()));
    assert!(matches!(decided(&nodes, &Standing::Direct, &[ack("b", 2, 0)]), Decision::Write(_)));
    assert!(matches!(decided(&[], &Standing::Direct, &[]), Decision::Write(_)));
}

#[test]
fn another_line_of_history_stops_everything() {
    let units = [unit("r", vec![put("k", "1")])];
    let member = Standing::Member(node("a"));
    let decision = decide(snapshot(), &units, Timeline(TIMELINE.0 + 1), &member, &[], AT);
    assert_eq!(decision, Decision::TimelineChanged(TIMELINE));
}
