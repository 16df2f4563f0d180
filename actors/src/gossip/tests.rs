//! Tests of gossip: of whole clusters under virtual time, and of what may come in. The actor is tested with the
//! cluster listener.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod incoming;
mod world;

use std::time::Duration;

use callboard_protocol::membership_view::{Life, Status};

use world::{World, address, alias};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn nodes_that_start_find_each_other() {
    for seed in 0..40 {
        let mut world = World::new(seed);
        world.loss = 0.02;
        for index in 0..5 {
            world.start(index);
            world.run(Duration::from_millis(100));
        }
        let took = world.until(3 * SECOND, |world| world.all_see(Life::Alive));
        assert!(took.is_some(), "seed {seed}");
    }
}

#[test]
fn a_seed_may_be_named_by_an_address_that_it_does_not_know() {
    let mut world = World::new(1);
    world.start_at(0, 1_000, Vec::new());
    world.start_at(1, 1_000, vec![alias(0)]);
    assert!(world.until(2 * SECOND, |world| world.all_see(Life::Alive)).is_some());
    assert_eq!(world.sees(1, 0).unwrap().addresses.peer, Some(address(0)));
}

#[test]
fn a_kill_is_seen_within_eight_seconds() {
    for nodes in [2, 3, 5, 9] {
        let mut longest = Duration::ZERO;
        for seed in 0..30 {
            let mut world = World::settled(seed, nodes);
            world.loss = 0.01;
            world.kill(1);
            let took = world.until(20 * SECOND, |world| world.seen_by_all(1, Life::Down));
            longest = longest.max(took.unwrap_or(20 * SECOND));
        }
        assert!(longest <= 8 * SECOND, "{nodes} nodes: {longest:?}");
    }
}

#[test]
fn a_node_that_comes_back_is_seen_at_once() {
    for seed in 0..20 {
        for away in [Duration::from_millis(300), 20 * SECOND] {
            let mut world = World::settled(seed, 3);
            world.kill(2);
            world.run(away);
            world.start(2);
            let took = world.until(2 * SECOND, |world| world.all_see(Life::Alive));
            assert!(took.is_some(), "seed {seed}, away {away:?}");
        }
    }
}

#[test]
fn a_quick_restart_is_never_seen_as_down() {
    for seed in 0..20 {
        let mut world = World::settled(seed, 3);
        let before = world.sees(0, 2).unwrap().generation;
        world.kill(2);
        world.run(SECOND);
        world.start(2);
        let down = world.until(12 * SECOND, |world| world.life(0, 2) == Some(Life::Down));
        assert_eq!(down, None, "seed {seed}");
        assert!(world.sees(0, 2).unwrap().generation > before);
    }
}

#[test]
fn a_clock_that_was_set_back_keeps_nobody_out() {
    for seed in 0..10 {
        let mut world = World::settled(seed, 3);
        let before = world.sees(0, 2).unwrap().generation;
        world.kill(2);
        world.run(SECOND);
        world.start_at(2, before - 900_000, vec![address(0)]);
        let back = |world: &World| world.all_see(Life::Alive) && world.sees(0, 2).unwrap().generation > before;
        assert!(world.until(10 * SECOND, back).is_some(), "seed {seed}");
        let sent = world.sent();
        world.run(10 * SECOND);
        assert!(world.sent() - sent < 2_000, "seed {seed}: {} datagrams in ten seconds", world.sent() - sent);
        assert!(world.all_see(Life::Alive));
    }
}

#[test]
fn a_farewell_is_seen_at_once() {
    for seed in 0..20 {
        let mut world = World::settled(seed, 5);
        world.with(1, |engine, now| engine.set_status(now, Status::Leaving));
        let leaving =
            |world: &World| world.running().iter().all(|one| world.sees(*one, 1).unwrap().status == Status::Leaving);
        assert!(world.until(SECOND, leaving).is_some(), "seed {seed}");
        assert!(world.seen_by_all(1, Life::Alive));
        world.with(1, |engine, now| engine.leave(now));
        assert!(world.until(SECOND, |world| world.seen_by_all(1, Life::Down)).is_some(), "seed {seed}");
        // What is said to it makes it say nothing.
        world.run(10 * SECOND);
        assert!(world.seen_by_all(1, Life::Down), "seed {seed}");
        assert!(leaving(&world));
    }
}

#[test]
fn who_leaves_without_a_word_before_is_seen_as_leaving() {
    let mut world = World::settled(3, 3);
    world.with(1, |engine, now| engine.leave(now));
    assert!(world.until(SECOND, |world| world.seen_by_all(1, Life::Down)).is_some());
    assert_eq!(world.sees(0, 1).unwrap().status, Status::Leaving);
    assert_eq!(world.life(1, 1), Some(Life::Down));
}

