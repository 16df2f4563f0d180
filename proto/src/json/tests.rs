//! The JSON of every kind of message, and what is refused.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{JsonError, KINDS, decode, encode};
use crate::session::envelope::Kind;
use crate::session::{self, Envelope, Key, Push};

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
