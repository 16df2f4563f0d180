//! What a publisher does about members: silent ones, lost ones, new ones, and its own row.

use super::*;

#[test]
fn rows_that_the_commit_misses_are_notified_and_the_marks_stay() {
    let mut script = Script::member(&[row("a", 1, 0)]);
    script.publish(1, &["x"]);
    script.acked(0, ack("a", 1, 1));
    let need = CommitResult::Decided(Decision::NeedAcks(vec![row("a", 1, 5), row("b", 2, 0)]));
    assert_eq!(script.committed(0, need), ["notify 0 [x/r1] to ab"]);
    assert!(script.acked(0, ack("b", 2, 9)).is_empty());
    assert!(script.acked(0, ack("a", 1, 4)).is_empty(), "taken back by the floor");
    assert!(script.observe(Standing::Member(node("a")), &[row("a", 1, 0), row("b", 2, 0)]).is_empty(), "seen earlier");
    assert_eq!(script.acked(0, ack("a", 1, 6)), ["commit 0 [r1] by a6 b9"]);
}

#[test]
fn silence_is_answered_by_resends_then_by_parking_under_a_new_id() {
    let mut script = Script::member(&[row("a", 1, 0), row("b", 2, 0)]);
    script.publish(1, &["x"]);
    script.acked(0, ack("a", 1, 1));
    assert_eq!(
        script.until(2_300),
        [
            "250: notify 0 [x/r1] to b",
            "500: notify 0 [x/r1] to b",
            "1000: abort 0",
            "1000: revoke b",
            "2000: notify 1 [x/r1] to ab",
            "2250: notify 1 [x/r1] to ab"
        ]
    );
    assert!(script.acked(0, ack("b", 2, 3)).is_empty(), "an ack of the aborted batch is void");
    script.acked(1, ack("b", 2, 4));
    assert_eq!(script.acked(1, ack("a", 1, 2)), ["commit 1 [r1] by a2 b4"]);
}

#[test]
fn a_parked_batch_wakes_when_the_silent_member_is_gone_or_back() {
    let rows = [row("a", 1, 0), row("b", 2, 0)];
    let parked = || {
        let mut script = Script::member(&rows);
        script.publish(1, &["x"]);
        script.acked(0, ack("a", 1, 1));
        script.until(1_100);
        script
    };
    let own = || Standing::Member(node("a"));
    let mut script = parked();
    assert!(script.observe(own(), &rows).is_empty());
    assert_eq!(script.observe(own(), &rows[..1]), ["notify 1 [x/r1] to a"]);
    let mut script = parked();
    assert_eq!(script.observe(own(), &[row("a", 1, 0), row("b", 3, 0)]), ["notify 1 [x/r1] to ab"]);
    let mut script = parked();
    assert_eq!(script.acked(0, ack("b", 2, 3)), ["notify 1 [x/r1] to ab"]);
}

#[test]
fn a_node_that_is_silent_to_itself_revokes_nobody() {
    let mut script = Script::member(&[row("a", 1, 0), row("b", 2, 0)]);
    script.publish(1, &["x"]);
    assert!(!script.until(1_000).iter().any(|effect| effect.contains("revoke")));
}

#[test]
fn a_node_that_hears_less_than_half_of_the_others_revokes_nobody() {
    let rows = [row("a", 1, 0), row("b", 2, 0), row("c", 3, 0), row("d", 4, 0), row("e", 5, 0)];
    let parked = |members: usize, acks: &[Ack]| {
        let mut script = Script::member(&rows[..members]);
        script.publish(1, &["x"]);
        acks.iter().for_each(|ack| drop(script.acked(0, ack.clone())));
        script.until(1_000).into_iter().skip(2).collect::<Vec<_>>()
    };
    let (a, b, c) = (ack("a", 1, 1), ack("b", 2, 1), ack("c", 3, 1));
    assert_eq!(parked(3, std::slice::from_ref(&a)), ["1000: abort 0"], "one against two");
    assert_eq!(parked(3, &[a.clone(), b.clone()]), ["1000: abort 0", "1000: revoke c"]);
    assert_eq!(parked(4, &[a.clone(), b.clone()]), ["1000: abort 0", "1000: revoke cd"], "as many on each side");
    assert_eq!(parked(5, &[a.clone(), b.clone()]), ["1000: abort 0"]);
    assert_eq!(parked(3, &[b, c]), ["1000: abort 0"], "its own ack is missing");
    assert_eq!(parked(2, &[a]), ["1000: abort 0", "1000: revoke b"], "with two nodes each may");
}

#[test]
fn a_publisher_without_a_row_fails_at_once_when_a_member_keeps_silent() {
    let mut script = Script::new(Standing::Direct, &[row("b", 2, 0), row("c", 3, 0)]);
    script.publish(1, &["x"]);
    script.acked(0, ack("c", 3, 1));
    let mut out = Vec::new();
    script.until(999);
    script.machine.step(Mono(Duration::from_millis(1_000)), Event::Tick, &mut out);
    assert_eq!(out.iter().map(told).collect::<Vec<_>>(), ["abort 0", "reply 1 failed"]);
    let Some(Effect::Reply { outcome: PublishOutcome::Failed { reason }, .. }) = out.pop() else { panic!() };
    assert!(reason.contains("from b;"), "{reason}");
    assert_eq!((script.machine.in_flight(), script.machine.next_wakeup()), (0, None));
}

