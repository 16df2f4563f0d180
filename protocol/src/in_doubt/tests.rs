//! What each answer of the database proves, and how often it is asked.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use crate::extent::Extent;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::member::{Incarnation, NodeId};
use crate::write_request::Fingerprint;

const NUMBER: AckNo = AckNo(4);

fn ack() -> Ack {
    Ack {
        node: NodeId("n1".into()),
        incarnation: Incarnation(Uuid::from_u128(1)),
        number: NUMBER,
        known: Extent::default(),
    }
}

fn landed() -> Vec<(RequestId, Recorded)> {
    let recorded = Recorded { fingerprint: Fingerprint(crate::content::Md5([0; 16])), items: Vec::new() };
    vec![(RequestId::new("r").unwrap(), recorded)]
}

fn end(outcome: Outcome) -> Option<Effect> {
    Some(Effect::End { raised: Some(NUMBER), outcome })
}

/// A question whose first pause is over, and what it says then.
fn asked(ack: Option<Ack>) -> (InDoubt, Option<Effect>) {
    let mut question = InDoubt::new(ack);
    assert_eq!(question.begin(), Effect::Pause(Duration::ZERO));
    let effect = question.step(Event::Paused);
    (question, effect)
}

#[test]
fn a_raised_floor_settles_it() {
    let (mut question, effect) = asked(Some(ack()));
    assert_eq!(effect, Some(Effect::RaiseFloor(ack())));
    assert_eq!(question.step(Event::Floored(Ok(Some(landed())))), end(Outcome::Landed(landed())));
    assert_eq!(question.step(Event::Floored(Ok(None))), None, "it has ended");
}

#[test]
fn a_refused_floor_says_that_a_look_finds_all_there_is() {
    let (mut question, _) = asked(Some(ack()));
    assert_eq!(question.step(Event::Floored(Ok(None))), Some(Effect::FindRequests));
    assert_eq!(question.step(Event::Looked(Ok(landed()))), end(Outcome::Landed(landed())));
}

#[test]
fn without_an_own_ack_what_is_not_there_may_still_come() {
    let (mut question, effect) = asked(None);
    assert_eq!(effect, Some(Effect::FindRequests));
    let outcome = Outcome::LandedUncertain(Vec::new());
    assert_eq!(question.step(Event::Looked(Ok(Vec::new()))), Some(Effect::End { raised: None, outcome }));
}

#[test]
fn a_refused_floor_proves_nothing_for_the_try_after_it() {
    let (mut question, _) = asked(Some(ack()));
    question.step(Event::Floored(Ok(None)));
    let effect = question.step(Event::Looked(Err("gone".to_owned())));
    assert_eq!(effect, Some(Effect::Pause(Duration::from_millis(100))));
    assert_eq!(question.step(Event::Paused), Some(Effect::RaiseFloor(ack())));
}

#[test]
fn the_database_is_asked_nine_times_within_three_seconds_and_the_last_reason_is_told() {
    let (mut question, mut effect) = asked(Some(ack()));
    let mut waited = Duration::ZERO;
    for _ in 1..9 {
        assert_eq!(effect, Some(Effect::RaiseFloor(ack())));
        let Some(Effect::Pause(pause)) = question.step(Event::Floored(Err("away".to_owned()))) else {
            panic!("no pause after {waited:?}")
        };
        waited += pause;
        effect = question.step(Event::Paused);
    }
    assert_eq!(waited, Duration::from_secs(3));
    let reason = "still away".to_owned();
    assert_eq!(question.step(Event::Floored(Err(reason.clone()))), end(Outcome::Unresolved { reason }));
}

proptest! {
    #[test]
    fn invariant_it_ends_and_says_that_nothing_lands_only_where_that_is_shut_out(
        has_ack in any::<bool>(), answers in proptest::collection::vec(0_u8..4, 40),
    ) {
        let (mut question, mut effect) = asked(has_ack.then(ack));
        let (mut is_shut_out, mut found) = (false, None);
        for answer in answers {
            let event = match effect.take() {
                Some(Effect::Pause(_)) => {
                    is_shut_out = false;
                    Event::Paused
                }
                Some(Effect::RaiseFloor(_)) => {
                    is_shut_out = answer < 2;
                    Event::Floored(match answer {
                        0 => Ok(Some(landed())),
                        1 => Ok(None),
                        _ => Err(String::new()),
                    })
                }
                Some(Effect::FindRequests) => {
                    Event::Looked(if answer < 2 { Ok(landed()) } else { Err(String::new()) })
                }
                Some(Effect::End { raised, outcome }) => {
                    prop_assert_eq!(raised, has_ack.then_some(NUMBER));
                    found = Some(outcome);
                    break;
                }
                None => return Err(TestCaseError::fail("nothing follows")),
            };
            effect = question.step(event);
        }
        match found {
            Some(Outcome::Landed(_)) => prop_assert!(is_shut_out),
            Some(Outcome::LandedUncertain(_)) => prop_assert!(!has_ack),
            Some(Outcome::Unresolved { .. }) => {}
            None => prop_assert!(false, "nine tries take 27 answers at most"),
        }
    }
}