#[test]
fn a_change_of_status_is_no_death() {
    for seed in 0..20 {
        let mut world = World::settled(seed, 3);
        world.with(1, |engine, now| engine.set_status(now, Status::Joining));
        let seen = world
            .until(SECOND, |world| [0, 2].iter().all(|one| world.sees(*one, 1).unwrap().status == Status::Joining));
        assert!(seen.is_some(), "seed {seed}");
        let down = world.until(10 * SECOND, |world| !world.all_see(Life::Alive));
        assert_eq!(down, None, "seed {seed}");
    }
}

#[test]
fn a_pause_of_three_seconds_is_survived() {
    for seed in 0..30 {
        let mut world = World::settled(seed, 3);
        world.pause(1);
        let down = world.until(3 * SECOND, |world| world.life(0, 1) == Some(Life::Down));
        assert_eq!(down, None, "seed {seed}");
        world.resume(1);
        let down = world.until(10 * SECOND, |world| {
            world.running().iter().any(|one| (0..3).any(|other| world.life(*one, other) == Some(Life::Down)))
        });
        assert_eq!(down, None, "seed {seed}");
        assert!(world.all_see(Life::Alive));
    }
}

#[test]
fn a_suspicion_is_seen_before_a_death() {
    let mut world = World::settled(7, 3);
    world.kill(1);
    assert!(world.until(4 * SECOND, |world| world.seen_by_all(1, Life::Suspect)).is_some());
}

#[test]
fn who_paused_for_long_comes_back_and_blames_nobody() {
    for seed in 0..20 {
        let mut world = World::settled(seed, 3);
        world.pause(1);
        assert!(world.until(10 * SECOND, |world| world.seen_by_all(1, Life::Down)).is_some(), "seed {seed}");
        world.run(5 * SECOND);
        world.resume(1);
        let blamed = |world: &World| [0, 2].iter().any(|other| world.life(1, *other) == Some(Life::Down));
        let back = world.until(3 * SECOND, |world| world.all_see(Life::Alive) || blamed(world));
        assert!(back.is_some() && !blamed(&world), "seed {seed}");
    }
}

#[test]
fn nobody_is_suspected_for_long_after_a_cut_of_any_length() {
    for (seed, cut) in (0..20).flat_map(|seed| (4..16).map(move |halves| (seed, halves * SECOND / 2))) {
        let mut world = World::settled(seed, 3);
        world.sides = [(0, 0), (1, 0), (2, 1)].into();
        world.run(cut);
        world.sides.clear();
        let took = world.until(20 * SECOND, |world| world.all_see(Life::Alive));
        assert!(took.is_some(), "seed {seed}, cut for {cut:?}");
    }
}

#[test]
fn who_comes_back_makes_nobody_else_look_dead() {
    for (seed, cut) in (0..20).flat_map(|seed| (16..30).map(move |halves| (seed, halves * SECOND / 2))) {
        let mut world = World::settled(seed, 3);
        world.sides = [(0, 0), (1, 0), (2, 1)].into();
        world.run(cut);
        world.sides.clear();
        let blamed = |world: &World| world.life(0, 1) == Some(Life::Down) || world.life(1, 0) == Some(Life::Down);
        assert_eq!(world.until(15 * SECOND, blamed), None, "seed {seed}, cut for {cut:?}");
        assert!(world.all_see(Life::Alive), "seed {seed}, cut for {cut:?}");
    }
}

#[test]
fn who_is_deaf_is_down_however_much_it_says() {
    for (seed, nodes) in (0..20).flat_map(|seed| [2, 3, 5].map(|nodes| (seed, nodes))) {
        let mut world = World::settled(seed, nodes);
        world.deaf = [1].into();
        let took = world.until(15 * SECOND, |world| world.seen_by_all(1, Life::Down));
        assert!(took.is_some(), "seed {seed}, {nodes} nodes");
        // It takes the others for dead, and comes back as a later one once.
        world.run(25 * SECOND);
        assert!(world.seen_by_all(1, Life::Down), "seed {seed}, {nodes} nodes");
        world.deaf.clear();
        assert!(world.until(15 * SECOND, |world| world.all_see(Life::Alive)).is_some(), "seed {seed}, {nodes} nodes");
    }
}

