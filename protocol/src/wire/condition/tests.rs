//! Conditions: every form, every refusal, and any bytes.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;

use super::*;

fn digest() -> Md5 {
    Md5::of(b"hello")
}

fn tag() -> String {
    format!("\"{}\"", digest())
}

#[test]
fn the_forms_of_if_match() {
    let of = |value: &str| of_put(Some(value.as_bytes()), None);
    let md5 = Expected::Md5(digest());
    assert_eq!(of_put(None, None), Ok(Condition::None));
    assert_eq!(of(" * "), Ok(Condition::Exists));
    assert_eq!(of(&tag()), Ok(Condition::Matches(vec![md5])));
    assert_eq!(of("\"v17\""), Ok(Condition::Matches(vec![Expected::Version(Version(17))])));
    assert_eq!(
        of(&format!(" {} ,,\t\"v0\", ", tag())),
        Ok(Condition::Matches(vec![md5, Expected::Version(Version(0))]))
    );
    assert_eq!(of(&format!("W/{}", tag())), Err(ConditionError::WeakTag));
    assert_eq!(of_delete(Some(b"\"v3\""), None), Ok(Condition::Matches(vec![Expected::Version(Version(3))])));
}

#[test]
fn what_is_no_list_of_tags_is_refused() {
    let md5 = digest().hex();
    let bad = [
        "",
        " ",
        ",",
        "v1",
        "\"v1",
        "v1\"",
        "\"\"",
        "\"",
        "\"v\"",
        "\"v+1\"",
        "\"v-1\"",
        "\"v 1\"",
        "\" v1\"",
        "\"V1\"",
        "\"abc\"",
        "*, \"v1\"",
        "**",
        "\"*\"",
        "w/\"v1\"",
        "W/ \"v1\"",
        "\"v1\" \"v2\"",
        "\"v1\";\"v2\"",
        "\"v9223372036854775808\"",
        "\"v99999999999999999999999\"",
        &md5,
    ];
    for value in bad {
        let malformed = |header| ConditionError::Malformed { header };
        assert_eq!(of_put(Some(value.as_bytes()), None), Err(malformed("If-Match")), "{value:?}");
        assert_eq!(of_delete(Some(value.as_bytes()), None), Err(malformed("If-Match")), "{value:?}");
        assert_eq!(of_put(None, Some(value.as_bytes())), Err(malformed("If-None-Match")), "{value:?}");
        let read = ReadCondition::of_read(None, Some(value.as_bytes()));
        assert_eq!(read, Err(malformed("If-None-Match")), "{value:?}");
    }
}

#[test]
fn if_none_match_on_a_write_is_create_only() {
    assert_eq!(of_put(None, Some(b"*")), Ok(Condition::Absent));
    assert_eq!(of_put(None, Some(b"\"v1\"")), Err(ConditionError::TagsOnPut));
    assert_eq!(of_put(Some(b"*"), Some(b"*")), Err(ConditionError::Both));
    assert_eq!(of_delete(None, Some(b"*")), Err(ConditionError::NoneMatchOnDelete));
    assert_eq!(of_delete(Some(b"*"), Some(b"*")), Err(ConditionError::Both));
}

#[test]
fn a_reader_is_told_when_it_holds_the_newest() {
    let read = |value: &str| ReadCondition::of_read(None, Some(value.as_bytes())).unwrap();
    let (version, md5) = (Version(7), Some(digest()));
    for held in ["*", &tag(), &format!("W/{}", tag()), "\"v7\"", "W/\"v7\"", &format!("\"v1\", {}", tag())] {
        assert!(read(held).not_modified(version, md5), "{held}");
    }
    for other in ["\"v6\"", "\"00000000000000000000000000000000\""] {
        assert!(!read(other).not_modified(version, md5), "{other}");
    }
    assert!(!ReadCondition::of_read(None, None).unwrap().not_modified(version, md5));
    assert_eq!(ReadCondition::of_read(Some(b"*"), None), Err(ConditionError::MatchOnRead));
}

#[test]
fn an_absent_key_can_be_waited_for_but_is_never_not_modified() {
    let read = |value: &str| ReadCondition::of_read(None, Some(value.as_bytes())).unwrap();
    assert!(read("\"v7\"").is_held(Version(7), None));
    assert!(!read("\"v7\"").is_held(Version(8), None));
    assert!(!read("*").is_held(Version(7), None));
    assert!(!read(&tag()).is_held(Version(7), None));
    assert!(!read("\"v7\"").not_modified(Version(7), None));
}

fn any_tag() -> impl Strategy<Value = Expected> {
    prop_oneof![
        (0..=i64::MAX as u64).prop_map(|version| Expected::Version(Version(version))),
        any::<[u8; 16]>().prop_map(|md5| Expected::Md5(Md5(md5))),
    ]
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(value: Vec<u8>, other: Option<Vec<u8>>) {
        let put = of_put(Some(&value), other.as_deref());
        let delete = of_delete(Some(&value), other.as_deref());
        let read = ReadCondition::of_read(None, Some(&value));
        prop_assert_eq!(put.is_ok() && other.is_some(), false);
        prop_assert_eq!(put, delete);
        if let Ok(read) = read {
            prop_assert_ne!(read, ReadCondition::OneOf(Vec::new()));
        }
    }

    #[test]
    fn texts_made_of_the_right_characters_are_read_or_refused(value in "[*W/\"v0-9a-f, \t]{0,80}") {
        if let Ok(Condition::Matches(tags)) = of_put(Some(value.as_bytes()), None) {
            prop_assert!(!tags.is_empty());
            prop_assert_eq!(tags.len() * 2, value.matches('"').count());
        }
    }

    #[test]
    fn written_tags_are_read_back(tags in prop::collection::vec(any_tag(), 1..8)) {
        let texts: Vec<String> = tags.iter().map(|tag| match tag {
            Expected::Version(version) => format!("\"v{version}\""),
            Expected::Md5(md5) => format!("\"{md5}\""),
        }).collect();
        prop_assert_eq!(of_put(Some(texts.join(", ").as_bytes()), None), Ok(Condition::Matches(tags)));
    }
}
