//! Frames survive every way of arriving, and nothing that arrives makes the splitter panic.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::{FrameError, decode, encode, split};
use crate::session::envelope::Kind;
use crate::session::{Envelope, Key, Ping, Push, Watch};
use crate::{MAX_FRAME, MAX_GREETING, MAX_HELD_AT_HELLO, MAX_KEYS};

fn ping(id: u64) -> Envelope {
    Envelope { id, kind: Some(Kind::Ping(Ping { number: id })) }
}

fn push(content: String) -> Envelope {
    let key = Key { namespace: "public".to_owned(), group: "g".to_owned(), data_id: "d".to_owned() };
    let push = Push { key: Some(key), version: 7, content: Some(content), ..Push::default() };
    Envelope { id: 0, kind: Some(Kind::Push(push)) }
}

fn all(buffer: &mut BytesMut) -> Vec<Envelope> {
    let mut found = Vec::new();
    while let Some(frame) = split(buffer, MAX_FRAME).unwrap() {
        found.push(decode(frame).unwrap());
    }
    found
}

#[test]
fn frames_split_at_every_byte_come_out_whole() {
    let sent = [ping(1), push("x".repeat(300)), ping(2)];
    let stream: Vec<u8> = sent.iter().flat_map(|envelope| encode(envelope).unwrap()).collect();
    for cut in 0..=stream.len() {
        let mut buffer = BytesMut::from(&stream[..cut]);
        let mut found = all(&mut buffer);
        buffer.extend_from_slice(&stream[cut..]);
        found.extend(all(&mut buffer));
        assert_eq!(found, sent, "cut at {cut}");
    }
}

#[test]
fn a_byte_at_a_time_is_enough() {
    let sent = [push("y".repeat(200)), ping(9)];
    let mut buffer = BytesMut::new();
    let mut found = Vec::new();
    for byte in sent.iter().flat_map(|envelope| encode(envelope).unwrap()) {
        buffer.extend_from_slice(&[byte]);
        found.extend(all(&mut buffer));
    }
    assert_eq!(found, sent);
}

#[test]
fn the_longest_length_is_taken_and_one_more_is_not() {
    let mut fits = BytesMut::from(&[0x80, 0x80, 0x80, 0x08][..]);
    assert_eq!(split(&mut fits, MAX_FRAME), Ok(None), "{MAX_FRAME} bytes are announced");
    let mut exceeds = BytesMut::from(&[0x81, 0x80, 0x80, 0x08][..]);
    assert_eq!(split(&mut exceeds, usize::MAX), Err(FrameError::TooLong(MAX_FRAME)));
    let mut endless = BytesMut::from(&[0xff; 4][..]);
    assert_eq!(split(&mut endless, MAX_FRAME), Err(FrameError::TooLong(MAX_FRAME)));
}

#[test]
fn a_length_alone_reserves_little() {
    let mut buffer = BytesMut::from(&[0x80, 0x80, 0x80, 0x08][..]);
    split(&mut buffer, MAX_FRAME).unwrap();
    assert!(buffer.capacity() < 4_096, "{}", buffer.capacity());
}

#[test]
fn an_unknown_kind_is_a_message_without_one() {
    // Field 100, a message of no bytes; then the number.
    let envelope = decode(Bytes::from_static(&[0xa2, 0x06, 0x00, 0x08, 0x05])).unwrap();
    assert_eq!(envelope, Envelope { id: 5, kind: None });
}

#[test]
fn what_is_too_long_is_not_written() {
    assert_eq!(encode(&push("z".repeat(MAX_FRAME))), Err(FrameError::TooLong(MAX_FRAME)));
}

#[test]
fn a_frame_that_is_longer_than_this_end_takes_is_refused_at_its_head() {
    let mut fits = BytesMut::from(&[0x80, 0x80, 0x04][..]);
    assert_eq!(split(&mut fits, MAX_GREETING), Ok(None), "{MAX_GREETING} bytes are announced");
    let mut exceeds = BytesMut::from(&[0x81, 0x80, 0x04][..]);
    assert_eq!(split(&mut exceeds, MAX_GREETING), Err(FrameError::TooLong(MAX_GREETING)));
}

/// The bytes of a message of this number in the envelope, with so many empty fields of this number.
fn bomb(kind: u32, field: u32, many: usize) -> Bytes {
    let head = |number: u32| number << 3 | 2;
    let mut frame = Vec::new();
    prost::encoding::encode_varint(head(kind).into(), &mut frame);
    prost::encode_length_delimiter(2 * many, &mut frame).unwrap();
    frame.extend([u8::try_from(head(field)).unwrap(), 0].repeat(many));
    frame.into()
}

#[test]
fn elements_are_counted_before_memory_is_taken_for_them() {
    let lists = [
        (2, 7, MAX_HELD_AT_HELLO),
        (7, 1, MAX_KEYS),
        (7, 2, MAX_KEYS),
        (8, 1, MAX_KEYS),
        (8, 2, MAX_KEYS),
        (13, 1, MAX_KEYS),
    ];
    for (kind, field, most) in lists {
        assert!(decode(bomb(kind, field, most)).is_ok(), "{kind} {field}");
        assert_eq!(decode(bomb(kind, field, 8_000_000)), Err(FrameError::TooMany), "{kind} {field}");
    }
    // What has no list has few fields, and what is said in several pieces counts together.
    assert_eq!(decode(bomb(3, 15, 65)), Err(FrameError::TooMany));
    let twice = [bomb(7, 1, MAX_KEYS), bomb(7, 1, 1)].concat();
    assert_eq!(decode(twice.into()), Err(FrameError::TooMany));
    // What nobody knows takes no memory.
    assert_eq!(decode(bomb(15, 1, 1_000_000)).unwrap().kind, None);
}

#[test]
fn the_fields_of_every_kind_that_is_known_are_counted() {
    for number in 2..30 {
        let is_known = decode(bomb(number, 15, 1)).unwrap().kind.is_some();
        assert_eq!(super::most_fields(number).is_some(), is_known, "{number}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_taken_or_refused(stream in proptest::collection::vec(any::<u8>(), 0..600), cut in 0_usize..600) {
        let mut buffer = BytesMut::from(&stream[..cut.min(stream.len())]);
        let mut rest = Some(&stream[cut.min(stream.len())..]);
        loop {
            match split(&mut buffer, MAX_FRAME) {
                Ok(Some(frame)) => drop(decode(frame)),
                Ok(None) => match rest.take() {
                    Some(more) => buffer.extend_from_slice(more),
                    None => break,
                },
                Err(_refused) => break,
            }
        }
    }

    #[test]
    fn what_is_written_is_read_back(id in any::<u64>(), names in proptest::collection::vec("[a-z]{0,9}", 0..5)) {
        let keys = names.into_iter().map(|data_id| Key { data_id, ..Key::default() }).collect();
        let envelope = Envelope { id, kind: Some(Kind::Watch(Watch { keys, prefixes: Vec::new() })) };
        let mut buffer = BytesMut::from(&encode(&envelope).unwrap()[..]);
        prop_assert_eq!(all(&mut buffer), [envelope]);
    }
}
