//! Arbitrary bytes as the certificate of a client.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    callboard::fuzzing::certificate(data);
});
