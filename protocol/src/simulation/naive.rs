//! The naive variants, one by one: each is found out by what clients see, in the runs as they are. The seed that is
//! named shows how; when the runs have changed, one close to it does.

use super::run;
use super::variants::{Broken, Variant};

/// How many seeds are looked through from the one that is named.
const SPAN: u64 = 4_000;

fn assert_caught(variant: Variant, seed: u64) {
    let broken = Broken { variant: Some(variant) };
    let caught = (seed..seed + SPAN).find_map(|seed| run(seed, broken).0.map(|violation| (seed, violation)));
    match caught {
        Some((found, violation)) => println!("{variant:?}, seed {found}: {violation}"),
        None => panic!("{variant:?} is not noticed by the seeds from {seed}"),
    }
}

#[test]
fn a_commit_that_asks_nobody_is_caught() {
    assert_caught(Variant::NacosLike, 0);
}

#[test]
fn a_mark_dropped_without_taking_the_ack_back_is_caught() {
    assert_caught(Variant::SeedTimeoutDrop, 574);
}

#[test]
fn a_flag_in_place_of_the_clock_is_caught() {
    assert_caught(Variant::LeaseFlag, 387);
}

#[test]
fn a_clock_that_jumps_is_caught() {
    assert_caught(Variant::DbClockExpiry, 1);
}

#[test]
fn an_ack_before_its_mark_is_caught() {
    assert_caught(Variant::AckBeforeMark, 5);
}

#[test]
fn a_lease_counted_from_its_answer_is_caught() {
    assert_caught(Variant::LeaseFromResponse, 1_545);
}

#[test]
fn a_load_stored_over_a_publish_is_caught() {
    assert_caught(Variant::NoFillGuard, 226);
}

#[test]
fn a_load_begun_under_a_mark_and_stored_is_caught() {
    assert_caught(Variant::FillGuardNotifyOnly, 1_819);
}

#[test]
fn entries_kept_over_a_new_life_are_caught() {
    assert_caught(Variant::NoFlushOnRejoin, 1_848);
}

#[test]
fn a_reader_that_joins_a_poisoned_load_is_caught() {
    assert_caught(Variant::JoinPoisonedFill, 2);
}

#[test]
fn a_fence_by_what_was_read_is_caught() {
    assert_caught(Variant::FenceNoRowLock, 1_290);
}

#[test]
fn rows_looked_at_before_the_lock_are_caught() {
    assert_caught(Variant::LeaseCheckOutsideTx, 154);
}

#[test]
fn a_join_beside_a_commit_is_caught() {
    assert_caught(Variant::JoinNoLock, 19);
}

#[test]
fn an_ack_of_an_earlier_life_is_caught() {
    assert_caught(Variant::AckNoIncarnation, 2);
}

#[test]
fn a_commit_that_clears_every_mark_is_caught() {
    assert_caught(Variant::CommitClearsAll, 1);
}

#[test]
fn a_commit_event_that_makes_entries_is_caught() {
    assert_caught(Variant::CommitCreatesEntry, 17);
}

#[test]
fn a_failure_called_too_early_is_caught() {
    assert_caught(Variant::NoSelfFence, 19);
}

#[test]
fn pushing_whatever_comes_in_is_caught() {
    assert_caught(Variant::PushUnguarded, 17);
}

#[test]
fn sending_a_new_subscriber_what_the_cache_holds_is_caught() {
    assert_caught(Variant::ConnectUnguarded, 253);
}
