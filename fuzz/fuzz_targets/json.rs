//! Arbitrary text as a message: what is taken is written so that it is read back the same, and fits into a frame as
//! well.

#![no_main]

use callboard_proto::{MAX_FRAME, frame, json};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(envelope) = json::decode(text) else { return };
    let written = json::encode(&envelope).expect("a message has a JSON form");
    assert_eq!(json::decode(&written).as_ref(), Ok(&envelope), "{text} became {written}");
    let framed = frame::encode(&envelope).expect("a short text is a short message");
    let mut buffer = framed.as_ref().into();
    let body = frame::split(&mut buffer, MAX_FRAME).expect("it is a frame").expect("it is whole");
    assert_eq!(frame::decode(body).as_ref(), Ok(&envelope), "{text}");
});
