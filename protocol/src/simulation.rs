//! A seeded simulation of a whole cluster: the real machines of several nodes, driven as the actors drive them, beside
//! models of a database, a network, clocks and clients. Everything goes wrong that may go wrong; no promise may break.
//!
//! A run is its seed. `CALLBOARD_SIM_SEED=n` replays one and prints what happened; `CALLBOARD_SIM_SEEDS=n` says how
//! many are run, and `CALLBOARD_SIM_FIRST=n` from which on.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use checks::Counters;
use event_loop::Simulation;
use variants::Broken;

mod cache_writer;
mod checks;
mod clients;
mod database;
mod driving;
mod event_loop;
mod faults;
mod feed;
mod in_doubt;
mod mail;
mod naive;
mod node;
mod plan;
mod random;
mod reading;
mod results;
mod routing;
mod steps;
mod variants;
mod work;

/// How many runs are made when nobody says.
const SEEDS: u64 = 10_000;
const THREADS: usize = 2;

#[expect(clippy::disallowed_methods, reason = "how much is run is said from outside")]
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Runs one seed. Says what is broken, if anything.
fn run(seed: u64, broken: Broken) -> (Option<String>, Counters) {
    let mut simulation = Simulation::new(seed, broken, false);
    simulation.run();
    simulation.checks.counters.events = u64::from(simulation.events);
    (simulation.checks.violation, simulation.checks.counters)
}

/// Runs one seed again and prints what happens.
fn replay(seed: u64, broken: Broken) -> Option<String> {
    let mut simulation = Simulation::new(seed, broken, true);
    simulation.run();
    simulation.take_log().iter().for_each(|line| println!("{line}"));
    println!("seed {seed}: {} events, {:?}", simulation.events, simulation.checks.violation);
    simulation.checks.violation
}

#[test]
fn no_promise_breaks_whatever_fails() {
    if let Some(seed) = setting("CALLBOARD_SIM_SEED") {
        assert_eq!(replay(seed, Broken::default()), None);
        return;
    }
    let seeds = setting("CALLBOARD_SIM_SEEDS").unwrap_or(SEEDS);
    let first = setting("CALLBOARD_SIM_FIRST").unwrap_or(0);
    let (next, failed, total) = (AtomicU64::new(first), Mutex::new(None), Mutex::new(Counters::default()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut counters = Counters::default();
                while failed.lock().unwrap().is_none() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        break;
                    }
                    let (violation, seen) = run(seed, Broken::default());
                    counters.add(&seen);
                    if let Some(violation) = violation {
                        failed.lock().unwrap().get_or_insert((seed, violation));
                    }
                }
                total.lock().unwrap().add(&counters);
            });
        }
    });
    if let Some((seed, violation)) = failed.lock().unwrap().take() {
        replay(seed, Broken::default());
        panic!("seed {seed}: {violation}; replay with CALLBOARD_SIM_SEED={seed}");
    }
    let total = total.lock().unwrap();
    println!("seeds {first} to {seeds}: {:?}", total.each());
    for (what, count) in total.each() {
        assert!(count > 0, "{what} never happened: the runs prove nothing");
    }
}
