//! Other rows: fenced by the own clock, waited out, looked at sooner when one is about to go.

use super::*;

/// What a janitor waits, in milliseconds.
const FENCED_AFTER: u64 = 6_360;

#[test]
fn a_row_is_fenced_when_it_stood_still_on_the_own_clock() {
    let mut script = Script::member(&[row("b", life(1), 7)]);
    for at in [1_500, 3_000, 4_500, 6_000] {
        assert_eq!(script.at(at), ["renew 0"]);
        script.renewed(0, &script.rows(0, at, &[row("b", life(1), 7)]));
    }
    assert_eq!(script.next(), Some(u128::from(FENCED_AFTER)), "counted from when it was first seen");
    assert_eq!(script.at(FENCED_AFTER), ["fence b1 at 7"]);
    assert_eq!(script.next(), Some(7_500), "told once");
    let fenced = Event::Fenced { node: node("b"), result: FenceResult::Fenced };
    assert_eq!(script.step(fenced), ["renew 0"], "looked at once");
    assert_eq!(script.renewed(0, &script.rows(0, 6, &[])), ["extend 0 until 12300", "tell 0 r0 [a]"]);
}

#[test]
fn a_row_that_moves_is_never_fenced() {
    let mut script = Script::member(&[row("b", life(1), 1)]);
    for round in 1..40 {
        assert_eq!(script.at(round * 1_500), ["renew 0"]);
        script.renewed(0, &script.rows(0, round, &[row("b", life(1), round / 4)]));
    }
    let told = script.at(40 * 1_500);
    assert_eq!(told, ["renew 0"], "four renewals apart is often enough");
}

#[test]
fn another_life_in_a_row_counts_anew() {
    let mut script = Script::member(&[row("b", life(1), 7)]);
    script.at(6_000);
    script.renewed(0, &script.rows(0, 2, &[row("b", life(2), 7)]));
    assert_eq!(script.at(FENCED_AFTER), [] as [&str; 0]);
    script.at(7_500);
    script.renewed(0, &script.rows(0, 3, &[row("b", life(2), 7)]));
    assert_eq!(script.at(6_000 + FENCED_AFTER), ["fence b2 at 7", "renew 0"]);
}

#[test]
fn a_fence_that_missed_counts_from_its_answer_and_one_that_failed_is_repeated() {
    let still = || {
        let mut script = Script::member(&[row("b", life(1), 7)]);
        assert_eq!(script.at(FENCED_AFTER), ["fence b1 at 7", "renew 0"]);
        script.now += 100;
        script.renewed(0, &script.rows(0, 2, &[row("b", life(1), 7)]));
        script
    };
    let mut script = still();
    script.step(Event::Fenced { node: node("b"), result: FenceResult::Missed });
    script.renewed(0, &script.rows(0, 3, &[row("b", life(1), 7)]));
    script.at(2 * FENCED_AFTER);
    script.renewed(0, &script.rows(0, 4, &[row("b", life(1), 7)]));
    assert_eq!(script.at(2 * FENCED_AFTER + 100), ["fence b1 at 7"]);
    let mut script = still();
    script.step(Event::Fenced { node: node("b"), result: FenceResult::Failed });
    script.renewed(0, &script.rows(0, 3, &[row("b", life(1), 7)]));
    assert_eq!(script.at(FENCED_AFTER + 350), ["fence b1 at 7"]);
}

#[test]
fn the_answer_of_a_fence_says_nothing_of_the_row_that_came_after() {
    let mut script = Script::member(&[row("b", life(1), 7)]);
    script.at(FENCED_AFTER);
    script.renewed(0, &script.rows(0, 2, &[row("b", life(2), 1)]));
    script.step(Event::Fenced { node: node("b"), result: FenceResult::Fenced });
    script.linked(&["b"]);
    let told = script.step(Event::Renewed { incarnation: own(0), result: RenewResult::Renewed(None) });
    assert_eq!(told, ["extend 0 until 12300"]);
    assert!(script.machine.watched.rows().any(|row| row.incarnation == life(2)));
}

#[test]
fn the_own_life_is_never_fenced() {
    let mut script = Script::member(&[]);
    script.at(1_500);
    script.now = 60_000;
    script.renewed(0, &script.rows(0, 1, &[]));
    for at in [60_010, 61_500, 70_000, 90_000] {
        let told = script.at(at);
        assert!(told.iter().all(|effect| effect == "renew 0"), "{told:?}");
        script.step(Event::Renewed { incarnation: own(0), result: RenewResult::Failed });
    }
}