#[test]
fn acks_of_lives_not_seen_yet_are_tried_at_the_database_before_anybody_is_given_up() {
    for standing in [Standing::Direct, Standing::Member(node("a"))] {
        let own: &[NodeRow] = if standing == Standing::Direct { &[] } else { &[row("a", 1, 0)] };
        let mut script = Script::new(standing, &[own, &[row("b", 2, 0)]].concat());
        script.publish(1, &["x"]);
        script.acked(0, ack("a", 1, 1));
        assert!(script.acked(0, ack("b", 3, 1)).is_empty());
        let told = script.until(1_000);
        assert!(told.last().is_some_and(|effect| effect.starts_with("1000: commit 0 [r1] by")), "{told:?}");
        let need = |life| CommitResult::Decided(Decision::NeedAcks(vec![row("b", life, 0)]));
        assert_eq!(script.committed(0, need(4)), ["notify 0 [x/r1] to b"]);
        let told = script.until(2_000);
        assert!(told.iter().any(|effect| effect == "2000: abort 0"), "believed once: {told:?}");
    }
}

#[test]
fn a_membership_lost_while_a_commit_is_under_way_ends_by_what_the_commit_says() {
    let rows = [row("a", 1, 0), row("b", 2, 0)];
    let committing = || {
        let mut script = Script::member(&rows);
        script.publish(1, &["x"]);
        script.acked(0, ack("a", 1, 1));
        script.acked(0, ack("b", 2, 1));
        assert!(script.observe(Standing::Direct, &rows[1..]).is_empty(), "the commit may still land");
        script
    };
    assert_eq!(committing().committed(0, written(1)), ["reply 1 done", "confirm 0"]);
    let mut script = committing();
    assert_eq!(script.committed(0, CommitResult::Decided(Decision::NotMember)), ["abort 0", "rejoin"]);
    let mut script = committing();
    assert_eq!(script.committed(0, unknown()), ["resolve 0 [r1] own 1"], "the ack it stood on, of whatever life");
    assert!(script.observe(Standing::Member(node("a")), &[row("a", 9, 0), row("b", 2, 0)]).is_empty());
    assert_eq!(script.resolved(0, Outcome::Landed(vec![])), ["abort 0", "reply 1 failed"]);
}

#[test]
fn a_new_own_life_has_to_acknowledge_again() {
    let mut script = Script::member(&[row("a", 1, 0), row("b", 2, 0)]);
    script.publish(1, &["x"]);
    script.acked(0, ack("a", 1, 1));
    let own = || Standing::Member(node("a"));
    assert_eq!(script.observe(own(), &[row("a", 9, 0), row("b", 2, 0)]), ["notify 0 [x/r1] to a"]);
    assert!(script.acked(0, ack("b", 2, 1)).is_empty());
    assert_eq!(script.acked(0, ack("a", 9, 1)), ["commit 0 [r1] by a1 b1"]);
}

#[test]
fn a_commit_that_lacks_acks_for_ever_ends_at_its_deadline() {
    let mut script = Script::member(&[row("a", 1, 0), row("b", 2, 0)]);
    script.publish(1, &["x"]);
    script.acked(0, ack("a", 1, 1));
    script.acked(0, ack("b", 2, 1));
    for round in 1..15 {
        script.now = Duration::from_secs(round);
        let need = CommitResult::Decided(Decision::NeedAcks(vec![row("b", 2, round + 1)]));
        assert_eq!(script.committed(0, need), ["notify 0 [x/r1] to b"]);
        let told = script.acked(0, ack("b", 2, round + 1));
        assert_eq!(told, [format!("commit 0 [r1] by a1 b{}", round + 1)]);
    }
    script.now = Duration::from_secs(15);
    let need = CommitResult::Decided(Decision::NeedAcks(vec![row("b", 2, 99)]));
    assert_eq!(script.committed(0, need), ["notify 0 [x/r1] to b", "reply 1 failed", "abort 0"]);
}

#[test]
fn members_that_come_and_go_while_acks_are_gathered_are_followed() {
    let mut script = Script::member(&[row("a", 1, 0), row("b", 2, 0)]);
    script.publish(1, &["x"]);
    script.acked(0, ack("a", 1, 1));
    let own = || Standing::Member(node("a"));
    assert_eq!(script.observe(own(), &[row("a", 1, 0), row("c", 3, 0)]), ["notify 0 [x/r1] to c"]);
    assert_eq!(script.observe(own(), &[row("a", 1, 0)]), ["commit 0 [r1] by a1"]);
}

