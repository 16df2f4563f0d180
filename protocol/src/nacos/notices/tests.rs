//! What is sent is acknowledged, repeated, or given up; a newer notice takes the place of one that waits.

use proptest::prelude::*;

use super::*;

fn at(millis: u64) -> Mono {
    Mono(Duration::from_millis(millis))
}

fn notices() -> Notices<&'static str> {
    Notices::new(Policy::default())
}

fn send(notices: &mut Notices<&'static str>, now: Mono) -> Vec<(u64, &'static str, bool)> {
    std::iter::from_fn(|| notices.next(now))
        .map(|sending| (sending.number, sending.subject, sending.is_repeated))
        .collect()
}

#[test]
fn what_is_acknowledged_is_done() {
    let mut notices = notices();
    notices.want(at(0), "a");
    notices.want(at(0), "a");
    notices.want(at(0), "b");
    assert_eq!(send(&mut notices, at(0)), [(1, "a", false), (2, "b", false)]);
    assert_eq!(notices.acknowledge(at(5), 1, true).map(|done| (done.subject, done.tries)), Some(("a", 1)));
    assert_eq!(notices.acknowledge(at(5), 1, true), None, "once");
    assert_eq!(notices.acknowledge(at(5), 9, true), None, "never sent");
    assert!(notices.acknowledge(at(6), 2, true).is_some());
    assert_eq!((notices.len(), notices.wakeup()), (0, None));
}

#[test]
fn news_while_one_is_under_way_is_sent_after_it() {
    let mut notices = notices();
    notices.want(at(0), "a");
    assert_eq!(send(&mut notices, at(0)).len(), 1);
    notices.want(at(1), "a");
    assert_eq!(send(&mut notices, at(1)), [], "one at a time");
    assert!(notices.acknowledge(at(2), 1, true).is_some_and(|done| done.again));
    assert_eq!(send(&mut notices, at(2)), [(2, "a", false)]);
}

#[test]
fn silence_is_repeated_with_growing_pauses_and_given_up() {
    let mut notices = notices();
    notices.want(at(0), "a");
    let mut sent = Vec::new();
    let mut now = at(0);
    while let Some(wakeup) = notices.wakeup() {
        now = now.max(wakeup);
        sent.extend(send(&mut notices, now).into_iter().map(|_| now.0.as_secs()));
    }
    // Three seconds of patience each time, and then two, four, six and eight.
    assert_eq!(sent, [0, 5, 12, 21, 32]);
    assert_eq!((notices.take_given_up(), notices.take_given_up()), (1, 0));
    assert!(notices.is_empty());
    notices.want(now, "a");
    assert_eq!(send(&mut notices, now).len(), 1, "a new change is told again");
}

#[test]
fn news_while_one_rests_is_sent_at_once() {
    let mut notices = notices();
    notices.want(at(0), "a");
    send(&mut notices, at(0));
    assert_eq!(send(&mut notices, at(3_000)), [], "it rests");
    assert_eq!(notices.wakeup(), Some(at(5_000)));
    notices.want(at(3_100), "a");
    assert_eq!(send(&mut notices, at(3_100)), [(2, "a", false)]);
    assert_eq!(notices.acknowledge(at(3_200), 1, true), None, "the first one is of no interest any more");
    assert!(notices.acknowledge(at(3_200), 2, true).is_some());
}

#[test]
fn a_failure_is_no_acknowledgement() {
    let mut notices = notices();
    notices.want(at(0), "a");
    send(&mut notices, at(0));
    assert_eq!(notices.acknowledge(at(10), 1, false), None);
    assert_eq!(send(&mut notices, at(10)), []);
    assert_eq!(send(&mut notices, at(2_010)), [(2, "a", true)]);
}

#[test]
fn what_has_not_helped_is_repeated_until_it_was_often_enough() {
    let mut notices = notices();
    notices.want(at(0), "a");
    let mut now = at(0);
    let mut sent = 0;
    while let Some(sending) = notices.next(now) {
        sent += 1;
        let done = notices.acknowledge(now, sending.number, true).expect("it was sent");
        if !notices.repeat(now, "a", done.tries) {
            break;
        }
        now = notices.wakeup().expect("it is to be repeated");
    }
    assert_eq!((sent, notices.len()), (5, 0));
}

#[test]
fn what_has_not_helped_is_repeated_after_a_second_and_then_ever_later() {
    let mut notices = notices();
    notices.want(at(0), "a");
    let (mut now, mut sent) = (at(0), Vec::new());
    while let Some(sending) = notices.next(now) {
        sent.push(now.0.as_millis());
        let done = notices.acknowledge(now, sending.number, true).expect("it was sent");
        if notices.repeat(now, "a", done.tries) {
            now = notices.wakeup().expect("it is to be repeated");
        }
    }
    assert_eq!(sent, [0, 1_000, 3_000, 7_000, 13_000]);
}

#[test]
fn what_was_told_in_another_way_follows_later_and_not_at_all_when_it_has_helped() {
    let mut notices = notices();
    notices.want_later(at(0), "a");
    notices.want_later(at(0), "b");
    notices.settle(&"b");
    assert_eq!((send(&mut notices, at(1_999)), send(&mut notices, at(2_000))), (vec![], vec![(1, "a", true)]));
}

proptest! {
    /// However many are repeated together: no two repetitions go out closer than the spread, each goes out once its
    /// pause is over and as soon as its turn comes, and news are not held up by them.
    #[test]
    fn repetitions_are_spread_and_news_are_not_held_up(acknowledged in prop::collection::vec(0..500_u64, 1..100)) {
        let policy = Policy::default();
        let mut notices: Notices<usize> = Notices::new(policy);
        for (subject, millis) in acknowledged.iter().enumerate() {
            notices.repeat(at(*millis), subject, 1);
        }
        let (mut last, mut repeated) = (None, 0);
        while let Some(now) = notices.wakeup() {
            notices.want(now, usize::MAX);
            let mut is_told = false;
            while let Some(sending) = notices.next(now) {
                prop_assert!(notices.acknowledge(now, sending.number, true).is_some());
                if sending.subject == usize::MAX {
                    is_told = true;
                    continue;
                }
                repeated += 1;
                let due = acknowledged.get(sending.subject).map(|millis| at(*millis).after(policy.first));
                prop_assert!(due.is_some_and(|due| due <= now), "too early");
                let spread = last.map(|last| now.since(last));
                prop_assert!(spread.is_none_or(|spread| spread >= policy.spread), "{spread:?}");
                last = Some(now);
            }
            prop_assert!(is_told);
        }
        prop_assert_eq!(repeated, acknowledged.len());
        let most = policy.spread * u32::try_from(repeated).unwrap_or(u32::MAX);
        prop_assert!(last.is_some_and(|last| last <= at(500).after(policy.first).after(most)));
    }
}

#[test]
fn what_is_settled_or_forgotten_is_not_sent() {
    let mut notices = notices();
    notices.want(at(0), "a");
    notices.settle(&"a");
    assert_eq!(send(&mut notices, at(0)), []);
    notices.want(at(0), "a");
    assert_eq!(send(&mut notices, at(0)).len(), 1);
    notices.want(at(0), "a");
    notices.settle(&"a");
    assert!(notices.acknowledge(at(1), 1, true).is_some_and(|done| !done.again));
    notices.want(at(2), "b");
    send(&mut notices, at(2));
    notices.forget(&"b");
    assert_eq!(notices.acknowledge(at(3), 2, true), None);
    assert_eq!(notices.wakeup(), None);
}
