//! Byte sizes: what is taken, what is refused, and that nothing panics.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use proptest::prelude::*;

use super::ByteSize;

#[test]
fn numbers_and_binary_units_are_taken() {
    let cases: [(&str, u64); 7] = [
        ("0", 0),
        ("1048576", 1 << 20),
        ("7B", 7),
        ("64MiB", 64 << 20),
        (" 2 KiB ", 2048),
        ("1GiB", 1 << 30),
        ("3TiB", 3 << 40),
    ];
    for (text, bytes) in cases {
        assert_eq!(text.parse::<ByteSize>().unwrap().bytes(), bytes, "{text}");
    }
}

#[test]
fn everything_else_is_refused_with_what_is_allowed() {
    for text in [
        "",
        "B",
        "MiB",
        "-1",
        "+1",
        "1.5MiB",
        "64MB",
        "64mib",
        "1 0",
        "1KiBB",
        "99999999999999999999",
        "18446744073709551615KiB",
    ] {
        let refusal = text.parse::<ByteSize>().unwrap_err().to_string();
        assert!(refusal.contains("KiB, MiB, GiB"), "{text}: {refusal}");
    }
}

proptest! {
    #[test]
    fn arbitrary_text_is_refused_or_reads_back(text in any::<String>()) {
        if let Ok(size) = text.parse::<ByteSize>() {
            prop_assert_eq!(size.to_string().parse(), Ok(size));
        }
    }

    #[test]
    fn text_like_a_size_is_refused_or_reads_back(text in "[0-9]{0,22} ?([KMGT]?i?B)?") {
        if let Ok(size) = text.parse::<ByteSize>() {
            prop_assert_eq!(size.to_string().parse(), Ok(size));
        }
    }

    #[test]
    fn every_size_reads_back_as_printed(bytes in any::<u64>()) {
        let size = ByteSize::from_bytes(bytes);
        prop_assert_eq!(size.to_string().parse::<ByteSize>().unwrap(), size);
    }
}
