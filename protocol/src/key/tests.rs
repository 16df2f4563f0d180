//! Names: what is taken, what is refused, and that taking a key apart gives back what went in.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;

use super::*;

#[test]
fn parts_come_back_as_they_went_in() {
    let key = ConfigKey::new("dev", "DEFAULT_GROUP", "a:b.yaml").unwrap();
    assert_eq!((key.namespace(), key.group(), key.data_id()), ("dev", "DEFAULT_GROUP", "a:b.yaml"));
    assert_eq!(key.to_string(), "dev/DEFAULT_GROUP/a:b.yaml");
}

#[test]
fn each_rule_names_its_part() {
    assert_eq!(ConfigKey::new("", "g", "d").unwrap_err(), KeyError::Blank(Part::Namespace));
    assert_eq!(ConfigKey::new("n", " ", "d").unwrap_err(), KeyError::Blank(Part::Group));
    assert!(matches!(ConfigKey::new("a.b", "g", "d").unwrap_err(), KeyError::Illegal { part: Part::Namespace, .. }));
    assert!(matches!(ConfigKey::new("n", "g/h", "d").unwrap_err(), KeyError::Illegal { part: Part::Group, .. }));
    for data_id in ["a b", "a\0b", "a\u{1}b", "../x", "名"] {
        assert_eq!(ConfigKey::new("n", "g", data_id).unwrap_err().part(), Part::DataId, "{data_id:?}");
    }
    assert!(matches!(
        ConfigKey::new("n", "g", &"d".repeat(257)).unwrap_err(),
        KeyError::TooLong { part: Part::DataId, length: 257, max: 256 }
    ));
    assert!(ConfigKey::new(&"n".repeat(64), &"g".repeat(128), &"d".repeat(256)).is_ok());
}

proptest! {
    #[test]
    fn any_three_texts_are_taken_whole_or_refused(namespace in ".*", group in ".*", data_id in ".*") {
        if let Ok(key) = ConfigKey::new(&namespace, &group, &data_id) {
            prop_assert_eq!(key.namespace(), namespace);
            prop_assert_eq!(key.group(), group);
            prop_assert_eq!(key.data_id(), data_id);
        }
    }

    #[test]
    fn keys_sort_as_their_parts(a in "[a-c-]{1,3}", b in "[a-c.]{1,3}", c in "[a-c:]{1,3}", d in "[a-c-]{1,3}", e in "[a-c.]{1,3}", f in "[a-c:]{1,3}") {
        let (left, right) = (ConfigKey::new(&a, &b, &c).unwrap(), ConfigKey::new(&d, &e, &f).unwrap());
        prop_assert_eq!(left.cmp(&right), (a, b, c).cmp(&(d, e, f)));
    }
}
