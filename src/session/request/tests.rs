//! What clients may send, and how bad messages are named.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use callboard_actors::session::native::message::{Fault, Request};
use callboard_proto::session::Envelope;
use callboard_proto::session::envelope::Kind;
use callboard_proto::{MAX_FRAME, MAX_GREETING, frame, session as proto};
use callboard_protocol::error_code::ErrorCode;
use callboard_protocol::session::client::ClientKind;
use callboard_protocol::write_request::{Condition, Expected};
use futures_util::FutureExt as _;
use proptest::prelude::*;

use crate::api::access::Principal;
use crate::api::auth::Authenticator;
use crate::session::Peer;
use crate::session::request::heard;

fn peer() -> Peer {
    let (address, auth) = ("10.0.0.7".to_owned(), Authenticator::off());
    Peer { address, kind: ClientKind::Tcp, principal: Principal::Unrestricted, auth, has_greeted: false }
}

/// Where nobody has to be known nothing is waited for.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().unwrap()
}

fn take(id: u64, kind: Kind) -> Result<Request, Fault> {
    at_once(heard(Envelope { id, kind: Some(kind) }, 1, &mut peer())).request
}

fn key() -> Option<proto::Key> {
    Some(proto::Key { namespace: String::new(), group: "g".to_owned(), data_id: "d".to_owned() })
}

#[track_caller]
fn refused(kind: Kind, code: &str) {
    match take(1, kind) {
        Err(Fault::Form(is, _)) => assert_eq!(is.as_str(), code),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_publish_becomes_a_unit_of_one_item() {
    let condition = Some(proto::Condition { if_version: 7, ..proto::Condition::default() });
    let publish = proto::Publish {
        key: key(),
        content: "a: 1".to_owned(),
        r#type: "yaml".to_owned(),
        condition,
        idempotency_key: "k1".to_owned(),
        ..proto::Publish::default()
    };
    let Ok(Request::Change(unit)) = take(1, Kind::Publish(publish)) else { panic!("it is taken") };
    let [item] = &unit.items[..] else { panic!("one item") };
    assert_eq!((item.key.namespace(), unit.request_id.as_str(), unit.repeatable), ("public", "k1", true));
    assert!(matches!(&item.condition, Condition::Matches(expected) if matches!(expected[..], [Expected::Version(_)])));
    assert_eq!(unit.origin.source_address.as_deref(), Some("10.0.0.7"));
}

#[test]
fn bad_fields_are_named_by_the_codes_of_the_other_interface() {
    let get = |data_id: &str| {
        let key = proto::Key { data_id: data_id.to_owned(), group: "g".to_owned(), namespace: String::new() };
        Kind::Get(proto::Get { key: Some(key) })
    };
    refused(get("a b"), "invalid_name");
    refused(get(""), "invalid_name");
    refused(Kind::Get(proto::Get { key: None }), "invalid_parameter");
    let publish =
        |content: &str| Kind::Publish(proto::Publish { key: key(), content: content.to_owned(), ..Default::default() });
    refused(publish(" "), "invalid_content");
    refused(publish(&"x".repeat(10 * 1024 * 1024 + 1)), "too_large");
    let typed = proto::Publish { key: key(), content: "x".to_owned(), r#type: "word".to_owned(), ..Default::default() };
    refused(Kind::Publish(typed), "invalid_parameter");
    let both = proto::Condition { if_version: 1, if_absent: true, ..proto::Condition::default() };
    refused(
        Kind::Delete(proto::Delete { key: key(), condition: Some(both), ..Default::default() }),
        "invalid_condition",
    );
    refused(Kind::List(proto::List { limit: 501, ..proto::List::default() }), "invalid_parameter");
    refused(Kind::List(proto::List { cursor: "x".to_owned(), ..proto::List::default() }), "invalid_cursor");
    refused(Kind::Watch(proto::Watch::default()), "invalid_parameter");
    refused(Kind::Hello(proto::Hello::default()), "invalid_parameter");
    refused(Kind::Rejected(proto::Rejected { key: key(), version: 1, reason: "x".repeat(1_025) }), "invalid_parameter");
}

#[test]
fn what_nodes_say_and_what_nobody_knows_is_refused() {
    refused(Kind::Push(proto::Push::default()), "unknown_request");
    let unknown = at_once(heard(Envelope { id: 3, kind: None }, 1, &mut peer()));
    assert!(matches!(unknown.request, Err(Fault::Form(ErrorCode::UnknownRequest, _))) && unknown.id == 3);
}

#[test]
fn a_question_needs_a_number() {
    let question = take(0, Kind::Get(proto::Get { key: key() }));
    assert!(matches!(question, Err(Fault::Form(ErrorCode::MalformedRequest, _))));
    assert!(matches!(take(0, Kind::Applied(proto::Applied { key: key(), version: 1 })), Ok(Request::Applied(..))));
}

#[test]
fn long_messages_are_taken_once_a_hello_was_said() {
    let hello = proto::Hello { client_id: "shop-7".to_owned(), max_version: 1, ..proto::Hello::default() };
    let mut peer = peer();
    let mut say = |kind: Kind| {
        drop(at_once(heard(Envelope { id: 1, kind: Some(kind) }, 1, &mut peer)));
        peer.longest()
    };
    assert_eq!(say(Kind::Get(proto::Get { key: key() })), MAX_GREETING);
    assert_eq!(say(Kind::Hello(proto::Hello::default())), MAX_GREETING, "it names nobody");
    assert_eq!(say(Kind::Hello(hello)), MAX_FRAME);
}

#[test]
fn what_is_held_besides_is_read_as_in_a_hello() {
    let held = |md5: &str| proto::Hold { held: vec![proto::Held { key: key(), version: 3, md5: md5.to_owned() }] };
    assert!(matches!(take(0, Kind::Hold(held(""))), Ok(Request::Hold(held)) if held.len() == 1));
    refused(Kind::Hold(held("x")), "invalid_parameter");
}

proptest! {
    #[test]
    fn no_message_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(envelope) = frame::decode(bytes.into()) {
            drop(at_once(heard(envelope, 1, &mut peer())));
        }
    }
}
