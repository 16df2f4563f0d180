//! Contents: exact sizes, sequence numbers that come back, chance that repeats itself.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeSet;

use super::super::arguments::KEY_DIGITS;
use super::{BEFORE_SEQUENCE, Rng, SEQUENCE_DIGITS, SMALLEST, before_key, pad, sequence, steady};

#[test]
fn contents_have_the_size_asked_for_and_need_no_escapes() {
    for size in [64, 65, 1024, 5000] {
        let content = steady(9_999_999, size);
        assert_eq!(content.len(), size);
        assert!(content.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte)), "{content}");
    }
    assert_ne!(steady(1, 64), steady(2, 64));
    let longest = before_key(u64::MAX).len() + KEY_DIGITS + BEFORE_SEQUENCE.len() + SEQUENCE_DIGITS + 1;
    assert!(longest as u64 <= SMALLEST);
}

#[test]
fn a_sequence_number_comes_back_from_its_own_run_and_key_only() {
    let mut content = format!("{}0000007{BEFORE_SEQUENCE}000000000042.", before_key(0xabc));
    pad(&mut content, 100, 1);
    assert_eq!(sequence(content.as_bytes(), 0xabc, 7), Some(42));
    assert_eq!(sequence(content.as_bytes(), 0xabd, 7), None);
    assert_eq!(sequence(content.as_bytes(), 0xabc, 8), None);
    assert_eq!(sequence(b"", 0xabc, 7), None);
    assert_eq!(sequence(&content.as_bytes()[..40], 0xabc, 7), None);
}

#[test]
fn chance_repeats_itself_and_reaches_everything() {
    let draw = |seed| {
        let mut chance = Rng::new(seed);
        (0..200).map(|_| chance.below(10)).collect::<Vec<_>>()
    };
    assert_eq!(draw(3), draw(3));
    assert_ne!(draw(3), draw(4));
    assert_eq!(draw(3).into_iter().collect::<BTreeSet<_>>(), (0..10).collect());
    assert_eq!(Rng::new(1).below(0), 0);
}
