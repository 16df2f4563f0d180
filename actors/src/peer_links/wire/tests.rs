//! Tests of the form of frames: what is written is read back, whatever the bytes are, reading ends with a frame or an
//! error, and the bytes of a version stay what they are.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod samples;

use std::sync::Arc;

use bytes::Bytes;
use callboard_protocol::commit::{BatchId, Operation};
use callboard_protocol::config::{ConfigState, Version};
use callboard_protocol::content::Content;
use callboard_protocol::extent::{Extent, Fingerprint};
use callboard_protocol::lease::Announcement;
use callboard_protocol::link::Versions;
use callboard_protocol::member::{Ack, AckNo, Incarnation, NodeId, Timeline};
use callboard_protocol::receiver::NotifyEvent;
use callboard_protocol::receiver::{CommittedChange, NotifyCommitEvent};
use callboard_protocol::time::WallMillis;
use proptest::prelude::{ProptestConfig, any, proptest};
use uuid::Uuid;

use self::samples::{key, message};
use super::event::{MAX_CONTENT_ALONG, MAX_STATES_ALONG};
use super::{Frame, Hello, MAX_HELLO, PEER_VERSIONS, WireError, encode_message};
use crate::codec;
use crate::transport::PeerMessage;
use callboard_protocol::clients::{ClientFilter, ClientQuery, NodePushes, Page, PushQuery};
use callboard_protocol::push_ledger::PushState;

use crate::peer_links::{PeerQuery, PeerReply, PeerStatus};

fn decode_message(bytes: &[u8], version: u16) -> PeerMessage {
    match Frame::decode(bytes, version).unwrap() {
        Frame::Message(message) => message,
        other => panic!("{other:?}"),
    }
}

/// `PeerMessage` has no equality; what it shows has.
fn shown(message: &PeerMessage) -> String {
    format!("{message:?}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn what_is_written_is_read_back(message in message(), version in 1..=3_u16, cut in 0..64_usize) {
        let bytes = encode_message(&message, version).unwrap();
        assert_eq!(shown(&decode_message(&bytes, version)), shown(&message));
        let shorter = &bytes[..bytes.len().saturating_sub(cut + 1)];
        assert!(Frame::decode(shorter, version).is_err());
    }

    #[test]
    fn any_bytes_are_a_frame_or_an_error(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0..10_u8) {
        // The form, a frame, a message: so that the depths are reached as well.
        for (byte, value) in bytes.iter_mut().zip([1, 2, kind]) {
            *byte = value;
        }
        if let Ok(frame) = Frame::decode(&bytes, PEER_VERSIONS.max) {
            frame.encode(PEER_VERSIONS.max).unwrap();
        }
        drop(Hello::decode(&bytes));
    }

    #[test]
    fn a_frame_with_changed_bytes_is_a_frame_or_an_error(
        message in message(), changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..8)
    ) {
        let mut bytes = encode_message(&message, 1).unwrap().to_vec();
        for (at, value) in changes {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        if let Ok(frame) = Frame::decode(&bytes, 1) {
            frame.encode(1).unwrap();
        }
    }
}

fn status() -> PeerStatus {
    PeerStatus {
        revision: Version(7),
        incarnation: Some(Incarnation(Uuid::from_u128(9))),
        version: "0.1.0".to_owned(),
        state: "member".to_owned(),
    }
}

#[test]
fn queries_exist_from_version_2_on() {
    let request = Frame::Request { id: 3, query: PeerQuery::Status };
    let reply = Frame::Reply { id: 3, reply: Some(PeerReply::Status(status())) };
    for frame in [request, reply] {
        assert_eq!(frame.encode(1).unwrap_err(), WireError::NotInVersion(1));
        let bytes = frame.encode(2).unwrap();
        assert_eq!(Frame::decode(&bytes, 1).unwrap_err(), WireError::NotInVersion(1));
        assert_eq!(format!("{:?}", Frame::decode(&bytes, 2).unwrap()), format!("{frame:?}"));
    }
}

