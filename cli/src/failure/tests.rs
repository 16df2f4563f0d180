//! What each failure means to scripts, and what it tells people.

use callboard_client::{ConfigKey, Error};

use super::Failure;

fn nodes() -> Vec<String> {
    vec!["n1:8850".to_owned(), "n2".to_owned()]
}

fn of_read(error: Error) -> Failure {
    Failure::of_read(error, &nodes())
}

fn of_change(error: Error) -> Failure {
    Failure::of_change(error, &ConfigKey::public("shop", "prices"), "request-7", &nodes())
}

fn refused(code: &str) -> Error {
    Error::Refused { code: code.to_owned(), message: "no".to_owned() }
}

fn invalid(code: &str) -> Error {
    Error::Invalid { code: code.to_owned(), message: "no".to_owned() }
}

fn denied(code: &str) -> Error {
    Error::Denied { code: code.to_owned(), message: "no".to_owned() }
}

#[test]
fn every_failure_has_its_exit_code() {
    let unreachable = || Error::Unreachable { reason: "refused".to_owned() };
    let failed = |version| Error::ConditionFailed { version, md5: String::new() };
    for (failure, code) in [
        (of_read(unreachable()), 1),
        (of_read(refused("unavailable")), 1),
        (of_read(invalid("unknown_request")), 1),
        (of_read(invalid("invalid_name")), 2),
        (of_read(denied("unauthenticated")), 6),
        (of_change(denied("forbidden")), 6),
        (Failure::Conflict("there is one".to_owned()), 4),
        (Failure::ChangeUnknown("no answer".to_owned()), 5),
        (of_change(unreachable()), 1),
        (of_change(refused("shutting_down")), 1),
        (of_change(invalid("too_large")), 2),
        (of_change(Error::NotFound), 3),
        (of_change(failed(3)), 4),
        (of_change(Error::OutcomeUnknown { request_id: "request-7".to_owned() }), 5),
        (of_change(refused("internal")), 5),
        (of_change(Error::Unexpected), 5),
        (of_change(Error::Closed), 5),
    ] {
        assert_eq!(failure.exit_code(), code, "{failure:?}");
    }
}

#[test]
fn who_reads_no_further_has_not_failed() {
    assert_eq!(Failure::Output(std::io::ErrorKind::BrokenPipe.into()).exit_code(), 0);
    assert_eq!(Failure::Output(std::io::ErrorKind::StorageFull.into()).exit_code(), 1);
}

#[test]
fn messages_say_what_to_do() {
    let message = of_read(Error::Unreachable { reason: "refused".to_owned() }).to_string();
    for said in ["n1:8850, n2", "refused", "--nodes", "CALLBOARD_CLIENT_NODES"] {
        assert!(message.contains(said), "{message}");
    }
    let message = of_read(denied("unauthenticated")).to_string();
    assert!(message.contains("callboard login") && message.contains("--token-file"), "{message}");
    let message = of_read(denied("forbidden")).to_string();
    assert!(message.contains("callboard whoami") && message.contains("callboard grant"), "{message}");
    let message = of_change(Error::OutcomeUnknown { request_id: String::new() }).to_string();
    assert!(message.contains("--idempotency-key request-7"), "{message}");
}

#[test]
fn a_failed_condition_names_the_present_version() {
    let failed = |version, md5: &str| of_change(Error::ConditionFailed { version, md5: md5.to_owned() }).to_string();
    assert!(failed(3, "abc").ends_with("public/shop/prices is at version 3"));
    assert!(failed(3, "").ends_with("does not exist; it was removed at version 3"));
    assert!(failed(0, "").ends_with("does not exist, and never did"));
}

#[test]
fn what_a_node_says_moves_no_cursor() {
    let error = Error::Refused { code: "internal".to_owned(), message: "\u{1b}[2J".to_owned() };
    assert!(!of_read(error).to_string().contains('\u{1b}'));
}
