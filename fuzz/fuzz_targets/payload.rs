//! Arbitrary bytes as a message of Nacos's clients over gRPC, whole; and as the body of one.

#![no_main]

use callboard_proto::nacos::Payload;
use callboard_proto::nacos_codec;
use libfuzzer_sys::fuzz_target;
use prost::Message as _;

fuzz_target!(|data: &[u8]| {
    if nacos_codec::check(data).is_ok()
        && let Ok(payload) = Payload::decode(data)
    {
        callboard::fuzzing::payload(payload);
    }
    for class in ["ConfigBatchListenRequest", "ConnectionSetupRequest", "ClientDetectionResponse"] {
        callboard::fuzzing::payload_body(class, data, "127.0.0.1");
    }
});