#[test]
fn queries_about_clients_exist_from_version_4_on() {
    let query = ClientQuery { filter: ClientFilter::default(), after: None, limit: 7, keys: 2 };
    let pushes = PushQuery { key: key("d"), version: Version(4), state: None, after: None, limit: 7 };
    let known = NodePushes { page: Page::default(), counts: [0; PushState::ALL.len()], is_whole: true };
    let frames = [
        Frame::Request { id: 3, query: PeerQuery::Clients(Box::new(query)) },
        Frame::Request { id: 4, query: PeerQuery::Pushes(Box::new(pushes)) },
        Frame::Reply { id: 3, reply: Some(PeerReply::Clients(Page::default())) },
        Frame::Reply { id: 4, reply: Some(PeerReply::Pushes(Box::new(known))) },
    ];
    for frame in frames {
        assert_eq!(frame.encode(3).unwrap_err(), WireError::NotInVersion(3));
        let bytes = frame.encode(4).unwrap();
        assert_eq!(Frame::decode(&bytes, 3).unwrap_err(), WireError::NotInVersion(3));
        assert_eq!(format!("{:?}", Frame::decode(&bytes, 4).unwrap()), format!("{frame:?}"));
    }
}

#[test]
fn texts_of_a_peer_are_bounded() {
    let long =
        Frame::Reply { id: 0, reply: Some(PeerReply::Status(PeerStatus { state: "x".repeat(129), ..status() })) };
    assert_eq!(Frame::decode(&long.encode(2).unwrap(), 2).unwrap_err(), WireError::Text("state"));
    let nack = PeerMessage::Nack { batch: BatchId(Uuid::nil()), reason: "two\nlines".to_owned() };
    assert_eq!(Frame::decode(&encode_message(&nack, 1).unwrap(), 1).unwrap_err(), WireError::Text("reason"));
}

#[test]
fn the_bytes_of_version_1_stay_what_they_are() {
    let batch = BatchId(Uuid::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10));
    let ack = Ack {
        node: NodeId("n1".into()),
        incarnation: Incarnation(batch.0),
        number: AckNo(300),
        known: Extent::default(),
    };
    let id = "100102030405060708090a0b0c0d0e0f10";
    assert_eq!(hex(&Frame::Ping(1).encode(1).unwrap()), "010001");
    assert_eq!(hex(&Frame::Pong(1).encode(1).unwrap()), "010101");
    assert_eq!(
        hex(&encode_message(&PeerMessage::Ack { batch, ack }, 1).unwrap()),
        format!("010201{id}026e31{id}fb2c01")
    );
    let state = ConfigState {
        formal: Some(Content::new(Bytes::from_static(b"a=1")).unwrap()),
        created_at: WallMillis(1),
        modified_at: WallMillis(2),
        ..ConfigState::absent(key("d"), Version(5))
    };
    let change = CommittedChange { operation: Operation::Create, ..CommittedChange::found(Arc::new(state)) };
    let (timeline, revision, changes) = (Timeline(1), Version(5), vec![change]);
    let commit = NotifyCommitEvent { timeline, batch, revision, changes, database: Fingerprint::UNKNOWN };
    assert_eq!(
        hex(&encode_message(&PeerMessage::Commit(commit), 1).unwrap()),
        format!("01020301{id}0501067075626c6963016701640500010103613d3100000000000000000204")
    );
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_hello_stays_what_it_is_and_is_short() {
    let hello =
        Hello { node: NodeId("n1".into()), versions: Versions { min: 1, max: 2 }, software: "0.1.0".to_owned() };
    let bytes = hello.encode().unwrap();
    assert_eq!(hex(&bytes), "01026e31010205302e312e30");
    assert_eq!(Hello::decode(&bytes).unwrap(), hello);
    let longest = Hello { node: NodeId("n".repeat(64).into()), software: "s".repeat(128), ..hello.clone() };
    assert!(longest.encode().unwrap().len() <= MAX_HELLO);
    for node in ["", "a/b", "a b", &"n".repeat(65)] {
        let bytes = Hello { node: NodeId(node.into()), ..hello.clone() }.encode().unwrap();
        assert_eq!(Hello::decode(&bytes).unwrap_err(), WireError::Text("node id"));
    }
    assert!(Hello { software: "s".repeat(129), ..hello }.encode().is_err());
}

fn with_content(bytes: usize, version: u64) -> CommittedChange {
    let state = ConfigState {
        formal: Some(Content::new("x".repeat(bytes).into()).unwrap()),
        ..ConfigState::absent(key("d"), Version(version))
    };
    CommittedChange::found(Arc::new(state))
}

