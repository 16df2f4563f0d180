//! Waiting times.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;

use super::*;

#[test]
fn units_limit_and_refusals() {
    assert_eq!(parse("30s"), Ok(Duration::from_secs(30)));
    assert_eq!(parse("30"), Ok(Duration::from_secs(30)));
    assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
    assert_eq!(parse("1m"), Ok(MAX_WAIT));
    assert_eq!(parse("60000ms"), Ok(MAX_WAIT));
    assert_eq!(parse("0"), Ok(Duration::ZERO));
    for long in ["61", "60001ms", "2m", "99999999999999999999999999s"] {
        assert_eq!(parse(long), Err(WaitError::TooLong), "{long}");
    }
    for bad in ["", "s", "ms", "-1s", "+1s", "1.5s", "1 s", " 1s", "1s ", "1h", "1S", "1m30s", "٣s", "1é"] {
        assert_eq!(parse(bad), Err(WaitError::Malformed), "{bad:?}");
    }
    assert_eq!(WaitError::TooLong.to_string(), "wait is at most 60 s");
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC*") {
        if let Ok(wait) = parse(&text) {
            prop_assert!(wait <= MAX_WAIT);
        }
    }

    #[test]
    fn texts_made_of_digits_and_units_are_read_or_refused(text in "[0-9]{0,25}[hms]{0,2}") {
        if let Ok(wait) = parse(&text) {
            prop_assert!(wait <= MAX_WAIT);
        }
    }
}
