//! Tests of gossip: of whole clusters under virtual time, and of what may come in. The actor is tested with the
//! cluster listener.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod incoming;
mod testbed;

use std::time::Duration;

use callboard_protocol::membership_view::{Life, Status};

use testbed::{Testbed, address, alias};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn nodes_that_start_find_each_other() {
    for seed in 0..40 {
        let mut testbed = Testbed::new(seed);
        testbed.loss = 0.02;
        for index in 0..5 {
            testbed.start(index);
            testbed.run(Duration::from_millis(100));
        }
        let took = testbed.until(3 * SECOND, |testbed| testbed.all_see(Life::Alive));
        assert!(took.is_some(), "seed {seed}");
    }
}

#[test]
fn a_seed_may_be_named_by_an_address_that_it_does_not_know() {
    let mut testbed = Testbed::new(1);
    testbed.start_at(0, 1_000, Vec::new());
    testbed.start_at(1, 1_000, vec![alias(0)]);
    assert!(testbed.until(2 * SECOND, |testbed| testbed.all_see(Life::Alive)).is_some());
    assert_eq!(testbed.sees(1, 0).unwrap().addresses.peer, Some(address(0)));
}

#[test]
fn a_kill_is_seen_within_eight_seconds() {
    for nodes in [2, 3, 5, 9] {
        let mut longest = Duration::ZERO;
        for seed in 0..30 {
            let mut testbed = Testbed::settled(seed, nodes);
            testbed.loss = 0.01;
            testbed.kill(1);
            let took = testbed.until(20 * SECOND, |testbed| testbed.seen_by_all(1, Life::Down));
            longest = longest.max(took.unwrap_or(20 * SECOND));
        }
        assert!(longest <= 8 * SECOND, "{nodes} nodes: {longest:?}");
    }
}

#[test]
fn a_node_that_comes_back_is_seen_at_once() {
    for seed in 0..20 {
        for away in [Duration::from_millis(300), 20 * SECOND] {
            let mut testbed = Testbed::settled(seed, 3);
            testbed.kill(2);
            testbed.run(away);
            testbed.start(2);
            let took = testbed.until(2 * SECOND, |testbed| testbed.all_see(Life::Alive));
            assert!(took.is_some(), "seed {seed}, away {away:?}");
        }
    }
}

#[test]
fn a_quick_restart_is_never_seen_as_down() {
    for seed in 0..20 {
        let mut testbed = Testbed::settled(seed, 3);
        let before = testbed.sees(0, 2).unwrap().generation;
        testbed.kill(2);
        testbed.run(SECOND);
        testbed.start(2);
        let down = testbed.until(12 * SECOND, |testbed| testbed.life(0, 2) == Some(Life::Down));
        assert_eq!(down, None, "seed {seed}");
        assert!(testbed.sees(0, 2).unwrap().generation > before);
    }
}

#[test]
fn a_clock_that_was_set_back_keeps_nobody_out() {
    for seed in 0..10 {
        let mut testbed = Testbed::settled(seed, 3);
        let before = testbed.sees(0, 2).unwrap().generation;
        testbed.kill(2);
        testbed.run(SECOND);
        testbed.start_at(2, before - 900_000, vec![address(0)]);
        let back = |testbed: &Testbed| testbed.all_see(Life::Alive) && testbed.sees(0, 2).unwrap().generation > before;
        assert!(testbed.until(10 * SECOND, back).is_some(), "seed {seed}");
        let sent = testbed.sent();
        testbed.run(10 * SECOND);
        assert!(testbed.sent() - sent < 2_000, "seed {seed}: {} datagrams in ten seconds", testbed.sent() - sent);
        assert!(testbed.all_see(Life::Alive));
    }
}

#[test]
fn a_farewell_is_seen_at_once() {
    for seed in 0..20 {
        let mut testbed = Testbed::settled(seed, 5);
        testbed.with(1, |engine, now| engine.set_status(now, Status::Leaving));
        let leaving = |testbed: &Testbed| {
            testbed.running().iter().all(|one| testbed.sees(*one, 1).unwrap().status == Status::Leaving)
        };
        assert!(testbed.until(SECOND, leaving).is_some(), "seed {seed}");
        assert!(testbed.seen_by_all(1, Life::Alive));
        testbed.with(1, |engine, now| engine.leave(now));
        assert!(testbed.until(SECOND, |testbed| testbed.seen_by_all(1, Life::Down)).is_some(), "seed {seed}");
        // What is said to it makes it say nothing.
        testbed.run(10 * SECOND);
        assert!(testbed.seen_by_all(1, Life::Down), "seed {seed}");
        assert!(leaving(&testbed));
    }
}

#[test]
fn who_leaves_without_a_word_before_is_seen_as_leaving() {
    let mut testbed = Testbed::settled(3, 3);
    testbed.with(1, |engine, now| engine.leave(now));
    assert!(testbed.until(SECOND, |testbed| testbed.seen_by_all(1, Life::Down)).is_some());
    assert_eq!(testbed.sees(0, 1).unwrap().status, Status::Leaving);
    assert_eq!(testbed.life(1, 1), Some(Life::Down));
}

