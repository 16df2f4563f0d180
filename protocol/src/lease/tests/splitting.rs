//! Other databases: one that took the place of the one that was known, and nodes that have their leases elsewhere.

use super::*;

fn identity(branch: &str) -> DatabaseIdentity {
    DatabaseIdentity { cluster: "c".to_owned(), system: "s".to_owned(), branch: branch.to_owned() }
}

/// What a database of this branch says.
fn of(branch: &str, observation: Observation) -> Observation {
    Observation { identity: identity(branch), ..observation }
}

fn announced(branch: &str, renew_seq: u64, revision: u64) -> Event {
    Event::PeerAnnouncement(Announcement {
        node: node("b"),
        incarnation: Some(life(1)),
        renew_seq,
        database: identity(branch).fingerprint(),
        extent: extent(revision),
    })
}

/// A member on branch `1`, linked to `b`, which has a row there; at 1.5 s.
fn member() -> Script {
    let mut script = Script::member(&[row("b", life(1), 1)]);
    script.at(1_500);
    script.renewed(0, &of("1", script.rows(0, 2, &[row("b", life(1), 2)])));
    script
}

#[test]
fn a_linked_node_that_stays_in_another_database_stops_all_publishes() {
    let mut script = member();
    assert!(script.step(announced("1", 2, 0)).is_empty());
    assert_eq!(script.step(announced("2", 2, 0)), ["tell 0 r0 [a b] waits"], "it, or this node, may follow");
    assert_eq!(script.step(announced("2", 3, 9)), ["tell 0 r0 [a b] split from b"], "it was renewed there");
    let apart = script.machine.membership(Mono::default(), None).gate;
    let CommitGate::Split(split) = apart else { panic!("{apart:?}") };
    assert_eq!((split.theirs, split.ours), (extent(9), extent(0)));
    assert_eq!(script.step(announced("1", 4, 9)), ["tell 0 r9 [a b]"], "it has followed");
}

#[test]
fn a_node_that_follows_only_makes_publishes_wait() {
    let mut script = member();
    script.step(announced("1", 2, 0));
    script.at(3_000);
    let waits = script.renewed(0, &of("2", script.rows(0, 3, &[row("b", life(1), 2)])));
    assert_eq!(waits, ["extend 0 until 8940", "tell 0 r0 [a b] waits"], "this node was the first to follow");
    assert_eq!(script.step(announced("1", 3, 0)), ["tell 0 r0 [a b] split from b"], "and is alone");
    assert_eq!(script.step(announced("2", 4, 0)), ["tell 0 r0 [a b]"]);
}

#[test]
fn who_is_not_linked_or_has_no_lease_any_more_stops_nobody() {
    let mut script = member();
    assert_eq!(script.step(announced("2", 2, 0)), ["tell 0 r0 [a b] waits"]);
    assert_eq!(script.linked(&["c"]), ["tell 0 r0 [a b]"]);
    assert_eq!(script.linked(&["b", "c"]), ["tell 0 r0 [a b] waits"]);
    let Event::PeerAnnouncement(said) = announced("2", 2, 0) else { unreachable!() };
    let left = Event::PeerAnnouncement(Announcement { incarnation: None, renew_seq: 0, ..said });
    assert_eq!(script.step(left), ["tell 0 r0 [a b]"]);
    script.step(announced("2", 2, 0));
    let lease_is_over = 1_500 + 6_360;
    script.at(lease_is_over - 1);
    assert!(script.at(lease_is_over).contains(&"tell 0 r0 [a b~]".to_owned()));
}

#[test]
fn two_databases_that_name_themselves_alike_are_told_apart_by_their_rows() {
    let mut script = member();
    let renewed = |script: &mut Script, at, theirs, own| {
        script.step(announced("1", theirs, 0));
        script.at(at);
        script.renewed(0, &of("1", script.rows(0, own, &[row("b", life(1), 2)]))).pop().unwrap()
    };
    assert_eq!(renewed(&mut script, 3_000, 3, 3), "tell 0 r0 [a b]", "the row may have been lost");
    assert_eq!(renewed(&mut script, 4_500, 4, 4), "tell 0 r0 [a b] split from b");
}

#[test]
fn what_a_node_in_the_same_database_knows_counts_and_no_other() {
    let mut script = member();
    script.step(announced("2", 2, 70));
    script.step(announced("1", 2, 50));
    script.at(3_000);
    assert_eq!(script.renewed(0, &of("1", seen(49, &[row("a", own(0), 3)]))), ["extend 0 until 8940", "flush"]);
    assert_eq!(script.step(Event::Flushed), ["tell - r50 [a b]", "begin after 1 at 50"]);
}