#[test]
fn an_own_row_of_another_process_is_waited_out_and_fenced() {
    let mut script = Script::new(LeaseMode::Renewed);
    script.tick();
    let old = [row("a", life(77), 3)];
    assert_eq!(script.observed(&seen(0, &old)), ["tell - r0 [a]", "join 0"], "perhaps its death is proven");
    let held = |script: &mut Script, number| {
        let result = JoinResult::Held(seen(0, &old));
        script.step(Event::Joined { incarnation: own(number), result })
    };
    assert_eq!(held(&mut script, 0), ["tell - r0 [a]"]);
    for (number, at) in [(1, 1_500), (2, 3_000), (3, 4_500), (4, 6_000)] {
        assert_eq!(script.at(at), [format!("join {number}")]);
        held(&mut script, number);
    }
    assert_eq!(script.at(FENCED_AFTER), ["fence a77 at 3"]);
    assert_eq!(script.step(Event::Fenced { node: node("a"), result: FenceResult::Fenced }), ["observe"]);
    assert_eq!(script.observed(&seen(0, &[])), ["tell - r0 []"]);
    assert_eq!(script.at(7_500), ["join 5"]);
}

#[test]
fn a_row_that_is_about_to_go_is_looked_at_soon() {
    let mut script = Script::member(&[row("b", life(1), 1)]);
    script.at(1_500);
    let told = script.renewed(0, &script.rows(0, 2, &[revoked(row("b", life(1), 1))]));
    assert_eq!(told, ["extend 0 until 7440", "tell 0 r0 [a b!]"]);
    assert_eq!(script.next(), Some(1_750));
    script.at(1_750);
    script.renewed(0, &script.rows(0, 3, &[]));
    assert_eq!(script.next(), Some(3_250), "it is gone: as often as before");
    assert_eq!(script.step(Event::Refresh), ["renew 0"], "and at once when asked");
}

#[test]
fn a_row_that_stood_still_shows_as_lapsed() {
    let mut script = Script::member(&[row("b", life(1), 7)]);
    script.at(FENCED_AFTER);
    let told = script.renewed(0, &script.rows(0, 2, &[row("b", life(1), 7)]));
    assert_eq!(told[1], "tell 0 r0 [a b~]");
}

#[test]
fn who_could_not_look_for_a_while_gives_the_others_time_to_renew() {
    let options = Options { join_patience: Duration::ZERO, ..Options::default() };
    let machine = Lease::new(options, node("a"), Uuid::from_u128(FIRST << 1), Mono::default());
    let mut script = Script { machine, now: 0, kept: None };
    assert_eq!(script.tick(), ["join 0"]);
    script.joined(0, &script.rows(0, 1, &[row("b", life(1), 7)]));
    script.step(Event::Admitted);
    assert_eq!(script.at(1_500), ["renew 0"]);
    // The database answers nobody: nothing was seen to stand still.
    assert!(script.at(FENCED_AFTER).is_empty());
    script.now = 20_000;
    script.step(Event::Renewed { incarnation: own(0), result: RenewResult::Failed });
    assert!(script.next().is_some_and(|at| at > 20_000), "it waits for a look, not for the past");
    assert_eq!(script.at(20_250), ["renew 0"]);
    let told = script.renewed(0, &script.rows(0, 2, &[row("b", life(1), 7)]));
    assert!(!told.iter().any(|effect| effect.starts_with("fence")), "{told:?}");
    for at in [21_750, 23_250, 24_750, 26_250] {
        assert_eq!(script.at(at), ["renew 0"]);
        script.renewed(0, &script.rows(0, at, &[row("b", life(1), 7)]));
    }
    assert_eq!(script.at(20_250 + FENCED_AFTER), ["fence b1 at 7"]);
}