#[test]
fn a_change_of_status_is_no_death() {
    for seed in 0..20 {
        let mut testbed = Testbed::settled(seed, 3);
        testbed.with(1, |engine, now| engine.set_status(now, Status::Joining));
        let seen = testbed
            .until(SECOND, |testbed| [0, 2].iter().all(|one| testbed.sees(*one, 1).unwrap().status == Status::Joining));
        assert!(seen.is_some(), "seed {seed}");
        let down = testbed.until(10 * SECOND, |testbed| !testbed.all_see(Life::Alive));
        assert_eq!(down, None, "seed {seed}");
    }
}

#[test]
fn a_pause_of_three_seconds_is_survived() {
    for seed in 0..30 {
        let mut testbed = Testbed::settled(seed, 3);
        testbed.pause(1);
        let down = testbed.until(3 * SECOND, |testbed| testbed.life(0, 1) == Some(Life::Down));
        assert_eq!(down, None, "seed {seed}");
        testbed.resume(1);
        let down = testbed.until(10 * SECOND, |testbed| {
            testbed.running().iter().any(|one| (0..3).any(|other| testbed.life(*one, other) == Some(Life::Down)))
        });
        assert_eq!(down, None, "seed {seed}");
        assert!(testbed.all_see(Life::Alive));
    }
}

#[test]
fn a_suspicion_is_seen_before_a_death() {
    let mut testbed = Testbed::settled(7, 3);
    testbed.kill(1);
    assert!(testbed.until(4 * SECOND, |testbed| testbed.seen_by_all(1, Life::Suspect)).is_some());
}

#[test]
fn who_paused_for_long_comes_back_and_blames_nobody() {
    for seed in 0..20 {
        let mut testbed = Testbed::settled(seed, 3);
        testbed.pause(1);
        assert!(testbed.until(10 * SECOND, |testbed| testbed.seen_by_all(1, Life::Down)).is_some(), "seed {seed}");
        testbed.run(5 * SECOND);
        testbed.resume(1);
        let blamed = |testbed: &Testbed| [0, 2].iter().any(|other| testbed.life(1, *other) == Some(Life::Down));
        let back = testbed.until(3 * SECOND, |testbed| testbed.all_see(Life::Alive) || blamed(testbed));
        assert!(back.is_some() && !blamed(&testbed), "seed {seed}");
    }
}

#[test]
fn nobody_is_suspected_for_long_after_a_cut_of_any_length() {
    for (seed, cut) in (0..20).flat_map(|seed| (4..16).map(move |halves| (seed, halves * SECOND / 2))) {
        let mut testbed = Testbed::settled(seed, 3);
        testbed.sides = [(0, 0), (1, 0), (2, 1)].into();
        testbed.run(cut);
        testbed.sides.clear();
        let took = testbed.until(20 * SECOND, |testbed| testbed.all_see(Life::Alive));
        assert!(took.is_some(), "seed {seed}, cut for {cut:?}");
    }
}

#[test]
fn who_comes_back_makes_nobody_else_look_dead() {
    for (seed, cut) in (0..20).flat_map(|seed| (16..30).map(move |halves| (seed, halves * SECOND / 2))) {
        let mut testbed = Testbed::settled(seed, 3);
        testbed.sides = [(0, 0), (1, 0), (2, 1)].into();
        testbed.run(cut);
        testbed.sides.clear();
        let blamed =
            |testbed: &Testbed| testbed.life(0, 1) == Some(Life::Down) || testbed.life(1, 0) == Some(Life::Down);
        assert_eq!(testbed.until(15 * SECOND, blamed), None, "seed {seed}, cut for {cut:?}");
        assert!(testbed.all_see(Life::Alive), "seed {seed}, cut for {cut:?}");
    }
}

#[test]
fn who_is_deaf_is_down_however_much_it_says() {
    for (seed, nodes) in (0..20).flat_map(|seed| [2, 3, 5].map(|nodes| (seed, nodes))) {
        let mut testbed = Testbed::settled(seed, nodes);
        testbed.deaf = [1].into();
        let took = testbed.until(15 * SECOND, |testbed| testbed.seen_by_all(1, Life::Down));
        assert!(took.is_some(), "seed {seed}, {nodes} nodes");
        // It takes the others for dead, and comes back as a later one once.
        testbed.run(25 * SECOND);
        assert!(testbed.seen_by_all(1, Life::Down), "seed {seed}, {nodes} nodes");
        testbed.deaf.clear();
        assert!(
            testbed.until(15 * SECOND, |testbed| testbed.all_see(Life::Alive)).is_some(),
            "seed {seed}, {nodes} nodes"
        );
    }
}

