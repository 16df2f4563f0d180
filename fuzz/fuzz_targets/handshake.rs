//! Arbitrary bytes from a stranger who connects to where nodes connect.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    callboard::fuzzing::handshake(data);
});
