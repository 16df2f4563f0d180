//! Cursors.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;

use super::*;

fn filter() -> FilterDigest {
    FilterDigest::of(&[Some("public"), None, Some("app-")])
}

#[test]
fn filters_are_told_apart() {
    let of = FilterDigest::of;
    assert_eq!(of(&[Some("a"), None]), of(&[Some("a"), None]));
    for other in [&[None, Some("a")][..], &[Some("a"), Some("")], &[Some("a")], &[Some("a"), Some("-")]] {
        assert_ne!(of(&[Some("a"), None]), of(other), "{other:?}");
    }
}

#[test]
fn what_was_not_given_out_is_refused() {
    let good = ListCursor { group: "g".into(), data_id: "d".into() }.encode(&filter());
    assert!(ListCursor::decode(&good, &filter()).is_ok());
    let other = FilterDigest::of(&[Some("public"), None, None]);
    assert_eq!(ListCursor::decode(&good, &other), Err(CursorError::OtherFilter));
    let bad = [
        String::new(),
        "~~~".into(),
        good.replacen('1', "2", 1),
        format!("{good}~"),
        format!("{good} "),
        good.replace("~d", "~"),
        good.replace("~d", ""),
        good.replace("~g", "~g/h"),
        good.replace("~g", ""),
        format!("1~{}~g~d", "é".repeat(4)),
        "1~~g~d".into(),
    ];
    for text in bad {
        assert_eq!(ListCursor::decode(&text, &filter()), Err(CursorError::Malformed), "{text:?}");
    }
}

#[test]
fn a_history_cursor_is_a_version() {
    assert_eq!(decode_history("12"), Ok(Version(12)));
    for bad in ["", "-1", "v12", "9223372036854775808"] {
        assert_eq!(decode_history(bad), Err(CursorError::Malformed), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC*") {
        if let Ok(cursor) = ListCursor::decode(&text, &filter()) {
            prop_assert_eq!(cursor.encode(&filter()), &text[..]);
        }
        if let Ok(version) = decode_history(&text) {
            prop_assert!(text.ends_with(&version.to_string()));
        }
    }

    #[test]
    fn a_changed_cursor_is_read_or_refused(at in 0..30_usize, sign: char) {
        let mut text = ListCursor { group: "group".into(), data_id: "data".into() }.encode(&filter());
        text.insert(at.min(text.len()), sign);
        if let Ok(cursor) = ListCursor::decode(&text, &filter()) {
            prop_assert_eq!(cursor.encode(&filter()), text);
        }
    }

    #[test]
    fn a_cursor_is_read_back_and_safe_in_a_url(
        group in "[A-Za-z0-9_.:-]{1,128}",
        data_id in "[A-Za-z0-9_.:-]{1,256}",
    ) {
        let cursor = ListCursor { group, data_id };
        let text = cursor.encode(&filter());
        prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte)));
        prop_assert_eq!(ListCursor::decode(&text, &filter()), Ok(cursor));
    }
}

#[test]
fn a_place_comes_back_whatever_the_client_is_called() {
    let filter = FilterDigest::of(&[Some("x")]);
    let place = Place { client: ClientId("a~b%/!".into()), node: "n~1".into(), session: SessionNumber(u64::MAX) };
    assert_eq!(decode_place(&encode_place(&place, &filter), &filter), Ok(place.clone()));
    let other = FilterDigest::of(&[Some("y")]);
    assert_eq!(decode_place(&encode_place(&place, &other), &filter), Err(CursorError::OtherFilter));
}

proptest! {
    #[test]
    fn no_text_makes_the_cursor_of_a_place_panic(text in "(2~[0-9a-f]{8}~)?[0-9a-f~\\PC]{0,60}") {
        drop(decode_place(&text, &FilterDigest::of(&[None])));
    }
}
