//! Arbitrary bytes as the query and the form of a request of Nacos's interface; the first two bytes say whether the
//! form comes in parts, and where the query ends.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [is_in_parts, end, rest @ ..] = data else { return };
    let (query, body) = rest.split_at(usize::from(*end).min(rest.len()));
    let query = String::from_utf8_lossy(query);
    callboard::fuzzing::form(&query, is_in_parts % 2 == 1, body);
});
