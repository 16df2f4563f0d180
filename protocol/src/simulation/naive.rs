//! The naive variants, one by one: each is found out by what clients see. The seed that is named shows how.

use super::run;
use super::variants::{Broken, Variant};

/// How many seeds are looked through, from the one that is named, for another one when the runs have changed.
const SPAN: u64 = 100_000;

fn assert_caught(variant: Variant, seed: u64) {
    let broken = Broken { variant: Some(variant) };
    if let Some(violation) = run(seed, broken).0 {
        println!("{variant:?}, seed {seed}: {violation}");
        return;
    }
    match (seed..seed + SPAN).find(|other| run(*other, broken).0.is_some()) {
        Some(other) => panic!("{variant:?} is not noticed by seed {seed} any more; name seed {other}"),
        None => panic!("{variant:?} is not noticed by the seeds from {seed}"),
    }
}

#[test]
fn a_commit_that_asks_nobody_is_caught() {
    assert_caught(Variant::NacosLike, 0);
}

#[test]
fn a_mark_dropped_without_taking_the_ack_back_is_caught() {
    assert_caught(Variant::SeedTimeoutDrop, 724);
}

#[test]
fn a_flag_in_place_of_the_clock_is_caught() {
    assert_caught(Variant::LeaseFlag, 100);
}

#[test]
fn a_clock_that_jumps_is_caught() {
    assert_caught(Variant::DbClockExpiry, 1);
}

#[test]
fn an_ack_before_its_mark_is_caught() {
    assert_caught(Variant::AckBeforeMark, 16);
}

#[test]
fn a_lease_counted_from_its_answer_is_caught() {
    assert_caught(Variant::LeaseFromResponse, 8_157);
}

#[test]
fn a_load_stored_over_a_publish_is_caught() {
    assert_caught(Variant::NoFillGuard, 235);
}

#[test]
fn a_load_begun_under_a_mark_and_stored_is_caught() {
    assert_caught(Variant::FillGuardNotifyOnly, 3_118);
}

#[test]
fn entries_kept_over_a_new_life_are_caught() {
    assert_caught(Variant::NoFlushOnRejoin, 2_427);
}

#[test]
fn a_reader_that_joins_a_poisoned_load_is_caught() {
    assert_caught(Variant::JoinPoisonedFill, 3);
}

#[test]
fn a_fence_by_what_was_read_is_caught() {
    assert_caught(Variant::FenceNoRowLock, 28_647);
}

#[test]
fn rows_looked_at_before_the_lock_are_caught() {
    assert_caught(Variant::LeaseCheckOutsideTx, 189);
}

#[test]
fn a_join_beside_a_commit_is_caught() {
    assert_caught(Variant::JoinNoLock, 117);
}

#[test]
fn an_ack_of_an_earlier_life_is_caught() {
    assert_caught(Variant::AckNoIncarnation, 1_752);
}

#[test]
fn a_commit_that_clears_every_mark_is_caught() {
    assert_caught(Variant::CommitClearsAll, 0);
}

#[test]
fn a_commit_event_that_makes_entries_is_caught() {
    assert_caught(Variant::CommitCreatesEntry, 109);
}

#[test]
fn a_failure_called_too_early_is_caught() {
    assert_caught(Variant::NoSelfFence, 19);
}

#[test]
fn a_refused_floor_taken_for_a_failure_is_caught() {
    assert_caught(Variant::RefusedFloorIsFailure, 2_044);
}

#[test]
fn pushing_whatever_comes_in_is_caught() {
    assert_caught(Variant::PushUnguarded, 26);
}

#[test]
fn sending_a_new_subscriber_what_the_cache_holds_is_caught() {
    assert_caught(Variant::ConnectUnguarded, 312);
}

#[test]
fn a_feed_that_forgot_and_is_taken_for_whole_is_caught() {
    assert_caught(Variant::FeedNoFloor, 488);
}

#[test]
fn a_page_of_the_feed_taken_for_all_of_it_is_caught() {
    assert_caught(Variant::PageTakenForWhole, 72);
}
