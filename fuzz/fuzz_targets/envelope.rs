//! Arbitrary bytes as a message: what is taken goes there and back over both wire forms and stays what it was.

#![no_main]

use bytes::{Bytes, BytesMut};
use callboard_proto::{MAX_FRAME, frame, json};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(envelope) = frame::decode(Bytes::copy_from_slice(data)) else { return };
    let text = json::encode(&envelope).expect("a message has a JSON form");
    assert_eq!(json::decode(&text).as_ref(), Ok(&envelope), "{text}");
    let mut buffer = BytesMut::from(&frame::encode(&envelope).expect("it came in a frame")[..]);
    let again = frame::split(&mut buffer, MAX_FRAME).expect("a frame is no longer than it was").expect("it is whole");
    assert!(buffer.is_empty());
    assert_eq!(frame::decode(again).as_ref(), Ok(&envelope));
});
