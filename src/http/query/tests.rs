//! The strict reading of queries.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use proptest::prelude::*;

use crate::http::query::{Query, QueryError};

const KNOWN: [&str; 3] = ["limit", "prefix", "q"];

#[test]
fn values_are_percent_decoded_and_a_plus_is_a_space() {
    let query = Query::parse("q=a%20b+c%2B%C3%A4&&prefix=&limit=7", &KNOWN).unwrap();
    assert_eq!((query.get("q"), query.get("prefix"), query.get("other")), (Some("a b c+ä"), Some(""), None));
    assert_eq!(query.count("limit", 1, 10).unwrap(), 7);
    assert_eq!(Query::parse("", &[]).unwrap(), Query::default());
    assert_eq!(Query::parse("pre%66ix", &KNOWN).unwrap().get("prefix"), Some(""));
}

#[test]
fn what_is_unknown_repeated_or_broken_is_refused() {
    let refused = |raw| Query::parse(raw, &KNOWN).unwrap_err();
    assert_eq!(refused("surprise=1"), QueryError::Unknown("surprise".to_owned()));
    assert_eq!(refused("q=1&Q=2"), QueryError::Unknown("Q".to_owned()));
    assert_eq!(refused("=1"), QueryError::Unknown(String::new()));
    assert_eq!(refused("q=1&%71=2"), QueryError::Repeated("q"));
    assert_eq!(refused("q=a%00b"), QueryError::Nul("q"));
    for broken in ["q=%", "q=%4", "q=%zz", "q=%FF", "%C3=1", "q=%C3%28"] {
        assert_eq!(refused(broken), QueryError::Encoding, "{broken}");
    }
    assert_eq!(refused(&"k".repeat(1_000)), QueryError::Unknown("k".repeat(super::SHOWN)));
}

#[test]
fn a_count_is_a_whole_number_in_its_range() {
    for bad in ["", "0", "11", "-1", "+1", " 1", "1.0", "many", "99999999999"] {
        let raw = format!("limit={}", bad.replace('+', "%2B"));
        assert!(Query::parse(&raw, &KNOWN).unwrap().count("limit", 1, 10).is_err(), "{bad}");
    }
    assert_eq!(Query::default().count("limit", 5, 10).unwrap(), 5);
}

/// Encodes every byte, so that nothing is left to interpretation.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(raw in ".{0,80}") {
        if let Ok(query) = Query::parse(&raw, &KNOWN) {
            prop_assert!(KNOWN.iter().filter_map(|name| query.get(name)).all(|value| !value.contains('\0')));
        }
    }

    #[test]
    fn any_mixture_of_its_signs_is_read_or_refused(raw in "[q=&%+0-9a-fA-F]{0,40}") {
        drop(Query::parse(&raw, &KNOWN));
    }

    #[test]
    fn what_was_encoded_comes_back(value in "[^\\x00]{0,40}") {
        let raw = format!("q={}", encoded(&value));
        let query = Query::parse(&raw, &KNOWN).unwrap();
        prop_assert_eq!(query.get("q"), Some(value.as_str()));
    }
}