#[test]
fn a_lost_membership_withdraws_and_starts_over_after_the_next_observation() {
    for lost in [Decision::NotMember, Decision::TimelineChanged(Timeline(2))] {
        let mut script = Script::member(&[row("a", 1, 0)]);
        script.publish(1, &["x"]);
        script.acked(0, ack("a", 1, 1));
        assert_eq!(script.committed(0, CommitResult::Decided(lost)), ["abort 0", "rejoin"]);
        assert!(script.acked(0, ack("a", 1, 1)).is_empty());
        let rejoined = script.observe(Standing::Member(node("a")), &[row("a", 2, 0)]);
        assert_eq!(rejoined, ["notify 1 [x/r1] to a"]);
        assert!(script.acked(1, ack("a", 1, 9)).is_empty(), "the ack of an earlier life");
        assert_eq!(script.acked(1, ack("a", 2, 2)), ["commit 1 [r1] by a2"]);
    }
}

#[test]
fn another_timeline_withdraws_what_is_being_gathered() {
    let mut script = Script::member(&[row("a", 1, 0)]);
    script.publish(1, &["x"]);
    let moved = Membership {
        standing: Standing::Member(node("a")),
        timeline: Timeline(2),
        nodes: vec![row("a", 2, 0)],
        gate: CommitGate::Open,
    };
    assert_eq!(script.step(Event::Membership(moved)), ["abort 0", "notify 1 [x/r1] to a"]);
}

#[test]
fn a_member_waits_for_its_own_row() {
    let mut script = Script::member(&[]);
    assert!(script.publish(1, &["x"]).is_empty());
    assert_eq!(script.observe(Standing::Member(node("a")), &[row("a", 1, 0)]), ["notify 0 [x/r1] to a"]);
    assert_eq!(script.acked(0, ack("a", 1, 1)), ["commit 0 [r1] by a1"]);
}

#[test]
fn a_silent_member_that_joins_again_is_revoked_again() {
    let mut script = Script::member(&[row("a", 1, 0), row("b", 2, 0), row("c", 3, 0)]);
    script.publish(1, &["x"]);
    script.acked(0, ack("a", 1, 1));
    script.acked(0, ack("c", 3, 1));
    assert!(script.until(1_000).contains(&"1000: revoke b".to_owned()));
    let own = || Standing::Member(node("a"));
    let told = script.observe(own(), &[row("a", 1, 0), row("c", 3, 0)]);
    assert_eq!(told, ["notify 1 [x/r1] to ac"]);
    script.acked(1, ack("a", 1, 2));
    assert_eq!(script.acked(1, ack("c", 3, 2)), ["commit 1 [r1] by a2 c2"]);
    let need = CommitResult::Decided(Decision::NeedAcks(vec![row("b", 4, 0)]));
    assert_eq!(script.committed(1, need), ["notify 1 [x/r1] to b"]);
    script.observe(own(), &[row("a", 1, 0), row("b", 4, 0), row("c", 3, 0)]);
    let told = script.until(2_500);
    assert!(told.iter().any(|effect| effect.ends_with("revoke b")), "{told:?}");
}

#[test]
fn a_node_that_stays_cut_off_fails_its_units_when_it_parks_them_again() {
    let mut script = Script::member(&[row("a", 1, 0), row("b", 2, 0), row("c", 3, 0)]);
    script.publish(1, &["x"]);
    script.acked(0, ack("a", 1, 1));
    assert!(script.until(2_000).contains(&"1000: abort 0".to_owned()));
    script.acked(1, ack("a", 1, 2));
    let told = script.until(4_000);
    assert!(told.contains(&"3000: reply 1 failed".to_owned()), "{told:?}");
    assert_eq!((script.machine.queued(), script.machine.in_flight()), (0, 0));
}

#[test]
fn beside_a_batch_of_some_size_only_a_much_larger_one_is_begun() {
    let mut script = Script::member(&[row("a", 1, 0), row("b", 2, 0)]);
    // The first goes alone; what queues meanwhile is a batch of five.
    script.publish(0, &["k0"]);
    script.publish(1, &["k1"]);
    (2..=6).for_each(|id| drop(script.publish(id, &[["k2", "k3", "k4", "k5", "k6"][id as usize - 2]])));
    for (batch, number) in [(0, 1), (1, 2)] {
        script.acked(batch, ack("a", 1, number));
        script.acked(batch, ack("b", 2, number));
        script.committed(batch, written(1));
    }
    assert_eq!((script.machine.in_flight(), script.machine.queued()), (1, 0), "five are under way");
    let waiting: Vec<String> = (10..=18).flat_map(|id| script.publish(id, &[&format!("w{id}")])).collect();
    assert_eq!(waiting, Vec::<String>::new());
    assert!(script.publish(19, &["w19"])[0].starts_with("notify"), "twice as many wait");
}

#[test]
fn a_member_that_would_not_mark_a_batch_is_asked_again_in_a_moment() {
    let mut script = Script::member(&[row("a", 1, 0), row("b", 2, 0)]);
    script.publish(1, &["x"]);
    script.acked(0, ack("a", 1, 1));
    for _ in 0..3 {
        assert!(script.step(Event::Nacked { batch: batch(0) }).is_empty());
    }
    assert_eq!(script.until(200), ["25: notify 0 [x/r1] to b"], "once for each time it is told");
    assert_eq!(script.until(300), ["250: notify 0 [x/r1] to b"]);
}