#[test]
fn a_row_that_another_process_renews_under_the_own_id_is_told_until_it_stands_still() {
    let held = |number| seen(0, &[MemberRow { address: "there".to_owned(), ..row("a", life(3), number) }]);
    let mut script = Script::new(LeaseMode::Renewed);
    assert_eq!(script.tick(), ["observe"]);
    assert_eq!(script.observed(&held(7)), ["tell - r0 [a]", "join 0"], "it may be that of a process that died");
    let refused = |script: &mut Script, number: u128, renew_seq| {
        let result = JoinResult::Held(held(renew_seq));
        script.step(Event::Joined { incarnation: own(number), result })
    };
    assert_eq!(refused(&mut script, 0, 7), ["tell - r0 [a]"]);
    script.now = 1_500;
    script.tick();
    assert_eq!(refused(&mut script, 1, 8), ["tell - r0 [a] beside there"]);
    script.now = 3_000;
    script.tick();
    assert_eq!(refused(&mut script, 2, 8), ["tell - r0 [a] beside there"]);
    script.now = 1_500 + FENCED_AFTER;
    script.tick();
    assert_eq!(refused(&mut script, 3, 8), ["tell - r0 [a~]"], "it died meanwhile");
}

#[test]
fn the_own_row_is_that_of_nobody_else() {
    let mut script = Script::member(&[]);
    for number in 2..6 {
        script.at(number * 1_500);
        assert!(script.renewed(0, &script.rows(0, number, &[])).contains(&"tell 0 r0 [a]".to_owned()));
    }
    // A life that is over, in a row that is not given back yet.
    script.step(Event::Rejoin);
    let told = script.step(Event::Flushed);
    assert!(!told.iter().any(|line| line.contains("beside")), "{told:?}");
}

fn by(member: &str, row: MemberRow) -> MemberRow {
    MemberRow { database_member: member.to_owned(), ..row }
}

#[test]
fn a_node_at_another_member_of_the_database_is_told_once_it_was_seen_to_stay_there() {
    let mut script = Script::new(LeaseMode::Renewed);
    assert_eq!(script.tick(), ["observe"]);
    let rows = |number| seen(0, &[by("db1", row("b", life(1), number))]);
    assert_eq!(script.observed(&rows(7)), ["tell - r0 [b]"]);
    assert_eq!(script.linked(&["b"]), ["join 0"]);
    let refused = |script: &mut Script, number: u128, renew_seq| {
        let result = JoinResult::Elsewhere { observation: rows(renew_seq), ours: "db2".to_owned() };
        script.step(Event::Joined { incarnation: own(number), result })
    };
    assert_eq!(refused(&mut script, 0, 7), ["tell - r0 [b]"], "its row may be older than a switchover");
    assert_eq!(script.at(1_500), ["join 1"]);
    assert_eq!(refused(&mut script, 1, 8), ["tell - r0 [b] b at db1 not db2"]);
    // The one row is taken away when it stands still, and this node joins.
    for (number, at) in [(2, 3_000), (3, 4_500), (4, 6_000), (5, 7_500)] {
        assert_eq!(script.at(at), [format!("join {number}")]);
        refused(&mut script, number, 8);
    }
    assert_eq!(script.at(1_500 + FENCED_AFTER), ["fence b1 at 8"]);
}

#[test]
fn members_of_a_cluster_that_follow_their_database_to_another_member_are_not_apart() {
    let at = |member: &str, number, others: &str, other_number| {
        seen(0, &[by(member, row("a", own(0), number)), by(others, row("b", life(1), other_number))])
    };
    let mut script = Script::member(&[row("b", life(1), 1)]);
    let mut renewed = |millis, observation: &Observation| {
        assert_eq!(script.at(millis), ["renew 0"]);
        script.renewed(0, observation).remove(1)
    };
    assert_eq!(renewed(1_500, &at("db1", 2, "db1", 2)), "tell 0 r0 [a b]");
    assert_eq!(renewed(3_000, &at("db2", 3, "db1", 3)), "tell 0 r0 [a b]", "this one follows first");
    assert_eq!(renewed(4_500, &at("db2", 4, "db2", 4)), "tell 0 r0 [a b]");
    assert_eq!(renewed(6_000, &at("db2", 5, "db3", 5)), "tell 0 r0 [a b]", "the other one does");
    assert_eq!(renewed(7_500, &at("db3", 6, "db3", 6)), "tell 0 r0 [a b]");
    assert_eq!(renewed(9_000, &at("db3", 7, "db1", 7)), "tell 0 r0 [a b]");
    assert_eq!(renewed(10_500, &at("db3", 8, "db1", 8)), "tell 0 r0 [a b] b at db1 not db3", "it stays behind");
    assert_eq!(renewed(12_000, &at("db3", 9, "", 9)), "tell 0 r0 [a b]", "it can't tell");
}
