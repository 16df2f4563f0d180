//! The JSON of every kind of message, and what is refused.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{JsonError, KINDS, decode, encode};
use crate::session::envelope::Kind;
use crate::session::{self, Envelope, Key, Push};
use crate::{MAX_HELD_AT_HELLO, MAX_ITEMS, MAX_KEYS, MAX_LABELS};

fn every_kind() -> Vec<Kind> {
    vec![
        Kind::Hello(session::Hello::default()),
        Kind::Get(session::Get::default()),
        Kind::List(session::List::default()),
        Kind::Publish(session::Publish::default()),
        Kind::Delete(session::Delete::default()),
        Kind::Watch(session::Watch::default()),
        Kind::Unwatch(session::Unwatch::default()),
        Kind::Applied(session::Applied::default()),
        Kind::Rejected(session::Rejected::default()),
        Kind::Ping(session::Ping::default()),
        Kind::Pong(session::Pong::default()),
        Kind::Hold(session::Hold::default()),
        Kind::Welcome(session::Welcome::default()),
        Kind::Config(session::Config::default()),
        Kind::Page(session::Page::default()),
        Kind::Published(session::Published::default()),
        Kind::Watching(session::Watching::default()),
        Kind::Unwatched(session::Unwatched::default()),
        Kind::Push(session::Push::default()),
        Kind::GoAway(session::GoAway::default()),
        Kind::Error(session::Error::default()),
    ]
}

#[test]
fn every_kind_goes_there_and_back_under_its_name() {
    let mut names = BTreeSet::new();
    for (id, kind) in every_kind().into_iter().enumerate() {
        let envelope = Envelope { id: id as u64, kind: Some(kind) };
        let text = encode(&envelope).unwrap();
        assert_eq!(decode(&text).unwrap(), envelope, "{text}");
        let members: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
        names.extend(members.into_iter().map(|(name, _)| name).filter(|name| name != "id"));
    }
    assert_eq!(names.iter().map(String::as_str).collect::<BTreeSet<_>>(), BTreeSet::from(KINDS));
}

#[test]
fn a_request_as_somebody_would_write_it() {
    let text = r#"{"id": 3, "get": {"key": {"group": "shop", "dataId": "prices.yaml"}}, "later": [1, 2]}"#;
    let envelope = decode(text).unwrap();
    let Some(Kind::Get(get)) = envelope.kind else { panic!("{envelope:?}") };
    let key = get.key.unwrap();
    assert_eq!((envelope.id, key.group.as_str(), key.data_id.as_str()), (3, "shop", "prices.yaml"));
}

#[test]
fn a_push_without_content_has_no_member_for_it() {
    let push = Push { key: Some(Key::default()), version: 4, ..Push::default() };
    let text = encode(&Envelope { id: 0, kind: Some(Kind::Push(push)) }).unwrap();
    assert!(!text.contains("content"), "{text}");
}

#[test]
fn an_unknown_kind_is_a_message_without_one() {
    assert_eq!(decode(r#"{"id": 8, "dance": {}}"#).unwrap(), Envelope { id: 8, kind: None });
}

#[test]
fn what_is_wrong_is_said() {
    assert!(matches!(decode("[]"), Err(JsonError::Malformed(_))));
    assert!(matches!(decode("{"), Err(JsonError::Malformed(_))));
    assert!(matches!(decode(r#"{"id": -1}"#), Err(JsonError::Id)));
    assert!(matches!(decode(r#"{"id": 1, "get": {}, "ping": {}}"#), Err(JsonError::Several(_, _))));
    let error = decode(r#"{"id": 1, "get": {"key": 5}}"#).unwrap_err();
    assert!(error.to_string().starts_with("get: "), "{error}");
}

#[test]
fn elements_are_read_as_far_as_there_may_be() {
    let list = |kind: &str, list: &str, many: usize| {
        format!(r#"{{"id":1,"{kind}":{{"{list}":[{}{{}}]}}}}"#, "{},".repeat(many - 1))
    };
    for (kind, name, most) in [
        ("hello", "held", MAX_HELD_AT_HELLO),
        ("hold", "held", MAX_KEYS),
        ("watch", "keys", MAX_KEYS),
        ("watch", "prefixes", MAX_KEYS),
        ("unwatch", "keys", MAX_KEYS),
        ("unwatch", "prefixes", MAX_KEYS),
        ("page", "items", MAX_ITEMS),
    ] {
        assert!(decode(&list(kind, name, most)).is_ok(), "{kind}");
        let Err(JsonError::Kind { id: 1, reason, .. }) = decode(&list(kind, name, 1_000_000)) else { panic!("{kind}") };
        assert!(reason.starts_with(&format!("more than {most} elements")), "{reason}");
    }
    let labels = (0..=MAX_LABELS).map(|number| format!("\"{number}\":\"\"")).collect::<Vec<_>>().join(",");
    assert!(decode(&format!(r#"{{"hello":{{"labels":{{{labels}}}}}}}"#)).is_err());
}

#[test]
fn what_nobody_knows_is_skipped_however_much_or_deep_it_is() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let text = format!(r#"{{"later":{deep},"id":4,"ping":{{"number":2,"more":{deep}}}}}"#);
    assert_eq!(decode(&text).unwrap(), Envelope { id: 4, kind: Some(Kind::Ping(session::Ping { number: 2 })) });
    // Where something is known to stand it is not.
    assert!(matches!(decode(&format!(r#"{{"id":4,"get":{deep}}}"#)), Err(JsonError::Kind { .. })));
}

#[test]
fn of_what_is_said_twice_the_last_counts() {
    let text = r#"{"id": 1, "ping": {"number": 1}, "id": 2, "ping": {"number": 3}}"#;
    assert_eq!(decode(text).unwrap(), Envelope { id: 2, kind: Some(Kind::Ping(session::Ping { number: 3 })) });
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}") {
        drop(decode(&text));
    }

    #[test]
    fn nothing_that_looks_like_a_message_makes_it_panic(
        kind in proptest::sample::select(KINDS.to_vec()),
        value in "(\\{\\}|5|null|\\[\\]|\"x\"|\\{\"key\": (\\{\\}|7|null)\\}|\\{\"keys\": \\[(\\{\\}|1)\\]\\})",
    ) {
        drop(decode(&format!(r#"{{"id": 1, "{kind}": {value}}}"#)));
    }
}