#[test]
fn a_split_heals() {
    for (seed, sides) in (0..20).flat_map(|seed| [[0, 0, 1, 1, 1], [0, 1, 1, 1, 1]].map(|sides| (seed, sides))) {
        let mut testbed = Testbed::settled(seed, 5);
        testbed.sides = sides.into_iter().enumerate().collect();
        testbed.run(30 * SECOND);
        assert!(!testbed.all_see(Life::Alive), "seed {seed}");
        testbed.sides.clear();
        let took = testbed.until(40 * SECOND, |testbed| testbed.all_see(Life::Alive));
        assert!(took.is_some(), "seed {seed}, sides {sides:?}");
        // Not again because of what is still on the way.
        let down = testbed.until(20 * SECOND, |testbed| !testbed.all_see(Life::Alive));
        assert_eq!(down, None, "seed {seed}, sides {sides:?}");
    }
}

/// Every one of `observers` sees node 1 alive, at this address.
fn is_seen_at(testbed: &Testbed, observers: [usize; 2], place: usize) -> bool {
    observers.iter().all(|one| {
        testbed
            .sees(*one, 1)
            .is_some_and(|seen| seen.life == Life::Alive && seen.addresses.peer == Some(address(place)))
    })
}

#[test]
fn a_second_process_under_an_id_is_overtaken_by_the_one_that_owns_it() {
    for seed in 0..20 {
        let mut testbed = Testbed::settled(seed, 3);
        testbed.with(1, |engine, _| engine.set_owns_id(true));
        let later = testbed.sees(1, 1).unwrap().generation + 50_000;
        testbed.start_under_id_of(3, 1, later);
        let overtaken =
            |testbed: &Testbed| is_seen_at(testbed, [0, 2], 1) && testbed.sees(0, 1).unwrap().generation > later;
        assert!(testbed.until(5 * SECOND, overtaken).is_some(), "seed {seed}");
        let lost = testbed.until(5 * SECOND, |testbed| !is_seen_at(testbed, [0, 2], 1));
        assert_eq!(lost, None, "seed {seed}: while it lives");
        testbed.kill(3);
        let lost = testbed.until(20 * SECOND, |testbed| !is_seen_at(testbed, [0, 2], 1));
        assert_eq!(lost, None, "seed {seed}: when it is gone");
    }
}

#[test]
fn a_second_process_under_an_id_that_nobody_owns_is_no_trace_when_it_is_gone() {
    for seed in 0..20 {
        let mut testbed = Testbed::settled(seed, 3);
        let own = testbed.sees(1, 1).unwrap().generation;
        testbed.start_under_id_of(3, 1, own + 50_000);
        testbed.run(10 * SECOND);
        assert_eq!(testbed.sees(1, 1).unwrap().generation, own, "who does not own the id leaves the other one alone");
        assert_eq!(testbed.sees(3, 3), None);
        testbed.kill(3);
        assert!(testbed.until(10 * SECOND, |testbed| is_seen_at(testbed, [0, 2], 1)).is_some(), "seed {seed}");
        assert_eq!(testbed.until(20 * SECOND, |testbed| !is_seen_at(testbed, [0, 2], 1)), None, "seed {seed}");
    }
}

#[test]
fn two_that_both_take_an_id_for_theirs_do_not_flood_the_others() {
    let mut testbed = Testbed::settled(1, 3);
    let later = testbed.sees(1, 1).unwrap().generation + 50_000;
    testbed.start_under_id_of(3, 1, later);
    for one in [1, 3] {
        testbed.with(one, |engine, _| engine.set_owns_id(true));
    }
    testbed.run(SECOND);
    let sent = testbed.sent();
    testbed.run(10 * SECOND);
    assert!(testbed.sent() - sent < 4_000, "{} datagrams in ten seconds", testbed.sent() - sent);
}

#[test]
fn a_node_that_moved_with_its_clock_behind_is_seen_where_it_is() {
    for seed in 0..20 {
        let mut testbed = Testbed::settled(seed, 3);
        let before = testbed.sees(1, 1).unwrap().generation;
        testbed.kill(1);
        testbed.run(SECOND);
        testbed.start_under_id_of(3, 1, before - 900_000);
        assert!(testbed.until(12 * SECOND, |testbed| is_seen_at(testbed, [0, 2], 3)).is_some(), "seed {seed}");
        assert_eq!(testbed.until(20 * SECOND, |testbed| !is_seen_at(testbed, [0, 2], 3)), None, "seed {seed}");
        testbed.with(3, |engine, _| engine.set_owns_id(true));
        let latest = |testbed: &Testbed| testbed.sees(0, 1).unwrap().generation > before;
        assert!(testbed.until(5 * SECOND, latest).is_some(), "seed {seed}: nodes of an older version see it, too");
    }
}

#[test]
fn a_namesake_is_news_once_until_it_was_quiet_for_a_while() {
    let at = |seconds: u64| callboard_protocol::time::Mono(Duration::from_secs(seconds));
    let mut namesakes = super::overtaking::Namesakes::default();
    assert!(namesakes.observe(at(0), address(1)));
    assert!(namesakes.observe(at(0), address(2)));
    for second in 1..200 {
        assert!(!namesakes.observe(at(second), address(1)));
    }
    assert!(namesakes.observe(at(200), address(2)));
}
