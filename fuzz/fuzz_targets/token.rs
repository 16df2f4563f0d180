//! Arbitrary text as a token or a log-in. `$` stands for a log-in that is right.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    callboard::fuzzing::token(text);
});
