//! Arbitrary bytes as a datagram between nodes, and as the content of one.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    callboard::fuzzing::datagram(data);
});