fn sent_along(changes: Vec<CommittedChange>) -> Vec<bool> {
    let (timeline, batch, revision) = (Timeline(1), BatchId(Uuid::nil()), Version(1));
    let event = NotifyCommitEvent { timeline, batch, revision, changes, database: Fingerprint::UNKNOWN };
    let bytes = encode_message(&PeerMessage::Commit(event), 1).unwrap();
    assert!(bytes.len() < MAX_STATES_ALONG + 1024 * 1024);
    match decode_message(&bytes, 1) {
        PeerMessage::Commit(event) => event.changes.iter().map(|change| change.state.is_some()).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_large_content_is_not_sent_along() {
    let changes = vec![with_content(MAX_CONTENT_ALONG, 1), with_content(MAX_CONTENT_ALONG + 1, 2), with_content(1, 3)];
    assert_eq!(sent_along(changes), [true, false, true]);
}

#[test]
fn a_commit_event_carries_states_up_to_its_limit() {
    let changes: Vec<_> = (0..100).map(|version| with_content(MAX_CONTENT_ALONG, version)).collect();
    let sent = sent_along(changes);
    let count = sent.iter().filter(|sent| **sent).count();
    assert!((60..=64).contains(&count), "{count}");
    // Once there is no room, there is none for the rest.
    assert!(sent[..count].iter().all(|sent| *sent));
}

#[test]
fn a_frame_that_is_too_long_is_not_written() {
    let items = vec![(key("d"), callboard_protocol::write_request::RequestId::new(&"r".repeat(128)).unwrap()); 150_000];
    let event = callboard_protocol::receiver::NotifyEvent {
        timeline: Timeline(1),
        batch: BatchId(Uuid::nil()),
        publisher: NodeId("n1".into()),
        publisher_incarnation: Incarnation(Uuid::nil()),
        items,
        database: Fingerprint::UNKNOWN,
    };
    let error = encode_message(&PeerMessage::Notify(event), 1).unwrap_err();
    assert_eq!(error, WireError::Codec(codec::CodecError::Encode));
}

#[test]
fn from_version_5_on_messages_say_of_which_database_they_are() {
    let (batch, node, incarnation) =
        (BatchId(Uuid::from_u128(7)), NodeId("n1".into()), Incarnation(Uuid::from_u128(8)));
    let (database, extent) = (Fingerprint(9), Extent::new(Timeline(2), Version(300)));
    let notify = NotifyEvent {
        timeline: Timeline(2),
        batch,
        publisher: node.clone(),
        publisher_incarnation: incarnation,
        items: Vec::new(),
        database,
    };
    let commit =
        NotifyCommitEvent { timeline: Timeline(2), batch, revision: Version(300), changes: Vec::new(), database };
    let ack = Ack { node: node.clone(), incarnation, number: AckNo(1), known: extent };
    let decoded = |message: PeerMessage, version| decode_message(&encode_message(&message, version).unwrap(), version);
    for (version, said, known) in [(4, Fingerprint::UNKNOWN, Extent::default()), (5, database, extent)] {
        let PeerMessage::Notify(event) = decoded(PeerMessage::Notify(notify.clone()), version) else { panic!() };
        assert_eq!(event, NotifyEvent { database: said, ..notify.clone() });
        let PeerMessage::Commit(event) = decoded(PeerMessage::Commit(commit.clone()), version) else { panic!() };
        assert_eq!(event, NotifyCommitEvent { database: said, ..commit.clone() });
        let PeerMessage::Ack { ack: heard, .. } = decoded(PeerMessage::Ack { batch, ack: ack.clone() }, version) else {
            panic!()
        };
        assert_eq!(heard, Ack { known, ..ack.clone() });
    }
    let said = Announcement { node, incarnation: Some(incarnation), renew_seq: 3, database, extent };
    let announcement = PeerMessage::Announcement(said.clone());
    assert_eq!(encode_message(&announcement, 4).unwrap_err(), WireError::NotInVersion(4));
    let bytes = encode_message(&announcement, 5).unwrap();
    assert_eq!(Frame::decode(&bytes, 4).unwrap_err(), WireError::NotInVersion(4));
    let PeerMessage::Announcement(heard) = decode_message(&bytes, 5) else { panic!() };
    assert_eq!(heard, said);
}
