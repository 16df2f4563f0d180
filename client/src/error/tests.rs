//! Tests of the judgement on a node's errors.

use std::time::Duration;

use callboard_proto::session as wire;

use super::{Error, Verdict, judge};

fn error(code: &str) -> wire::Error {
    wire::Error { code: code.into(), version: 7, md5: "aa".into(), request_id: "r".into(), ..wire::Error::default() }
}

#[test]
fn what_did_nothing_is_asked_again() {
    for code in ["unavailable", "overloaded", "shutting_down"] {
        assert!(matches!(judge(error(code)), Verdict::Again { nothing_was_done: true, after: None, .. }), "{code}");
    }
}

#[test]
fn an_unknown_outcome_is_asked_again_and_stays_unknown() {
    let Verdict::Again { nothing_was_done, error, .. } = judge(error("outcome_unknown")) else { panic!("final") };
    assert!(!nothing_was_done);
    assert_eq!(error, Error::OutcomeUnknown { request_id: "r".into() });
}

#[test]
fn what_the_credentials_are_not_for_is_final() {
    for code in ["unauthenticated", "forbidden"] {
        assert!(matches!(judge(error(code)), Verdict::Final(Error::Denied { .. })), "{code}");
    }
}

#[test]
fn what_breaks_a_rule_is_final() {
    for code in ["invalid_name", "too_large", "idempotency_key_reused", "unknown_request"] {
        assert!(matches!(judge(error(code)), Verdict::Final(Error::Invalid { .. })), "{code}");
    }
    assert_eq!(judge(error("not_found")), Verdict::Final(Error::NotFound));
    assert_eq!(
        judge(error("condition_failed")),
        Verdict::Final(Error::ConditionFailed { version: 7, md5: "aa".into() })
    );
    assert!(matches!(judge(error("something new")), Verdict::Final(Error::Refused { .. })));
}

#[test]
fn a_node_cannot_ask_for_an_endless_pause() {
    let slow = wire::Error { retry_after_ms: u64::MAX, ..error("overloaded") };
    assert!(matches!(judge(slow), Verdict::Again { after: Some(after), .. } if after == Duration::from_secs(5)));
}

#[test]
fn long_texts_of_a_node_are_cut() {
    let long = wire::Error { message: "é".repeat(5_000), ..error("internal") };
    let Verdict::Final(Error::Refused { message, .. }) = judge(long) else { panic!("not refused") };
    assert_eq!(message.chars().count(), 1_024);
}
