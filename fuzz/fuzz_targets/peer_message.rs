//! Arbitrary bytes as what nodes say to each other, once they have proved themselves; the first byte gives the version.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((version, bytes)) = data.split_first() else { return };
    callboard::fuzzing::peer_message(bytes, u16::from(*version));
});
