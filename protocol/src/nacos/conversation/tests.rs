//! Streams that come and go, registrations that come late, and a node that stops.

use super::*;

type Talk = Conversation<&'static str>;

fn seating() -> Talk {
    let mut talk = Talk::default();
    assert_eq!(talk.open_stream(), None);
    assert!(talk.set_up());
    talk
}

fn set_up() -> Talk {
    let mut talk = seating();
    assert_eq!(talk.registered(1), Registration::First);
    talk.begin("client");
    talk
}

fn known_at(talk: &mut Talk, stream: u64) -> Option<&'static str> {
    talk.known_at(stream).copied()
}

#[test]
fn a_client_is_set_up_once_it_has_said_who_it_is_and_has_its_seat() {
    let mut talk = Talk::default();
    assert!(!talk.set_up() && !talk.is_current(0), "no stream is open");
    assert_eq!(talk.open_stream(), None);
    assert!(talk.is_current(1) && talk.known().is_none());
    assert!(talk.set_up() && !talk.set_up(), "it says so once");
    assert_eq!((talk.registered(1), talk.known()), (Registration::First, None));
    talk.begin("client");
    assert_eq!((talk.known().copied(), known_at(&mut talk, 1)), (Some("client"), Some("client")));
    assert!(!talk.set_up(), "it is known");
    assert_eq!(talk.registered(1), Registration::Again, "the coordinator had forgotten it");
}

#[test]
fn another_stream_takes_back_what_was_said_on_the_one_before() {
    let mut talk = set_up();
    assert_eq!(talk.open_stream().as_deref(), Some(&"client"));
    assert!(!talk.is_current(1) && talk.is_current(2));
    assert_eq!((talk.end_stream(1), talk.is_current(2)), (None, true), "the former one ends late");
    assert!(talk.set_up());
    talk.begin("again");
    assert_eq!((known_at(&mut talk, 1), known_at(&mut talk, 2)), (None, Some("again")));
    assert_eq!(talk.end_stream(2).as_deref(), Some(&"again"));
    assert!(!talk.is_current(2));
}

#[test]
fn a_seat_that_comes_after_its_stream_is_given_back_unless_somebody_sits_on_it() {
    let mut talk = seating();
    talk.end_stream(1);
    assert_eq!(talk.registered(1), Registration::GiveBack);
    talk.open_stream();
    assert_eq!(talk.registered(1), Registration::GiveBack);
    talk.set_up();
    assert_eq!(talk.registered(1), Registration::Former);
    talk.begin("client");
    assert_eq!((talk.registered(1), talk.registered(2)), (Registration::Former, Registration::Again));
}

#[test]
fn a_connection_that_ends_gives_back_a_seat_that_is_on_its_way() {
    assert_eq!(seating().end(), (None, true));
    let (known, is_registering) = set_up().end();
    assert_eq!((known.as_deref(), is_registering), (Some(&"client"), false));
    assert_eq!(Talk::default().end(), (None, false));
}

#[test]
fn a_node_that_stops_waits_for_nobody_who_is_not_set_up() {
    for mut talk in [Talk::default(), seating()] {
        assert!(!talk.has_to_leave());
        talk.stop();
        assert!(talk.has_to_leave());
    }
    let mut talk = set_up();
    talk.stop();
    assert!(!talk.has_to_leave());
    talk.end_stream(1);
    assert!(talk.has_to_leave(), "it has taken back what it said");
}

#[test]
fn a_conversation_that_the_node_ends_has_no_stream_and_answers_what_is_under_way() {
    let mut talk = set_up();
    talk.leave();
    talk.stop();
    assert!(talk.is_leaving() && !talk.is_current(1));
    assert_eq!((talk.end_stream(1), known_at(&mut talk, 1)), (None, Some("client")), "it is answered still");
    assert_eq!(talk.registered(1), Registration::Former);
    assert_eq!(talk.open_stream().as_deref(), Some(&"client"));
    assert!(!talk.set_up() && !talk.is_current(2), "a stream that is complete at once");
}

#[test]
fn who_is_not_set_up_may_be_silent_for_longer() {
    let (short, long) = (Duration::from_secs(25), Duration::from_secs(60));
    let rest = Silence::Rest(Duration::from_secs(35));
    assert_eq!(Talk::default().about(Silence::Gone, short), rest);
    assert_eq!(Talk::default().about(Silence::Gone, long), Silence::Gone);
    assert_eq!(set_up().about(Silence::Gone, short), Silence::Gone);
    assert_eq!(set_up().about(rest, short), rest);
}

#[test]
fn what_is_wanted_while_it_is_under_way_is_done_once_more() {
    let mut again = Again::default();
    assert!(again.begin() && !again.begin() && !again.begin());
    assert!(again.end());
    assert!(!again.begin(), "it is under way");
    assert!(again.end() && !again.end());
    assert!(again.begin());
}