#[test]
fn a_row_that_is_older_than_what_was_committed_begins_another_timeline() {
    let mut script = member();
    let key = crate::key::ConfigKey::new("", "g", "x").unwrap();
    assert_eq!(script.step(Event::RowLost { key, version: Version(7) }), ["flush"]);
    assert_eq!(script.step(Event::Flushed), ["tell - r0 [a b]", "begin after 1 at 0 x 7"]);
    script.step(Event::TimelineBegun(BeginResult::Missed));
    assert_eq!(script.at(1_750), ["join 1"]);
}

fn remembering(is_complete: bool) -> Script {
    let mut script = Script::new(LeaseMode::Renewed);
    script.machine = script.machine.remembering(LastKnown { extent: extent(50), identity: identity("1"), is_complete });
    script.linked(&["b", "c"]);
    script
}

#[test]
fn a_database_that_went_back_while_the_node_was_down_begins_another_timeline() {
    let mut script = remembering(true);
    assert_eq!(script.observed(&of("1", seen(49, &[]))), ["flush"]);
    assert_eq!(script.step(Event::Flushed), ["tell - r50 []", "begin after 1 at 50"]);
    assert_eq!(script.kept, None, "what was known stands until it is answered for");
    script.step(Event::TimelineBegun(BeginResult::Begun));
    assert_eq!(script.at(250), ["observe"]);
    let begun = Observation { timeline: Timeline(2), ..of("1", seen(1_000_050, &[row("a", own(0), 1)])) };
    assert_eq!(script.observed(&begun), ["tell - r1000050 [a]", "join 0"]);
    script.joined(0, &begun);
    script.step(Event::Admitted);
    let kept = LastKnown { extent: begun.extent(), identity: identity("1"), is_complete: false };
    assert_eq!(script.kept, Some((kept, true)));
}

#[test]
fn one_that_was_promoted_while_a_killed_node_was_down_begins_another_timeline_once() {
    let mut script = remembering(true);
    assert_eq!(script.observed(&of("2", seen(50, &[]))), ["tell - r50 []", "join 0"], "it had left in order");
    let mut script = remembering(false);
    assert_eq!(script.observed(&of("2", seen(60, &[]))), ["flush"]);
    assert_eq!(script.step(Event::Flushed)[1], "begin after 1 at 50 foreign");
    script.step(Event::TimelineBegun(BeginResult::Missed));
    assert_eq!(script.at(250), ["observe"]);
    let begun = Observation { timeline: Timeline(2), ..of("2", seen(1_000_060, &[])) };
    assert_eq!(script.observed(&begun), ["tell - r1000060 []", "join 0"], "another node was faster");
}

#[test]
fn what_is_known_is_kept_with_each_lease_and_with_each_commit() {
    let mut script = member();
    let known = |revision, is_complete| LastKnown { extent: extent(revision), identity: identity("1"), is_complete };
    assert_eq!(script.kept.take(), Some((known(0, false), true)));
    script.step(Event::CommitObserved(extent(5)));
    assert_eq!(script.kept.take(), Some((known(5, false), false)), "with the commit");
    script.step(Event::CommitObserved(extent(5)));
    assert_eq!(script.kept, None);
    script.at(3_000);
    script.renewed(0, &of("1", seen(5, &[row("a", own(0), 3)])));
    assert_eq!(script.kept.take(), Some((known(5, false), true)), "with the lease");
    script.at(4_500);
    script.renewed(0, &of("1", seen(5, &[row("a", own(0), 4)])));
    assert_eq!(script.kept, None, "nothing is new");
    script.step(Event::Leave);
    script.step(Event::Flushed);
    assert_eq!(script.step(Event::Released), ["left"]);
    assert_eq!(script.kept, Some((known(5, true), true)));
}

#[test]
fn a_node_that_was_split_from_another_and_follows_begins_another_timeline() {
    let mut script = member();
    script.step(announced("2", 2, 0));
    script.step(announced("2", 3, 9));
    script.at(3_000);
    let followed = script.renewed(0, &of("2", script.rows(0, 3, &[row("b", life(1), 4)])));
    assert_eq!(followed, ["extend 0 until 8940", "flush"], "what it was told before may be something else here");
    assert_eq!(script.step(Event::Flushed)[1], "begin after 1 at 0 foreign");
}
