//! Event ids.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;

use super::*;

#[test]
fn only_the_digits_of_a_version_are_taken() {
    assert_eq!(parse(b"0"), Ok(Version(0)));
    assert_eq!(parse(b"42"), Ok(Version(42)));
    assert_eq!(parse(b"9223372036854775807"), Ok(Version(i64::MAX as u64)));
    for bad in ["", " ", "+1", "-1", " 1", "1 ", "1.0", "0x1", "٣", "9223372036854775808", "18446744073709551616"] {
        assert_eq!(parse(bad.as_bytes()), Err(BadEventId), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(value: Vec<u8>) {
        if let Ok(version) = parse(&value) {
            let text = std::str::from_utf8(&value).unwrap();
            prop_assert_eq!(version.to_string(), if version.0 == 0 { "0" } else { text.trim_start_matches('0') });
        }
    }

    #[test]
    fn a_version_is_read_back(number in 0..=i64::MAX as u64) {
        prop_assert_eq!(parse(number.to_string().as_bytes()), Ok(Version(number)));
    }
}
