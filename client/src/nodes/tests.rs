//! Tests of the choice of a node.

use std::collections::HashSet;

use proptest::prelude::*;

use super::{Nodes, with_port};

fn nodes(names: &[&str]) -> Nodes {
    Nodes::new(&owned(names))
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

#[test]
fn an_address_without_a_port_gets_the_default_one() {
    for (given, expected) in [
        ("host", "host:8850"),
        ("host:1", "host:1"),
        (" 10.0.0.1 ", "10.0.0.1:8850"),
        ("::1", "[::1]:8850"),
        ("[::1]", "[::1]:8850"),
        ("[::1]:9", "[::1]:9"),
    ] {
        assert_eq!(with_port(given), expected);
    }
}

#[test]
fn the_node_of_a_lost_session_is_the_last_choice() {
    let mut nodes = nodes(&["a:1", "b:1"]);
    let first = nodes.next(0.0);
    nodes.welcomed(&[]);
    assert_ne!(nodes.next(0.0), first);
    assert_eq!(nodes.next(0.0), first);
}

#[test]
fn a_lone_node_is_tried_again_and_again() {
    let mut nodes = nodes(&["a:1"]);
    for _ in 0..3 {
        assert_eq!(nodes.next(0.9), "a:1");
    }
}

#[test]
fn nodes_named_by_one_that_goes_away_come_first() {
    let mut nodes = nodes(&["a:1", "b:1"]);
    nodes.next(0.0);
    nodes.welcomed(&[]);
    nodes.told_to_go(&owned(&["c:1"]));
    assert_eq!(nodes.next(0.0), "c:1");
    assert_eq!(nodes.next(0.0), "b:1");
}

#[test]
fn named_nodes_are_bounded_and_replace_those_named_before() {
    let mut nodes = nodes(&["a:1"]);
    nodes.next(0.0);
    nodes.welcomed(&(0..1_000).map(|number| format!("n{number}")).collect::<Vec<_>>());
    assert_eq!(nodes.known().count(), 65);
    nodes.welcomed(&owned(&["a:1", "b:1", "", &"x".repeat(400)]));
    assert_eq!(nodes.known().count(), 2);
}

proptest! {
    #[test]
    fn each_round_tries_every_node(chances in prop::collection::vec(0.0..=1.0_f64, 8)) {
        let mut nodes = nodes(&["a:1", "b:1", "c:1", "d:1"]);
        let first: HashSet<_> = chances[..4].iter().map(|chance| nodes.next(*chance)).collect();
        prop_assert_eq!(first.len(), 4);
        // The next round leaves out the one that failed last.
        let second: HashSet<_> = chances[4..7].iter().map(|chance| nodes.next(*chance)).collect();
        prop_assert_eq!(second.len(), 3);
    }
}
