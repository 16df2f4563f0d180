//! A flood takes little room, and what finds none is counted.

use super::*;
use crate::write_request::Source;

const NOON: WallMillis = WallMillis(1_800_000_000_000);

fn refused(address: &str) -> Event {
    let who = Who { user: None, address: Some(address.to_owned()), door: Source::Rest };
    let event = Event::done(NOON, What::LogInRefused, who, Target::default());
    event.ended(Outcome::Refused, Some(ErrorCode::Unauthenticated))
}

fn log_in() -> Event {
    Event::done(NOON, What::LogIn, Who::SERVER, Target::default())
}

#[test]
fn what_anybody_can_cause_is_summed_by_who_it_was() {
    let mut tally = Tally::new(10);
    for _ in 0..10_000 {
        assert!(tally.add(refused("192.0.2.1")));
    }
    tally.add(refused("192.0.2.2"));
    let counts: Vec<u64> = tally.take(NOON).iter().map(|event| event.count).collect();
    assert_eq!(counts, [10_000, 1]);
    assert!(tally.is_empty());
    tally.add(refused("192.0.2.1"));
    assert_eq!(tally.take(NOON)[0].count, 1, "what was taken is not added to");
}

#[test]
fn what_is_not_summed_stands_by_itself() {
    let mut tally = Tally::new(10);
    tally.add(log_in());
    tally.add(log_in());
    assert_eq!(tally.take(NOON).len(), 2);
}

#[test]
fn what_finds_no_room_is_counted() {
    let mut tally = Tally::new(2);
    for _ in 0..5 {
        tally.add(log_in());
    }
    tally.leave_out(4);
    let taken = tally.take(NOON);
    assert_eq!(taken.len(), 3);
    assert_eq!((taken[2].what, taken[2].count, taken[2].outcome), (What::LeftOut, 7, Outcome::Unknown));
}

#[test]
fn what_is_put_back_comes_first_and_keeps_its_bound() {
    let mut tally = Tally::new(8);
    tally.add(refused("192.0.2.1"));
    tally.add(log_in());
    tally.leave_out(1);
    let taken = tally.take(NOON);
    tally.add(refused("192.0.2.1"));
    tally.add(refused("192.0.2.2"));
    assert!(!tally.add(refused("192.0.2.3")), "strangers get a part of the room");
    tally.put_back(taken);
    let again = tally.take(NOON);
    assert_eq!(again.iter().map(|event| event.count).collect::<Vec<_>>(), [2, 1, 1, 2], "{again:?}");
    assert_eq!(again[3].what, What::LeftOut);
}
