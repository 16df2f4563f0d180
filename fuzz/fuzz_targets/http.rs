//! Arbitrary bytes as requests over HTTP/1, in pieces whose length the first byte gives: heads, long lines, bodies.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((piece, bytes)) = data.split_first() else { return };
    callboard::fuzzing::http(bytes, usize::from(*piece));
});