#[test]
fn a_split_heals() {
    for (seed, sides) in (0..20).flat_map(|seed| [[0, 0, 1, 1, 1], [0, 1, 1, 1, 1]].map(|sides| (seed, sides))) {
        let mut world = World::settled(seed, 5);
        world.sides = sides.into_iter().enumerate().collect();
        world.run(30 * SECOND);
        assert!(!world.all_see(Life::Alive), "seed {seed}");
        world.sides.clear();
        let took = world.until(40 * SECOND, |world| world.all_see(Life::Alive));
        assert!(took.is_some(), "seed {seed}, sides {sides:?}");
        // Not again because of what is still on the way.
        let down = world.until(20 * SECOND, |world| !world.all_see(Life::Alive));
        assert_eq!(down, None, "seed {seed}, sides {sides:?}");
    }
}

/// Every one of `observers` sees node 1 alive, at this address.
fn is_seen_at(world: &World, observers: [usize; 2], place: usize) -> bool {
    observers.iter().all(|one| {
        world.sees(*one, 1).is_some_and(|seen| seen.life == Life::Alive && seen.addresses.peer == Some(address(place)))
    })
}

#[test]
fn a_second_process_under_an_id_is_overtaken_by_the_one_that_owns_it() {
    for seed in 0..20 {
        let mut world = World::settled(seed, 3);
        world.with(1, |engine, _| engine.set_owns_id(true));
        let later = world.sees(1, 1).unwrap().generation + 50_000;
        world.start_under_id_of(3, 1, later);
        let overtaken = |world: &World| is_seen_at(world, [0, 2], 1) && world.sees(0, 1).unwrap().generation > later;
        assert!(world.until(5 * SECOND, overtaken).is_some(), "seed {seed}");
        let lost = world.until(5 * SECOND, |world| !is_seen_at(world, [0, 2], 1));
        assert_eq!(lost, None, "seed {seed}: while it lives");
        world.kill(3);
        let lost = world.until(20 * SECOND, |world| !is_seen_at(world, [0, 2], 1));
        assert_eq!(lost, None, "seed {seed}: when it is gone");
    }
}

#[test]
fn a_second_process_under_an_id_that_nobody_owns_is_no_trace_when_it_is_gone() {
    for seed in 0..20 {
        let mut world = World::settled(seed, 3);
        let own = world.sees(1, 1).unwrap().generation;
        world.start_under_id_of(3, 1, own + 50_000);
        world.run(10 * SECOND);
        assert_eq!(world.sees(1, 1).unwrap().generation, own, "who does not own the id leaves the other one alone");
        assert_eq!(world.sees(3, 3), None);
        world.kill(3);
        assert!(world.until(10 * SECOND, |world| is_seen_at(world, [0, 2], 1)).is_some(), "seed {seed}");
        assert_eq!(world.until(20 * SECOND, |world| !is_seen_at(world, [0, 2], 1)), None, "seed {seed}");
    }
}

#[test]
fn two_that_both_take_an_id_for_theirs_do_not_flood_the_others() {
    let mut world = World::settled(1, 3);
    let later = world.sees(1, 1).unwrap().generation + 50_000;
    world.start_under_id_of(3, 1, later);
    for one in [1, 3] {
        world.with(one, |engine, _| engine.set_owns_id(true));
    }
    world.run(SECOND);
    let sent = world.sent();
    world.run(10 * SECOND);
    assert!(world.sent() - sent < 4_000, "{} datagrams in ten seconds", world.sent() - sent);
}

#[test]
fn a_node_that_moved_with_its_clock_behind_is_seen_where_it_is() {
    for seed in 0..20 {
        let mut world = World::settled(seed, 3);
        let before = world.sees(1, 1).unwrap().generation;
        world.kill(1);
        world.run(SECOND);
        world.start_under_id_of(3, 1, before - 900_000);
        assert!(world.until(12 * SECOND, |world| is_seen_at(world, [0, 2], 3)).is_some(), "seed {seed}");
        assert_eq!(world.until(20 * SECOND, |world| !is_seen_at(world, [0, 2], 3)), None, "seed {seed}");
        world.with(3, |engine, _| engine.set_owns_id(true));
        let latest = |world: &World| world.sees(0, 1).unwrap().generation > before;
        assert!(world.until(5 * SECOND, latest).is_some(), "seed {seed}: nodes of an older version see it, too");
    }
}

#[test]
fn a_namesake_is_news_once_until_it_was_quiet_for_a_while() {
    let at = |seconds: u64| callboard_protocol::time::Mono(Duration::from_secs(seconds));
    let mut namesakes = super::overtaking::Namesakes::default();
    assert!(namesakes.hear(at(0), address(1)));
    assert!(namesakes.hear(at(0), address(2)));
    for second in 1..200 {
        assert!(!namesakes.hear(at(second), address(1)));
    }
    assert!(namesakes.hear(at(200), address(2)));
}
